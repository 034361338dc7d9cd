"""Types that are spread over shards: what is asked of them is answered as of any other type."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from sharq import REMOVE, NewJob, Settings, SharQ
from sharq.errors import (
    BadArgumentException,
    NotEmpty,
    Sharded,
    SharqException,
    StoreError,
    StoreOutcomeUnknown,
    StoreUnavailable,
    WrongKind,
)
from sharq.operations.call import Call
from sharq.operations.scripts import Scripts
from sharq.operations.sharding import layout
from sharq.operations.targets import Target
from sharq.results import QUEUED, SUCCESS
from tests.faults.audit import CLOCK, offset_key
from tests.support.faces import FACES, opener, settings_for
from tests.support.stores import PrivateCluster, PrivateStore, wait_for

QUEUES = [f"tenant-{at}" for at in range(12)]


@pytest.fixture(params=["store", "cluster"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., SharQ]]:
    """Makes clients of one store, or of one of three nodes."""
    if request.param == "store":
        store: PrivateStore = request.getfixturevalue("clean_store")
        place = {"conn_type": "unix_sock", "unix_socket_path": store.socket_path}
        nodes = [store]
    else:
        cluster: PrivateCluster = request.getfixturevalue("cluster")
        place = {"port": cluster.ports[0], "clustered": True}
        nodes = cluster.nodes
    made: list[SharQ] = []

    def make(**sharq: Any) -> SharQ:
        made.append(SharQ(Settings.from_mapping({"redis": place, "sharq": sharq})))
        return made[-1]

    for node in nodes:
        node.client.flushall()
    yield make
    for each in made:
        each.close()
    for node in nodes:
        node.client.flushall()


def forget_heads(server: SharQ) -> None:
    """As after 50 ms, when what a client knows of the heads of shards counts no more."""
    server._engine.flows.heads._of_types.clear()


# ---- the same operations on both ----


class Both:
    """The same done to a type that is not spread and to one that is, whose answers are compared.

    Of types "plain" and "spread"; `servers` are clients of their own, some of which do not know.
    """

    def __init__(self, make: Callable[..., SharQ], draw: random.Random) -> None:
        self.make = make
        self.draw = draw
        self.servers = [make(), make()]
        self.servers[0].set_shards("spread", 4)
        self.leased: dict[tuple[str, str], tuple[str, str]] = {}
        self.names = 0

    def both(self, work: Callable[[SharQ, str], Any]) -> Any:
        server = self.draw.choice(self.servers)
        plain, spread = (_told(work, server, kind) for kind in ("plain", "spread"))
        assert spread == plain
        return plain

    def step(self) -> None:
        kinds = [
            *([self.enqueue] * 4),
            *([self.take] * 3),
            *([self.finish] * 2),
            *(self.release, self.fail, self.cancel, self.look, self.steer, self.page, self.clear),
            *(self.dead, self.sums),
        ]
        self.draw.choice(kinds)()

    def queue(self) -> str:
        return self.draw.choice(QUEUES)

    def enqueue(self) -> None:
        jobs = []
        for _ in range(self.draw.choice((1, 1, 5))):
            self.names += 1
            name = f"j{self.draw.choice((self.names, max(1, self.names - 3)))}"
            options: dict[str, Any] = self.draw.choice(
                ({}, {}, {}, {"priority": 3}, {"burst": 2}, {"concurrency": 2}, {"cost": 2})
            )
            queue = self.queue()
            jobs.append((queue, name, interval_of(queue), options))
        if len(jobs) == 1:
            ((queue, name, interval, options),) = jobs
            self.both(lambda s, t: s.submit(new(s, t, queue, name, interval, options)).outcome)
            return
        self.both(
            lambda s, t: [
                getattr(each, "outcome", each)
                for each in s.submit_many([new(s, t, *job) for job in jobs])
            ]
        )

    def take(self) -> None:
        """All that is ready, since queues of two types take turns by times of their own."""
        taken = {}
        server = self.draw.choice(self.servers)
        forget_heads(server)
        for kind in ("plain", "spread"):
            found: dict[tuple[str, str], Any] = {}
            orders: dict[str, list[str]] = {}
            while batch := server.take(kind, 7).jobs:
                for job in batch:
                    place = job.queue_id, job.job_id
                    assert job.queue_type == kind
                    assert place not in found
                    orders.setdefault(job.queue_id, []).append(job.job_id)
                    found[place] = job.lease
            taken[kind] = found, orders
        assert taken["plain"][1] == taken["spread"][1]
        for place, lease in taken["plain"][0].items():
            self.leased[place] = (lease, taken["spread"][0][place])

    def some_leased(self) -> tuple[tuple[str, str], tuple[str, str]] | None:
        return self.draw.choice(list(self.leased.items())) if self.leased else None

    def end(self, work: Callable[[SharQ, str, str, str, str], Any]) -> None:
        chosen = self.some_leased()
        if chosen is None:
            return
        (queue, job), tokens = chosen
        self.both(lambda s, t: work(s, t, queue, job, tokens[t == "spread"]))
        del self.leased[queue, job]

    def finish(self) -> None:
        if self.draw.random() < 0.5:
            self.end(lambda s, t, q, j, lease: s.finish_job(t, q, j, lease).outcome)
            return
        some = list(self.leased.items())[:20]
        bad = "x/y/z/1"
        self.both(
            lambda s, t: [
                each.outcome
                for each in s.finish_many([bad, *(tokens[t == "spread"] for _, tokens in some)])
            ]
        )
        for place, _ in some:
            del self.leased[place]

    def release(self) -> None:
        self.end(lambda s, t, q, j, lease: s.release_job(t, q, j, lease).outcome)

    def fail(self) -> None:
        retry = self.draw.random() < 0.3
        more = {"retry": True, "delay": 0} if retry else {"retry": False}
        self.end(
            lambda s, t, q, j, lease: s.fail_job(t, q, j, lease, error=ValueError("x"), **more)
        )

    def cancel(self) -> None:
        queue, name = self.queue(), f"j{self.draw.randint(1, self.names + 1)}"
        if (queue, name) not in self.leased:
            self.both(lambda s, t: s.cancel_job(t, queue, name).outcome)

    def look(self) -> None:
        queue, name = self.queue(), f"j{self.draw.randint(1, self.names + 1)}"
        self.both(lambda s, t: s.job_status(t, queue, name).state)
        self.both(lambda s, t: s.queue_length(t, queue))
        self.both(lambda s, t: s.queue_metrics(t, queue).enqueue_counts)
        self.both(lambda s, t: [job.job_id for job in s.job_page(t, queue).jobs])

    def steer(self) -> None:
        queue = self.queue()
        work = self.draw.choice(
            (
                lambda s, t: s.pause(t, queue, reason="why"),
                lambda s, t: s.resume(t, queue),
                lambda s, t: s.pause(t),
                lambda s, t: s.resume(t),
                lambda s, t: s.resume(t),
                lambda s, t: s.set_limits(t, queue, burst=3, concurrency=5),
                lambda s, t: s.reset_limits(t, queue),
                lambda s, t: s.set_interval(t, queue, interval_of(queue)),
                lambda s, t: s.reset_interval(t, queue),
            )
        )
        self.both(work)
        self.both(lambda s, t: s.limits(t, queue).burst)
        self.both(lambda s, t: s.limits(t, queue).pause)
        self.both(lambda s, t: s.limits(t).pause)
        self.both(lambda s, t: s.limits(t).active)

    def page(self) -> None:
        self.both(lambda s, t: sorted(s.queue_ids(t)))
        count = self.draw.choice((1, 3, 100))

        def all_pages(server: SharQ, kind: str) -> list[str]:
            found: set[str] = set()
            cursor = None
            while True:
                page = server.queue_page(kind, cursor, count)
                found.update(page.queue_ids)
                if (cursor := page.cursor) is None:
                    return sorted(found)

        self.both(all_pages)

    def clear(self) -> None:
        queue = self.queue()
        if self.draw.random() < 0.3 and not any(q == queue for q, _ in self.leased):
            self.both(lambda s, t: s.clear(t, queue))

    def dead(self) -> None:
        def letters(server: SharQ, kind: str) -> list[tuple[str, str]]:
            count = self.draw.choice((1, 2, 100))
            found, cursor = [], None
            while True:
                page = server.dead_page(kind, cursor=cursor, count=count)
                found += page.letters
                if (cursor := page.cursor) is None:
                    break
            deaths = [each.died_at for each in found]
            assert deaths == sorted(deaths, reverse=True)
            return [(each.queue_id, each.job_id) for each in found]

        # By names: jobs die one after another, but not in both types at the same time.
        names = self.both(lambda s, t: sorted(letters(s, t)))
        some = [*self.draw.sample(names, min(3, len(names))), ("nobody", "nothing")]
        if self.draw.random() < 0.5:
            self.both(lambda s, t: [each.outcome for each in s.delete_dead(t, some)])
        else:
            self.both(lambda s, t: [each.outcome for each in s.retry_dead(t, some)])
        if self.draw.random() < 0.2:
            self.both(lambda s, t: s.begin_dead(t, "delete").begun)
            self.both(all_done)
            self.both(lambda s, t: s.dead_bulk(t).moved)

    def sums(self) -> None:
        overview = self.servers[0].overview()
        assert ("plain" in overview.queue_types) == ("spread" in overview.queue_types)
        engine = self.servers[1]._engine

        def metrics(server: SharQ, kind: str) -> Any:
            told = server._engine.run(engine.flows.type_metrics(kind))
            counts = [sum(each.values()) for each in told[1:4]]
            return (told.has_jobs, counts, told.waiting, told.delayed, told.active, told.dead.jobs)

        self.both(metrics)
        self.both(recounted)


def interval_of(queue: str) -> int:
    """Of some queues one that lets it not go again within the test; others have none."""
    return 3_600_000 if queue in QUEUES[::3] else 0


def new(
    server: SharQ, kind: str, queue: str, name: str, interval: int, options: dict[str, Any]
) -> NewJob:
    return server.new_job(b'{"n":1}', interval, name, queue, kind, 2, **options)


def all_done(server: SharQ, kind: str) -> None:
    while server.advance_dead(kind):
        pass


def recounted(server: SharQ, kind: str) -> Any:
    return server._engine.run(server._engine.flows.watching.recount(kind))


def _told(work: Callable[[SharQ, str], Any], server: SharQ, kind: str) -> Any:
    try:
        return work(server, kind)
    except SharqException as error:
        return type(error), str(error)


@pytest.mark.parametrize("seed", range(3))
def test_a_type_that_is_spread_answers_as_one_that_is_not(
    make: Callable[..., SharQ], seed: int
) -> None:
    both = Both(make, random.Random(seed))
    for _ in range(150):
        both.step()
    both.both(lambda s, t: s.resume(t))
    for queue in QUEUES:
        both.both(lambda s, t, queue=queue: s.resume(t, queue))  # type: ignore[misc]
    both.take()
    both.sums()
    # All four have had something to do.
    assert len({both.servers[1]._engine.flows.shards.home("spread", each) for each in QUEUES}) == 4


# ---- a change of the number ----


def layout_text(server: SharQ, kind: str = "sms") -> str:
    engine = server._engine
    return engine.run(_one(engine.flows.operations.known_shards(kind))).text


def _one(call: Call[Any]) -> Any:
    answer = yield call
    return answer


def put(server: SharQ, name: str, queue: str, kind: str = "sms", interval: int = 0) -> None:
    server.enqueue({"n": 1}, interval, name, queue, kind)


def take_all(server: SharQ, kind: str = "sms", taken: list[str] | None = None) -> list[str]:
    """Take and finish what is ready; the names of the jobs, which are added to `taken`."""
    names = [] if taken is None else taken
    while batch := server.take(kind, 10).jobs:
        names += [job.job_id for job in batch]
        outcomes = server.finish_many([job.lease for job in batch])
        assert {getattr(each, "outcome", each) for each in outcomes} == {SUCCESS}
    return names


def refused(work: Callable[[], Any]) -> bool:
    """Whether work is refused for the moment, without any effect."""
    try:
        work()
    except StoreUnavailable as error:
        if error.outcome_unknown or error.retry_after != 1:
            raise
        return True
    return False


def test_servers_that_do_not_know_meet_and_learn(make: Callable[..., SharQ]) -> None:
    first, second, third = make(), make(), make()
    assert second.shards("sms") == 1
    assert first.set_shards("sms", 4) == 1
    for at, server in enumerate((second, third, first) * 4):
        put(server, f"j{at}", QUEUES[at])
    assert sorted(second.queue_ids("sms")) == sorted(QUEUES)
    assert {make().queue_length("sms", queue) for queue in QUEUES} == {1}
    assert sorted(take_all(third)) == sorted(f"j{at}" for at in range(12))
    assert first.set_shards("sms", 2) == 4
    for server in (second, third, make()):
        put(server, "again", "q")
        assert take_all(server) == ["again"]
    assert second.set_shards("sms", 1) == 2
    put(third, "last", "q")
    assert take_all(make()) == ["last"]
    assert layout_text(first) == "1 3"


def test_the_same_number_changes_nothing(make: Callable[..., SharQ]) -> None:
    server = make()
    assert server.set_shards("sms", 1) == 1
    assert layout_text(server) == ""
    server.set_shards("sms", 3)
    put(server, "j", "q")
    assert server.set_shards("sms", 3) == 3


@pytest.mark.parametrize("count", [1, 4])
def test_what_is_there_is_named_and_nothing_changes(make: Callable[..., SharQ], count: int) -> None:
    server, other = make(), make()
    server.set_shards("sms", count)

    def is_refused(*words: str) -> None:
        with pytest.raises(NotEmpty) as caught:
            server.set_shards("sms", 8)
        assert all(word in str(caught.value) for word in words), str(caught.value)
        assert layout_text(server).split()[0] == str(count)
        assert other.shards("sms") == count
        # It is open again for all.
        assert other.queue_length("sms", "q") == make().queue_length("sms", "q")

    put(server, "j", "q")
    is_refused("jobs")
    (job,) = other.take("sms").jobs
    is_refused("leases")
    other.fail_job("sms", "q", "j", job.lease, retry=False)
    is_refused("dead letters")
    other.delete_dead("sms", [("q", "j")])
    other.pause("sms", "q")
    is_refused("limits or pauses")
    other.resume("sms", "q")
    other.pause("sms")
    is_refused("limits or pauses")
    other.resume("sms")
    put(server, "j", "q", interval=30_000)
    take_all(other)
    is_refused("1 queue without jobs whose rate is kept for ")


def test_limits_of_groups_and_types_keep_a_type_in_one_place(make: Callable[..., SharQ]) -> None:
    server = make()
    server.set_limits("sms", concurrency=5)
    with pytest.raises(NotEmpty, match="limits"):
        server.set_shards("sms", 2)
    server.reset_limits("sms")
    server.set_limits("sms", group_id="g", interval=5)
    with pytest.raises(NotEmpty, match="limits"):
        server.set_shards("sms", 2)
    server.reset_limits("sms", group_id="g")
    server.set_shards("sms", 2)
    for work in (
        lambda: server.set_limits("sms", burst=2),
        lambda: server.set_limits("sms", group_id="g", burst=2),
        lambda: server.set_limits("sms", "q", group="g"),
        lambda: server.estimate("sms", burst=2),
        lambda: server.pause("sms", group_id="g"),
        lambda: server.submit(server.new_job(b"1", 0, "j", "q", "sms", group="g")),
    ):
        with pytest.raises(Sharded):
            work()
    jobs = [
        server.new_job(b"1", 0, "j1", "q", "sms", burst=2),
        server.new_job(b"1", 0, "j2", "q", "sms", group="g"),
        server.new_job(b"1", 0, "j3", "q", "sms", group=REMOVE),
    ]
    # Also where it is not known yet that the type is spread.
    outcomes = make().submit_many(jobs)
    assert [getattr(each, "outcome", type(each)) for each in outcomes] == [QUEUED, Sharded, QUEUED]


# ---- a change that ends anywhere ----


class Killed(Exception):
    """The process that changes the number is gone."""


def run_until(server: SharQ, calls: int) -> bool:
    """Begin a change to 4 shards, and end it after so many calls; whether it got to its end."""
    engine = server._engine
    flow = engine.flows.resharding.set("sms", 4)
    link = engine._connected()
    try:
        request: Any = next(flow)
        while True:
            if isinstance(request, list):
                answers: list[Any] = []
                for call in request:
                    if calls == 0:
                        return False
                    calls -= 1
                    answers += link.run_many([call])
                request = flow.send(answers)
            else:
                if calls == 0:
                    return False
                calls -= 1
                request = flow.send(link.run(request))
    except StopIteration:
        return True


def age(server: SharQ) -> None:
    """Let the change that is under way, if any, be eleven seconds old."""
    operations = server._engine.flows.operations
    known = server._engine.run(_one(operations.known_shards("sms")))
    words = known.text.split()
    if len(words) > 2:
        words[-1] = str(int(words[-1]) - 11_000)
        call = operations.note_shards("sms", known.text, " ".join(words))
        server._engine.run(_one(call))


@pytest.mark.parametrize("before", [1, 2])
def test_a_change_that_is_killed_at_any_call_is_taken_back_or_done(
    make: Callable[..., SharQ], before: int
) -> None:
    calls = 0
    while True:
        knows, later = make(), make()
        knows.set_shards("sms", before)
        knows.queue_ids("sms")
        done = run_until(make(), calls)
        count = int(layout_text(later).split()[0]) if layout_text(later) else 1
        # Whoever meets it meanwhile is told to come again, or does its work; nothing is lost.
        put_in = []
        for at, queue in enumerate(QUEUES):
            for server in (knows, make()):
                name = f"j{at}-{server is knows}"
                if not refused(partial(put, server, name, queue)):
                    put_in.append(name)
        assert len(put_in) == 24 or not done
        age(later)
        put(later, "late", "q")
        put(knows, "later", "q")
        assert sorted(take_all(make())) == sorted([*put_in, "late", "later"])
        assert later.shards("sms") == knows.shards("sms") == count
        assert count in (before, 4)
        assert later.set_shards("sms", 1) == count
        if done:
            assert count == 4
            break
        calls += 1
    assert calls > 5


def test_a_change_is_not_disturbed_by_another(make: Callable[..., SharQ]) -> None:
    server, other = make(), make()
    # The one shard is closed, after a look at the replicas of all five.
    assert not run_until(server, 4 + 5)
    for work in (
        lambda: other.set_shards("sms", 8),
        lambda: other.shards("sms"),
        lambda: other.queue_ids("sms"),
    ):
        with pytest.raises(StoreUnavailable, match="is being changed"):
            work()
    assert other.sweep() == 0, "nothing is to be told of"
    age(other)
    assert other.set_shards("sms", 8) == 1
    assert server.shards("sms") == 8


def test_a_late_commit_of_a_change_that_was_taken_back_fails(make: Callable[..., SharQ]) -> None:
    server, other = make(), make()
    engine = server._engine
    flow = engine.flows.resharding.set("sms", 4)
    request: Any = next(flow)
    link = engine._connected()
    held = None
    with pytest.raises(StoreUnavailable, match="is being changed"):  # noqa: PT012
        while True:
            if b"close_shard" in _names(engine, request) and held is None:
                held = True
                # It sleeps here for so long that others take it back and use the type.
                age(other)
                put(other, "j", "q")
                take_all(other)
            many = isinstance(request, list)
            answers = link.run_many(request if many else [request])
            request = flow.send(answers if many else answers[0])
    assert held
    put(make(), "j2", "q")
    assert take_all(other) == ["j2"]
    assert other.shards("sms") == 1


def _names(engine: Any, request: Any) -> bytes:
    """The scripts that a request calls."""
    digests = engine.flows.operations._codec
    calls = request if isinstance(request, list) else [request]
    scripts = engine.deployment.scripts.digests
    assert digests is not None
    return b" ".join(
        name.encode()
        for name, digest in scripts.items()
        for call in calls
        if digest.encode() in call.packed
    )


def test_nothing_is_lost_while_the_number_changes(make: Callable[..., SharQ]) -> None:
    operator, servers = make(), [make() for _ in range(3)]
    put_in: list[str] = []
    taken: list[str] = []
    over = threading.Event()

    def produce(server: SharQ, mark: int) -> None:
        at = 0
        while not over.is_set():
            name = f"{mark}-{at}"
            at += 1
            if not refused(partial(put, server, name, QUEUES[at % 12])):
                put_in.append(name)
                # So that the type is empty at times.
                refused(lambda: take_all(server, taken=taken))

    threads = [
        threading.Thread(target=produce, args=(server, mark)) for mark, server in enumerate(servers)
    ]
    for thread in threads:
        thread.start()
    changes = {"done": 0}
    try:
        until = time.monotonic() + 3
        wanted = itertools.cycle((4, 1, 3, 8, 2))
        while time.monotonic() < until:
            with suppress(NotEmpty, StoreUnavailable):
                operator.set_shards("sms", next(wanted))
                changes["done"] += 1
    finally:
        over.set()
        for thread in threads:
            thread.join()
    take_all(operator, taken=taken)
    assert sorted(taken) == sorted(put_in)
    assert len(put_in) == len(set(put_in)) > 20
    assert changes["done"] > 3


# ---- pauses of all shards ----


def run_with_a_dead_shard(server: SharQ, flow: Any, dead: str) -> None:
    """Carry a flow out; calls at the keys of one shard are not answered."""
    engine = server._engine
    key = engine.flows.operations._keys.tag(dead)
    link = engine._connected()
    try:
        request: Any = next(flow)
        while True:
            many = isinstance(request, list)
            answers: list[Any] = []
            for call in request if many else [request]:
                answers += [StoreUnavailable()] if call.key == key else link.run_many([call])
            if not many and isinstance(answers[0], StoreError):
                request = flow.throw(answers[0])
            else:
                request = flow.send(answers if many else answers[0])
    except StopIteration:
        return


def test_a_pause_that_not_all_shards_confirm_is_completed_by_a_sweep(
    make: Callable[..., SharQ],
) -> None:
    server, other = make(), make()
    server.set_shards("sms", 4)
    flows = server._engine.flows
    dead = flows.shards.homes("sms")[2]
    for at, queue in enumerate(QUEUES):
        put(other, f"j{at}", queue)
    with pytest.raises(StoreOutcomeUnknown):
        run_with_a_dead_shard(server, flows.limiting.pause("sms", reason="why"), dead)
    taken = [job.job_id for job in other.take("sms", 100).jobs]
    assert 0 < len(taken) < 12
    assert {flows.shards.home("sms", QUEUES[int(each[1:])]) for each in taken} == {dead}
    other.sweep()
    put(other, "more", QUEUES[int(taken[0][1:])])
    assert not other.take("sms", 100)
    pause = other.limits("sms").pause
    assert pause is not None
    assert (pause.reason, pause.set_by, pause.until) == ("why", "api", None)
    # Nothing of it is left to be done.
    other.resume("sms")
    other.sweep()
    assert len(other.take("sms", 100)) == 13 - len(taken)


def test_a_pause_holds_also_after_a_step_back_of_the_clock(clean_store: PrivateStore) -> None:
    settings = settings_for(clean_store)
    with SharQ(settings, scripts=Scripts({"clock": CLOCK})) as server:
        server.set_shards("sms", 4)
        put(server, "j", "q")
        shards = server._engine.flows.shards.homes("sms")
        tags = ["sms", *(name.rpartition(":")[0] for name in shards)]
        keys = [offset_key(f"{settings.redis.key_prefix}:{tag}") for tag in tags]
        clean_store.client.mset(dict.fromkeys(keys, 5_000_000))
        server.pause("sms")
        clean_store.client.delete(*keys)
        server.resume("sms")
        assert take_all(server) == ["j"]


def test_what_an_operator_said_last_holds(make: Callable[..., SharQ]) -> None:
    server, other = make(), make()
    server.set_shards("sms", 4)
    engine, operations = server._engine, server._engine.flows.operations
    # A sweep reads what is to be done, and is held up.
    late = engine.run(_one(operations.begin_pausing("sms", None, "", "api")))
    other.resume("sms")
    for name in engine.flows.shards.homes("sms"):
        call = operations.pause(name, Target("type"), late.ms, "", "api", late.number)
        assert engine.run(_one(call))
    assert other.limits("sms").pause is None
    put(other, "j", "q")
    assert len(other.take("sms", 1)) == 1


def test_a_worker_pauses_all_shards(make: Callable[..., SharQ]) -> None:
    server = make()
    server.set_shards("sms", 4)
    for at, queue in enumerate(QUEUES):
        put(server, f"j{at}", queue)
    first, second = server.take("sms", 2).jobs
    names = "sms", first.queue_id, first.job_id
    server.release_job(*names, first.lease, pause=60_000, pause_scope="type")
    assert not server.take("sms", 100)
    server.pause("sms")
    assert server.release_many([second.lease], pause=1000, pause_scope="type")[0].outcome == SUCCESS  # type: ignore[union-attr]
    # It has made no pause shorter.
    pause = server.limits("sms").pause
    assert pause is not None
    assert (pause.until, pause.set_by) == (None, "api")


# ---- the rest ----


def test_a_damaged_key_is_no_sign_of_shards(make: Callable[..., SharQ]) -> None:
    server = make()
    server.set_shards("sms", 2)
    put(server, "j", "q")
    for kind, name in (("sms", layout("sharq_server", "sms", 2)), ("mail", ("mail",))):
        home = server._engine.flows.shards.home(kind, "q")
        assert home in name
        client = server.redis_client()
        put(server, "j2", "q", kind)
        key = server._engine.flows.operations._keys.tag(home) + b":held"
        client.delete(key)
        client.lpush(key, "a")
        (outcome,) = server.submit_many([server.new_job(b"1", 0, "j3", "q", kind)])
        assert isinstance(outcome, WrongKind)
        with pytest.raises(WrongKind):
            put(server, "j3", "q", kind)


def test_expired_leases_of_all_shards_come_back(make: Callable[..., SharQ]) -> None:
    server = make(job_expire_interval=30, enable_requeue_script=False)
    server.set_shards("sms", 4)
    for at, queue in enumerate(QUEUES):
        put(server, f"j{at}", queue)
    assert len(server.take("sms", 100)) == 12
    returned = [0]

    def all_back() -> bool:
        returned[0] += make().sweep()
        return returned[0] == 12

    wait_for("all leases to have been taken back", all_back)
    forget_heads(server)
    # The library takes them back with its dequeues, too.
    assert len(server.take("sms", 100)) == 12
    client = make(job_expire_interval=30, job_requeue_interval=1)
    wait_for("the jobs", lambda: len(client.take("sms", 100)) > 0)


def test_a_type_is_vacant_when_all_its_shards_are(make: Callable[..., SharQ]) -> None:
    server = make()
    server.set_shards("sms", 4)
    put(server, "j", "q")
    engine = server._engine
    operations = engine.flows.operations
    for name in (*engine.flows.shards.homes("sms"),):
        for key in _keys(server, operations._keys.tag(name)):
            if b":c:" in key:
                _client(server, key).delete(key)
    registry = operations._keys.registry()
    _client(server, registry).zadd(registry, {"sms": 1})
    server.sweep()
    assert _client(server, registry).zcard(registry) == 1
    take_all(server)
    for name in engine.flows.shards.homes("sms"):
        for key in _keys(server, operations._keys.tag(name)):
            if b":c:" in key:
                _client(server, key).delete(key)
    server.sweep()
    assert _client(server, registry).zcard(registry) == 0


def _client(server: SharQ, _key: bytes) -> Any:
    return server.redis_client()


def _keys(server: SharQ, tag: bytes) -> list[bytes]:
    return [key for key in _client(server, tag).scan_iter("*") if key.startswith(tag)]


def test_the_settings_spread_a_type_before_its_first_job(
    make: Callable[..., SharQ], caplog: pytest.LogCaptureFixture
) -> None:
    server = make(shards="sms:4, mms:2")
    put(server, "j", "q")
    assert make().shards("sms") == 4
    assert make().shards("mms") == 1
    assert caplog.records == []
    # What the store knows holds.
    other = make(shards="sms:8")
    put(other, "j2", "q2")
    assert other.shards("sms") == 4
    assert [each.getMessage() for each in caplog.records] == [
        "sms has 4 shards in the store, which holds, and not 8 as the settings want it: change"
        " the settings, or the store's number by `sharq shards`"
    ]
    put(make(), "j", "q", "mail")
    caplog.clear()
    late = make(shards="mail:2")
    put(late, "j2", "q", "mail")
    assert late.shards("mail") == 1
    assert "mail is not spread over 2 shards: `mail` has jobs." in caplog.text


def test_a_store_that_was_emptied_is_told_again(make: Callable[..., SharQ]) -> None:
    server, other = make(), make()
    server.set_shards("sms", 4)
    put(server, "j", "q")
    for key in list(_client(server, b"").scan_iter("*")):
        _client(server, b"").delete(key)
    server._engine.flows.registry.registrations._known.clear()
    put(server, "j2", "q2")
    assert take_all(other) == ["j2"]
    assert other.shards("sms") == 4


def test_a_registration_waits_for_no_node_that_hangs(cluster: PrivateCluster) -> None:
    """Where the number of shards lies is asked once a minute: other shards are not kept for it."""
    settings = Settings.from_mapping({"redis": {"port": cluster.ports[0], "clustered": True}})
    with SharQ(settings) as server:
        place, home = server._engine._place_of, server._engine.flows.shards.home
        server.queue_length("any", "q")
        registry = place_of_key(server, b"{sharq_server}")
        kind = next(name for name in map("sms{}".format, range(99)) if place(name) != registry)
        server.set_shards(kind, 4)
        queue = next(name for name in QUEUES if place(home(kind, name)) != place(kind))
        put(server, "j", queue, kind)
        (hanging,) = [node for node in cluster.nodes if str(node.port) in str(place(kind))]
        server._engine.flows.registry.registrations._known.clear()
        hanging.pause()
        try:
            began = time.monotonic()
            put(server, "j2", queue, kind)
            assert time.monotonic() - began < 2
        finally:
            hanging.resume()
        taken: list[str] = []
        wait_for("both come", lambda: _has_taken(server, kind, taken) == ["j", "j2"], 20)
    for node in cluster.nodes:
        node.client.flushall()


def _has_taken(server: SharQ, kind: str, taken: list[str]) -> list[str]:
    with suppress(StoreError):
        take_all(server, kind, taken)
    return sorted(taken)


def place_of_key(server: SharQ, key: bytes) -> str | None:
    link: Any = server._engine._connected()
    node = link.node_of(key)
    return None if node is None else f"{node.host}:{node.port}"


def test_a_cursor_of_no_shard_is_refused(make: Callable[..., SharQ]) -> None:
    server = make()
    server.set_shards("sms", 2)
    with pytest.raises(BadArgumentException, match="cursor"):
        server.queue_page("sms", "w0.2")
    assert make().queue_page("sms", "w0.1") == server.queue_page("sms", "w0.1")
    with pytest.raises(BadArgumentException, match="cursor"):
        server.queue_page("mail", "w0.1")


def test_unspread_types_cost_no_call_more(make: Callable[..., SharQ]) -> None:
    server = make()
    put(server, "j", "q", "mail")
    calls: list[Any] = []
    link = server._engine._connected()
    run_one, run_many = link.run, link.run_many
    link.run = lambda call: calls.append(call) or run_one(call)  # type: ignore[method-assign, func-returns-value]
    link.run_many = lambda some: calls.extend(some) or run_many(some)  # type: ignore[method-assign, func-returns-value]
    put(server, "j2", "q", "mail")
    server.queue_length("mail", "q")
    server.queue_ids("mail")
    server.limits("mail")
    server.pause("mail")
    server.resume("mail")
    assert len({id(call) for call in calls}) == 7
    assert all(b":shards" not in call.packed for call in calls)


@pytest.mark.parametrize("face", FACES)
def test_both_faces_have_it(clean_store: PrivateStore, face: str) -> None:
    place = {"conn_type": "unix_sock", "unix_socket_path": clean_store.socket_path}
    with opener(FACES[face]) as open_face:
        queue = open_face(Settings.from_mapping({"redis": place}))
        assert queue.set_shards("sms", 3) == 1
        assert queue.shards("sms") == 3
