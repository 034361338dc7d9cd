"""What counts as written is what the client gets: readers that stop, and are left."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from sharq.codec import websocket_frames as ws
from sharq_server import SharQServer
from sharq_server.process.event_loop import loop_factory
from tests.server import catalogue
from tests.server.support import until
from tests.support.sockets import PlainSocket, Socket, TLSSocket

pytestmark = pytest.mark.gen_test(timeout=30)

FILES = Path(__file__).parent.parent / "support" / "tls"
JOBS = 24
SIZE = 40_000


@pytest.fixture(params=["asyncio", "uvloop"])
def new_loop(request: pytest.FixtureRequest) -> Any:
    return asyncio.SelectorEventLoop if request.param == "asyncio" else loop_factory()


@pytest.fixture(params=["plain", "tls"])
def options(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    if request.param == "plain":
        return {}
    files = {"tls_certificate": str(FILES / "server.pem"), "tls_key": str(FILES / "server.key")}
    return {"sharq-server": files}


async def opened(port: int, *, tls: bool) -> Socket:
    """A client with a small buffer."""
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setblocking(False)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await loop.sock_connect(client, ("127.0.0.1", port))
    trusting = ssl.create_default_context(cafile=str(FILES / "authority.pem"))
    opened = TLSSocket(client, trusting) if tls else PlainSocket(client)
    await opened.shake_hands()
    return opened


@pytest.mark.usefixtures("new_loop")
@pytest.mark.parametrize("way", ["subscribed", "asked for one by one"])
async def test_what_is_written_is_what_the_client_gets(
    server: SharQServer, http_server: object, http_port: int, options: Any, way: str
) -> None:
    for at in range(JOBS):
        # Of different sizes, so that the place where the kernel stops is none in particular.
        payload = json.dumps("x" * (SIZE + 997 * at)).encode()
        await server.sq.submit(server.sq.new_job(payload, 0, f"j{at}", f"q{at}", "t"))
    client = await opened(http_port, tls=bool(options))
    with client.wire:
        await client.sendall(catalogue.handshake())
        received = b""
        while b'"welcome"' not in received:
            received += await client.recv(65536)
        frames = [{"op": "dequeue", "queue_type": "t"}] * JOBS
        if way == "subscribed":
            frames = [{"op": "subscribe", "queue_type": "t", "credit": JOBS}]
        for frame in frames:
            await client.sendall(catalogue.sent(ws.TEXT, json.dumps(frame).encode()))
        (session,) = server.push.sessions
        async with asyncio.timeout(10):
            # Some of it stays behind.
            await until(lambda: session._unwritten)
            if way != "subscribed":
                await until(lambda: len(session.credit.held) == JOBS)
            # It reads on for a while, so that the kernel stops at some place among the frames.
            stop = len(received) + 400_000
            while len(received) < stop:
                received += await client.recv(4096)
        session.abort()
        await until(lambda: session.closed)
        while part := await client.recv(65536):
            received += part
    reader = ws.Reader(masked=False, max_bytes=1 << 26)
    reader.feed(received.partition(b"\r\n\r\n")[2])
    got = set()
    while (message := reader.next()) is not None:
        if message.opcode == ws.TEXT:
            event = json.loads(message.data)
            got |= {job["job_id"] for job in event.get("jobs", ())}
    async with asyncio.timeout(10):
        # What was not written goes back.
        await until(lambda: not server.push.dispatcher.redelivery.busy)
    leased = set()
    for at in range(JOBS):
        if (await server.sq.job_status("t", f"q{at}", f"j{at}")).state == "active":
            leased.add(f"j{at}")
    assert leased == got
    assert 0 < len(got) < JOBS
