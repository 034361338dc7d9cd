"""I13: credit is never exceeded; one ready job, one delivery. From the history.

A dispatch reaches one client once. Only who asks with the same request_id is given it again.

On a websocket the leases that were delivered and have not ended are never more than the credit:
that of their type and that of the connection, as they stand when the delivery arrives. A lease has
ended where its finish or release was answered with a final result, or with an unknown one, or the
server said that it is over. A reply precedes the deliveries that it made possible, so that the
order of what a client heard is the order that counts. Connections that have told no credit (those
of the library's worker do not) are checked for the single delivery alone.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from sharq.operations.sharding import type_of
from tests.faults.checker.replay import Lease
from tests.faults.checker.report import Report
from tests.faults.history import Delivered, Event

_FINAL: Final = ("not_active", "stale_lease", "already_finished", "invalid_argument")


class _Connection:
    """`limits` by type, "" for all; `held` leases by type: a queue and the number of its lease."""

    __slots__ = ("held", "limits")

    def __init__(self) -> None:
        self.limits: dict[str, int] = {}
        self.held: defaultdict[str, set[tuple[str, int]]] = defaultdict(set)


class Credit:
    """The checks of I13."""

    def __init__(self, report: Report) -> None:
        self._tally = report["I13"]
        self._connections: defaultdict[str, _Connection] = defaultdict(_Connection)

    def on_delivery(self, told: Event | Delivered, lease: Lease, holder: str) -> None:
        """A client was given a job; `holder` is the client, or its request."""
        self._tally.expect(
            lease.holder is None or (lease.holder == holder and holder.startswith("request ")),
            f"lease {lease.n} of {lease.job.id} is delivered to {holder} and was to {lease.holder}",
            told,
        )
        lease.holder = holder

    def on_note(self, note: Event) -> None:
        """Something on a websocket that is no answer."""
        if note.op == "deliver":
            self._on_push(note)
        elif note.op in ("subscribe", "credit") and note.mode == "deliver":
            self._connections[note.p].limits[note.type] = note.credit
        elif note.op == "expired":
            for token in note.leases:
                queue_type, queue, _, n = token.split("/")
                self._connections[note.p].held[queue_type].discard((queue, int(n)))
        elif note.op == "close":
            self._connections.pop(note.p, None)

    def on_ended(self, invoke: Event, end: Event | None) -> None:
        """An operation on a lease is over."""
        connection = self._connections.get(invoke.p)
        if connection is None or invoke.op == "extend":
            return
        if end is None or end.e != "fail" or end.code in _FINAL:
            connection.held[type_of(invoke.type)].discard((invoke.queue, invoke.n))

    def _on_push(self, note: Event) -> None:
        connection, queue_type = self._connections.get(note.p), type_of(note.type)
        if connection is None or queue_type not in connection.limits:
            return
        held = connection.held[queue_type]
        held.add((note.queue, note.n))
        limit = connection.limits[queue_type]
        self._tally.expect(
            len(held) <= limit,
            f"{note.p} holds {len(held)} of {queue_type}, its credit is {limit}",
            note,
        )
        whole = connection.limits.get("")
        if whole is not None:
            total = sum(map(len, connection.held.values()))
            self._tally.expect(
                total <= whole, f"{note.p} holds {total}, its credit is {whole}", note
            )
