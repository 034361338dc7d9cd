"""How connections are opened: on both event loops and for blocking use."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import pty
import socket
import ssl
import subprocess
import sys
import termios
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest
import uvloop

from sharq.errors import StoreDenied, StoreError, StoreUnavailable, UnexpectedReply
from sharq.settings.options import StoreSettings
from sharq.store.connecting import address, connect, connect_blocking
from sharq.store.query import ask
from sharq.store.script_loading import pack
from tests.support.commands import PING, command
from tests.support.loops import eventually, supervised
from tests.support.proxy import AUTHORITY, CERTIFICATES, Proxy, server_context
from tests.support.stores import PrivateStore, free_port, wait_for

PASSWORD = "open sesame"


def at_port(place: PrivateStore | Proxy, **more: Any) -> StoreSettings:
    return replace(StoreSettings(conn_type="tcp_sock", host=place.host, port=place.port), **more)


def at_socket(store: PrivateStore, **more: Any) -> StoreSettings:
    return replace(StoreSettings(conn_type="unix_sock", unix_socket_path=store.socket_path), **more)


class Opener(Protocol):
    """Opens a connection, on a loop or for blocking use."""

    def answer(self, settings: StoreSettings, timeout: float = 3) -> bytes:
        """The answer to a ping."""

    def options(self, settings: StoreSettings) -> dict[str, bool]:
        """What the connection's socket is set to."""


def set_options(end: socket.socket) -> dict[str, bool]:
    return {
        "keepalive": bool(end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)),
        "nodelay": bool(end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)),
    }


class Blocking:
    def answer(self, settings: StoreSettings, timeout: float = 3) -> bytes:
        with connect_blocking(settings, timeout) as end:
            end.sendall(PING.packed)
            return end.recv(100)

    def options(self, settings: StoreSettings) -> dict[str, bool]:
        with connect_blocking(settings, 3) as end:
            return set_options(end)


class Ears(asyncio.Protocol):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard = b""
        self.lost = False
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


@contextlib.asynccontextmanager
async def listening(settings: StoreSettings, timeout: float = 3) -> AsyncIterator[Ears]:
    ears = Ears()
    try:
        await connect(settings, ears, timeout)
        yield ears
    finally:
        if ears.transport is not None:
            ears.transport.abort()
            await eventually("the connection is closed", lambda: ears.lost)


class OnLoop:
    def __init__(self, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self._new_loop = new_loop

    def run(self, test: Awaitable[Any]) -> Any:
        with asyncio.Runner(loop_factory=self._new_loop) as runner:
            return runner.run(supervised(test))

    def answer(self, settings: StoreSettings, timeout: float = 3) -> bytes:
        async def answer() -> bytes:
            async with listening(settings, timeout) as ears:
                ears.transport.write(PING.packed)
                await eventually("an answer", lambda: ears.heard or ears.lost)
            return ears.heard

        return bytes(self.run(answer()))

    def options(self, settings: StoreSettings) -> dict[str, bool]:
        async def options() -> dict[str, bool]:
            async with listening(settings) as ears:
                return set_options(ears.transport.get_extra_info("socket"))

        result: dict[str, bool] = self.run(options())
        return result


LOOPS = {"asyncio": OnLoop(asyncio.new_event_loop), "uvloop": OnLoop(uvloop.new_event_loop)}


@pytest.fixture(params=LOOPS.values(), ids=LOOPS)
def loop(request: pytest.FixtureRequest) -> OnLoop:
    on: OnLoop = request.param
    return on


@pytest.fixture(params=[*LOOPS.values(), Blocking()], ids=[*LOOPS, "blocking"])
def opener(request: pytest.FixtureRequest) -> Opener:
    opener: Opener = request.param
    return opener


@pytest.fixture(scope="module")
def guarded() -> Iterator[PrivateStore]:
    user = ["bob", "on", ">sécret", "~*", "+@all", "-select"]
    with PrivateStore(tcp=True, user=user, requirepass=PASSWORD) as store:
        yield store


# ---- the ways ----


def test_over_a_unix_socket(store: PrivateStore, opener: Opener) -> None:
    assert opener.answer(at_socket(store)) == b"+PONG\r\n"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_over_tcp_a_dead_peer_is_noticed_and_nothing_waits_for_more(
    store: PrivateStore, opener: Opener, host: str
) -> None:
    assert opener.answer(at_port(store, host=host)) == b"+PONG\r\n"
    assert opener.options(at_port(store, host=host)) == {"keepalive": True, "nodelay": True}


def test_over_tls_as_well(store: PrivateStore, opener: Opener) -> None:
    with Proxy((store.host, store.port), server_context()) as proxy:
        settings = at_port(proxy, tls=True, tls_ca=AUTHORITY)
        assert opener.answer(settings) == b"+PONG\r\n"
        assert opener.options(settings) == {"keepalive": True, "nodelay": True}


@pytest.mark.parametrize(("name", "right"), [("localhost", True), ("elsewhere", False)])
def test_a_certificate_may_have_another_name_than_the_host(
    store: PrivateStore, opener: Opener, name: str, right: bool
) -> None:
    with Proxy((store.host, store.port), server_context()) as proxy:
        proxy.host = "127.0.0.2"
        proxy.refuse()
        proxy.accept()
        settings = at_port(
            proxy, host="127.0.0.2", tls=True, tls_ca=AUTHORITY, tls_server_name=name
        )
        if right:
            assert opener.answer(settings) == b"+PONG\r\n"
        else:
            with pytest.raises(StoreUnavailable) as error:
                opener.answer(settings)
            assert "certificate verify failed" in str(error.value.__cause__)


def test_an_embedded_store_has_no_address_of_its_own(opener: Opener) -> None:
    with pytest.raises(RuntimeError, match="embedded"):
        opener.answer(StoreSettings(conn_type="embedded"))


# ---- who asks ----


def test_nothing_is_said_to_a_store_without_users(store: PrivateStore, opener: Opener) -> None:
    with Proxy((store.host, store.port)) as proxy:
        opener.options(at_port(proxy))
        assert proxy.requests == b""


@pytest.mark.parametrize("tls", [False, True])
def test_the_user_and_the_database_are_told_in_one_breath(
    guarded: PrivateStore, opener: Opener, tls: bool
) -> None:
    with Proxy((guarded.host, guarded.port), server_context() if tls else None) as proxy:
        tls_ca = AUTHORITY if tls else None
        settings = at_port(proxy, password=PASSWORD, db=3, tls=tls, tls_ca=tls_ca)
        assert opener.answer(settings) == b"+PONG\r\n"
        assert proxy.requests == (
            pack(b"AUTH", PASSWORD.encode()) + pack(b"SELECT", b"3") + pack(b"PING")
        )


REFUSED: list[tuple[dict[str, Any], type[StoreError], str]] = [
    ({"password": "wrong"}, StoreDenied, "WRONGPASS"),
    ({"username": "bob", "password": PASSWORD}, StoreDenied, "WRONGPASS"),
    ({"username": "bob"}, StoreDenied, "WRONGPASS"),
    ({"username": "nobody", "password": PASSWORD}, StoreDenied, "WRONGPASS"),
    ({"username": "bob", "password": "sécret", "db": 1}, StoreDenied, "NOPERM"),
    ({"password": PASSWORD, "db": 9999}, UnexpectedReply, "DB index is out of range"),
]


@pytest.mark.parametrize(("login", "error", "reason"), REFUSED, ids=str)
@pytest.mark.parametrize("place", [at_port, at_socket])
def test_who_is_refused_is_told(
    guarded: PrivateStore,
    opener: Opener,
    place: Callable[..., StoreSettings],
    login: dict[str, Any],
    error: type[StoreError],
    reason: str,
) -> None:
    with pytest.raises(error, match=reason) as raised:
        opener.answer(place(guarded, **login))
    assert type(raised.value) is error
    if error is StoreDenied:
        assert reason in str(raised.value.__cause__)


def test_a_user_of_the_store(guarded: PrivateStore, opener: Opener) -> None:
    bob = at_port(guarded, username="bob", password="sécret")
    assert opener.answer(bob) == b"+PONG\r\n"
    assert opener.answer(at_port(guarded)).startswith(b"-NOAUTH")


def test_a_password_that_nobody_asks_for_is_told(store: PrivateStore, opener: Opener) -> None:
    with pytest.raises(StoreDenied, match="without any password"):
        opener.answer(at_socket(store, password=PASSWORD))


def test_a_store_that_has_too_many_clients(opener: Opener) -> None:
    with PrivateStore(tcp=True, maxclients=1) as store:
        store.client.ping()
        with pytest.raises(StoreUnavailable) as raised:
            opener.answer(at_port(store, password=PASSWORD))
        reset = isinstance(raised.value.__cause__, ConnectionError)
        assert reset or "clients" in str(raised.value)


# ---- what goes wrong ----


def test_the_reason_is_told(opener: Opener) -> None:
    nobody = StoreSettings(conn_type="tcp_sock", port=free_port())
    with pytest.raises(StoreUnavailable) as raised:
        opener.answer(nobody)
    assert isinstance(raised.value.__cause__, ConnectionRefusedError)
    for conn, reason in [
        ({"conn_type": "unix_sock", "unix_socket_path": "/no/such.sock"}, FileNotFoundError),
        ({"conn_type": "unix_sock", "unix_socket_path": "/" + "x" * 200}, OSError),
        ({"conn_type": "unix_sock"}, OSError),
        ({"conn_type": "tcp_sock", "host": "x" * 70 + ".invalid"}, ValueError),
        ({"conn_type": "tcp_sock", "tls": True, "tls_ca": "/no/such.pem"}, FileNotFoundError),
    ]:
        with pytest.raises(StoreUnavailable) as raised:
            opener.answer(StoreSettings(**conn))  # type: ignore[arg-type]
        assert isinstance(raised.value.__cause__, reason), conn


def test_a_blocking_caller_is_told_the_address() -> None:
    nobody = StoreSettings(conn_type="tcp_sock", port=free_port())
    with pytest.raises(StoreUnavailable) as raised:
        connect_blocking(nobody, 3)
    assert str(raised.value.__cause__) == f"[Errno 111] Connection refused: '{address(nobody)}'"


def test_a_store_that_does_not_answer_the_password_is_given_up(
    store: PrivateStore, opener: Opener
) -> None:
    with Proxy((store.host, store.port)) as proxy:
        proxy.stall()
        with pytest.raises(StoreUnavailable) as raised:
            opener.answer(at_port(proxy, password=PASSWORD), timeout=0.1)
        assert isinstance(raised.value.__cause__, TimeoutError)
        assert str(raised.value.__cause__)
        proxy.resume()
        wait_for("the connection is closed", lambda: not proxy.connections)


def test_a_store_that_does_not_speak_tls_is_given_up(store: PrivateStore, opener: Opener) -> None:
    with Proxy((store.host, store.port)) as proxy:
        with pytest.raises(StoreUnavailable):
            opener.answer(at_port(proxy, tls=True), timeout=0.2)
        wait_for("the connection is closed", lambda: not proxy.connections)


@contextlib.contextmanager
def speaker(words: bytes) -> Iterator[StoreSettings]:
    """A store that answers whatever comes with the same words, and hangs up."""

    def speak() -> None:
        with contextlib.suppress(OSError):
            while True:
                end, _ = listener.accept()
                with end, contextlib.suppress(ConnectionError):
                    end.recv(1000)
                    end.sendall(words)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=speak)
        thread.start()
        try:
            yield StoreSettings(
                conn_type="tcp_sock", port=listener.getsockname()[1], password=PASSWORD
            )
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("words", [b"", b"+O", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"*1\r\n"])
def test_a_store_that_makes_no_sense_is_given_up(opener: Opener, words: bytes) -> None:
    with speaker(words) as settings, pytest.raises(StoreUnavailable):
        opener.answer(settings)


def test_a_store_that_says_too_much_is_not_believed(opener: Opener) -> None:
    with (
        speaker(b"+OK\r\n+OK\r\n") as settings,
        pytest.raises(UnexpectedReply, match="without a request"),
    ):
        opener.answer(settings)


@pytest.mark.parametrize("tls", [False, True])
def test_a_caller_that_gives_up_leaves_no_connection(
    store: PrivateStore, loop: OnLoop, tls: bool
) -> None:
    async def give_up(settings: StoreSettings) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), listening(settings, 5):
                pass
        gc.collect()

    with Proxy((store.host, store.port)) as proxy:
        proxy.stall()
        loop.run(give_up(at_port(proxy, password=PASSWORD, tls=tls)))
        proxy.resume()
        wait_for("the connection is closed", lambda: not proxy.connections)


def test_an_answer_before_the_question_is_the_answer(loop: OnLoop) -> None:
    async def question(store: PrivateStore) -> list[Any]:
        return await ask(at_port(store), [PING, command("ECHO", 1)], 3)

    with PrivateStore(tcp=True, maxclients=1) as store:
        store.client.ping()
        with pytest.raises(StoreUnavailable):
            loop.run(question(store))


# ---- whom to trust ----


def test_a_file_of_authorities_takes_the_place_of_the_systems(
    store: PrivateStore, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy((store.host, store.port), server_context()) as proxy:
        monkeypatch.setenv("SSL_CERT_FILE", AUTHORITY)
        assert opener.answer(at_port(proxy, tls=True)) == b"+PONG\r\n"
        other = str(CERTIFICATES / "client.pem")
        with pytest.raises(StoreUnavailable) as raised:
            opener.answer(at_port(proxy, tls=True, tls_ca=other))
        assert isinstance(raised.value.__cause__, ssl.SSLCertVerificationError)


CONNECTS = """
import asyncio, sys
from sharq.errors import StoreUnavailable
from sharq.settings.options import StoreSettings
from sharq.store.connecting import connect, connect_blocking

kind, port, authority, certificate, key = sys.argv[1:]
settings = StoreSettings(
    conn_type="tcp_sock",
    port=int(port),
    tls=True,
    tls_ca=authority,
    tls_certificate=certificate,
    tls_key=key,
)
try:
    if kind == "blocking":
        connect_blocking(settings, 60)
    else:
        asyncio.run(connect(settings, asyncio.Protocol(), 60))
except StoreUnavailable as error:
    print(type(error.__cause__).__name__)
"""


@pytest.mark.parametrize("kind", ["asyncio", "blocking"])
def test_nobody_is_asked_for_the_password_of_a_key(
    store: PrivateStore, tmp_path: Path, kind: str
) -> None:
    key = tmp_path / "locked.key"
    key.write_text(LOCKED_KEY)
    terminal, end = pty.openpty()
    with Proxy((store.host, store.port), server_context()) as proxy:
        command = [sys.executable, "-c", CONNECTS, kind, str(proxy.port), AUTHORITY]
        done = subprocess.run(
            [*command, str(CERTIFICATES / "client.pem"), str(key)],
            stdin=end,
            capture_output=True,
            text=True,
            timeout=20,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(end, termios.TIOCSCTTY, 0),
            check=False,
        )
    os.close(terminal)
    os.close(end)
    assert (done.stdout, done.returncode) == ("SSLError\n", 0), done.stderr


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (
            StoreSettings(conn_type="unix_sock", unix_socket_path="/run/store.sock"),
            "/run/store.sock",
        ),
        (StoreSettings(conn_type="tcp_sock", host="db", port=6380, password="secret"), "db:6380"),
        (StoreSettings(conn_type="tcp_sock", host="db", port=6380, tls=True), "db:6380 (TLS)"),
    ],
)
def test_the_address_for_the_log_shows_no_secret(settings: StoreSettings, text: str) -> None:
    assert address(settings) == text


LOCKED_KEY = """\
-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-128-CBC,08CDADA7D07D23C4E0D08384DDB14E14

s64z6ebV7pGDnRXbZawa7oYdu7qCatb+pMnKUji/6ISONgIDWj3OpDkNYAsunuuq
AOrkN+oUtsYkE+e70KlKHffLsAZyatExjw0w9PAl7ZONcCAZDBJN/lRCRW9avZ6o
EUINZBliZ4EKaInBFyv0/XHkO8BtKOQZ6ghhJIBdDNo=
-----END EC PRIVATE KEY-----
"""
