"""Has replicas confirm what a blocking connection is answered, over the same connection.

It is one caller's for the time of an exchange, so that nobody waits behind its ``WAIT``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar

from sharq.errors import StoreError, StoreFull, StoreUnavailable, TooFewReplicas
from sharq.operations.call import Call
from sharq.store.blocking_connection import BlockingWire
from sharq.store.confirming import (
    PROCESS,
    NotInTime,
    Process,
    Terms,
    holds,
    lacks_replicas,
    promises,
)
from sharq.store.errors import CutOff, Misdirected
from sharq.store.reply_queue import ReplyProtocolError
from sharq.store.request import Request

R = TypeVar("R", bound=Request[Any])

# How long before its deadline a call is given up, seconds: the answer has to arrive.
_MARGIN: Final = 0.1

# How long the store waits for the replicas at first, ms. It is told so together with the calls, and
# does so as well where it has refused them, and nothing has to be confirmed.
_FIRST: Final = 100

# The same when it is asked again, ms.
_WAIT: Final = 1000

# Seconds before it is asked again after it has refused.
_PAUSE: Final = 0.05

# Seconds after which replicas are behind, and for which that is taken as given.
_PATIENCE: Final = 1.0


class BlockingConfirmations:
    """The exchanges of a link. `behind`: replicas have not confirmed within a second.

    Then they are asked before another call is sent, by one caller a second.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._ask_at = 0.0
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
            question = self._question(wire, keys[-1], self._within(_FIRST, deadline))
            touched, waited = map(Request, question)
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
            if held and not self._are_enough(*told):
                self._wait(wire, keys[-1], deadline, refused=told[0] is not None)
        except (OSError, ReplyProtocolError) as error:
            wire.pending.clear()
            wire.pending.extend(unanswered)
            if held and isinstance(error, TimeoutError):
                raise NotInTime(str(error)) from None
            raise
        yield from held

    def _have_caught_up(self, wire: BlockingWire, key: bytes, deadline: float) -> bool:
        if time.monotonic() < self._ask_at:
            return False
        (touched,) = self._ask(wire, [wire.touch(key)], deadline)
        if touched is not None and not lacks_replicas(touched):
            self.behind = False
            return True
        ms = 1 if touched is not None else self._within(_WAIT, deadline)
        (enough,) = self._ask(wire, [self._terms.wait(ms)], deadline)
        self.behind = enough is False
        if self.behind and ms > 1:
            self._ask_at = time.monotonic() + _PATIENCE
        return not self.behind

    def _wait(self, wire: BlockingWire, key: bytes, deadline: float, *, refused: bool) -> None:
        """Ask on until replicas have what was written before. Raises OSError if they do not."""
        patient_until = time.monotonic() + _PATIENCE - _FIRST / 1000
        while time.monotonic() < deadline - _MARGIN:
            if refused:
                time.sleep(_PAUSE)
            ms = self._within(_FIRST if refused else _WAIT, deadline)
            touched, enough = self._ask(wire, self._question(wire, key, ms), deadline)
            if self._are_enough(touched, enough):
                self.behind = False
                return
            refused = touched is not None
            if time.monotonic() >= patient_until:
                self.behind = True
                wire.doubt()
        self.behind = True
        raise NotInTime("too few replicas have confirmed in time")

    def _within(self, ms: int, deadline: float) -> int:
        return max(1, min(ms, int((deadline - time.monotonic() - _MARGIN) * 1000)))

    def _question(self, wire: BlockingWire, key: bytes, ms: int) -> tuple[Call[Any], Call[Any]]:
        return wire.touch(key), self._terms.wait(ms)

    def _are_enough(self, touched: StoreError | None, enough: bool | StoreError) -> bool:
        """Whether replicas have what was written before the touch; not if that was refused.

        Raises OSError if it is refused for good on this connection.
        """
        for refusal in (touched, enough):
            if isinstance(refusal, Misdirected | CutOff) or not (
                refusal is None or isinstance(refusal, bool | StoreUnavailable | StoreFull)
            ):
                raise ConnectionAbortedError("the store asks no replicas") from refusal
        return touched is None and enough is True
