"""The words of limits in calls and replies of the store. Pure."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from sharq.results import Estimate, Limits, LimitValues, Pause


def number(told: int | bytes) -> float:
    """A number in a reply, which may be text, with decimals or without: an `int` if it is whole."""
    value = float(told)
    return int(value) if value.is_integer() else value


def limits(reply: list[Any]) -> Limits:
    """What `show_limits` tells."""
    interval, by_interval, burst, by_burst, concurrency, by_concurrency, group, by_group = reply[:8]
    reason, tat, active, waiting, paused, by_pause, pause_reason, held_by, ready_in = reply[8:]
    set_by = (by_interval, by_burst, by_concurrency, by_group)
    return Limits(
        interval=number(interval) if interval else None,
        burst=burst or None,
        concurrency=concurrency or None,
        group=_told(group),
        set_by={name: _told(by) for name, by in zip(LimitValues._fields[:4], set_by, strict=True)},
        reason=_told(reason),
        tat=number(tat) if tat else None,
        active=active,
        queue_length=None if waiting < 0 else waiting,
        pause=_pause(paused, pause_reason, by_pause) if paused else None,
        held_by=_told(held_by),
        ready_in=None if ready_in < 0 else ready_in,
    )


def _pause(paused: bytes, reason: bytes, set_by: bytes) -> Pause:
    until = None if paused == b"inf" else number(paused)
    return Pause(until, _told(reason), set_by.decode())


def _told(text: bytes) -> str | None:
    return unquote(text.decode()) or None


def estimate(reply: list[int]) -> Estimate:
    """What `dry_run` tells."""
    drains, before, estimated = reply
    return Estimate(None if drains < 0 else drains, None if before < 0 else before, bool(estimated))
