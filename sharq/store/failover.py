"""What becomes of calls whose store has gone, where another one takes its place. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sharq.errors import StoreError, StoreOutcomeUnknown, StoreOverloaded, StoreUnavailable
from sharq.operations.call import Call


def lost_calls(calls: Sequence[Call[Any]], answers: Sequence[object]) -> list[int]:
    """Which of `calls` may be sent to another store, by their answers.

    There may be none any more where they went, and they were not carried out, or do no harm a
    second time.
    """
    return [
        at
        for at, (call, answer) in enumerate(zip(calls, answers, strict=True))
        if isinstance(answer, StoreUnavailable)
        and not isinstance(answer, StoreOverloaded)
        and (call.repeatable or not answer.outcome_unknown)
    ]


def after_both(first: StoreError, answer: Any) -> Any:
    """What a call comes to that had the error `first`, and `answer` from the store after that one:
    it may have been carried out by the first one.
    """
    if not isinstance(answer, StoreError) or answer.outcome_unknown or not first.outcome_unknown:
        return answer
    unknown = StoreOutcomeUnknown()
    unknown.__cause__ = answer
    return unknown
