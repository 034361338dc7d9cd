"""The demo's judgement: what went too early, and under which limit."""

from __future__ import annotations

import pytest

from sharq_server.demo.tenants import Instant, Limit, Pause, Period, Tenant


def at(tick: int, latest: int | None = None) -> Instant:
    return Instant(tick, tick if latest is None else latest)


def tenant(*dispatches: Instant, interval: int = 100) -> Tenant:
    made = Tenant("bakery", Limit(interval, at(0)))
    made.dispatches.extend(dispatches)
    return made


def test_a_gap_of_the_interval_is_not_early() -> None:
    assert tenant(at(1000), at(1100), at(1200)).early() == 0


def test_a_gap_that_is_a_millisecond_short_is_early() -> None:
    assert tenant(at(1000), at(1099), at(1200)).early() == 1


def test_dispatches_are_judged_in_the_order_of_the_clock() -> None:
    assert tenant(at(1100), at(1000), at(1199)).early() == 1


def test_what_may_have_been_in_time_is_not_early() -> None:
    assert tenant(at(1000, 1002), at(1098, 1100)).early() == 0


def test_what_cannot_have_been_in_time_is_early_though_its_instant_is_not_known() -> None:
    assert tenant(at(1000, 1002), at(1097, 1099)).early() == 1


def test_a_job_is_judged_by_the_limit_in_force_when_it_went() -> None:
    changed = tenant(at(1000), at(1050), at(1100), interval=100)
    changed.limits.append(Limit(50, at(1010)))
    assert changed.early() == 0


def test_a_longer_interval_holds_for_the_job_that_was_scheduled_already() -> None:
    changed = tenant(at(1000), at(1050), interval=50)
    changed.limits.append(Limit(100, at(1010)))
    assert changed.early() == 1


def test_while_a_limit_is_being_set_the_smaller_interval_counts() -> None:
    changed = tenant(at(1000), at(1050), interval=100)
    changed.limits.append(Limit(50, at(1049, 1051)))
    assert changed.early() == 0


def test_the_gap_in_which_the_limit_changed_belongs_to_no_period() -> None:
    changed = tenant(at(1000), at(1100), at(1160), at(1210), interval=100)
    changed.limits.append(Limit(50, at(1110)))
    first, second = changed.periods()
    assert (first.jobs, first.gaps) == (2, [100])
    assert (second.jobs, second.gaps) == (2, [50])


def test_the_dispatches_around_a_change_are_found() -> None:
    changed = tenant(at(1000), at(1100), at(1160), at(1210), interval=100)
    changed.limits.append(Limit(50, at(1110)))
    assert changed.around(changed.limits[1]) == (at(1100), at(1160))


def test_the_rate_is_that_of_the_present_limit() -> None:
    changed = tenant(*(at(tick) for tick in (1000, 1500, 2000, 2100, 2200, 2300)), interval=500)
    changed.limits.append(Limit(100, at(2050)))
    assert changed.rate(since=0) == pytest.approx(10)


def test_one_dispatch_has_no_rate() -> None:
    assert tenant(at(1000)).rate(since=0) is None


@pytest.mark.parametrize(("share", "gap"), [(0.0, 1), (0.5, 50), (0.99, 99), (1.0, 100)])
def test_a_quantile_is_a_gap_that_was_measured(share: float, gap: int) -> None:
    period = Period(Limit(1, at(0)), 101, list(range(100, 0, -1)), 0)
    assert period.quantile(share) == gap


def test_a_job_breaks_a_pause_if_it_certainly_went_in_it() -> None:
    pause = Pause(100, at(10, 12))
    inside = [at(13), at(50, 60), at(109)]
    perhaps = [at(11), at(12, 14), at(100, 110), at(110)]
    assert pause.broken_by(tenant(*inside, *perhaps)) == inside
