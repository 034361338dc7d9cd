"""`sharq forward` against a real server and endpoints of every kind."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import re
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from sharq import Worker
from sharq.forwarding.answers import NoAnswer
from sharq.forwarding.endpoint import check_endpoint
from sharq.forwarding.exchange import MOST_READ, Exchanges
from sharq.forwarding.forwarder import Forwarder
from sharq.forwarding.signing import read_secrets
from sharq.forwarding.verdicts import DEAD_ON, Rules, read_statuses
from tests.server.conftest import ExpectLog
from tests.server.support import Rest, state_is, until
from tests.support.endpoint import Answering, Caller, Endpoint, Request, always, endpoint, plain
from tests.support.stores import free_port

pytestmark = pytest.mark.gen_test(timeout=30)

CERTIFICATES = Path(__file__).parent.parent / "support" / "tls"
RULES = Rules(read_statuses(DEAD_ON))

Forwarding = Callable[..., AbstractAsyncContextManager[tuple[Endpoint, Worker]]]


@pytest.fixture
def forwarding(working: Any) -> Forwarding:
    """Forwards jobs of the type t to an endpoint that answers so, while the context lasts."""

    @asynccontextmanager
    async def forwarding(
        answering: Answering, timeout: float = 20, rules: Rules = RULES, **more: Any
    ) -> AsyncIterator[tuple[Endpoint, Worker]]:
        async with endpoint(answering) as target:
            where = check_endpoint(f"http://127.0.0.1:{target.port}/jobs?a=b")
            handler = Forwarder(Exchanges(where, timeout), rules, **more)
            async with working(handler, name="f-1") as worker:
                yield target, worker

    return forwarding


async def failed(rest: Rest) -> dict[str, Any]:
    """The error of the job j in t/q when it has failed and waits."""
    while True:
        status = (await rest.get("/status/t/q/j/")).body
        if status["state"] == "queued" and "error" in status:
            assert (status["attempt"], status["worker"]) == (2, "f-1")
            return dict(status["error"])
        await asyncio.sleep(0.005)


# ---- what is sent ----

PAYLOADS = [
    b'{"to": "+1",  "n": 1E+300, "o": 0.1e-400, "m": 12345678901234567890.0, "k": -0.0, "b": 1.10}',
    b'{"a":"\\u00e9\\/ \xc3\xa9 \\ud83d\\ude00","a":2}',
    b"null",
    b'""',
    b"[" + b"9" * 300 + b"]",
]


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
async def test_the_payload_arrives_byte_for_byte(
    forwarding: Forwarding, rest: Rest, payload: bytes
) -> None:
    body = b'{"job_id":"j","interval":0,"payload": %s }' % payload
    async with forwarding(always(plain("200 OK"))) as (target, _worker):
        assert (await rest.post("/enqueue/t/q/", body)).status == 201
        await state_is(rest, "finished")
        (request,) = target.requests
    assert request.body == payload


async def test_the_request_tells_of_the_job(forwarding: Forwarding, rest: Rest) -> None:
    own = [("Authorization", "Bearer x")]
    async with forwarding(always(plain("204 No Content")), own=own) as (target, worker):
        await rest.enqueue("t/q-1_A", requeue_limit=3)
        await until(lambda: worker.counts["done"] == 1)
        (request,) = target.requests
    assert request.line == "POST /jobs?a=b HTTP/1.1"
    assert re.fullmatch("t/q-1_A/j/[0-9]+", request.headers.pop("sharq-lease"))
    assert request.headers == {
        "host": f"127.0.0.1:{target.port}",
        "content-type": "application/json",
        "content-length": "1",
        "connection": "close",
        "user-agent": request.headers["user-agent"],
        "sharq-type": "t",
        "sharq-queue": "q-1_A",
        "sharq-job": "j",
        "sharq-attempt": "1",
        "sharq-requeues-remaining": "3",
        "authorization": "Bearer x",
    }
    assert request.headers["user-agent"].startswith("SharQ/")


async def test_a_request_is_signed_by_each_secret(forwarding: Forwarding, rest: Rest) -> None:
    secrets = [base64.b64encode(bytes([at]) * 32).decode() for at in (1, 2)]
    keys = read_secrets(" ".join(f"whsec_{secret}" for secret in secrets), "x")
    async with forwarding(always(plain("200 OK")), keys=keys) as (target, worker):
        before = int(time.time())
        await rest.enqueue(payload={"to": "é"})
        await until(lambda: worker.counts["done"] == 1)
        (request,) = target.requests
    headers = request.headers
    assert headers["webhook-id"] == headers["sharq-lease"]
    assert before <= int(headers["webhook-timestamp"]) <= time.time()
    prefix = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode()
    assert headers["webhook-signature"].split(" ") == [
        "v1,"
        + base64.b64encode(
            hmac.new(base64.b64decode(secret), prefix + request.body, hashlib.sha256).digest()
        ).decode()
        for secret in secrets
    ]


# ---- what answers do ----


@pytest.mark.parametrize("status", ["200 OK", "204 No Content", "202 "])
async def test_success_finishes_the_job(forwarding: Forwarding, rest: Rest, status: str) -> None:
    async with forwarding(always(plain(status))) as (target, worker):
        await rest.enqueue()
        await state_is(rest, "finished")
        await until(lambda: worker.counts["done"] == 1)
    assert len(target.requests) == 1


@pytest.mark.parametrize("status", [404, 422])
async def test_a_refusal_makes_a_dead_letter(
    forwarding: Forwarding, rest: Rest, expect_log: ExpectLog, status: int
) -> None:
    expect_log(f"discarded type=t queue=q job=j reason='{status} No: not here' dead=True")
    async with forwarding(always(plain(f"{status} No", b"not\nhere"))):
        await rest.enqueue(payload={"n": 1})
        await state_is(rest, "dead")
        letter = (await rest.get("/dead/t/q/j/")).body
    assert (letter["reason"], letter["attempts"], letter["worker"]) == ("rejected", 1, "f-1")
    assert letter["error"] == {"type": f"http_{status}", "message": f"{status} No: not here"}


@pytest.mark.parametrize("status", [302, 408, 418, 425, 429, 500, 503])
async def test_other_statuses_fail(
    forwarding: Forwarding, rest: Rest, expect_log: ExpectLog, status: int
) -> None:
    expect_log(f"failed type=t queue=q job=j attempt=1 error=.http_{status}: {status} No")
    async with forwarding(always(plain(f"{status} No", b"why"))) as (target, _worker):
        await rest.enqueue()
        error = await failed(rest)
    assert error["type"] == f"http_{status}"
    assert error["message"].endswith(": why")
    assert error.keys() == {"type", "message"}
    assert len(target.requests) == 1


async def test_a_redirect_is_not_followed(
    forwarding: Forwarding, rest: Rest, expect_log: ExpectLog
) -> None:
    expect_log("failed .*redirects are not followed: /other")
    async with forwarding(always(plain("302 Found", Location="/other"))) as (target, _worker):
        await rest.enqueue()
        await failed(rest)
    assert [request.line for request in target.requests] == ["POST /jobs?a=b HTTP/1.1"]


async def test_a_job_that_fails_comes_again(
    forwarding: Forwarding, rest: Rest, expect_log: ExpectLog
) -> None:
    expect_log("failed .*http_500")

    async def answer(request: Request, caller: Caller) -> None:
        first = request.headers["sharq-attempt"] == "1"
        await caller.send(plain("500 No" if first else "200 OK"))

    async with forwarding(answer) as (target, worker):
        await rest.enqueue(requeue_limit=3)
        await until(lambda: worker.counts["done"] == 1)
    told = [
        (each.headers["sharq-attempt"], each.headers["sharq-requeues-remaining"])
        for each in target.requests
    ]
    assert told == [("1", "3"), ("2", "2")]
    assert len({each.headers["sharq-lease"] for each in target.requests}) == 2


@pytest.mark.parametrize("status", ["429 Slow Down", "503 Closed"])
@pytest.mark.parametrize("as_date", [False, True])
async def test_a_wish_to_wait_pauses_the_queue(
    forwarding: Forwarding, rest: Rest, status: str, as_date: bool
) -> None:
    asked: list[float] = []

    async def answer(_request: Request, caller: Caller) -> None:
        asked.append(time.monotonic())
        now = int(time.time())
        date, end = formatdate(now, usegmt=True), formatdate(now + 2, usegmt=True)
        wish = {"Retry_After": end, "Date": date} if as_date else {"Retry_After": "2"}
        await caller.send(plain(status, **wish) if len(asked) == 1 else plain("200 OK"))

    async with forwarding(answer) as (target, worker):
        await rest.enqueue()
        pause = None
        while pause is None:
            pause = (await rest.get("/limits/t/q/")).body["pause"]
        assert pause["set_by"] == "worker"
        await rest.enqueue("t/other")
        await until(lambda: worker.counts["done"] == 2)
    told = [
        (each.headers["sharq-queue"], each.headers["sharq-attempt"]) for each in target.requests
    ]
    assert told == [("q", "1"), ("other", "1"), ("q", "1")]
    assert asked[2] - asked[0] >= 1.9
    assert worker.counts["retried"] == 0


@pytest.mark.parametrize("more", [b"", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 2\r\n"])
async def test_a_status_without_a_body_is_a_whole_answer(
    forwarding: Forwarding, rest: Rest, more: bytes
) -> None:
    async def answer(_request: Request, caller: Caller) -> None:
        await caller.send(b"HTTP/1.1 204 No Content\r\n%s\r\n" % more)
        await caller.has_left()

    async with forwarding(answer):
        await rest.enqueue()
        await state_is(rest, "finished")


async def test_an_interim_answer_is_not_the_answer(forwarding: Forwarding, rest: Rest) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with forwarding(always(hints + plain("200 OK"))):
        await rest.enqueue()
        await state_is(rest, "finished")


# ---- endpoints that fail ----


async def hangs(_request: Request, caller: Caller) -> None:
    await caller.has_left()


async def stops_in_its_body(_request: Request, caller: Caller) -> None:
    await caller.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
    await caller.has_left()


async def dies(_request: Request, _caller: Caller) -> None:
    return


async def dies_in_its_body(_request: Request, caller: Caller) -> None:
    await caller.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")


async def dies_in_a_chunk(_request: Request, caller: Caller) -> None:
    await caller.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n12345")


async def speaks_something_else(_request: Request, caller: Caller) -> None:
    await caller.send(b"220 mail.example ESMTP\r\n\r\n")


async def has_two_lengths(_request: Request, caller: Caller) -> None:
    await caller.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12")


FAILING: dict[str, tuple[Answering, str, str]] = {
    "hangs": (hangs, "timeout", "no answer within 0.3 s"),
    "slow body": (stops_in_its_body, "timeout", "status 200, but no end of its body within 0.3 s"),
    "dies": (dies, "connection_lost", "the connection was closed before an answer"),
    "dies in its body": (
        *(dies_in_its_body, "connection_lost"),
        "status 200, but the connection was closed before the end of its body",
    ),
    "dies in a chunk": (
        *(dies_in_a_chunk, "connection_lost"),
        "status 200, but the connection was closed before the end of its body",
    ),
    "no HTTP": (
        *(speaks_something_else, "invalid_answer"),
        "what came is no valid answer of HTTP/1.1",
    ),
    "two lengths": (
        *(has_two_lengths, "invalid_answer"),
        "what came is no valid answer of HTTP/1.1",
    ),
}


@pytest.mark.parametrize("kind", FAILING)
async def test_without_a_whole_answer_the_job_fails(
    forwarding: Forwarding, rest: Rest, expect_log: ExpectLog, kind: str
) -> None:
    answering, error_type, message = FAILING[kind]
    expect_log(f"failed type=t queue=q job=j attempt=1 error='{error_type}: {message}'")
    timeout = 0.3 if error_type == "timeout" else 20
    async with forwarding(answering, timeout) as (target, worker):
        await rest.enqueue()
        assert await failed(rest) == {"type": error_type, "message": message}
        # The connection is given up, too.
        await until(lambda: target.left == 1)
        assert worker.counts["done"] == 0


async def test_nobody_listens(working: Any, rest: Rest, expect_log: ExpectLog) -> None:
    expect_log("failed type=t queue=q job=j attempt=1 error='unreachable: no connection to ")
    port = free_port()
    where = check_endpoint(f"http://127.0.0.1:{port}/")
    async with working(Forwarder(Exchanges(where, 20), RULES), name="f-1"):
        await rest.enqueue()
        error = await failed(rest)
    assert error == {
        "type": "unreachable",
        "message": f"no connection to 127.0.0.1:{port}: Connection refused",
    }


async def test_a_host_without_an_address(working: Any, rest: Rest, expect_log: ExpectLog) -> None:
    expect_log("failed .* error='unreachable: no connection to nowhere.invalid:80: ")
    where = check_endpoint("http://nowhere.invalid/")
    async with working(Forwarder(Exchanges(where, 20), RULES), name="f-1"):
        await rest.enqueue()
        assert (await failed(rest))["type"] == "unreachable"


async def floods(caller: Caller, head: bytes, chunk: bytes) -> None:
    await caller.send(head)
    while True:
        await caller.send(chunk)


@pytest.mark.parametrize("how", ["chunked", "a length", "until the end"])
async def test_of_an_endless_answer_only_the_beginning_is_read(
    forwarding: Forwarding, rest: Rest, expect_log: ExpectLog, how: str
) -> None:
    heads = {
        "chunked": b"Transfer-Encoding: chunked\r\n",
        "a length": b"Content-Length: 99999999999\r\n",
        "until the end": b"",
    }
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n" if how == "chunked" else b"x" * 0x4000
    expect_log("failed .*http_500")

    async def answer(request: Request, caller: Caller) -> None:
        status = b"500 No" if request.headers["sharq-queue"] == "q" else b"200 OK"
        await floods(caller, b"HTTP/1.1 %s\r\n%s\r\n" % (status, heads[how]), chunk)

    async with forwarding(answer) as (target, worker):
        await rest.enqueue()
        message = (await failed(rest))["message"]
        assert message.startswith("500 No: xxxx")
        assert len(message) == 1000
        await rest.enqueue("t/good")
        await until(lambda: worker.counts["done"] == 1)
        await until(lambda: target.left == 2)


async def test_an_answer_may_come_before_the_request_is_read() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(plain("413 Too Much", b"no"))
        await writer.drain()
        await over.wait()
        writer.close()

    over = asyncio.Event()
    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=1024)
    where = check_endpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    try:
        got = await Exchanges(where, 20).post([], bytes(64 << 20))
    finally:
        over.set()
        server.close()
        await server.wait_closed()
    assert (got.status, got.reason, got.beginning) == (413, "Too Much", b"no")


async def test_no_body_is_longer_than_what_is_read_without_notice() -> None:
    whole = plain("200 OK", b"x" * (MOST_READ - 1))
    async with endpoint(always(whole)) as target:
        where = check_endpoint(f"http://127.0.0.1:{target.port}/")
        answer = await Exchanges(where, 20).post([], b"1")
    assert (answer.status, answer.beginning) == (200, b"x" * 1000)


@pytest.mark.parametrize("options", [{"sharq": {"job_expire_interval": 1000}}])
async def test_a_lease_is_extended_while_an_endpoint_works(
    forwarding: Forwarding, rest: Rest
) -> None:
    go_on = asyncio.Event()

    async def answer(_request: Request, caller: Caller) -> None:
        await go_on.wait()
        await caller.send(plain("200 OK"))

    async def left() -> int:
        status = (await rest.get("/status/t/q/j/")).body
        return int(status.get("lease_expires_in", -1))

    async with forwarding(answer) as (target, worker):
        await rest.enqueue()
        await until(lambda: len(target.requests) == 1)
        before = await left()
        while (now := await left()) <= before:
            assert now >= 0
            before = now
            await asyncio.sleep(0.005)
        go_on.set()
        await until(lambda: worker.counts["done"] == 1)
    assert len(target.requests) == 1


# ---- TLS ----


async def test_an_endpoint_with_tls(monkeypatch: pytest.MonkeyPatch, expect_log: ExpectLog) -> None:
    expect_log("SSL Error .* certificate verify failed")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")
    async with endpoint(always(plain("200 OK", b"hello")), context) as target:
        where = check_endpoint(f"https://localhost:{target.port}/")
        with pytest.raises(NoAnswer, match="its certificate is not trusted: ") as refused:
            await Exchanges(where, 20).post([], b"1")
        assert refused.value.error.type == "unreachable"
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATES / "authority.pem"))
        assert (await Exchanges(where, 20).post([], b"1")).beginning == b"hello"
    assert len(target.requests) == 1


# ---- what is given up leaves nothing behind ----


async def test_a_handshake_that_never_ends_is_given_up() -> None:
    left = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        left.set()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    where = check_endpoint(f"https://127.0.0.1:{port}/")
    try:
        with pytest.raises(NoAnswer) as refused:
            await Exchanges(where, 0.3).post([], b"1")
        await left.wait()
    finally:
        server.close()
        await server.wait_closed()
    message = f"no connection to 127.0.0.1:{port} within 0.3 s"
    assert refused.value.error[:2] == ("timeout", message)


@pytest.mark.skipif(sys.platform != "linux", reason="a full queue is refused elsewhere")
async def test_nobody_accepts() -> None:
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = listening.getsockname()[1]
        for _ in range(2):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        with pytest.raises(NoAnswer) as refused:
            await Exchanges(check_endpoint(f"http://127.0.0.1:{port}/"), 0.3).post([], b"1")
    message = f"no connection to 127.0.0.1:{port} within 0.3 s"
    assert refused.value.error[:2] == ("timeout", message)


async def test_a_request_that_is_cancelled_closes_its_connection() -> None:
    async with endpoint(hangs) as target:
        where = check_endpoint(f"http://127.0.0.1:{target.port}/")
        request = asyncio.ensure_future(Exchanges(where, 20).post([], b"1"))
        await until(lambda: len(target.requests) == 1)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await until(lambda: target.left == 1)
