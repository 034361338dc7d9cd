"""What a WSGI process logs of its store, by a clock in the test's hand."""

from __future__ import annotations

from typing import Any

import pytest

from sharq.errors import StoreUnavailable
from sharq_server.gateway.telling import StoreLog


class Hand:
    """A clock in seconds."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level("INFO", "sharq_server.gateway.telling")
    return caplog


def test_a_part_of_a_cluster_that_is_away_is_told_once(
    clock: Hand, said: pytest.LogCaptureFixture, expect_log: Any
) -> None:
    log = StoreLog(clock)
    for _ in range(20):
        log.note(StoreUnavailable("The store is not available (NOREPLICAS)."))
        clock.now += 1
        log.note(None)
    assert said.messages == ["The store does not work: The store is not available (NOREPLICAS)."]
    clock.now += 5
    log.note(None)
    log.note(None)
    assert said.messages[1:] == ["The store works again"]
    log.note(StoreUnavailable())
    assert len(said.messages) == 3
    expect_log("The store does not work: ")


def test_the_reason_is_told_where_it_says_more(
    clock: Hand, said: pytest.LogCaptureFixture, expect_log: Any
) -> None:
    error = StoreUnavailable()
    error.__cause__ = ConnectionRefusedError(111, "Connection refused")
    StoreLog(clock).note(error)
    assert said.messages == [
        "The store does not work: The store is not available. (Connection refused)"
    ]
    expect_log("The store does not work: ")
