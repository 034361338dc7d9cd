"""The blocking link to one server of the store.

A call takes an idle connection, or opens one, and returns it when all its answers have come. So
there are as many connections as concurrent callers. A call and its outcome are as in
`sharq.store.link`, with one difference: nothing connects in the background, so a call that finds no
store fails at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from sharq.errors import StoreError, StoreUnavailable, TooFewReplicas, UnexpectedReply
from sharq.operations.call import Call
from sharq.results import Watch
from sharq.settings.options import StoreSettings
from sharq.store.blocking_confirming import BlockingConfirmations
from sharq.store.blocking_connection import BlockingWire, WatchedWire
from sharq.store.confirming import NotInTime, Terms, promises
from sharq.store.connecting import address, connect_blocking
from sharq.store.reply_queue import ReplyProtocolError
from sharq.store.request import Again, Request
from sharq.store.routing import LOST_INTERVAL, SILENCE
from sharq.store.script_loading import ScriptLoading
from sharq.store.write_checks import CONFIRMATION, confirmed

T = TypeVar("T")

_AGAIN: Final = object()

_MOST_IDLE: Final = 64


class SyncFinder(Protocol):
    """Finds the server, where that changes; `known` is the last one that was found."""

    known: StoreSettings | None

    def connect(self, timeout: float) -> BlockingWire:
        """Connect to it within `timeout` seconds. Raises OSError, and StoreError."""

    def survey(self) -> Watch:
        """What those say who name it."""

    def close(self) -> None:
        """Stop following it."""


class _Request(Request[T]):
    """A request with its result; the load of a script on the way has none that matters."""

    __slots__ = ("result",)

    result: T | StoreError


class SyncLink:
    """Connections to one server, for any number of threads; each process opens its own.

    `scripts` maps the SHA-1 of each script to its text. A call may take `timeout` seconds, and an
    attempt to connect `connect_timeout` of them. With `replace`, if a server takes no writes
    because it is a replica now, the link reconnects to its address and sends the call once more. A
    `finder` connects to the server where that changes; it is closed with the link.
    `replaced` is asked whether another server is used now, when this one is silent. `connected`
    tells whether the last use of a connection succeeded.
    """

    def __init__(
        self,
        settings: StoreSettings,
        scripts: Mapping[str, str],
        *,
        timeout: float = 5.0,
        connect_timeout: float = 3.0,
        replace: bool = True,
        finder: SyncFinder | None = None,
        replaced: Callable[[], bool] | None = None,
    ) -> None:
        self.finder = finder
        self._replaced = replaced
        self._settings = settings
        self._scripts = ScriptLoading(scripts)
        terms = Terms.of(settings)
        self._confirmations = None if terms is None else BlockingConfirmations(terms)
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._replace = replace
        self._process = os.getpid()
        self._idle: list[BlockingWire] = []
        self._closed = False
        self.connected = False

    def run(self, call: Call[T]) -> T:
        """Send `call` and return its result.

        Raises StoreError: StoreOutcomeUnknown if the call may have been carried out, another one if
        it was not.
        """
        request = _Request(call)
        deadline = time.monotonic() + self._timeout
        due = self._ask(request, deadline)
        while due:
            due = self._attempt(due, deadline)
        result = request.result
        if isinstance(result, StoreError):
            raise result
        return result

    def run_many(
        self, calls: Sequence[Call[T]], timeout: float | None = None
    ) -> list[T | StoreError]:
        """Send `calls` together and return a result or an error for each, in order.

        They reach the store in order, too, except those that have to be sent again. A `timeout` is
        one for these.
        """
        requests = [_Request(call) for call in calls]
        deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
        due: list[_Request[Any]] = list(requests)
        while due:
            due = self._attempt(due, deadline)
        return [request.result for request in requests]

    def try_each(self, attempt: Call[Any]) -> dict[str, StoreError | None]:
        """Whether every server of the store, which is one, takes a write: why not, by its name."""
        try:
            self.try_write(attempt)
        except StoreError as error:
            return {address(self._settings): error}
        return {address(self._settings): None}

    def try_write(self, attempt: Call[Any]) -> None:
        """Have the server take a write, and replicas confirm it if they have to; raises why not."""
        self.run(attempt)
        if self._confirmations is not None:
            (answer,) = self.run_many([confirmed(attempt)], CONFIRMATION)
            if isinstance(answer, StoreError):
                raise TooFewReplicas if self._confirmations.behind else answer

    def close(self) -> None:
        """Close the connections; a call that is under way ends first."""
        self._closed = True
        self._drop_idle()
        if self.finder is not None:
            self.finder.close()

    def _ask(self, request: _Request[Any], deadline: float) -> list[_Request[Any]]:
        """Send one request if a connection is idle and no replica is asked; else `_attempt` has to.

        Returns the requests to send.
        """
        confirmed = self._confirmations is not None and promises(request.call)
        wire = None if self._closed or confirmed else self._reuse()
        if wire is None:
            return [request]
        try:
            reply = wire.ask(request, deadline)
        except (OSError, ReplyProtocolError) as error:
            return self._lose(wire, [request], error)
        except BaseException:
            wire.close()
            raise
        self.connected = True
        result = request.read(reply)
        if isinstance(result, StoreError):
            loads: dict[str, _Request[Any]] = {}
            result = self._final(request, result, loads)
            if result is _AGAIN:
                again = [request]
                self._leave(wire, again)
                return [*loads.values(), *again]
        request.result = result
        self._give_back(wire)
        return []

    def _attempt(self, due: list[_Request[Any]], deadline: float) -> list[_Request[Any]]:
        """Send `due` and note the results; returns the requests to send again."""
        again: list[_Request[Any]] = []
        loads: dict[str, _Request[Any]] = {}
        try:
            wire = self._take(deadline)
        except StoreError as error:
            for request in due:
                request.result = request.failure(error)
            return []
        exchange = wire.exchange
        if self._confirmations is not None:
            exchange = partial(self._confirmations.exchange, wire)
        try:
            for request, reply in exchange(due, deadline):
                result = request.read(reply)
                if isinstance(result, StoreError):
                    result = self._final(request, result, loads)
                if result is _AGAIN:
                    again.append(request)
                else:
                    request.result = result
        except TooFewReplicas as error:
            self._give_back(wire)
            for request in due:
                request.result = request.failure(error)
        except (OSError, ReplyProtocolError) as error:
            again += self._lose(wire, wire.pending, error)
        except BaseException:
            wire.close()
            raise
        else:
            self.connected = True
            self._leave(wire, again)
        return [*loads.values(), *again]

    def _lose(
        self, wire: BlockingWire, unanswered: Iterable[_Request[Any]], error: Exception
    ) -> list[_Request[Any]]:
        """Give up a connection that failed; returns the requests of `unanswered` to send again."""
        wire.close()
        self.connected = False
        trouble = StoreUnavailable()
        trouble.__cause__ = error
        again = []
        for request in unanswered:
            request.unconfirmed |= isinstance(error, NotInTime)
            if request.repeat():
                again.append(request)
            else:
                request.result = request.failure(trouble)
        return again

    def _leave(self, wire: BlockingWire, again: list[_Request[Any]]) -> None:
        """Return a connection, unless `again` has to be sent somewhere else."""
        if any(request.redirected for request in again):
            wire.close()
            self._drop_idle()
        else:
            self._give_back(wire)

    def _final(
        self, request: _Request[Any], error: StoreError, loads: dict[str, _Request[Any]]
    ) -> StoreError | object:
        """Return the error that `request`, refused with `error`, ends with, or _AGAIN."""
        again = request.again(error)
        if again is Again.LOAD:
            try:
                digest = self._scripts.missing(request.call)
            except UnexpectedReply as bug:
                return bug
            loads.setdefault(digest, _Request(self._scripts.load(digest)))
            return _AGAIN
        if again is Again.ELSEWHERE and self._replace:
            return _AGAIN
        return request.refusal(error, leads_on=not self._replace)

    def _take(self, deadline: float) -> BlockingWire:
        if self._closed:
            raise StoreUnavailable("The link to the store is closed.")
        return self._reuse() or self._open(deadline)

    def _reuse(self) -> BlockingWire | None:
        """Take a connection that is idle and unchanged, if there is one."""
        if self._process != os.getpid():
            # A connection may be used only by the process that opened it.
            self._drop_idle()
            self._process = os.getpid()
        while self._idle:
            try:
                wire = self._idle.pop()
            except IndexError:
                break
            if wire.quiet():
                return wire
            wire.close()
        return None

    def _open(self, deadline: float) -> BlockingWire:
        """Open a connection and load a script: only a store that takes scripts is useful."""
        remaining = deadline - time.monotonic()
        wire: BlockingWire | None = None
        try:
            if remaining <= 0:
                raise TimeoutError("no connection in time")
            limit = min(remaining, self._connect_timeout)
            if self.finder is not None:
                wire = self.finder.connect(limit)
            elif self._replaced is not None:
                opened = connect_blocking(self._settings, limit)
                wire = WatchedWire(opened, self._replaced, first=SILENCE, then=LOST_INTERVAL)
            else:
                wire = BlockingWire(connect_blocking(self._settings, limit))
            first: list[Request[Any]] = [Request(call) for call in self._scripts.opening()]
            for request, reply in wire.exchange(first, deadline):
                result = request.read(reply)
                if isinstance(result, StoreError):
                    raise result
            if self._confirmations is not None:
                self._confirmations.prepare(wire, deadline)
        except BaseException as error:
            self.connected = False
            if wire is not None:
                wire.close()
            if isinstance(error, OSError | ReplyProtocolError):
                raise StoreUnavailable from error
            raise
        self.connected = True
        return wire

    def _give_back(self, wire: BlockingWire) -> None:
        if self._closed or len(self._idle) >= _MOST_IDLE or wire.process != os.getpid():
            wire.close()
        else:
            self._idle.append(wire)

    def _drop_idle(self) -> None:
        while self._idle:
            try:
                wire = self._idle.pop()
            except IndexError:
                return
            wire.close()
