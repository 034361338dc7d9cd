"""The store that the jobs move to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from sharq.blocking_engine import SyncEngine
from sharq.errors import Sharded, WrongKind
from sharq.identifiers import is_identifier
from sharq.migration.jobs import LEASED, REQUEUED, Coming
from sharq.operations.arrival_calls import HEAD, LOOK, TAIL, Arriving
from sharq.operations.call import Call, Flow


class SomebodyElse(Exception):
    """Another migration is at work; this one has stopped and lost nothing."""


class Target:
    """The chunks on their way, one of a type at a time, and the queues that they go to.

    `lease_ms` is how long a lease lasts at most. Raises `StoreError`.
    """

    def __init__(self, engine: SyncEngine, lease_ms: int) -> None:
        self._engine = engine
        self._operations = engine.flows.operations
        self._lease_ms = lease_ms
        self._tokens: dict[str, str] = {}
        self.max_payload_bytes = engine.deployment.settings.sharq.max_payload_bytes

    def types(self) -> set[bytes]:
        """The types that are registered, and may have a chunk: not those that are spread."""
        found: set[str] = set()
        cursor = "0"
        while True:
            page = self._run(self._operations.list_types(cursor))
            found.update(name for name, _ in page.types)
            cursor = page.cursor
            if cursor == "0":
                return {name.encode() for name in found if self._shards(name) == 1}

    def staged(self, kind: str) -> tuple[str, list[Coming]]:
        """The token and the jobs of the chunk of a type that is there; an empty token is none.

        Raises `Sharded` for a type that is spread over shards.
        """
        try:
            there = self._run(self._operations.chunk(kind, LOOK))
        except WrongKind:
            if self._shards(kind) > 1:
                # A chunk is in one place, and its jobs are of several shards.
                raise _spread(kind) from None
            raise
        self._tokens[kind] = there.token
        return there.token, _decoder.decode(there.text) if there.text else []

    def check(self, kind: str) -> None:
        """Raise `Sharded` for a type that is spread over shards."""
        if is_identifier(kind) and self._shards(kind) > 1:
            raise _spread(kind)

    def stage(self, kind: str, token: str, jobs: Sequence[Coming]) -> None:
        """Keep a chunk in the place of the last one. Raises `SomebodyElse`."""
        former = self._tokens.get(kind, "")
        text = msgspec.msgpack.encode(list(jobs)) if token else b""
        there = self._run(self._operations.chunk(kind, former, token, text))
        if there.token not in (former, token):
            raise SomebodyElse
        self._tokens[kind] = token

    def end(self, kind: str) -> None:
        """Remove the last chunk: all of it has arrived, or is still where it was."""
        if self._tokens.get(kind):
            self.stage(kind, "", ())

    def take_over(self, kind: str, token: str, jobs: Sequence[Coming], now: int) -> list[str]:
        """Put jobs into their queues; a word for each. `now` is the time of the source (ms).

        Those of a chunk come once, whatever happens. An empty `token` is for jobs that the source
        keeps. Raises `SomebodyElse`.
        """
        if not jobs:
            return []
        arriving = [self._arriving(job, now) for job in jobs]
        calls = self._operations.register(kind), self._operations.take_over(kind, token, arriving)
        words: list[str] = self._engine.run(_both(*calls))
        if len(words) != len(jobs):
            raise SomebodyElse
        return words

    def _arriving(self, job: Coming, now: int) -> Arriving:
        where = HEAD if job.how == REQUEUED else TAIL
        if job.how == LEASED:
            where = str(min(max(0, job.ends - now), self._lease_ms))
        return Arriving(
            job.queue.decode(),
            job.job.decode(),
            job.payload,
            job.interval,
            job.requeues,
            min(max(0, job.ready - now), job.interval),
            where,
        )

    def _shards(self, kind: str) -> int:
        return self._engine.run(self._engine.flows.resharding.show(kind))

    def _run(self, call: Call[Any]) -> Any:
        return self._engine.run(_one(call))


def _spread(kind: str) -> Sharded:
    return Sharded(
        f"`{kind}` is spread over shards there: move its jobs first, then spread it. `sharq shards"
        f" {kind} 1` takes that back, once it is empty there; --types moves the others meanwhile."
    )


_decoder = msgspec.msgpack.Decoder(list[Coming])


def _one(call: Call[Any]) -> Flow[Any]:
    answer = yield call
    return answer


def _both(first: Call[Any], second: Call[Any]) -> Flow[Any]:
    yield first
    answer = yield second
    return answer
