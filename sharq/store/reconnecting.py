"""Keeps a link connected: attempts, delays, the first calls of a connection, and the log of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Protocol

from sharq.errors import StoreDenied, StoreError, StoreUnavailable, UnexpectedReply
from sharq.operations.call import Call, Place
from sharq.operations.rights import RightsCheck
from sharq.results import Watch
from sharq.settings.options import StoreSettings
from sharq.store.backoff import Backoff
from sharq.store.connecting import address, connect
from sharq.store.errors import Misdirected
from sharq.store.liveness import answers_others, question
from sharq.store.script_loading import ScriptLoading
from sharq.store.wire import Entry, Wire, settle

_log = logging.getLogger("sharq.link")

_PING: Final = Call(b"*1\r\n$4\r\nPING\r\n", b"", lambda reply: reply)

Numbers = Callable[[Place], Iterable[int]]
"""Gives the numbers of keys that a node may serve, one after the other."""

# A connection that lasts shorter than this is not the end of an outage, seconds.
_STABLE: Final = 1.0

# How often a connection may be replaced because its server takes no writes, seconds.
_REPLACE_INTERVAL: Final = 1.0
_REPLACE_LOG_INTERVAL: Final = 60.0


class Finder(Protocol):
    """Finds the server, where that changes; `known` is the last one that was found."""

    check: Call[Any]
    """Asks a server whether it is the right one; raises if it is not."""

    known: StoreSettings | None

    def start(self) -> None:
        """Begin to follow it, in the running event loop."""

    async def aclose(self) -> None:
        """Stop following it."""

    def follow(self, follower: Callable[[bool], None]) -> None:
        """Tell `follower` when to leave: False if another one is about to be found, else True."""

    async def find(self) -> StoreSettings:
        """Find it. Raises `StoreError`."""

    async def survey(self) -> Watch:
        """What those say who name it."""

    async def pause(self, delay: float) -> None:
        """Sleep for `delay` seconds, or until another one is known."""


class Owner(Protocol):
    """The user of the connections."""

    def on_connected(self, wire: Wire) -> None:
        """`wire` takes calls from now on."""

    def on_reply(self, entry: Entry[Any], reply: Any) -> None:
        """`reply` answers `entry`."""

    def on_writable(self) -> None:
        """The connection takes calls again."""

    def on_lost(self, unanswered: list[Entry[Any]], trouble: StoreError) -> None:
        """The connection is lost, and these calls will not be answered."""

    def on_connect_timeout(self, trouble: StoreError) -> None:
        """Calls that wait for a connection have waited long enough."""


Prepare = Callable[[StoreSettings, Wire, float], Awaitable[None]]
"""Gets the server, the connection to it, and the seconds that connecting may take.

Raises `StoreError` where the connection is of no use.
"""


class Reconnector:
    """Opens one connection after the other, without end, for its `owner`.

    `wire` is the connection in use, or None. `trouble` tells why there is none. `calls_may_wait` is
    true in the first `wait_timeout` seconds without a connection, unless the store refuses the
    credentials. `rights` checks, on each new connection, the rights of the store's user; missing
    ones are logged. A `finder` finds the server for each connection, and has it left. The
    node of a cluster does not take every key: `numbers` are for it. `prepare` is awaited with each
    connection before it takes calls.
    """

    def __init__(
        self,
        settings: StoreSettings,
        scripts: ScriptLoading,
        owner: Owner,
        *,
        connect_timeout: float,
        wait_timeout: float,
        rights: RightsCheck | None = None,
        finder: Finder | None = None,
        numbers: Numbers = lambda place: (0,),
        prepare: Prepare | None = None,
    ) -> None:
        self._prepare = prepare
        self.where = address(settings)
        self.wire: Wire | None = None
        self.trouble: StoreError = StoreUnavailable()
        self._settings = settings
        self._scripts = scripts
        self._owner = owner
        self._connect_timeout = connect_timeout
        self._wait_timeout = wait_timeout
        self._rights = rights
        self._numbers = numbers
        self._lacks: list[str] = []
        self._wait_timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._state = ""
        self._replaced_at = float("-inf")
        self._finder = finder
        self._pause = asyncio.sleep if finder is None else finder.pause
        self._attempt: asyncio.Timeout | None = None
        self._hurried = False
        self._backoff = Backoff()

    @property
    def calls_may_wait(self) -> bool:
        return self._wait_timer is not None

    def begin(self) -> None:
        """Begin to connect, unless it has begun already."""
        if self._task is None and not self._stopping:
            self._loop = asyncio.get_running_loop()
            self._start_waiting()
            if self._finder is not None:
                self._finder.follow(self._leave)
                self._finder.start()
            self._task = self._loop.create_task(self._keep_connected())

    async def stop(self, grace: float) -> None:
        """Close the connection when its last answer has come, or after `grace` seconds."""
        self._stopping = True
        try:
            if self.wire is not None:
                self.wire.finish()
                await asyncio.wait({self.wire.lost}, timeout=grace)
        finally:
            self._stop_waiting()
            if self._task is not None:
                self._task.cancel()
            if self.wire is not None:
                self.wire.abort(ConnectionAbortedError("the link was closed"))
        if self._task is not None:
            await asyncio.wait({self._task})
        if self._finder is not None:
            await self._finder.aclose()
        # A transport closes its socket in the next turn of the loop.
        await asyncio.sleep(0)

    def replace(self) -> bool:
        """Leave the server, which takes no writes, and reconnect to its address.

        Tells whether that is under way: it does not begin again shortly after the last time.
        """
        wire = self.wire
        if wire is None or wire.finishing:
            return True
        elapsed = self._loop.time() - self._replaced_at
        if elapsed < _REPLACE_INTERVAL:
            return False
        self._replaced_at = self._loop.time()
        if elapsed >= _REPLACE_LOG_INTERVAL:
            _log.warning("The store at %s takes no writes; reconnecting", self.where)
        wire.finish()
        return True

    async def answers_others(self, timeout: float) -> bool:
        """Tell whether the store answers over another connection within `timeout` seconds."""
        return await answers_others(self._settings, self._question(), timeout)

    async def _keep_connected(self) -> None:
        backoff = self._backoff
        while not self._stopping:
            try:
                wire = await self._connect_in_time()
            except StoreError as error:
                delay = self._on_failed(error, backoff)
            except TimeoutError:
                if self._hurried:
                    self._hurried = False
                    continue
                late = TimeoutError(f"no connection within {self._connect_timeout:g} s")
                delay = self._on_failed(_because(late), backoff)
            except Exception as error:
                _log.exception("A bug while connecting to the store at %s", self.where)
                delay = self._on_failed(UnexpectedReply(repr(error)), backoff)
            else:
                since = self._loop.time()
                self._on_connected(wire)
                # Cancelling this task must not cancel what others wait for.
                await asyncio.wait({wire.lost})
                if self._loop.time() - since >= _STABLE:
                    backoff.reset()
                delay = backoff.next()
            await self._pause(delay)

    def _leave(self, moved: bool) -> None:
        """Leave the server: when it has answered, or at once if another one has `moved` in."""
        if moved:
            self._backoff.reset()
        if self.wire is None:
            if moved and self._attempt is not None:
                # It may hang at the former one.
                self._hurried = True
                self._attempt.reschedule(self._loop.time())
        elif moved:
            self.wire.abort(ConnectionAbortedError("another node is the primary now"))
        else:
            self.wire.finish()

    async def _connect_in_time(self) -> Wire:
        async with asyncio.timeout(self._connect_timeout) as self._attempt:
            try:
                return await self._connect()
            finally:
                self._attempt = None

    async def _connect(self) -> Wire:
        """Open a connection and load a script: only a store that takes scripts is useful."""
        rights = [] if self._rights is None else [self._rights.call(0)]
        calls: list[Call[Any]] = [*self._scripts.opening(*rights)] or [_PING]
        if self._finder is not None:
            self._settings = await self._finder.find()
            self.where = address(self._settings)
            calls.insert(0, self._finder.check)
        loads = [Entry(call, self._loop.create_future()) for call in calls]
        wire = Wire(settle, self._on_lost, self._owner.on_writable, loads)
        try:
            await connect(self._settings, wire, self._connect_timeout)
            for load in loads:
                await load.future
            if self._finder is not None and self._finder.known != self._settings:
                raise StoreUnavailable
            if self._rights is not None:
                await self._look_at_rights(wire, self._rights)
            if self._prepare is not None:
                await self._prepare(self._settings, wire, self._connect_timeout)
        except BaseException:
            wire.abort(ConnectionAbortedError("the connection is of no use"))
            for entry in loads:
                forget(entry.future)
            raise
        return wire

    async def _look_at_rights(self, wire: Wire, rights: RightsCheck) -> None:
        """Log the rights that the store's user lacks, unless that was logged before."""
        lacks: list[str] = []
        for number in self._numbers(rights.anywhere.key):
            if wire.lost.done():
                return
            asked = Entry(rights.call(number), self._loop.create_future())
            wire.send([asked])
            try:
                lacks = await asked.future
            except Misdirected:
                continue
            except StoreError as error:
                if not isinstance(error, StoreDenied | UnexpectedReply):
                    return
                unknown = [f"The rights of the store's user are not known: {_reason(error)}"]
                lacks = rights.of_denial(_reason(error)) or unknown
            break
        else:
            return
        if lacks != self._lacks:
            self._lacks = lacks
            for lack in lacks:
                _log.error("The store at %s: %s", self.where, lack)

    def _question(self) -> Call[Any]:
        """Ask whether the store runs a script, with a key that it serves, as far as known."""
        if self._rights is None:
            return question(None)
        place = self._rights.anywhere.key
        return question(place(next(iter(self._numbers(place)))))

    def _on_connected(self, wire: Wire) -> None:
        if wire.lost.done():
            return
        self.wire = wire
        self._stop_waiting()
        if self._state != "up":
            self._state = "up"
            _log.info("Connected to the store at %s", self.where)
        wire.on_reply = self._owner.on_reply
        self._owner.on_connected(wire)

    def _on_failed(self, trouble: StoreError, backoff: Backoff) -> float:
        """Note that an attempt failed, and return the delay before the next one."""
        self.trouble = trouble
        lasting = not isinstance(trouble, StoreUnavailable)
        self._log_trouble("refused" if lasting else "down", "No connection to", trouble)
        if lasting:
            self._end_waiting()
            return backoff.slow()
        return backoff.next()

    def _on_lost(self, wire: Wire, reason: Exception, unanswered: list[Entry[Any]]) -> None:
        trouble = _because(reason)
        if wire is not self.wire:
            for entry in unanswered:
                if not entry.future.done():
                    entry.future.set_exception(entry.failure(trouble))
            return
        self.wire = None
        self.trouble = trouble
        if not self._stopping:
            if not wire.finishing:
                self._log_trouble("down", "Lost", trouble)
            self._start_waiting()
        self._owner.on_lost(unanswered, trouble)

    def _log_trouble(self, state: str, what: str, trouble: StoreError) -> None:
        if self._state != state:
            self._state = state
            level = logging.WARNING if isinstance(trouble, StoreUnavailable) else logging.ERROR
            _log.log(level, "%s the store at %s: %s", what, self.where, _reason(trouble))

    def _start_waiting(self) -> None:
        if self._wait_timer is None:
            self._wait_timer = self._loop.call_later(self._wait_timeout, self._end_waiting)

    def _stop_waiting(self) -> None:
        if self._wait_timer is not None:
            self._wait_timer.cancel()
            self._wait_timer = None

    def _end_waiting(self) -> None:
        self._stop_waiting()
        self._owner.on_connect_timeout(self.trouble)


def forget(future: asyncio.Future[Any]) -> None:
    """Prevent the warning that the exception of `future` was never retrieved."""
    if not future.cancel() and not future.cancelled():
        future.exception()


def _because(reason: Exception) -> StoreUnavailable:
    trouble = StoreUnavailable()
    trouble.__cause__ = reason
    return trouble


def _reason(error: BaseException) -> str:
    """The text of the root cause of `error`."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__
