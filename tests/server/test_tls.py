"""The server with TLS: requests, limits, the push channel, and another certificate."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sharq import LeasedJob, Worker
from sharq.errors import ConfigError
from sharq_server import SharQServer
from sharq_server.http.listener import Listener
from sharq_server.process.event_loop import loop_factory
from sharq_server.security.certificates import Certificate
from tests.server.command import Server, run
from tests.server.conftest import ExpectLog
from tests.server.support import Raw
from tests.support.http import Connection
from tests.support.sockets import TLSSocket
from tests.support.stores import wait_for

pytestmark = pytest.mark.gen_test(timeout=20)

FILES = Path(__file__).parent.parent / "support" / "tls"
AUTHORITY = str(FILES / "authority.pem")
HOST = b"Host: localhost\r\n"
JOB = b'{"job_id":"j","interval":0,"payload":1}'
ENQUEUE = b"POST /enqueue/t/q/ HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(JOB) + JOB


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate and its key, to be exchanged."""
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    exchange((certificate, key), "server")
    return certificate, key


def exchange(files: tuple[Path, Path], name: str) -> None:
    for path, kind in zip(files, ("pem", "key"), strict=True):
        shutil.copy(FILES / f"{name}.{kind}", path)


@pytest.fixture
def options(files: tuple[Path, Path]) -> dict[str, dict[str, Any]]:
    certificate, key = files
    server = {"tls_certificate": str(certificate), "tls_key": str(key), "max_connections": 4}
    return {"sharq-server": server}


@pytest.fixture
def limits() -> dict[str, Any]:
    return {"idle_connection_timeout": 0.5, "body_timeout": 0.3}


def trusting(**options: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=AUTHORITY)
    for name, value in options.items():
        setattr(context, name, value)
    return context


@pytest.fixture
def secure(http_port: int, http_server: object) -> Any:
    """Opens a connection by TLS, whose certificate is verified."""

    async def secure(**options: Any) -> Connection:
        context = trusting(**options)
        return Connection(*await asyncio.open_connection("127.0.0.1", http_port, ssl=context))

    return secure


async def test_requests_are_served(secure: Any) -> None:
    connection = await secure()
    await connection.send(ENQUEUE + b"GET /dequeue/t/ HTTP/1.1\r\n" + HOST + b"\r\n")
    assert (await connection.answer()).body == {"status": "queued"}
    assert (await connection.answer()).body["job_id"] == "j"
    connection.close()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
        (b"POST /enqueue/t/q/ HTTP/1.1\r\n" + HOST + b"Content-Length: 9999999\r\n\r\n", 413),
        (b"POST /enqueue/t/q/ HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\n{", 408),
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\n", 408),
        (b"\x16\x03\x01", 400),
    ],
)
async def test_what_is_refused_is_told(secure: Any, sent: bytes, status: int) -> None:
    connection = await secure()
    await connection.send(sent)
    assert (await connection.answer()).status == status
    assert await connection.ended()
    connection.close()


async def test_who_says_nothing_is_left(
    secure: Any, http_port: int, server: SharQServer, expect_log: ExpectLog
) -> None:
    expect_log("SSL Error", certain=False)
    mute = await secure()
    _, greeting = await asyncio.open_connection("127.0.0.1", http_port)
    _, plain = await asyncio.open_connection("127.0.0.1", http_port)
    plain.write(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
    assert await mute.ended()
    while len(server.app.connections):
        await asyncio.sleep(0.01)
    for each in (mute, greeting, plain):
        each.close()


async def test_a_request_of_plain_http_is_told(http_port: int, http_server: object) -> None:
    answer = await Raw(http_port).send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
    assert answer.error == (400, "bad_request")
    assert "https" in answer.body["message"]


@pytest.mark.parametrize("sent", [b"\x00" * 100, b"\x16\x03\x01\xff\xff", b"\r\n", b"{}\n"])
async def test_what_is_no_handshake_ends_the_connection(
    http_port: int, server: SharQServer, http_server: object, sent: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", http_port)
    writer.write(sent)
    # An alert, at most.
    assert len(await reader.read()) < 20
    writer.close()
    while len(server.app.connections):
        await asyncio.sleep(0.01)


async def test_handshakes_under_way_have_places(
    secure: Any, http_port: int, server: SharQServer
) -> None:
    half_open = [await asyncio.open_connection("127.0.0.1", http_port) for _ in range(4)]
    while len(server.app.connections) < 4:
        await asyncio.sleep(0.01)
    with pytest.raises((ConnectionError, ssl.SSLError)):
        await secure()
    for _, writer in half_open:
        writer.close()
    while len(server.app.connections):
        await asyncio.sleep(0.01)
    (await secure()).close()


async def test_a_stop_does_not_wait_for_handshakes(
    http_port: int, server: SharQServer, http_server: Listener
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", http_port)
    while not len(server.app.connections):
        await asyncio.sleep(0.01)
    async with asyncio.timeout(0.4):
        await http_server.close_all_connections()
    assert await reader.read() == b""
    writer.close()


class TestPatient:
    @pytest.fixture
    def limits(self) -> dict[str, Any]:
        return {}

    @pytest.fixture(params=["asyncio", "uvloop"])
    def new_loop(self, request: pytest.FixtureRequest) -> Any:
        return asyncio.SelectorEventLoop if request.param == "asyncio" else loop_factory()

    @pytest.fixture
    def client(self, new_loop: Any, http_port: int, http_server: object) -> Any:
        """Opens a connection whose TLS is taken apart here."""

        @asynccontextmanager
        async def client() -> AsyncIterator[TLSSocket]:
            with socket.socket() as wire:
                wire.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(wire, ("127.0.0.1", http_port))
                secure = TLSSocket(wire, trusting())
                await secure.shake_hands()
                yield secure

        return client

    async def test_who_says_that_it_sends_no_more_gets_its_answer(self, client: Any) -> None:
        async with client() as secure:
            await secure.sendall(ENQUEUE + b"GET /metrics/t/ HTTP/1.1\r\n" + HOST + b"\r\n")
            await secure.send_no_more()
            received = b""
            while part := await secure.recv(65536):
                received += part
            assert received.startswith(b"HTTP/1.1 201 ")

    async def test_large_bodies_and_answers_are_whole(
        self, client: Any, server: SharQServer
    ) -> None:
        payload = b'"%b"' % random.Random(1).randbytes(400_000).hex().encode()
        body = b'{"job_id":"j","interval":0,"payload":%b}' % payload
        head = b"POST /enqueue/t/q/ HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n"
        async with client() as secure:
            # Over 16 KiB, so that it comes in several records; and one record for a few bytes.
            for at in range(50):
                await secure.sendall((head % len(body))[at : at + 1])
            await secure.sendall((head % len(body))[50:] + body[:1000])
            await secure.sendall(body[1000:])
            assert (await secure.recv(65536)).startswith(b"HTTP/1.1 201 ")
            await secure.sendall(b"GET /dequeue/t/ HTTP/1.1\r\n" + HOST + b"\r\n")
            received = b""
            while not received.endswith(b"}"):
                received += await secure.recv(65536)
            assert payload in received

    async def test_who_is_cut_off_is_not_answered(self, client: Any, server: SharQServer) -> None:
        """An end that the client has not announced may be an attacker's."""
        async with client() as secure:
            await secure.sendall(b"GET /dequeue/t/?wait=20 HTTP/1.1\r\n" + HOST + b"\r\n")
            while not server.push._polls:
                await asyncio.sleep(0.01)
            secure.wire.shutdown(socket.SHUT_WR)
            while server.push._polls or len(server.app.connections):
                await asyncio.sleep(0.01)


async def test_a_place_is_for_one_connection(secure: Any, server: SharQServer) -> None:
    held = [await secure() for _ in range(4)]
    with pytest.raises((ConnectionError, ssl.SSLError)):
        await secure()
    assert len(server.app.connections) == 4
    for each in held:
        each.close()
    while len(server.app.connections):
        await asyncio.sleep(0.01)


async def test_a_certificate_is_verified_by_clients(http_port: int, http_server: object) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection("127.0.0.1", http_port, ssl=ssl.create_default_context())


def test_older_versions_are_not_spoken() -> None:
    context = Certificate(str(FILES / "server.pem"), str(FILES / "server.key")).context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


async def test_both_versions_are_spoken(secure: Any) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        connection = await secure(minimum_version=version, maximum_version=version)
        await connection.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await connection.answer()).status == 200
        connection.close()


async def test_another_certificate_is_for_new_connections(
    secure: Any, server: SharQServer, files: tuple[Path, Path], expect_log: ExpectLog
) -> None:
    async def shown() -> bytes:
        connection = await secure(check_hostname=False, verify_mode=ssl.CERT_NONE)
        certificate = connection._writer.get_extra_info("ssl_object").getpeercert(True)
        connection.close()
        return bytes(certificate)

    before = await shown()
    exchange(files, "client")
    assert await shown() == before
    server.reload()
    after = await shown()
    assert after != before
    for content in ("nonsense", None):
        files[0].unlink() if content is None else files[0].write_text(content)
        expect_log("The certificate stays as it was")
        server.reload()
        assert await shown() == after


async def test_a_worker_works_over_wss(
    http_port: int, server: SharQServer, http_server: object, secure: Any
) -> None:
    done: list[str] = []
    url = f"wss://127.0.0.1:{http_port}/ws/"
    worker = Worker(url, "t", tls_ca=AUTHORITY)

    @worker.handler
    async def handle(job: LeasedJob) -> None:
        done.append(job.payload)

    serving = asyncio.ensure_future(worker.serve())
    while not server.push.sessions:
        await asyncio.sleep(0.005)
    large = "x" * 500_000
    body = b'{"job_id":"j","interval":0,"payload":"%b"}' % large.encode()
    head = b"POST /enqueue/t/q/ HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body)
    connection = await secure()
    await connection.send(head + body)
    assert (await connection.answer()).status == 201
    while done != [large]:
        await asyncio.sleep(0.005)
    connection.close()
    worker.stop()
    await serving


async def test_a_worker_trusts_no_unknown_authority(
    http_port: int,
    server: SharQServer,
    http_server: object,
    expect_log: ExpectLog,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expect_log("no connection")
    expect_log("SSL Error|SSL alert", certain=False)
    worker = Worker(f"wss://127.0.0.1:{http_port}/ws/", "t")
    worker.handler(lambda job: None)
    serving = asyncio.ensure_future(worker.serve())
    while not any("is not trusted" in str(each.getMessage()) for each in caplog.records):
        await asyncio.sleep(0.005)
    worker.stop()
    await serving
    assert not server.push.sessions


@pytest.mark.parametrize(
    ("certificate", "key", "word"),
    [
        ("absent.pem", None, "No such file"),
        (str(FILES / "server.pem"), None, "tls_certificate"),
        (str(FILES / "server.pem"), str(FILES / "client.key"), "KEY_VALUES_MISMATCH"),
        (str(FILES / "make.sh"), str(FILES / "server.key"), "tls_certificate"),
        (str(FILES / "server.pem"), "absent.key", "absent.key"),
    ],
)
def test_files_that_cannot_be_used_are_named(certificate: str, key: str | None, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        Certificate(certificate, key)


def test_sighup_has_new_connections_see_another_certificate(
    tmp_path: Path, files: tuple[Path, Path]
) -> None:
    trust = trusting(check_hostname=False, verify_mode=ssl.CERT_NONE)

    def connected(server: Server) -> ssl.SSLSocket:
        return trust.wrap_socket(socket.create_connection(("127.0.0.1", server.port)))

    settings = {
        "SHARQ_SERVER_TLS_CERTIFICATE": str(files[0]),
        "SHARQ_SERVER_TLS_KEY": str(files[1]),
    }
    with Server(tmp_path, **settings) as server, connected(server) as old:
        before = old.getpeercert(binary_form=True)
        exchange(files, "client")
        server.process.send_signal(signal.SIGHUP)

        def another() -> bool:
            with connected(server) as new:
                return new.getpeercert(binary_form=True) != before

        wait_for("new connections see the other certificate", another)
        old.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert old.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_certificate_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    done = run(tmp_path, SHARQ_SERVER_TLS_CERTIFICATE="absent.pem")
    assert (done.returncode, done.stdout) == (2, "")
    assert "absent.pem cannot be read" in done.stderr


async def test_the_status_tells_that_the_certificate_ends_soon(
    server: SharQServer, secure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, health = server.app.certificate, server._health
    assert certificate is not None
    assert health is not None
    end = certificate._end
    assert end is not None
    certificate._clock = lambda: end - 3.5 * 24 * 60 * 60
    health.look_at_certificate()
    health.look_at_certificate()
    assert caplog.text.count("ends in 3 days.") == 1
    connection = await secure()
    told = (await connection.ask("GET", "/deepstatus/")).body
    assert told["status"] == "success"
    assert [line for line in told["warnings"] if line.endswith("ends in 3 days.")]
    certificate._clock = lambda: end - 30 * 24 * 60 * 60
    server.reload()
    assert (await connection.ask("GET", "/deepstatus/")).body == {"status": "success"}
    connection.close()
