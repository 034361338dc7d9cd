"""What a soak concludes from its figures."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.load import slow, verdict
from tests.load.ledger import Ledger


def points(*sizes: float) -> list[tuple[float, float]]:
    return [(5.0 * at, size) for at, size in enumerate(sizes)]


def test_memory_that_stays_is_flat() -> None:
    steady = verdict.memory("m", points(*[100_000, 101_000] * 20), 0.03, 0)
    assert steady.good


def test_memory_that_grows_is_not_flat() -> None:
    growing = [100_000 + 200 * at for at in range(40)]
    found = verdict.trend(points(*growing))
    assert found is not None
    assert found.an_hour == pytest.approx(200 / 5 * 3600)
    assert not verdict.memory("m", points(*growing), 0.03, 0).good
    assert verdict.memory("m", points(*growing), 0.03, 4096).good


def test_a_single_peak_is_no_growth() -> None:
    assert verdict.memory("m", points(*[100] * 20, 900, *[100] * 20), 0.0, 0).good


def test_from_a_few_samples_nothing_is_concluded() -> None:
    assert verdict.trend(points(1, 2, 3)) is None


def test_a_number_has_to_come_back() -> None:
    assert verdict.back("files", 10, 18, 8).good
    assert not verdict.back("files", 10, 19, 8).good


def test_what_was_found_is_told() -> None:
    assert verdict.none_of("errors", []).good
    assert verdict.none_of("errors", ["a", "b"]) == ("errors", False, "a; b")


def test_every_kind_of_slow_client_has_its_share() -> None:
    for tls, kinds in ((False, slow.KINDS), (True, slow.ALL_KINDS)):
        deck = sum(kind.share for kind in kinds)
        shares = Counter(kind.name for kind in slow.kinds_of(20 * deck, tls=tls))
        assert shares == {kind.name: 20 * kind.share for kind in kinds}
        assert len({kind.name for kind in slow.kinds_of(100, tls=tls)}) == len(kinds)


class TestLedger:
    @staticmethod
    def enqueued(ledger: Ledger, job_id: str) -> None:
        ledger.sending(job_id)
        ledger.answered(job_id, 0.0, 201)

    def test_a_job_that_goes_its_way_is_no_trouble(self) -> None:
        ledger = Ledger()
        self.enqueued(ledger, "j")
        assert ledger.outstanding == 1
        ledger.delivered("j")
        ledger.ended("j", "success")
        assert (ledger.accepted, ledger.finished, ledger.outstanding) == (1, 1, 0)
        assert not ledger.troubles

    def test_a_job_may_be_delivered_before_its_enqueue_is_answered(self) -> None:
        ledger = Ledger()
        ledger.sending("j")
        ledger.delivered("j")
        ledger.answered("j", 0.0, 201)
        ledger.ended("j", "success")
        assert (ledger.accepted, ledger.finished, ledger.outstanding) == (1, 1, 0)
        assert not ledger.troubles

    def test_a_job_that_nobody_is_given_is_outstanding(self) -> None:
        ledger = Ledger()
        self.enqueued(ledger, "j")
        assert ledger.outstanding == 1

    def test_a_second_delivery_is_trouble(self) -> None:
        ledger = Ledger()
        self.enqueued(ledger, "j")
        ledger.delivered("j")
        ledger.delivered("j")
        assert sum(ledger.troubles.values()) == 1

    def test_a_refused_finish_is_trouble(self) -> None:
        ledger = Ledger()
        self.enqueued(ledger, "j")
        ledger.delivered("j")
        ledger.ended("j", "stale_lease")
        assert ledger.troubles == {"a finish was answered stale_lease": 1}
        assert ledger.finished == 0

    def test_a_refused_enqueue_is_trouble_and_waits_for_nothing(self) -> None:
        ledger = Ledger()
        ledger.sending("j")
        ledger.answered("j", 0.0, 503)
        assert ledger.troubles == {"an enqueue was answered 503": 1}
        assert (ledger.accepted, ledger.outstanding) == (0, 0)
