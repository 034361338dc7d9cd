"""Dead letters: arguments checked, then calls of the store."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from sharq.errors import BadArgumentException, WrongKind
from sharq.failures import MAX_TYPE
from sharq.identifiers import MAX_COUNT, check_identifier, check_integer, invalid, unknown
from sharq.operations import sums
from sharq.operations.call import Call, Flow
from sharq.operations.dead_merge import ShardLetters, dead_cursor, merged
from sharq.operations.operations import BATCH_BYTES, BULK_SIZE, Operations
from sharq.operations.spreading import Spreading, unfailed
from sharq.results import (
    EXHAUSTED,
    EXPIRED,
    REJECTED,
    DeadBegun,
    DeadBulk,
    DeadFilter,
    DeadLetter,
    DeadPage,
    Ended,
)

MAX_PAGE: Final = 100
"""Dead letters that one page has, at most."""

MAX_NAMED: Final = 1000
"""Dead letters that are named in one request, at most."""

KINDS: Final = ("retry", "delete")
REASONS: Final = (EXHAUSTED, EXPIRED, REJECTED)

_LAST_TIME: Final = 2**53 // 1000
_TRIES: Final = 5


class DeadLetters:
    """The flows of dead letters."""

    def __init__(self, operations: Operations, spreading: Spreading | None = None) -> None:
        self._operations = operations
        self._spreading = spreading or Spreading(operations)

    def page(
        self,
        queue_type: Any,
        queue_id: Any = None,
        reason: Any = None,
        error: Any = None,
        before: Any = None,
        cursor: Any = None,
        count: Any = MAX_PAGE,
    ) -> Flow[DeadPage]:
        """Up to `count` dead letters of a type, the newest first."""
        queue_type = check_identifier("queue_type", queue_type)
        wanted = check_filter(DeadFilter(queue_id, reason, error, before))
        at = dead_cursor(cursor)
        check_integer("count", count, 1, MAX_PAGE)
        if not self._spreading.shards.is_spread(queue_type):
            start = "" if at is None else str(at.death)
            try:
                page: DeadPage = yield self._operations.list_dead(queue_type, wanted, start, count)
                return page
            except WrongKind:
                if not (yield from self._spreading.learn(queue_type, queue_type)):
                    raise

        def look(name: str) -> Call[ShardLetters]:
            names = self._spreading.shards.homes(queue_type)
            start = "" if at is None else at.at(names.index(name))
            return self._operations.list_dead_of_shard(
                name, wanted, start, count, BATCH_BYTES // len(names)
            )

        return merged((yield from self._spreading.everywhere(queue_type, look)), count)

    def show(self, queue_type: Any, queue_id: Any, job_id: Any) -> Flow[DeadLetter | None]:
        """A dead letter; None if there is none of that name."""
        queue_type = check_identifier("queue_type", queue_type)
        queue_id, job_id = _named((queue_id, job_id))
        return (
            yield from self._spreading.at_home(
                queue_type,
                queue_id,
                lambda name: self._operations.show_dead(name, queue_id, job_id),
            )
        )

    def retry(self, queue_type: Any, jobs: Any) -> Flow[list[Ended]]:
        """Make new jobs of dead letters, each by its queue_id and job_id; the outcomes in order."""
        queue_type, names = check_identifier("queue_type", queue_type), _all_named(jobs)
        return (yield from self._by_home(queue_type, names, self._operations.retry_dead))

    def delete(self, queue_type: Any, jobs: Any) -> Flow[list[Ended]]:
        """Remove dead letters; the outcomes in order."""
        queue_type, names = check_identifier("queue_type", queue_type), _all_named(jobs)
        return (yield from self._by_home(queue_type, names, self._operations.delete_dead))

    def _by_home(
        self,
        queue_type: str,
        names: list[tuple[str, str]],
        make_call: Callable[[str, list[tuple[str, str]]], Call[list[Ended]]],
    ) -> Flow[list[Ended]]:
        """The outcomes in order. A call may end some first ones of the letters that it names."""
        shards = self._spreading.shards
        outcomes: dict[int, Ended] = {}
        left = list(range(len(names)))
        while left:
            home = shards.home(queue_type, names[left[0]][0])
            same = [at for at in left if shards.home(queue_type, names[at][0]) == home]
            chunk = same[:BULK_SIZE]
            try:
                ended = yield make_call(home, [names[at] for at in chunk])
            except WrongKind:
                if not (yield from self._spreading.learn(queue_type, home)):
                    raise
                continue
            outcomes.update(zip(chunk, ended, strict=False))
            left = [at for at in left if at not in outcomes]
        return [outcomes[at] for at in range(len(names))]

    def begin(
        self, queue_type: Any, kind: Any, filter: Any = None, limit: Any = None
    ) -> Flow[DeadBegun]:
        """Begin to retry or to delete all that a filter selects, up to `limit`; None: all of them.

        `filter` has the fields of `DeadFilter`. It goes on by `advance`, or by the sweeps of
        servers.
        """
        queue_type = check_identifier("queue_type", queue_type)
        if kind not in KINDS:
            raise invalid("kind", " or ".join(KINDS))
        wanted = DeadFilter() if filter is None else check_filter(filter)
        if filter is not None and wanted == DeadFilter():
            raise BadArgumentException("`filter` selects nothing: name a field of it.")
        if limit is not None:
            check_integer("limit", limit, 1, MAX_COUNT)
        bulk_id = secrets.token_hex(8)
        begun = yield from self._begin(queue_type, bulk_id, kind, wanted, limit)
        # A sweep that had found the type idle looks at it again. In a list, since a full store
        # refuses that.
        yield [self._operations.register(queue_type)]
        return begun

    def advance(self, queue_type: Any, server_id: str) -> Flow[bool]:
        """Make a step of the bulk of a type; whether there is more to do for this server."""
        queue_type = check_identifier("queue_type", queue_type)
        return any(
            (
                yield from self._spreading.everywhere(
                    queue_type, lambda name: self._operations.advance_dead(name, server_id)
                )
            )
        )

    def leave(self, queue_type: str, server_id: str) -> Flow[None]:
        """Make a last step of the bulk of a type, and leave it to others."""
        yield self._operations.advance_dead(queue_type, server_id, 0)

    def progress(self, queue_type: Any) -> Flow[DeadBulk | None]:
        """The bulk of a type that runs, or that ran last, if it ended within an hour."""
        queue_type = check_identifier("queue_type", queue_type)
        return sums.bulk(
            (yield from self._spreading.everywhere(queue_type, self._operations.dead_bulk))
        )

    def cancel(self, queue_type: Any) -> Flow[bool]:
        """Cancel the bulk that runs; False if none does."""
        queue_type = check_identifier("queue_type", queue_type)
        return any(
            (yield from self._spreading.everywhere(queue_type, self._operations.cancel_dead))
        )

    def _begin(
        self, queue_type: str, bulk_id: str, kind: str, wanted: DeadFilter, limit: int | None
    ) -> Flow[DeadBegun]:
        """Begin a bulk in all shards; that in the first one decides whether one runs."""
        operations, spreading = self._operations, self._spreading
        for _ in range(_TRIES):
            most = yield from self._shares(queue_type, limit)
            names = spreading.shards.homes(queue_type)
            if len(names) != len(most):
                continue
            try:
                begun: DeadBegun = yield operations.begin_dead(
                    names[0], bulk_id, kind, wanted, most[0]
                )
                break
            except WrongKind as error:
                failure = error
                if not (yield from spreading.learn(queue_type, names[0])):
                    raise
        else:
            raise failure
        others = [
            operations.begin_dead(name, bulk_id, kind, wanted, share)
            for name, share in zip(names[1:], most[1:], strict=True)
            if share != 0
        ]
        if begun.begun and others:
            unfailed((yield others))
        return begun

    def _shares(self, queue_type: str, limit: int | None) -> Flow[list[int | None]]:
        """How many letters a bulk takes of each shard, by how many there are."""
        names = self._spreading.shards.homes(queue_type)
        if limit is None or len(names) == 1:
            return [limit] * len(names)
        parts = yield from self._spreading.everywhere(queue_type, self._operations.type_metrics)
        return [*sums.shares(limit, [part.dead.jobs for part in parts])]


def check_filter(values: Any) -> DeadFilter:
    """The dead letters that are meant by the fields of a `DeadFilter`; None does not select.

    Raises `BadArgumentException`.
    """
    if isinstance(values, DeadFilter):
        values = values._asdict()
    if not isinstance(values, Mapping):
        raise invalid("filter", f"an object with some of {', '.join(DeadFilter._fields)}")
    for name in values:
        if name not in DeadFilter._fields:
            raise unknown(f"filter.{name}")
    given = DeadFilter(**values)
    if given.queue_id is not None:
        check_identifier("queue_id", given.queue_id)
    if given.reason is not None and given.reason not in REASONS:
        raise invalid("reason", ", ".join(REASONS))
    if given.error is not None and not _is_type(given.error):
        raise invalid("error", f"the type of an error, a text of 1 to {MAX_TYPE} characters")
    if given.before is not None:
        check_integer("before", given.before, 0, MAX_COUNT)
        given = given._replace(before=min(given.before, _LAST_TIME))
    return given


def _is_type(value: Any) -> bool:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TYPE:
        return False
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _all_named(jobs: Any) -> list[tuple[str, str]]:
    if isinstance(jobs, str | bytes) or not isinstance(jobs, Sequence | Iterable):
        raise invalid("jobs", _PAIRS)
    pairs = list(jobs)
    if not 0 < len(pairs) <= MAX_NAMED:
        raise invalid("jobs", _PAIRS)
    return [_named(pair) for pair in pairs]


def _named(pair: Any) -> tuple[str, str]:
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise invalid("jobs", _PAIRS)
    job_id = check_identifier("job_id", pair[1])
    return check_identifier("queue_id", pair[0]), job_id


_PAIRS: Final = f"a list of 1 to {MAX_NAMED} pairs of a queue_id and a job_id"
