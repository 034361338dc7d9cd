"""The benchmarks' own parts: reading of answers, tables, targets, and what is made of a result."""

from __future__ import annotations

import ast
import asyncio
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

import sharq
from bench import document, graph, latency, limit, picture, starts
from bench.codec import cases
from bench.highlights import Highlight
from bench.load import KINDS, Answers, Connection, Order, Talk
from bench.peers import failures, install
from bench.peers.registry import Peer, Ready
from bench.push_cycles import frames
from bench.report import Column, Table
from bench.rivals import Rival, peers_table
from bench.sending import IN_FRAMES, ONE_BY_ONE, Sending
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
    "options": {"rounds": 2},
    "targets": [target.to_json() for target in (AT_LEAST, AT_MOST, UNKNOWN, NONE_EARLY)],
    "highlights": [
        Highlight("REST: enqueue", "always", 10_850.4, "requests", 2.5, 7.0).to_json(),
        Highlight("Push", "no log", None, "jobs").to_json(),
    ],
    "results": {
        "latency": [
            Table(
                "Latency",
                tuple(map(Column, ("store", "dispatches/s", "p50 ms", "p99 ms"))),
                [
                    ("no log", 250, 0.4, 0.9),
                    ("no log", 998, 0.5, 2.0),
                    ("always", 250, 0.8, 1.5),
                    ("always", 998, 0.9, 5.0),
                    ("always", None, None, None),
                ],
            ).to_json()
        ],
        "library": [
            Table(
                "Core library: calls a second",
                (Column("library"), Column("store"), Column("all")),
                [("SharQ", "no log", 9_000.4), ("original", "no log", None)],
                ["In turn,", "two rounds."],
            ).to_json()
        ],
    },
}


def test_the_page_of_figures_has_the_targets_and_every_table() -> None:
    page = document.figures(RESULT)
    assert "1 of 3 are missed." in page
    assert "| push | a second | ≥ 20,000/s | 25,000/s | yes |  |" in page
    assert "| latency | p50 | ≤ 1 ms | 4 ms | **no** |  |" in page
    assert "| push | ratio | ≥ 1.60 times |  | not measured | no peers |" in page
    assert "| SharQ | no log | 9,000 |\n| original | no log |  |\n\nIn turn, two rounds." in page


@pytest.fixture
def pages(tmp_path: Path) -> document.Pages:
    """Pages as the project has them, to be written to."""
    users = tmp_path / "performance.md"
    users.write_text(document.PAGES.users.read_text("utf-8"), "utf-8")
    return document.Pages(tmp_path / "FIGURES.md", users)


def test_the_page_for_users_has_its_parts_between_their_marks_only(pages: document.Pages) -> None:
    before = pages.users.read_text("utf-8")
    document.write(RESULT, pages)
    after = pages.users.read_text("utf-8")
    assert "| REST: enqueue | always | 10,850 requests | 2.50 ms | 7 ms |" in after
    assert "| Push | no log |  |  |  |" in after
    assert "Not measured in this run." in after
    parts = re.compile(r"(<!-- bench: (?!end)\w+ -->).*?(<!-- bench: end -->)", re.S)
    assert parts.sub(r"\1\2", after) == parts.sub(r"\1\2", before)
    document.write(RESULT, pages)
    assert pages.users.read_text("utf-8") == after
    assert pages.figures.read_text("utf-8") == document.figures(RESULT)


def test_a_page_without_a_place_for_a_part_leaves_all_as_it_is(pages: document.Pages) -> None:
    text = pages.users.read_text("utf-8").replace("<!-- bench: limit -->", "")
    pages.users.write_text(text, "utf-8")
    with pytest.raises(ValueError, match="limit"):
        document.write(RESULT, pages)
    assert pages.users.read_text("utf-8") == text
    assert [path.name for path in pages.users.parent.iterdir()] == ["performance.md"]


def test_the_graph_has_a_line_for_each_store_and_share(pages: document.Pages) -> None:
    document.write(RESULT, pages)
    drawn = ElementTree.parse(pages.users.with_name("latency.svg")).getroot()
    name = "{http://www.w3.org/2000/svg}"
    curves = {}
    for line in drawn.iter(f"{name}polyline"):
        points = [tuple(map(float, point.split(","))) for point in line.get("points", "").split()]
        assert all(0 < x < graph.WIDTH and 0 < y < graph.HEIGHT for x, y in points)
        curves[line.get("class")] = points
    assert curves.keys() == {
        f"line {share} {store}" for share in ("p50", "p99") for store in ("s0", "s1")
    }
    # To the right there are more jobs a second, and upwards more ms.
    assert curves["line p50 s0"][0][0] < curves["line p50 s0"][1][0]
    assert curves["line p99 s1"][1][1] < curves["line p99 s0"][1][1] < curves["line p50 s0"][1][1]
    texts = [text.text for text in drawn.iter(f"{name}text")]
    assert {"p99, always", "p50, no log", "500", "5"} <= {*texts}
    assert "a CPU, 2 cores, 2026-01-01" in " ".join(map(str, texts))


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


# A limit's cost


def test_the_share_of_the_permitted_rate_is_that_of_each_queue() -> None:
    first, second = limit.interval_of(0), limit.interval_of(1)
    assert first != second
    receipts = [("queue-0", at * first * 1000) for at in range(4)]
    receipts += [("queue-1", at * second * 2000) for at in range(3)]
    assert limit.share_of(receipts) == pytest.approx(75)
    assert limit.share_of([*receipts, ("queue-2", 5)]) == pytest.approx(75)


def test_the_intervals_of_queues_differ_and_permit_the_rate() -> None:
    intervals = [limit.interval_of(queue) for queue in range(limit.RATE)]
    assert sum(1000 / each for each in intervals) == pytest.approx(1_000, rel=0.01)
    assert len({*intervals}) > 100


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


def test_a_readiness_that_was_not_seen_makes_no_latency_shorter() -> None:
    times = [READY + at * 1_000 for at in range(40)]
    receipts = [("q1", 1)] + [("q1", 1_000 * time + 500) for time in times]
    del times[7]
    latencies = latency.match({"q1": times}, receipts, 0.0).latencies
    assert latencies == pytest.approx([0.5] * 39 + [1000.5])
    with pytest.raises(RuntimeError, match="Of 40 jobs 19 were seen"):
        latency.match({"q1": times[20:]}, receipts, 0.0)


def test_a_job_before_its_time_is_no_latency() -> None:
    with pytest.raises(RuntimeError, match="before it was ready"):
        latency.match({"q1": [READY]}, [("q1", 1), ("q1", READY * 1_000 - 200)], 0.0)


# Peers


def rival(name: str, sending: Sending, *speeds: float) -> Rival:
    def prepare(_say: object) -> Ready:
        raise AssertionError

    it = Rival(Peer(name, 1, prepare, sending, None, ""))
    for series in it.speeds.values():
        for speed in speeds:
            series.add(speed)
    return it


def test_a_peer_is_beside_sharq_with_jobs_sent_alike() -> None:
    ours = {
        sending: {store: Series([speed]) for store in ("no log", "always")}
        for sending, speed in ((IN_FRAMES, 1000.0), (ONE_BY_ONE, 100.0))
    }
    table = peers_table(ours, [rival("single", ONE_BY_ONE, 50.0), rival("bulk", IN_FRAMES, 500.0)])
    assert [tuple(row) for row in table.rows] == [
        ("SharQ", "32 a call, 24 calls at once", 1000, None, 1000, None, ""),
        ("bulk", "32 a call, 24 calls at once", 500, 2, 500, 2, ""),
        ("SharQ", "one by one", 100, None, 100, None, ""),
        ("single", "one by one", 50, 2, 50, 2, ""),
    ]


@pytest.mark.parametrize(("size", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (32, [5])])
def test_jobs_are_sent_in_frames_of_a_size(size: int, sizes: list[int]) -> None:
    written = [json.loads(frame)["jobs"] for frame in frames("t", 5, lambda queue: 1 + queue, size)]
    assert [len(jobs) for jobs in written] == sizes
    listed = [job for jobs in written for job in jobs]
    assert len({job["job_id"] for job in listed}) == 5
    assert {job["queue_id"] for job in listed} == {f"queue-{job['interval'] - 1}" for job in listed}


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
