"""Tokens over the push channel: the handshake, each operation, and their end."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError

from sharq import LeasedJob, Worker
from sharq_server import SharQServer
from tests.server.conftest import ExpectLog
from tests.server.subscriber import Subscriber
from tests.server.support import Rest, write_tokens

pytestmark = pytest.mark.gen_test(timeout=20)

TOKENS = {
    "root": (["*"], ["*"]),
    "worker": (["dequeue", "finish", "release", "extend"], ["sms"]),
    "producer": (["enqueue"], ["sms"]),
    "canceller": (["cancel"], ["sms"]),
}

OPERATIONS = dict.fromkeys(("subscribe", "credit", "unsubscribe"), "dequeue")
"""The operations of frames that are not named after them."""


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    write_tokens(path, TOKENS)
    return path


@pytest.fixture
def options(token_file: Path) -> dict[str, dict[str, Any]]:
    return {"sharq-server": {"token_file": str(token_file), "heartbeat": 100}}


def subprotocols(secret: str) -> str:
    encoded = base64.urlsafe_b64encode(secret.encode()).decode().rstrip("=")
    return f"sharq.bearer.{encoded}, sharq.v1.json"


@pytest.fixture
def connect(http_port: int, server: SharQServer, http_server: object) -> Any:
    async def connect(secret: str) -> Subscriber:
        return await Subscriber.connect(http_port, Authorization=f"Bearer {secret}")

    return connect


async def test_without_a_token_nothing_is_upgraded(
    http_port: int, server: SharQServer, http_server: object
) -> None:
    refused: list[dict[str, str]] = [
        {},
        {"Authorization": "Bearer other"},
        {"Authorization": "Basic cm9vdA=="},
        {"Sec-WebSocket-Protocol": "sharq.v1.json"},
        {"Sec-WebSocket-Protocol": subprotocols("other")},
        {"Sec-WebSocket-Protocol": "sharq.bearer.*"},
        {"Sec-WebSocket-Protocol": "sharq.bearer."},
        {"Sec-WebSocket-Protocol": "bearer.cm9vdA"},
    ]
    for headers in refused:
        with pytest.raises(HTTPClientError) as caught:
            await Subscriber.connect(http_port, **headers)
        assert caught.value.code == 401, headers
        assert caught.value.response is not None
        assert caught.value.response.headers["WWW-Authenticate"] == "Bearer"
    assert not server.push.sessions


async def test_a_token_opens_the_channel(
    http_port: int, server: SharQServer, http_server: object
) -> None:
    for headers in (
        {"Authorization": "Bearer worker"},
        {"Sec-WebSocket-Protocol": subprotocols("worker")},
        # What a browser sends by itself to a gateway in front does not stand in the way.
        {"Sec-WebSocket-Protocol": subprotocols("worker"), "Authorization": "Basic cm9vdA=="},
    ):
        async with await Subscriber.connect(http_port, **headers) as subscriber:
            assert (await subscriber.ask(op="dequeue", queue_type="sms"))["jobs"] == []
            assert subscriber.socket.selected_subprotocol in (None, "sharq.v1.json")


def job(queue_type: str, job_id: str = "j") -> dict[str, Any]:
    return {
        "queue_type": queue_type,
        "queue_id": "q",
        "job_id": job_id,
        "interval": 0,
        "payload": 1,
    }


NAMED = {"queue_type": "sms", "queue_id": "q", "job_id": "none"}


async def test_jobs_of_other_types_are_not_cancelled(connect: Any) -> None:
    async with await connect("canceller") as canceller:
        answer = await canceller.ask(op="cancel", jobs=[NAMED, {**NAMED, "queue_type": "email"}])
        assert answer["results"] == ["not_found", "forbidden"]


async def test_each_frame_is_judged(connect: Any) -> None:
    frames: list[tuple[dict[str, Any], set[str]]] = [
        ({"op": "subscribe", "queue_type": "sms", "credit": 0}, {"root", "worker"}),
        ({"op": "subscribe", "queue_type": "email", "credit": 0}, {"root"}),
        ({"op": "credit", "credit": 5}, {"root", "worker"}),
        ({"op": "unsubscribe", "queue_type": "sms"}, {"root", "worker"}),
        ({"op": "dequeue", "queue_type": "sms"}, {"root", "worker"}),
        ({"op": "dequeue", "queue_type": "email"}, {"root"}),
        ({"op": "finish", "leases": ["sms/q/j/1"]}, {"root", "worker"}),
        ({"op": "release", "leases": ["sms/q/j/1"]}, {"root", "worker"}),
        ({"op": "extend", "leases": ["sms/q/j/1"], "by": 1}, {"root", "worker"}),
        ({"op": "cancel", "jobs": [NAMED]}, {"root", "canceller"}),
        ({"op": "enqueue", "jobs": [job("sms")]}, {"root", "producer"}),
    ]
    for secret in TOKENS:
        async with await connect(secret) as subscriber:
            for frame, allowed in frames:
                answer = await subscriber.ask(**frame)
                code = "reply" if secret in allowed else "forbidden"
                assert answer.get("code", answer["event"]) == code, (secret, frame, answer)
                if code == "forbidden":
                    operation = OPERATIONS.get(frame["op"], frame["op"])
                    lacks = operation not in TOKENS[secret][0]
                    more = f": it lacks the operation `{operation}`" if lacks else ""
                    assert answer["message"] == f"The token does not allow this{more}."
            subscriber.send(op="ping")
            await subscriber.event("pong")


async def test_each_job_and_each_lease_is_judged_by_its_type(connect: Any, rest: Rest) -> None:
    async with await connect("root") as root, await connect("producer") as producer:
        answer = await producer.ask(
            op="enqueue", jobs=[job("sms"), job("email"), job("sms") | {"interval": -1}]
        )
        codes = [result.get("code", result["status"]) for result in answer["results"]]
        assert codes == ["queued", "forbidden", "invalid_argument"]
        await root.ask(op="enqueue", jobs=[job("email"), job("email", "k")])
        await root.subscribe("email")
        await root.subscribe("sms")
        sms, email, other = sorted(await root.jobs(3), key=lambda each: each["lease"][0] != "s")
        async with await connect("worker") as worker:
            leases = [email["lease"], sms["lease"], "email", ""]
            answer = await worker.ask(op="extend", leases=leases, by=5)
            assert [each["status"] for each in answer["results"]] == [
                "forbidden",
                "success",
                "forbidden",
                "forbidden",
            ]
            carried = await worker.ask(
                op="subscribe", queue_type="sms", credit=5, leases=leases[:2]
            )
            assert [each["status"] for each in carried["results"]] == ["forbidden", "success"]
            answer = await worker.ask(op="finish", leases=leases[:2])
            assert answer["results"] == ["forbidden", "success"]
            answer = await worker.ask(op="release", leases=[email["lease"]])
            assert answer["results"] == ["forbidden"]
        assert await root.finish(email, other) == ["success", "success"]


async def test_a_token_that_is_taken_back_ends_its_connections(
    connect: Any, server: SharQServer, token_file: Path
) -> None:
    async with await connect("worker") as worker, await connect("root") as root:
        write_tokens(token_file, {**TOKENS, "worker": (["dequeue"], ["sms"])})
        server.reload()
        assert await worker.closed() == 1008
        async with await connect("worker") as again:
            assert (await again.ask(op="finish", leases=["sms/q/j/1"]))["code"] == "forbidden"
            write_tokens(token_file, {"root": TOKENS["root"]})
            server.reload()
            assert await again.closed() == 1008
        assert (await root.ask(op="dequeue", queue_type="sms"))["jobs"] == []


async def test_a_worker_goes_on_with_a_new_token(
    http_port: int, connect: Any, server: SharQServer, token_file: Path, expect_log: ExpectLog
) -> None:
    expect_log("disconnected")
    expect_log("no connection", certain=False)
    done: list[str] = []
    secret = "worker"
    worker = Worker(f"ws://127.0.0.1:{http_port}/ws/", "sms", token=lambda: secret)

    @worker.handler
    async def handle(job: LeasedJob) -> None:
        done.append(job.job_id)

    serving = asyncio.ensure_future(worker.serve())
    async with await connect("root") as root:
        await root.ask(op="enqueue", jobs=[job("sms", "one")])
        while done != ["one"]:
            await asyncio.sleep(0.005)
        secret = "second"
        write_tokens(token_file, {"root": TOKENS["root"], "second": TOKENS["worker"]})
        server.reload()
        while all(session.grant.name != "second" for session in server.push.sessions):
            await asyncio.sleep(0.005)
        await root.ask(op="enqueue", jobs=[job("sms", "two")])
        while done != ["one", "two"]:
            await asyncio.sleep(0.005)
    worker.stop()
    await serving


async def test_a_worker_whose_token_may_not_finish_takes_no_jobs_until_it_may(
    http_port: int, connect: Any, server: SharQServer, token_file: Path, expect_log: ExpectLog
) -> None:
    expect_log("the token is not for finish; no jobs are taken")
    expect_log("disconnected")
    write_tokens(token_file, TOKENS | {"half": (["dequeue", "release", "extend"], ["sms"])})
    server.reload()
    done: list[str] = []
    worker = Worker(f"ws://127.0.0.1:{http_port}/ws/", "sms", token="half")

    @worker.handler
    async def handle(job: LeasedJob) -> None:
        done.append(job.job_id)

    serving = asyncio.ensure_future(worker.serve())
    async with await connect("root") as root:
        while all(session.grant.name != "half" for session in server.push.sessions):
            await asyncio.sleep(0.005)
        await root.ask(op="enqueue", jobs=[job("sms", "one")])
        status = await server.sq.job_status("sms", "q", "one")
        assert (status.state, done) == ("queued", [])
        write_tokens(token_file, TOKENS | {"half": TOKENS["worker"]})
        server.reload()
        while worker.counts["done"] < 1:
            await asyncio.sleep(0.005)
    worker.stop()
    await serving
    assert done == ["one"]


@pytest.mark.timing
async def test_a_worker_goes_on_with_the_types_that_its_token_is_for(
    http_port: int, connect: Any, server: SharQServer, expect_log: ExpectLog
) -> None:
    expect_log("refused op=subscribe code=forbidden .* type=mail")
    worker = Worker(f"ws://127.0.0.1:{http_port}/ws/", ["mail", "sms"], token="worker")

    @worker.handler
    async def handle(job: LeasedJob) -> None:
        pass

    serving = asyncio.ensure_future(worker.serve())
    async with await connect("root") as root:
        await root.ask(op="enqueue", jobs=[job("sms", "one")])
        while worker.counts["done"] < 1:
            await asyncio.sleep(0.005)
    worker.stop()
    await serving
