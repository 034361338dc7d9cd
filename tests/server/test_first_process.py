"""The server as process 1, as in a container: it leaves no zombies, and ends all in good order."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.command import environment
from tests.support.stores import wait_for

_IN_A_NAMESPACE = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]


def _may_unshare() -> bool:
    try:
        return subprocess.run([*_IN_A_NAMESPACE, "true"], check=False).returncode == 0
    except OSError:
        return False


pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not _may_unshare(), reason="no pid namespace may be made here"
)


class Contained:
    """A server in a namespace of its own; `first` is its process 1 as it is seen from here."""

    def __init__(self, home: Path, *arguments: str) -> None:
        server = [sys.executable, "-m", "sharq_server", "--port", "0", *arguments]
        self._unshare = subprocess.Popen(
            [*_IN_A_NAMESPACE, *server, "--data-dir", str(home / "data")],
            cwd=home,
            env=environment(home),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._unshare.stdout is not None
        greeting = self._unshare.stdout.readline()
        match = re.search(r"listens on (http://\S+)", greeting)
        assert match is not None, greeting
        self.url = match[1]
        (self.first,) = children(self._unshare.pid)

    @property
    def server(self) -> int:
        """The process that serves, or the parent of those that do."""
        return min(pid for pid in children(self.first) if name_of(pid) != "valkey-server")

    @property
    def store(self) -> int:
        """The process of the store; 0 while there is none."""
        return next((pid for pid in children(self.first) if name_of(pid) == "valkey-server"), 0)

    def works(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/deepstatus/", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def wait(self) -> int:
        return self._unshare.wait(20)

    def kill(self) -> None:
        self._unshare.kill()
        self._unshare.communicate()


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def state_of(pid: int) -> str:
    """The state of a process, Z for one that has ended and was not reaped; "" if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@pytest.fixture(params=[(), ("--workers", "2")], ids=["one process", "two workers"])
def contained(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Contained]:
    contained = Contained(tmp_path, *request.param)
    yield contained
    contained.kill()


def test_a_store_that_was_killed_is_no_zombie(contained: Contained) -> None:
    for _ in range(3):
        killed = contained.store
        os.kill(killed, signal.SIGKILL)
        wait_for("it is gone", lambda killed=killed: state_of(killed) == "", 10)
        wait_for("another one works", lambda: contained.store and contained.works(), 10)
    assert [state_of(pid) for pid in children(contained.first)].count("Z") == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_in_good_order(contained: Contained, number: signal.Signals) -> None:
    store = contained.store
    assert contained.works()
    os.kill(contained.first, number)
    assert contained.wait() == 0
    assert state_of(store) == ""


def test_it_ends_with_its_server_and_ends_the_store(contained: Contained, tmp_path: Path) -> None:
    os.kill(contained.server, signal.SIGKILL)
    assert contained.wait() == 128 + signal.SIGKILL
    assert "ready to exit, bye bye" in (tmp_path / "data" / "store.log").read_text()


def test_a_signal_that_asks_for_a_reload_is_passed_on(contained: Contained) -> None:
    os.kill(contained.first, signal.SIGHUP)
    assert contained.works()
    os.kill(contained.first, signal.SIGTERM)
    assert contained.wait() == 0
