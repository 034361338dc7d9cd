"""How the places of a call are shared out among the subscribers of a type."""

from __future__ import annotations

import pytest

from sharq_server.push.delivery import Delivery
from sharq_server.push.news import News
from sharq_server.push.subscribers import AT_ONCE, Grants, SubscriberGroup
from sharq_server.telemetry.cells import Memory
from sharq_server.telemetry.meter import Meter


class Subscriber:
    """Has room for so many jobs."""

    notify = False
    request_id: str | None = None

    def __init__(self, room: int) -> None:
        self.room = room
        self.had = 0

    @property
    def has_room(self) -> bool:
        return self.room > 0

    def reserve(self, wanted: int) -> int:
        places = min(wanted, self.room)
        self.room -= places
        return places

    def unreserve(self, count: int) -> None:
        self.room += count

    def deliver(self, reserved: int, delivery: Delivery) -> bool:
        raise NotImplementedError

    def offer(self, ready: int) -> None:
        raise NotImplementedError

    def ended(self) -> None:
        raise NotImplementedError


def group_of(*rooms: int) -> tuple[SubscriberGroup, list[Subscriber]]:
    news = News(Meter(Memory(1).slot(0)))
    group = SubscriberGroup("t", *(3 * [lambda _group: None]), lambda: 0.0, news)
    members = [Subscriber(room) for room in rooms]
    for each in members:
        group.enter(each)
    return group, members


def places(grants: Grants) -> list[int]:
    return [count for _, count in grants]


def serve(group: SubscriberGroup) -> int:
    """A call whose answer is full; returns for how many subscribers it was."""
    grants = group.grants(group.ring)
    for subscriber, count in grants:
        assert isinstance(subscriber, Subscriber)
        subscriber.had += count
        group.served(subscriber)
        group.in_a_row += count
    return len(grants)


@pytest.mark.parametrize(
    ("rooms", "shared"),
    [
        ([100], [64]),
        ([100, 100], [32, 32]),
        ([100, 3, 100], [31, 3, 30]),
        ([1, 1, 1], [1, 1, 1]),
        ([0, 5], [5]),
        ([100] * 40, [2] * 24 + [1] * 16),
        ([100] * 100, [1] * 64),
    ],
)
def test_a_call_is_shared_alike_as_far_as_there_is_room(
    rooms: list[int], shared: list[int]
) -> None:
    group, _ = group_of(*rooms)
    assert places(group.grants(group.ring)) == shared


def test_while_jobs_keep_coming_a_call_is_for_ever_fewer() -> None:
    group, _ = group_of(*[100_000] * 40)
    served = [serve(group) for _ in range(200)]
    assert served[0] == 40
    assert served[-1] == 1


@pytest.mark.parametrize("subscribers", [2, 12, 40, 100])
def test_at_any_time_in_a_backlog_all_have_had_about_as_much(subscribers: int) -> None:
    group, members = group_of(*[100_000] * subscribers)
    while group.in_a_row < 300 * subscribers:
        serve(group)
        least, most = min(each.had for each in members), max(each.had for each in members)
        if group.in_a_row >= 2 * AT_ONCE:
            assert most <= 3 * least


def test_a_backlog_that_has_ended_counts_no_more() -> None:
    group, _ = group_of(*[100_000] * 40)
    for _ in range(200):
        serve(group)
    group.in_a_row = 0
    assert serve(group) == 40
