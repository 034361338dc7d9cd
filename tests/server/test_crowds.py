"""Many connections, and slow ones: those without room, and those that take nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tornado.netutil import bind_sockets

from sharq import NewJob
from sharq_server import SharQServer
from sharq_server.http import connection as http_connection
from sharq_server.http.listener import Listener
from sharq_server.security.certificates import Certificate
from sharq_server.security.descriptors import Room
from tests.server.conftest import ExpectLog
from tests.server.support import Raw, Rest

CERTIFICATES = Path(__file__).parent.parent / "support" / "tls"

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE = b"GET /dequeue/t/ HTTP/1.1\r\nHost: localhost\r\n%b\r\n"
LARGE_BYTES = 1_000_000
NO_ROOM = r"No room for more connections"


@contextmanager
def files_allowed(count: int) -> Iterator[None]:
    """Let this process have descriptors below `count`, and no other ones."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def next_descriptor() -> int:
    """The number that the system would give to the next file."""
    descriptor = os.dup(0)
    os.close(descriptor)
    return descriptor


async def connected(port: int, receive_buffer: int = 65536) -> socket.socket:
    """A socket that has a connection, whether or not the server has accepted it."""
    client = socket.socket()
    client.setblocking(False)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    return client


async def ask(client: socket.socket, data: bytes = GET) -> bytes:
    """What comes first as the answer; nothing where the connection ends."""
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        await loop.sock_sendall(client, data)
        async with asyncio.timeout(10):
            return await loop.sock_recv(client, 65536)
    return b""


@pytest.mark.gen_test
async def test_where_nearly_all_descriptors_are_in_use_connections_are_refused(
    http_server: Listener, http_port: int, expect_log: ExpectLog
) -> None:
    expect_log(NO_ROOM)
    limit = next_descriptor() + 40
    with ExitStack() as open_ones, files_allowed(limit):
        answers = []
        # Each takes two: one here, one in the server.
        for _ in range(18):
            client = open_ones.enter_context(await connected(http_port))
            answers.append(await ask(client))
        served = [answer.startswith(b"HTTP/1.1 200") for answer in answers]
        assert served == sorted(served, reverse=True)
        assert 8 <= sum(served) < 18
        # The reset of a connection that is closed with a request unread may overtake the answer.
        assert all(b'"overloaded"' in each for each in answers[sum(served) :] if each)
        open_ones.close()
        async with asyncio.timeout(5):
            served_again = False
            while not served_again:
                with await connected(http_port) as client:
                    served_again = (await ask(client)).startswith(b"HTTP/1.1 200")


@pytest.mark.gen_test
async def test_where_no_descriptor_is_left_connections_wait(
    http_server: Listener,
    http_port: int,
    expect_log: ExpectLog,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expect_log(NO_ROOM)
    # Its look at the store has a descriptor, too.
    phases = ("setup", "call")
    while not any("keeps no log" in r.message for p in phases for r in caplog.get_records(p)):
        await asyncio.sleep(0.01)
    with socket.socket() as client:
        client.setblocking(False)
        with files_allowed(next_descriptor()):
            with pytest.raises(OSError, match="Too many open files"):
                os.dup(0)
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", http_port))
            async with asyncio.timeout(5):
                while not told(caplog):
                    await asyncio.sleep(0.01)
            for _ in range(20):
                await asyncio.sleep(0.01)
            assert told(caplog) == 1
        assert (await ask(client)).startswith(b"HTTP/1.1 200")


def told(caplog: pytest.LogCaptureFixture) -> int:
    """How often it was logged that there is no room."""
    return sum(record.name == "sharq_server.security.descriptors" for record in caplog.records)


def test_that_there_is_no_room_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    times = iter((0.0, 59.0, 60.0, 61.0))
    room = Room(lambda: next(times))
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert room.has(10)
    assert not any(room.has(limit - 1) for _ in range(4))
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 2
    caplog.clear()


class TestReaders:
    @pytest.fixture
    def limits(self) -> dict[str, Any]:
        return {"idle_connection_timeout": 0.3}

    @pytest.mark.parametrize("field", [b"", b"Connection: close\r\n"])
    @pytest.mark.gen_test
    async def test_one_that_takes_nothing_of_an_answer_is_closed(
        self, rest: Rest, http_server: Listener, http_port: int, field: bytes
    ) -> None:
        await rest.enqueue(payload="x" * LARGE_BYTES)
        loop = asyncio.get_running_loop()
        with await connected(http_port, 4096) as client:
            await loop.sock_sendall(client, LARGE % field)
            async with asyncio.timeout(5):
                # The connection is reset: the kernel keeps nothing of the answer either.
                while not client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    await asyncio.sleep(0.02)


@pytest.mark.gen_test
async def test_one_that_takes_some_of_an_answer_now_and_then_is_not_closed(
    rest: Rest, http_server: Listener, http_port: int
) -> None:
    await rest.enqueue(payload="x" * LARGE_BYTES)
    loop = asyncio.get_running_loop()
    before = set(http_server.connections)
    with await connected(http_port) as client:
        await loop.sock_sendall(client, LARGE % b"Connection: close\r\n")
        size = len(await loop.sock_recv(client, 1000))
        (connection,) = http_server.connections - before
        for now in (1000.0, 1050.0, 1100.0, 1150.0):
            connection.look_at_time(now, 60, 10)
            # More than the kernel keeps: the server gets rid of some of it.
            wanted = min(size + 250_000, LARGE_BYTES)
            while size < wanted:
                size += len(await loop.sock_recv(client, 65536))
        connection.look_at_time(1200.0, 60, 10)
        while part := await loop.sock_recv(client, 65536):
            size += len(part)
    assert size > LARGE_BYTES


@pytest.mark.gen_test
async def test_only_so_many_connections_linger(
    raw: Raw,
    http_server: Listener,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_connection, "MOST_LINGERING", 3)
    connections = [await raw.open() for _ in range(10)]
    for connection in connections:
        await connection.send(b"no HTTP\r\n\r\n")
        assert (await connection.answer()).status == 400
    assert http_server.lingering == 3
    assert len(http_server.connections) == 3
    for connection in connections:
        connection.close()
    async with asyncio.timeout(5):
        while http_server.lingering or http_server.connections:
            await asyncio.sleep(0.01)


class TestTLS:
    @pytest.fixture
    def tls_port(self, server: SharQServer, io_loop: Any) -> Iterator[int]:
        files = (str(CERTIFICATES / "server.pem"), str(CERTIFICATES / "server.key"))
        listener = server.app.make_listener(
            certificate=Certificate(*files), idle_connection_timeout=0.3
        )
        sockets = bind_sockets(0, "127.0.0.1")
        listener.add_sockets(sockets)
        yield sockets[0].getsockname()[1]
        listener.stop()
        io_loop.run_sync(listener.close_all_connections)

    @pytest.mark.parametrize("begin", [b"", b"\x16\x03\x01\x02\x00\x01"])
    @pytest.mark.gen_test
    async def test_a_handshake_that_never_ends_is_given_up(
        self, tls_port: int, begin: bytes
    ) -> None:
        loop = asyncio.get_running_loop()
        with await connected(tls_port) as client:
            await loop.sock_sendall(client, begin)
            async with asyncio.timeout(5):
                assert await loop.sock_recv(client, 100) == b""

    @pytest.mark.gen_test
    async def test_a_client_that_takes_nothing_is_closed(self, tls_port: int, server: Any) -> None:
        await server.sq.submit(NewJob("t", "q", "j", b'"%b"' % (b"x" * LARGE_BYTES), 0, -1))
        trusting = ssl.create_default_context(cafile=str(CERTIFICATES / "authority.pem"))
        client = await connected(tls_port, 4096)
        reader, writer = await asyncio.open_connection(
            sock=client, ssl=trusting, server_hostname="localhost", limit=1024
        )
        writer.write(LARGE % b"")
        async with asyncio.timeout(5):
            while not client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                await asyncio.sleep(0.02)
                if reader.at_eof() or writer.is_closing():
                    break
        writer.close()
