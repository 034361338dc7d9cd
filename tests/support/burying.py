"""Failing jobs and dead letters, by the operations of `Hands`."""

from __future__ import annotations

from typing import Any

import hiredis

from sharq._fastpath import Job
from sharq.endings import fail_with
from sharq.errors import StoreError
from sharq.identifiers import check_lease
from sharq.operations.call import Call, Flow
from sharq.operations.dead_letters import DeadLetters
from sharq.results import DeadLetter, JobError
from tests.support.hands import TYPE, Hands

BOOM = JobError("ValueError", "no such number", "Traceback …\n  File x")


def fail(hands: Hands, job: Job, **told: Any) -> str:
    """Fail a job under the lease it was delivered with; `told`: see `fail_with`."""
    told.setdefault("error", BOOM)
    end = fail_with(**told).of(check_lease(job.lease))
    (ended,) = hands.run(hands.operations.settle(TYPE, [end]))
    return ended.outcome


def reject(hands: Hands, job: Job, **told: Any) -> str:
    return fail(hands, job, retry=False, **told)


def kill(hands: Hands, *job_ids: str, queue_id: str = "q") -> None:
    """Make dead letters of new jobs."""
    for job_id in job_ids:
        hands.put(job_id, queue_id)
        (job,) = hands.take()
        assert job.job_id == job_id
        reject(hands, job)


def dead(hands: Hands) -> DeadLetters:
    return DeadLetters(hands.operations)


def carry(hands: Hands, flow: Flow[Any]) -> Any:
    """Carry a flow out."""
    try:
        request = flow.send(None)
        while True:
            if isinstance(request, list):
                request = flow.send([_answer(hands, call) for call in request])
            else:
                request = flow.send(hands.run(request))
    except StopIteration as stop:
        return stop.value


def _answer(hands: Hands, call: Call[Any]) -> Any:
    try:
        return hands.run(call)
    except hiredis.ReplyError as error:
        return StoreError(str(error))


def letters(hands: Hands, **wanted: Any) -> list[DeadLetter]:
    """All dead letters that are wanted, the newest first, page by page."""
    found: list[DeadLetter] = []
    cursor: str | None = None
    while True:
        page = carry(hands, dead(hands).page(TYPE, cursor=cursor, **wanted))
        found += page.letters
        cursor = page.cursor
        if cursor is None:
            return found


def names(hands: Hands, **wanted: Any) -> list[str]:
    return [letter.job_id for letter in letters(hands, **wanted)]


def dead_keys(hands: Hands) -> list[str]:
    """What is left of dead letters in the store."""
    return [key.rpartition("}:")[2] for key in hands.key_names() if "}:dead" in key]
