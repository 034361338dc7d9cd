"""The sweep and the embedded store's keeper: nothing that fails ends them."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sharq import EmbeddedStore
from sharq.errors import EmbeddedStoreError
from sharq.settings.reading import Settings
from sharq_server import SharQServer
from sharq_server.process.maintenance import StoreKeeper
from tests.server.conftest import ExpectLog
from tests.server.support import Rest
from tests.support.stores import PrivateStore

pytestmark = pytest.mark.gen_test(timeout=15)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it is so; the time-out of the test is the deadline."""
    while not await condition():
        await asyncio.sleep(0.01)


async def lose(rest: Rest) -> Callable[[], Awaitable[bool]]:
    """Take a job and forget it; the result tells whether it is back."""
    assert (await rest.enqueue()).status == 201
    assert (await rest.get("/dequeue/t/")).status == 200

    async def is_back() -> bool:
        return bool((await rest.get("/status/t/q/j/")).body.get("state") == "queued")

    return is_back


class TestSweep:
    @pytest.fixture
    def options(self) -> dict[str, dict[str, Any]]:
        intervals = {"job_expire_interval": 50, "job_requeue_interval": 20}
        return {"sharq": {"enable_requeue_script": True, **intervals}}

    async def test_a_job_whose_lease_ran_out_is_delivered_again(self, rest: Rest) -> None:
        await until(await lose(rest))
        assert (await rest.get("/dequeue/t/")).body["job_id"] == "j"

    async def test_an_error_does_not_end_it(
        self,
        rest: Rest,
        server: SharQServer,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        expect_log: ExpectLog,
    ) -> None:
        expect_log("Expired jobs are not taken back")
        failed = asyncio.Event()
        failures = 0

        async def sweep() -> float:
            nonlocal failures
            failures += 1
            if failures == 3:
                failed.set()
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(server.engine, "sweep_when_due", sweep)
            await failed.wait()
        await until(await lose(rest))
        assert caplog.text.count("Expired jobs are not taken back") == 1

    class TestWithoutStore:
        @pytest.fixture
        def store(self) -> Iterator[PrivateStore]:
            with PrivateStore(appendonly=True, appendfsync="always") as store:
                yield store

        async def test_it_goes_on_when_the_store_is_back(
            self, rest: Rest, store: PrivateStore, expect_log: ExpectLog
        ) -> None:
            expect_log("Lost the store")
            expect_log("Expired jobs are not taken back", certain=False)
            is_back = await lose(rest)
            await until(is_back)
            await asyncio.to_thread(store.kill)
            while (await rest.get("/deepstatus/")).status != 503:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(store.start)
            while (await rest.get("/deepstatus/")).status != 200:
                await asyncio.sleep(0.01)
            assert (await rest.get("/dequeue/t/")).status == 200
            await until(is_back)


class TestNoSweep:
    @pytest.fixture
    def options(self) -> dict[str, dict[str, Any]]:
        intervals = {"job_expire_interval": 1, "job_requeue_interval": 1}
        return {"sharq": {"enable_requeue_script": False, **intervals}}

    async def test_a_server_can_be_told_not_to_sweep(self, rest: Rest) -> None:
        is_back = await lose(rest)
        await asyncio.sleep(0.2)
        assert not await is_back()


class TestWithoutUpkeep:
    @pytest.fixture
    def options(self) -> dict[str, dict[str, Any]]:
        intervals = {"job_expire_interval": 1, "job_requeue_interval": 1}
        return {"sharq": {"enable_requeue_script": True, **intervals}}

    @pytest.fixture
    def server(self, io_loop: Any, settings: Settings) -> Iterator[SharQServer]:
        server = SharQServer(settings)
        io_loop.run_sync(partial(server.start, upkeep=False))
        yield server
        io_loop.run_sync(server.stop)

    async def test_one_of_several_servers_does_not_sweep_either(self, rest: Rest) -> None:
        is_back = await lose(rest)
        await asyncio.sleep(0.2)
        assert not await is_back()


# ---- the embedded store ----


@asynccontextmanager
async def kept(keeper: StoreKeeper) -> AsyncIterator[None]:
    await keeper.begin()
    running = asyncio.ensure_future(keeper.run())
    try:
        yield
    finally:
        keeper.stop()
        await running


class Joins:
    """Joins a store, and fails where it is told to; `made` are the holds."""

    def __init__(self, folder: Path) -> None:
        self.made: list[EmbeddedStore] = []
        self.failures = 0
        self.failing = 0
        self._folder = folder

    def __call__(self, given_up: threading.Event) -> EmbeddedStore:
        if self.failing:
            self.failing -= 1
            self.failures += 1
            raise EmbeddedStoreError("not yet")
        self.made.append(EmbeddedStore.join(self._folder, given_up=given_up))
        return self.made[-1]

    async def reach(self, holds: int) -> None:
        async with asyncio.timeout(5):
            while len(self.made) < holds:
                await asyncio.sleep(0.01)


@pytest.fixture
def joins(tmp_path: Path) -> Joins:
    return Joins(tmp_path / "data")


async def test_a_store_that_was_killed_is_started_again(
    joins: Joins, tmp_path: Path, expect_log: ExpectLog
) -> None:
    expect_log("The embedded store has died")
    async with kept(StoreKeeper(joins)):
        os.kill(joins.made[0].pid, signal.SIGKILL)
        await joins.reach(2)
        assert joins.made[1].alive()
    with EmbeddedStore.join(tmp_path / "data") as anew:
        assert anew.pid != joins.made[1].pid, "the keeper was the last one and stopped the store"


async def test_a_store_that_does_not_start_again_is_tried_again(
    joins: Joins, expect_log: ExpectLog
) -> None:
    expect_log("The embedded store has died")
    expect_log("The embedded store does not start: not yet")
    async with kept(StoreKeeper(joins)):
        joins.failing = 2
        os.kill(joins.made[0].pid, signal.SIGKILL)
        await joins.reach(2)
        assert joins.failures == 2
        assert joins.made[1].alive()


async def test_a_keeper_can_be_stopped_while_the_store_does_not_start(
    joins: Joins, expect_log: ExpectLog, caplog: pytest.LogCaptureFixture
) -> None:
    expect_log("The embedded store has died")
    expect_log("The embedded store does not start")
    async with asyncio.timeout(5), kept(StoreKeeper(joins)):
        joins.failing = 1000
        os.kill(joins.made[0].pid, signal.SIGKILL)
        while "does not start" not in caplog.text:
            await asyncio.sleep(0.01)


async def test_a_store_that_cannot_be_joined_is_said_at_once(joins: Joins) -> None:
    joins.failing = 1
    with pytest.raises(EmbeddedStoreError, match="not yet"):
        await StoreKeeper(joins).begin()
