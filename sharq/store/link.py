"""The asyncio link to one server of the store: one connection, shared by all callers.

Calls of one turn of the loop leave in one write, and replies are assigned in order. A call keeps
its place in the queue of replies until its reply has come, even if its caller has given up: so
every reply meets its own request.

The link connects by itself and never stops trying. A call without a connection waits for one, but
no longer than `wait_timeout` after the connection was lost; then calls fail at once until there
is one again. A call without an answer when a connection ends has an unknown outcome; only a
`repeatable` call is sent again, once, on the next connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar

from sharq.errors import (
    StoreDenied,
    StoreError,
    StoreOutcomeUnknown,
    StoreOverloaded,
    StoreUnavailable,
    TooFewReplicas,
    UnexpectedReply,
)
from sharq.operations.call import Call
from sharq.operations.rights import RightsCheck
from sharq.settings.options import StoreSettings
from sharq.store.confirmer import Confirmations
from sharq.store.confirming import Terms, unconfirmed
from sharq.store.in_flight import Window
from sharq.store.reconnecting import Finder, Numbers, Reconnector, forget
from sharq.store.request import Again
from sharq.store.script_loading import ScriptLoading
from sharq.store.timing import CallTimer
from sharq.store.wire import Entry, Wire
from sharq.store.write_checks import CONFIRMATION, confirmed

T = TypeVar("T")

_log = logging.getLogger("sharq.link")

# Deadlines are kept in ticks: a clock or a timer per call would cost as much as the call.
_TICKS: Final = 20

# Ticks of silence before another connection is tried, and between two such trials.
_DOUBT: Final = 6
_DOUBT_AGAIN: Final = 4

# Ticks of silence after which what any node can do is asked of another one.
_QUIET: Final = 2

# Ticks after which a call that waits for a slow store is refused, not sent.
_TOO_LATE: Final = _TICKS // 2

# Bytes passed to the transport at a time. Bytes that are still here when the connection ends were
# certainly not sent.
_SLICE: Final = 256 * 1024


class Link:
    """One multiplexed connection; belongs to the event loop in which it is started.

    `scripts` maps the SHA-1 of each script to its text. Times are in seconds: a call is given up
    `timeout` after it was made (and up to a twentieth later), and an attempt to connect may take
    `connect_timeout`. A silent connection with outstanding answers is closed after `timeout`; after
    a third of it, if the store answers over another one. At most `max_calls` calls may be
    outstanding, and about `max_bytes` bytes wait to be sent. With `replace` a server that takes no
    writes, since it is a replica now, is left for whatever its address leads to by then, and the
    call is sent once again. A slow store is sent only as much as it does in a fifth of `timeout`,
    and calls that wait for longer than half of it are refused. With `rights` each new connection
    first checks the rights of the store's user, and missing ones are logged. A `timer` takes the
    time of each call. A `finder` finds the server for each connection; it starts and ends with the
    link. `on_silent` is called while the server owes answers for longer than 0.3 of `timeout`.
    `numbers` are those of keys that it may serve.
    """

    def __init__(
        self,
        settings: StoreSettings,
        scripts: Mapping[str, str],
        *,
        timeout: float = 5.0,
        connect_timeout: float = 3.0,
        wait_timeout: float = 1.0,
        max_calls: int = 16_384,
        max_bytes: int = 64 * 1024 * 1024,
        replace: bool = True,
        rights: RightsCheck | None = None,
        timer: CallTimer | None = None,
        finder: Finder | None = None,
        on_silent: Callable[[], None] | None = None,
        numbers: Numbers = lambda place: (0,),
    ) -> None:
        self.finder = finder
        self._on_silent = on_silent
        self._timeout = timeout
        self._max_calls = max_calls
        self._max_bytes = max_bytes
        self._replace = replace
        self._timer = timer
        self._scripts = ScriptLoading(scripts)
        terms = Terms.of(settings)
        self._confirmations = Confirmations(terms, self, max_calls) if terms is not None else None
        self._reconnector = Reconnector(
            settings,
            self._scripts,
            self,
            connect_timeout=connect_timeout,
            wait_timeout=wait_timeout,
            rights=rights,
            finder=finder,
            numbers=numbers,
            prepare=None if self._confirmations is None else self._confirmations.prepare,
        )
        self._closed = False
        self._impatient = False
        self._wire: Wire | None = None
        self._waiting: deque[Entry[Any]] = deque()
        self._waiting_bytes = 0
        self._in_flight: deque[Entry[Any]] = deque()
        self._flush_due = False
        self._window = Window(max_calls)
        self._held_back = False
        self._loading: set[str] = set()
        self._denial_logged = False
        self._tick = 0
        self._last_heard = 0
        self._doubted = 0
        self._doubting: asyncio.Task[None] | None = None
        self._ticker: asyncio.TimerHandle | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection for calls."""
        return self._wire is not None

    @property
    def quiet(self) -> bool:
        """Whether the server has owed an answer for a tenth of `timeout`, or for longer."""
        wire = self._wire
        if wire is None or wire.heard or not self._in_flight:
            return False
        return self._tick - self._last_heard >= _QUIET

    async def start(self) -> None:
        """Begin to connect. Does not wait, and does not fail if the store is away."""
        self._begin()

    async def run(self, call: Call[T]) -> T:
        """Send `call` and return its result.

        Raises StoreError: StoreOutcomeUnknown if the call may have been carried out, another one if
        it was not.
        """
        return await self._submit(call)

    def send(self, call: Call[T]) -> asyncio.Future[T]:
        """Send `call`, and all waiting calls, now; returns and raises as `run`."""
        future = self._submit_or_fail(call)
        self._flush()
        return future

    async def run_many(self, calls: Sequence[Call[T]]) -> list[T | StoreError]:
        """Send `calls` together and return a result or an error for each, in order.

        They reach the store in order, too, except those that have to be sent again.
        """
        return await _results([self._submit_or_fail(call) for call in calls])

    def send_many(self, calls: Sequence[Call[T]]) -> Coroutine[Any, Any, list[T | StoreError]]:
        """Send `calls`, and all waiting calls, now; await it for what `run_many` returns."""
        futures = [self._submit_or_fail(call) for call in calls]
        self._flush()
        return _results(futures)

    async def try_each(self, attempt: Call[Any]) -> dict[str, StoreError | None]:
        """Whether every server of the store, which is one, takes a write: why not, by its name."""
        try:
            await self.try_write(attempt)
        except StoreError as error:
            return {self._reconnector.where: error}
        return {self._reconnector.where: None}

    async def try_write(self, attempt: Call[Any]) -> None:
        """Have the server take a write, and replicas confirm it if they have to; raises why not."""
        await self._submit(attempt)
        if self._confirmations is not None:
            try:
                async with asyncio.timeout(CONFIRMATION):
                    await self._submit(confirmed(attempt))
            except TimeoutError:
                raise TooFewReplicas from None

    async def aclose(self) -> None:
        """Take no more calls, wait for outstanding answers (at most `timeout`), and close."""
        self._closed = True
        self._flush()
        try:
            await self._reconnector.stop(self._timeout)
            if self._confirmations is not None:
                await self._confirmations.stop()
        finally:
            self.on_connect_timeout(_closed())
            if self._ticker is not None:
                self._ticker.cancel()
                self._ticker = None
            if self._doubting is not None:
                self._doubting.cancel()
                await asyncio.wait({self._doubting})

    async def leave(self) -> None:
        """Close; a connection that is silent is given up: another server does what this one did."""
        self._impatient = True
        self._watch_connection()
        await self.aclose()

    # Calls going out

    def _begin(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reconnector.begin()

    def _submit(self, call: Call[T]) -> asyncio.Future[T]:
        if self._closed:
            raise _closed()
        if self._wire is None:
            self._begin()
            if not self._reconnector.calls_may_wait:
                trouble = self._reconnector.trouble
                raise type(trouble)(str(trouble)) from trouble
        if (
            len(self._waiting) + len(self._in_flight) >= self._max_calls
            or self._waiting_bytes >= self._max_bytes
        ):
            raise StoreOverloaded
        if self._confirmations is not None:
            self._confirmations.check(call)
        future: asyncio.Future[T] = self._loop.create_future()
        self._enqueue(Entry(call, future, self._tick))
        return future

    def _submit_or_fail(self, call: Call[T]) -> asyncio.Future[T]:
        try:
            return self._submit(call)
        except StoreError as error:
            failed: asyncio.Future[T] = asyncio.get_running_loop().create_future()
            failed.set_exception(error)
            return failed

    def _enqueue(self, entry: Entry[Any]) -> None:
        self._waiting.append(entry)
        self._waiting_bytes += len(entry.call.packed)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)
        if self._ticker is None:
            self._ticker = self._loop.call_later(self._timeout / _TICKS, self._on_tick)

    def _flush(self) -> None:
        self._flush_due = False
        wire = self._wire
        waiting = self._waiting
        # If sent now, they would most likely be answered when nobody waits any more.
        late = self._tick - _TOO_LATE if self._held_back else -1
        while waiting and wire is not None and wire.writable:
            room = self._window.size - len(self._in_flight)
            if room <= 0:
                break
            batch: list[Entry[Any]] = []
            size = 0
            while waiting and size < _SLICE and len(batch) < room:
                entry = waiting.popleft()
                length = len(entry.call.packed)
                self._waiting_bytes -= length
                # A call whose caller has gone before it was sent is not carried out.
                if entry.future.done():
                    continue
                if entry.tick < late:
                    entry.future.set_exception(entry.failure(StoreOverloaded()))
                    continue
                entry.sent = True
                batch.append(entry)
                size += length
            if batch:
                if not self._in_flight:
                    self._last_heard = self._tick
                self._window.on_sent(len(batch))
                if self._timer is not None:
                    self._timer.on_sent(batch)
                wire.send(batch)
        self._held_back = bool(waiting) and wire is not None

    on_writable = _flush

    # Replies coming in

    def on_reply(self, entry: Entry[Any], reply: Any) -> None:
        if self._timer is not None:
            self._timer.on_reply(entry)
        if self._held_back and not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)
        if self._confirmations is None:
            self.on_confirmed(entry, reply)
        else:
            self._confirmations.on_reply(entry, reply)

    def on_confirmed(self, entry: Entry[Any], reply: Any) -> None:
        if entry.future.done():
            return
        result = entry.read(reply)
        if isinstance(result, StoreError):
            self._on_refusal(entry, result, reply)
        else:
            entry.future.set_result(result)

    def _on_refusal(self, entry: Entry[Any], error: StoreError, reply: object) -> None:
        denied = isinstance(error, StoreDenied) and not entry.call.optional
        if denied and not self._denial_logged:
            self._denial_logged = True
            _log.error("The store at %s refuses a command: %s", self._reconnector.where, reply)
        again = entry.again(error)
        if again is Again.LOAD:
            try:
                self._load(self._scripts.missing(entry.call))
            except UnexpectedReply as bug:
                entry.future.set_exception(bug)
                return
            self._enqueue(entry)
        elif again is Again.ELSEWHERE and self._replace and self._reconnector.replace():
            self._enqueue(entry)
        else:
            entry.future.set_exception(entry.refusal(error, leads_on=not self._replace))

    def _load(self, digest: str) -> None:
        """Load a script, before the calls that need it are sent again."""
        if digest not in self._loading:
            self._loading.add(digest)
            future = self._loop.create_future()
            future.add_done_callback(forget)
            future.add_done_callback(lambda _: self._loading.discard(digest))
            self._enqueue(Entry(self._scripts.load(digest), future, self._tick))

    # Deadlines

    def _on_tick(self) -> None:
        self._tick += 1
        self._ticker = None
        self._window.on_tick(len(self._in_flight))
        self._watch_connection()
        # A call may have been made at the very end of its tick.
        oldest = self._tick - _TICKS
        late = TimeoutError(f"no answer within {self._timeout:g} s")
        held: list[Entry[Any]] = []
        if self._confirmations is not None:
            self._confirmations.on_tick()
            held = list(self._confirmations.held())
        for queue in (held, self._in_flight, self._waiting):
            for entry in queue:
                if entry.tick < oldest and not entry.future.done():
                    unknown = unconfirmed if queue is held else StoreOutcomeUnknown
                    error = unknown() if entry.sent else StoreUnavailable()
                    error.__cause__ = late
                    entry.future.set_exception(error)
        if held or self._in_flight or self._waiting:
            self._ticker = self._loop.call_later(self._timeout / _TICKS, self._on_tick)

    def _watch_connection(self) -> None:
        wire = self._wire
        if wire is None:
            return
        if wire.heard:
            wire.heard = False
            self._last_heard = self._tick
            return
        silent = self._tick - self._last_heard
        if not self._in_flight or silent < _DOUBT:
            return
        if self._on_silent is not None and not self._closed:
            self._on_silent()
        if silent > _TICKS:
            wire.abort(TimeoutError(f"no answer for {self._timeout:g} s"))
        elif self._impatient:
            wire.abort(ConnectionAbortedError("another server is used now"))
        elif self._doubting is None and self._tick - self._doubted >= _DOUBT_AGAIN:
            self._doubted = self._tick
            self._doubting = self._loop.create_task(self._doubt(wire))

    async def _doubt(self, wire: Wire) -> None:
        """Give up a connection that is silent while the store answers over another one.

        If it does not answer there either, it is busy, and the connection is kept.
        """
        since = self._last_heard
        try:
            alive = await self._reconnector.answers_others(self._timeout * _DOUBT_AGAIN / _TICKS)
            # The store may have been busy until now: then this connection is answered as well.
            await asyncio.sleep(self._timeout / _TICKS)
        finally:
            self._doubting = None
        silent = not wire.heard and self._last_heard == since
        # While many bytes are still on their way to the store, it cannot answer yet.
        if alive and silent and wire is self._wire and wire.flushed:
            wire.abort(TimeoutError("no answer, while the store answers others"))

    # Start and end of the connection

    def on_connected(self, wire: Wire) -> None:
        self._wire = wire
        self._in_flight = wire.pending
        self._window.reset()
        self._loading.clear()
        self._denial_logged = False
        self._flush()

    def on_lost(self, unanswered: list[Entry[Any]], trouble: StoreError) -> None:
        self._wire = None
        self._in_flight = deque()
        self.on_unconfirmed(unanswered, trouble)

    def on_unconfirmed(self, unanswered: list[Entry[Any]], trouble: StoreError) -> None:
        again: list[Entry[Any]] = []
        for entry in unanswered:
            if entry.future.done():
                continue
            if not self._closed and entry.repeat():
                again.append(entry)
            else:
                entry.future.set_exception(entry.failure(trouble))
        self._waiting.extendleft(reversed(again))
        self._waiting_bytes += sum(len(entry.call.packed) for entry in again)
        if again and self._wire is not None and not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def on_connect_timeout(self, trouble: StoreError) -> None:
        for entry in self._waiting:
            if not entry.future.done():
                entry.future.set_exception(entry.failure(trouble))
        self._waiting.clear()
        self._waiting_bytes = 0


def _closed() -> StoreUnavailable:
    return StoreUnavailable("The link to the store is closed.")


async def _results(futures: Sequence[asyncio.Future[T]]) -> list[T | StoreError]:
    results: list[T | StoreError] = []
    try:
        for future in futures:
            try:
                results.append(await future)
            except StoreError as error:
                results.append(error)
    except BaseException:
        for future in futures:
            forget(future)
        raise
    return results
