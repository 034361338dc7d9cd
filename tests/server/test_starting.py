"""A server that is told to stop before it has come as far as to serve."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sharq import EmbeddedStore
from sharq.embedded.folder import alone
from sharq.errors import EmbeddedStoreError
from tests.server.command import environment

_STARTING = """
import asyncio, sys, threading
from sharq.settings.reading import Settings
from sharq_server.process.serving import Process
from sharq_server.service import SharQServer

async def main():
    settings = Settings.load(None, environ={"SHARQ_REDIS_DATA_DIR": sys.argv[1]})
    process = Process(lambda: SharQServer(settings), [], None)
    running = asyncio.ensure_future(process.run())
    while threading.active_count() == 1:
        await asyncio.sleep(0.01)
    print("waits", flush=True)
    return await running

sys.exit(asyncio.run(main()))
"""


def test_it_ends_while_another_process_is_at_the_store(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    EmbeddedStore.join(folder).leave()
    with (
        alone(folder, 5),
        subprocess.Popen(
            [sys.executable, "-c", _STARTING, str(folder)],
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as server,
    ):
        assert server.stdout is not None
        assert server.stdout.readline() == "waits\n"
        server.send_signal(signal.SIGTERM)
        try:
            assert server.wait(10) == 0
        finally:
            server.kill()
        assert server.stderr is not None
        assert server.stderr.read() == ""


def test_the_wait_for_a_store_can_be_given_up(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    EmbeddedStore.join(folder).leave()
    given_up = threading.Event()
    threading.Timer(0.05, given_up.set).start()
    with alone(folder, 5), pytest.raises(EmbeddedStoreError, match="given up"):
        EmbeddedStore.join(folder, given_up=given_up)


def test_who_leaves_does_not_wait_for_one_who_does_not_get_on(tmp_path: Path) -> None:
    with EmbeddedStore.join(tmp_path / "data") as other:
        store = EmbeddedStore.join(tmp_path / "data")
        since = time.monotonic()
        with alone(tmp_path / "data", 5), pytest.raises(EmbeddedStoreError, match="for more than"):
            store.leave()
        assert time.monotonic() - since < 8
        assert not store.alive()
        assert other.alive()
