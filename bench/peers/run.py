"""Job cycles of a peer: a store and its workers stay up, and stand still while others run."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from bench.peers.failures import FAILURES, Missing, reason
from bench.peers.install import program
from bench.peers.registry import Peer, Ready
from bench.waiting import wait_until
from tests.support.stores import PrivateStore

_WARM_UP = 100
_START = 30.0
_LONGEST = 60.0


class Running:
    """A peer whose workers run; between measurements they are stopped by a signal."""

    def __init__(
        self,
        peer: Peer,
        ready: Ready,
        address: str,
        pending: Callable[[], int],
        store: PrivateStore | None = None,
    ) -> None:
        self.peer = peer
        self._ready = ready
        self._address = address
        self._pending = pending
        self.store = store

    def cycles(self, count: int) -> float:
        """Jobs a second, from the first enqueue until nothing is left to be acknowledged."""
        done = subprocess.run(
            [*self._words(self._ready.producer), str(count)],
            env=self.environ(),
            capture_output=True,
            text=True,
            timeout=_LONGEST,
            check=False,
        )
        if done.returncode:
            raise Missing(f"its producer failed: {done.stderr.strip().splitlines()[-1][:100]}")
        began = json.loads(done.stdout.splitlines()[0])["began"]
        if not wait_until(lambda: self._pending() == 0, _LONGEST):
            raise Missing(f"{self._pending()} of {count} jobs were not done in {_LONGEST:g} s")
        return count / (time.time() - began)

    def worker(self) -> list[str]:
        """The command of its workers."""
        return self._words(self._ready.worker)

    def environ(self) -> dict[str, str]:
        added = {name: self._filled(value) for name, value in self._ready.environ.items()}
        return os.environ | added

    def _words(self, command: Sequence[str]) -> list[str]:
        return [self._filled(word) for word in command]

    def _filled(self, text: str) -> str:
        return text.replace("{socket}", self._address)


class Workers:
    """Processes of their own groups, that can stand still; `log` has what they write."""

    def __init__(self, running: Running, count: int, log: IO[bytes]) -> None:
        self._log = log
        self._processes = [
            subprocess.Popen(
                running.worker(),
                env=running.environ(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            for _ in range(count)
        ]

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def last_words(self) -> str:
        """The last line that they wrote."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:100] if lines else "nothing was said"

    def close(self) -> None:
        self.resume()
        self._signal(signal.SIGKILL)
        for process in self._processes:
            process.wait()

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                continue


@contextmanager
def running(peer: Peer, ready: Ready, durable: bool) -> Iterator[tuple[Running, Workers]]:
    """A peer at work, with a store of its own; `durable`: each write is on the disk first."""
    stand = _on_a_store if peer.pending is not None else _on_beanstalkd
    with stand(peer, ready, durable) as here, tempfile.TemporaryFile() as log:
        workers = Workers(here, peer.workers, log)
        try:
            try:
                here.cycles(_WARM_UP)
            except FAILURES as error:
                raise Missing(f"{reason(error)}; {workers.last_words()}") from error
            yield here, workers
        finally:
            workers.close()


@contextmanager
def _on_a_store(peer: Peer, ready: Ready, durable: bool) -> Iterator[Running]:
    options: dict[str, Any] = {"appendonly": True, "appendfsync": "always"} if durable else {}
    pending = peer.pending
    assert pending is not None
    with PrivateStore(**options) as store:
        yield Running(peer, ready, store.socket_path, lambda: pending(store.client), store)


@contextmanager
def _on_beanstalkd(peer: Peer, ready: Ready, durable: bool) -> Iterator[Running]:
    with tempfile.TemporaryDirectory(prefix="sharq-bench-") as folder:
        address = f"{folder}/socket"
        command = [program("beanstalkd"), "-l", f"unix:{address}"]
        command += ["-b", folder, "-f", "0"] if durable else []
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            if not wait_until(Path(address).exists, _START):
                raise Missing("it did not start")
            yield Running(peer, ready, address, lambda: _waiting_in(address))
        finally:
            process.terminate()
            process.wait()


def _waiting_in(address: str) -> int:
    """Jobs that are ready or reserved, by beanstalkd's own account."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        connection.sendall(b"stats\r\n")
        text = b""
        while not text.endswith(b"\r\n"):
            text += connection.recv(1 << 16)
    counts = dict(line.split(": ") for line in text.decode().splitlines() if ": " in line)
    return int(counts["current-jobs-ready"]) + int(counts["current-jobs-reserved"])
