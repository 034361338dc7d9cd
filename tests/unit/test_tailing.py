"""What is noted of jobs that are handed out, and what those are told who tail a type."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from sharq import Batch
from sharq.errors import StoreError, StoreUnavailable
from sharq.settings.tokens import UNLIMITED
from sharq_server.api.handing import BULK, PUSH, REST, Handing
from sharq_server.watch.following import FOLLOWED
from sharq_server.watch.tail import MOST, HandedOut, Tail, Tailed
from sharq_server.watch.tailing import Tailing
from sharq_server.watch.viewing import MOST_UNREAD

ROUND = 0.05


def batch_of(count: int, first: int = 0, attempt: int = 1) -> Batch:
    reply: list[int | bytes] = [0, 0, -1]
    for at in range(first, first + count):
        reply += [b"q", b"j%d" % at, b"7", b"-1", attempt, 0, b'{"secret": 1}', 5]
    return Batch("t", reply)


def names(tailed: Tailed) -> list[str]:
    return [job.job_id for job in tailed.jobs]


# ---- what is noted ----


def test_a_job_is_noted_without_its_payload() -> None:
    notes: dict[str, Handing] = {}
    tail = Tail(notes, lambda: 0.0, lambda: 1.5)
    assert not tail.found("s", "t")
    tail.follow("s", ["t"])
    notes["t"](batch_of(3, attempt=2), 1, 3, PUSH, "w")
    found = tail.found("s", "t")
    assert found.jobs == [
        HandedOut(1500, "q", "j1", "push", 2, "w"),
        HandedOut(1500, "q", "j2", "push", 2, "w"),
    ]
    assert not tail.found("s", "t"), "it is told once"


def test_the_first_are_noted_and_the_others_counted() -> None:
    notes: dict[str, Handing] = {}
    tail = Tail(notes, lambda: 0.0)
    tail.follow("s", ["t"])
    notes["t"](batch_of(MOST - 1), 0, MOST - 1, BULK, None)
    for first in (200, 300, 400):
        notes["t"](batch_of(5, first), 1, 5, REST, None)
    found = tail.found("s", "t")
    assert (len(found.jobs), names(found)[-1], found.more) == (MOST, "j201", 11)
    notes["t"](batch_of(1), 0, 1, REST, None)
    assert names(tail.found("s", "t")) == ["j0"]


def test_nothing_is_noted_for_who_asks_no_more() -> None:
    now = [0.0]
    notes: dict[str, Handing] = {}
    tail = Tail(notes, lambda: now[0])
    tail.follow("s", ["t"])
    now[0] = FOLLOWED - 1
    tail.follow("r", ["t"])
    now[0] = FOLLOWED + 0.1
    notes["t"](batch_of(1), 0, 1, REST, None)
    assert not tail.found("s", "t")
    assert tail.found("r", "t")
    now[0] = 2 * FOLLOWED
    notes["t"](batch_of(1), 0, 1, REST, None)
    assert notes == {}
    assert not tail.found("r", "t")


def test_of_too_many_from_two_servers_some_of_both_are_kept() -> None:
    many = Tailed([HandedOut(at, "q", f"a{at}", REST, 1) for at in range(MOST)], 5)
    few = Tailed([HandedOut(50, "q", f"b{at}", REST, 1) for at in range(10)])
    both = many.joined(few)
    assert (len(both.jobs), both.more) == (MOST, 15)
    assert [job.at for job in both.jobs] == sorted(job.at for job in both.jobs)
    assert len([name for name in names(both) if name.startswith("b")]) >= 8
    assert few.joined(Tailed()) == few


# ---- who is told ----


class Viewer:
    def __init__(self) -> None:
        self.grant = UNLIMITED
        self.unread = 0
        self.got: list[dict[str, Any]] = []
        self.changed = asyncio.Event()

    def send(self, text: bytes) -> None:
        self.got.append(json.loads(text))
        self.changed.set()

    async def gets(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first event that is as wanted; those before it are dropped."""
        async with asyncio.timeout(10):
            while True:
                while not self.got:
                    self.changed.clear()
                    await self.changed.wait()
                event = self.got.pop(0)
                if holds(event):
                    return event


def has_jobs(event: dict[str, Any]) -> bool:
    return "data" in event and bool(event["data"]["jobs"] or event["data"]["more"])


class Servers:
    """Two servers that reach each other, unless there is a `failure`."""

    def __init__(self) -> None:
        self.failure: StoreError | None = None
        self.messages: list[tuple[str | None, bytes]] = []
        self.notes: dict[str, dict[str, Handing]] = {"a": {}, "b": {}}
        self.tailings = {
            name: Tailing(name, Tail(notes), self.tell, ROUND) for name, notes in self.notes.items()
        }

    async def tell(self, server: str | None, message: bytes) -> None:
        if self.failure is not None:
            raise self.failure
        self.messages.append((server, message))
        for name, each in self.tailings.items():
            if server in (None, name):
                await each.on_message(message)

    async def followed(self, server: str) -> None:
        async with asyncio.timeout(10):
            while "t" not in self.notes[server]:
                await asyncio.sleep(0)

    async def close(self) -> None:
        for each in self.tailings.values():
            await each.close()


def test_a_viewer_is_told_of_all_servers() -> None:
    async def run() -> None:
        servers, viewer = Servers(), Viewer()
        servers.tailings["a"].watch(viewer, ["t"])
        assert viewer.got.pop() == {
            "event": "watch",
            "topic": "tail/t",
            "full": True,
            "data": {"jobs": [], "more": 0},
        }
        await servers.followed("b")
        servers.notes["a"]["t"](batch_of(1), 0, 1, REST, None)
        servers.notes["b"]["t"](batch_of(1, 1), 0, 1, PUSH, "w")
        told: list[dict[str, Any]] = []
        while len(told) < 2:
            told += (await viewer.gets(has_jobs))["data"]["jobs"]
        assert {(job["job_id"], job["how"], job.get("worker")) for job in told} == {
            ("j0", "rest", None),
            ("j1", "push", "w"),
        }
        assert "secret" not in str(told)
        await servers.close()

    asyncio.run(run())


def test_who_has_handed_nothing_out_does_not_answer() -> None:
    async def run() -> None:
        servers, viewer = Servers(), Viewer()
        servers.tailings["a"].watch(viewer, ["t", "u"])
        async with asyncio.timeout(10):
            while len(servers.messages) < 3:
                await asyncio.sleep(0.01)
        assert servers.messages[:3] == [(None, b"!a t u")] * 3
        assert len(viewer.got) == 2, "nor is a viewer told that there was nothing"
        await servers.close()

    asyncio.run(run())


def test_nobody_is_called_when_the_viewers_have_gone() -> None:
    async def run() -> None:
        servers, viewer = Servers(), Viewer()
        here = servers.tailings["a"]
        begun = time.monotonic()
        while (passed := time.monotonic() - begun) < 6 * ROUND:
            # Who comes and goes all the time makes no more calls than who stays.
            here.watch(viewer, ["t"])
            await asyncio.sleep(ROUND / 4)
            here.leave(viewer)
            await asyncio.sleep(0)
        assert 1 <= len(servers.messages) <= passed / ROUND + 2
        await asyncio.sleep(2 * ROUND)
        servers.messages.clear()
        await asyncio.sleep(3 * ROUND)
        assert servers.messages == []
        here.watch(viewer, ["t"])
        await servers.followed("b")
        await servers.close()

    asyncio.run(run())


def test_a_viewer_that_does_not_read_is_told_how_many_it_has_missed() -> None:
    async def run() -> None:
        servers, slow, other = Servers(), Viewer(), Viewer()
        for viewer in (slow, other):
            servers.tailings["a"].watch(viewer, ["t"])
        slow.got.clear()
        slow.unread = MOST_UNREAD + 1
        servers.notes["a"]["t"](batch_of(3), 0, 3, REST, None)
        await other.gets(has_jobs)
        assert slow.got == []
        slow.unread = 0
        assert (await slow.gets(has_jobs))["data"] == {"jobs": [], "more": 3}
        servers.notes["a"]["t"](batch_of(1), 0, 1, REST, None)
        assert (await slow.gets(has_jobs))["data"]["more"] == 0
        await servers.close()

    asyncio.run(run())


def test_a_store_that_is_away_is_told_once_and_that_it_is_back() -> None:
    async def run() -> None:
        servers, viewer = Servers(), Viewer()
        servers.failure = StoreUnavailable("It is away.")
        servers.tailings["a"].watch(viewer, ["t"])
        viewer.got.clear()
        problem = {"code": "store_unavailable", "message": "It is away."}
        told = await viewer.gets(lambda event: "problem" in event)
        assert told == {"event": "watch", "topic": "tail/t", "problem": problem}
        await asyncio.sleep(3 * ROUND)
        assert viewer.got == []
        servers.failure = None
        await viewer.gets(lambda event: event.get("full", False))
        await servers.close()

    asyncio.run(run())


@pytest.mark.parametrize("message", [b"", b"+", b"+{}", b'+{"t": 5}', b"+\xff", b"other", b"!\xff"])
def test_other_messages_are_ignored(message: bytes) -> None:
    async def run() -> None:
        servers, viewer = Servers(), Viewer()
        servers.tailings["a"].watch(viewer, ["t"])
        await servers.tailings["a"].on_message(message)
        await asyncio.sleep(2 * ROUND)
        assert len(viewer.got) == 1
        await servers.close()

    asyncio.run(run())
