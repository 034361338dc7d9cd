"""Follows the primary that sentinels name, for blocking calls.

Nothing runs while nobody calls. Before a connection is used again, what the sentinels have sent
since is read; every few seconds a short thread asks them all, which no call waits for. A call that
waits for a silent store asks them, too.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import Final

import hiredis

from sharq.errors import StoreError, StoreUnavailable
from sharq.results import Watch
from sharq.settings.options import StoreSettings
from sharq.store.asking import ask_all_blocking
from sharq.store.blocking_connection import BlockingWire, WatchedWire
from sharq.store.connecting import address, connect_blocking
from sharq.store.query import ask_blocking
from sharq.store.request import Request
from sharq.store.script_loading import pack
from sharq.store.sentinel import (
    ASK_TIMEOUT,
    EVENTS,
    GRACE,
    HOLD,
    IS_PRIMARY,
    LOOK_INTERVAL,
    PROBE_INTERVAL,
    Opinion,
    Told,
    at_node,
    at_sentinel,
    candidate,
    named,
    questions,
    survey,
    told,
    unanswered,
)
from sharq.store.slots import Node

_log = logging.getLogger("sharq.sentinel")

# How often the sentinels' events are looked for, seconds.
_LISTEN_INTERVAL: Final = 0.005

# How often it is asked whether a silent store is still the primary, seconds.
_SILENCE: Final = 0.25

_READ_SIZE: Final = 4096


class SyncSentinels:
    """The primary of a service, as its sentinels say, for any number of threads.

    `known` is how it is reached, None before the first answer and while a replica is promoted.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self.known: StoreSettings | None = None
        self._settings = settings
        self._service = settings.sentinel_service or ""
        self._addresses = tuple(dict.fromkeys(settings.sentinels))
        self._opinion = Opinion(len(self._addresses))
        self._former: StoreSettings | None = None
        self._closed = False
        self._silent = False
        self._begin_process()

    def _begin_process(self) -> None:
        self._process = os.getpid()
        self._ears: dict[str, _Ear] = {}
        self._listening = threading.Lock()
        self._finding = threading.Lock()
        self._looking: threading.Thread | None = None
        self._expected: tuple[Node, float] | None = None
        self._listen_at = self._look_at = 0.0
        self._found_at = float("-inf")

    def connect(self, timeout: float) -> BlockingWire:
        """Connect to the primary within `timeout` seconds. Raises OSError, and StoreError.

        If a replica is being promoted, that is waited for. If no sentinel answers, the last known
        primary is connected to. Nothing but `ROLE` is sent to a node that is not a primary.
        """
        until = time.monotonic() + timeout
        place = self._find(until)
        left = max(0.05, until - time.monotonic())
        wire = _NamedWire(connect_blocking(place, left), self, place)
        try:
            for request, reply in wire.exchange([Request(IS_PRIMARY)], until):
                answer = request.read(reply)
                if isinstance(answer, StoreError):
                    raise answer
        except BaseException:
            wire.close()
            raise
        return wire

    def left(self, place: StoreSettings) -> bool:
        """Tell whether the sentinels have named another primary than at `place`.

        It waits only after an event, until they have been asked.
        """
        now = time.monotonic()
        if now >= self._listen_at and self._listening.acquire(blocking=False):
            try:
                self._listen_at = now + _LISTEN_INTERVAL
                self._listen()
                if now >= self._look_at and self._looking is None:
                    self._look_at = now + LOOK_INTERVAL
                    looking = threading.Thread(target=self._look_aside, daemon=True)
                    self._looking = looking
                    looking.start()
            finally:
                self._listening.release()
        return self.known != place

    def replaced(self, place: StoreSettings) -> bool:
        """Tell whether another primary than a silent one at `place` is known; asks for it."""
        with suppress(StoreError):
            self._find(time.monotonic() + ASK_TIMEOUT)
        return self.known is not None and self.known != place

    def survey(self) -> Watch:
        """What all sentinels say."""
        return survey(self._service, self._ask_all(ASK_TIMEOUT), self.known)

    def close(self) -> None:
        """Stop listening."""
        self._closed = True
        ears, self._ears = self._ears, {}
        for ear in ears.values():
            ear.close()

    def check_process(self) -> None:
        """Begin anew in a forked child: a connection may be used only where it was opened."""
        if self._process != os.getpid():
            self._begin_process()

    # Inside

    def _listen(self) -> None:
        """Read what the sentinels have sent, be it long ago: the last event of each counts."""
        for sentinel, ear in list(self._ears.items()):
            try:
                messages = ear.heard()
            except OSError:
                self._ears.pop(sentinel, None)
                ear.close()
                self._look_at = 0.0
                continue
            if messages:
                self._hear(candidate(messages[-1], self._service))

    def _hear(self, node: Node | None) -> None:
        """A replica is being promoted, or (None) the primary may be another one already."""
        if node is None:
            with suppress(StoreError):
                self._find(time.monotonic() + ASK_TIMEOUT)
        elif node != self._opinion.node and self._expected is None:
            self._expected = node, time.monotonic() + HOLD
            if self.known is not None:
                _log.info(
                    "The sentinels promote %s; the store at %s is left",
                    address(at_node(self._settings, node)),
                    address(self.known),
                )
            self.known = None

    def _look_aside(self) -> None:
        """Ask all, and listen to those that are not listened to yet."""
        try:
            for sentinel in self._addresses:
                if sentinel not in self._ears:
                    with suppress(StoreError, OSError):
                        self._ears[sentinel] = _Ear(at_sentinel(self._settings, sentinel))
            if self._closed:
                self.close()
            elif self._expected is None:
                with suppress(StoreError):
                    self._find(time.monotonic() + ASK_TIMEOUT)
        finally:
            self._looking = None

    def _find(self, until: float) -> StoreSettings:
        """Ask the sentinels for the primary. Raises `StoreError` if none is known."""
        self.check_process()
        came = time.monotonic()
        with self._finding:
            if self._found_at > came and self.known is not None:
                return self.known
            self._wait_for_promotion(until)
            said = self._ask_all(GRACE)
            answers = named(said)
            self._opinion.hear(answers, time.monotonic())
            if self._opinion.node is None:
                raise unanswered(said)
            self._found_at = time.monotonic()
            place = at_node(self._settings, self._opinion.node)
            if not answers and not self._silent:
                reason = unanswered(said).__cause__
                _log.warning("The store at %s is used as before, though %s", address(place), reason)
            self._silent = not answers
            return self._settle(place)

    def _ask_all(self, grace: float) -> dict[str, Told | StoreError]:
        """Ask all at once; when one has answered, the others are waited for `grace` seconds."""
        silent = StoreUnavailable("no answer")
        said: dict[str, Told | StoreError] = dict.fromkeys(self._addresses, silent)
        return said | ask_all_blocking(
            self._addresses, self._ask, _names, timeout=ASK_TIMEOUT, grace=grace
        )

    def _ask(self, sentinel: str) -> Told | StoreError:
        try:
            place = at_sentinel(self._settings, sentinel)
            replies = ask_blocking(place, questions(self._settings), ASK_TIMEOUT)
            return told(replies, self._service)
        except StoreError as error:
            return error

    def _wait_for_promotion(self, until: float) -> None:
        """Wait until the node that is being promoted says itself that it is a primary."""
        expected = self._expected
        if expected is None:
            return
        node, held_until = expected
        while self._opinion.node != node:
            if self._is_primary(node):
                self._opinion.promoted(node, time.monotonic())
            elif time.monotonic() >= held_until:
                break
            elif time.monotonic() >= until:
                trouble = StoreUnavailable()
                trouble.__cause__ = LookupError("the sentinels are about to promote another node")
                raise trouble
            else:
                time.sleep(PROBE_INTERVAL)
        self._expected = None

    def _is_primary(self, node: Node) -> bool:
        place = at_node(self._settings, node)
        try:
            (reply,) = ask_blocking(place, [IS_PRIMARY], ASK_TIMEOUT)
            if isinstance(reply, hiredis.ReplyError):
                return False
            IS_PRIMARY.parse(reply)
        except StoreError:
            return False
        return True

    def _settle(self, place: StoreSettings) -> StoreSettings:
        former, self._former = self._former, place
        self.known = place
        if former is not None and former != place:
            where, before = address(place), address(former)
            service = self._service
            _log.warning("The primary of `%s` is now at %s, before at %s", service, where, before)
        return place


class _NamedWire(WatchedWire):
    """A connection to what the sentinels named, given up when they name another node."""

    __slots__ = ("_place", "_sentinels")

    def __init__(
        self, opened: socket.socket, sentinels: SyncSentinels, place: StoreSettings
    ) -> None:
        super().__init__(opened, lambda: sentinels.replaced(place), first=_SILENCE, then=_SILENCE)
        self._sentinels = sentinels
        self._place = place

    def quiet(self) -> bool:
        self._sentinels.check_process()
        return super().quiet() and not self._sentinels.left(self._place)


class _Ear:
    """A connection on which a sentinel tells of its events."""

    def __init__(self, settings: StoreSettings) -> None:
        self._reader = hiredis.Reader()
        self._socket = connect_blocking(settings, ASK_TIMEOUT)
        self._socket.sendall(pack(b"SUBSCRIBE", *EVENTS))
        self._socket.setblocking(False)

    def heard(self) -> list[bytes]:
        """What has come since. Raises OSError when the connection has ended."""
        messages = []
        with suppress(BlockingIOError, ssl.SSLWantReadError):
            while True:
                data = self._socket.recv(_READ_SIZE)
                if not data:
                    raise ConnectionResetError("the sentinel closed the connection")
                self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                if isinstance(reply, list) and len(reply) == 3 and reply[0] == b"message":
                    messages.append(reply[2])
        except hiredis.ProtocolError as error:
            raise ConnectionAbortedError("the sentinel sends what is no reply") from error
        return messages

    def close(self) -> None:
        self._socket.close()


def _names(answer: Told | StoreError) -> bool:
    return isinstance(answer, Told)
