"""`sharq doctor`, as a process, against real servers."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import Shell
from tests.cli.test_failures import answer, answering
from tests.cli.test_terminal import without_style
from tests.server.command import Server
from tests.server.support import write_tokens
from tests.support.stores import PrivateStore

FINDINGS = (
    b'{"status": "success", "version": "2.0.0", "at": %d, "findings": '
    b'[{"check": "tokens", "level": "ok", "found": "Fine \\u001b[31m.", "do": null}]}'
)


@contextmanager
def serving(at: int, scrape: bytes) -> Iterator[str]:
    """A server whose clock and whose scrape are as wanted."""
    with answering(answer("200 OK", FINDINGS % at), scrape) as (url, _):
        yield url


def now() -> int:
    return time.time_ns() // 1_000_000


def test_a_server_that_is_well(sharq: Shell) -> None:
    said = sharq.process("doctor")
    assert (said.code, said.err) == (0, "")
    assert said.rows[0] == ["check", "level", "found", "do"]
    rows = {row[0]: row[1:] for row in said.rows[1:]}
    assert re.fullmatch(r"SharQ 2\.\S+ at http\S+ answers, in \d+ ms\.", rows["server"][1])
    assert re.match(r"Valkey \d+\.\d+\.\d+ at ", rows["store"][1])
    for check in ("store", "durability", "memory", "store clock", "sweep", "tokens", "clock"):
        assert rows[check][0] == "ok", rows[check]
        assert rows[check][2] == "-"
    assert {"scrape", "certificate", "open files", "connections"} <= rows.keys()


def test_the_findings_as_json(sharq: Shell) -> None:
    said = sharq.process("doctor", "--json")
    assert said.code == 0
    found = said.json["findings"]
    assert found[0]["check"] == "server"
    assert {each["level"] for each in found} <= {"ok", "warning"}
    assert all((each["do"] is None) == (each["level"] == "ok") for each in found)


def test_what_is_wrong_is_told_on_a_terminal(sharq: Shell, tmp_path: Path) -> None:
    with PrivateStore() as store:
        place = {
            "SHARQ_REDIS_CONN_TYPE": "unix_sock",
            "SHARQ_REDIS_UNIX_SOCKET_PATH": store.socket_path,
            "SHARQ_ENABLE_REQUEUE_SCRIPT": "false",
        }
        with Server(tmp_path, embedded=False, **place) as server:
            # The sweep is an error.
            said = sharq.on_terminal("doctor", "--url", server.url, columns=80)
            plain = sharq.on_terminal("doctor", "--url", server.url, NO_COLOR="1")
    assert (said.code, plain.code) == (1, 1)
    assert "\x1b[1;31merror" in said.out
    assert "\x1b[33mwarning" in said.out
    assert not re.search(r"\x1b\[(?:[0-9;]*;)?(?:3|4|9|10)[0-9]", plain.out)
    text = without_style(said.out)
    assert max(map(len, text.splitlines())) <= 80
    words = " ".join(text.split())
    assert "keeps no log of its changes" in words
    assert "Set appendonly yes and appendfsync always." in words
    assert "or run `sharq sweep`." in words


@pytest.mark.parametrize(
    ("scrape", "level", "words"),
    [
        (
            answer("404 Not Found", b'{"status": "failure"}'),
            "warning",
            "The server has no GET /prometheus/",
        ),
        (answer("200 OK", b"# TYPE sharq_jobs gauge\n", "text/plain"), "ok", "with metrics"),
        (answer("200 OK", b"<html>", "text/html"), "error", "answers with text/html, and without"),
        (answer("500 Oh", b"", "text/plain"), "error", "answers 500"),
        (b"", "error", "No answer"),
    ],
)
def test_the_scrape(sharq: Shell, scrape: bytes, level: str, words: str) -> None:
    with serving(now(), scrape) as url:
        said = sharq("doctor", "--url", url)
    assert (said.code, said.err) == (int(level == "error"), "")
    (row,) = [row for row in said.rows if row[0] == "scrape"]
    assert (row[1], words in row[2]) == (level, True), row
    assert "\x1b" not in said.out


@pytest.mark.parametrize(
    ("shift", "words"), [(-9_000, "9.0 s behind"), (0, "agree"), (9_000, "9.0 s ahead of")]
)
def test_the_clocks(sharq: Shell, shift: int, words: str) -> None:
    with serving(now() + shift, answer("200 OK", b"# TYPE sharq_jobs gauge\n")) as url:
        found: list[dict[str, Any]] = sharq("doctor", "--json", "--url", url).json["findings"]
    (clock,) = [each for each in found if each["check"] == "clock"]
    # The answer was made before it was asked for.
    assert re.search(words if not shift else words.replace("9.0", r"(8\.\d|9\.\d)"), clock["found"])
    assert clock["level"] == ("warning" if shift else "ok")


def test_a_server_that_does_not_answer_is_no_finding(sharq: Shell) -> None:
    said = sharq("doctor", "--url", "http://127.0.0.1:1")
    assert (said.code, said.out, said.err.count("\n")) == (3, "", 1)


def test_a_token_has_to_be_for_metrics_of_all_types(sharq: Shell, tmp_path: Path) -> None:
    write_tokens(
        tmp_path / "tokens",
        {"all": (["metrics"], ["*"]), "some": (["metrics"], ["sms"]), "other": (["jobs"], ["*"])},
    )
    with Server(tmp_path, SHARQ_SERVER_TOKEN_FILE=str(tmp_path / "tokens")) as server:
        codes = {
            token: sharq("doctor", "--url", server.url, "--token", token).code
            for token in ("all", "some", "other")
        }
        said = sharq("doctor", "--url", server.url, "--token", "all")
    assert codes == {"all": 0, "some": 1, "other": 1}
    assert ["tokens", "ok", "A token is needed; 3 tokens are valid.", "-"] in said.rows


def test_a_recount_tells_by_how_much_the_counts_were_wrong(sharq: Shell, kind: str) -> None:
    for queue in ("a", "b"):
        sharq.put(kind, queue)
    said = sharq("doctor", "--recount", kind)
    assert (said.code, said.err) == (0, "")
    assert said.rows == [
        ["type", "waiting", "delayed", "exact"],
        [kind, "+0", "+0", "yes"],
    ]
    everything = sharq("doctor", "--recount", "--json").json["types"]
    assert {"queue_type": kind, "waiting": 0, "delayed": 0}.items() <= next(
        each for each in everything if each["queue_type"] == kind
    ).items()
    assert sharq("doctor", "--recount", "no type").code == 2


def test_top_shows_a_real_server(sharq: Shell, kind: str) -> None:
    sharq.put(kind, "a")
    sharq.put(kind, "a", "j2")
    shown = sharq.process("top", kind, "--once")
    assert shown.code == 0, shown.err
    assert kind in shown.out
    assert sharq.process("queues", kind, "--by", "backlog").rows[1][:2] == ["a", "2"]


def test_a_server_that_is_slow(sharq: Shell, tmp_path: Path) -> None:
    with PrivateStore() as store:
        place = {
            "SHARQ_REDIS_CONN_TYPE": "unix_sock",
            "SHARQ_REDIS_UNIX_SOCKET_PATH": store.socket_path,
        }
        with Server(tmp_path, embedded=False, **place) as server:
            store.command("CLIENT", "PAUSE", "1500", "ALL")
            said = sharq("doctor", "--url", server.url)
    rows = {row[0]: row[1:] for row in said.rows[1:]}
    assert rows["server"][0] == "warning"
    assert rows["server"][2].startswith("Look at the store")
