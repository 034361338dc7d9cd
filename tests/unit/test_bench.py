"""The benchmarks' own parts: reading of answers, tables, targets, and what is made of a result."""

from __future__ import annotations

import ast
import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import sharq
from bench import document, latency, picture, starts
from bench.codec import cases
from bench.load import KINDS, Answers, Connection, Order, Talk
from bench.peers import failures, install
from bench.report import Column, Table
from bench.series import Series
from bench.targets import Target, summary

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class Wire(asyncio.Transport):
    """What a connection sends."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent.append(bytes(data))


def talk(heard: list[bytes]) -> Talk:
    number = 0
    while True:
        heard.append((yield b"request %d" % number))
        number += 1


def converse(pieces: Iterable[bytes]) -> tuple[list[bytes], list[bytes], Answers]:
    """What was sent and what was heard, when the answers come in these pieces."""
    answers = Answers()
    heard: list[bytes] = []
    wire = Wire()
    connection = Connection(talk(heard), answers, lambda: None)
    connection.connection_made(wire)
    for piece in pieces:
        connection.data_received(piece)
    return wire.sent, heard, answers


def test_a_request_follows_each_whole_answer() -> None:
    sent, heard, answers = converse([OK, OK])
    assert sent == [b"request 0", b"request 1", b"request 2"]
    assert heard == [OK, OK]
    assert answers.wanted == 2


def test_an_answer_in_pieces_is_one_answer() -> None:
    sent, heard, _ = converse(OK[at : at + 1] for at in range(len(OK)))
    assert sent == [b"request 0", b"request 1"]
    assert heard == [OK]


def test_an_answer_that_was_not_wanted_is_counted_apart() -> None:
    _, _, answers = converse([MISSING, OK])
    assert (answers.wanted, answers.others) == (1, {"404": 1})


def test_words_are_set_left_and_numbers_right() -> None:
    table = Table(
        "T", (Column("what"), Column("each", 1)), [("a", 1.25), ("long", 1234)], ["Note."]
    )
    assert table.lines() == [
        "T",
        "",
        "  what     each",
        "  a         1.2",
        "  long  1,234.0",
        "",
        "  Note.",
    ]


def test_a_value_that_is_not_known_is_a_dash() -> None:
    assert Table("T", (Column("n"),), [(None,), (12,)]).lines()[3:] == ["   -", "  12"]


def test_the_file_has_the_values_by_the_names_of_their_columns() -> None:
    table = Table("T", (Column("what"), Column("each", 1)), [("a", 1.25)])
    assert table.to_json() == {"title": "T", "rows": [{"what": "a", "each": 1.25}], "notes": []}


@pytest.mark.parametrize("head", [b"content-length: 4", b"Content-Length:4"])
def test_the_length_is_found_however_it_is_written(head: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nServer: x\r\n" + head + b"\r\n\r\nbody"
    assert converse([answer])[1] == [answer]


def test_a_job_without_a_lease_is_finished_without_one() -> None:
    cycle = KINDS["cycle"](Order("cycle", 1, 1, queue_type="sms"))
    assert next(cycle).startswith(b"GET /dequeue/sms/ ")
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    job = {"queue_id": "q1", "job_id": "j1"}
    request = cycle.send(head + json.dumps(job).encode())
    assert request.startswith(b"POST /finish/sms/q1/j1/ ")
    assert request.endswith(b"Content-Length: 0\r\n\r\n")
    cycle.send(head)
    leased = cycle.send(head + json.dumps(job | {"lease": "sms/q1/j1/7"}).encode())
    assert leased.endswith(b'\r\n\r\n{"lease": "sms/q1/j1/7"}')


# Targets

AT_LEAST = Target("push", "a second", 20_000, 25_000.0, "/s")
AT_MOST = Target("latency", "p50", 1, 4.0, "ms", at_most=True)
UNKNOWN = Target("push", "ratio", 1.6, None, "times", remark="no peers")
NONE_EARLY = Target("rate", "early", 0, 0, "", at_most=True)


def test_a_target_is_met_from_its_own_side() -> None:
    targets = (AT_LEAST, AT_MOST, UNKNOWN, NONE_EARLY)
    assert [target.met for target in targets] == [True, False, None, True]
    assert [target.margin for target in targets] == [1.25, 0.25, None, None]


def test_the_summary_says_what_was_missed_and_what_is_not_known() -> None:
    rows = [tuple(row) for row in summary([AT_LEAST, AT_MOST, UNKNOWN]).rows]
    assert rows == [
        ("push", "a second", "≥ 20,000/s", "25,000/s", "yes", ""),
        ("latency", "p50", "≤ 1 ms", "4 ms", "NO", ""),
        ("push", "ratio", "≥ 1.60 times", "-", "?", "no peers"),
    ]


def test_a_ratio_is_taken_within_each_round() -> None:
    # The ratio of the medians would be 20 / 3.
    assert Series([10.0, 30.0, 20.0]).ratio_to(Series([5.0, 3.0, 1.0])) == 10


def test_rounds_that_one_of_both_lacks_have_no_ratio() -> None:
    assert Series([8.0, 100.0, 9.0]).ratio_to(Series([4.0, None])) == 2
    assert Series([8.0]).ratio_to(Series()) is None


# A result

RESULT: dict[str, Any] = {
    "taken": "2026-01-01 00:00 UTC",
    "seconds": 300,
    "machine": {
        "cpu": "a CPU",
        "cores": 2,
        "system": "Linux",
        "fdatasync_us": 100,
        "store": "Valkey 9",
    },
    "targets": [target.to_json() for target in (AT_LEAST, AT_MOST, UNKNOWN, NONE_EARLY)],
    "results": {
        "library": [
            Table(
                "Core library: calls a second",
                (Column("library"), Column("store"), Column("all")),
                [("SharQ", "no log", 9_000.4), ("original", "no log", None)],
                ["In turn,", "two rounds."],
            ).to_json()
        ]
    },
}


def test_the_document_has_the_figures_between_its_marks_only() -> None:
    text = f"Before.\n{document.BEGIN}\nold\n{document.END}\nAfter.\n"
    placed = document.placed(text, RESULT)
    assert placed.startswith(f"Before.\n{document.BEGIN}\n")
    assert placed.endswith(f"\n{document.END}\nAfter.\n")
    assert "old" not in placed
    assert "| push | a second | ≥ 20,000/s | 25,000/s | yes |  |" in placed
    assert "| latency | p50 | ≤ 1 ms | 4 ms | **no** |  |" in placed
    assert "| SharQ | no log | 9,000 |\n| original | no log |  |\n\nIn turn, two rounds." in placed
    assert document.placed(placed, RESULT) == placed


def test_a_document_without_marks_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "performance.md"
    path.write_text("nothing")
    with pytest.raises(ValueError, match="figures"):
        document.write(RESULT, path)
    assert path.read_text() == "nothing"


def test_the_project_has_a_place_for_the_figures() -> None:
    assert document.placed(document.PATH.read_text(encoding="utf-8"), RESULT)


def test_the_picture_shows_what_was_reached_and_what_was_missed(tmp_path: Path) -> None:
    path = tmp_path / "result.png"
    picture.draw(RESULT, path)
    with Image.open(path) as image:
        colours = {colour: count for count, colour in image.getcolors(1 << 20) or ()}
        met, missed, ours = (hex_to_rgb(each) for each in ("#2f9e6e", "#d64545", "#2166b0"))
    # Four times too much is farther from the target than a quarter more than wanted.
    assert colours[missed] > colours[met] > 1_000
    assert colours[ours] > 1_000


def hex_to_rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


# Starts of handlers


def test_the_starts_of_a_queue_are_held_against_its_interval() -> None:
    apart = [0, 1_000_000, 1_960_000, 3_000_000]
    assert starts.starts_of(apart, 1000) == starts.Starts(4, pytest.approx(96.0), 0, 1)
    together = [5_000_000, 0, 1_000_000, 1_001_000, 1_003_000, 1_004_500]
    assert starts.starts_of(together, 1000) == starts.Starts(6, pytest.approx(0.1), 3, 3)


def test_one_start_says_nothing() -> None:
    with pytest.raises(RuntimeError, match="began 1 jobs"):
        starts.starts_of([5], 1000)


# Latency

READY = 1_000


def test_a_receipt_is_paired_with_the_readiness_before_it() -> None:
    schedule = {"q1": [READY, READY + 1_000], "q2": [READY + 500]}
    receipts = [
        ("q1", 50_000),
        ("q2", 60_000),
        ("q1", READY * 1_000 + 700),
        ("q2", READY * 1_000 + 500_300),
        ("q1", READY * 1_000 + 1_000_000),
    ]
    sample = latency.match(schedule, receipts, 0.0)
    assert sample.latencies == pytest.approx([0.0, 0.3, 0.7])
    assert sample.rate == pytest.approx(2 / 0.9993)


def test_the_distance_of_the_clocks_is_taken_out() -> None:
    receipts = [("q1", 1), ("q1", READY * 1_000 - 200)]
    assert latency.match({"q1": [READY]}, receipts, 500.0).latencies == pytest.approx([0.3])


def test_a_job_before_its_time_is_no_latency() -> None:
    with pytest.raises(RuntimeError, match="before it was ready"):
        latency.match({"q1": [READY]}, [("q1", 1), ("q1", READY * 1_000 - 200)], 0.0)


# Peers


def test_a_program_that_is_not_there_is_missing() -> None:
    with pytest.raises(failures.Missing, match="no-such-program is not installed"):
        install.program("no-such-program")


def test_an_environment_that_cannot_be_made_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "FOLDER", tmp_path)
    said: list[str] = []
    with pytest.raises(failures.Missing, match="cannot be installed"):
        install.environment("peer", [f"{tmp_path}/no-such-package"], said.append)
    assert said == ["installing peer"]
    assert not (tmp_path / "peer" / "complete").exists()


def test_every_function_of_the_codec_is_measured_beside_plain_python() -> None:
    stub = ast.parse((Path(sharq.__file__).parent / "_fastpath.pyi").read_text("utf-8"))
    functions = {node.name for node in stub.body if isinstance(node, ast.FunctionDef)}
    for node in stub.body:
        if isinstance(node, ast.ClassDef):
            functions |= {
                f"{node.name}.{inner.name}"
                for inner in node.body
                if isinstance(inner, ast.FunctionDef)
                if not inner.decorator_list and not inner.name.startswith("_")
            }
    measured = list(cases())
    assert functions <= {case.name.partition(",")[0] for case in measured}
    assert [case.name for case in measured if case.compiled() != case.plain()] == []
