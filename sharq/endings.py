"""How the holder of a lease ends it, and what it tells with that: checked on its way in. Pure."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple, get_args

from sharq.errors import BadArgumentException
from sharq.identifiers import (
    MAX_LIMIT,
    MAX_PAUSE,
    check_integer,
    check_time,
    find_lease,
    invalid,
)
from sharq.results import Lease, Told

PauseScope = Literal["queue", "group", "type"]
"""The level that a worker's pause is for."""

QUEUE: Final[PauseScope] = "queue"
"""The scope of a pause if none is told."""

PAUSE_SCOPES: Final[tuple[str, ...]] = get_args(PauseScope)


class Ending(NamedTuple):
    """A finish, or a release after `delay` ms that is `counted` or not.

    `cost` is the real one of the dispatch, `pause` (ms) is for a level of the kind `scope`; None if
    it is not told.
    """

    finishes: bool
    delay: int = 0
    counted: bool = True
    cost: int | None = None
    pause: int | None = None
    scope: str = QUEUE

    @property
    def is_plain(self) -> bool:
        """Whether it tells no more than `finish` and `release` take."""
        return self.cost is None and self.pause is None

    @property
    def pauses_others(self) -> bool:
        """Whether it pauses more than the job's own queue, which needs the operation pause."""
        return self.pause is not None and self.scope != QUEUE

    def of(self, lease: Lease) -> Told:
        """This end of a lease, for the store."""
        how = "finish" if self.finishes else "release" if self.counted else "return"
        names = (lease.queue_id, lease.job_id, lease.n)
        if self.pause is None:
            return Told(*names, how, _text(self.cost), str(self.delay))
        told = (_text(self.cost), str(self.delay), str(self.pause), self.scope)
        return Told(*names, how, *told)


FINISH: Final = Ending(True)
"""A plain finish."""


class EndingLease(NamedTuple):
    """A lease and how it ends."""

    lease: Lease
    ending: Ending

    @classmethod
    def of(cls, token: Any, ending: Ending | None) -> EndingLease | None:
        """That of a token; None if it is no token, or if there is no valid ending."""
        lease = find_lease(token)
        return None if lease is None or ending is None else cls(lease, ending)

    @property
    def queue_type(self) -> str:
        return self.lease.queue_type

    @property
    def told(self) -> Told:
        """The same, for the store."""
        return self.ending.of(self.lease)


def finish_with(cost: Any) -> Ending:
    """A finish with the real cost, or with None. Raises `BadArgumentException`."""
    return FINISH if cost is None else FINISH._replace(cost=_checked_cost(cost))


def release_with(
    delay: Any, count_requeue: Any, cost: Any = None, pause: Any = None, pause_scope: Any = None
) -> Ending:
    """A release; None is for what is not given. Raises `BadArgumentException`.

    It is counted unless `count_requeue` is False or there is a pause. Without a pause its scope can
    only be that of the queue.
    """
    delay = check_time("delay", delay)
    if count_requeue is not None and not isinstance(count_requeue, bool):
        raise invalid("count_requeue")
    cost = None if cost is None else _checked_cost(cost)
    scope = QUEUE if pause_scope is None else pause_scope
    if not isinstance(scope, str) or scope not in PAUSE_SCOPES:
        raise invalid("pause_scope")
    if pause is None:
        if scope != QUEUE:
            raise scope_alone()
        return Ending(False, delay, count_requeue is not False, cost)
    pause = check_integer("pause", pause, 1, MAX_PAUSE)
    if count_requeue:
        raise BadArgumentException("A release with a `pause` does not count: no `count_requeue`.")
    return Ending(False, delay, False, cost, pause, str.__str__(scope))


def scope_alone() -> BadArgumentException:
    """The error for a scope without a pause."""
    return BadArgumentException("`pause_scope` is the scope of a `pause`, and there is none.")


def _checked_cost(value: Any) -> int:
    return check_integer("cost", value, 1, MAX_LIMIT)


def _text(value: int | None) -> str:
    return "" if value is None else str(value)
