"""Credit as a set of leases: a property test against a plain model, and the corners by hand."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sharq_server.push.credit import UNLIMITED, Credit

TYPES = ("a", "b")
types = st.sampled_from(TYPES)


def lease(queue_type: str, number: int) -> str:
    return f"{queue_type}/q/j/{number}"


class CreditMachine(RuleBasedStateMachine):
    """Leases come and go in any order; what a type may have is what its limit leaves."""

    @initialize()
    def begin(self) -> None:
        self.credit = Credit()
        self.limits: dict[str | None, int] = {}
        self.held: set[str] = set()
        self.under_way: list[tuple[str, int]] = []
        self.number = 0
        self.granted = 0

    def used(self, queue_type: str | None) -> int:
        held = sum(queue_type in (None, each.partition("/")[0]) for each in self.held)
        return held + sum(n for name, n in self.under_way if queue_type in (None, name))

    def room(self, queue_type: str) -> int:
        return max(
            0,
            min(self.limits.get(name, UNLIMITED) - self.used(name) for name in (queue_type, None)),
        )

    def unused(self, queue_type: str) -> int:
        """What is asked for is still to come."""
        return max(
            0,
            min(
                self.limits.get(name, UNLIMITED)
                - sum(name in (None, each.partition("/")[0]) for each in self.held)
                for name in (queue_type, None)
            ),
        )

    @rule(queue_type=st.sampled_from((*TYPES, None)), limit=st.one_of(st.none(), st.integers(0, 9)))
    def limit(self, queue_type: str | None, limit: int | None) -> None:
        self.credit.limit(queue_type, limit)
        self.limits[queue_type] = UNLIMITED if limit is None else limit

    @rule(queue_type=types, wanted=st.integers(0, 12))
    def ask(self, queue_type: str, wanted: int) -> None:
        expected = min(wanted, self.room(queue_type))
        assert self.credit.reserve(queue_type, wanted) == expected
        if expected:
            self.under_way.append((queue_type, expected))

    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        if not self.under_way:
            return
        queue_type, places = self.under_way.pop()
        count = data.draw(st.integers(0, places))
        tokens = [lease(queue_type, self.number + at) for at in range(count)]
        self.number += count
        self.credit.unreserve(queue_type, places)
        self.credit.hold(queue_type, tokens, 1.0)
        self.held.update(tokens)

    @rule(queue_type=types, count=st.integers(1, 3))
    def carry_along(self, queue_type: str, count: int) -> None:
        tokens = [lease(queue_type, self.number + at) for at in range(count)]
        self.number += count
        self.credit.hold(queue_type, [*tokens, *tokens], 2.0)
        self.held.update(tokens)

    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        tokens = [lease(name, at) for name in TYPES for at in range(self.number + 1)]
        token = data.draw(st.sampled_from(tokens))
        assert self.credit.free(token) == (token in self.held)
        self.held.discard(token)

    @invariant()
    def room_is_what_the_limits_leave(self) -> None:
        for queue_type in TYPES:
            assert self.credit.room(queue_type) == self.room(queue_type)
            assert self.credit.unused(queue_type) == self.unused(queue_type)
            assert self.credit.limit_of(queue_type) == self.limits.get(queue_type, UNLIMITED)
        assert set(self.credit.held) == self.held


TestCredit = CreditMachine.TestCase


def test_what_is_not_held_frees_nothing() -> None:
    credit = Credit()
    credit.limit("a", 1)
    credit.hold("a", ["a/q/j/1"], 1.0)
    assert [credit.free(token) for token in ("a/q/j/2", "a/q/j/1", "a/q/j/1")] == [
        False,
        True,
        False,
    ]
    assert credit.room("a") == 1


def test_types_without_limits_or_leases_are_not_remembered() -> None:
    credit = Credit()
    for number in range(100):
        queue_type = f"t{number}"
        credit.limit(queue_type, 1)
        places = credit.reserve(queue_type, 5)
        credit.unreserve(queue_type, places)
        credit.hold(queue_type, [f"{queue_type}/q/j/1"], 1.0)
        credit.limit(queue_type, None)
        credit.free(f"{queue_type}/q/j/1")
    assert credit._types == {}
