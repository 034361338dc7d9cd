"""Tokens over REST: who is let in, and to what, on both ways of HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sharq.settings.tokens import OPERATIONS
from sharq_server import SharQServer
from sharq_server.api.routes import ROUTES
from sharq_server.api.routing import OPEN
from tests.server.support import Raw, Rest, write_tokens

pytestmark = pytest.mark.gen_test

NEVER = "never-in-a-line"
JOB = {"job_id": "j", "interval": 0, "payload": 1}

# Secret, and what it is for.
TOKENS = {
    "root": (["*"], ["*"]),
    "worker": (["dequeue", "finish", "release", "extend"], ["sms", "default"]),
    "producer": (["enqueue", "status"], ["sms"]),
    "watcher": (["metrics"], ["*"]),
    "clerk": (["metrics", "interval", "deletequeue"], ["sms"]),
    "operator": (["limits", "pause"], ["*"]),
}


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    write(path, *TOKENS)
    return path


def write(path: Path, *secrets: str) -> None:
    write_tokens(path, {each: TOKENS[each] for each in secrets})


@pytest.fixture
def options(token_file: Path) -> dict[str, dict[str, Any]]:
    return {"sharq-server": {"token_file": str(token_file)}}


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


REQUESTS = [
    ("POST", "/enqueue/sms/q/", JOB, "enqueue"),
    ("POST", "/enqueue/sms/q?a=b", JOB, "enqueue"),
    ("POST", "/enqueue/", {"jobs": [{**JOB, "queue_type": "sms", "queue_id": "q"}]}, "enqueue"),
    ("GET", "/dequeue/", None, "dequeue"),
    ("GET", "/dequeue/sms/", None, "dequeue"),
    ("GET", "/dequeue/sms/?count=2", None, "dequeue"),
    ("GET", "/dequeue/sms/?wait=0.01", None, "dequeue"),
    ("POST", "/dequeue/sms/", b"", "dequeue"),
    ("POST", "/finish/sms/q/j/", b"", "finish"),
    ("POST", "/release/sms/q/j/", b"", "release"),
    ("POST", "/fail/sms/q/j/", b"", "release"),
    ("POST", "/extend/sms/q/j/", {"by": 5}, "extend"),
    ("DELETE", "/job/sms/q/j/", None, "cancel"),
    ("GET", "/status/sms/q/j/", None, "status"),
    ("GET", "/jobs/sms/q/?count=2", None, "jobs"),
    ("GET", "/metrics/sms/?count=2", None, "metrics"),
    ("POST", "/interval/sms/q/", {"interval": 5}, "interval"),
    ("DELETE", "/interval/sms/q/", None, "interval"),
    ("POST", "/limits/sms/q/", {"burst": 1}, "limits"),
    ("POST", "/limits/sms/?dry_run=true", {"burst": 1}, "limits"),
    ("POST", "/limits/sms/?group=g", {"burst": 1}, "limits"),
    ("GET", "/limits/sms/q/", None, "metrics"),
    ("HEAD", "/limits/sms/", None, "metrics"),
    ("DELETE", "/limits/sms/q/", None, "limits"),
    ("DELETE", "/limits/sms/", None, "limits"),
    ("POST", "/pause/sms/", b"", "pause"),
    ("POST", "/resume/sms/", b"", "pause"),
    ("POST", "/pause/sms/q/", {"for": 5}, "pause"),
    ("POST", "/resume/sms/q/", b"", "pause"),
    ("GET", "/dead/sms/", None, "dead"),
    ("HEAD", "/dead/sms/", None, "dead"),
    ("DELETE", "/dead/sms/", {"jobs": [["q", "j"]]}, "dead"),
    ("GET", "/dead/sms/q/j/", None, "dead"),
    ("POST", "/dead/sms/retry", {"jobs": [["q", "j"]]}, "dead"),
    ("GET", "/dead/sms/retry", None, "dead"),
    ("DELETE", "/dead/sms/retry", None, "dead"),
    ("GET", "/metrics/", None, "metrics"),
    ("GET", "/doctor/", None, "metrics"),
    ("HEAD", "/metrics/sms/", None, "metrics"),
    ("GET", "/metrics/sms/q/", None, "metrics"),
    ("DELETE", "/deletequeue/sms/q/", None, "deletequeue"),
]


def test_every_route_is_for_an_operation_that_can_be_allowed() -> None:
    named = {route.operation for route in ROUTES if route.operation != OPEN}
    assert named == set(OPERATIONS)
    assert {route.first for route in ROUTES if route.operation == OPEN} == {
        "",
        "deepstatus",
        "openapi.json",
        "status",
    }
    assert named == {operation for *_, operation in REQUESTS}


@pytest.mark.parametrize("queue_type", ["sms", "email"])
async def test_who_is_let_in(rest: Rest, queue_type: str) -> None:
    for method, path, body, operation in REQUESTS:
        path = path.replace("sms", queue_type)
        for headers in ({}, bearer(NEVER), {"Authorization": "Basic cm9vdDpyb290"}):
            answer = await rest.call(method, path, body, headers)
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer"), path
            assert method == "HEAD" or answer.error == (401, "unauthorized")
        for secret, (operations, types) in TOKENS.items():
            answer = await rest.call(method, path, body, bearer(secret))
            # A bulk is let in by its operation, and each of its jobs judged by itself.
            within = {
                "/metrics/": False,
                "/doctor/": False,
                "/enqueue/": True,
                "/dequeue/": "default" in types,
            }
            reaches = types == ["*"] or within.get(path, queue_type in types)
            if reaches and (operation in operations or operations == ["*"]):
                assert answer.status in (200, 201, 404), (secret, path, answer)
            else:
                assert answer.status == 403, (secret, path, answer)
                if method != "HEAD":
                    assert answer.error == (403, "forbidden")
                    # It is named if it is missing, and else nothing is told.
                    allowed = operation in operations or operations == ["*"]
                    more = "" if allowed else f": it lacks the operation `{operation}`"
                    message = f"The token does not allow this{more}."
                    assert answer.body["message"] == message, (secret, path)


async def test_what_needs_no_token(rest: Rest) -> None:
    for path in ("/", "/deepstatus/"):
        assert (await rest.get(path)).status == 200
    assert (await rest.call("GET", "/nowhere")).status == 404


async def test_each_job_of_a_bulk_is_judged_by_its_type(rest: Rest) -> None:
    jobs = [
        {**JOB, "queue_type": "sms", "queue_id": "q"},
        {**JOB, "queue_type": "email", "queue_id": "q"},
        {**JOB, "queue_type": "email", "queue_id": "q", "max_queued_length": 5},
        {**JOB, "queue_type": "sms", "queue_id": "q", "interval": -1},
    ]
    answer = await rest.call("POST", "/enqueue/", {"jobs": jobs}, bearer("producer"))
    codes = [result.get("code", result["status"]) for result in answer.body["results"]]
    assert codes == ["queued", "forbidden", "forbidden", "invalid_argument"]
    lengths = [
        (await rest.call("GET", f"/metrics/{each}/q/", headers=bearer("root"))).body["queue_length"]
        for each in ("sms", "email")
    ]
    assert lengths == [1, 0]


def request(line: str, *fields: str, body: bytes = b"") -> bytes:
    lines = [f"{line} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*lines, "", ""]).encode() + body


WORKER, ROOT = "Authorization: Bearer worker", "authorization: bearer  root"


async def test_a_connection_is_no_credential(raw: Raw) -> None:
    """Each request of a connection is judged by itself, whatever came before it."""
    async with raw.connect() as connection:
        for field in (WORKER, ROOT, WORKER):
            await connection.send(request("GET /dequeue/sms/", field))
            assert (await connection.answer()).status == 404
        await connection.send(request("GET /dequeue/sms/"))
        assert (await connection.answer()).error == (401, "unauthorized")
        assert await connection.ended()


async def test_a_header_with_more_or_less_than_a_token_is_none(raw: Raw) -> None:
    for fields in (
        (WORKER, ROOT),
        (ROOT, ROOT),
        ("Authorization: Bearer root, Bearer root",),
        ("Authorization: Bearer",),
        ("X-Authorization: Bearer root",),
        ("Authorization: Bearer root2",),
        ("Authorization: root",),
    ):
        answer = await raw.send(request("GET /dequeue/sms/", *fields))
        assert answer.error == (401, "unauthorized"), fields
        assert answer.headers["Www-Authenticate"] == "Bearer"


async def test_a_token_in_the_url_is_none(rest: Rest) -> None:
    for query in ("token=root", "access_token=root", "Authorization=Bearer%20root"):
        assert (await rest.get(f"/metrics/?{query}")).status == 401


async def test_a_body_is_not_read_of_who_is_not_let_in(raw: Raw) -> None:
    head = request("POST /enqueue/sms/q/").replace(b"Length: 0", b"Length: 900000")
    assert (await raw.send(head)).error == (401, "unauthorized")


async def test_what_a_connection_was_let_in_for_is_looked_at_anew_with_new_tokens(
    raw: Raw, server: SharQServer, token_file: Path
) -> None:
    async with raw.connect() as connection:
        for queue_type, status in (("sms", 404), ("sms", 404), ("default", 404)):
            await connection.send(request(f"GET /dequeue/{queue_type}/", WORKER))
            assert (await connection.answer()).status == status
        await connection.send(request("POST /enqueue/sms/q/", ROOT, body=b"{}"))
        assert (await connection.answer()).status == 400
        for number in range(200):
            await connection.send(request(f"GET /dequeue/t{number}/", ROOT))
            assert (await connection.answer()).status == 404
        await connection.send(request("GET /dequeue/sms/", WORKER))
        assert (await connection.answer()).status == 404
        write(token_file, "root")
        server.reload()
        await connection.send(request("GET /dequeue/sms/", WORKER))
        assert (await connection.answer()).error == (401, "unauthorized")
    async with raw.connect() as connection:
        await connection.send(request("GET /dequeue/sms/", ROOT))
        assert (await connection.answer()).status == 404
        for other in ("Authorization: Bearer roo2", "authorization: bearer  roots"):
            async with raw.connect() as another:
                await another.send(request("GET /dequeue/sms/", ROOT))
                assert (await another.answer()).status == 404
                await another.send(request("GET /dequeue/sms/", other))
                assert (await another.answer()).error == (401, "unauthorized")


async def test_tokens_are_exchanged_while_the_server_runs(
    rest: Rest, server: SharQServer, token_file: Path
) -> None:
    async def status(secret: str) -> int:
        return (await rest.call("GET", "/dequeue/sms/", headers=bearer(secret))).status

    assert (await status("worker"), await status("root")) == (404, 404)
    write(token_file, "root")
    server.reload()
    assert (await status("worker"), await status("root")) == (401, 404)
    # Without a signal too, in a moment.
    write(token_file, "root", "worker")
    while await status("worker") != 404:
        await asyncio.sleep(0.05)
