"""Has replicas confirm what one asyncio connection was answered, over another one.

``WAIT`` holds its connection, so that calls behind it would stand still. Here they do not: answers
that have come are held while the second connection waits for the replicas, those that come
meanwhile are confirmed by its next ``WAIT``, together. So one is under way at a time, whatever
their number. Both connections lead to one process of the store, and end together: what a process
has answered is confirmed by nobody else.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

from sharq.errors import (
    StoreError,
    StoreFull,
    StoreOverloaded,
    StoreUnavailable,
    TooFewReplicas,
    UnexpectedReply,
)
from sharq.operations.call import Call
from sharq.settings.options import StoreSettings
from sharq.store.confirming import (
    PROCESS,
    Terms,
    Touch,
    holds,
    lacks_replicas,
    promises,
    touch_by_script,
)
from sharq.store.connecting import address, connect
from sharq.store.errors import Misdirected
from sharq.store.wire import Entry, Wire, settle

_log = logging.getLogger("sharq.link")

# How long the store waits for the replicas at a time, ms; then it is asked again.
_WAIT: Final = 1000

# Seconds after a question at which the second connection is silent: while calls are answered over
# the first one, and if they are not, since the store may be busy.
_SILENT: Final = 2.0
_SILENT_WITH_ALL: Final = 6.0

# How long answers are gathered while more of them are on their way, seconds.
_GATHER: Final = 0.001

# Seconds before it is asked again after it has refused.
_PAUSE: Final = 0.05

Held = tuple[Entry[Any], Any]
"""A call and its reply."""


class Owner(Protocol):
    """Who holds the answers back."""

    def on_confirmed(self, entry: Entry[Any], reply: Any) -> None:
        """Replicas have what `reply` tells."""

    def on_unconfirmed(self, entries: list[Entry[Any]], trouble: StoreError) -> None:
        """Nobody knows whether replicas have what these calls were answered."""


class Confirmer:
    """The second connection of a `Wire`, which it ends with; `open` makes it.

    `behind` tells that replicas have not confirmed within a second, or that the store has refused
    for as long to ask them; then they are asked on and on.
    """

    def __init__(self, terms: Terms, owner: Owner, first: Wire) -> None:
        self.behind = False
        self.held: deque[Held] = deque()
        self._terms = terms
        self._owner = owner
        self._first = first
        self._loop = asyncio.get_running_loop()
        self._nobody: asyncio.Future[Any] = self._loop.create_future()
        self._held_since = self._heard_at = 0.0
        self._key = self._asking_key = b""
        self._covered = 0
        self._asked_at = 0.0
        self._due: asyncio.Handle | None = None
        # The same two entries are sent each time.
        self._asking: list[Entry[Any]] = []
        self._touch_of: Touch = touch_by_script
        self._touch: Entry[None]
        self._wait = Entry(terms.wait(_WAIT), self._nobody)
        self._refusal: StoreError | None = None
        self._refused_since = 0.0
        self._opening: list[Entry[Any]] = [
            Entry(call, self._loop.create_future()) for call in (PROCESS, terms.trial())
        ]
        self._wire = Wire(settle, self._on_lost, lambda: None, self._opening)

    async def open(self, settings: StoreSettings, timeout: float) -> None:
        """Connect to where the first connection leads. Raises `StoreError`."""
        here = Entry(PROCESS, self._loop.create_future())
        self._first.send([here])
        entries = [here, *self._opening]
        self._where = address(settings)
        try:
            await connect(settings, self._wire, timeout)
            first, second = await here.future, await self._opening[0].future
            try:
                await self._opening[1].future
            except UnexpectedReply as refusal:
                unable = self._terms.unable(refusal)
                if unable is not None:
                    raise unable from None
            if first != second:
                raise StoreUnavailable("The connections lead to different stores.")
            proof = [Entry(call, self._loop.create_future()) for call in self._terms.proof(second)]
            if proof:
                entries += proof
                self._opening += proof
                self._wire.send(proof)
                shown = [each.future for each in proof]
                self._touch_of = self._terms.touch(
                    await asyncio.gather(*shown, return_exceptions=True)
                )
                if self._wire.lost.done():
                    raise StoreUnavailable
        except BaseException:
            self._wire.abort(ConnectionAbortedError("the connection is of no use"))
            for entry in entries:
                if not entry.future.cancel() and not entry.future.cancelled():
                    entry.future.exception()
            raise
        self._opening = []
        self._wire.on_reply = self._on_reply
        self._first.lost.add_done_callback(lambda _: self._on_first_lost())

    @property
    def closed(self) -> asyncio.Future[None]:
        """Done when it is over, and nothing is held any more."""
        return self._wire.lost

    def on_reply(self, entry: Entry[Any], reply: Any) -> None:
        """Pass on the answer of a call, or keep it until it is confirmed if it has to be."""
        self._heard_at = self._loop.time()
        if entry.future.done() or not holds(entry.call, reply):
            self._owner.on_confirmed(entry, reply)
        else:
            if not self.held:
                self._held_since = self._heard_at
            self.held.append((entry, reply))
            self._key = entry.call.key
        if self.held and not self._asking and self._due is None:
            self._due = self._loop.call_soon(self._ask_in_time)

    def check_silence(self) -> None:
        """Give the store up that owes an answer for too long. To be called from time to time."""
        if not self._asking:
            return
        others_are_answered = self._heard_at - self._asked_at > _SILENT
        silent = self._loop.time() - self._asked_at
        if others_are_answered or silent > _SILENT_WITH_ALL:
            self._wire.abort(TimeoutError("no answer about the replicas"))

    def abort(self) -> None:
        """End at once; what is held stays unconfirmed."""
        self._wire.abort(ConnectionAbortedError("the link was closed"))

    def _is_time(self) -> bool:
        """Whether to ask now: answers that come at once are confirmed with those that are here."""
        pending = self._first.pending and not self._first.lost.done()
        return not pending or self._loop.time() - self._held_since >= _GATHER

    def _ask_in_time(self) -> None:
        self._due = None
        if self._is_time():
            self._ask()

    def _ask(self) -> None:
        self._due = None
        if self._wire.finishing or self._wire.lost.done():
            return
        self._covered = len(self.held)
        self._asked_at = self._held_since = self._loop.time()
        self._refusal = None
        if self._key != self._asking_key:
            self._asking_key = self._key
            self._touch = Entry(self._touch_of(self._key), self._nobody)
        self._asking = [self._touch, self._wait]
        self._wire.send(self._asking)

    def _on_reply(self, entry: Entry[Any], reply: Any) -> None:
        result = entry.read(reply)
        if isinstance(result, StoreError):
            self._refusal = self._refusal or result
        if entry is not self._wait:
            return
        self._asking = []
        pause = 0.0
        if self._refusal is not None:
            pause = _PAUSE
            self._on_refusal(self._refusal)
        elif result:
            self._refused_since = 0.0
            if self.behind:
                self.behind = False
                _log.info("Replicas of the store at %s confirm again", self._where)
            for held, answer in self._take(self._covered):
                self._owner.on_confirmed(held, answer)
        else:
            self._fall_behind()
            self.held = deque(each for each in self.held if not each[0].future.done())
            if self._first.lost.done():
                self._fail(self._take(len(self.held)), TooFewReplicas())
        self._go_on(pause)

    def _on_refusal(self, refusal: StoreError) -> None:
        """The touch was refused: for good, or until the store takes writes again."""
        if lacks_replicas(refusal):
            now = self._loop.time()
            self._refused_since = self._refused_since or now
            if now - self._refused_since > _WAIT / 1000:
                self._fall_behind()
        else:
            self.behind = False
        if isinstance(refusal, Misdirected) and refusal.node is not None:
            # One slot has moved: others are still here.
            key = self._asking_key
            moved = [each for each in self.held if each[0].call.key == key]
            self.held = deque(each for each in self.held if each[0].call.key != key)
            if self.held:
                self._key = self.held[0][0].call.key
            self._fail(moved, refusal)
        elif (
            isinstance(refusal, Misdirected)
            or not isinstance(refusal, StoreUnavailable | StoreFull)
            or self._first.lost.done()
        ):
            self._fail(self._take(self._covered), refusal)

    def _fall_behind(self) -> None:
        if not self.behind:
            self.behind = True
            _log.warning("Too few replicas of the store at %s confirm changes", self._where)

    def _go_on(self, pause: float) -> None:
        if self.held or (self.behind and not self._first.lost.done()):
            if pause:
                self._due = self._due or self._loop.call_later(pause, self._ask)
            elif self._due is None:
                self._due = self._loop.call_soon(self._ask if self.behind else self._ask_in_time)
        elif self._first.lost.done():
            self._wire.finish()

    def _take(self, count: int) -> list[Held]:
        return [self.held.popleft() for _ in range(count)]

    def _fail(self, held: Sequence[Held], trouble: StoreError) -> None:
        if held:
            self._owner.on_unconfirmed([entry for entry, _ in held], trouble)

    def _on_first_lost(self) -> None:
        """What was answered in good order before the end can still be confirmed."""
        if self._first.finishing:
            if not self._asking:
                self._go_on(0)
        else:
            self._wire.abort(ConnectionAbortedError("the other connection was lost"))

    def _on_lost(self, _wire: Wire, reason: Exception, _unanswered: list[Entry[Any]]) -> None:
        if self._due is not None:
            self._due.cancel()
        if not self._first.lost.done():
            self._first.abort(reason)
        trouble = StoreUnavailable()
        trouble.__cause__ = reason
        for entry in self._opening:
            if not entry.future.done():
                entry.future.set_exception(trouble)
        self._fail(self._take(len(self.held)), trouble)


class Confirmations:
    """The confirmers of a link: that of its connection, and of former ones that still wait."""

    def __init__(self, terms: Terms, owner: Owner, most: int) -> None:
        self._terms = terms
        self._owner = owner
        self._most = most
        self._present: Confirmer | None = None
        self._all: list[Confirmer] = []

    async def prepare(self, settings: StoreSettings, wire: Wire, timeout: float) -> None:
        """Open the second connection of one that will take calls. Raises `StoreError`."""
        confirmer = Confirmer(self._terms, self._owner, wire)
        await confirmer.open(settings, timeout)
        self._all.append(confirmer)
        confirmer.closed.add_done_callback(lambda _: self._all.remove(confirmer))
        self._present = confirmer

    def check(self, call: Call[Any]) -> None:
        """Refuse a call that would only have an unknown outcome. Raises `StoreUnavailable`."""
        present = self._present
        if present is None or present.closed.done():
            return
        if present.behind and promises(call):
            raise TooFewReplicas
        if len(present.held) >= self._most:
            raise StoreOverloaded

    def on_reply(self, entry: Entry[Any], reply: Any) -> None:
        """Pass on an answer of the connection in use, when it is confirmed if it has to be."""
        assert self._present is not None, "no call is sent before there is one"
        self._present.on_reply(entry, reply)

    def held(self) -> Iterator[Entry[Any]]:
        """The calls whose answers are held."""
        for confirmer in self._all:
            for entry, _ in confirmer.held:
                yield entry

    def on_tick(self) -> None:
        """To be called from time to time while something is held."""
        for confirmer in list(self._all):
            confirmer.check_silence()

    async def stop(self) -> None:
        """Wait for confirmations that are under way, and close; the connection is closed."""
        try:
            if self._all:
                await asyncio.wait([each.closed for each in self._all], timeout=2 * _WAIT / 1000)
        finally:
            for confirmer in list(self._all):
                confirmer.abort()
