"""`sharq top` and `sharq queues --by`, as processes on terminals and pipes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from sharq.cli import queue_tops
from tests.cli.command import COMMAND, Shell
from tests.cli.terminal import ENTER, HIDE, LEAVE, SHOW, Terminal
from tests.cli.test_failures import answer
from tests.support.stores import wait_for
from tests.support.watch_server import (
    AT,
    WatchServer,
    of_type,
    of_types,
    of_workers,
    type_entry,
)


@pytest.fixture
def watch() -> Iterator[WatchServer]:
    types = of_types(email=type_entry(waiting=5), sms=type_entry(waiting=700))
    types["notes"] = {"sms": "4 queues are ready, and no worker has room."}
    email, sms = of_type(1), of_type()
    with WatchServer(types=types, type_sms=sms, type_email=email, workers=of_workers()) as server:
        yield server


def top(sharq: Shell, watch: WatchServer, *arguments: str, **more: Any) -> Terminal:
    environ = sharq.environment(**more.pop("environ", {}))
    return Terminal([*COMMAND, "top", *arguments, "--url", watch.url], environ, **more)


# ---- the screen ----


def test_the_screen_shows_types_queues_and_workers(sharq: Shell, watch: WatchServer) -> None:
    with top(sharq, watch) as terminal:
        screen = terminal.wait_for(r"\nq0 ")
        lines = screen.splitlines()
        assert "host-1" in screen
        assert len(lines) == 24
        assert max(map(len, lines)) <= 80
        # The fullest type is chosen.
        assert watch.topics == ["types", "workers", "type/sms"]
        assert "4 queues are ready, and no worker has room." in screen
        assert re.search(r"sms: queues by waiting jobs *\n *queue", screen)
        assert re.search(r"^q0 +30 +1 s +in 500 ms +interval +30 s", screen, re.M)
        assert re.search(r"^sms +700 +3 +0 +4 +8 +1.2 s +10.0 +5.0", screen, re.M)
        watch.send("types", {"types": {"sms": {"waiting": 123_456}}})
        terminal.wait_for(r"sms +123k")
        terminal.type(b"q")
        assert terminal.end() == 0
        assert terminal.modes() == terminal.before


def test_a_difference_changes_what_it_names_alone(sharq: Shell, watch: WatchServer) -> None:
    with top(sharq, watch) as terminal:
        terminal.wait_for(r"\nq0 ")
        watch.send("types", {"types": {"email": None, "sms": {"oldest_ready": None}}})
        screen = terminal.wait_for(r"sms +700 +3 +0 +4 +8 +- ")
        assert "email" not in screen


def test_keys_choose_the_type_and_the_order(sharq: Shell, watch: WatchServer) -> None:
    with top(sharq, watch, "sms") as terminal:
        terminal.wait_for("sms: queues by waiting jobs")
        terminal.type(b"\x1b[C")
        assert re.search(r"q2 .*\n.*q1 .*\n.*q0 ", terminal.wait_for("by how long they are ready"))
        terminal.type(b"\x1b[D\x1b[D")
        terminal.wait_for("by the time until they are drained")
        for key in (b"\t", b"\x1b[B", b"\x1b[A", b"\x1b[Z"):
            before = watch.topics
            terminal.type(key)
            wait_for("another type is watched", lambda before=before: watch.topics != before)
            name = watch.topics[-1].removeprefix("type/")
            terminal.wait_for(f"{name}: workers")
        assert watch.topics[-1] == "type/sms"


def test_a_pause_asks_for_nothing_and_goes_on_with_the_whole(
    sharq: Shell, watch: WatchServer
) -> None:
    with top(sharq, watch) as terminal:
        terminal.wait_for(r"\nq0 ")
        terminal.type(b"p")
        terminal.wait_for("paused")
        watch.wait_for_topics()
        frames = len(terminal.frames)
        # What was on its way, and keys that would ask for more.
        watch.send("types", of_types(sms=type_entry(waiting=9)), full=True)
        terminal.type(b"\t\x1b[C")
        assert re.search(r"sms +700 ", terminal.wait_for("sms: queues by how long"))
        assert watch.topics == []
        # Another connection is made, and asks for nothing either.
        watch.cut()
        wait_for("it is connected again", lambda: watch.welcomed == 2)
        terminal.wait_for("paused")
        assert watch.topics == []
        watch.whole["types"]["types"]["sms"]["waiting"] = 77
        terminal.type(b"p")
        assert "paused" not in terminal.wait_for(r"sms +77 ")
        assert not [frame for frame in terminal.frames[frames:] if re.search("sms +9 ", frame)]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_the_terminal_is_as_before(
    sharq: Shell, watch: WatchServer, how: signal.Signals
) -> None:
    with top(sharq, watch) as terminal:
        terminal.wait_for(r"\nq0 ")
        assert terminal.modes() != terminal.before
        if how == signal.SIGINT:
            terminal.type(b"\x03")
        else:
            terminal.signal(how)
        assert terminal.end() == {signal.SIGINT: 130, signal.SIGTERM: 143}[how]
        assert terminal.modes() == terminal.before
        text = terminal.text
        assert text.count(ENTER) == text.count(LEAVE) == 1
        assert text.index(ENTER) < text.index(LEAVE)
        assert text.rindex(HIDE) < text.rindex(SHOW)
        assert "Traceback" not in text


def test_it_can_be_stopped_and_goes_on(sharq: Shell, watch: WatchServer) -> None:
    with top(sharq, watch) as terminal:
        terminal.wait_for(r"\nq0 ")
        terminal.type(b"\x1a")
        wait_for("it is stopped", lambda: _state(terminal.process.pid) == "T")
        assert terminal.modes() == terminal.before
        assert terminal.text.count(LEAVE) == 1
        terminal.signal(signal.SIGCONT)
        wait_for("it is there again", lambda: terminal.text.count(ENTER) == 2)
        terminal.type(b"q")
        assert terminal.end() == 0
        assert terminal.modes() == terminal.before


def test_it_fits_a_terminal_that_changes(sharq: Shell, watch: WatchServer) -> None:
    with top(sharq, watch) as terminal:
        assert "done/s" not in terminal.wait_for(r"\nq0 ").splitlines()[2]
        terminal.resize(160, 40)
        terminal.wait_for("held by")
        wait_for("it is large", lambda: len(terminal.screen.splitlines()) == 40)
        terminal.resize(60, 16)
        wait_for("it is small", lambda: len(terminal.screen.splitlines()) == 16)
        assert max(map(len, terminal.screen.splitlines())) <= 60


def test_a_lost_connection_is_told_and_made_again(sharq: Shell, watch: WatchServer) -> None:
    with top(sharq, watch) as terminal:
        terminal.wait_for(r"\nq0 ")
        watch.refusal = answer("503 No", b'{"code": "stopping", "message": "Stopping"}')
        watch.cut()
        screen = terminal.wait_for("no connection, trying again: the server answers 503")
        # What was known stays.
        assert re.search(r"sms +700", screen)
        watch.whole["types"]["types"]["sms"]["waiting"] = 42
        watch.refusal = None
        assert "no connection" not in terminal.wait_for(r"sms +42 ")


def test_a_problem_of_the_store_is_told(sharq: Shell, watch: WatchServer) -> None:
    with top(sharq, watch) as terminal:
        terminal.wait_for(r"\nq0 ")
        problem = {"code": "store_unavailable", "message": "The store did not answer."}
        watch.send("types", problem=problem)
        screen = terminal.wait_for("The store did not answer")
        assert re.search(r"sms +700", screen)
        watch.send("types", watch.whole["types"], full=True)
        terminal.wait_for("2 types")


def test_no_color(sharq: Shell, watch: WatchServer) -> None:
    with top(sharq, watch, environ={"NO_COLOR": "1"}) as terminal:
        terminal.wait_for(r"\nq0 ")
        assert not re.search(r"\x1b\[(?:[0-9;]*;)?(?:3|4|9|10)[0-9][;m]", terminal.text)
    with top(sharq, watch) as terminal:
        terminal.wait_for(r"\nq0 ")
        assert re.search(r"\x1b\[(?:[0-9;]*;)?33m", terminal.text)


def test_a_frame_is_drawn_over_the_last_one(sharq: Shell, watch: WatchServer) -> None:
    with top(sharq, watch) as terminal:
        terminal.wait_for(r"\nq0 ")
        before = len(terminal.text)
        watch.send("types", {"types": {"sms": {"waiting": 41}}})
        terminal.wait_for("sms +41 ")
        # An erased screen would be seen to flicker.
        assert "\x1b[2J" not in terminal.text[before:]
        assert "\x1b[J" not in terminal.text[before:]


# ---- without a screen ----


def test_once(sharq: Shell, watch: WatchServer) -> None:
    said = sharq.process("top", "--once", "--url", watch.url)
    assert said.code == 0
    assert said.err == "sms: 4 queues are ready, and no worker has room.\n"
    types, queues, workers = [
        [line.split("\t") for line in part.splitlines()] for part in said.out.split("\n\n")
    ]
    assert types[0][:3] == ["type", "waiting", "delayed"]
    assert [row[:2] for row in types[1:]] == [["email", "5"], ["sms", "700"]]
    assert [row[0] for row in queues] == ["queue", "q0", "q1", "q2"]
    assert workers[1][0] == "host-1"
    # Also where there is no terminal to show it live on.
    assert sharq.process("top", "--url", watch.url).out == said.out


def test_once_as_json(sharq: Shell, watch: WatchServer) -> None:
    said = sharq.process("top", "email", "--once", "--json", "--url", watch.url)
    assert said.json == {
        "types": watch.whole["types"],
        "workers": watch.whole["workers"],
        "type/email": watch.whole["type/email"],
    }


def test_lines_of_json_until_it_is_ended(sharq: Shell, watch: WatchServer) -> None:
    with subprocess.Popen(
        [*COMMAND, "top", "--json", "--url", watch.url],
        env=sharq.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert first["types"] == watch.whole["types"]
        watch.send("types", {"at": AT + 1000, "types": {"sms": {"waiting": 1}}})
        second = json.loads(process.stdout.readline())
        assert (second["types"]["at"], second["types"]["types"]["sms"]["waiting"]) == (AT + 1000, 1)
        assert second["type/sms"] == first["type/sms"]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (130, b"sharq top: Stopped.\n")


@pytest.mark.parametrize("order", ["backlog", "oldest", "drain"])
def test_the_first_queues_of_a_type(sharq: Shell, watch: WatchServer, order: str) -> None:
    names = ["q2", "q1", "q0"] if order == "oldest" else ["q0", "q1", "q2"]
    said = sharq.process("queues", "sms", "--by", order, "--url", watch.url)
    assert (said.code, said.err) == (0, "")
    assert said.rows[0] == list(queue_tops.COLUMNS)
    assert [row[0] for row in said.rows[1:]] == names
    assert watch.topics == ["type/sms"]
    few = ("--limit", "2", "--json", "--url", watch.url)
    listed = sharq.process("queues", "sms", "--by", order, *few)
    assert [each["queue_id"] for each in listed.json["queues"]] == names[:2]
    assert listed.json["looked"]["queues"] == 3


def test_what_was_not_looked_at_is_a_note(sharq: Shell, watch: WatchServer) -> None:
    watch.whole["type/sms"]["looked"] = {"queues": 3, "of": 2000, "since": AT}
    said = sharq.process("queues", "sms", "--by", "backlog", "--url", watch.url)
    assert said.err.startswith("3 of 2,000 queues were looked at since ")


@pytest.mark.parametrize("more", [["--all"], ["--cursor", "x"], ["--limit", "51"], ["--by", "x"]])
def test_the_first_queues_have_no_pages(sharq: Shell, more: list[str]) -> None:
    said = sharq("queues", "sms", "--by", "backlog", *more)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)


VERBS = (["top"], ["top", "--once"], ["top", "--json"], ["queues", "sms", "--by", "oldest"])


@pytest.mark.parametrize("arguments", VERBS)
def test_no_server(sharq: Shell, arguments: list[str]) -> None:
    said = sharq.process(*arguments, "--url", "http://127.0.0.1:1")
    assert (said.code, said.out, said.err.count("\n")) == (3, "", 1)
    assert "No answer from ws://127.0.0.1:1/ws/: " in said.err
    shown = sharq.on_terminal(*arguments, "--url", "http://127.0.0.1:1")
    assert (shown.code, ENTER in shown.out) == (3, False)


@pytest.mark.parametrize("arguments", VERBS)
def test_a_server_that_says_no(sharq: Shell, watch: WatchServer, arguments: list[str]) -> None:
    watch.error = "forbidden"
    said = sharq.process(*arguments, "--url", watch.url)
    assert (said.code, said.out) == (1, "")
    told = "It is not to be (forbidden). The operation `metrics` is needed."
    assert said.err == f"sharq {arguments[0]}: {told}\n"
    watch.error, watch.message = "invalid_argument", "`op` has an invalid value."
    said = sharq.process(*arguments, "--url", watch.url)
    assert (said.code, said.out) == (1, "")
    assert "The server knows no `watch`" in said.err
    watch.refusal = answer(
        "401 No", b'{"status": "failure", "code": "unauthorized", "message": "A token."}'
    )
    said = sharq.process(*arguments, "--url", watch.url)
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "A token (401 unauthorized). A token is given by SHARQ_TOKEN" in said.err


def test_a_server_of_others(sharq: Shell, watch: WatchServer) -> None:
    watch.refusal = answer("404 Not Found", b"<html>", "text/html")
    said = sharq.process("top", "--url", watch.url)
    assert (said.code, said.err) == (
        1,
        "sharq top: The server has no push channel (404 not_found).\n",
    )


def test_the_token_and_the_path_of_the_url_are_sent(sharq: Shell, watch: WatchServer) -> None:
    said = sharq.process("top", "--once", "--url", f"{watch.url}/q/", SHARQ_TOKEN="sharq_secret")
    assert said.code == 0
    assert watch.heads[0].startswith(b"GET /q/ws/ HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer sharq_secret\r\n" in watch.heads[0]
    assert b"\r\nSec-WebSocket-Protocol: sharq.v1.json\r\n" in watch.heads[0]


def test_a_server_that_sends_nothing_is_not_waited_for(sharq: Shell, watch: WatchServer) -> None:
    watch.whole.clear()
    said = sharq.process("queues", "sms", "--by", "oldest", "--timeout", "0.3", "--url", watch.url)
    assert (said.code, said.out) == (3, "")
    assert said.err.endswith("it took too long.\n")


def _state(pid: int) -> str:
    listed = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], check=True, capture_output=True, text=True
    )
    return listed.stdout[0]
