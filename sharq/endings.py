"""How the holder of a lease ends it, and what it tells with that: checked on its way in. Pure."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple, get_args

from sharq.errors import BadArgumentException
from sharq.failures import check_error, check_worker, error_word, worker_word
from sharq.identifiers import (
    MAX_LIMIT,
    MAX_PAUSE,
    check_integer,
    check_time,
    find_lease,
    invalid,
)
from sharq.results import JobError, Lease, Told

PauseScope = Literal["queue", "group", "type"]
"""The level that a worker's pause is for."""

QUEUE: Final[PauseScope] = "queue"
"""The scope of a pause if none is told."""

PAUSE_SCOPES: Final[tuple[str, ...]] = get_args(PauseScope)


class Failure(NamedTuple):
    """Why a lease ends without success, as its holder tells it.

    With `retry` the job is tried again if a requeue is left: after the delay of the `Ending`, or
    with `backs_off` after the server's backoff.
    """

    error: JobError | None = None
    worker: str | None = None
    retry: bool = True
    backs_off: bool = False


class Ending(NamedTuple):
    """A finish, a release after `delay` ms that is `counted` or not, or a failure.

    `cost` is the real one of the dispatch, `pause` (ms) is for a level of the kind `scope`; None if
    it is not told.
    """

    finishes: bool
    delay: int = 0
    counted: bool = True
    cost: int | None = None
    pause: int | None = None
    scope: str = QUEUE
    failure: Failure | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it tells no more than `finish` and `release` take."""
        return self.cost is None and self.pause is None and self.failure is None

    @property
    def pauses_others(self) -> bool:
        """Whether it pauses more than the job's own queue, which needs the operation pause."""
        return self.pause is not None and self.scope != QUEUE

    def of(self, lease: Lease) -> Told:
        """This end of a lease, for the store."""
        failure, delay = self.failure, str(self.delay)
        how = "finish" if self.finishes else "release" if self.counted else "return"
        words: tuple[str, ...] = ()
        if failure is not None:
            how, delay = "fail" if failure.retry else "reject", "" if failure.backs_off else delay
            words = (worker_word(failure.worker), error_word(failure.error))
        pause = ("", "") if self.pause is None else (str(self.pause), self.scope)
        return Told(*lease[1:], how, _text(self.cost), delay, *pause, *words)


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
    def queue_id(self) -> str:
        return self.lease.queue_id

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


def fail_with(
    error: Any = None,
    retry: Any = None,
    delay: Any = None,
    cost: Any = None,
    pause: Any = None,
    worker: Any = None,
) -> Ending:
    """A failure; None is for what is not given. Raises `BadArgumentException`.

    It counts as an attempt. The pause is one of the queue. A job that is not tried again has no
    delay.
    """
    told, name = check_error(error), check_worker(worker)
    if retry is not None and not isinstance(retry, bool):
        raise invalid("retry")
    if retry is False and delay is not None:
        raise BadArgumentException("`delay` is for a job that is tried again, with `retry`.")
    failure = Failure(told, name, retry is not False, delay is None)
    return Ending(
        False,
        0 if delay is None else check_time("delay", delay),
        cost=None if cost is None else _checked_cost(cost),
        pause=None if pause is None else check_integer("pause", pause, 1, MAX_PAUSE),
        failure=failure,
    )


def scope_alone() -> BadArgumentException:
    """The error for a scope without a pause."""
    return BadArgumentException("`pause_scope` is the scope of a `pause`, and there is none.")


def _checked_cost(value: Any) -> int:
    return check_integer("cost", value, 1, MAX_LIMIT)


def _text(value: int | None) -> str:
    return "" if value is None else str(value)
