"""The steps of a route, taken by hand: no sockets, no waiting."""

from __future__ import annotations

from typing import Any

import pytest
from redis.crc import key_slot

from sharq.errors import (
    StoreError,
    StoreFull,
    StoreOutcomeUnknown,
    StoreUnavailable,
    UnexpectedReply,
)
from sharq.operations.call import Call
from sharq.store.errors import Misdirected
from sharq.store.routing import Refresh, Send, Steps, learn, route, spread
from sharq.store.slots import Node, Range, Topology

SEED, A, B, C = (
    Node("10.0.0.9", 7009),
    Node("10.0.0.1", 7001),
    Node("10.0.0.2", 7002),
    Node("c", 1),
)


def call(key: bytes) -> Call[Any]:
    return Call(b"packed " + key, key, lambda reply: reply)


def keys_of(first: int, last: int, count: int) -> list[bytes]:
    keys = (b"key%d" % number for number in range(100_000))
    return [key for key in keys if first <= key_slot(key) <= last][:count]


LOW, OTHER_LOW = keys_of(0, 8191, 2)
HIGH, OTHER_HIGH = keys_of(8192, 16383, 2)
HALVES = [Range(0, 8191, A), Range(8192, 16383, B)]


def known() -> Topology:
    topology = Topology(SEED)
    topology.learn(HALVES)
    return topology


class Walk:
    """Takes the steps of a route: answers every batch with what `answers` has for its node.

    An answer is used once; a node without one echoes the keys. `maps` are learned one by one,
    refreshes beyond them fail. `steps` holds what was asked for.
    """

    def __init__(
        self,
        topology: Topology,
        answers: dict[Node, list[Any]] | None = None,
        maps: list[list[Range]] | None = None,
        away: set[Node] | None = None,
    ) -> None:
        self.topology = topology
        self.answers = answers or {}
        self.maps = maps or []
        self.away = away or set()
        self.steps: list[Any] = []

    def reachable(self, node: Node) -> bool:
        return node not in self.away

    def take(self, steps: Steps) -> list[Any]:
        outcome: Any = None
        try:
            while True:
                step = steps.send(outcome)
                self.steps.append(step)
                outcome = self.refresh() if isinstance(step, Refresh) else self.send(step)
        except StopIteration as end:
            results: list[Any] = end.value
            return results

    def route(self, *keys: bytes) -> list[Any]:
        return self.take(route(self.topology, [call(key) for key in keys], self.reachable))

    def refresh(self) -> StoreError | None:
        if not self.maps:
            return StoreUnavailable("nobody knows")
        self.topology.learn(self.maps.pop(0))
        return None

    def send(self, step: Send) -> list[list[Any]]:
        replies = []
        for node, calls in step.batches:
            queued = self.answers.get(node, [])
            replies.append(queued.pop(0) if queued else [each.key for each in calls])
        return replies

    @property
    def sent(self) -> list[list[tuple[Node, list[bytes]]]]:
        return [
            [(node, [each.key for each in calls]) for node, calls in step.batches]
            for step in self.steps
            if isinstance(step, Send)
        ]

    @property
    def refreshes(self) -> list[Refresh]:
        return [step for step in self.steps if isinstance(step, Refresh)]


def test_calls_go_to_their_nodes_in_one_batch_each_and_results_come_in_order() -> None:
    walk = Walk(known())
    keys = [HIGH, LOW, OTHER_HIGH, OTHER_LOW]
    assert walk.route(*keys) == keys
    assert walk.sent == [[(B, [HIGH, OTHER_HIGH]), (A, [LOW, OTHER_LOW])]]


def test_the_first_call_asks_for_the_map() -> None:
    walk = Walk(Topology(SEED), maps=[HALVES])
    assert walk.route(LOW) == [LOW]
    assert walk.refreshes == [Refresh(0)]


def test_without_a_map_every_call_fails_with_the_reason() -> None:
    results = Walk(Topology(SEED)).route(LOW, HIGH)
    assert [str(result) for result in results] == ["nobody knows"] * 2


def test_nothing_to_do_is_done() -> None:
    assert Walk(known()).route() == []


def test_a_moved_key_is_followed_with_the_new_map() -> None:
    walk = Walk(
        known(), {A: [[Misdirected(node=C)]]}, maps=[[Range(0, 8191, C), Range(8192, 16383, B)]]
    )
    assert walk.route(LOW) == [LOW]
    assert walk.refreshes == [Refresh(1, C)]
    assert walk.sent == [[(A, [LOW])], [(C, [LOW])]]


def test_a_call_is_redirected_once() -> None:
    first, second = Misdirected(node=B), Misdirected(node=A)
    walk = Walk(known(), {A: [[first], [second]]}, maps=[HALVES])
    assert walk.route(LOW) == [second]


def test_only_what_was_misdirected_is_sent_again() -> None:
    walk = Walk(known(), {A: [[b"fine", Misdirected()]]}, maps=[HALVES])
    assert walk.route(LOW, OTHER_LOW, HIGH) == [b"fine", OTHER_LOW, HIGH]
    assert walk.sent[1:] == [[(A, [OTHER_LOW])]]


def test_a_replica_that_names_nobody_makes_the_map_be_learned_at_once() -> None:
    walk = Walk(known(), {A: [[Misdirected()]]}, maps=[[Range(0, 16383, B)]])
    assert walk.route(LOW) == [LOW]
    assert walk.refreshes == [Refresh(1, None, pressing=True)]


def test_a_node_that_is_away_makes_the_map_be_learned_and_its_heir_asked() -> None:
    walk = Walk(known(), {A: [[StoreUnavailable()]]}, maps=[[Range(0, 16383, B)]], away={A})
    assert walk.route(LOW) == [LOW]
    assert walk.refreshes == [Refresh(1, None, pressing=False)]


def test_a_node_that_is_away_and_has_no_heir_is_not_asked_again() -> None:
    away = StoreUnavailable()
    walk = Walk(known(), {A: [[away]]}, maps=[HALVES], away={A})
    assert walk.route(LOW) == [away]
    assert len(walk.sent) == 1


def test_a_node_that_is_away_concerns_no_other() -> None:
    away = StoreUnavailable()
    walk = Walk(known(), {A: [[away]]}, maps=[HALVES], away={A})
    assert walk.route(LOW, HIGH) == [away, HIGH]


def test_what_may_have_been_carried_out_is_not_sent_to_the_heir() -> None:
    unknown = StoreOutcomeUnknown()
    walk = Walk(known(), {A: [[unknown]]}, maps=[[Range(0, 16383, B)]], away={A})
    assert walk.route(LOW) == [unknown]
    assert (len(walk.sent), walk.refreshes) == (1, [])


@pytest.mark.parametrize("error", [StoreUnavailable("TRYAGAIN"), StoreFull(), UnexpectedReply()])
def test_an_error_of_a_node_that_is_there_is_final(error: StoreError) -> None:
    walk = Walk(known(), {A: [[error]]}, maps=[HALVES])
    assert walk.route(LOW) == [error]
    assert (len(walk.sent), walk.refreshes) == (1, [])


def test_a_misdirected_call_whose_map_cannot_be_learned_is_tried_once_more() -> None:
    walk = Walk(known(), {A: [[Misdirected(node=B)]]})
    assert walk.route(LOW) == [LOW]


def test_a_slot_without_a_node_asks_for_the_map_and_then_fails() -> None:
    topology = Topology(SEED)
    topology.learn([Range(0, 8191, A)])
    walk = Walk(topology, maps=[[Range(0, 8191, A)]])
    low, high = walk.route(LOW, HIGH)
    assert low == LOW
    assert type(high) is StoreUnavailable
    assert walk.refreshes == [Refresh(1, None, pressing=False)]


def test_a_call_without_a_key_goes_to_whoever_is_there() -> None:
    walk = Walk(known(), away={A})
    walk.route(b"")
    assert walk.sent == [[(B, [b""])]]


def test_a_call_for_all_goes_to_every_primary() -> None:
    walk = Walk(known(), {A: [[1]], B: [[2]]})
    assert walk.take(spread(walk.topology, call(b""), walk.reachable)) == [1, 2]


def test_a_call_for_all_asks_for_the_first_map() -> None:
    walk = Walk(Topology(SEED), maps=[HALVES])
    assert walk.take(spread(walk.topology, call(b""), walk.reachable)) == [b"", b""]


def test_a_call_for_all_that_misses_one_asks_for_the_map() -> None:
    away = StoreUnavailable()
    walk = Walk(known(), {A: [[away]]}, maps=[HALVES], away={A})
    assert walk.take(spread(walk.topology, call(b""), walk.reachable)) == [away, b""]
    assert walk.refreshes == [Refresh(1, None, pressing=False)]


def slots_reply(*ranges: Range) -> list[Any]:
    return [[first, last, [node.host.encode(), node.port, b"id"]] for first, last, node in ranges]


def asked(
    topology: Topology,
    replies: dict[Node, Any],
    named: Node | None = None,
    away: tuple[Node, ...] = (),
) -> list[Node]:
    """Let the map be learned from `replies`; other nodes do not answer. Who was asked, in order."""
    questions = learn(topology, named, lambda node: node not in away)
    order: list[Node] = []
    outcome: Any = None
    while True:
        try:
            order.append(questions.send(outcome))
        except StopIteration:
            return order
        outcome = replies.get(order[-1], StoreUnavailable(f"{order[-1].host} is away"))


def test_the_seed_tells_the_first_map() -> None:
    topology = Topology(SEED)
    assert asked(topology, {SEED: slots_reply(*HALVES)}) == [SEED]
    assert topology.primaries == (A, B)


def test_the_node_that_a_redirection_named_is_asked_first() -> None:
    assert asked(known(), {C: slots_reply(*HALVES)}, named=C) == [C]


def test_nodes_that_are_away_are_asked_last() -> None:
    assert asked(known(), {A: slots_reply(*HALVES)}, away=(A,)) == [B, SEED, A]


def test_a_node_that_serves_nothing_or_nonsense_is_passed_over() -> None:
    replies = {A: [], B: b"nonsense", SEED: slots_reply(*HALVES)}
    topology = known()
    assert asked(topology, replies) == [A, B, SEED]
    assert topology.version == 2


def test_when_nobody_knows_the_map_the_last_reason_is_told() -> None:
    with pytest.raises(StoreUnavailable, match=r"10\.0\.0\.9 is away"):
        asked(known(), {})
