"""The dispatcher's pure parts: how jobs are dealt, and how a delivery is split."""

from __future__ import annotations

import pytest

from sharq import Batch
from sharq_server.push.delivery import Delivery, deal
from tests.support.cases import cases


def batch(count: int) -> Batch:
    reply: list[int | bytes] = [0, 0, 0]
    for at in range(count):
        reply += [b"q", b"j%d" % at, b"1", b"-1", 1, 0, b"1", 0]
    return Batch("t", reply)


@cases("count", [2, 4, 5])
@cases("first", [0, 1, 2])
def test_a_parcel_is_split_in_two(count: int, first: int) -> None:
    whole = Delivery(batch(count), 0, count, 9.0)
    part, rest = whole.split(first)
    assert (len(part), len(rest)) == (first, count - first)
    assert part.leases + rest.leases == whole.leases
    assert (part.until, rest.until) == (9.0, 9.0)


@pytest.mark.parametrize(
    ("count", "places", "hands"),
    [(0, [3], [0]), (5, [3, 3], [3, 2]), (5, [1, 9], [1, 4]), (9, [2, 2], [2, 2]), (3, [], [])],
)
def test_jobs_are_dealt_in_turn(count: int, places: list[int], hands: list[int]) -> None:
    assert deal(count, places) == hands
