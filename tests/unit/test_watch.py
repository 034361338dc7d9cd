"""What viewers are told: differences, the first queues, notes, and one look for all of them."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from sharq.errors import BadArgumentException, StoreUnavailable
from sharq.observed import Backlog, Growing, Sample, WatchedQueue, WatchedQueues
from sharq.operations.watch_calls import backlog_of, group_of
from sharq.results import FULL, QUEUED, Enqueued, NewJob
from sharq.settings.tokens import UNLIMITED, Grant
from sharq_server.watch.growth import Growth
from sharq_server.watch.merging import patch
from sharq_server.watch.notes import note
from sharq_server.watch.roster import Roll, Roster, Subscribed, shown, totals
from sharq_server.watch.scraper import Scraper, tops_of
from sharq_server.watch.topics import Topic, topics_of
from sharq_server.watch.tops import MOST, Tops
from sharq_server.watch.viewing import Viewing
from tests.support.cases import cases

DATA = st.recursive(
    st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), DATA, max_size=4)


def merged(data: Any, change: Any) -> Any:
    if not isinstance(change, dict):
        return change
    data = dict(data) if isinstance(data, dict) else {}
    for name, value in change.items():
        if value is None:
            data.pop(name, None)
        else:
            data[name] = merged(data.get(name), value)
    return data


@given(OBJECTS, OBJECTS)
def test_a_patch_makes_one_object_of_the_other(before: Any, after: Any) -> None:
    assert merged(before, patch(before, after)) == after
    assert patch(after, after) == {}


def test_a_patch_has_only_what_has_changed() -> None:
    before = {"a": {"x": 1, "y": 2}, "b": [1], "c": 3}
    after = {"a": {"x": 1, "y": 5}, "b": [1], "d": {"z": 1}}
    assert patch(before, after) == {"a": {"y": 5}, "c": None, "d": {"z": 1}}


# ---- topics ----


def test_topics_are_read_once_each() -> None:
    named = ["types", "type/a", "queue/a/b", "workers", "holder/a/b/c/1", "type/a"]
    assert topics_of(named) == [
        Topic("types"),
        Topic("type", "a"),
        Topic("queue", "a", "b"),
        Topic("workers"),
        Topic("holder", "a", "b", "c", "1"),
    ]
    assert topics_of(named)[4].lease == "a/b/c/1"
    assert [str(topic) for topic in topics_of(named)] == named[:5]


@cases(
    "topics",
    [
        None,
        "types",
        [None],
        ["types/a"],
        ["type/a b"],
        ["queue/a/"],
        ["holder/a/b/c"],
        ["types"] * 9,
    ],
)
def test_other_topics_are_refused(topics: Any) -> None:
    with pytest.raises(BadArgumentException):
        topics_of(topics)


# ---- the first queues ----


@cases(
    ("state", "backlog"),
    [
        (b"100:0:1:4:0 ", Backlog("q", 3, 100)),
        (b"0:0:1:2:1 j 1:0:0 {}", Backlog("q", 1, None)),
        (b"100:5:1:4:0:2:1:0:0:0 ", Backlog("q", 6, 100)),
        (b"100:5:1:4:0:2:1:0:1:0:2 ", Backlog("q", 4, 100)),
        (b"~2:0:0:0:0.000:0.000:1:g::::|0.250:7.500:3:5:1 ", Backlog("q", 2, 0.25)),
        (b"100:5:4:4:1 ", None),
        (b"", None),
        (b"what somebody else has written", None),
        (None, None),
    ],
)
def test_a_backlog_is_read_from_a_state(state: bytes | None, backlog: Backlog | None) -> None:
    assert backlog_of("q", state) == backlog


@pytest.mark.parametrize(
    ("state", "group"),
    [
        (b"100:0:1:4:0 ", None),
        (b"~2:0:0:0:0.000:0.000:1:::::|0.250:7.500:3:5:1 ", None),
        (b"~2:0:0:0:0.000:0.000:1:g::::|0.250:7.500:3:5:1 ", "g"),
        (b"~2:0:0:0:0.000:0.000:1:g:a:why::|0.250:7.500:3:5:1 ", "a"),
        (b"~2:0:0:0:inf:0.000:1::a:why:api:what|0.250:7.500:3:5:1 ", "a"),
    ],
)
def test_a_group_is_read_from_a_state(state: bytes, group: str | None) -> None:
    assert group_of(state) == group


def sample(cursor: str | None, *waiting: int, first: int = 0, total: int = 0) -> Sample:
    queues = [Backlog(f"q{first + at}", count, 10) for at, count in enumerate(waiting)]
    return Sample(cursor, total, queues)


def queue(
    name: str,
    waiting: int,
    interval: float | None = 10,
    turn_in: int | None = 5,
    drained_in: int | None = 0,
    held_by: str = "",
) -> Any:
    held_by = held_by or ("interval" if turn_in is None or turn_in > 0 else "nothing")
    return WatchedQueue(name, waiting, 0, interval, turn_in, None, held_by, drained_in)


def test_a_round_goes_over_pages_and_begins_again() -> None:
    tops = Tops()
    tops.add(sample("w7", 5, 9, total=4), 1000)
    assert tops.cursor == "w7"
    looked = tops.shown(WatchedQueues([], []), 1000)["looked"]
    assert looked == {"queues": 2, "of": 4, "since": 1000}
    tops.add(sample(None, 7, 1, first=2, total=4), 2000)
    assert tops.cursor is None
    tops.add(sample("w7", 5, total=4), 3000)
    looked = tops.shown(WatchedQueues([], []), 3000)["looked"]
    assert looked == {"queues": 4, "of": 4, "since": 1000}
    assert set(tops.candidates) == {"q0", "q1", "q2", "q3"}


def test_the_first_round_is_quick_and_so_is_one_when_too_few_are_left() -> None:
    tops = Tops()
    assert tops.hurries
    tops.add(sample(None, *range(1, 101), total=100), 0)
    assert not tops.hurries
    tops.shown(WatchedQueues([], [queue(f"q{at}", 1) for at in range(MOST)]), 0)
    assert not tops.hurries
    tops.shown(WatchedQueues([], [queue(f"q{at}", 1) for at in range(MOST - 1)]), 0)
    assert tops.hurries


def test_a_round_of_very_many_queues_is_not_quick() -> None:
    tops = Tops()
    tops.add(sample("w1", 1, total=100_000), 0)
    assert tops.hurries
    tops.add(sample("w2", 1, total=100_001), 0)
    assert not tops.hurries


def test_a_queue_that_grows_is_as_slow_as_its_group() -> None:
    tops = Tops()
    slow = [Backlog(f"s{at}", 100, 60_000) for at in range(MOST)]
    quick = [Backlog(f"q{at}", 1000, 10) for at in range(2 * MOST)]
    tops.add(Sample(None, 150, [*slow, *quick]), 0)
    # An enqueue knows the interval of the queue alone.
    tops.grown([Backlog(queue.queue_id, 101, 10) for queue in slow])
    tops.add(Sample(None, 150, quick), 0)
    assert {queue.queue_id for queue in slow} <= set(tops.candidates)


def test_a_queue_that_has_grown_is_a_candidate() -> None:
    tops = Tops()
    tops.add(sample(None, 5, total=1), 0)
    tops.grown([Backlog("new", 7, 10)])
    assert set(tops.candidates) == {"q0", "new"}


# ---- what grows ----


def told(growing: Any, *jobs: tuple[str, int], outcome: str = QUEUED) -> None:
    new = [NewJob("t", queue_id, "j", b"1", 10, -1) for queue_id, _ in jobs]
    growing(new, [Enqueued(outcome, length) for _, length in jobs])


def test_what_grows_is_told_once_as_it_was_last() -> None:
    notes: dict[str, Any] = {}
    growth = Growth(notes, lambda: 0.0)
    assert growth.take("s", "t") == []
    growth.follow("s", ["t"])
    told(notes["t"], ("a", 4), ("b", 0), ("a", 5))
    told(notes["t"], ("c", 9), outcome=FULL)
    assert growth.take("s", "t") == [Backlog("a", 6, 10), Backlog("b", 1, 10)]
    assert growth.take("s", "t") == []


def test_what_grows_is_told_to_each_server_that_asks() -> None:
    now = [0.0]
    notes: dict[str, Any] = {}
    growth = Growth(notes, lambda: now[0])
    growth.follow("s", ["t"])
    growth.follow("r", ["t"])
    told(notes["t"], ("a", 4))
    assert growth.take("s", "t") == growth.take("r", "t") == [Backlog("a", 5, 10)]
    now[0] = 4.0
    growth.follow("r", ["t"])
    now[0] = 6.0
    told(notes["t"], ("a", 5))
    assert growth.take("s", "t") == [], "that asks no more"
    assert growth.take("r", "t") == [Backlog("a", 6, 10)]


def test_only_the_longest_of_very_many_are_kept() -> None:
    notes: dict[str, Any] = {}
    growth = Growth(notes, lambda: 0.0)
    growth.follow("s", ["t"])
    for at in range(5000):
        told(notes["t"], (f"q{at}", at))
    taken = growth.take("s", "t")
    assert len(taken) < 3 * MOST
    assert {f"q{at}" for at in range(4960, 5000)} <= {each.queue_id for each in taken}


def test_nothing_is_followed_that_nobody_watches_any_more() -> None:
    now = [0.0]
    notes: dict[str, Any] = {}
    growth = Growth(notes, lambda: now[0])
    growth.follow("s", ["t"])
    now[0] = 4.9
    growth.follow("s", ["t"])
    now[0] = 9.8
    told(notes["t"], ("a", 1))
    assert len(growth.take("s", "t")) == 1
    now[0] = 10.0
    told(notes["t"], ("a", 1))
    assert notes == {}
    growth.follow("s", ["t"])
    told(notes["t"], ("a", 1))
    assert len(growth.take("s", "t")) == 1


def test_only_those_that_may_be_first_are_kept() -> None:
    tops = Tops()
    tops.add(sample("w1", *range(1, 1001), total=2000), 0)
    tops.add(sample(None, *range(1, 1001), first=1000, total=2000), 0)
    assert MOST < len(tops.candidates) < 3 * MOST
    assert {"q999", "q1999"} <= set(tops.candidates)


def test_the_lists_are_in_their_orders() -> None:
    first = [queue("b", 2, None, 0), queue("a", 1, 1000, -30, 700), queue("c", 9, 1, 5, 14)]
    held = queue("d", 5, 100, None, None, "group_paused")
    late = queue("e", 3, 100, -10, 500, "group_interval")
    shown = Tops().shown(WatchedQueues(first, [held, late]), 1000)
    assert shown["tops"] == {
        "backlog": ["c", "d", "e", "b", "a"],
        "oldest": ["a", "b"],
        "drain": ["d", "a", "e", "c"],
    }
    assert shown["queues"]["a"] == {
        "waiting": 1,
        "active": 0,
        "interval": 1000,
        "due": 970,
        "held_by": "nothing",
        "drained_in": 700,
    }
    assert "due" not in shown["queues"]["d"]
    assert "interval" not in shown["queues"]["b"]


# ---- notes ----

GOOD = {
    "early": 0,
    "ready": 0,
    "subscribers": 1,
    "room": 0,
    "minutes": {"1": [0, 0, 0]},
}


@cases(
    ("more", "text"),
    [
        ({}, None),
        ({"ready": 9, "oldest_ready": 4999}, None),
        ({"early": 1}, "1 job went before the rate allowed it. Please report this."),
        ({"held_by": "paused"}, "The type is paused."),
        (
            {"ready": 1204, "oldest_ready": 9000},
            "1,204 queues are ready, and no worker has room.",
        ),
        (
            {"ready": 1, "oldest_ready": 9000, "subscribers": 0},
            "1 queue is ready, and nobody asks for jobs.",
        ),
        (
            {"ready": 2, "oldest_ready": 9000, "room": 4},
            "2 queues are ready, the first for 9 s.",
        ),
        ({"fallen_out": 2}, "2 dead letters fell out of the bounds."),
    ],
)
def test_a_sentence_tells_what_is_wrong(more: dict[str, Any], text: str | None) -> None:
    assert note(GOOD | more) == text


def test_who_polls_over_http_asks_for_jobs() -> None:
    polled = {"minutes": {"1": [0, 3, 0]}, "subscribers": 0}
    assert note(GOOD | polled | {"ready": 2, "oldest_ready": 9000}) == (
        "2 queues are ready, the first for 9 s."
    )


# ---- the roll call ----


def roll(server: str, *credits: int) -> Roll:
    subscribed = {
        f"{at}/t": Subscribed("t", "deliver", credit, credit - 1, 1)
        for at, credit in enumerate(credits)
    }
    return Roll(server, len(credits), subscribed)


class Servers:
    """Rosters that reach each other."""

    def __init__(self, *rolls: Roll) -> None:
        self.now = 0.0
        self.calls = self.made = 0
        self.notes: dict[str, dict[str, Growing]] = {each.server: {} for each in rolls}
        self.rosters = {
            name: Roster(
                name,
                partial(self.own, each),
                Growth(self.notes[name], lambda: self.now),
                self.tell,
                lambda: self.now,
            )
            for name, each in ((each.server, each) for each in rolls)
        }

    def own(self, own: Roll) -> Roll:
        self.made += 1
        return own

    def grow(self, queue_type: str, length: int) -> None:
        """A queue of the server's own grows at each that follows the type."""
        for name, notes in self.notes.items():
            if queue_type in notes:
                told(notes[queue_type], (name, length))

    async def tell(self, server: str | None, message: bytes) -> None:
        self.calls += server is None
        for name, roster in self.rosters.items():
            if server in (None, name):
                await roster.on_message(message)


def test_a_roll_call_reaches_all_and_is_not_repeated_at_once() -> None:
    servers = Servers(roll("a", 5), roll("b", 7, 9))
    here = servers.rosters["a"]

    async def run() -> None:
        for _ in range(3):
            await here.call()

    asyncio.run(run())
    assert servers.calls == 1
    assert {each.server for each in here.rolls()} == {"a", "b"}
    assert totals(here.rolls()) == {"t": {"subscribers": 3, "credit": 21, "room": 18}}
    everybody = shown(here.rolls())
    assert sorted(each["credit"] for each in everybody["workers"].values()) == [5, 7, 9]
    assert everybody["servers"] == {"a": {"connections": 1}, "b": {"connections": 2}}
    assert len(servers.rosters["b"].rolls()) == 1, "who did not ask knows only itself"


def test_a_server_that_is_silent_is_left_out() -> None:
    servers = Servers(roll("a", 5), roll("b", 7))
    here = servers.rosters["a"]
    asyncio.run(here.call())
    servers.now = 4.9
    assert len(here.rolls()) == 2
    servers.now = 5.1
    assert len(here.rolls()) == 1


def test_what_has_grown_is_told_by_all_servers_once() -> None:
    servers = Servers(roll("a", 5), roll("b", 7, 9))
    here = servers.rosters["a"]
    asyncio.run(here.call(["t"]))
    servers.grow("t", 4)
    servers.grow("u", 4)
    servers.now = 1.0
    asyncio.run(here.call(["t"]))
    assert here.grown("t") == [Backlog("a", 5, 10), Backlog("b", 5, 10)]
    assert here.grown("t") == here.grown("u") == []


def test_a_roll_is_made_once_a_second() -> None:
    servers = Servers(roll("a", 5), roll("b", 7))
    here = servers.rosters["a"]

    async def look() -> None:
        for _ in range(3):
            await here.call(["t"])
            here.grown("t")
            assert len(here.rolls()) == 2
            await servers.rosters["b"].call(["t"])

    asyncio.run(look())
    assert servers.made == 2
    servers.now = 0.9
    asyncio.run(look())
    assert servers.made == 4


@pytest.mark.parametrize("message", [b"", b"=", b"={}", b'={"server": 5}', b"=\xff", b"other"])
def test_what_is_no_roll_is_ignored(message: bytes) -> None:
    servers = Servers(roll("a", 5))
    asyncio.run(servers.rosters["a"].on_message(message))
    assert len(servers.rosters["a"].rolls()) == 1


# ---- viewers ----


class Viewer:
    def __init__(self, grant: Grant = UNLIMITED) -> None:
        self.grant = grant
        self.unread = 0
        self.got: list[dict[str, Any]] = []
        self.changed = asyncio.Event()

    def send(self, text: bytes) -> None:
        self.got.append(json.loads(text))
        self.changed.set()

    async def gets(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.got) < count:
                self.changed.clear()
                await self.changed.wait()


class Store:
    """What is looked at: `data`, or a failure."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {"n": 0}
        self.failure: Exception | None = None
        self.looks: list[tuple[str, Any]] = []
        self.counts = True
        self.kept: set[Topic] = set()

    async def look(self, topic: Topic, reach: Any) -> dict[str, Any]:
        self.looks.append((str(topic), reach))
        if self.failure is not None:
            raise self.failure
        if self.counts:
            self.data = {"n": self.data["n"] + 1}
        return self.data

    def forget(self, topics: set[Topic]) -> None:
        self.kept = topics


TYPES = Topic("types")


def test_one_look_serves_all_viewers() -> None:
    async def run() -> None:
        store = Store()
        viewing = Viewing(store, 0.02)
        viewers = [Viewer() for _ in range(10)]
        for viewer in viewers:
            viewing.watch(viewer, [TYPES])
        for viewer in viewers:
            await viewer.gets(4)
        assert len(store.looks) <= max(len(viewer.got) for viewer in viewers) + 1
        for viewer in viewers:
            assert [event.get("full", False) for event in viewer.got[:3]] == [True, False, False]
        await viewing.close()

    asyncio.run(run())


def test_nothing_is_told_where_nothing_changes() -> None:
    async def run() -> None:
        store = Store()
        store.counts = False
        viewing = Viewing(store, 0.005)
        viewer = Viewer()
        viewing.watch(viewer, [TYPES])
        while len(store.looks) < 5:
            await asyncio.sleep(0.005)
        assert len(viewer.got) == 1
        await viewing.close()

    asyncio.run(run())


def test_who_leaves_lets_the_looks_end() -> None:
    async def run() -> None:
        store = Store()
        viewing = Viewing(store, 0.005)
        first, second = Viewer(), Viewer()
        viewing.watch(first, [TYPES])
        viewing.watch(second, [Topic("type", "t")])
        await second.gets(1)
        viewing.leave(first)
        viewing.watch(second, [])
        while store.kept:
            await asyncio.sleep(0.001)
        looks = len(store.looks)
        await asyncio.sleep(0.05)
        assert len(store.looks) <= looks + 1
        viewing.watch(first, [TYPES])
        await first.gets(len(first.got) + 1)
        await viewing.close()

    asyncio.run(run())


def test_a_viewer_that_does_not_read_is_left_out_and_gets_the_whole() -> None:
    async def run() -> None:
        store = Store()
        viewing = Viewing(store, 0.005)
        slow, quick = Viewer(), Viewer()
        viewing.watch(slow, [TYPES])
        viewing.watch(quick, [TYPES])
        await slow.gets(2)
        slow.unread = 1 << 20
        before = len(slow.got)
        await quick.gets(len(quick.got) + 3)
        assert len(slow.got) == before
        slow.unread = 0
        await slow.gets(before + 1)
        assert slow.got[before]["full"]
        await viewing.close()

    asyncio.run(run())


def test_trouble_is_told_once_and_then_the_whole() -> None:
    async def run() -> None:
        store = Store()
        viewing = Viewing(store, 0.005)
        viewer = Viewer()
        viewing.watch(viewer, [TYPES])
        await viewer.gets(2)
        store.failure = StoreUnavailable("away")
        looks = len(store.looks)
        while len(store.looks) < looks + 4:
            await asyncio.sleep(0.005)
        problems = [event for event in viewer.got if "problem" in event]
        assert [event["problem"]["code"] for event in problems] == ["store_unavailable"]
        told = len(viewer.got)
        store.failure = None
        await viewer.gets(told + 1)
        assert viewer.got[told]["full"]
        await viewing.close()

    asyncio.run(run())


def test_viewers_of_other_types_have_looks_of_their_own() -> None:
    async def run() -> None:
        store = Store()
        viewing = Viewing(store, 0.02)
        part = Viewer(Grant("n", b"", frozenset(), frozenset({"t"})))
        whole = Viewer()
        viewing.watch(part, [TYPES, Topic("type", "t")])
        viewing.watch(whole, [TYPES, Topic("type", "t")])
        await part.gets(2)
        await whole.gets(2)
        assert {("types", None), ("types", frozenset({"t"})), ("type/t", None)} == {*store.looks}
        await viewing.close()

    asyncio.run(run())


# ---- Prometheus ----

TYPE_SHOWN: dict[str, Any] = {
    "at": 10_000,
    "ready": 2,
    "queues": {
        **{f"q{n}": {"waiting": n, "due": 9_000 - n} for n in range(15)},
        "held": {"waiting": 99, "due": 70_000},
        "blocked": {"waiting": 98},
    },
    "tops": {
        "backlog": ["held", "blocked", *(f"q{n}" for n in range(14, -1, -1))],
        "oldest": [f"q{n}" for n in range(14, -1, -1)],
    },
}


def test_prometheus_is_told_the_first_ten_queues() -> None:
    tops = tops_of(TYPE_SHOWN)
    assert tops.waiting == {"held": 99, "blocked": 98, **{f"q{n}": n for n in range(14, 6, -1)}}
    assert tops.ready == {f"q{n}": (1_000 + n) / 1000 for n in range(14, 4, -1)}


def test_no_queue_is_ready_where_the_limits_of_the_type_hold_it() -> None:
    tops = tops_of({**TYPE_SHOWN, "ready": 0})
    assert not tops.ready
    assert len(tops.waiting) == 10


def test_prometheus_is_told_nothing_of_a_type_whose_sample_is_not_there_yet() -> None:
    assert tops_of({"at": 1, "ready": 1, "queues": {}, "tops": {}}) == ({}, {})


def test_types_are_looked_at_while_somebody_scrapes() -> None:
    async def run() -> None:
        store = Store()
        store.counts, store.data = False, TYPE_SHOWN
        viewing = Viewing(store, 0.005)
        scraper = Scraper(viewing, kept=0.1)
        assert (await scraper.tops(["t", "u"])).keys() == {"t", "u"}
        assert (await scraper.tops(["t"])).keys() == {"t"}
        assert [await viewing.shown(Topic("type", name)) for name in "tu"] == [TYPE_SHOWN, None]
        store.failure = StoreUnavailable()
        while await scraper.tops(["t"]):
            await asyncio.sleep(0.005)
        store.failure = None
        while not await scraper.tops(["t"]):
            await asyncio.sleep(0.005)
        while await viewing.shown(Topic("type", "t")) is not None:
            await asyncio.sleep(0.005)
        looks = len(store.looks)
        await asyncio.sleep(0.05)
        assert len(store.looks) == looks
        await viewing.close()

    asyncio.run(asyncio.wait_for(run(), 10))


def test_a_scrape_waits_no_longer_for_a_type_that_nobody_watches_any_more() -> None:
    async def run() -> None:
        class Stuck(Store):
            async def look(self, topic: Topic, reach: Any) -> dict[str, Any]:
                return await asyncio.Event().wait() or {}

        viewing = Viewing(Stuck())
        scraper = Scraper(viewing)
        first = asyncio.ensure_future(scraper.tops(["t", "u"]))
        await asyncio.sleep(0)
        assert await scraper.tops([]) == {}
        assert await first == {}
        scraper.close()
        await viewing.close()

    asyncio.run(asyncio.wait_for(run(), 10))
