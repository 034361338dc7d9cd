"""Has replicas confirm what a blocking connection is answered, over the same connection.

It is one caller's for the time of an exchange, so that nobody waits behind its ``WAIT``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar

from sharq.errors import StoreError, TooFewReplicas
from sharq.operations.call import Call
from sharq.store.blocking_connection import BlockingWire
from sharq.store.confirming import (
    PROCESS,
    NotInTime,
    Process,
    Terms,
    holds,
    promises,
)
from sharq.store.reply_queue import ReplyProtocolError
from sharq.store.request import Request

R = TypeVar("R", bound=Request[Any])

# How long before its deadline a call is given up, seconds: the answer has to arrive.
_MARGIN: Final = 0.1

# How long replicas that have not confirmed are asked before another call, ms.
_PROBE: Final = 1000


class BlockingConfirmations:
    """The exchanges of a link. `behind`: the last one was not confirmed in time."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self.behind = False

    def prepare(self, wire: BlockingWire, deadline: float) -> None:
        """Find out how to wait for replicas there. Raises as `exchange`, and StoreError."""
        trial, process = self._ask(wire, [self._terms.trial(), PROCESS], deadline)
        if isinstance(trial, StoreError):
            unable = self._terms.unable(trial)
            if unable is not None:
                raise unable
        if isinstance(process, Process):
            wire.touch = self._terms.touch(self._ask(wire, self._terms.proof(process), deadline))

    def _ask(self, wire: BlockingWire, calls: Sequence[Call[Any]], deadline: float) -> list[Any]:
        sent = [Request(call) for call in calls]
        return [request.read(reply) for request, reply in wire.exchange(sent, deadline)]

    def exchange(
        self, wire: BlockingWire, requests: Sequence[R], deadline: float
    ) -> Iterator[tuple[R, Any]]:
        """As `BlockingWire.exchange`, but answers that have to be confirmed come last, or never.

        What never comes is in `wire.pending` then. Raises TooFewReplicas, before anything was sent,
        while replicas are behind.
        """
        keys = [each.call.key for each in requests if promises(each.call)]
        if not keys:
            yield from wire.exchange(requests, deadline)
            return
        unanswered = dict.fromkeys(requests)
        held: list[tuple[R, Any]] = []
        try:
            if self.behind and not self._have_caught_up(wire, keys[-1], deadline):
                raise TooFewReplicas
            ms = (deadline - time.monotonic() - _MARGIN) * 1000
            touched, waited = map(Request, self._question(wire, keys[-1], ms))
            sent: list[Any] = [*requests, touched, waited]
            told: list[Any] = []
            for request, reply in wire.exchange(sent, deadline):
                if request is touched or request is waited:
                    told.append(request.read(reply))
                elif holds(request.call, reply):
                    held.append((request, reply))
                else:
                    del unanswered[request]
                    yield request, reply
            if held:
                self._judge(*told)
        except (OSError, ReplyProtocolError) as error:
            wire.pending.clear()
            wire.pending.extend(unanswered)
            if held and isinstance(error, TimeoutError):
                raise NotInTime(str(error)) from None
            raise
        yield from held

    def _have_caught_up(self, wire: BlockingWire, key: bytes, deadline: float) -> bool:
        ms = min(_PROBE, (deadline - time.monotonic() - _MARGIN) * 1000)
        _, enough = self._ask(wire, self._question(wire, key, ms), deadline)
        self.behind = enough is False
        return not self.behind

    def _question(self, wire: BlockingWire, key: bytes, ms: float) -> tuple[Call[Any], Call[Any]]:
        return wire.touch(key), self._terms.wait(max(1, int(ms)))

    def _judge(self, touched: StoreError | None, enough: bool | StoreError) -> None:
        """Raise OSError unless replicas have what was written before the touch."""
        for refusal in (touched, enough):
            if isinstance(refusal, StoreError):
                raise ConnectionAbortedError("the store asks no replicas") from refusal
        if not enough:
            self.behind = True
            raise NotInTime("too few replicas have confirmed in time")
