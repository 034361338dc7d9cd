"""What is asked for in a turn of the loop: few calls, and to each what it would have got alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sharq import AsyncSharQ, Batch, Settings
from sharq.engine import Engine
from sharq.errors import BadArgumentException, StoreUnavailable, WrongKind
from sharq.results import CONFLICT, DUPLICATE, QUEUED, STALE_LEASE, SUCCESS
from tests.support.faces import settings_for
from tests.support.loops import eventually, on_loop
from tests.support.stores import PrivateStore


@pytest.fixture
def settings(clean_store: PrivateStore) -> Settings:
    clean_store.load_scripts()
    return settings_for(clean_store, enable_requeue_script=False)


class Asker:
    """Asks soon, and keeps what came of it in the order of asking."""

    def __init__(self, engine: Engine) -> None:
        self.sq = AsyncSharQ.over(engine)
        self.engine = engine
        self.outcomes: list[Any] = []

    def _place(self) -> int:
        self.outcomes.append(None)
        return len(self.outcomes) - 1

    def submit(self, job_id: str, queue_id: str = "q", payload: bytes = b"1") -> None:
        at = self._place()
        job = self.sq.new_job(payload, 0, job_id, queue_id, "t")
        self.engine.batcher.enqueue(job, lambda outcome: self.outcomes.__setitem__(at, outcome))

    def take(self, count: int) -> None:
        at = self._place()

        def done(batch: Batch | Exception, start: int, stop: int) -> None:
            if isinstance(batch, Batch):
                self.outcomes[at] = [job.job_id for job in batch.jobs[start:stop]]
            else:
                self.outcomes[at] = batch

        self.engine.batcher.take("t", count, done)

    def finish(self, job_id: str, lease: str | None) -> None:
        at = self._place()
        done = lambda outcome: self.outcomes.__setitem__(at, outcome)  # noqa: E731
        self.engine.batcher.finish("t", "q", job_id, lease, done)

    async def answers(self) -> list[Any]:
        """The outcomes since the last time, when all are there."""
        await eventually("all are told", lambda: None not in self.outcomes)
        outcomes, self.outcomes = self.outcomes, []
        return outcomes


@asynccontextmanager
async def asking(settings: Settings) -> AsyncIterator[Asker]:
    engine = Engine.for_server(settings)
    asker = Asker(engine)
    async with asker.sq:
        await engine.ping()
        yield asker


@on_loop
async def test_jobs_of_a_turn_keep_their_order_and_their_outcomes(
    settings: Settings, clean_store: PrivateStore
) -> None:
    async with asking(settings) as asker:
        asker.submit("first")
        assert [each.outcome for each in await asker.answers()] == [QUEUED]
        clean_store.client.config_resetstat()
        for job_id in ("a", "b", "first", "c"):
            asker.submit(job_id)
        asker.submit("b", payload=b"2")
        asker.submit("a", queue_id="other")
        outcomes = [each.outcome for each in await asker.answers()]
        assert outcomes == [QUEUED, QUEUED, DUPLICATE, QUEUED, CONFLICT, QUEUED]
        assert clean_store.script_calls() == 1
        assert [
            job.job_id for job in (await asker.sq.take("t", 100)).jobs if job.queue_id == "q"
        ] == [
            "first",
            "a",
            "b",
            "c",
        ]


@on_loop
async def test_jobs_are_dealt_in_the_order_of_asking(settings: Settings) -> None:
    async with asking(settings) as asker:
        for at in range(5):
            asker.submit(f"j{at}")
        await asker.answers()
        for count in (1, 3, 2, 1):
            asker.take(count)
        assert await asker.answers() == [["j0"], ["j1", "j2", "j3"], ["j4"], []]


@on_loop
async def test_more_than_a_call_may_take_are_several_calls(
    settings: Settings, clean_store: PrivateStore
) -> None:
    async with asking(settings) as asker:
        await asker.sq.submit_many(
            [asker.sq.new_job(b"1", 0, f"j{at}", "q", "t") for at in range(250)]
        )
        clean_store.client.config_resetstat()
        for _ in range(7):
            asker.take(40)
        taken = await asker.answers()
        assert sorted(len(each) for each in taken) == [10, 40, 40, 40, 40, 40, 40]
        assert len({job_id for each in taken for job_id in each}) == 250
        assert clean_store.script_calls() == 4


@on_loop
async def test_an_answer_that_is_full_leaves_nobody_without(settings: Settings) -> None:
    async with asking(settings) as asker:
        for at in range(5):
            asker.submit(f"j{at}", payload=b'"%b"' % (b"x" * 200_000))
        await asker.answers()
        for _ in range(6):
            asker.take(1)
        assert await asker.answers() == [["j0"], ["j1"], ["j2"], ["j3"], ["j4"], []]


@on_loop
async def test_ends_are_told_each_its_own(settings: Settings, clean_store: PrivateStore) -> None:
    async with asking(settings) as asker:
        for at in range(3):
            asker.submit(f"j{at}")
        await asker.answers()
        leases = [job.lease for job in (await asker.sq.take("t", 3)).jobs]
        clean_store.client.config_resetstat()
        asker.finish("j0", leases[0])
        asker.finish("j1", leases[1][:-1] + ("0" if leases[1][-1] != "0" else "1"))
        asker.finish("j2", None)
        assert [end.outcome for end in await asker.answers()] == [SUCCESS, STALE_LEASE, SUCCESS]
        assert clean_store.script_calls() == 1
        with pytest.raises(BadArgumentException, match="lease"):
            asker.finish("j1", "t/q/other/1")


@on_loop
async def test_a_store_that_is_away_is_told_to_each(tmp_path: Any) -> None:
    redis = {"conn_type": "unix_sock", "unix_socket_path": str(tmp_path / "nobody")}
    asker = Asker(Engine.for_server(Settings.from_mapping({"redis": redis})))
    async with asker.sq:
        asker.submit("a")
        asker.submit("b")
        asker.take(2)
        asker.finish("a", None)
        outcomes = await asker.answers()
        assert [type(each) for each in outcomes] == [StoreUnavailable] * 4
    await asyncio.sleep(0)


@on_loop
async def test_what_is_wrong_with_one_queue_is_not_the_others_business(
    settings: Settings, clean_store: PrivateStore
) -> None:
    async with asking(settings) as asker:
        for job_id in ("x", "y"):
            asker.submit(job_id, queue_id="bad")
        await asker.answers()
        clean_store.client.set("{library:t}:j:bad", "no hash")
        for at in range(3):
            asker.submit(f"j{at}", queue_id=f"q{at}")
        asker.submit("z", queue_id="bad")
        asker.submit("j3", queue_id="q3")
        outcomes = await asker.answers()
        kinds = [getattr(each, "outcome", type(each)) for each in outcomes]
        assert kinds == [QUEUED, QUEUED, QUEUED, WrongKind, QUEUED]
