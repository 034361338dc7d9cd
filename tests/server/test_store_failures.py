"""What a client is told when the store fails, and that the service comes back with the store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from sharq.errors import EmbeddedStoreError
from sharq.settings.reading import Settings
from sharq_server import SharQServer
from tests.server.conftest import ExpectLog
from tests.server.support import Answer, Rest
from tests.support.stores import PrivateStore

pytestmark = pytest.mark.gen_test(timeout=15)

UNAVAILABLE = (503, "store_unavailable")


@pytest.fixture
def store_options() -> dict[str, Any]:
    return {}


@pytest.fixture
def store(store_options: dict[str, Any]) -> Iterator[PrivateStore]:
    """A store of the test's own, to do harm to."""
    with PrivateStore(**store_options) as store:
        yield store


async def until(rest: Rest, status: int, path: str = "/deepstatus/") -> Answer:
    """Ask until the status is as wanted; the time-out of the test is the deadline."""
    while (answer := await rest.get(path)).status != status:
        await asyncio.sleep(0.02)
    return answer


async def end(store: PrivateStore) -> None:
    await asyncio.to_thread(store.kill)


async def start(store: PrivateStore) -> None:
    await asyncio.to_thread(store.start)


REQUESTS: list[tuple[str, str, Any]] = [
    ("POST", "/enqueue/t/q/", {"job_id": "j", "interval": 0, "payload": 1}),
    (
        "POST",
        "/enqueue/",
        {
            "jobs": [
                {"queue_type": t, "queue_id": "q", "job_id": "j", "interval": 0, "payload": 1}
                for t in "tu"
            ]
        },
    ),
    ("GET", "/dequeue/t/", None),
    ("POST", "/finish/t/q/j/", b""),
    ("POST", "/release/t/q/j/", b""),
    ("POST", "/extend/t/q/j/", {"by": 5}),
    ("GET", "/status/t/q/j/", None),
    ("POST", "/interval/t/q/", {"interval": 5}),
    ("DELETE", "/interval/t/q/", None),
    ("POST", "/limits/t/q/", {"burst": 5}),
    ("POST", "/limits/t/?group=g&dry_run=true", {"burst": 5}),
    ("GET", "/limits/t/", None),
    ("DELETE", "/limits/t/q/", None),
    ("POST", "/pause/t/", b""),
    ("POST", "/resume/t/", b""),
    ("GET", "/metrics/", None),
    ("GET", "/metrics/t/", None),
    ("GET", "/metrics/t/q/", None),
    ("DELETE", "/deletequeue/t/q/", None),
    ("GET", "/deepstatus/", None),
]


async def test_every_route_says_that_the_store_is_away(
    rest: Rest, store: PrivateStore, expect_log: ExpectLog
) -> None:
    expect_log("Lost the store")
    await until(rest, 200)
    await end(store)
    await until(rest, 503)
    for method, path, body in REQUESTS:
        answer = await rest.call(method, path, body)
        assert answer.error == UNAVAILABLE, path
        assert answer.headers["Retry-After"] == "1"
        assert "outcome" not in answer.body


async def test_what_needs_no_store_works_without_it(
    rest: Rest, store: PrivateStore, expect_log: ExpectLog
) -> None:
    expect_log("Lost the store")
    await until(rest, 200)
    await end(store)
    await until(rest, 503)
    assert (await rest.get("/")).status == 200
    assert (await rest.enqueue(interval=-1)).error == (400, "invalid_argument")
    jobs = {"jobs": [{"queue_type": "t", "queue_id": "q"}]}
    assert (await rest.post("/enqueue/", jobs)).status == 200


async def test_a_bulk_with_invalid_jobs_answers_for_each_while_the_store_is_away(
    rest: Rest, store: PrivateStore, expect_log: ExpectLog
) -> None:
    expect_log("Lost the store")
    await until(rest, 200)
    await end(store)
    await until(rest, 503)
    good = {"queue_type": "t", "queue_id": "q", "job_id": "j", "interval": 0, "payload": 1}
    answer = await rest.post("/enqueue/", {"jobs": [{}, good]})
    assert answer.status == 200
    assert [result["code"] for result in answer.body["results"]] == [
        "invalid_argument",
        "store_unavailable",
    ]


async def test_the_service_comes_back_with_the_store(
    rest: Rest, store: PrivateStore, expect_log: ExpectLog
) -> None:
    expect_log("Lost the store")
    await until(rest, 200)
    await end(store)
    await until(rest, 503)
    await start(store)
    async with asyncio.timeout(5):
        await until(rest, 200)
    assert (await rest.enqueue()).status == 201
    assert (await rest.get("/dequeue/t/")).status == 200


class TestAtTheStart:
    @pytest.fixture
    def store(self) -> Iterator[PrivateStore]:
        """A store that is not there yet."""
        with PrivateStore() as store:
            store.stop()
            yield store

    async def test_a_server_waits_for_its_store(
        self, rest: Rest, store: PrivateStore, expect_log: ExpectLog
    ) -> None:
        expect_log("No connection to the store")
        answer = await rest.get("/deepstatus/")
        assert answer.error == UNAVAILABLE
        assert answer.headers["Retry-After"] == "1"
        await start(store)
        await until(rest, 200)


class TestFullStore:
    @pytest.fixture
    def store_options(self) -> dict[str, Any]:
        return {"maxmemory": "4mb", "maxmemory_policy": "noeviction"}

    async def test_a_full_store_takes_no_jobs_and_gives_those_that_it_has(
        self, rest: Rest, store: PrivateStore
    ) -> None:
        assert (await rest.enqueue("t/q", "first")).status == 201
        answers = []
        for n in range(20):
            answers.append(await rest.enqueue("t/q", f"j{n}", "x" * 500_000))
            if answers[-1].status != 201:
                break
        full = answers[-1]
        assert full.error == (503, "store_full")
        assert full.headers["Retry-After"] == "5"
        assert (await rest.get("/dequeue/t/")).body["job_id"] == "first"
        assert (await rest.post("/finish/t/q/first/")).status == 200
        assert (await rest.post("/interval/t/q/", {"interval": 1})).status in (200, 503)
        for _ in answers[:-1]:
            taken = await rest.get("/dequeue/t/")
            assert taken.status == 200
            path = f"/finish/t/q/{taken.body['job_id']}/"
            assert (await rest.post(path, {"lease": taken.body["lease"]})).status == 200
        assert (await rest.enqueue("t/q", "again")).status == 201


class TestCredentials:
    @pytest.fixture
    def store_options(self) -> dict[str, Any]:
        return {"requirepass": "right"}

    @pytest.fixture
    def options(self) -> dict[str, dict[str, Any]]:
        return {"redis": {"password": "wrong"}}

    async def test_refused_credentials_are_told_and_logged(
        self, rest: Rest, expect_log: ExpectLog
    ) -> None:
        expect_log("No connection to the store .*password")
        for _ in range(3):
            answer = await rest.get("/dequeue/t/")
            assert answer.error == (503, "store_auth")
            assert (
                answer.body["message"]
                == "The store refused the server's user, or a right that it needs (WRONGPASS)."
            )
            assert answer.headers["Retry-After"] == "5"


# ---- bugs ----


async def test_a_key_of_another_kind_is_an_internal_error(
    rest: Rest, store: PrivateStore, key_prefix: str, expect_log: ExpectLog
) -> None:
    client: redis.Redis = store.client
    client.set(f"{{{key_prefix}:t}}:ready", "no sorted set")
    answer = await rest.get("/dequeue/t/")
    assert answer.error == (500, "internal")
    assert answer.body.keys() == {"status", "message", "code", "request_id", "outcome"}
    assert answer.body["outcome"] == "unknown", "the script may have come to it after a write"
    assert "WRONGTYPE" not in answer.text.decode()
    expect_log(f"GET /dequeue/t/ failed, request id {answer.body['request_id']}")


async def test_a_bug_of_one_job_in_a_bulk_is_its_own(
    rest: Rest, store: PrivateStore, key_prefix: str, expect_log: ExpectLog
) -> None:
    client: redis.Redis = store.client
    client.set(f"{{{key_prefix}:t}}:held", "no hash")
    job = {"queue_id": "q", "job_id": "j", "interval": 0, "payload": 1}
    jobs = [{**job, "queue_type": "u"}, {**job, "queue_type": "t"}]
    answer = await rest.post("/enqueue/", {"jobs": jobs})
    good, bad = answer.body["results"]
    assert good == {"status": "queued"}
    assert bad["code"] == "internal"
    assert "WRONGTYPE" not in answer.text.decode()
    expect_log(f"POST /enqueue/ failed, request id {bad['request_id']}")


async def test_a_bug_in_the_server_shows_in_the_log_alone(
    rest: Rest,
    server: SharQServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    expect_log: ExpectLog,
) -> None:
    async def run(_flow: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(server.engine, "run", run)
    answer = await rest.get("/dequeue/t/")
    assert answer.error == (500, "internal")
    assert b"secret" not in answer.text
    assert b"Traceback" not in answer.text
    expect_log(f"failed, request id {answer.body['request_id']}")
    assert "ZeroDivisionError: secret" in caplog.text
    assert (await rest.get("/")).status == 200


async def test_an_embedded_store_that_does_not_start_is_a_store_that_is_away(
    rest: Rest, server: SharQServer, monkeypatch: pytest.MonkeyPatch, expect_log: ExpectLog
) -> None:
    async def run(_flow: object) -> None:
        raise EmbeddedStoreError("The data folder /secret cannot be used.")

    monkeypatch.setattr(server.engine, "run", run)
    answer = await rest.get("/dequeue/t/")
    assert answer.error == UNAVAILABLE
    assert b"secret" not in answer.text
    expect_log("The embedded store does not start: The data folder /secret")


async def test_a_server_that_was_not_started_says_that_the_store_is_away(
    settings: Settings, rest: Rest, server: SharQServer
) -> None:
    await server.stop()
    assert (await rest.get("/dequeue/t/")).error == UNAVAILABLE
