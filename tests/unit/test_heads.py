"""Which shards a dequeue asks, by a clock in the test's hand."""

from __future__ import annotations

from sharq import Batch
from sharq.heads import (
    AT_ONCE,
    COUNTS,
    KNOWN,
    NEVER,
    SILENT,
    SLACK,
    Ask,
    Heads,
)
from sharq.operations.known_heads import KnownHeads
from sharq.operations.sharding import Shards, layout

NAMES = ("a", "b", "c")


def nothing(wait_us: int = -1) -> Batch:
    """Nothing is ready; the next queue is in `wait_us`."""
    return Batch("t", [wait_us, 0, -1])


def ready_for(ms: int) -> Batch:
    """Nothing was taken; the head has been ready for `ms`."""
    return Batch("t", [0, ms + 1, -1])


EMPTIED = Batch("t", [0, -1, -1])
"""As many were taken as were wanted, and nothing more is ready."""


class Bench:
    """The heads of three shards."""

    def __init__(self, names: tuple[str, ...] = NAMES) -> None:
        self.now = 100.0
        self.heads = Heads(names, lambda: self.now)

    def tell(self, **answers: Batch) -> None:
        for name, batch in answers.items():
            self.heads.asked(name)
            self.heads.answered(name, batch)

    def names(self, wanted: int = 1, **more: bool) -> list[str]:
        return [ask.name for ask in self.heads.ask(wanted, **more)]


def test_shards_of_which_nothing_is_known_are_looked_at_together() -> None:
    assert Bench().heads.ask(5) == [Ask(name, 1, NEVER) for name in NAMES]


def test_the_oldest_head_is_asked_as_far_as_the_next_one_allows() -> None:
    bench = Bench()
    bench.tell(a=ready_for(2000), b=ready_for(5000), c=ready_for(3000))
    assert bench.heads.ask(5) == [Ask("b", 5, 3000 - round(SLACK * 1000))]
    bench.now += 0.125
    assert bench.heads.ask(5) == [Ask("b", 5, 3125 - round(SLACK * 1000))]


def test_what_became_ready_just_now_may_go_whatever_the_others_have() -> None:
    bench = Bench()
    bench.tell(a=ready_for(100), b=ready_for(20), c=nothing())
    assert bench.heads.ask(5) == [Ask("a", 5, 0)]


def test_nothing_is_said_only_after_all_were_asked() -> None:
    bench = Bench()
    bench.tell(a=nothing(), b=nothing())
    assert bench.names() == ["c"]
    bench.tell(c=nothing())
    assert bench.names() == []
    bench.now += COUNTS + 0.001
    assert bench.heads.ask(1) == [Ask(name, 1, NEVER) for name in NAMES]


def test_a_shard_that_was_emptied_is_asked_before_nothing_is_said() -> None:
    bench = Bench()
    bench.tell(a=nothing(), b=EMPTIED, c=nothing())
    assert bench.heads.ask(1) == [Ask("b", 1, 0)]


def test_a_shard_where_this_server_stands_has_nothing_for_as_long() -> None:
    bench = Bench()
    bench.tell(**dict.fromkeys(NAMES, nothing()))
    for name in ("a", "b"):
        bench.heads.of[name].stands = True
    bench.now += 60
    assert bench.names() == ["c"]
    bench.tell(c=nothing())
    assert bench.names() == []
    bench.heads.of["a"].woken(bench.now)
    assert bench.heads.ask(3) == [Ask("a", 3, 0)]


def test_a_queue_that_becomes_ready_is_a_head_from_then_on() -> None:
    bench = Bench()
    bench.tell(a=nothing(20_000), b=nothing(10_000), c=nothing())
    assert bench.heads.wait_us() == 10_000
    assert bench.names() == []
    bench.now += 0.015
    assert bench.names() == ["b"]
    bench.now += 0.01
    assert bench.names() == ["b"], "a is ready, too, and later"


def test_there_is_always_something_to_wait() -> None:
    bench = Bench()
    bench.tell(a=nothing(500), b=nothing(), c=nothing())
    bench.now += 0.01
    assert bench.heads.wait_us() == 1


def test_without_a_schedule_there_is_no_wait() -> None:
    bench = Bench()
    bench.tell(**dict.fromkeys(NAMES, nothing()))
    assert bench.heads.wait_us() is None


def test_after_a_short_answer_several_are_asked() -> None:
    bench = Bench(("a", "b", "c", "d"))
    bench.tell(a=ready_for(500), b=ready_for(490), c=ready_for(480), d=ready_for(470))
    asks = bench.heads.ask(50, several=True)
    assert [ask.name for ask in asks] == ["a", "b", "c"]
    assert len(asks) == AT_ONCE
    assert sum(ask.wanted for ask in asks) == 50
    assert {ask.age for ask in asks} == {500 - round(SLACK * 1000)}
    assert [ask.wanted for ask in bench.heads.ask(30, several=True)] == [15, 15]
    assert [ask.wanted for ask in bench.heads.ask(9, several=True)] == [9]


def test_a_head_that_is_too_young_is_not_among_the_several() -> None:
    bench = Bench()
    bench.tell(a=ready_for(900), b=ready_for(500), c=ready_for(800))
    assert bench.names(50, several=True) == ["a", "c"]


def test_of_old_heads_that_of_the_shard_with_the_fewest_calls_is_asked() -> None:
    bench = Bench()
    bench.tell(a=ready_for(500), b=ready_for(450), c=ready_for(100))
    bench.heads.asked("a")
    # Not c: that one is too young, though it has no call either.
    assert bench.heads.ask(10) == [Ask("b", 10, 500 - round(SLACK * 1000))]
    bench.heads.asked("b")
    assert bench.names(10) == ["a"]
    bench.heads.given_up("a")
    assert bench.names(10) == ["a"]


def test_a_head_counts_longer_than_that_nothing_was_ready() -> None:
    bench = Bench()
    bench.tell(a=ready_for(5000), b=nothing(), c=nothing())
    bench.now += KNOWN - 0.01
    # What came to b and c since is ready later.
    assert bench.names() == ["a"]
    bench.now += 0.02
    assert bench.heads.ask(1) == [Ask(name, 1, NEVER) for name in NAMES]


def test_a_young_head_waits_for_news_of_those_that_had_nothing() -> None:
    bench = Bench()
    bench.tell(b=nothing(), c=nothing())
    bench.now += KNOWN - 0.01
    bench.tell(a=ready_for(10))
    assert bench.heads.ask(1) == [Ask(name, 1, NEVER) for name in ("b", "c")]


def test_a_single_unknown_shard_is_asked_for_jobs_at_once() -> None:
    bench = Bench()
    bench.tell(a=ready_for(5000), b=ready_for(4000))
    assert bench.heads.ask(7) == [Ask("c", 7, 5000 - round(SLACK * 1000))]


def test_a_shard_that_is_silent_or_has_failed_holds_nobody_up() -> None:
    bench = Bench()
    bench.tell(b=ready_for(300), c=nothing())
    bench.heads.asked("a")
    assert bench.names() == ["a"], "it may have older ones"
    bench.now += SILENT + 0.001
    bench.tell(c=nothing())
    assert bench.names() == ["b"]
    bench.tell(b=nothing())
    assert bench.names() == ["a"], "when all others have nothing"
    assert bench.names(without=["a"]) == []
    bench.heads.failed("a")
    bench.tell(b=ready_for(300))
    assert bench.names() == ["b"]
    assert [ask.name for ask in bench.heads.look()] == ["b", "c"]
    bench.now += 1.0
    assert bench.heads.is_suspect("a") is False


def test_what_this_process_does_may_make_a_job_ready() -> None:
    shards = Shards("p")
    shards.learn("t", 2)
    now = 100.0
    known = KnownHeads(shards, lambda: now)
    first, second = known.of("t").names
    for name, answer in ((first, nothing()), (second, nothing())):
        known.of("t").asked(name)
        known.of("t").answered(name, answer)
    assert known.of("t").ask(1) == []
    known.touched(second)
    assert known.of("t").ask(3) == [Ask(second, 3, 0)]
    # An older head stays one, and of one that is unknown nothing becomes known.
    known.of("t").asked(first)
    known.of("t").answered(first, ready_for(5000))
    known.touched(first)
    assert known.of("t").of[first].ready == 95.0
    now = 200.0
    known.touched(second)
    assert len(known.of("t").ask(1)) == 2
    known.touched("u:0.0:2")
    known.touched("t:0.0:16")


def test_a_wake_up_hides_no_older_head() -> None:
    bench = Bench()
    bench.tell(a=ready_for(5000), b=ready_for(1000), c=nothing())
    bench.heads.of["a"].woken(bench.now)
    assert bench.heads.ask(3) == [Ask("a", 3, 1000 - round(SLACK * 1000))]
    bench.tell(a=nothing())
    bench.heads.of["a"].woken(bench.now)
    assert bench.heads.of["a"].ready == bench.now


def test_a_wake_up_does_not_tell_the_head_of_a_shard_that_is_unknown() -> None:
    bench = Bench()
    bench.tell(a=nothing(), b=ready_for(1000), c=nothing())
    bench.now += KNOWN + 0.01
    bench.tell(b=ready_for(1000))
    bench.heads.of["a"].woken(bench.now)
    assert bench.heads.ask(3) == [Ask(name, 1, NEVER) for name in ("a", "c")]


def test_what_became_ready_before_a_wake_up_is_the_head() -> None:
    bench = Bench()
    bench.tell(a=nothing(10_000), b=nothing(), c=nothing())
    for head in bench.heads.of.values():
        head.stands = True
    bench.now += 60
    bench.heads.of["a"].woken(bench.now)
    assert not bench.heads.of["a"].stands
    assert bench.heads.of["a"].is_known(bench.now)
    since = bench.heads.of["a"].ready_since(bench.now)
    assert since is not None
    assert abs(since - 100.01) < 1e-6


def test_a_look_is_for_all() -> None:
    assert Bench().heads.look() == [Ask(name, 1, NEVER) for name in NAMES]


def test_heads_are_forgotten_when_the_shards_are_others() -> None:
    shards = Shards("p")
    shards.learn("t", 4)
    known = KnownHeads(shards, lambda: 0.0)
    heads = known.of("t")
    assert heads.names == layout("p", "t", 4)
    assert known.of("t") is heads
    shards.learn("t", 2)
    assert known.of("t").names == layout("p", "t", 2)
