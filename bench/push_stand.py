"""A server with workers and subscribers on its push channel."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tornado.websocket import WebSocketClientConnection, websocket_connect

from bench.processes import Stand
from bench.store import PREFIX
from bench.waiting import wait_until

_START = 30.0
_END = 60.0


def key_of(queue_type: str, name: str) -> str:
    """The key of one of a type's own structures, as docs/keyspace.md has it."""
    return f"{{{PREFIX}:{queue_type}}}:{name}"


async def connect(here: Stand) -> WebSocketClientConnection:
    """A connection that was welcomed."""
    url = f"ws://127.0.0.1:{here.port}/ws/"
    socket = await websocket_connect(url, max_message_size=1 << 26)
    await socket.read_message()
    return socket


async def disconnect(socket: WebSocketClientConnection) -> None:
    """Close a connection, and wait until it is closed: its event loop may end then."""
    socket.close()
    while await socket.read_message() is not None:
        pass


@contextmanager
def worker(here: Stand, queue_type: str, *arguments: str) -> Iterator[dict[str, Any]]:
    """A worker process that waits for jobs: its `pid`, and what it tells at its end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.push_worker", str(here.port), queue_type, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    told: dict[str, Any] = {"pid": process.pid}
    try:
        waiting = key_of(queue_type, "waiting")
        if not wait_until(lambda: here.store.client.exists(waiting), _START):
            raise RuntimeError("The worker did not subscribe.")
        yield told
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=_END)
        told |= json.loads(output)


def is_done(here: Stand, queue_type: str) -> bool:
    """Whether no job of a type waits or is leased."""
    return not here.store.client.exists(key_of(queue_type, "ready"), key_of(queue_type, "leases"))
