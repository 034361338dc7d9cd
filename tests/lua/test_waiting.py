"""Who waits is woken: each source of a wake-up, one server at a time, and nobody in vain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from sharq.identifiers import check_lease
from sharq.results import Lease, NewJob, Offer
from tests.support.servers import Servers
from tests.support.stores import PrivateStore

HOUR = 3_600_000


@pytest.fixture
def servers(store: PrivateStore) -> Iterator[Servers]:
    servers = Servers(store)
    servers.listen(".a", ".b")
    yield servers
    servers.close()


def test_who_finds_less_than_it_asked_for_waits(servers: Servers) -> None:
    assert (servers.ask(".a").wait_us, servers.woken()) == (None, [])
    servers.put()
    assert servers.woken() == [".a"]
    servers.put("other")
    assert servers.woken() == [], "nobody waits any more"


def test_who_gets_all_that_it_asked_for_does_not_wait(servers: Servers) -> None:
    servers.put()
    servers.put("other")
    assert (len(servers.ask(".a", 1)), servers.woken()) == (1, [])
    servers.put("third")
    assert servers.woken() == []


def test_a_plain_dequeue_waits_for_nothing(servers: Servers) -> None:
    assert servers.take() == []
    servers.put()
    assert servers.woken() == []


def releases(servers: Servers) -> Callable[[], Any]:
    servers.put()
    (lease,) = servers.take()
    return lambda: servers.queue.run(servers.operations.release("t", [lease], 0, True))


def releases_many(servers: Servers) -> Callable[[], Any]:
    servers.put()
    servers.put("other")
    leases = servers.take(2)
    return lambda: servers.queue.run(servers.operations.release("t", leases, 0, False))


def releases_late(servers: Servers) -> Callable[[], Any]:
    servers.put()
    (lease,) = servers.take()
    return lambda: servers.queue.run(servers.operations.release("t", [lease], 500, True))


def expires(servers: Servers) -> Callable[[], Any]:
    servers.put()
    servers.take()
    servers.queue.advance(60_000)
    return lambda: servers.queue.run(servers.operations.requeue("t"))


def sets_an_interval(servers: Servers) -> Callable[[], Any]:
    servers.put(interval=HOUR)
    servers.put(interval=HOUR)
    servers.take()
    return lambda: servers.queue.run(servers.operations.set_interval("t", "q", 10))


def enqueues_with_an_interval(servers: Servers) -> Callable[[], Any]:
    servers.put(interval=HOUR)
    servers.put(interval=HOUR)
    servers.take()
    return lambda: servers.put(interval=10)


def enqueues_many(servers: Servers) -> Callable[[], Any]:
    jobs = [NewJob("t", f"q{at}", "j", b"1", 0, -1) for at in range(5)]
    return lambda: servers.queue.run(servers.operations.enqueue("t", jobs))


def enqueues(servers: Servers) -> Callable[[], Any]:
    return servers.put


SOURCES = [
    enqueues,
    enqueues_many,
    enqueues_with_an_interval,
    expires,
    releases,
    releases_late,
    releases_many,
    sets_an_interval,
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_each_source_wakes_the_one_that_has_waited_longest(
    servers: Servers, source: Callable[[Servers], Callable[[], Any]]
) -> None:
    happen = source(servers)
    for name in (".b", ".a"):
        servers.ask(name)
        servers.queue.advance(1)
    assert servers.woken() == []
    happen()
    assert servers.woken() == [".b"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_nothing_is_published_where_nobody_waits(
    servers: Servers, source: Callable[[Servers], Callable[[], Any]]
) -> None:
    source(servers)()
    assert servers.woken() == []


def test_what_is_ready_later_than_is_known_wakes_nobody(servers: Servers) -> None:
    servers.put(interval=100)
    servers.put(interval=100)
    servers.take()
    assert servers.ask(".a").wait_us == 100_000
    servers.put("slow", interval=HOUR)
    assert servers.woken() == [".a"]
    servers.ask(".a", 2)
    servers.put("slow", interval=HOUR)
    assert servers.woken() == []


@pytest.mark.parametrize("interval", [0, 100])
def test_a_satisfied_server_lets_the_next_one_know_what_it_leaves(
    servers: Servers, interval: int
) -> None:
    for name in (".a", ".b"):
        servers.ask(name)
        servers.queue.advance(1)
    servers.put(interval=interval)
    servers.put(interval=interval)
    assert servers.woken() == [".a"]
    batch = servers.ask(".a", 1)
    assert (len(batch), batch.wait_us) == (1, 0)
    assert servers.woken() == [".b"], "b knew of nothing"
    assert servers.ask(".b").wait_us == (0 if interval == 0 else interval * 1000)


def test_whose_turn_is_next_is_told_of_it(servers: Servers) -> None:
    for name in (".a", ".b"):
        servers.ask(name)
        servers.queue.advance(1)
    servers.put(interval=100)
    assert servers.woken() == [".a"]
    servers.put(interval=100)
    servers.put(interval=100)
    assert (servers.ask(".a", 5).rank, servers.woken()) == (0, [".b"])
    assert servers.ask(".b", 5).wait_us == 100_000
    servers.queue.advance(100)
    assert (len(servers.ask(".a", 5)), servers.woken()) == (1, []), "b knows the time"


def test_who_asks_again_in_vain_keeps_its_place(servers: Servers) -> None:
    for name in (".b", ".a", ".b"):
        servers.ask(name)
        servers.queue.advance(1)
    servers.put()
    assert servers.woken() == [".b"]


def test_a_hand_on_wakes_the_next_one(servers: Servers) -> None:
    for name in (".a", ".b"):
        servers.ask(name)
        servers.queue.advance(1)
    servers.put()
    assert servers.woken() == [".a"]
    assert servers.hand_on(".a")
    assert servers.woken() == [".b"]
    assert not servers.hand_on(".b")


def test_a_server_that_does_not_listen_is_passed_over(servers: Servers) -> None:
    for name in (".dead", ".a"):
        servers.ask(name)
        servers.queue.advance(1)
    servers.put()
    assert servers.woken() == [".a"]


def test_on_a_cluster_who_listens_elsewhere_is_not_passed_over(servers: Servers) -> None:
    for name in ("*elsewhere", ".a"):
        servers.ask(name)
        servers.queue.advance(1)
    servers.put()
    assert servers.woken() == []


@pytest.mark.parametrize(("silence", "woken"), [(119_000, [".gone"]), (121_000, [".a"])])
def test_a_server_that_was_not_heard_of_for_long_is_gone(
    servers: Servers, silence: int, woken: list[str]
) -> None:
    servers.listen(".gone")
    servers.ask(".gone")
    servers.queue.advance(silence)
    servers.ask(".a")
    servers.put()
    assert servers.woken() == woken


def test_a_server_that_missed_its_time_holds_nobody_up(servers: Servers) -> None:
    servers.ask(".a")
    servers.put("q", interval=100)
    servers.put("q", interval=100)
    servers.put("q", interval=100)
    servers.take()
    servers.woken()
    servers.ask(".dead")
    servers.queue.advance(50)
    servers.ask(".a")
    servers.queue.advance(1_100)
    servers.put("new")
    assert servers.woken() == []
    servers.ask(".b", 1)
    servers.queue.advance(1_100)
    servers.ask(".b", 9)
    servers.put("newer")
    assert servers.woken() == [".b"]


def test_ranks_follow_the_order_of_waiting(servers: Servers) -> None:
    for at in range(4):
        servers.put(f"q{at}", interval=100)
        servers.put(f"q{at}", interval=100)
    servers.take(4)
    ranks = []
    for name in (".a", ".b", ".c"):
        ranks.append(servers.ask(name).rank)
        servers.queue.advance(1)
    assert ranks == [0, 1, 2]
    servers.queue.advance(97)
    assert len(servers.ask(".a", 9)) == 4
    assert servers.ask(".a").rank == 2, "who got something goes to the end"
    assert servers.ask(".b").rank == 0


def test_a_repeated_call_is_answered_the_same(servers: Servers) -> None:
    servers.put("q")
    servers.put("r")
    call = servers.operations.dispatch("t", 1, ".a", 7, None, False)
    first, again = servers.queue.run(call), servers.queue.run(call)
    assert first.leases(0, 1) == again.leases(0, 1)
    assert again.wait_us == 0
    other = servers.queue.run(servers.operations.dispatch("t", 1, ".a", 8, None, False))
    assert other.leases(0, 1) != first.leases(0, 1)


def test_offers_are_made_once_for_a_ready_job(servers: Servers) -> None:
    servers.put("q", interval=100)
    servers.put("r")
    servers.put("r")
    assert servers.offer(".a", 2) == Offer(2, 0, 0)
    assert servers.offer(".b", 5) == Offer(1, 750_000, 0)
    servers.queue.advance(250)
    assert servers.offer(".b", 5, 1).granted == 0, "a has not said that its offers have ended"
    assert servers.offer(".a", 0).wait_us == 0
    assert servers.woken() == [".b"]
    assert servers.offer(".b", 5, 1).granted == 2


def test_the_offers_of_a_dead_server_run_out(servers: Servers) -> None:
    servers.put()
    assert servers.offer(".dead").granted == 1
    assert servers.offer(".b") == Offer(0, 750_000, 0)
    servers.queue.advance(750)
    assert servers.offer(".b").granted == 1


def test_an_offer_that_was_used_is_not_made_again(servers: Servers) -> None:
    servers.put()
    assert servers.offer(".a").granted == 1
    servers.take()
    assert servers.offer(".a") == Offer(0, None, 0)
    servers.put()
    assert servers.woken() == [".a"]


# ---- who is to be given jobs, and who could only offer them ----


def waits(servers: Servers) -> dict[str, str]:
    """What the store knows of each server: `known` and what for."""
    line: Any = servers.direct.command("HGETALL", servers.operations.requeue("t").key + b":waiting")
    fields = {
        name.decode().rpartition(":")[2]: entry.decode().split(":")
        for name, entry in zip(line[::2], line[1::2], strict=True)
    }
    return {name: entry[1] + entry[5] for name, entry in fields.items()}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_each_source_wakes_who_waits_for_jobs_before_who_could_offer_them(
    servers: Servers, source: Callable[[Servers], Callable[[], Any]]
) -> None:
    happen = source(servers)
    servers.offer(".a")
    servers.queue.advance(1)
    servers.ask(".b")
    assert servers.woken() == []
    happen()
    assert servers.woken() == [".b"]


def test_nothing_is_offered_where_another_server_has_room(servers: Servers) -> None:
    servers.ask(".a")
    assert servers.offer(".b", 5) == Offer(0, None, 0)
    servers.put()
    assert servers.woken() == [".a"]
    assert servers.offer(".b", 5) == Offer(0, None, 0), "a was told, and will ask"
    assert servers.woken() == []
    assert len(servers.ask(".a", 5)) == 1


def test_an_offer_that_is_not_made_wakes_who_has_room(servers: Servers) -> None:
    servers.put("q", interval=100)
    servers.put("q", interval=100)
    servers.take()
    servers.ask(".a")
    servers.direct.command(
        "ZADD", servers.operations.requeue("t").key + b":ready", servers.queue.now, "q"
    )
    assert servers.offer(".b", 1) == Offer(0, None, 0)
    assert servers.woken() == [".a"], "it knew of a later time"


def test_who_could_offer_has_no_timer_of_its_own_beside_who_has_room(servers: Servers) -> None:
    servers.put("q", interval=100)
    servers.put("q", interval=100)
    servers.take()
    assert servers.offer(".b", 1) == Offer(0, 100_000, 0)
    assert servers.ask(".a", 1).wait_us == 100_000
    assert servers.offer(".b", 1) == Offer(0, None, 0)
    assert servers.woken() == []
    servers.queue.advance(100)
    assert servers.offer(".b", 1) == Offer(0, None, 0)
    assert len(servers.ask(".a", 1)) == 1


def test_when_the_last_one_with_room_has_enough_offers_are_made(servers: Servers) -> None:
    servers.offer(".b", 5)
    servers.ask(".a")
    servers.put("q")
    servers.put("r")
    assert servers.woken() == [".a"]
    assert len(servers.ask(".a", 1)) == 1
    assert servers.woken() == [".b"]
    assert servers.offer(".b", 5).granted == 1


def test_while_one_with_room_asks_again_nothing_is_offered(servers: Servers) -> None:
    servers.offer(".b", 5)
    for name in "qrs":
        servers.put(name)
    assert servers.woken() == [".b"]
    servers.offer(".b", 9)
    assert len(servers.ask(".a", 1, more=True)) == 1
    assert (servers.woken(), waits(servers)[".a"]) == ([], "+d")
    assert servers.offer(".b", 5).granted == 0
    servers.put("t")
    assert servers.woken() == [], "a sees it when it asks"
    assert len(servers.ask(".a", 1)) == 1
    assert servers.woken() == [".b"]
    assert ".a" not in waits(servers)


def test_who_does_not_ask_again_in_time_holds_nobody_up(servers: Servers) -> None:
    servers.put("q")
    servers.put("r")
    servers.offer(".b", 5)
    servers.ask(".dead", 1, more=True)
    servers.queue.advance(1_001)
    servers.put("s")
    assert servers.woken() == [".b"]
    assert servers.offer(".b", 5).granted == 2


def test_a_hand_on_goes_to_who_has_room_and_then_to_who_could_offer(servers: Servers) -> None:
    servers.listen(".c")
    servers.offer(".c")
    for name in (".a", ".b"):
        servers.ask(name)
        servers.queue.advance(1)
    servers.put()
    for name in (".a", ".b", ".c"):
        assert servers.woken() == [name]
        servers.hand_on(name)
    assert servers.woken() == []


def test_who_has_said_that_it_asks_again_may_hand_on(servers: Servers) -> None:
    servers.put()
    assert servers.offer(".b", 5).granted == 1
    assert len(servers.ask(".a", 1, more=True)) == 1
    servers.put()
    assert servers.woken() == [], "a sees it when it asks"
    servers.hand_on(".a")
    assert servers.woken() == [".b"]


def test_who_hands_on_keeps_what_it_offers(servers: Servers) -> None:
    servers.put()
    assert servers.offer(".a").granted == 1
    servers.offer(".b")
    servers.hand_on(".a", 1)
    assert servers.offer(".b").granted == 0
    servers.woken()
    servers.hand_on(".a", 0)
    assert servers.woken() == [".b"]
    assert servers.offer(".b").granted == 1


def test_a_server_changes_from_jobs_to_offers_in_one_call(servers: Servers) -> None:
    servers.put("q", interval=100)
    servers.put("q", interval=100)
    servers.take()
    servers.ask(".a")
    assert servers.offer(".a").wait_us == 100_000
    assert waits(servers)[".a"].endswith("n")
    servers.ask(".a")
    assert waits(servers)[".a"].endswith("d")


def test_ranks_are_among_those_that_wait_for_the_same(servers: Servers) -> None:
    servers.put("q", interval=100)
    servers.put("q", interval=100)
    servers.take()
    assert servers.offer(".a").rank == 0
    servers.queue.advance(1)
    assert servers.offer(".b").rank == 1
    assert servers.ask(".c").rank == 0


def test_with_nobody_to_offer_to_it_is_told_whether_anything_is_ready(servers: Servers) -> None:
    assert servers.offer(".a", 0) == Offer(0, None, 0)
    assert waits(servers)[".a"] == "infn", "what was offered to it went to others: it waits"
    servers.put()
    assert servers.woken() == [".a"]
    servers.offer(".b")
    assert servers.offer(".a", 0).wait_us != 0, "b offers it"
    servers.queue.advance(750)
    assert servers.offer(".a", 0) == Offer(0, 0, 0)
    assert servers.woken() == [], "nobody waits"


def test_a_satisfied_call_writes_nothing_where_nobody_could_offer(servers: Servers) -> None:
    for name in "qrs":
        servers.put(name)
    servers.ask(".a", 1, more=True)
    assert waits(servers) == {}


# ---- nothing falls between ----

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 3), st.sampled_from([0, 20, 100])),
        st.tuples(st.just("ask"), st.integers(0, 2), st.integers(1, 3)),
        st.tuples(st.just("ask with more"), st.integers(0, 2), st.integers(1, 3)),
        st.tuples(st.just("offer"), st.integers(0, 2), st.integers(0, 3)),
        st.tuples(st.just("take"), st.integers(1, 2), st.just(0)),
        st.tuples(st.just("release"), st.integers(0, 5), st.sampled_from([0, 30])),
        st.tuples(st.just("finish"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("interval"), st.integers(0, 3), st.sampled_from([0, 5, 50])),
        st.tuples(st.just("hand_on"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("clear"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("sweep"), st.just(0), st.just(0)),
        st.tuples(st.just("advance"), st.integers(1, 150), st.just(0)),
    ),
    max_size=40,
)


@given(STEPS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_wake_up_falls_between_a_check_and_a_wait(store: PrivateStore, steps: Any) -> None:
    """Where servers wait, one of them knows of what is next, was told of it or asks in any case.

    If any of them waits for jobs, that is one of those.
    """
    servers = Servers(store)
    names = [".a", ".b", ".c"]
    servers.listen(*names)
    leases: list[Lease] = []
    knows: dict[str, float] = {}
    told: set[str] = set()
    can_only_offer: set[str] = set()
    operations, run = servers.operations, servers.queue.run
    try:
        for step, first, second in steps:
            now = servers.queue.now
            if step == "put":
                servers.put(f"q{first}", second)
            elif step in ("ask", "ask with more", "offer"):
                name = names[first]
                told.discard(name)
                knows.pop(name, None)
                can_only_offer.discard(name)
                answer: Any
                if step == "offer":
                    answer = servers.offer(name, second)
                    can_only_offer.add(name)
                    if answer.granted:
                        # It asks when its offers end.
                        told.add(name)
                else:
                    answer = servers.ask(name, second, step == "ask with more")
                    leases += map(check_lease, answer.leases(0, len(answer)))
                wait = answer.wait_us
                if wait != 0:
                    knows[name] = float("inf") if wait is None else now + wait / 1000
                elif step == "ask with more":
                    told.add(name)
            elif step == "take":
                leases += servers.take(first)
            elif step in ("release", "finish") and leases:
                lease = leases.pop(first % len(leases))
                call: Any = operations.finish(*lease)
                if step == "release":
                    call = operations.release("t", [lease], second, True)
                run(call)
            elif step == "interval":
                run(operations.set_interval("t", f"q{first}", second))
            elif step == "hand_on":
                servers.hand_on(names[first])
                told.discard(names[first])
                knows.pop(names[first], None)
            elif step == "clear":
                run(operations.clear("t", f"q{first}", False))
            elif step == "sweep":
                run(operations.requeue("t"))
            elif step == "advance":
                # Whoever has a timer asks when it is due, and so is told again.
                servers.queue.advance(first)
            for name in servers.woken():
                if step in ("put", "release", "interval", "sweep"):
                    assert name not in can_only_offer or can_only_offer >= knows.keys(), step
                told.add(name)
                knows.pop(name, None)
            late = {name for name, at in knows.items() if at <= servers.queue.now - 900}
            for name in late:
                knows.pop(name)
                told.add(name)
            schedule = servers.direct.command(
                "ZRANGE", operations.requeue("t").key + b":ready", 0, 0, "WITHSCORES"
            )
            first_of_all = knows.keys() - can_only_offer or knows.keys()
            if schedule and first_of_all and not told:
                assert min(knows[name] for name in first_of_all) <= float(schedule[1]), step
    finally:
        servers.close()
