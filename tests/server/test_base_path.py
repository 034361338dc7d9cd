"""Below a base path: hot routes, all others, the push channel, the dashboard and the logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sharq_server.http import framing
from sharq_server.http.access_log import AccessLog
from sharq_server.http.listener import Listener
from sharq_server.service import SharQServer
from tests.server.subscriber import Subscriber
from tests.server.support import Raw, Rest

pytestmark = pytest.mark.gen_test

BASE = "/tools/queue"
JOB = {"job_id": "j", "interval": 0, "payload": 1}


@pytest.fixture
def options() -> dict[str, dict[str, Any]]:
    return {"sharq-server": {"base_path": BASE, "trusted_proxies": "127.0.0.1"}}


@pytest.mark.parametrize(
    ("target", "below"),
    [
        (f"{BASE}/enqueue/", "/enqueue/"),
        (f"{BASE}/", "/"),
        (BASE, "/"),
        (f"{BASE}?a=1", "/?a=1"),
        (f"{BASE}/dequeue/t/?count=2", "/dequeue/t/?count=2"),
        (f"{BASE}{BASE}/", f"{BASE}/"),
        (f"{BASE}//", "//"),
        (f"{BASE}x/", "*"),
        ("/enqueue/", "*"),
        ("/", "*"),
        ("*", "*"),
        ("/tools/", "*"),
        ("/Tools/queue/", "*"),
    ],
)
def test_a_path_below(target: str, below: str) -> None:
    assert framing.below(target, BASE) == below
    assert framing.below(target, "") == target


async def test_the_hot_routes(rest: Rest) -> None:
    assert (await rest.enqueue(f"../{BASE[1:]}/enqueue/t/q")).status == 404
    assert (await rest.post(f"{BASE}/enqueue/t/q/", JOB)).status == 201
    taken = await rest.post(f"{BASE}/dequeue/t/?count=1")
    assert [job["job_id"] for job in taken.body["jobs"]] == ["j"]
    assert (await rest.post(f"{BASE}/finish/t/q/j/")).status == 200


async def test_they_are_hot_there_and_nowhere_else(
    raw: Raw, monkeypatch: pytest.MonkeyPatch, server: SharQServer
) -> None:
    """Answered without a task: Tornado's side of the application is not asked."""
    asked: list[object] = []
    start = server.app.start_request

    def start_request(*what: Any) -> Any:
        asked.append(what)
        return start(*what)

    monkeypatch.setattr(server.app, "start_request", start_request)
    body = json.dumps(JOB).encode()
    async with raw.connect() as connection:

        async def status(target: str, body: bytes = b"") -> int:
            head = f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            await connection.send(head.encode() + body)
            return (await connection.answer()).status

        # The first request of a Host makes it known.
        await status(f"{BASE}/")
        asked.clear()
        assert await status(f"{BASE}/enqueue/t/q/", body) == 201
        assert await status(f"{BASE}/dequeue/t/?count=1") == 200
        assert await status(f"{BASE}/finish/t/q/j/") == 200
        assert asked == []
        for elsewhere in ("/enqueue/t/q/", "/tools/queuf/enqueue/t/q/", f"{BASE}x/enqueue/t/q/"):
            assert await status(elsewhere, body) == 404
        assert len(asked) == 3


@pytest.mark.parametrize(
    "path", ["/", "/metrics/", "/ui/", "/live/", "/ws/", "/openapi.json", "/tools/", "/toolsqueue/"]
)
async def test_what_is_not_below_is_not_there(rest: Rest, path: str) -> None:
    assert (await rest.get(path)).error == (404, "not_found")


async def test_all_other_routes(rest: Rest) -> None:
    assert (await rest.get(f"{BASE}/")).status == 200
    assert (await rest.get(BASE)).status == 200
    assert (await rest.get(f"{BASE}/deepstatus/")).status == 200
    assert (await rest.post(f"{BASE}/enqueue/t/q/", JOB)).status == 201
    assert (await rest.get(f"{BASE}/status/t/q/j/")).body["state"] == "queued"
    assert (await rest.get(f"{BASE}/jobs/t/q/?count=1")).body["jobs"][0]["payload"] == 1
    assert (await rest.get(f"{BASE}/jobs/t/q/?count=0")).error == (400, "invalid_argument")
    assert (await rest.delete(f"{BASE}/metrics/")).error == (405, "method_not_allowed")
    assert (await rest.get(f"{BASE}{BASE}/metrics/")).error == (404, "not_found")


async def test_a_whole_url(raw: Raw) -> None:
    async with raw.connect() as connection:
        await connection.send(f"GET http://x{BASE}/metrics/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await connection.answer()).status == 200


async def test_the_description_knows_it(rest: Rest) -> None:
    told = await rest.get(f"{BASE}/openapi.json")
    assert told.body["servers"] == [{"url": BASE}]
    told = await rest.call("GET", f"{BASE}/openapi.json", headers={"X-Forwarded-Prefix": "/out"})
    assert told.body["servers"] == [{"url": f"/out{BASE}"}]


async def test_the_dashboard(rest: Rest) -> None:
    assert (await rest.get(f"{BASE}/ui/config")).status == 200
    assert (await rest.get(f"{BASE}/ui/config/")).status == 404
    moved = await rest.call("HEAD", f"{BASE}/live/")
    assert (moved.status, moved.headers["Location"]) == (301, "../ui/")


async def test_the_push_channel(http_server: Listener, http_port: int) -> None:
    subscriber = await Subscriber.connect(http_port, path=f"{BASE}/ws/")
    async with subscriber:
        await subscriber.subscribe()


def lines_of(log: Path) -> list[str]:
    return log.read_text().splitlines()


class TestTheLog:
    @pytest.fixture
    def log(self, tmp_path: Path) -> Path:
        return tmp_path / "access.log"

    @pytest.fixture
    def server(self, io_loop: Any, settings: Any, log: Path) -> Any:
        access_log = AccessLog(str(log))
        server = SharQServer(settings, access_log)
        io_loop.run_sync(server.start)
        yield server
        io_loop.run_sync(server.stop)
        access_log.close()

    async def test_it_has_the_path_as_it_came(
        self, rest: Rest, server: SharQServer, log: Path
    ) -> None:
        await rest.post(f"{BASE}/enqueue/t/q/", JOB)
        for path in (f"{BASE}/metrics/?a=1", f"{BASE}/ui/app.js", f"{BASE}/ws/", "/elsewhere/"):
            await rest.call("HEAD", path)
        access_log = server.app.access_log
        assert access_log is not None
        access_log.flush()
        lines = [line.split('"')[1] for line in lines_of(log)]
        assert lines == [
            f"POST {BASE}/enqueue/t/q/ HTTP/1.1",
            f"HEAD {BASE}/metrics/?a=1 HTTP/1.1",
            f"HEAD {BASE}/ui/app.js HTTP/1.1",
            f"HEAD {BASE}/ws/ HTTP/1.1",
            "HEAD /elsewhere/ HTTP/1.1",
        ]
