"""`sharq tail`, as a process on pipes and terminals."""

from __future__ import annotations

import json
import re
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from tests.cli.command import COMMAND, Shell
from tests.cli.terminal import Terminal
from tests.cli.test_failures import answer
from tests.server.command import Server
from tests.server.support import write_tokens
from tests.support.stores import wait_for
from tests.support.watch_server import WatchServer

AT = 1_790_000_045_678
NOTHING = {"jobs": [], "more": 0}


def of_job(job_id: str, **more: Any) -> dict[str, Any]:
    job = {"at": AT, "queue_id": "user-1", "job_id": job_id, "how": "rest", "attempt": 1}
    return job | more


@pytest.fixture
def watch() -> Iterator[WatchServer]:
    with WatchServer() as server:
        server.whole["tail/sms"] = NOTHING
        yield server


class Tail:
    """The command, with pipes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        assert process.stdout is not None
        assert process.stderr is not None
        self._out: IO[bytes] = process.stdout
        self._err: IO[bytes] = process.stderr

    def line(self) -> str:
        return self._out.readline().decode().removesuffix("\n")

    def note(self) -> str:
        return self._err.readline().decode().removesuffix("\n")

    def has_line(self, seconds: float) -> bool:
        """Whether the first line comes in this time."""
        return bool(select.select([self._out], [], [], seconds)[0])

    def stop(self) -> tuple[int, bytes, bytes]:
        """End it by Ctrl-C: the exit code, and what else it has written."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=10)
        return self.process.returncode, out, err


@contextmanager
def tail(sharq: Shell, *arguments: str, **environ: str) -> Iterator[Tail]:
    with subprocess.Popen(
        [*COMMAND, "tail", *arguments],
        env=sharq.environment(**environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield Tail(process)
        finally:
            process.kill()


STOPPED = (130, b"", b"sharq tail: Stopped.\n")


def test_a_line_for_each_job(sharq: Shell, watch: WatchServer) -> None:
    with tail(sharq, "sms", "--url", watch.url) as shown:
        watch.wait_for_topics("tail/sms")
        jobs = [of_job("a"), of_job("b", how="push", attempt=3, worker="w-1\x1b[0m")]
        watch.send("tail/sms", {"jobs": jobs, "more": 0}, full=True)
        watch.send("tail/sms", {"jobs": [of_job("c")], "more": 2413}, full=True)
        lines = [shown.line().split("\t") for _ in range(4)]
        assert lines == [
            ["UTC", "queue", "job", "how", "attempt", "worker"],
            ["14:14:05.678", "user-1", "a", "rest", "1", "-"],
            ["14:14:05.678", "user-1", "b", "push", "3", "w-1\\x1b[0m"],
            ["14:14:05.678", "user-1", "c", "rest", "1", "-"],
        ]
        assert shown.note() == "… 2,413 more"
        assert shown.stop() == STOPPED


def test_lines_of_json(sharq: Shell, watch: WatchServer) -> None:
    with tail(sharq, "sms", "--json", "--url", watch.url) as shown:
        watch.wait_for_topics("tail/sms")
        jobs = [of_job("a"), of_job("b", worker="w-1")]
        watch.send("tail/sms", {"jobs": jobs, "more": 7}, full=True)
        assert [json.loads(shown.line()) for _ in range(3)] == [*jobs, {"more": 7}]
        assert shown.stop() == STOPPED


def test_a_terminal_has_columns_and_says_what_it_waits_for(
    sharq: Shell, watch: WatchServer
) -> None:
    command = [*COMMAND, "tail", "sms", "--url", watch.url]
    with Terminal(command, sharq.environment()) as terminal:

        def shows(text: str) -> None:
            wait_for(f"it shows {text}", lambda: text in terminal.text, 15)

        shows("Jobs of sms that are handed out from now on; Ctrl-C ends it.\n")
        watch.send(
            "tail/sms", {"jobs": [of_job("a", how="push", worker="w")], "more": 1}, full=True
        )
        shows("… 1 more\n")
        shows("UTC           queue  job  how  attempt  worker\n")
        shows("14:14:05.678  user-1  a    push  1        w\n")
        terminal.type(b"\x03")
        assert terminal.end() == 130


def test_a_lost_connection_is_told_and_made_again(sharq: Shell, watch: WatchServer) -> None:
    with tail(sharq, "sms", "--url", watch.url) as shown:
        watch.wait_for_topics("tail/sms")
        watch.send("tail/sms", {"jobs": [of_job("a")], "more": 0}, full=True)
        assert [shown.line()[:3] for _ in range(2)] == ["UTC", "14:"]
        watch.cut()
        assert re.fullmatch("No connection: .*; trying again.", shown.note())
        assert shown.note() == "It goes on; what was handed out meanwhile may not be shown."
        watch.send("tail/sms", {"jobs": [of_job("b")], "more": 0}, full=True)
        assert shown.line().split("\t")[2] == "b"
        assert shown.stop() == STOPPED


def test_a_store_that_is_away_is_told(sharq: Shell, watch: WatchServer) -> None:
    with tail(sharq, "sms", "--url", watch.url) as shown:
        watch.wait_for_topics("tail/sms")
        problem = {"code": "store_unavailable", "message": "The store cannot be reached."}
        watch.send("tail/sms", problem=problem)
        assert shown.note() == "The store cannot be reached (store_unavailable)."
        watch.send("tail/sms", NOTHING, full=True)
        assert shown.note() == "It goes on; what was handed out meanwhile may not be shown."
        assert shown.stop() == STOPPED


def test_a_server_that_says_no(sharq: Shell, watch: WatchServer) -> None:
    watch.error = "forbidden"
    said = sharq.process("tail", "sms", "--url", watch.url)
    assert (said.code, said.out) == (1, "")
    assert (
        said.err == "sharq tail: It is not to be (forbidden). The operation `metrics` is needed.\n"
    )
    watch.error, watch.message = "invalid_argument", "`topics` has an invalid value."
    said = sharq.process("tail", "sms", "--url", watch.url)
    assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
    assert "it is older than this command" in said.err
    watch.refusal = answer("404 Not Found", b"<html>", "text/html")
    said = sharq.process("tail", "sms", "--url", watch.url)
    assert said.code == 1
    assert said.err == "sharq tail: The server has no push channel (404 not_found).\n"


def test_no_server(sharq: Shell) -> None:
    said = sharq.process("tail", "sms", "--url", "http://127.0.0.1:1")
    assert (said.code, said.out, said.err.count("\n")) == (3, "", 1)


@pytest.mark.parametrize(
    "arguments", [[], ["a b"], ["sms", "mail"], ["sms", "--once"], ["sms", "--by", "oldest"]]
)
def test_wrong_usage(sharq: Shell, arguments: list[str]) -> None:
    said = sharq("tail", *arguments)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)


def test_nobody_reads_it(sharq: Shell, watch: WatchServer) -> None:
    with tail(sharq, "sms", "--url", watch.url) as shown:
        watch.wait_for_topics("tail/sms")
        shown.process.stdout.close()  # type: ignore[union-attr] # it is a pipe
        watch.send("tail/sms", {"jobs": [of_job("a")], "more": 0}, full=True)
        assert shown.process.wait(10) == 141


def test_a_server_tells_what_it_hands_out_until_it_ends(
    sharq: Shell, kind: str, tmp_path: Path
) -> None:
    with Server(tmp_path) as server, tail(sharq, kind, "--json", "--url", server.url) as shown:
        # Until it watches, nothing is told.
        while not shown.has_line(0.1):
            for name in "ab":
                job = {"job_id": name, "interval": 0, "payload": 1}
                assert server.call("POST", f"/enqueue/{kind}/q/", job)[0] in (201, 409)
            for query in ("", "?count=1"):
                assert server.call("GET", f"/dequeue/{kind}/{query}")[0] == 200
            for name in "ab":
                assert server.call("POST", f"/finish/{kind}/q/{name}/", {})[0] == 200
        first, second = json.loads(shown.line()), json.loads(shown.line())
        assert first.keys() == {"at", "queue_id", "job_id", "how", "attempt"}
        assert (first["queue_id"], first["attempt"]) == ("q", 1)
        assert {first["how"], second["how"]} == {"rest", "bulk"}
        server.stop()
        assert shown.note().startswith("No connection: ")
        code, _, errors = shown.stop()
        assert (code, errors.splitlines()[-1:]) == (130, [b"sharq tail: Stopped."])


def test_a_token_without_the_right(sharq: Shell, tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    write_tokens(path, {"other": (["metrics"], ["mail"]), "worker": (["dequeue"], ["*"])})
    with Server(tmp_path, SHARQ_SERVER_TOKEN_FILE=str(path)) as server:
        for token in ("other", "worker"):
            said = sharq.process("tail", "sms", "--url", server.url, SHARQ_TOKEN=token)
            assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
            assert "(forbidden)" in said.err
