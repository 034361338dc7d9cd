"""`AsyncSharQ` on an event loop: its life, calls at the same time, cancellation, what it leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sharq import AsyncSharQ, Settings
from sharq.embedded.store import EmbeddedStore
from sharq.errors import (
    BadArgumentException,
    EmbeddedStoreError,
    StoreFull,
    StoreOutcomeUnknown,
    StoreUnavailable,
)
from sharq.results import DUPLICATE, QUEUED, NewJob
from sharq.store.failover import after_both
from tests.support.faces import embedded, kill_process, process_runs, settings_for
from tests.support.loops import eventually, on_loop
from tests.support.proxy import Proxy
from tests.support.stores import PrivateStore, wait_for


@pytest.fixture
def settings(clean_store: PrivateStore) -> Settings:
    return settings_for(clean_store)


@pytest.fixture
def proxy(clean_store: PrivateStore) -> Iterator[Proxy]:
    clean_store.load_scripts()
    proxy = Proxy(clean_store.socket_path)
    yield proxy
    proxy.close()


def through(proxy: Proxy) -> Settings:
    return Settings.from_mapping({"redis": {"port": proxy.port, "key_prefix": "library"}})


def store_runs(folder: Path) -> bool:
    try:
        return process_runs(int((folder / "store.lock").read_text()))
    except (FileNotFoundError, ValueError):
        return False


# ---- beginning and end ----


@on_loop
async def test_before_its_start_it_says_so(settings: Settings) -> None:
    queue = AsyncSharQ(settings)
    with pytest.raises(StoreUnavailable, match="has not been started"):
        await queue.dequeue()
    with pytest.raises(StoreUnavailable, match="has not been started"):
        queue.redis_client()


@on_loop
async def test_arguments_are_checked_before_the_connection_is_asked_for(settings: Settings) -> None:
    with pytest.raises(BadArgumentException, match="queue_type"):
        await AsyncSharQ(settings).dequeue("no name")


@on_loop
async def test_it_starts_again_after_its_end(settings: Settings) -> None:
    queue = AsyncSharQ(settings)
    for at in range(3):
        async with queue as same:
            assert same is queue
            await queue.enqueue(at, 0, f"j{at}", "bob")
    async with queue:
        assert await queue.get_queue_length("default", "bob") == 3


@on_loop
async def test_a_second_start_and_a_second_end_do_nothing(proxy: Proxy) -> None:
    queue = AsyncSharQ(through(proxy))
    await asyncio.gather(queue.start(), queue.start())
    await queue.start()
    await queue.ping()
    assert proxy.accepted == 1
    await asyncio.gather(queue.aclose(), queue.aclose())
    await queue.aclose()


@on_loop
async def test_an_end_without_a_start_does_nothing(settings: Settings) -> None:
    await AsyncSharQ(settings).aclose()


@on_loop
async def test_a_start_does_not_wait_for_a_store_that_is_away(proxy: Proxy) -> None:
    proxy.refuse()
    async with AsyncSharQ(through(proxy)) as queue:
        waiting = asyncio.create_task(queue.enqueue(1, 0, "j1", "bob"))
        await asyncio.sleep(0)
        proxy.accept()
        assert await waiting == {"status": "queued"}


@on_loop
async def test_the_end_waits_for_the_answers_that_are_due(proxy: Proxy) -> None:
    queue = AsyncSharQ(through(proxy))
    await queue.start()
    await queue.ping()
    proxy.delay = 0.1
    waiting = [asyncio.create_task(queue.queue_length("mail", f"q{at}")) for at in range(20)]
    await asyncio.sleep(0)
    await queue.aclose()
    assert await asyncio.gather(*waiting) == [0] * 20


# ---- at the same time ----


@on_loop
async def test_many_calls_at_the_same_time_get_their_own_answers(settings: Settings) -> None:
    names = [f"q{at}" for at in range(50)]
    async with AsyncSharQ(settings) as queue:
        jobs = [queue.enqueue({"n": n}, 0, f"j{n}", name) for name in names for n in range(4)]
        assert await asyncio.gather(*jobs) == [{"status": "queued"}] * 200
        lengths = await asyncio.gather(*(queue.get_queue_length("default", n) for n in names))
        assert lengths == [4] * 50
        answers = await asyncio.gather(*(queue.dequeue() for _ in range(201)))
        taken = [answer for answer in answers if answer["status"] == "success"]
        assert len(taken) == 200
        assert {f"j{answer['payload']['n']}" == answer["job_id"] for answer in taken} == {True}
        ended = await asyncio.gather(*(queue.finish(a["job_id"], a["queue_id"]) for a in taken))
        assert ended == [{"status": "success"}] * 200


@on_loop
async def test_a_type_is_registered_by_all_who_meet_it_at_once(settings: Settings) -> None:
    async with AsyncSharQ(settings) as queue:
        await asyncio.gather(*(queue.enqueue(1, 0, f"j{at}", "bob", "mail") for at in range(20)))
        assert await queue.redis_client().zrange("{library}:types", 0, -1) == [b"mail"]


@on_loop
async def test_a_caller_that_gives_up_harms_no_other(proxy: Proxy) -> None:
    async with AsyncSharQ(through(proxy)) as queue:
        await queue.enqueue(1, 0, "j0", "bob")
        proxy.stall()
        calls = [asyncio.create_task(queue.enqueue(at, 0, f"j{at}", "bob")) for at in range(1, 10)]
        await asyncio.sleep(0.01)
        for call in calls[::2]:
            call.cancel()
        proxy.resume()
        assert await asyncio.gather(*calls[1::2]) == [{"status": "queued"}] * 4
        assert await asyncio.gather(*calls[::2], return_exceptions=True)
        # What was sent is carried out, whether somebody waits or not.
        assert await queue.get_queue_length("default", "bob") == 10


@on_loop
async def test_a_lost_answer_to_an_enqueue_is_asked_for_again(proxy: Proxy) -> None:
    async with AsyncSharQ(through(proxy)) as queue:
        await queue.enqueue(1, 0, "j0", "bob")
        proxy.lose_replies_to(b"j1", 1)
        answer = await queue.submit(queue.new_job(b"1", 0, "j1", "bob"))
        assert answer.outcome == DUPLICATE
        assert await queue.get_queue_length("default", "bob") == 2


@on_loop
async def test_a_lost_answer_to_a_dequeue_is_told(proxy: Proxy) -> None:
    async with AsyncSharQ(through(proxy)) as queue:
        await queue.enqueue(1, 0, "j0", "bob", "type-1")
        proxy.lose_replies_to(b"type-1", 1)
        with pytest.raises(StoreOutcomeUnknown):
            await queue.dequeue("type-1")
        assert await queue.dequeue("type-1") == {"status": "failure"}
        assert (await queue.job_status("type-1", "bob", "j0")).state == "active"


@on_loop
async def test_two_clients_see_each_other(settings: Settings) -> None:
    async with AsyncSharQ(settings) as one, AsyncSharQ(settings) as other:
        await one.enqueue({"a": 1}, 0, "j1", "bob")
        assert (await other.dequeue())["payload"] == {"a": 1}
        assert await one.finish("j1", "bob") == {"status": "success"}


@on_loop
async def test_a_reload_meets_calls_under_way(settings: Settings) -> None:
    async with AsyncSharQ(settings) as queue:

        async def produce(name: str) -> None:
            for at in range(50):
                assert await queue.enqueue(at, 0, f"{name}-{at}", "bob") == {"status": "queued"}

        producers = [asyncio.create_task(produce(f"p{at}")) for at in range(4)]
        for _ in range(5):
            await queue.reload_lua_scripts()
            await queue.ping()
        await asyncio.gather(*producers)
        assert await queue.get_queue_length("default", "bob") == 200


# ---- the embedded store ----


@contextmanager
def slow_joins(monkeypatch: pytest.MonkeyPatch, joined: bool) -> Iterator[threading.Event]:
    """Who joins the embedded store waits, `joined` or not yet, in its thread for the event."""
    gate = threading.Event()
    join = EmbeddedStore.join

    def wait_and_join(*arguments: object, **named: object) -> EmbeddedStore:
        store = join(*arguments, **named) if joined else None  # type: ignore[arg-type]
        assert gate.wait(10)
        return store or join(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(EmbeddedStore, "join", wait_and_join)
    yield gate
    gate.set()


def test_starts_at_the_same_time_join_the_store_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joins = []
    join = EmbeddedStore.join

    def note_and_join(*arguments: object, **named: object) -> EmbeddedStore:
        joins.append(arguments)
        return join(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(EmbeddedStore, "join", note_and_join)

    @on_loop
    async def scenario() -> None:
        queue = AsyncSharQ(embedded(tmp_path))
        await asyncio.gather(*(queue.start() for _ in range(5)))
        await queue.start()
        assert store_runs(tmp_path)
        await queue.aclose()
        assert not store_runs(tmp_path)

    scenario()
    assert len(joins) == 1


@pytest.mark.parametrize("joined", [False, True])
def test_a_start_that_is_given_up_keeps_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, joined: bool
) -> None:
    @on_loop
    async def scenario() -> None:
        with slow_joins(monkeypatch, joined) as gate:
            queue = AsyncSharQ(embedded(tmp_path))
            starting = asyncio.create_task(queue.start())
            if joined:
                await eventually("the store is joined", lambda: store_runs(tmp_path))
            starting.cancel()
            await asyncio.wait({starting})
            gate.set()
            await eventually("there is no store", lambda: not store_runs(tmp_path))
            async with queue:
                await queue.ping()

    scenario()
    wait_for("the store has ended", lambda: not store_runs(tmp_path))


@on_loop
async def test_a_start_that_fails_may_be_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.write_text("in the way")
    queue = AsyncSharQ(embedded(folder))
    with pytest.raises(EmbeddedStoreError):
        await queue.start()
    folder.unlink()
    async with queue:
        assert await queue.deep_status() is True


@on_loop
async def test_a_call_under_way_when_the_store_dies_is_answered_by_the_next(tmp_path: Path) -> None:
    async with AsyncSharQ(embedded(tmp_path)) as queue:
        await queue.enqueue(1, 0, "j1", "bob")
        pid = int((tmp_path / "store.lock").read_text())
        os.kill(pid, signal.SIGSTOP)
        length = asyncio.create_task(queue.get_queue_length("default", "bob"))
        dequeue = asyncio.create_task(queue.dequeue())
        for _ in range(5):
            await asyncio.sleep(0)
        await asyncio.to_thread(kill_process, pid)
        assert await length == 1
        # It might have been carried out, and a second one would lease another job.
        with pytest.raises(StoreOutcomeUnknown):
            await dequeue


@on_loop
async def test_calls_at_the_same_time_start_a_dead_store_once(tmp_path: Path) -> None:
    async with AsyncSharQ(embedded(tmp_path)) as queue:
        await queue.enqueue(1, 0, "j", "bob")
        pid = int((tmp_path / "store.lock").read_text())
        await asyncio.to_thread(kill_process, pid)
        answers = await asyncio.gather(
            *(queue.submit(NewJob("default", "bob", f"j{at}", b"1", 0, -1)) for at in range(20))
        )
        assert [answer.outcome for answer in answers] == [QUEUED] * 20
        assert await queue.get_queue_length("default", "bob") == 21
        assert int((tmp_path / "store.lock").read_text()) != pid
    assert not store_runs(tmp_path)


# ---- what may have been carried out ----


def test_a_call_that_two_stores_had_may_have_been_carried_out_by_the_first() -> None:
    lost, refused = StoreOutcomeUnknown(), StoreFull()
    told = after_both(lost, refused)
    assert isinstance(told, StoreOutcomeUnknown)
    assert told.__cause__ is refused
    assert after_both(StoreUnavailable(), refused) is refused
    assert after_both(lost, 7) == 7


@on_loop
async def test_an_answer_that_was_lost_with_the_store_stays_unknown(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with AsyncSharQ(embedded(folder)) as queue:
        await queue.enqueue(1, 0, "j1", "bob")
        pid = int((folder / "store.lock").read_text())
        os.kill(pid, signal.SIGSTOP)
        asked = asyncio.create_task(queue.enqueue(2, 0, "j2", "bob"))
        await asyncio.sleep(0.05)
        # It dies with the call, and cannot be started again.
        folder.rename(tmp_path / "moved")
        folder.write_text("in the way")
        kill_process(pid)
        with pytest.raises(StoreOutcomeUnknown) as caught:
            await asked
        assert isinstance(caught.value.__cause__, EmbeddedStoreError)
        folder.unlink()
        (tmp_path / "moved").rename(folder)
