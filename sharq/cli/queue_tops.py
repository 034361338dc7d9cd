"""The top queues of a type, as a watched type has them: rows for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sharq.cli.words import NOTHING, duration, moment

ORDERS: Final = ("backlog", "oldest", "drain")
"""By waiting jobs, by the time since when a queue is ready, by the time until it is drained."""

ABOUT: Final = {
    "backlog": "by waiting jobs",
    "oldest": "by how long they are ready",
    "drain": "by the time until they are drained",
}
COLUMNS: Final = (
    *("queue", "waiting", "leased", "interval", "next job", "held by", "drains in", "group"),
)

_UNITS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"))


def entries(data: Mapping[str, Any], order: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The queues of a top, in its order, with what is told of each."""
    for name in data["tops"][order]:
        queue = data["queues"].get(name)
        if queue is not None:
            yield name, queue


def rows(data: Mapping[str, Any], order: str) -> Iterator[tuple[str, ...]]:
    """The cells of `COLUMNS` for each queue."""
    for name, queue in entries(data, order):
        yield (
            name,
            f"{queue['waiting']:,}",
            f"{queue['active']:,}",
            duration(queue.get("interval")),
            _due(queue.get("due"), data["at"]),
            queue.get("held_by", NOTHING),
            about(queue.get("drained_in")),
            queue.get("group", NOTHING),
        )


def looked_at(data: Mapping[str, Any]) -> str | None:
    """What the tops leave out, in a sentence; None if that is nothing."""
    looked = data.get("looked")
    if looked is None or looked["queues"] >= looked["of"]:
        return None
    since = f" since {moment(looked['since'])}" if "since" in looked else ""
    return f"{looked['queues']:,} of {looked['of']:,} queues were looked at{since}."


def about(milliseconds: float | None) -> str:
    """A time to three figures or so, in up to seven characters: what is watched is late by a second
    anyway.
    """
    if milliseconds is None:
        return NOTHING
    for size, unit in _UNITS:
        if milliseconds >= size:
            return f"{milliseconds / size:.{0 if milliseconds >= 10 * size else 1}f} {unit}"
    return f"{milliseconds:.0f} ms"


def _due(due: float | None, at: float) -> str:
    if due is None:
        return NOTHING
    return f"in {about(due - at)}" if due > at else f"ready {about(at - due)}"
