"""Dead letters: arguments checked, then calls of the store."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sharq.errors import BadArgumentException
from sharq.failures import MAX_TYPE
from sharq.identifiers import MAX_COUNT, check_identifier, check_integer, invalid, unknown
from sharq.operations.call import Flow
from sharq.operations.operations import BULK_SIZE, Operations
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
_CURSOR: Final = re.compile("[0-9]{1,16}", re.ASCII)


class DeadLetters:
    """The flows of dead letters."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

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
        if cursor is not None and not (isinstance(cursor, str) and _CURSOR.fullmatch(cursor)):
            raise invalid("cursor")
        check_integer("count", count, 1, MAX_PAGE)
        page: DeadPage = yield self._operations.list_dead(queue_type, wanted, cursor or "", count)
        return page

    def show(self, queue_type: Any, queue_id: Any, job_id: Any) -> Flow[DeadLetter | None]:
        """A dead letter; None if there is none of that name."""
        queue_type = check_identifier("queue_type", queue_type)
        names = _named((queue_id, job_id))
        letter: DeadLetter | None = yield self._operations.show_dead(queue_type, *names)
        return letter

    def retry(self, queue_type: Any, jobs: Any) -> Flow[list[Ended]]:
        """Make new jobs of dead letters, each by its queue_id and job_id; the outcomes in order."""
        queue_type, names = check_identifier("queue_type", queue_type), _all_named(jobs)
        outcomes: list[Ended] = []
        while len(outcomes) < len(names):
            at = len(outcomes)
            outcomes += yield self._operations.retry_dead(queue_type, names[at : at + BULK_SIZE])
        return outcomes

    def delete(self, queue_type: Any, jobs: Any) -> Flow[list[Ended]]:
        """Remove dead letters; the outcomes in order."""
        queue_type, names = check_identifier("queue_type", queue_type), _all_named(jobs)
        outcomes: list[Ended] = []
        for at in range(0, len(names), BULK_SIZE):
            outcomes += yield self._operations.delete_dead(queue_type, names[at : at + BULK_SIZE])
        return outcomes

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
        begun: DeadBegun = yield self._operations.begin_dead(
            queue_type, bulk_id, kind, wanted, limit
        )
        # A sweep that had found the type idle looks at it again. In a list, since a full store
        # refuses that.
        yield [self._operations.register(queue_type)]
        return begun

    def advance(self, queue_type: Any, server_id: str) -> Flow[bool]:
        """Make a step of the bulk of a type; whether there is more to do for this server."""
        queue_type = check_identifier("queue_type", queue_type)
        more: bool = yield self._operations.advance_dead(queue_type, server_id)
        return more

    def progress(self, queue_type: Any) -> Flow[DeadBulk | None]:
        """The bulk of a type that runs, or that ran last, if it ended within an hour."""
        queue_type = check_identifier("queue_type", queue_type)
        bulk: DeadBulk | None = yield self._operations.dead_bulk(queue_type)
        return bulk

    def cancel(self, queue_type: Any) -> Flow[bool]:
        """Cancel the bulk that runs; False if none does."""
        queue_type = check_identifier("queue_type", queue_type)
        ran: bool = yield self._operations.cancel_dead(queue_type)
        return ran


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
        check_integer("before", given.before, 0, _LAST_TIME)
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
