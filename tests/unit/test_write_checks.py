"""Which nodes are asked for a write, and what their answers mean: no sockets, no waiting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from sharq.errors import StoreError, StoreUnavailable
from sharq.operations.call import Anywhere, Call
from sharq.store.errors import CutOff, Misdirected
from sharq.store.routing import Refresh
from sharq.store.slots import Node, Range, Topology, slot_of
from sharq.store.write_checks import try_each

SEED, A, B, C = (Node(host, 6379) for host in ("seed", "a", "b", "c"))
THIRDS = [Range(0, 5000, A), Range(5001, 10_000, B), Range(10_001, 16_383, C)]
LESS = [Range(0, 5000, B), Range(5001, 10_000, B), Range(10_001, 16_383, C)]
UP = {"a:6379": None, "b:6379": None, "c:6379": None}


def place(number: int) -> bytes:
    return b"{p:.%d}" % number


ATTEMPT: Call[Any] = Call(
    b"try", b"", lambda reply: reply, anywhere=Anywhere(place, lambda at: b"try " + place(at))
)


class Walk:
    """Answers what nodes are asked for with `answers`, once each, and else that they take it."""

    def __init__(self, *maps: list[Range], known: bool = True) -> None:
        self.maps = list(maps)
        self.topology = Topology(SEED)
        if known:
            self.topology.learn(self.maps.pop(0))
        self.answers: dict[Node, list[StoreError | None]] = {}
        self.silent: set[Node] = set()
        self.away: set[Node] = set()
        self.steps: list[Refresh | list[Node]] = []

    def take(self) -> Mapping[str, StoreError | None]:
        steps = try_each(self.topology, ATTEMPT, lambda node: node not in self.away)
        outcome: Any = None
        try:
            while True:
                step = steps.send(outcome)
                if isinstance(step, Refresh):
                    self.steps.append(step)
                    outcome = self.refresh()
                    continue
                self.steps.append(list(step))
                for node, calls in step.items():
                    slots = [slot_of(call.key) for call in calls]
                    assert [call.packed for call in calls] == [b"try " + c.key for c in calls]
                    assert len(set(slots)) == 2
                    assert {self.topology.by_slot(slot) for slot in slots} == {node}
                outcome = {
                    node: self.answers[node].pop(0) if self.answers.get(node) else None
                    for node in step
                    if node not in self.silent
                }
        except StopIteration as end:
            told: Mapping[str, StoreError | None] = end.value
            return told

    def refresh(self) -> StoreError | None:
        if not self.maps:
            return StoreUnavailable("nobody knows")
        self.topology.learn(self.maps.pop(0))
        return None


def test_each_node_is_asked_once_with_a_key_of_its_own() -> None:
    walk = Walk(THIRDS)
    assert walk.take() == UP
    assert walk.steps == [[A, B, C]]


def test_a_node_that_refuses_or_is_silent_is_told_with_the_reason() -> None:
    walk = Walk(THIRDS)
    refusal = StoreUnavailable("NOREPLICAS")
    walk.answers, walk.silent = {A: [refusal]}, {B}
    told = walk.take()
    assert (told["a:6379"], told["c:6379"]) == (refusal, None)
    assert isinstance(told["b:6379"], StoreUnavailable)
    assert walk.steps == [[A, B, C]], "the map would tell nothing"


@pytest.mark.parametrize("error", [CutOff(), StoreUnavailable()])
def test_a_node_that_is_lost_has_the_map_asked_for(error: StoreError) -> None:
    walk = Walk(THIRDS, THIRDS)
    walk.answers, walk.away = {A: [error]}, {A}
    assert walk.take()["a:6379"] is error
    assert walk.steps[1:] == [Refresh(1, None, pressing=False, doubted=(A,))]


def test_the_next_map_counts_when_a_slot_has_moved() -> None:
    walk = Walk(THIRDS, LESS)
    walk.answers = {A: [Misdirected(node=("b", 6379))]}
    assert walk.take() == {"b:6379": None, "c:6379": None}
    assert walk.steps == [[A, B, C], Refresh(1, B)]


def test_a_node_that_is_still_a_primary_then_is_asked_again() -> None:
    walk = Walk(THIRDS, THIRDS)
    walk.answers = {A: [Misdirected(node=("b", 6379))]}
    assert walk.take() == UP
    assert walk.steps == [[A, B, C], Refresh(1, B), [A]]


def test_without_a_map_it_is_learned_first() -> None:
    walk = Walk(THIRDS, known=False)
    assert walk.take() == UP
    assert walk.steps == [Refresh(0), [A, B, C]]


def test_without_any_map_the_nodes_of_the_settings_are_told() -> None:
    told = Walk(known=False).take()
    assert list(told) == ["seed:6379"]
    assert isinstance(told["seed:6379"], StoreUnavailable)


def test_a_node_of_a_single_slot_is_asked_with_one_key() -> None:
    topology = Topology()
    topology.learn([Range(0, 0, A), Range(1, 8000, B), Range(8001, 16_383, C)])
    chosen = {node: topology.choices(ATTEMPT, node) for node in (A, B, C)}
    assert {node: len(calls) for node, calls in chosen.items()} == {A: 1, B: 2, C: 2}
    (call,) = chosen[A]
    assert slot_of(call.key) == 0


def test_the_two_keys_of_a_node_are_in_different_slots() -> None:
    topology = Topology()
    topology.learn([Range(0, 1, A), Range(2, 3, B), Range(4, 16_383, C)])
    slots = {
        node: {slot_of(call.key) for call in topology.choices(ATTEMPT, node)} for node in (A, B)
    }
    assert slots == {A: {0, 1}, B: {2, 3}}


def test_keys_are_looked_for_once_for_a_map() -> None:
    topology, tried = Topology(), []

    def counted(number: int) -> bytes:
        tried.append(number)
        return place(number)

    topology.learn(THIRDS)
    first = topology.numbers_at(B, counted)
    before = list(tried)
    assert topology.numbers_at(B, counted) == first
    assert tried == before
    topology.learn(LESS)
    assert topology.numbers_at(B, counted) != ()
    assert tried != before, "another map"
