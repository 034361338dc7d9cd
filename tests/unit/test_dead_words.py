"""Arguments of the flows of dead letters, and what the store's words mean."""

from __future__ import annotations

from typing import Any

import pytest

from sharq.errors import BadArgumentException
from sharq.operations.dead_letters import DeadLetters, check_filter
from sharq.operations.operations import Operations
from sharq.operations.scripts import Scripts
from sharq.results import DeadFilter
from sharq.settings.options import QueueSettings
from tests.support.cases import cases

DEAD = DeadLetters(Operations("p", QueueSettings(), Scripts()))

FLOWS: list[Any] = [
    lambda: DEAD.page("no type"),
    lambda: DEAD.page("t", queue_id=""),
    lambda: DEAD.page("t", reason="dead"),
    lambda: DEAD.page("t", error=""),
    lambda: DEAD.page("t", error="x" * 101),
    lambda: DEAD.page("t", error=1),
    lambda: DEAD.page("t", error="\ud800"),
    lambda: DEAD.page("t", before=-1),
    lambda: DEAD.page("t", before=1.5),
    lambda: DEAD.page("t", before=True),
    lambda: DEAD.page("t", before=2**63),
    lambda: DEAD.page("t", cursor="x"),
    lambda: DEAD.page("t", cursor=1),
    lambda: DEAD.page("t", cursor="1" * 17),
    lambda: DEAD.page("t", count=0),
    lambda: DEAD.page("t", count=101),
    lambda: DEAD.show("t", "q", "no id"),
    lambda: DEAD.retry("t", []),
    lambda: DEAD.retry("t", "ab"),
    lambda: DEAD.retry("t", None),
    lambda: DEAD.retry("t", [("q", "a")] * 1001),
    lambda: DEAD.retry("t", ["qa"]),
    lambda: DEAD.retry("t", [("q", "a", "b")]),
    lambda: DEAD.retry("t", [("q", 1)]),
    lambda: DEAD.delete("t", [("q", "a"), ("no id", "a")]),
    lambda: DEAD.begin("t", "copy"),
    lambda: DEAD.begin("t", ["retry"]),
    lambda: DEAD.begin("t", "retry", {}),
    lambda: DEAD.begin("t", "retry", {"queue_id": None}),
    lambda: DEAD.begin("t", "retry", []),
    lambda: DEAD.begin("t", "retry", {"type": "x"}),
    lambda: DEAD.begin("t", "retry", {1: "x"}),
    lambda: DEAD.begin("t", "retry", limit=0),
    lambda: DEAD.begin("t", "retry", limit="all"),
    lambda: DEAD.advance("no type", "s"),
    lambda: DEAD.progress(None),
    lambda: DEAD.cancel(7),
]


@cases("at", range(len(FLOWS)))
def test_a_bad_argument_is_refused_before_anything_is_sent(at: int) -> None:
    with pytest.raises(BadArgumentException):
        FLOWS[at]().send(None)


@pytest.mark.parametrize(
    "values", [{"error": "ValueError"}, {"error": "É" * 100, "before": 0, "reason": "expired"}]
)
def test_a_filter_has_the_fields_that_select(values: dict[str, Any]) -> None:
    assert check_filter(values) == DeadFilter(**values)
    assert check_filter(DeadFilter(**values)) == DeadFilter(**values)
