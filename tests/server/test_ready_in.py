"""A poller is told when: `ready_in` and Retry-After, by every way that a dequeue has."""

from __future__ import annotations

import asyncio

import pytest

from sharq_server import SharQServer
from tests.server.subscriber import Subscriber
from tests.server.support import Answer, Raw, Rest
from tests.support import http
from tests.support.stores import PrivateStore

pytestmark = pytest.mark.gen_test

INTERVAL = 2_500
SOON = (INTERVAL - 1_500, INTERVAL)
"""Between these `ready_in` lies, however slow the machine is."""


async def limit(rest: Rest, path: str = "t/q", interval: int = INTERVAL) -> None:
    """Leave a job waiting whose queue has just given one."""
    for job_id in ("a", "b"):
        await rest.enqueue(path, job_id, interval=interval)
    assert (await rest.get(f"/dequeue/{path.partition('/')[0]}/")).status == 200


async def ask(raw: Raw, path: str, method: str = "GET") -> http.Answer:
    """Ask on a connection that stays, as the routes without a coroutine are asked."""
    async with raw.connect() as connection:
        length = "Content-Length: 0\r\n" if method == "POST" else ""
        await connection.send(f"{method} {path} HTTP/1.1\r\nHost: a\r\n{length}\r\n".encode())
        return await connection.answer()


def check(answer: Answer | http.Answer, least: int, most: int) -> None:
    assert (answer.status, answer.body["code"]) == (404, "nothing_ready")
    assert least <= answer.body["ready_in"] <= most
    seconds = max(1, -(-answer.body["ready_in"] // 1000))
    assert answer.headers["Retry-After"] == str(seconds)


WAYS = [
    *("/dequeue/t/", "/dequeue/t", "/dequeue/t/?count=5", "/dequeue/t/?_=1", "/dequeue/t/?wait=0"),
    *("/dequeue/t/?request_id=r", "/dequeue/t/?count=2&request_id=r", "/dequeue/t/?wait=0.05"),
    *("/dequeue/t/?wait=0.05&count=3", "/dequeue/t/?wait=0.05&request_id=r"),
]


@pytest.mark.parametrize("path", WAYS)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_14_a_dequeue_that_gets_nothing_tells_when(
    rest: Rest, raw: Raw, method: str, path: str
) -> None:
    for nothing in (await rest.call(method, path, b""), await ask(raw, path, method)):
        assert nothing.status == 404
        assert nothing.body == {
            "status": "failure",
            "message": "No job is ready.",
            "code": "nothing_ready",
            "ready_in": None,
        }
        assert nothing.headers["Retry-After"] == "1"
    await limit(rest)
    check(await rest.call(method, path, b""), *SOON)
    check(await ask(raw, path, method), *SOON)


async def test_14_other_types_and_leased_jobs_are_not_told_of(rest: Rest) -> None:
    await limit(rest, "u/q")
    await rest.enqueue()
    assert (await rest.get("/dequeue/t/")).status == 200
    assert (await rest.get("/dequeue/t/")).body["ready_in"] is None


async def test_14_a_delayed_job_and_a_new_interval_are_told_of(rest: Rest) -> None:
    await rest.enqueue()
    await rest.get("/dequeue/t/")
    await rest.post("/release/t/q/j/", {"delay": 90_500})
    check(await rest.get("/dequeue/t/"), 80_000, 90_500)
    await limit(rest, "t/r", 3_600_000)
    check(await rest.get("/dequeue/t/"), 80_000, 90_500)
    await rest.post("/interval/t/r/", {"interval": 30_000})
    check(await rest.get("/dequeue/t/"), 20_000, 30_000)


async def test_14_who_asks_when_he_was_told_gets_the_job(rest: Rest) -> None:
    await limit(rest, interval=300)
    answer = await rest.get("/dequeue/t/")
    check(answer, 0, 300)
    await asyncio.sleep(answer.body["ready_in"] / 1000)
    assert (await rest.get("/dequeue/t/")).status == 200


async def test_14_jobs_of_a_request_id_that_have_ended(rest: Rest) -> None:
    await rest.enqueue()
    path = "/dequeue/t/?request_id=r"
    assert (await rest.get(path)).status == 200
    await rest.post("/finish/t/q/j/")
    for each in (path, f"{path}&wait=20"):
        answer = await rest.get(each)
        check(answer, 0, 0)


async def test_14_a_long_poll_tells_of_the_schedule_at_its_end(rest: Rest) -> None:
    await limit(rest)
    waiting = asyncio.ensure_future(rest.get("/dequeue/t/?wait=0.6"))
    await rest.get("/deepstatus/")
    await rest.post("/interval/t/q/", {"interval": 3_600_000})
    check(await waiting, 3_500_000, 3_600_000)


async def test_14_a_long_poll_that_finds_a_job_at_its_end_has_it(
    rest: Rest, server: SharQServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where a wake-up is lost on its way.
    monkeypatch.setattr(server.push.dispatcher, "wake", lambda *_: None)
    waiting = asyncio.ensure_future(rest.get("/dequeue/t/?wait=0.5"))
    while not server.push.dispatcher._by_type:
        await asyncio.sleep(0.005)
    while any(line.call for line in server.push.dispatcher._by_type.values()):
        await asyncio.sleep(0.005)
    await rest.enqueue()
    assert (await waiting).body["job_id"] == "j"


@pytest.mark.parametrize("path", ["/dequeue/t/", "/dequeue/t/?count=2"])
async def test_14_what_many_ask_in_one_turn_is_told_to_each(
    rest: Rest, raw: Raw, path: str
) -> None:
    """Calls that are gathered: those who get none are told when, beside those who get some."""
    for queue in "abc":
        for job_id in "ij":
            await rest.enqueue(f"t/{queue}", job_id, interval=INTERVAL)
    answers = await asyncio.gather(*(ask(raw, path) for _ in range(12)))
    jobs = [
        job["queue_id"]
        for answer in answers
        if answer.status == 200
        for job in answer.body.get("jobs", [answer.body])
    ]
    assert sorted(jobs) == ["a", "b", "c"]
    for answer in answers:
        if answer.status != 200:
            check(answer, *SOON)


async def test_14_nothing_more_is_asked_of_the_store_for_it(
    rest: Rest, raw: Raw, store: PrivateStore
) -> None:
    await limit(rest)
    for path in ("/dequeue/t/", "/dequeue/t/?count=3", "/dequeue/none/"):
        before = store.script_calls()
        assert (await ask(raw, path)).status == 404
        assert store.script_calls() - before == 1


async def test_14_a_dequeue_over_the_push_channel_tells_when(
    rest: Rest, http_port: int, http_server: object
) -> None:
    async with await Subscriber.connect(http_port) as subscriber:
        nothing = await subscriber.ask(op="dequeue", queue_type="t")
        assert (nothing["jobs"], nothing["ready_in"]) == ([], None)
        await limit(rest)
        later = await subscriber.ask(op="dequeue", queue_type="t")
        assert later["jobs"] == []
        assert SOON[0] <= later["ready_in"] <= SOON[1]
        await rest.enqueue("t/r", "now")
        taken = await subscriber.ask(op="dequeue", queue_type="t")
        assert "ready_in" not in taken
        await subscriber.ask(op="credit", credit=0)
        assert "ready_in" not in await subscriber.ask(op="dequeue", queue_type="t")


# ---- a full queue ----


async def full(rest: Rest, path: str = "t/q", bound: int = 1, interval: int = INTERVAL) -> Answer:
    answer = await rest.enqueue(path, "more", interval=interval, max_queued_length=bound)
    assert answer.error == (429, "queue_full")
    return answer


def check_room(answer: Answer, least: int, most: int) -> None:
    assert least <= answer.body["room_in"] <= most
    seconds = max(1, -(-answer.body["room_in"] // 1000))
    assert answer.headers["Retry-After"] == str(seconds)


async def test_14_a_full_queue_tells_when_its_rate_makes_room(rest: Rest) -> None:
    await limit(rest)
    check_room(await full(rest), *SOON)
    await rest.enqueue("t/q", "c", interval=INTERVAL)
    check_room(await full(rest), SOON[0] + INTERVAL, SOON[1] + INTERVAL)
    check_room(await full(rest, bound=2), *SOON)
    # The interval of a job that is refused changes nothing.
    check_room(await full(rest, bound=2, interval=0), *SOON)


async def test_14_a_full_queue_whose_next_job_may_go_now_says_so(rest: Rest) -> None:
    await rest.enqueue("t/q", "a", interval=INTERVAL)
    check_room(await full(rest), 0, 0)


@pytest.mark.parametrize("bound", [0, 1])
async def test_14_a_full_queue_without_a_rate_does_not_tell(rest: Rest, bound: int) -> None:
    if bound:
        await rest.enqueue("t/q", "a", interval=0)
    answer = await full(rest, bound=bound)
    assert "Retry-After" not in answer.headers
    assert "room_in" not in answer.body


async def test_14_a_job_of_a_bulk_and_of_a_frame_is_told_as_well(
    rest: Rest, http_port: int, http_server: object
) -> None:
    await limit(rest)
    job = {"queue_type": "t", "interval": INTERVAL, "payload": 1, "max_queued_length": 1}
    jobs = [
        {**job, "queue_id": "q", "job_id": "c"},
        # That queue is full by what is before it in the same call.
        {**job, "queue_id": "r", "job_id": "a"},
        {**job, "queue_id": "r", "job_id": "b"},
    ]
    bulk = (await rest.post("/enqueue/", {"jobs": jobs})).body["results"]
    assert SOON[0] <= bulk[0]["room_in"] <= SOON[1]
    assert bulk[1]["status"] == "queued"
    assert (bulk[2]["code"], bulk[2]["room_in"]) == ("queue_full", 0)
    async with await Subscriber.connect(http_port) as subscriber:
        results = (await subscriber.ask(op="enqueue", jobs=jobs[:1]))["results"]
        assert 0 < results[0]["room_in"] <= SOON[1]
