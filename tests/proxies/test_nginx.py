"""Behind nginx."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.proxies.deployment import HOST, Deployment
from tests.proxies.kinds import NGINX, NGINX_ON_SOCKETS
from tests.proxies.points import Points, job, new_type
from tests.server.browser import Browser


@pytest.mark.needs("nginx")
class TestNginx(Points):
    proxy = NGINX

    @pytest.mark.needs("chromium")
    @pytest.mark.parametrize("path", ["/live/", "/queue/live/", "/queue/live"])
    def test_a_browser_shows_the_page(
        self, deployment: Deployment, tmp_path: Path, path: str
    ) -> None:
        """The page finds its data, also below a prefix."""
        kind = new_type()
        with deployment.client("producer") as producer:
            producer.ask("POST", f"/enqueue/{kind}/tenant-1/", job())

        async def look() -> None:
            browser = Browser(
                tmp_path / "profile",
                f"https://{HOST}:{deployment.place.port}{path}",
                f"--host-resolver-rules=MAP {HOST} 127.0.0.1",
                "--ignore-certificate-errors",
            )
            try:
                await browser.connect()
                await browser.see("a token is needed")
                await browser.submit("producer")
                await browser.see(rf"{kind}\s*1 ready")
                asked = await browser.run(
                    "performance.getEntriesByType('resource').map((each) => each.name)"
                )
                prefix = path.rpartition("/live")[0]
                root = f"https://{HOST}:{deployment.place.port}{prefix}/metrics/"
                assert asked
                assert [each for each in asked if not each.startswith(root)] == []
            finally:
                await browser.close()

        asyncio.run(asyncio.wait_for(look(), 30))


@pytest.mark.needs("nginx")
class TestNginxOnUnixSockets(Points):
    proxy = NGINX_ON_SOCKETS
