"""What happens to calls whose store has gone and is replaced by another one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sharq.errors import StoreError, StoreOutcomeUnknown, StoreOverloaded, StoreUnavailable
from sharq.operations.call import Call
from sharq.store.errors import Misdirected


def lost_calls(calls: Sequence[Call[Any]], answers: Sequence[object]) -> list[int]:
    """Which of `calls` may be sent to another store, by their answers.

    The first store may have died; the calls were not carried out, or are safe to repeat.
    """
    return [
        at
        for at, (call, answer) in enumerate(zip(calls, answers, strict=True))
        if isinstance(answer, StoreUnavailable)
        and not isinstance(answer, StoreOverloaded)
        and (call.repeatable or not answer.outcome_unknown)
    ]


def after_both(first: StoreError, answer: Any) -> Any:
    """The result of a call with the error `first`, then `answer` from the next store.

    The first one may have carried it out.
    """
    may_be_done = first.outcome_unknown or (isinstance(first, Misdirected) and first.late)
    if not isinstance(answer, StoreError) or answer.outcome_unknown or not may_be_done:
        return answer
    unknown = StoreOutcomeUnknown()
    unknown.__cause__ = answer
    return unknown
