"""One sentence where something is wrong with a type. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_LONG: Final = 5000
"""Milliseconds for which a queue has been ready when that is worth a sentence."""


def note(entry: Mapping[str, Any]) -> str | None:
    """The sentence for what the topic `types` shows of a type; None where nothing is wrong."""
    early = entry["early"]
    if early:
        return f"{_many(early, 'job')} went before the rate allowed it. Please report this."
    if entry.get("held_by") == "paused":
        return "The type is paused."
    ready = entry["ready"]
    if ready and entry.get("oldest_ready", 0) >= _LONG:
        are = "is" if ready == 1 else "are"
        if entry["subscribers"] and not entry["room"]:
            return f"{_many(ready, 'queue')} {are} ready, and no worker has room."
        if not entry["subscribers"] and not _dequeued_lately(entry["minutes"]):
            return f"{_many(ready, 'queue')} {are} ready, and nobody asks for jobs."
        return f"{_many(ready, 'queue')} {are} ready, the first for {_seconds(entry)}."
    if "fallen_out" in entry:
        return f"{_many(entry['fallen_out'], 'dead letter')} fell out of the bounds."
    return None


def _dequeued_lately(minutes: Mapping[str, list[int]]) -> bool:
    return any(minutes[minute][1] for minute in sorted(minutes)[-2:])


def _seconds(entry: Mapping[str, Any]) -> str:
    return f"{entry['oldest_ready'] // 1000:,} s"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
