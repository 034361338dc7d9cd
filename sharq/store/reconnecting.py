"""Keeps a link connected: attempts, delays, the first calls of a connection, and the log of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

from sharq.errors import StoreDenied, StoreError, StoreUnavailable, UnexpectedReply
from sharq.operations.call import Call
from sharq.results import Watch
from sharq.settings.options import StoreSettings
from sharq.store.backoff import Backoff
from sharq.store.connecting import address, connect
from sharq.store.liveness import answers_others
from sharq.store.script_loading import ScriptLoading
from sharq.store.wire import Entry, Wire

_log = logging.getLogger("sharq.link")

_PING: Final = Call(b"*1\r\n$4\r\nPING\r\n", b"", lambda reply: reply)

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


class Reconnector:
    """Opens one connection after the other, without end, for its `owner`.

    `wire` is the connection in use, or None. `trouble` tells why there is none. `calls_may_wait` is
    true in the first `wait_timeout` seconds without a connection, unless the store refuses the
    credentials. `rights` checks, on each new connection, the rights of the store's user; missing
    ones are logged. A `finder` finds the server for each connection, and has it left.
    """

    def __init__(
        self,
        settings: StoreSettings,
        scripts: ScriptLoading,
        owner: Owner,
        *,
        connect_timeout: float,
        wait_timeout: float,
        rights: Call[list[str]] | None = None,
        finder: Finder | None = None,
    ) -> None:
        self.where = address(settings)
        self.wire: Wire | None = None
        self.trouble: StoreError = StoreUnavailable()
        self._settings = settings
        self._scripts = scripts
        self._owner = owner
        self._connect_timeout = connect_timeout
        self._wait_timeout = wait_timeout
        self._rights = rights
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
        return await answers_others(self._settings, timeout)

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
        rights = [self._rights] if self._rights is not None else []
        calls: list[Call[Any]] = [*self._scripts.opening(*rights)] or [_PING]
        if self._finder is not None:
            self._settings = await self._finder.find()
            self.where = address(self._settings)
            calls.insert(0, self._finder.check)
        loads = [Entry(call, self._loop.create_future()) for call in calls]
        first = list(loads)
        asked = None
        if self._rights is not None:
            asked = Entry(self._rights, self._loop.create_future())
            first.append(asked)
        wire = Wire(_settle, self._on_lost, self._owner.on_writable, first)
        try:
            await connect(self._settings, wire, self._connect_timeout)
            for load in loads:
                await load.future
            if self._finder is not None and self._finder.known != self._settings:
                raise StoreUnavailable
            if asked is not None:
                await self._look_at_rights(asked.future)
        except BaseException:
            wire.abort(ConnectionAbortedError("the connection is of no use"))
            for entry in first:
                forget(entry.future)
            raise
        return wire

    async def _look_at_rights(self, asked: asyncio.Future[list[str]]) -> None:
        """Log the rights that the store's user lacks, unless that was logged before."""
        try:
            lacks = await asked
        except StoreError as error:
            if not isinstance(error, StoreDenied | UnexpectedReply):
                return
            lacks = [f"The rights of the store's user are not known: {_reason(error)}"]
        if lacks != self._lacks:
            self._lacks = lacks
            for lack in lacks:
                _log.error("The store at %s: %s", self.where, lack)

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


def _settle(entry: Entry[Any], reply: Any) -> None:
    if entry.future.done():
        return
    result = entry.read(reply)
    if isinstance(result, StoreError):
        entry.future.set_exception(result)
    else:
        entry.future.set_result(result)


def _because(reason: Exception) -> StoreUnavailable:
    trouble = StoreUnavailable()
    trouble.__cause__ = reason
    return trouble


def _reason(error: BaseException) -> str:
    """The text of the root cause of `error`."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__
