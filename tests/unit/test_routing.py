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
from sharq.operations.call import Anywhere, Call
from sharq.store.errors import CutOff, Misdirected
from sharq.store.routing import Refresh, Send, Steps, learn, route
from sharq.store.slots import Node, Range, Topology, View

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


@pytest.mark.parametrize("late", [True, False])
def test_a_refusal_after_a_lost_answer_leaves_the_outcome_unknown(late: bool) -> None:
    """The node that was asked first is a replica when it is back, the next takes no writes."""
    moved = Misdirected(node=B)
    moved.late = late
    refusal = StoreUnavailable("NOREPLICAS")
    walk = Walk(known(), {A: [[moved]], B: [[refusal]]}, [[Range(0, 16383, B)]])
    (told,) = walk.route(LOW)
    assert told.outcome_unknown is late
    assert refusal in (told, told.__cause__)


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
    assert walk.refreshes == [Refresh(1, None, pressing=False, doubted=(A,))]


def test_a_node_that_is_cut_off_from_the_others_is_doubted_though_it_answers() -> None:
    walk = Walk(known(), {A: [[CutOff()]]}, maps=[[Range(0, 16383, B)]])
    assert walk.route(LOW) == [LOW]
    assert walk.refreshes == [Refresh(1, None, pressing=False, doubted=(A,))]
    assert walk.sent == [[(A, [LOW])], [(B, [LOW])]]


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


def seen(*ranges: Range, ok: bool = True, epoch: int = 0, own: int = 0) -> View:
    return View(list(ranges), ok, epoch, own)


def asked(
    topology: Topology,
    told: dict[Node, View | StoreError],
    wanted: Refresh | None = None,
    away: tuple[Node, ...] = (),
) -> list[list[Node]]:
    """Let the map be learned from what nodes tell; others are silent. Who was asked, at once."""
    rounds = learn(topology, wanted or Refresh(1), lambda node: node not in away)
    groups: list[list[Node]] = []
    try:
        groups.append(next(rounds))
        while True:
            groups.append(rounds.send({node: told[node] for node in groups[-1] if node in told}))
    except StopIteration:
        return groups


ALL_B = Range(0, 16383, B)
# A promotion that B and the seed have heard of, and that C, which was promoted, knows best.
HEIRED = [Range(0, 8191, C, (A,)), Range(8192, 16383, B)]


def with_replica() -> Topology:
    topology = Topology(SEED)
    topology.learn([Range(0, 8191, A, (C,)), Range(8192, 16383, B)], epoch=5)
    return topology


def place(number: int) -> bytes:
    return b"{p:.%d}:" % number


def placed() -> Call[Any]:
    """A script for any node; packed, it is its key."""
    return Call(place(0), b"", lambda reply: reply, True, anywhere=Anywhere(place, place))


def keys_sent(walk: Walk) -> list[tuple[Node, bytes]]:
    sends = [step for step in walk.steps if isinstance(step, Send)]
    return [(node, each.packed) for step in sends for node, calls in step.batches for each in calls]


def test_a_script_for_any_node_has_a_key_that_the_node_serves() -> None:
    walk = Walk(known())
    walk.take(route(walk.topology, [placed(), call(HIGH)], walk.reachable))
    (first, key), other = keys_sent(walk)
    assert walk.topology.node(key) == first == A
    assert other == (B, b"packed " + HIGH)
    assert walk.topology.node(walk.topology.fitted(placed(), B).packed) == B


def test_a_node_of_one_slot_has_a_key_of_it() -> None:
    topology = Topology(SEED)
    topology.learn([Range(0, 8191, A), Range(8192, 8192, C), Range(8193, 16383, B)])
    assert key_slot(topology.fitted(placed(), C).packed) == 8192


def test_a_node_that_serves_nothing_is_asked_with_some_key() -> None:
    assert known().fitted(placed(), C).packed == place(0)


def test_the_seeds_tell_the_first_map() -> None:
    topology = Topology(SEED, C)
    assert asked(topology, {C: seen(*HALVES)}) == [[SEED, C]]
    assert topology.primaries == (A, B)


def test_the_node_that_a_redirection_named_is_asked_first() -> None:
    assert asked(known(), {C: seen(*HALVES)}, Refresh(1, C)) == [[C]]


def test_a_node_that_was_named_with_an_older_map_is_not_believed() -> None:
    topology = with_replica()
    told = {A: seen(ALL_B, epoch=3), B: seen(*HALVES, epoch=5), SEED: seen(*HALVES, epoch=5)}
    assert asked(topology, told, Refresh(1, A)) == [[A], [B, SEED]]
    assert topology.primaries == (A, B)


def test_nodes_in_doubt_are_not_asked_but_their_replicas() -> None:
    told = {B: seen(*HALVES, epoch=5)}
    assert asked(with_replica(), told, Refresh(1, doubted=(A,))) == [[C, B, SEED]]


def test_of_several_maps_the_one_with_the_newest_epoch_counts() -> None:
    topology = with_replica()
    told = {B: seen(*HEIRED, epoch=6), SEED: seen(*HALVES, epoch=5, own=5)}
    asked(topology, told, Refresh(1, doubted=(A,)))
    assert (topology.primaries, topology.epoch) == ((C, B), 6)


def test_of_those_that_have_heard_of_a_promotion_the_promoted_one_knows_best() -> None:
    topology = with_replica()
    told = {B: seen(*HALVES, epoch=6, own=2), C: seen(*HEIRED, epoch=6, own=6)}
    asked(topology, told, Refresh(1, doubted=(A,)))
    assert topology.primaries == (C, B)


def test_a_node_that_does_not_see_the_cluster_is_not_believed() -> None:
    topology = with_replica()
    told = {B: seen(ALL_B, ok=False, epoch=9), SEED: seen(*HALVES, epoch=5)}
    asked(topology, told, Refresh(1, doubted=(A,)))
    assert topology.primaries == (A, B)


def test_if_none_sees_the_cluster_the_known_map_is_kept() -> None:
    topology = with_replica()
    told = {B: seen(ALL_B, ok=False, epoch=9)}
    assert asked(topology, told, Refresh(1, doubted=(A,))) == [[C, B, SEED]]
    assert topology.version == 1


def test_a_seed_that_is_cut_off_leads_to_those_that_are_not() -> None:
    topology = Topology(SEED)
    told = {SEED: seen(*HALVES, ok=False, epoch=5), B: seen(*HEIRED, epoch=6)}
    assert asked(topology, told) == [[SEED], [A, B]]
    assert topology.primaries == (C, B)


def test_without_any_map_one_that_is_not_believed_is_better_than_none() -> None:
    topology = Topology(SEED)
    assert asked(topology, {SEED: seen(*HALVES, ok=False)}) == [[SEED], [A, B]]
    assert topology.primaries == (A, B)


def test_an_older_map_is_believed_if_several_have_it() -> None:
    topology = with_replica()
    asked(topology, {B: seen(ALL_B, epoch=1), SEED: seen(ALL_B, epoch=1)})
    assert (topology.primaries, topology.epoch) == ((B,), 1)


def test_one_node_alone_with_an_older_map_is_not_believed() -> None:
    topology = with_replica()
    asked(topology, {B: seen(ALL_B, epoch=1)})
    assert topology.version == 1


def test_a_node_that_serves_nothing_or_nonsense_is_passed_over() -> None:
    topology = known()
    asked(topology, {A: seen(), B: UnexpectedReply(), SEED: seen(*HALVES)})
    assert topology.version == 2


def test_nobody_else_to_ask_makes_the_one_in_doubt_be_asked() -> None:
    topology = Topology(A)
    topology.learn([Range(0, 16383, A)])
    assert asked(topology, {A: seen(Range(0, 16383, A))}, Refresh(1, doubted=(A,))) == [[A]]
    assert topology.version == 2


def test_when_nobody_knows_the_map_a_reason_is_told() -> None:
    with pytest.raises(StoreUnavailable, match="b is away"):
        asked(known(), {B: StoreUnavailable("b is away")})


def test_when_all_are_silent_the_store_is_not_available() -> None:
    with pytest.raises(StoreUnavailable):
        asked(known(), {})
