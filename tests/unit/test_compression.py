"""Bodies in gzip, decoded piece by piece."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharq_server.api.compression import MOST_MEMBERS, BrokenGzip, GzipDecoder, TooLarge
from tests.support.cases import cases


def decoded(data: bytes, limit: int = 1 << 20, piece: int = 1 << 20) -> bytes:
    decoder = GzipDecoder(limit)
    out = [decoder.feed(data[at : at + piece]) for at in range(0, len(data), piece)]
    decoder.end()
    return b"".join(out)


@given(st.lists(st.binary(max_size=200), max_size=4), st.integers(1, 50))
def test_members_one_after_another_are_one_body(parts: list[bytes], piece: int) -> None:
    data = b"".join(gzip.compress(part) for part in parts)
    assert decoded(data, piece=piece) == b"".join(parts)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_whatever_comes_is_decoded_or_refused(head: bytes, tail: bytes) -> None:
    data = gzip.compress(head)[: len(tail) + 8] + tail
    try:
        expected: bytes | None = gzip.decompress(data)
    except (EOFError, OSError, zlib.error):
        expected = None
    try:
        got: bytes | None = decoded(data)
    except BrokenGzip:
        got = None
    # The library of Python overlooks zeros behind the end; they are no member.
    assert got == expected or (got is None and data.endswith(b"\x00"))


def test_optional_parts_of_the_head_are_read() -> None:
    body = zlib.compress(b"abc", wbits=-15)
    head = b"\x1f\x8b\x08\x1e" + bytes(6) + b"\x03\x00xyz" + b"name\x00" + b"comment\x00"
    head += (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little")
    trailer = zlib.crc32(b"abc").to_bytes(4, "little") + (3).to_bytes(4, "little")
    assert decoded(head + body + trailer, piece=1) == b"abc"


def test_no_bytes_are_no_body() -> None:
    assert decoded(b"") == b""


@cases("cut", range(1, 30))
def test_a_part_of_gzip_is_refused(cut: int) -> None:
    with pytest.raises(BrokenGzip, match="ends in the middle"):
        decoded(gzip.compress(b'{"some": "text"}')[:-cut])


def test_the_limit_is_for_what_is_decoded_in_all() -> None:
    data = gzip.compress(b"x" * 600) * 2
    assert len(decoded(data, limit=1200)) == 1200
    with pytest.raises(TooLarge):
        decoded(data, limit=1199)
    assert decoded(gzip.compress(b"") * 2, limit=0) == b""
    with pytest.raises(TooLarge):
        decoded(gzip.compress(b"x"), limit=0)


def test_a_body_has_a_thousand_members_at_most() -> None:
    assert decoded(gzip.compress(b"x") * MOST_MEMBERS) == b"x" * MOST_MEMBERS
    with pytest.raises(BrokenGzip, match="more than 1024 gzip members"):
        decoded(gzip.compress(b"") * (MOST_MEMBERS + 1))


@pytest.mark.timing
def test_a_bomb_costs_no_more_than_its_limit() -> None:
    bombs = [gzip.compress(bytes(1 << 28)), gzip.compress(b"", 1) * 800_000]
    bombs.append(gzip.compress(bytes(1000)) + b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * (1 << 24))
    for bomb in bombs:
        tracemalloc.start()
        began = time.process_time()
        with pytest.raises((TooLarge, BrokenGzip)):
            decoded(bomb, limit=1 << 24)
        assert time.process_time() - began < 2
        assert tracemalloc.get_traced_memory()[1] < 4 << 24
        tracemalloc.stop()
