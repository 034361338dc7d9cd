"""What the command tells a service manager, over a real socket."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sharq_server.process import notify
from tests.server.command import Server


class Manager:
    """A service manager: the socket that it listens on, and what it was told."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1))
        self._socket.settimeout(15)

    def told(self) -> dict[str, str]:
        lines = self._socket.recv(4096).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)

    def nothing_told(self) -> bool:
        self._socket.setblocking(False)
        try:
            self._socket.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self._socket.settimeout(15)
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["a path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    name = f"@sharq-test-{os.getpid()}-{time.monotonic_ns()}"
    manager = Manager(str(tmp_path / "notify") if request.param == "a path" else name)
    yield manager
    manager.close()


def monotonic_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


@pytest.mark.parametrize("workers", [1, 3])
def test_a_manager_is_told_of_ready_reload_and_stop(
    tmp_path: Path, manager: Manager, workers: int
) -> None:
    log = tmp_path / "access.log"
    more = {"NOTIFY_SOCKET": manager.address, "SHARQ_SERVER_ACCESSLOG": str(log)}
    with Server(tmp_path, "--workers", str(workers), **more) as server:
        assert manager.told() == {"READY": "1"}
        # Nothing has to be waited for any more.
        assert server.call("GET", "/deepstatus/")[0] == 200
        if workers > 1:
            assert len(server.children()) >= workers
        for _ in range(2):
            log.rename(tmp_path / "access.log.1")
            before = monotonic_us()
            server.process.send_signal(signal.SIGHUP)
            told = manager.told()
            assert told.keys() == {"RELOADING", "MONOTONIC_USEC"}
            assert before <= int(told["MONOTONIC_USEC"]) <= monotonic_us()
            assert manager.told() == {"READY": "1"}
            assert log.exists()
        assert server.stop() == 0
        assert manager.told() == {"STOPPING": "1"}
        assert manager.nothing_told()
        assert "was not told" not in server.log


def test_a_worker_that_comes_back_is_no_news(tmp_path: Path, manager: Manager) -> None:
    with Server(tmp_path, "--workers", "2", NOTIFY_SOCKET=manager.address) as server:
        assert manager.told() == {"READY": "1"}
        workers = [pid for pid in server.children() if pid != server.store_pid(tmp_path)]
        os.kill(workers[0], signal.SIGKILL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            now = [pid for pid in server.children() if pid != server.store_pid(tmp_path)]
            if len(now) == 2 and workers[0] not in now:
                break
            time.sleep(0.05)
        assert server.call("GET", "/deepstatus/")[0] == 200
        assert server.stop() == 0
        assert manager.told() == {"STOPPING": "1"}


def test_its_children_do_not_speak_for_the_server(tmp_path: Path, manager: Manager) -> None:
    with Server(tmp_path, "--workers", "2", NOTIFY_SOCKET=manager.address) as server:
        assert manager.told() == {"READY": "1"}
        store = Path(f"/proc/{server.store_pid(tmp_path)}/environ").read_bytes()
        assert b"NOTIFY_SOCKET" not in store


def test_a_manager_that_is_gone_is_no_reason_to_fail(tmp_path: Path) -> None:
    address = str(tmp_path / "nowhere")
    with Server(tmp_path, NOTIFY_SOCKET=address) as server:
        assert server.call("GET", "/deepstatus/")[0] == 200
        assert server.stop() == 0
        assert f"The service manager at {address} was not told 'READY=1'" in server.log


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}])
def test_without_a_manager_nothing_is_told(environ: dict[str, str]) -> None:
    assert notify.to_manager(environ) is notify.to_nobody
    assert environ == {}
