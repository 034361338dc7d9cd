"""When a dequeue looks for ended leases first: by a clock in the test's hand, without a store."""

from __future__ import annotations

import logging

import pytest

from sharq import Batch
from sharq.errors import StoreUnavailable
from sharq.operations.call import Call
from sharq.operations.expiry import Expiry
from sharq.operations.flows import Flows
from sharq.operations.operations import Operations
from sharq.operations.scripts import Scripts
from sharq.results import Swept
from sharq.settings.options import QueueSettings

INTERVAL, LEASE = 1.0, 30.0
NOTHING = Swept(0, 0, False, None, False, False)


class Hand:
    """A clock in seconds."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def swept(next_expiry: float | None = None, *, more: bool = False) -> Swept:
    expiry = None if next_expiry is None else int(next_expiry * 1e6)
    return Swept(0, 0, more, expiry, False, False)


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def reclaiming(clock: Hand) -> Expiry:
    return Expiry(INTERVAL, LEASE, clock)


@pytest.mark.parametrize(
    ("answer", "pause"),
    [
        (swept(), LEASE),  # a lease that begins now ends then
        (swept(12.5), 12.5),
        (swept(0.001), INTERVAL),
        (swept(3600), LEASE),
        (swept(more=True), 0.0),
    ],
)
def test_the_next_look_is_when_a_lease_may_have_ended(
    reclaiming: Expiry, clock: Hand, answer: Swept, pause: float
) -> None:
    assert reclaiming.due("sms")
    reclaiming.note("sms", answer)
    if pause:
        clock.now += pause - 0.001
        assert not reclaiming.due("sms")
        clock.now += 0.002
    assert reclaiming.due("sms")


def test_types_are_looked_at_one_by_one(reclaiming: Expiry) -> None:
    assert reclaiming.due("sms")
    assert reclaiming.due("mail")
    assert not reclaiming.due("sms")


def test_a_long_lease_is_not_waited_for_longer_than_a_minute(clock: Hand) -> None:
    reclaiming = Expiry(INTERVAL, 86_400.0, clock)
    assert reclaiming.due("sms")
    reclaiming.note("sms", swept())
    clock.now += 60.001
    assert reclaiming.due("sms")


def test_a_look_that_fails_is_told_once_and_made_again(
    reclaiming: Expiry, clock: Hand, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        assert reclaiming.due("sms")
        reclaiming.note("sms", StoreUnavailable())
        assert not reclaiming.due("sms")
        clock.now += INTERVAL
    (line,) = caplog.records
    assert line.levelno == logging.WARNING
    assert "Expired jobs of sms are not taken back" in line.getMessage()
    assert reclaiming.due("sms")
    reclaiming.note("sms", swept())
    reclaiming.note("sms", StoreUnavailable())
    assert len(caplog.records) == 2


def flows(clock: Hand, *, reclaims: bool = True, wanted: bool = True) -> Flows:
    settings = QueueSettings(enable_requeue_script=wanted)
    operations = Operations("p", settings, Scripts(), draw=lambda: "5eed")
    return Flows(operations, settings, clock, reclaims=reclaims)


def test_of_a_spread_type_what_fails_is_told_once_by_the_name_of_the_type(
    reclaiming: Expiry, clock: Hand, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        for shard, answer in (
            ("sms:0.1:2", StoreUnavailable()),
            ("sms:1.3:2", swept(0.001)),
        ):
            assert reclaiming.due(shard)
            reclaiming.note(shard, answer)
        clock.now += INTERVAL
    assert [each.getMessage() for each in caplog.records] == [
        "Expired jobs of sms are not taken back: The store is not available."
    ]


def test_the_look_leaves_with_the_dequeue_and_before_it(clock: Hand) -> None:
    taking = flows(clock)
    sent = taking.take("sms", 1, None).send(None)
    assert isinstance(sent, list)
    assert [call.packed for call in sent] == [
        taking.operations.requeue("sms").packed,
        taking.operations.dequeue("sms", 1, None).packed,
    ]
    assert isinstance(taking.take("sms", 1, None).send(None), Call)


@pytest.mark.parametrize("off", [{"reclaims": False}, {"wanted": False}])
def test_who_does_not_want_it_sends_the_dequeue_alone(clock: Hand, off: dict[str, bool]) -> None:
    assert isinstance(flows(clock, **off).take("sms", 1, None).send(None), Call)


def test_a_look_that_fails_does_not_fail_the_dequeue(clock: Hand) -> None:
    taking = flows(clock).take("sms", 1, None)
    taking.send(None)
    batch = Batch("sms", [-1, 0, -1])
    with pytest.raises(StopIteration) as end:
        taking.send([StoreUnavailable(), batch])
    assert end.value.value is batch


def test_a_dequeue_that_fails_is_what_the_caller_hears_of(clock: Hand) -> None:
    taking = flows(clock).take("sms", 1, None)
    taking.send(None)
    with pytest.raises(StoreUnavailable):
        taking.send([NOTHING, StoreUnavailable()])


def test_a_type_that_is_found_vacant_leaves_the_registry(clock: Hand) -> None:
    taking = flows(clock).take("sms", 1, None)
    taking.send(None)
    calls = taking.send([Swept(0, 0, False, None, True, True), Batch("sms", [-1, 0, -1])])
    assert isinstance(calls, list)
    assert b"unregister" not in calls[0].packed
    assert calls[0].packed == flows(clock).operations.unregister("sms").packed
    with pytest.raises(StopIteration):
        taking.send([StoreUnavailable()])
