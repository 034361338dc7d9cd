"""Slow clients: each does one thing too slowly, or just slowly enough, and notes what it gets.

Every kind goes over a socket of its own with small buffers, again and again.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from sharq.codec import websocket_frames as ws
from tests.load.wire import UPGRADE, Place
from tests.support.http import HOST, head_of
from tests.support.sockets import PlainSocket, Socket, TLSSocket

LARGE_TYPE = "large"
"""The type whose list of queues is a large answer; `LARGE_QUEUES` of them have names of 100."""

LARGE_QUEUES = 1500

_SMALL_BUFFER = 4096
_LATE = 20.0
_AFTER_TROUBLE = 5.0
_CLOSED_STATES = frozenset((4, 5, 6, 7, 8, 9, 11))
_ANSWERING_FRAMES = 30

_HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"x" * 200
_BODY_HEAD = b"POST /finish/t/q/j/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
_LARGE = b"GET /metrics/" + LARGE_TYPE.encode() + b"/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
_MANY_REFUSALS = ws.frame(
    ws.TEXT, json.dumps({"op": "finish", "leases": ["none"] * 1000}).encode(), masked=True
)


class Kind(NamedTuple):
    """What a client does, and how that should end: `outcome`, between `least` and `most` seconds.

    `share` is how many of a hundred slow clients are of the kind.
    """

    name: str
    share: int
    act: Callable[[Socket], Awaitable[str]]
    outcome: str
    least: float
    most: float


class Slow:
    """Slow clients of a server. `outcomes` counts, for each kind, how they ended and after how many
    seconds at most; `unexpected` those that did not end as they should.
    """

    def __init__(self, place: Place) -> None:
        self.open = 0
        self.outcomes: dict[str, Counter[str]] = {kind.name: Counter() for kind in ALL_KINDS}
        self.longest: dict[str, float] = {kind.name: 0.0 for kind in ALL_KINDS}
        self.unexpected: Counter[str] = Counter()
        self._place = place

    async def keep(self, kind: Kind, spread: float) -> None:
        """Be slow for ever, from a random moment within `spread` seconds on."""
        await asyncio.sleep(spread * random.random())
        while True:
            await self._once(kind)

    async def _once(self, kind: Kind) -> None:
        loop = asyncio.get_running_loop()
        context = self._place.context
        with socket.socket() as wire:
            wire.setblocking(False)
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
            connection = PlainSocket(wire) if context is None else TLSSocket(wire, context)
            try:
                await loop.sock_connect(wire, (HOST, self._place.port))
                if kind.act is not _greet_nobody:
                    await connection.shake_hands()
            except OSError as error:
                self.unexpected[f"{kind.name}: could not connect: {error}"] += 1
                await asyncio.sleep(_AFTER_TROUBLE)
                return
            self.open += 1
            began = time.monotonic()
            try:
                async with asyncio.timeout(kind.most + _LATE):
                    outcome = await kind.act(connection)
            except TimeoutError:
                outcome = "nothing"
            except OSError:
                outcome = "reset"
            finally:
                self.open -= 1
        if not self._note(kind, outcome, time.monotonic() - began):
            await asyncio.sleep(_AFTER_TROUBLE)

    def _note(self, kind: Kind, outcome: str, seconds: float) -> bool:
        """Count an end; whether it was as it should be."""
        self.outcomes[kind.name][outcome] += 1
        self.longest[kind.name] = max(self.longest[kind.name], seconds)
        good = outcome == kind.outcome and kind.least <= seconds <= kind.most
        if not good:
            self.unexpected[f"{kind.name}: {outcome} after {seconds:.0f} s"] += 1
        return good


def kinds_of(count: int, *, tls: bool) -> Iterator[Kind]:
    """The kinds of `count` slow clients, in their shares; with `tls` some shake no hands."""
    kinds = ALL_KINDS if tls else KINDS
    deck = [kind for kind in kinds for _ in range(kind.share)]
    for at in range(count):
        # 37 has no divisor in common with the deck: few clients are of many kinds, too.
        yield deck[at * 37 % len(deck)]


# ---- what they do ----


async def _say_nothing(connection: Socket) -> str:
    return await _the_end(connection)


async def _greet_nobody(connection: Socket) -> str:
    wire = connection.wire
    return "told" if await asyncio.get_running_loop().sock_recv(wire, 1) else "closed"


async def _half_a_head(connection: Socket) -> str:
    await _send(connection, _HEAD[:20])
    return await _the_end(connection)


async def _drip_a_head(connection: Socket) -> str:
    return await _drip(connection, _HEAD, 2.0)


async def _half_a_body(connection: Socket) -> str:
    await _send(connection, _BODY_HEAD % 200 + b" " * 100)
    return await _the_end(connection)


async def _drip_a_body(connection: Socket) -> str:
    await _send(connection, _BODY_HEAD % 200)
    return await _drip(connection, b" " * 199, 0.5)


async def _drip_a_body_in_time(connection: Socket) -> str:
    await _send(connection, _BODY_HEAD % 4)
    return await _drip(connection, b"{}  ", 1.0)


async def _read_nothing(connection: Socket) -> str:
    await _send(connection, _LARGE * 4)
    return await _reset(connection)


async def _read_slowly(connection: Socket) -> str:
    await _send(connection, _LARGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    answer = b""
    while part := await connection.recv(2048):
        answer += part
        await asyncio.sleep(1)
    if not answer:
        return "closed"
    head, _, body = answer.partition(b"\r\n\r\n")
    status, headers = head_of(head)
    whole = int(headers["Content-Length"]) == len(body)
    return f"{status}, {'whole' if whole else 'cut'}"


async def _subscribe_and_read_nothing(connection: Socket) -> str:
    await _upgrade(connection)
    sending = asyncio.ensure_future(_send(connection, _MANY_REFUSALS * _ANSWERING_FRAMES))
    try:
        return await _reset(connection)
    finally:
        sending.cancel()
        with suppress(OSError, asyncio.CancelledError):
            await sending


async def _half_a_frame(connection: Socket) -> str:
    await _upgrade(connection)
    await _send(connection, _MANY_REFUSALS[:1000])
    while await connection.recv(_SMALL_BUFFER):
        pass
    return "closed"


async def _upgrade(connection: Socket) -> None:
    await _send(connection, UPGRADE)
    answer = await connection.recv(_SMALL_BUFFER)
    if head_of(answer)[0] != 101:
        raise ConnectionError


async def _send(connection: socket.socket, data: bytes) -> None:
    await connection.sendall(data)


async def _drip(connection: socket.socket, data: bytes, every: float) -> str:
    """Send byte after byte, one every so many seconds, while there is no answer."""
    ending = asyncio.ensure_future(_the_end(connection))
    try:
        for at in range(len(data)):
            await asyncio.wait({ending}, timeout=every)
            if ending.done():
                break
            await _send(connection, data[at : at + 1])
        return await ending
    finally:
        ending.cancel()


async def _the_end(connection: Socket) -> str:
    """The status of the one answer, or how the connection ended without one."""
    answer = await connection.recv(_SMALL_BUFFER)
    return str(head_of(answer)[0]) if answer else "closed"


async def _reset(connection: Socket) -> str:
    """Wait until the server has ended a connection that is not read from."""
    while True:
        await asyncio.sleep(1)
        if connection.wire.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return "ended"
        state = connection.wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        if state in _CLOSED_STATES:
            return "ended"


# The server's own limits, docs/rest-api.md and docs/push-protocol.md: a head or a request 60 s, a
# body 10 s, answers that are not read 60 s, and two heartbeats of 20 s; its clock ticks by seconds.
KINDS = (
    Kind("says nothing", 14, _say_nothing, "closed", 58, 70),
    Kind("half a head", 20, _half_a_head, "408", 58, 70),
    Kind("a head byte by byte", 20, _drip_a_head, "408", 58, 70),
    Kind("half a body", 10, _half_a_body, "408", 8, 20),
    Kind("a body byte by byte", 10, _drip_a_body, "408", 8, 20),
    Kind("a body byte by byte, in time", 5, _drip_a_body_in_time, "404", 3, 15),
    Kind("reads no answer", 5, _read_nothing, "ended", 58, 80),
    Kind("reads an answer slowly", 5, _read_slowly, "200, whole", 60, 300),
    Kind("reads nothing pushed", 3, _subscribe_and_read_nothing, "ended", 38, 90),
    Kind("half a frame, and no pong", 8, _half_a_frame, "closed", 38, 75),
)
ALL_KINDS = (*KINDS, Kind("no handshake", 7, _greet_nobody, "closed", 9, 20))
assert sum(kind.share for kind in KINDS) == 100
