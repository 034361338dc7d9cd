"""What `sharq top` shows, and how it fits a terminal."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from sharq.cli import queue_tops, top_screen, top_view
from sharq.cli.keys import KeyReader
from sharq.cli.top_screen import State
from tests.support.cases import cases
from tests.support.watch_server import AT, MINUTE, of_type, of_types, of_workers, type_entry


@cases(
    ("count", "text"),
    [
        (0, "0"),
        (9_999, "9,999"),
        (10_000, "10.0k"),
        (123_456, "123k"),
        (1_204_000, "1.2M"),
        (99_949_999, "99.9M"),
        (123_456_789, "123M"),
        (5 * 10**9, "5.0G"),
    ],
)
def test_counts_are_short(count: int, text: str) -> None:
    assert top_view.short(count) == text
    assert len(text) <= 6


def test_rates_are_of_this_minute_and_the_last() -> None:
    minutes = {str(MINUTE): [300, 150, 75], str(MINUTE - 60_000): [600, 300, 150]}
    assert top_view.rates(minutes, MINUTE + 30_000) == (10.0, 5.0, 2.5)
    assert top_view.rates({}, MINUTE) == (0, 0, 0)
    assert top_view.rates({str(MINUTE - 120_000): [600, 0, 0]}, MINUTE) == (0, 0, 0)


def test_the_queues_of_a_top() -> None:
    data = of_type(2)
    data["queues"]["q1"] = {
        "waiting": 7,
        "active": 0,
        "due": AT - 2300,
        "group": "g",
        "held_by": "nothing",
        "drained_in": 90_000,
    }
    data["queues"]["q2"] = {"waiting": 9, "active": 0, "held_by": "group_paused"}
    data["tops"]["oldest"].append("q2")
    assert list(queue_tops.rows(data, "oldest")) == [
        ("q1", "7", "0", "-", "ready 2.3 s", "nothing", "1.5 min", "g"),
        ("q0", "20", "1", "1 s", "in 500 ms", "interval", "20 s", "-"),
        ("q2", "9", "0", "-", "-", "group_paused", "-", "-"),
    ]


@cases(
    ("milliseconds", "text"),
    [
        (None, "-"),
        (0, "0 ms"),
        (999, "999 ms"),
        (1200, "1.2 s"),
        (59_400, "59 s"),
        (125_000, "2.1 min"),
        (2_280_000, "38 min"),
        (3_900_000, "1.1 h"),
        (86_400_000 * 364, "364 d"),
    ],
)
def test_times_are_short(milliseconds: float | None, text: str) -> None:
    assert queue_tops.about(milliseconds) == text
    assert len(text) <= 7


def test_what_was_not_looked_at_is_told() -> None:
    assert queue_tops.looked_at(of_type(2)) is None
    looked = {"queues": 20_000, "of": 1_000_000, "since": 1_767_225_600_000}
    assert queue_tops.looked_at(of_type(2, looked=looked)) == (
        "20,000 of 1,000,000 queues were looked at since 2026-01-01 00:00:00 UTC."
    )


def drawn(state: State, width: int, height: int) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, force_terminal=False)
    console.print(top_screen.draw(state, width, height))
    return out.getvalue().splitlines()


def words_of(line: str) -> str:
    return " ".join(line.split())


def full(types: int = 30, queues: int = 50, workers: int = 20) -> State:
    entries: dict[str, Any] = {f"type-{number:02}": type_entry() for number in range(types)}
    chosen = f"type-{types - 1:02}"
    known = of_workers(chosen)
    (one,) = known["workers"].values()
    known["workers"] = {f".a1/{number}/{chosen}": one for number in range(workers)}
    notes = {chosen: "4 queues are ready, no worker has room."}
    data = {
        "types": of_types(**entries) | {"notes": notes},
        f"type/{chosen}": of_type(queues),
        "workers": known,
    }
    return State("http://127.0.0.1:8080", data, chosen, "backlog")


@cases(
    ("width", "height"), [(80, 24), (100, 30), (200, 60), (120, 20), (60, 24), (80, 16), (300, 10)]
)
@cases("counts", [(30, 50, 20), (1, 0, 0), (2, 3, 1)])
def test_it_fits_the_terminal(width: int, height: int, counts: tuple[int, int, int]) -> None:
    lines = drawn(full(*counts), width, height)
    assert max(map(len, lines)) <= width
    if height >= 16:
        assert len(lines) == height
        assert lines[-1].startswith("q quit")
    text = "\n".join(lines)
    # The chosen type is in sight.
    assert f"type-{counts[0] - 1:02} " in text
    assert "4 queues are ready, no worker has room." in text


def test_eighty_columns_have_what_matters() -> None:
    lines = drawn(full(2, 3, 1), 80, 24)
    assert words_of(lines[2]) == "type waiting leased dead ready held oldest in/s out/s room"
    assert words_of(lines[3]) == "type-00 12 3 0 4 8 1.2 s 10.0 5.0 150"
    text = "\n".join(lines)
    assert "type-01: queues by waiting jobs" in text
    assert "type-01: workers" in text
    assert words_of(drawn(full(2, 3, 1), 200, 24)[2]).endswith(
        " in/s out/s done/s workers room held by"
    )


def test_what_is_the_matter_is_in_the_first_line() -> None:
    state = full(2, 3, 1)
    assert "2 types, 1 worker, 3 connections" in drawn(state, 80, 24)[0]
    assert "paused" in drawn(state._replace(paused=True), 80, 24)[0]
    lost = state._replace(trouble="Connection refused", problems=("The store is away",))
    assert "no connection, trying again: Connection refused" in drawn(lost, 120, 24)[0]
    away = state._replace(problems=("The store is away",))
    assert "The store is away" in drawn(away, 80, 24)[0]


def test_before_anything_is_known_and_without_types() -> None:
    empty = State("http://x", {}, None, "backlog")
    assert len(drawn(empty, 80, 24)) == 24
    none = empty._replace(data={"types": of_types()})
    assert "No type has jobs" in "\n".join(drawn(none, 80, 24))


def test_names_of_others_are_no_markup_and_no_controls() -> None:
    state = full(1, 1, 1)
    (worker,) = state.data["workers"]["workers"].values()
    types = state.data["types"]["types"]
    types["[red]x\x1b[31m"] = types["type-00"]
    worker["worker"] = state.data["types"]["notes"]["type-00"] = "[red]x\x1b[31m"
    text = "\n".join(drawn(state, 120, 24))
    assert text.count("[red]x\\x1b[31m") == 3
    assert "\x1b" not in text


@cases(
    ("pieces", "keys"),
    [
        ([b"q"], ["q"]),
        ([b"\x1b[A\x1b[B\x1bOC\x1b[D"], ["up", "down", "right", "left"]),
        ([b"\t\x1b[Zp"], ["tab", "shift-tab", "p"]),
        ([b"\x1b", b"[", b"A"], ["up"]),
        ([b"\x1b[", b"Bq"], ["down", "q"]),
        ([b"\x1b[15~q"], ["q"]),
        ([b"\x1bq", b"Q"], ["q"]),
        ([b"\xc3\xa4 q"], ["q"]),
    ],
)
def test_keys(pieces: list[bytes], keys: list[str]) -> None:
    reader = KeyReader()
    assert [key for piece in pieces for key in reader.read(piece)] == keys
