"""The benchmarks' own parts: the load generator's reading of answers, and tables."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from bench.load import Answers, Connection, Talk
from bench.report import Column, Table

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
