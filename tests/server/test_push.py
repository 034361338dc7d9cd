"""The push channel on one server: frames, credit, wake-ups, the end of a connection."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sharq.operations.scripts import Scripts
from sharq_server import SharQServer
from sharq_server.push import schedule
from sharq_server.push.dispatch import Delivery
from sharq_server.push.long_poll import LongPoll
from tests.server.conftest import ExpectLog
from tests.server.subscriber import Subscriber
from tests.server.support import Raw, Rest
from tests.support.stores import PrivateStore

pytestmark = [pytest.mark.gen_test, pytest.mark.usefixtures("only_wakeups")]


@pytest.fixture
def only_wakeups(monkeypatch: pytest.MonkeyPatch) -> None:
    """No poll hides a wake-up that is missing."""
    monkeypatch.setattr(schedule, "POLL_AFTER", (1000.0, 1000.0))


@pytest.fixture
def connect(server: SharQServer, http_port: int, http_server: object) -> Any:
    async def connect() -> Subscriber:
        await listening(server)
        return await Subscriber.connect(http_port)

    return connect


async def listening(server: SharQServer) -> None:
    """Wait until wake-ups arrive."""
    wakeups = server.engine.connections.wakeups
    assert wakeups is not None
    while not wakeups.subscribed:
        await asyncio.sleep(0.002)


# ---- frames and answers ----


async def test_the_first_frame_is_a_welcome(connect: Any) -> None:
    async with await connect() as subscriber:
        welcome = subscriber.seen[0]
        assert welcome["protocol"] == "sharq.v1.json"
        assert welcome["heartbeat"] == 20_000
        assert welcome["limits"]["max_frame_bytes"] == 1_048_576 + 65_536


async def test_waiting_jobs_come_after_the_answer_to_subscribe(connect: Any, rest: Rest) -> None:
    await rest.enqueue("t/q", "j", {"a": [1, "é"]}, interval=25, requeue_limit=3)
    async with await connect() as subscriber:
        await subscriber.subscribe()
        (job,) = await subscriber.jobs(1)
        assert [event["event"] for event in subscriber.seen] == ["welcome", "reply", "jobs"]
        assert job.pop("lease").startswith("t/q/j/")
        assert 59_000 < job.pop("lease_ms") <= 60_000
        assert job == {
            "queue_id": "q",
            "job_id": "j",
            "payload": {"a": [1, "é"]},
            "requeues_remaining": 3,
            "attempt": 1,
            "interval": 25,
            "current_queue_length": 0,
        }


async def test_a_job_is_finished_once(connect: Any, rest: Rest) -> None:
    async with await connect() as subscriber:
        await subscriber.subscribe()
        await rest.enqueue()
        (job,) = await subscriber.jobs(1)
        other = {"lease": "t/q/other/1"}
        assert await subscriber.finish(job, job, other, {"lease": "nonsense"}) == [
            "success",
            "already_finished",
            "not_active",
            "invalid_argument",
        ]
    assert (await rest.get("/status/t/q/j/")).body["state"] == "finished"


async def test_answers_keep_the_order_of_their_frames(connect: Any, rest: Rest) -> None:
    async with await connect() as subscriber:
        frames: list[dict[str, Any]] = [
            {"op": "enqueue", "jobs": [job(f"j{at}")]} if at % 3 else {"op": "nonsense"}
            for at in range(60)
        ]
        ids = [subscriber.send(**frame) for frame in frames]
        for frame_id in ids:
            await subscriber.answer(frame_id)
        assert [event["id"] for event in subscriber.seen[1:]] == ids


@pytest.mark.parametrize("frame_id", ["7", '"seven"', "null", "true", "1.50", '"\\u00e9"'])
async def test_an_id_comes_back_as_it_was(connect: Any, frame_id: str) -> None:
    async with await connect() as subscriber:
        for op in ("unsubscribe", "ping", "nonsense"):
            more = ',"queue_type":"t"' if op == "unsubscribe" else ""
            subscriber.socket.write_message(f'{{"op":"{op}","id":{frame_id}{more}}}')
            assert f'"id":{frame_id}' in await subscriber.socket.read_message()


def job(job_id: str, queue: str = "t/q", **more: Any) -> dict[str, Any]:
    queue_type, queue_id = queue.split("/")
    names = {"queue_type": queue_type, "queue_id": queue_id, "job_id": job_id}
    return {**names, "interval": 0, "payload": 1, **more}


async def test_jobs_are_enqueued_as_by_the_bulk_route(connect: Any, rest: Rest) -> None:
    jobs = [job("a"), job("a"), job("a", payload=2), job("b", interval=-1), job("c", "t/q r")]
    async with await connect() as subscriber:
        answer = await subscriber.ask(op="enqueue", jobs=jobs)
    await rest.delete("/deletequeue/t/q/")
    bulk = await rest.post("/enqueue/", {"jobs": jobs})
    assert answer["results"] == bulk.body["results"]


async def test_jobs_are_fetched_released_and_extended(connect: Any, rest: Rest) -> None:
    for job_id in ("a", "b"):
        await rest.enqueue("t/q", job_id)
    async with await connect() as subscriber:
        jobs = (await subscriber.ask(op="dequeue", queue_type="t", count=5))["jobs"]
        assert [(each["attempt"], each["interval"]) for each in jobs] == [(1, 0)] * 2
        assert [each["job_id"] for each in jobs] == ["a", "b"]
        leases = [each["lease"] for each in jobs]
        answer = await subscriber.ask(op="extend", leases=[*leases, "t/q/c/1"], by=120_000)
        assert answer["results"] == [
            {"status": "success", "lease_ms": 120_000},
            {"status": "success", "lease_ms": 120_000},
            {"status": "not_active"},
        ]
        answer = await subscriber.ask(op="release", leases=leases, count_requeue=False)
        assert answer["results"] == ["success", "success"]
        assert (await subscriber.ask(op="dequeue", queue_type="t"))["jobs"][0]["job_id"] == "a"
        assert (await subscriber.ask(op="dequeue", queue_type="none"))["jobs"] == []


async def test_jobs_are_cancelled(connect: Any, rest: Rest) -> None:
    for job_id in ("a", "b", "c"):
        await rest.enqueue("t/q", job_id)
    async with await connect() as subscriber:
        await subscriber.subscribe(credit=1)
        (held,) = (await subscriber.event("jobs"))["jobs"]
        named = [{"queue_type": "t", "queue_id": "q", "job_id": job_id} for job_id in "abx"]
        wrong = [None, {}, {**named[0], "colour": 1}, {**named[0], "lease": "t/q/b/1"}]
        answer = await subscriber.ask(op="cancel", jobs=[*named, *wrong])
        invalid = ["invalid_argument"] * 4
        assert answer["results"] == ["job_active", "success", "not_found", *invalid]

        # The lease that it ends has its place in the credit again.
        answer = await subscriber.ask(op="cancel", jobs=[{**named[0], "lease": held["lease"]}])
        assert answer["results"] == ["success"]
        assert (await subscriber.event("jobs"))["jobs"][0]["job_id"] == "c"


async def test_a_request_id_gets_the_same_jobs(connect: Any, rest: Rest) -> None:
    await rest.enqueue()
    await rest.enqueue(job_id="k")
    async with await connect() as subscriber:
        first = await subscriber.ask(op="dequeue", queue_type="t", request_id="r")
        again = await subscriber.ask(op="dequeue", queue_type="t", request_id="r")
        assert first["jobs"][0]["lease"] == again["jobs"][0]["lease"]


async def test_jobs_of_a_request_id_come_with_what_is_left_of_their_lease(
    connect: Any, rest: Rest
) -> None:
    await rest.enqueue()
    async with await connect() as subscriber:
        ask = {"op": "dequeue", "queue_type": "t", "request_id": "r"}
        first = (await subscriber.ask(**ask))["jobs"][0]["lease_ms"]
        asked = again = first
        async with asyncio.timeout(5):
            while again == first:
                again = (await subscriber.ask(**ask))["jobs"][0]["lease_ms"]
        assert again < asked
        lease = (await subscriber.ask(**ask))["jobs"][0]["lease"]
        await subscriber.ask(op="extend", leases=[lease], by=600_000)
        extended = (await subscriber.ask(**ask))["jobs"][0]["lease_ms"]
        assert 590_000 < extended <= 600_000


async def test_a_server_with_too_much_waiting_for_the_store_sends_clients_away(
    connect: Any, rest: Rest, server: SharQServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await connect() as subscriber:
        await subscriber.ask(op="enqueue", jobs=[job("a")])
        monkeypatch.setattr(server.engine.connections.link, "_max_calls", 0)
        answer = await rest.get("/dequeue/t/")
        assert answer.error == (503, "overloaded")
        assert answer.headers["Retry-After"] == "1"
        subscriber.socket.write_message('{"op":"dequeue","queue_type":"t","id":7}')
        frame = json.loads(await subscriber.socket.read_message())
        assert (frame["event"], frame["id"], frame["code"]) == ("error", 7, "overloaded")
        assert await subscriber.socket.read_message() is None
        assert subscriber.socket.close_code == 1013


# ---- credit ----


async def test_credit_is_never_exceeded_and_finishes_free_it(connect: Any, rest: Rest) -> None:
    await rest.post("/enqueue/", {"jobs": [job(f"j{at:02}") for at in range(10)]})
    async with await connect() as subscriber:
        await subscriber.subscribe(credit=3)
        held = await subscriber.jobs(3)
        assert await subscriber.nothing_comes()
        await subscriber.finish(held[0], held[0])
        held = [*held[1:], *await subscriber.jobs(1)]
        assert await subscriber.nothing_comes()
        await subscriber.ask(op="release", leases=[held[0]["lease"]])
        assert (await subscriber.jobs(1))[0]["job_id"] == held[0]["job_id"]


async def test_credit_under_random_finishes(connect: Any, rest: Rest) -> None:
    chance = random.Random(7)
    total = 200
    names = [f"{queue_type}/q{at % 7}" for at in range(total) for queue_type in ("a", "b")]
    await rest.post("/enqueue/", {"jobs": [job(f"j{at}", q) for at, q in enumerate(names)]})
    limits = {"a": 5, "b": 4, None: 7}
    held: list[str] = []
    done = 0
    async with await connect() as subscriber:
        await subscriber.ask(op="credit", credit=7)
        for queue_type in ("a", "b"):
            await subscriber.subscribe(queue_type, limits[queue_type])
        while done < len(names):
            frame = await subscriber.event("jobs")
            held += [each["lease"] for each in frame["jobs"]]
            for queue_type, limit in limits.items():
                count = sum(queue_type in (None, lease[0]) for lease in held)
                assert count <= limit
            chance.shuffle(held)
            last = done + len(held) == len(names)
            ended = [held.pop() for _ in range(len(held) if last else chance.randint(1, len(held)))]
            op = "finish" if last else chance.choice(["finish", "finish", "release"])
            subscriber.send(op=op, leases=[*ended, *ended, "a/q0/never/1"])
            done += len(ended) if op == "finish" else 0


async def test_no_credit_pauses_and_a_lower_one_holds_after_its_answer(
    connect: Any, rest: Rest
) -> None:
    async with await connect() as subscriber:
        await subscriber.subscribe(credit=5)
        await subscriber.ask(op="credit", queue_type="t", credit=0)
        await rest.enqueue()
        assert await subscriber.nothing_comes()
        await subscriber.ask(op="credit", queue_type="t", credit=1)
        assert len(await subscriber.jobs(1)) == 1
        answer = await subscriber.ask(op="credit", queue_type="other", credit=1)
        assert (answer["event"], answer["code"]) == ("error", "not_found")


async def test_the_credit_of_the_connection_is_shared_by_its_types(
    connect: Any, rest: Rest
) -> None:
    for queue_type in ("a", "b"):
        jobs = [job(f"j{at}", f"{queue_type}/q") for at in range(20)]
        await rest.post("/enqueue/", {"jobs": jobs})
    async with await connect() as subscriber:
        await subscriber.ask(op="credit", credit=2)
        await subscriber.subscribe("a", 10)
        await subscriber.subscribe("b", 10)
        order = []
        for _ in range(20):
            frame = await subscriber.event("jobs")
            assert len(frame["jobs"]) <= 2
            order.append(frame["queue_type"])
            await subscriber.finish(*frame["jobs"])
        assert {"a", "b"} == set(order[:4])
        assert min(order.count("a"), order.count("b")) >= 5


async def test_who_waits_again_is_not_forgotten_where_the_store_lacks_a_script(
    server: SharQServer, http_server: object, rest: Rest, store: PrivateStore
) -> None:
    await listening(server)
    scripts = Scripts()

    def wait() -> asyncio.Future[Any]:
        return asyncio.ensure_future(server.push.wait_for("t", 1, None, 10, lambda _: None))

    waiting = wait()
    while not store.client.keys("*}:waiting"):
        await asyncio.sleep(0.005)
    # What gives up the place is repeated behind what takes it again.
    store.client.script_flush()
    for name in ("enqueue", "dequeue"):
        store.client.script_load(scripts.by_digest[scripts.digests[name]])
    store.pause()
    waiting.cancel()
    await asyncio.wait({waiting})
    waiting = wait()
    for _ in range(5):
        await asyncio.sleep(0)
    store.resume()
    while store.client.script_exists(scripts.digests["hand_on"]) != [True]:
        await asyncio.sleep(0.005)
    while server.push.dispatcher._by_type["t"].call is not None:
        await asyncio.sleep(0.005)
    await rest.enqueue("t/q", "a")
    batch = await waiting
    assert batch is not None
    assert [each.job_id for each in batch.jobs] == ["a"]


async def test_a_type_that_failed_is_asked_for_again_by_who_has_room(
    server: SharQServer, connect: Any, rest: Rest, store: PrivateStore, key_prefix: str
) -> None:
    dispatcher = server.push.dispatcher
    tag = f"{{{key_prefix}:changing}}"
    seconds, _ = store.client.time()
    closed = {f"{tag}:ready": 1, f"{tag}:held": 1}
    store.client.mset({f"{tag}:shards": f"1 1 2 word {seconds}000", **closed})
    async with await connect() as subscriber:
        await subscriber.ask(op="credit", credit=1)
        await subscriber.subscribe("changing", 1)
        await rest.enqueue("t/q", "a")
        await subscriber.subscribe("t", 1)
        (other,) = await subscriber.jobs(1)
        # Its next turn comes, and finds no room.
        while (group := dispatcher._by_type["changing"]) in dispatcher._schedule._entries:
            await asyncio.sleep(0.005)
        assert group.call is None
        store.client.delete(f"{tag}:shards", *closed)
        await subscriber.finish(other)
        await rest.enqueue("changing/q", "b")
        assert (await subscriber.jobs(1))[0]["job_id"] == "b"


async def test_after_unsubscribe_nothing_comes_and_leases_stay(connect: Any, rest: Rest) -> None:
    async with await connect() as subscriber:
        await subscriber.subscribe()
        await rest.enqueue()
        (held,) = await subscriber.jobs(1)
        await subscriber.ask(op="unsubscribe", queue_type="t")
        await rest.enqueue(job_id="k")
        assert await subscriber.nothing_comes()
        assert await subscriber.finish(held) == ["success"]


async def test_subscribing_again_replaces(connect: Any, rest: Rest) -> None:
    async with await connect() as subscriber:
        await subscriber.subscribe(credit=5)
        await subscriber.subscribe(credit=1)
        await rest.post("/enqueue/", {"jobs": [job("a"), job("b")]})
        await subscriber.jobs(1)
        assert await subscriber.nothing_comes()


async def test_leases_of_a_former_connection_count(connect: Any, rest: Rest) -> None:
    await rest.post("/enqueue/", {"jobs": [job("a"), job("b"), job("c")]})
    async with await connect() as former:
        await former.subscribe(credit=1)
        (held,) = await former.jobs(1)
    async with await connect() as subscriber:
        answer = await subscriber.ask(
            op="subscribe", queue_type="t", credit=2, leases=[held["lease"], "t/q/x/1", "?"]
        )
        rest_of_lease, *others = answer["results"]
        assert rest_of_lease["status"] == "success"
        assert 50_000 < rest_of_lease["lease_ms"] <= 60_000
        assert others == [{"status": "not_active"}, {"status": "invalid_argument"}]
        await subscriber.jobs(1)
        assert await subscriber.nothing_comes()
        await subscriber.finish(held)
        await subscriber.jobs(1)


# ---- what wakes a subscriber ----


async def test_an_enqueue_wakes(connect: Any, rest: Rest) -> None:
    async with await connect() as subscriber:
        await subscriber.subscribe()
        for at in range(3):
            await rest.enqueue("t/q", f"j{at}")
            await subscriber.jobs(1)


async def test_the_end_of_an_interval_wakes(connect: Any, rest: Rest) -> None:
    async with await connect() as subscriber:
        await subscriber.subscribe()
        await rest.post("/enqueue/", {"jobs": [job(f"j{at}", interval=50) for at in range(5)]})
        await subscriber.jobs(5)


async def test_a_lower_interval_wakes(connect: Any, rest: Rest) -> None:
    async with await connect() as subscriber:
        await subscriber.subscribe()
        for job_id in ("a", "b", "c"):
            await rest.enqueue("t/q", job_id, interval=3_600_000)
        await subscriber.jobs(1)
        await rest.post("/interval/t/q/", {"interval": 10})
        await subscriber.jobs(1)
        await subscriber.jobs(1)


async def test_an_interval_given_back_wakes_with_the_next_enqueue(connect: Any, rest: Rest) -> None:
    async with await connect() as subscriber:
        await subscriber.subscribe()
        await rest.enqueue("t/q", "a", interval=5)
        await subscriber.jobs(1)
        await rest.post("/interval/t/q/", {"interval": 3_600_000})
        await rest.enqueue("t/q", "b", interval=5)
        assert await subscriber.nothing_comes()
        await rest.delete("/interval/t/q/")
        await rest.enqueue("t/q", "c", interval=5)
        assert [each["job_id"] for each in await subscriber.jobs(2)] == ["b", "c"]


async def test_a_release_wakes_at_once_or_when_it_is_due(connect: Any, rest: Rest) -> None:
    await rest.enqueue()
    lease = (await rest.get("/dequeue/t/")).body["lease"]
    async with await connect() as subscriber:
        await subscriber.subscribe()
        await rest.post("/release/t/q/j/", {"lease": lease})
        (again,) = await subscriber.jobs(1)
        began = asyncio.get_running_loop().time()
        await rest.post("/release/t/q/j/", {"lease": again["lease"], "delay": 80})
        assert (await subscriber.jobs(1))[0]["attempt"] == 3
        assert asyncio.get_running_loop().time() - began >= 0.079


class TestExpiry:
    @pytest.fixture
    def options(self) -> dict[str, dict[str, Any]]:
        return {
            "sharq": {
                "job_expire_interval": 150,
                "job_requeue_interval": 50,
                "enable_requeue_script": True,
            }
        }

    async def test_an_expired_lease_is_told_and_its_job_comes_again(
        self, connect: Any, rest: Rest
    ) -> None:
        async with await connect() as subscriber:
            await subscriber.subscribe(credit=1)
            await rest.enqueue()
            (held,) = await subscriber.jobs(1)
            assert (await subscriber.event("expired"))["leases"] == [held["lease"]]
            (again,) = await subscriber.jobs(1)
            assert again["attempt"] == 2
            assert await subscriber.finish(held) == ["stale_lease"]
            assert await subscriber.finish(again) == ["success"]

    async def test_a_lease_that_is_extended_elsewhere_keeps_its_place(
        self, connect: Any, rest: Rest
    ) -> None:
        async with await connect() as subscriber:
            await subscriber.subscribe(credit=1)
            await rest.enqueue()
            (held,) = await subscriber.jobs(1)
            await rest.post("/extend/t/q/j/", {"lease": held["lease"], "by": 60_000})
            await rest.enqueue(job_id="k")
            assert await subscriber.nothing_comes("expired", 0.4)
            assert await subscriber.nothing_comes("jobs", 0)
            await subscriber.finish(held)
            await subscriber.jobs(1)


async def test_a_cleared_lease_is_finished_with_its_next_word(connect: Any, rest: Rest) -> None:
    async with await connect() as subscriber:
        await subscriber.subscribe(credit=1)
        await rest.enqueue()
        (held,) = await subscriber.jobs(1)
        await rest.delete("/deletequeue/t/q/", {"purge_all": True})
        await rest.enqueue(job_id="k")
        assert await subscriber.finish(held) == ["not_active"]
        await subscriber.jobs(1)


async def test_lost_wake_ups_are_made_good_when_the_store_is_heard_again(
    connect: Any, rest: Rest, server: SharQServer, store: PrivateStore
) -> None:
    async with await connect() as subscriber:
        await subscriber.subscribe()
        wakeups = server.engine.connections.wakeups
        assert wakeups is not None
        for at in range(3):
            store.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            await rest.enqueue("t/q", f"j{at}")
            await subscriber.jobs(1)


# ---- notify ----


async def test_a_ready_job_is_offered_and_fetched(connect: Any, rest: Rest) -> None:
    async with await connect() as subscriber:
        await subscriber.subscribe(mode="notify", credit=2)
        await rest.enqueue()
        offer = await subscriber.event("ready")
        assert offer == {"event": "ready", "queue_type": "t", "ready": 1, "offer_ms": 250}
        jobs = (await subscriber.ask(op="dequeue", queue_type="t"))["jobs"]
        assert [each["job_id"] for each in jobs] == ["j"]
        assert await subscriber.nothing_comes("ready", 0.4)
        await rest.enqueue(job_id="k")
        await subscriber.event("ready")


async def test_an_offer_that_is_not_used_passes_to_the_next(connect: Any, rest: Rest) -> None:
    async with await connect() as first, await connect() as second:
        await first.subscribe(mode="notify", credit=1)
        await second.subscribe(mode="notify", credit=1)
        await rest.enqueue()
        await first.event("ready")
        assert await second.nothing_comes("ready", 0.1)
        await second.event("ready")
        await rest.get("/dequeue/t/")
        assert await first.nothing_comes("ready", 0.4)


async def test_offers_are_never_more_than_the_room(connect: Any, rest: Rest) -> None:
    await rest.post("/enqueue/", {"jobs": [job(f"j{at}") for at in range(10)]})
    async with await connect() as subscriber:
        await subscriber.subscribe(mode="notify", credit=3)
        assert (await subscriber.event("ready"))["ready"] == 3
        jobs = (await subscriber.ask(op="dequeue", queue_type="t", count=10))["jobs"]
        assert len(jobs) == 3
        assert await subscriber.nothing_comes("ready", 0.3)
        await subscriber.finish(jobs[0])
        assert (await subscriber.event("ready"))["ready"] == 1


@pytest.mark.timing
async def test_who_lets_offers_pass_is_left_out_for_ever_longer(connect: Any, rest: Rest) -> None:
    async with await connect() as subscriber:
        await subscriber.subscribe(mode="notify", credit=2)
        await rest.enqueue()
        times = []
        for _ in range(3):
            await subscriber.event("ready")
            times.append(time.monotonic())
        # Each rest begins when the offer has ended.
        assert times[1] - times[0] == pytest.approx(1.25, abs=0.2)
        assert times[2] - times[1] == pytest.approx(2.25, abs=0.2)
        await asyncio.sleep(0.3)
        await subscriber.ask(op="dequeue", queue_type="t")
        await rest.enqueue(job_id="k")
        await subscriber.event("ready", 0.3)


async def test_nothing_is_held_against_who_fetches_over_rest(connect: Any, rest: Rest) -> None:
    async with await connect() as subscriber, await connect() as other:
        await subscriber.subscribe(mode="notify", credit=1)
        for at in range(3):
            await rest.enqueue(job_id=f"j{at}")
            await subscriber.event("ready", 0.3)
            lease = (await rest.get("/dequeue/t/")).body["lease"]
            await other.ask(op="finish", leases=[lease])
            # The offer ends by its time.
            await asyncio.sleep(0.3)


async def test_an_offer_ends_without_blame_where_a_worker_comes(connect: Any, rest: Rest) -> None:
    async with await connect() as told, await connect() as worker:
        await told.subscribe(mode="notify", credit=1)
        await rest.enqueue()
        await told.event("ready")
        await worker.subscribe(credit=1)
        await worker.jobs(1)
        await asyncio.sleep(0.3)
        await rest.enqueue(job_id="k")
        await told.event("ready", 0.3)


async def test_several_offers_to_one_that_does_not_fetch_pass_on_together(
    connect: Any, rest: Rest
) -> None:
    async with await connect() as first, await connect() as second:
        await first.subscribe(mode="notify", credit=2)
        await rest.enqueue(job_id="j")
        await first.event("ready")
        await asyncio.sleep(0.1)
        await rest.enqueue(job_id="k")
        await first.event("ready")
        await second.subscribe(mode="notify", credit=5)
        ready = (await second.event("ready", 0.4))["ready"]
        while ready < 2:
            ready += (await second.event("ready", 0.05))["ready"]
        jobs = (await second.ask(op="dequeue", queue_type="t", count=5))["jobs"]
        assert len(jobs) == 2


# ---- fairness ----


async def test_subscribers_are_served_in_turn(connect: Any, rest: Rest) -> None:
    async with await connect() as first, await connect() as second:
        for each in (first, second):
            await each.subscribe(credit=10)
        await rest.post("/enqueue/", {"jobs": [job(f"j{at}", f"t/q{at}") for at in range(10)]})
        assert len(await first.jobs(5)) == len(await second.jobs(5))


async def test_a_slow_reader_does_not_hold_up_a_fast_one(connect: Any, rest: Rest) -> None:
    payload = "x" * 200_000
    async with await connect() as slow, await connect() as fast:
        for each in (slow, fast):
            await each.subscribe(credit=100)
        for at in range(60):
            await rest.enqueue(f"t/q{at}", f"j{at}", payload)
        done = 0
        while done < 30:
            done += len((await fast.event("jobs"))["jobs"])


# ---- the end of a connection ----


async def test_a_job_that_was_not_written_goes_to_the_next_unspent(
    connect: Any, rest: Rest, server: SharQServer
) -> None:
    payload = "x" * 250_000
    jobs = [job(f"j{at:02}", requeue_limit=0, payload=payload) for at in range(40)]
    for at in range(0, 40, 10):
        await rest.post("/enqueue/", {"jobs": jobs[at : at + 10]})
    deaf = await connect()
    deaf.send(op="subscribe", queue_type="t", credit=40)
    # Nothing is read: the kernel's buffers fill, and no further job is leased then.
    while (await rest.get("/metrics/t/q/")).body["active_count"] == 0:
        await asyncio.sleep(0.01)
    counts = [-1, 0]
    while counts[-1] != counts[-2]:
        await asyncio.sleep(0.2)
        counts.append((await rest.get("/metrics/t/q/")).body["active_count"])
    leased = counts[-1]
    assert 0 < leased < 40
    session = next(iter(server.push.sessions))
    assert len(session._unwritten) == 1
    deaf.socket.protocol.stream.close()
    deaf.socket.close()
    async with await connect() as subscriber:
        await subscriber.subscribe(credit=100)
        got = await subscriber.jobs(40 - leased + 1)
        assert {each["attempt"] for each in got} == {1}
        assert [each["job_id"] for each in got] == [f"j{at:02}" for at in range(leased - 1, 40)]
        assert {each["requeues_remaining"] for each in got} == {0}


async def test_leases_are_given_back_where_that_is_wished(connect: Any, rest: Rest) -> None:
    async with await connect() as other:
        async with await connect() as keeping:
            await keeping.subscribe("kept", credit=1)
            await keeping.subscribe(credit=1, on_disconnect="release")
            await rest.enqueue("t/q", requeue_limit=1)
            await rest.enqueue("kept/q")
            await keeping.event("jobs")
            await keeping.event("jobs")
        await other.subscribe()
        await other.subscribe("kept")
        (back,) = await other.jobs(1)
        assert (back["requeues_remaining"], back["attempt"]) == (0, 2)
        assert (await rest.get("/status/kept/q/j/")).body["state"] == "active"


async def test_a_finish_may_come_over_another_connection(connect: Any, rest: Rest) -> None:
    await rest.enqueue()
    async with await connect() as first:
        await first.subscribe()
        (held,) = await first.jobs(1)
    async with await connect() as second:
        assert await second.finish(held) == ["success"]


async def test_a_finish_of_a_client_that_vanishes_counts(connect: Any, rest: Rest) -> None:
    subscriber = await connect()
    await subscriber.subscribe()
    await rest.enqueue()
    (held,) = await subscriber.jobs(1)
    subscriber.send(op="finish", leases=[held["lease"]])
    subscriber.socket.protocol.stream.close()
    subscriber.socket.close()
    while (await rest.get("/status/t/q/j/")).body["state"] != "finished":
        await asyncio.sleep(0.005)


class TestHeartbeat:
    @pytest.fixture
    def options(self) -> dict[str, dict[str, Any]]:
        return {"sharq-server": {"heartbeat": 100}}

    async def test_who_is_silent_is_left(self, raw: Raw, server: SharQServer) -> None:
        async with raw.connect() as connection:
            await connection.send(HANDSHAKE)
            while not server.push.sessions:
                await asyncio.sleep(0.005)
            while server.push.sessions:
                await asyncio.sleep(0.005)

    async def test_who_answers_pings_is_kept(self, connect: Any, server: SharQServer) -> None:
        async with await connect() as subscriber:
            assert await subscriber.nothing_comes("jobs", 0.5)
            assert (await subscriber.ask(op="ping"))["event"] == "pong"


async def test_the_server_says_goodbye(connect: Any, rest: Rest, server: SharQServer) -> None:
    await rest.enqueue()
    async with await connect() as subscriber:
        await subscriber.subscribe()
        (held,) = await subscriber.jobs(1)
        draining = asyncio.ensure_future(server.push.drain(3))
        assert (await subscriber.event("draining"))["after_ms"] == 3000
        await rest.enqueue(job_id="k")
        assert await subscriber.nothing_comes()
        answer = await subscriber.ask(op="subscribe", queue_type="u", credit=1)
        assert answer["code"] == "stopping"
        assert await subscriber.finish(held) == ["success"]
        assert await subscriber.closed() == 1012
        await draining


@contextmanager
def no_garbage_collector() -> Iterator[None]:
    """What refers to itself in a circle stays, from now on; what did so before has gone."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("how", ["a close", "a reset", "a reset under way"])
async def test_what_has_ended_is_freed_without_the_garbage_collector(
    connect: Any, rest: Rest, server: SharQServer, how: str
) -> None:
    with no_garbage_collector():
        subscriber = await connect()
        await subscriber.subscribe(credit=1)
        await rest.enqueue(job_id="j")
        await rest.enqueue("t/other", "k")
        (job,) = await subscriber.jobs(1)
        (session,) = server.push.sessions
        # One that waits for credit when the connection ends.
        while not session._starved:
            await asyncio.sleep(0.005)
        kept = [
            weakref.ref(each)
            for each in (session, session._transport, *session.subscriptions.values())
        ]
        del session
        if how == "a close":
            await subscriber.ask(op="finish", leases=[job["lease"]])
            subscriber.socket.close()
        else:
            if how == "a reset under way":
                subscriber.send(op="finish", leases=[job["lease"]])
            subscriber.socket.protocol.stream.close()
            subscriber.socket.close()
        while any(each() is not None for each in kept):
            await asyncio.sleep(0.005)


# ---- the store goes and comes ----


class TestStore:
    @pytest.fixture
    def own_store(self) -> Any:
        with PrivateStore(appendonly=True) as own:
            yield own

    @pytest.fixture
    def options(self, own_store: PrivateStore) -> dict[str, dict[str, Any]]:
        return {"redis": {"unix_socket_path": own_store.socket_path}}

    async def test_a_pause_is_told_and_jobs_come_when_it_is_over(
        self, connect: Any, own_store: PrivateStore, expect_log: ExpectLog, rest: Rest
    ) -> None:
        expect_log("Lost the store")
        expect_log("No connection to the store", certain=False)
        async with await connect() as subscriber:
            await subscriber.subscribe()
            await rest.enqueue("t/q", "a", interval=50)
            await rest.enqueue("t/q", "b", interval=50)
            own_store.kill()
            assert (await subscriber.event("paused"))["code"] == "store_unavailable"
            own_store.start()
            await subscriber.event("resumed", 8)
            jobs = [each for event in subscriber.seen if "jobs" in event for each in event["jobs"]]
            while len({each["job_id"] for each in jobs}) < 2:
                jobs += (await subscriber.event("jobs"))["jobs"]
            await rest.enqueue("t/q", "c", interval=50)
            await subscriber.jobs(1)


# ---- bad frames and bad handshakes ----

BAD = {
    "": "not_json",
    "{": "not_json",
    "[]": "invalid_argument",
    '"subscribe"': "invalid_argument",
    "{}": "invalid_argument",
    '{"op":1}': "invalid_argument",
    '{"op":"nonsense"}': "invalid_argument",
    '{"op":"subscribe"}': "invalid_argument",
    '{"op":"subscribe","queue_type":"t"}': "invalid_argument",
    '{"op":"subscribe","queue_type":"a b","credit":1}': "invalid_argument",
    '{"op":"subscribe","queue_type":"t","credit":-1}': "invalid_argument",
    '{"op":"subscribe","queue_type":"t","credit":10001}': "invalid_argument",
    '{"op":"subscribe","queue_type":"t","credit":"1"}': "invalid_argument",
    '{"op":"subscribe","queue_type":"t","credit":true}': "invalid_argument",
    '{"op":"subscribe","queue_type":"t","credit":1,"mode":"x"}': "invalid_argument",
    '{"op":"subscribe","queue_type":"t","credit":1,"x":1}': "invalid_argument",
    '{"op":"finish","leases":[]}': "invalid_argument",
    '{"op":"finish","leases":"t/q/j/1"}': "invalid_argument",
    '{"op":"release","leases":["t/q/j/1"],"delay":-1}': "invalid_argument",
    '{"op":"extend","leases":["t/q/j/1"],"by":0}': "invalid_argument",
    '{"op":"dequeue","queue_type":"t","count":101}': "invalid_argument",
    '{"op":"enqueue","jobs":[]}': "invalid_argument",
    '{"op":"ping","id":[1]}': "invalid_argument",
    '{"op":"ping","id":"' + "x" * 127 + '"}': "invalid_argument",
}


async def test_bad_frames_are_refused_and_the_connection_lives(connect: Any, rest: Rest) -> None:
    async with await connect() as subscriber:
        for text, code in BAD.items():
            subscriber.socket.write_message(text)
            error = await subscriber.event("error")
            assert (error["code"], "message" in error) == (code, True), text
        assert (await subscriber.ask(op="ping"))["event"] == "pong"
    assert (await rest.get("/metrics/")).body["queue_types"] == []


async def test_a_hundred_bad_frames_in_a_minute_end_the_connection(connect: Any) -> None:
    async with await connect() as subscriber:
        for _ in range(100):
            subscriber.socket.write_message("nonsense")
        assert await subscriber.closed() == 1008


async def test_binary_frames_end_the_connection(connect: Any) -> None:
    async with await connect() as subscriber:
        subscriber.socket.write_message(b'{"op":"ping"}', binary=True)
        assert await subscriber.closed() == 1003


class TestOversize:
    @pytest.fixture
    def options(self) -> dict[str, dict[str, Any]]:
        return {"sharq": {"max_payload_bytes": 100}}

    async def test_a_frame_over_the_bound_ends_the_connection(self, connect: Any) -> None:
        async with await connect() as subscriber:
            subscriber.socket.write_message("x" * (100 + 65_536 + 1))
            assert await subscriber.closed() == 1009


async def test_a_thousand_subscriptions_are_the_most(connect: Any) -> None:
    async with await connect() as subscriber:
        ids = [subscriber.send(op="subscribe", queue_type=f"t{at}", credit=1) for at in range(1001)]
        answers = [await subscriber.answer(frame_id) for frame_id in ids]
        assert {answer["event"] for answer in answers[:-1]} == {"reply"}
        assert answers[-1]["code"] == "invalid_argument"


HANDSHAKE = (
    b"GET /ws/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x81\x02{}", 1002),
        (b"\xc1\x80" + bytes(4), 1002),
        (b"\x88\x81" + bytes(5), 1002),
        (b"\x81\x81" + bytes(4) + b"\xff", 1007),
        (b"\x82\x80" + bytes(4), 1003),
        (b"\x81\xff\0\0\0\0\xff\0\0\0", 1009),
        (b"\x88\x82" + bytes(4) + b"\x0f\xa0", 4000),
    ],
    ids=["no mask", "reserved bit", "short close", "no UTF-8", "binary", "too big", "closed"],
)
async def test_the_code_of_a_close_frame_tells_why(raw: Raw, sent: bytes, code: int) -> None:
    async with raw.connect() as connection:
        await connection.send(HANDSHAKE)
        await connection.send(sent)
        await connection.until(b'"operations":[')
        await connection.until(b"\x88")
        assert (await connection.until(code.to_bytes(2, "big")))[1:] == code.to_bytes(2, "big")


async def test_a_ping_is_answered_also_between_the_fragments_of_a_frame(raw: Raw) -> None:
    async with raw.connect() as connection:
        await connection.send(HANDSHAKE + b"\x01\x87" + bytes(4) + b'{"op":"')
        await connection.send(b"\x89\x81" + bytes(4) + b"p")
        await connection.until(b"\x8a\x01p")
        await connection.send(b"\x80\x86" + bytes(4) + b'ping"}')
        await connection.until(b'{"event":"pong"')


async def test_a_message_that_is_too_big_does_not_release_what_is_held(
    connect: Any, rest: Rest
) -> None:
    await rest.enqueue()
    async with await connect() as subscriber:
        await subscriber.subscribe(on_disconnect="release")
        await subscriber.jobs(1)
        subscriber.socket.write_message("x" * (1 << 21))
        assert await subscriber.closed() == 1009
    await rest.get("/deepstatus/")
    assert (await rest.get("/status/t/q/j/")).body["state"] == "active"


@pytest.mark.parametrize(
    ("old", "new", "status", "code"),
    [
        (b"Version: 13", b"Version: 8", 426, "upgrade_required"),
        (b"Sec-WebSocket-Version: 13\r\n", b"", 426, "upgrade_required"),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"short", 400, "bad_request"),
        (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"", 400, "bad_request"),
        (b"Upgrade: websocket\r\n", b"", 400, "bad_request"),
        (b"Connection: Upgrade", b"Connection: close", 400, "bad_request"),
        (b"\r\n\r\n", b"\r\nOrigin: http://evil.example\r\n\r\n", 403, "forbidden"),
        (b"\r\n\r\n", b"\r\nSec-Fetch-Site: cross-site\r\n\r\n", 403, "forbidden"),
        (b"GET", b"POST", 405, "method_not_allowed"),
        (b"GET", b"PUT", 405, "method_not_allowed"),
    ],
)
async def test_a_bad_handshake_is_refused(
    raw: Raw, old: bytes, new: bytes, status: int, code: str
) -> None:
    async with raw.connect() as connection:
        await connection.send(HANDSHAKE.replace(old, new, 1))
        answer = await connection.answer()
        assert answer.error == (status, code)
        if status == 426:
            assert answer.headers["Sec-Websocket-Version"] == "13"
        if status == 405:
            assert answer.headers["Allow"] == "GET"


async def test_the_subprotocol_is_selected_and_a_token_is_not_echoed(
    http_port: int, server: SharQServer, http_server: object
) -> None:
    offered = "sharq.bearer.c2VjcmV0, sharq.v1.json"
    headers = {"Sec-WebSocket-Protocol": offered, "Origin": f"http://127.0.0.1:{http_port}"}
    subscriber = await Subscriber.connect(http_port, **headers)
    async with subscriber:
        assert subscriber.socket.selected_subprotocol == "sharq.v1.json"


# ---- the long poll ----


async def test_a_long_poll_is_answered_the_moment_a_job_is_ready(connect: Any, rest: Rest) -> None:
    async with await connect():
        waiting = asyncio.ensure_future(rest.get("/dequeue/t/?wait=5"))
        await rest.get("/deepstatus/")
        await rest.enqueue(payload=[1])
        assert (await waiting).body["payload"] == [1]
        waiting = asyncio.ensure_future(rest.get("/dequeue/t/?wait=5&count=3"))
        await rest.enqueue(job_id="k")
        assert [each["job_id"] for each in (await waiting).body["jobs"]] == ["k"]


async def test_a_long_poll_ends_with_its_time(rest: Rest, server: SharQServer) -> None:
    began = asyncio.get_running_loop().time()
    assert (await rest.get("/dequeue/t/?wait=0.2")).error == (404, "nothing_ready")
    assert 0.19 < asyncio.get_running_loop().time() - began < 1
    assert server.push.dispatcher._by_type == {}


async def test_a_client_that_goes_away_from_a_long_poll_leases_nothing(
    raw: Raw, rest: Rest, server: SharQServer
) -> None:
    async with raw.connect() as connection:
        await connection.send(b"GET /dequeue/t/?wait=20 HTTP/1.1\r\nHost: x\r\n\r\n")
        while not server.push.dispatcher._by_type:
            await asyncio.sleep(0.005)
    while server.push.dispatcher._by_type:
        await asyncio.sleep(0.005)
    await rest.enqueue()
    assert (await rest.get("/status/t/q/j/")).body["state"] == "queued"


async def test_a_long_poll_can_be_repeated(connect: Any, rest: Rest) -> None:
    async with await connect():
        path = "/dequeue/t/?wait=4&request_id=r"
        waiting = asyncio.ensure_future(rest.get(path))
        await rest.get("/deepstatus/")
        await rest.enqueue()
        first = await waiting
        assert (await rest.get(path)).body == first.body
        await rest.post("/finish/t/q/j/", {"lease": first.body["lease"]})
        assert (await rest.get(path)).error == (404, "nothing_ready")


@pytest.mark.parametrize("answered", [False, True])
async def test_jobs_of_a_request_id_go_to_nobody_else_when_its_client_has_gone(
    rest: Rest, server: SharQServer, answered: bool
) -> None:
    await rest.enqueue()
    batch = await server.sq.take("t", 1, "r") if answered else None
    dispatcher = server.push.dispatcher
    gone, other = LongPoll(dispatcher, "t", 1, "r"), LongPoll(dispatcher, "t", 1, None)
    waiting = asyncio.ensure_future(gone.wait(5))
    await asyncio.sleep(0)
    if batch is None:
        # The store has been asked, and has not answered yet.
        gone.stop()
        await waiting
    else:
        gone.deliver(1, Delivery(batch, 0, 1, float("inf")))
        waiting.cancel()
        await asyncio.wait({waiting})
    assert await other.wait(0.2) is None
    assert len(await server.sq.take("t", 1, "r")) == 1


async def test_a_draining_server_answers_long_polls(
    connect: Any, rest: Rest, server: SharQServer
) -> None:
    async with await connect() as subscriber:
        waiting = asyncio.ensure_future(rest.get("/dequeue/t/?wait=10"))
        while not server.push.dispatcher._by_type:
            await asyncio.sleep(0.005)
        await server.push.drain(0.1)
        answer = await waiting
        assert answer.error == (503, "stopping")
        assert answer.headers["Retry-After"] == "1"
        assert (await rest.get("/dequeue/t/?wait=1")).error == (503, "stopping")
        assert await subscriber.closed() == 1012
