"""Connections: the same bytes mean the same, however they are cut into pieces on their way."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade
from hypothesis import strategies as st

from sharq.settings.reading import Settings
from sharq_server import SharQServer
from sharq_server.http._lane import Reader
from sharq_server.http.connection import Connection
from sharq_server.http.framing import VERSIONS
from sharq_server.http.requests import Requests
from sharq_server.process.event_loop import loop_factory
from sharq_server.security.certificates import Certificate
from tests.fuzz.http_streams import STREAMS, Answer, parse
from tests.fuzz.targets import SIZES, Target, cut
from tests.support.sockets import PlainSocket, TLSSocket
from tests.support.stores import PrivateStore

# ---- the reader alone ----


class _Told(Reader):
    """Notes what it is told; pieces of a body that follow one another are one."""

    def __init__(self) -> None:
        self.body_limit = 1000
        self.told: list[Any] = []

    def on_enqueue(self, *arguments: Any) -> None:
        self.told.append(("enqueue", *arguments))

    def on_dequeue(self, *arguments: Any) -> None:
        self.told.append(("dequeue", *arguments))

    def on_finish(self, *arguments: Any) -> None:
        self.told.append(("finish", *arguments))

    def on_head(self) -> None:
        if self.version not in VERSIONS:
            # What reads from here refuses it.
            self.ignore()
            self.told.append(("malformed",))
            return
        head = (self.method, self.target, self.version, self.keeps_alive)
        self.told.append(("head", *head, tuple(self.headers)))

    def on_chunk(self, chunk: bytes) -> None:
        if self.told and self.told[-1][0] == "chunk":
            chunk = self.told.pop()[1] + chunk
        self.told.append(("chunk", chunk))

    def on_end(self) -> None:
        self.told.append(("end",))

    def refused(self) -> list[Any]:
        """What was told, with a refusal at its end."""
        if not self.told or self.told[-1][0] not in ("malformed", "large target", "large head"):
            self.told.append(("malformed",))
        return self.told

    def on_large_target(self) -> None:
        self.ignore()
        self.told.append(("large target",))

    def on_large_head(self) -> None:
        self.ignore()
        self.told.append(("large head",))


def _told(pieces: list[bytes]) -> list[Any]:
    reader = _Told()
    for piece in pieces:
        try:
            reader.feed(piece)
        except HttpParserUpgrade:
            return [*reader.told, ("upgrade", reader.method, reader.target)]
        except HttpParserCallbackError as error:
            if not isinstance(error.__context__, HttpParserError):
                # Not what a callback finds wrong, but a bug of its own.
                raise
            return reader.refused()
        except HttpParserError:
            return reader.refused()
    return reader.told


def _without_pieces(told: list[Any]) -> list[Any]:
    """What is certain: of a body that is then refused, more or less may have been told."""
    if told and told[-1] == ("malformed",):
        told = told[:-1]
        while told and told[-1][0] in ("chunk", "head"):
            told = told[:-1]
        told.append(("malformed",))
    return told


def check_reader(parts: tuple[bytes, list[int]]) -> None:
    data, sizes = parts
    whole, pieces = _told([data]), _told(cut(data, sizes))
    assert _without_pieces(pieces) == _without_pieces(whole)


# ---- connections of a server ----

_SECONDS = 30.0
_FILES = Path(__file__).parent.parent / "support" / "tls"
_CERTIFICATE = Certificate(str(_FILES / "server.pem"), str(_FILES / "server.key"))
_TRUSTING = ssl.create_default_context(cafile=str(_FILES / "authority.pem"))


class _Requests(Requests):
    """`taken` counts the bytes that have come."""

    taken = 0
    _taking = False

    def on_data(self, data: bytes) -> None:
        # What is read anew with a change comes in here once more.
        if self._taking:
            super().on_data(data)
            return
        self.taken += len(data)
        self._taking = True
        super().on_data(data)
        self._taking = False

    @property
    def waits(self) -> bool:
        """Whether nothing will happen before more comes in."""
        waits_for_body = self._receiving is not None and self._receiving is self._current
        return self.connection.ended or not self.busy or waits_for_body


def _may_be_odd_method(one: Answer | None, other: Answer | None) -> bool:
    """Whether a method that nobody knows may have been told from bytes without sense once only.

    That takes a method that is the first thing of its piece, and whole. Such a request is answered
    when its body has come, and bytes without sense are at once.
    """
    bad, told = sorted((one, other), key=lambda each: each is None or each.body != b"bad_request")
    return (bad is not None and bad.body == b"bad_request") and (
        told is None
        or any(status in told.head for status in (" 403 ", " 405 ", " 415 ", " 417 "))
        or b"no such route" in told.body
    )


class Lanes:
    """Two servers in this thread, with keys of their own."""

    def __init__(self, store: PrivateStore, prefix: str) -> None:
        self._runner = asyncio.Runner(loop_factory=loop_factory())
        self._servers = [
            SharQServer(
                Settings.from_mapping(
                    {
                        "redis": {
                            "conn_type": "unix_sock",
                            "unix_socket_path": store.socket_path,
                            "key_prefix": f"{prefix}-{name}",
                        },
                        "sharq-server": {"allowed_hosts": "a"},
                        "sharq": {
                            "enable_requeue_script": False,
                            "job_expire_interval": 3_600_000,
                        },
                    }
                )
            )
            for name in ("whole", "cut")
        ]
        for server in self._servers:
            self._runner.run(server.start())
            self._runner.run(server.sq.ping())
        self._listeners = [server.app.make_listener() for server in self._servers]

    def close(self) -> None:
        for server in self._servers:
            self._runner.run(server.stop())
        self._runner.close()

    def check(self, parts: tuple[bytes, list[int]]) -> None:
        self._check(parts, tls=False)

    def check_tls(self, parts: tuple[bytes, list[int]]) -> None:
        self._check(parts, tls=True)

    def _check(self, parts: tuple[bytes, list[int]], *, tls: bool) -> None:
        data, sizes = parts
        whole = self._runner.run(self._answers(0, [data], tls=False))
        pieces = self._runner.run(self._answers(1, cut(data, sizes), tls=tls))
        for at, (one, other) in enumerate(zip_longest(whole, pieces)):
            if one != other and _may_be_odd_method(one, other):
                whole, pieces = whole[:at], pieces[:at]
                break
        assert pieces == whole
        assert not any(answer.head.startswith("HTTP/1.1 5") for answer in whole)

    async def _answers(self, which: int, pieces: list[bytes], *, tls: bool) -> list[Answer]:
        """What comes back for the pieces, each of which is read before the next one is sent."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _SECONDS
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        app, listener = self._servers[which].app, self._listeners[which]
        made: list[_Requests] = []

        def requests(connection: Connection) -> _Requests:
            made.append(_Requests(app, connection, lambda: 0.0))
            return made[0]

        context = _CERTIFICATE.context if tls else None
        transport, connection = await loop.connect_accepted_socket(
            lambda: Connection(listener, app.connections, context, requests), theirs
        )
        reader, client = made[0], TLSSocket(ours, _TRUSTING) if tls else PlainSocket(ours)
        sent = 0
        with ours:
            await client.shake_hands()
            for piece in pieces:
                if connection.gone:
                    break
                await client.sendall(piece)
                sent += len(piece)
                while reader.taken < sent and not (connection.ended or connection.holding):
                    await asyncio.sleep(0)
            while not (reader.waits and (reader.taken >= sent or connection.ended)):
                assert loop.time() < give_up, f"{reader.taken} of {sent} bytes: {vars(reader)}"
                await asyncio.sleep(0)
            # What was written last leaves at the end of the loop's turn.
            for _ in range(3):
                await asyncio.sleep(0)
            received = client.recv_now()
        transport.abort()
        while not connection.gone:
            await asyncio.sleep(0)
        return list(parse(received))


@contextmanager
def lanes(store: PrivateStore, prefix: str) -> Iterator[list[Target]]:
    """The targets that need servers."""
    servers = Lanes(store, prefix)
    inputs = st.tuples(STREAMS, SIZES)
    try:
        yield [
            Target("lane", inputs, servers.check, examples=60),
            Target("tls", inputs, servers.check_tls, examples=30),
        ]
    finally:
        servers.close()


TARGETS = [
    Target("reader", st.tuples(STREAMS | st.binary(max_size=100), SIZES), check_reader),
]
