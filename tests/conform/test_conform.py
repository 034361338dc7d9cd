"""`sharq conform`: a client that does all passes, and one that does one thing wrong fails there."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from tornado.httpclient import AsyncHTTPClient

from sharq.conform import frames
from sharq.conform.listening import listening
from sharq.conform.points import POINTS
from sharq.conform.scenario import NOT_SEEN, RIGHT, WRONG, Verdict, play
from sharq.conform.stage import Stage
from sharq_server.push import frames as push_frames
from sharq_server.watch import frames as watch_frames
from tests.cli.command import COMMAND, Said
from tests.conform import client as clients
from tests.conform.client import Client
from tests.server.command import environment
from tests.support.parts import NODE_OPTIONS

ROOT = Path(__file__).parents[2]
LATER = {"backoff", "lost_reply", "carry", "draining", "silence"}
"""What is not seen of a client that does not come back."""

BROKEN: dict[type[Client], tuple[str, str]] = {
    clients.RunsTwice: ("duplicate", "its handler ran 2 times"),
    clients.ForgetsLost: (
        "lost_reply",
        "did not repeat its `finish`, of which the answer was lost",
    ),
    clients.TakesEveryResult: ("result", "did not repeat its `finish` after a result"),
    clients.Insists: ("over", "sent `finish` again after stale_lease"),
    clients.ForgetsRefused: ("refused", "did not repeat its `finish` after an `error`"),
    clients.Hammers: ("refused", "it repeats within"),
    clients.KnowsAll: ("unknown", "closed the connection"),
    clients.LeavesWhenPaused: ("paused", "closed the connection"),
    clients.Increments: ("credit", "grew by each job"),
    clients.AsksForTooMuch: ("credit", "a credit of 20000"),
    clients.StopsAtExpired: ("expired", "has no room|not connected and subscribed"),
    clients.NeverReconnects: ("reconnect", "does not connect again"),
    clients.ReconnectsAtOnce: ("backoff", r"it tried \d+ times in 2 s"),
    clients.EndsAtDraining: ("draining", "does not connect again"),
    clients.WritesMore: ("frames", "unknown field `colour`"),
    clients.NeverExtends: ("extend", "the lease ran out"),
    clients.ReleasesFailures: ("fail", "sent `release`"),
    clients.DropsHandlers: ("carry", "not ended"),
    clients.Trusts: ("silence", "it stayed for"),
}


async def verdicts_on(client: type[Client], names: Sequence[str] = ()) -> dict[str, Verdict]:
    stage = Stage(patience=4)
    chosen = [point for point in POINTS if not names or point.name in names]
    async with listening(stage, 0) as port:
        task = asyncio.create_task(client(f"ws://127.0.0.1:{port}/ws/").run())
        try:
            return {each.scenario.name: each async for each in play(stage, chosen)}
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@pytest.mark.timing
def test_each_client_fails_at_the_point_that_it_breaks() -> None:
    async def all_of_them() -> dict[type[Client], dict[str, Verdict]]:
        kinds = (Client, *BROKEN)
        found = await asyncio.gather(*map(verdicts_on, kinds))
        return dict(zip(kinds, found, strict=True))

    found = asyncio.run(asyncio.wait_for(all_of_them(), 120))
    whole = found.pop(Client)
    assert {name: each.seen for name, each in whole.items() if each.outcome != RIGHT} == {
        "stop": "it was not started by `sharq conform -- COMMAND`"
    }
    assert all(each.passed for each in whole.values())
    for client, verdicts in found.items():
        point, seen = BROKEN[client]
        wrong = {name: each.seen for name, each in verdicts.items() if each.outcome == WRONG}
        assert (client, list(wrong)) == (client, [point]), wrong
        assert re.search(seen, wrong[point]), (client, wrong)
        assert all(each.passed for each in verdicts.values()) is not verdicts[point].scenario.must
    gone = found[clients.NeverReconnects]
    assert {name for name, each in gone.items() if each.outcome == NOT_SEEN} >= LATER


HANDLER = """\
import asyncio, sys, urllib.request
from sharq import Worker

worker = Worker(sys.argv[1], "sms", concurrency=4)


@worker.handler
async def handle(job):
    await asyncio.to_thread(urllib.request.urlopen, job.payload["report"])
    await asyncio.sleep(job.payload["work_ms"] / 1000)
    if job.payload["fail"]:
        raise ValueError("asked to")


sys.exit(worker.run())
"""


def conform(home: Path, *arguments: str) -> Said:
    """Run the command to its end; its client is behind `--`."""
    ended = subprocess.run(
        [*COMMAND, "conform", "--port", "0", *arguments],
        check=False,
        cwd=home,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=120,
    )
    return Said(ended.returncode, ended.stdout, ended.stderr)


def test_the_library_s_worker_passes(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text(HANDLER)
    said = conform(tmp_path, "--json", "--", sys.executable, "handler.py", "{url}")
    outcomes = {point["point"]: point["outcome"] for point in said.json["points"]}
    assert (outcomes, said.json["passed"]) == (dict.fromkeys(outcomes, RIGHT), True), said.out
    assert list(outcomes) == [point.name for point in POINTS]
    assert said.code == 0
    passed = "The client passes"
    assert passed not in said.out


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, str(ROOT / "examples" / "push_worker.py"), "{url}"],
        pytest.param(
            ["node", *NODE_OPTIONS, str(ROOT / "examples" / "push_worker.mjs"), "{url}"],
            marks=pytest.mark.needs("node"),
        ),
    ],
    ids=["python", "node"],
)
def test_the_examples_pass(tmp_path: Path, command: list[str]) -> None:
    said = conform(tmp_path, "--", *command)
    outcomes = {point: outcome for point, _, outcome, *_ in said.rows[1:]}
    assert outcomes == dict.fromkeys((point.name for point in POINTS), RIGHT), said.out
    assert said.code == 0
    assert said.err.splitlines()[-1] == (
        "The client passes: 17 of 17 that it must, 5 of 5 that it should."
    )


def test_some_points_alone_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text(HANDLER.replace("worker.run()", "0"))
    said = conform(
        tmp_path,
        *("--patience", "10", "--only", "finish"),
        *("--", sys.executable, "handler.py", "{url}"),
    )
    assert said.code == 1
    assert said.rows == [
        ["point", "level", "outcome", "seen", "do"],
        ["connect", "must", "wrong", "it ended, with the exit code 0", POINTS[0].advice],
        ["subscribe", "must", "not seen", "the client is not connected", "-"],
        ["finish", "must", "not seen", "the client is not connected and subscribed", "-"],
    ]
    assert said.err == "The client does not pass: 0 of 3 that it must, 0 of 0 that it should.\n"


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/socket", "no websocket was opened: GET /socket: the push channel is at /ws/"),
        ("/ws/", "no websocket was opened: GET /ws/ without a websocket's headers: "),
    ],
)
def test_a_client_that_does_not_find_the_channel_is_told(path: str, seen: str) -> None:
    async def look() -> Verdict:
        stage = Stage(patience=0.3)
        async with listening(stage, 0) as port:
            url = f"http://127.0.0.1:{port}{path}"
            answer = await AsyncHTTPClient().fetch(url, raise_error=False)
            assert answer.code in {400, 404, 426}
            return await anext(play(stage, POINTS[:1]))

    verdict = asyncio.run(look())
    assert verdict.outcome == WRONG
    assert verdict.seen.startswith(seen)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "x"], "--port has to be 0 to 65535, not x."),
        (["--patience", "-1"], "--patience cannot be '-1'"),
        (["--only", "everything"], "invalid choice: 'everything'"),
        (["--", "no-such-command"], "no-such-command"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    said = conform(tmp_path, *arguments)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1), said.err
    assert message in said.err


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = conform(tmp_path, "--port", str(taken.getsockname()[1]))
    assert (said.code, said.out) == (2, "")
    hint = "--port N is another one, 0 a free one"
    assert re.fullmatch(rf"sharq conform: Port \d+ is in use: {hint}\.\n", said.err)


def test_a_client_that_is_started_by_hand_is_waited_for(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "conform", "--port", "0", "--only", "finish"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as tried:
        assert tried.stdout is not None
        assert tried.stderr is not None
        url = re.search(r"ws://\S+", tried.stderr.readline())
        assert url is not None

        async def work() -> None:
            task = asyncio.create_task(Client(url[0]).run())
            await asyncio.to_thread(tried.wait, 20)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        asyncio.run(work())
        assert "finish\tmust\tright" in tried.stdout.read()
        assert tried.returncode == 0


def test_it_is_stopped_by_ctrl_c(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "conform", "--port", "0"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stderr=subprocess.PIPE,
        text=True,
    ) as tried:
        assert tried.stderr is not None
        assert "Ctrl-C ends this" in tried.stderr.readline()
        tried.send_signal(signal.SIGINT)
        assert tried.wait(10) == 130
        assert tried.stderr.read() == "sharq conform: Stopped.\n"


# ---- the same as elsewhere ----


def test_the_checklist_of_the_protocol_has_the_same_points() -> None:
    text = (ROOT / "docs" / "push-protocol.md").read_text()
    section = text.partition("## A client in an hour")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (must|should) \| (.+?) \| (.+?) \|$", section, re.M)
    assert rows == [
        (point.name, "must" if point.must else "should", point.rule, point.advice)
        for point in POINTS
    ]


def test_the_fields_of_frames_are_those_of_the_server() -> None:
    def fields(kind: type[Any]) -> set[str]:
        return {field.encode_name for field in msgspec.structs.fields(kind)} - {"op"}

    for kind in get_args(frames.AnyFrame):
        name = kind.__name__
        theirs = getattr(push_frames, name, None) or getattr(watch_frames, name)
        assert fields(kind) == fields(theirs), name


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('{"op": "finish", "lease": "a"}', "`finish` has leases, cost, items"),
        ('{"op": "ping", "now": 1}', "`ping` has none"),
        ('{"op": "sub"}', "the ops are subscribe, credit"),
        ("{}", "the ops are subscribe, credit"),
        ('{"op": ["sub"]}', "the ops are subscribe, credit"),
        ("[]", "the ops are subscribe, credit"),
    ],
)
def test_what_there_is_in_place_of_a_wrong_name_is_told(text: str, hint: str) -> None:
    with pytest.raises(frames.BadFrame, match=hint):
        frames.read(text)


def test_what_is_wrong_within_a_field_is_not_explained_by_other_fields() -> None:
    with pytest.raises(frames.BadFrame) as refused:
        frames.read('{"op": "finish", "items": [{"lease": "a", "price": 1}]}')
    assert str(refused.value) == "Object contains unknown field `price` - at `$.items[0]`"
