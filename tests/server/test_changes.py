"""What operators change is a line of the log, with the name of the token."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.server.support import Rest, write_tokens

pytestmark = pytest.mark.gen_test

LOGGER = "sharq_server.api.changes"
BEARER = {"Authorization": "Bearer operator"}
JOB = {"job_id": "j", "interval": 0, "payload": 1}


@pytest.fixture
def options(tmp_path: Path) -> dict[str, dict[str, Any]]:
    path = tmp_path / "tokens"
    write_tokens(path, {"operator": (["*"], ["*"]), "viewer": (["metrics"], ["*"])})
    return {"sharq-server": {"token_file": str(path)}}


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    """The lines so far."""
    caplog.set_level(logging.INFO, LOGGER)
    return lambda: [record.getMessage() for record in caplog.records if record.name == LOGGER]


CHANGES: list[tuple[str, str, Any]] = [
    ("POST", "/limits/t/q/", {"interval": 500}),
    ("DELETE", "/limits/t/?group=g", None),
    ("POST", "/interval/t/q/", {"interval": 2}),
    ("DELETE", "/interval/t/q/", None),
    ("POST", "/pause/t/", {"for": 1000, "reason": 'a "b"\n'}),
    ("POST", "/resume/t/", None),
    ("POST", "/dead/t/retry", {"jobs": [["q", "j"]]}),
    ("DELETE", "/dead/t/", {"jobs": [["q", "j"]]}),
    ("DELETE", "/deletequeue/t/q/", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES, ids=lambda each: str(each)[:30])
async def test_each_change_is_a_line(
    rest: Rest, lines: Any, method: str, path: str, body: Any
) -> None:
    await rest.call("POST", "/enqueue/t/q/", JOB, BEARER)
    if method == "DELETE" and path.startswith("/interval/"):
        await rest.call("POST", path, {"interval": 1}, BEARER)
    before = len(lines())
    assert (await rest.call(method, path, body, BEARER)).status == 200
    (line,) = lines()[before:]
    assert line.startswith(f"Changed by operator: {method} {path} ")
    assert line.isascii()
    assert line.isprintable()
    if body and "interval" in body:
        assert line.endswith(f'{{"interval": {body["interval"]}}}')


async def test_what_an_operator_does_to_a_job(rest: Rest, lines: Any) -> None:
    for verb in ("release", "fail"):
        await rest.call("POST", "/enqueue/t/q/", JOB, BEARER)
        await rest.call("POST", "/dequeue/t/", b"", BEARER)
        answer = await rest.call("POST", f"/{verb}/t/q/j/", {"delay": 0}, BEARER)
        assert answer.status == 200
    assert (await rest.call("DELETE", "/job/t/q/j/", None, BEARER)).status == 200
    assert [line.split()[3:5] for line in lines()] == [
        ["POST", "/release/t/q/j/"],
        ["POST", "/fail/t/q/j/"],
        ["DELETE", "/job/t/q/j/"],
    ]


async def test_what_workers_do_is_none(rest: Rest, lines: Any) -> None:
    for path in ("release/t/q/j", "fail/t/q/j", "finish/t/q/j"):
        await rest.call("POST", "/enqueue/t/q/", JOB, BEARER)
        taken = await rest.call("POST", "/dequeue/t/", b"", BEARER)
        body = {"lease": taken.body["lease"]} | ({} if "finish" in path else {"delay": 0})
        assert (await rest.call("POST", f"/{path}/", body, BEARER)).status == 200
    await rest.call("POST", "/enqueue/t/q/", JOB, BEARER)
    taken = await rest.call("POST", "/dequeue/t/", b"", BEARER)
    lease = {"lease": taken.body["lease"]}
    assert (await rest.call("DELETE", "/job/t/q/j/", lease, BEARER)).status == 200
    assert lines() == []


async def test_looking_trying_and_failing_are_none(rest: Rest, lines: Any) -> None:
    viewer = {"Authorization": "Bearer viewer"}
    for method, path, body, headers, status in (
        ("GET", "/limits/t/q/", None, BEARER, 200),
        ("GET", "/dead/t/", None, BEARER, 200),
        ("POST", "/limits/t/q/?dry_run=true", {"interval": 1}, BEARER, 200),
        ("POST", "/limits/t/q/", {"interval": -1}, BEARER, 400),
        ("POST", "/pause/t/", {}, viewer, 403),
        ("DELETE", "/job/t/q/none/", None, BEARER, 404),
    ):
        assert (await rest.call(method, path, body, headers)).status == status, path
    assert lines() == []


async def test_a_long_body_is_cut(rest: Rest, lines: Any) -> None:
    jobs = {"jobs": [["q", f"job-{at}"] for at in range(200)]}
    assert (await rest.call("POST", "/dead/t/retry", jobs, BEARER)).status == 200
    (line,) = lines()
    assert 300 <= len(line) < 400


class TestWithoutTokens:
    @pytest.fixture
    def options(self) -> dict[str, dict[str, Any]]:
        return {}

    async def test_nobody_is_named(self, rest: Rest, lines: Any) -> None:
        assert (await rest.post("/resume/t/")).status == 200
        assert lines() == ["Changed by -: POST /resume/t/ "]
