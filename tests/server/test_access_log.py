"""The access log: a line for each request, in a file that can be moved away."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from sharq.settings.reading import Settings
from sharq_server import SharQServer
from sharq_server.http.access_log import AccessLog
from tests.server.command import Server
from tests.server.conftest import ExpectLog
from tests.server.support import Raw, Rest
from tests.support.stores import wait_for

LINE = re.compile(
    r'(\S+) - (?:\S+) \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "(.*?)" (\d{3}) (\d+|-)'
    r' "(.*?)" "(.*?)" \d+\.\d{6}\n'
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture
def server(io_loop: IOLoop, settings: Settings, path: Path) -> Any:
    log = AccessLog(str(path))
    server = SharQServer(settings, log)
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)
    log.close()


def lines(path: Path) -> list[re.Match[str]]:
    """The lines of a log, all of which are well-formed."""
    found = []
    for line in path.read_text().splitlines(keepends=True):
        match = LINE.fullmatch(line)
        assert match is not None, line
        found.append(match)
    return found


def requests(path: Path) -> list[tuple[str, str]]:
    """Request line and status of each line."""
    return [(match[2], match[3]) for match in lines(path)]


@pytest.mark.gen_test
async def test_each_request_has_a_line(rest: Rest, path: Path) -> None:
    await rest.enqueue()
    answer = await rest.get("/dequeue/t/?count=1")
    await rest.get("/nowhere")
    await rest.call("BREW", "/")
    assert requests(path) == [
        ("POST /enqueue/t/q/ HTTP/1.1", "201"),
        ("GET /dequeue/t/?count=1 HTTP/1.1", "200"),
        ("GET /nowhere HTTP/1.1", "404"),
        ("BREW / HTTP/1.1", "405"),
    ]
    match = lines(path)[1]
    assert (match[1], match[4]) == ("127.0.0.1", str(len(answer.text)))


@pytest.mark.gen_test
async def test_what_a_client_says_cannot_forge_a_line(raw: Raw, path: Path) -> None:
    async with raw.connect() as connection:
        await connection.send(
            b'GET /a"b\\c HTTP/1.1\r\nHost: a\r\nUser-Agent: x" 200 0 "\xe4\\\r\n'
            b"Referer: http://localhost/?a\r\n\r\n"
        )
        assert (await connection.answer()).status == 404
    (match,) = lines(path)
    assert match[2] == r"GET /a\x22b\x5cc HTTP/1.1"
    assert match[5] == "http://localhost/?a"
    assert match[6] == r"x\x22 200 0 \x22\xe4\x5c"


@pytest.mark.gen_test
async def test_a_refused_request_has_a_line(raw: Raw, path: Path) -> None:
    await raw.send(b"POST /enqueue/t/q/ HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n")
    assert requests(path) == [("POST /enqueue/t/q/ HTTP/1.1", "413")]


@pytest.mark.gen_test
async def test_a_moved_log_is_followed_by_a_new_one(
    rest: Rest, server: SharQServer, path: Path
) -> None:
    await rest.get("/metrics/one")
    moved = path.rename(path.with_suffix(".1"))  # noqa: ASYNC240
    await rest.get("/metrics/two")
    assert server.app.access_log is not None
    server.app.access_log.reopen()
    await rest.get("/metrics/three")
    assert [line for line, _ in requests(moved)] == [
        "GET /metrics/one HTTP/1.1",
        "GET /metrics/two HTTP/1.1",
    ]
    assert [line for line, _ in requests(path)] == ["GET /metrics/three HTTP/1.1"]


@pytest.mark.gen_test
async def test_a_log_that_cannot_be_opened_again_goes_on_in_the_old_file(
    rest: Rest, server: SharQServer, path: Path, expect_log: ExpectLog
) -> None:
    expect_log("cannot be opened again: .*Is a directory")
    moved = path.rename(path.with_suffix(".1"))  # noqa: ASYNC240
    path.mkdir()  # noqa: ASYNC240
    assert server.app.access_log is not None
    server.app.access_log.reopen()
    await rest.get("/")
    assert requests(moved) == [("GET / HTTP/1.1", "200")]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
class TestFullDisk:
    @pytest.fixture
    def path(self) -> Path:
        return Path("/dev/full")

    @pytest.mark.gen_test
    async def test_a_log_that_cannot_be_written_stops_nothing(
        self, rest: Rest, caplog: pytest.LogCaptureFixture, expect_log: ExpectLog
    ) -> None:
        expect_log("The access log /dev/full cannot be written")
        for _ in range(3):
            assert (await rest.get("/")).status == 200
        assert caplog.text.count("cannot be written") == 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_hangup_signal_opens_the_log_anew(tmp_path: Path, path: Path, workers: str) -> None:
    with Server(tmp_path, "--workers", workers, "--accesslog", str(path)) as server:
        for _ in range(4):
            assert server.call("GET", "/metrics/one")[0] == 200
        moved = path.rename(path.with_suffix(".1"))
        server.process.send_signal(signal.SIGHUP)
        wait_for("there is a new log", path.exists)

        def all_write_to_the_new_one() -> bool:
            before = moved.stat().st_size
            for _ in range(8):
                assert server.call("GET", "/metrics/two")[0] == 200
            return moved.stat().st_size == before

        wait_for("every worker has opened it", all_write_to_the_new_one)
        for worker in server.children():
            os.kill(worker, signal.SIGKILL)
        wait_for("new workers serve", lambda: _serves(server))
        before = moved.stat().st_size
        for _ in range(8):
            assert server.call("GET", "/metrics/three")[0] == 200
        assert moved.stat().st_size == before
        assert server.stop() == 0
    assert [line for line, _ in requests(moved)][:4] == ["GET /metrics/one HTTP/1.1"] * 4
    assert [line for line, _ in requests(path)][-8:] == ["GET /metrics/three HTTP/1.1"] * 8


def _serves(server: Server) -> bool:
    try:
        return server.call("GET", "/deepstatus/")[0] == 200
    except OSError:
        return False


def test_a_hangup_signal_without_a_log_changes_nothing(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.process.send_signal(signal.SIGHUP)
        assert server.call("GET", "/")[0] == 200


def test_the_log_can_be_the_output(tmp_path: Path) -> None:
    with Server(tmp_path, "--accesslog", "-") as server:
        assert server.call("GET", "/metrics/t/")[0] == 200
        wait_for("the line is there", lambda: '"GET /metrics/t/ HTTP/1.1" 200' in server.output)
        assert server.stop() == 0
