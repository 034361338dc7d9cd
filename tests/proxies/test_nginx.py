"""Behind nginx."""

from __future__ import annotations

import pytest

from tests.proxies.deployment import HOST, Deployment
from tests.proxies.kinds import NGINX, NGINX_ON_SOCKETS
from tests.proxies.points import Points
from tests.support.browser import PATIENCE, chromium


@pytest.mark.needs("nginx")
class TestNginx(Points):
    proxy = NGINX

    @pytest.mark.needs("chromium", "playwright")
    @pytest.mark.parametrize("path", ["/ui/", "/queue/ui/", "/queue/live"])
    def test_a_browser_shows_the_page(self, deployment: Deployment, path: str) -> None:
        """The page finds its files and its data, also below a prefix."""
        own = f"https://{HOST}:{deployment.place.port}"
        prefix = "/queue" if path.startswith("/queue") else ""
        asked: list[str] = []
        with chromium(f"--host-resolver-rules=MAP {HOST} 127.0.0.1") as browser:
            context = browser.new_context(ignore_https_errors=True)
            context.set_default_timeout(PATIENCE)
            page = context.new_page()
            page.on("request", lambda request: asked.append(request.url))
            page.on("websocket", lambda ws: asked.append(ws.url.replace("wss:", "https:")))
            page.goto(own + path)
            page.get_by_label("Token", exact=True).fill("producer")
            page.get_by_role("button", name="use it").click()
            page.locator(".live.live").wait_for()
            assert page.url == f"{own}{prefix}/ui/"
            page.get_by_role("link", name="Workers").click()
            page.get_by_text("Nobody subscribes").wait_for()
            page.reload()
            page.get_by_text("Nobody subscribes").wait_for()
            assert page.url == f"{own}{prefix}/ui/workers"
        assert f"{own}{prefix}/ws/" in asked
        assert f"{own}{prefix}/ui/config" in asked
        below = f"{own}{prefix}/"
        assert [each for each in asked if not each.startswith(below)] == []


@pytest.mark.needs("nginx")
class TestNginxOnUnixSockets(Points):
    proxy = NGINX_ON_SOCKETS
