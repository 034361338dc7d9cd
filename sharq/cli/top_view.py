"""What `sharq top` shows, as rows of text: types, the queues of one, its workers. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sharq.cli import queue_tops
from sharq.cli.queue_tops import about
from sharq.cli.words import NOTHING, shown

TYPES: Final = "types"
WORKERS: Final = "workers"

_MINUTE: Final = 60_000
_TEN_THOUSAND: Final = 10_000


class Column(NamedTuple):
    """A column: its name, its width in characters, 0 for what the others leave.

    Where the terminal is narrow those of the highest `rank` are left out first, those of 0 never.
    """

    name: str
    width: int
    rank: int = 0
    left: bool = False


class Part(NamedTuple):
    """A table: its columns, its rows in their order, and the number of the chosen one, if any."""

    columns: Sequence[Column]
    rows: Sequence[tuple[str, ...]]
    chosen: int | None = None


TYPE_COLUMNS: Final = (
    Column("type", 0, left=True),
    Column("waiting", 7),
    Column("delayed", 7, 8),
    Column("leased", 6, 1),
    Column("dead", 6, 3),
    Column("ready", 6),
    Column("held", 6, 2),
    Column("oldest", 7, 4),
    Column("in/s", 6, 1),
    Column("out/s", 6, 1),
    Column("done/s", 6, 7),
    Column("workers", 7, 6),
    Column("room", 6, 5),
    Column("held by", 17, 9),
)
QUEUE_COLUMNS: Final = (
    Column("queue", 0, left=True),
    Column("waiting", 8),
    Column("leased", 6, 4),
    Column("interval", 9, 3),
    Column("next job", 14, 1),
    Column("held by", 17, 1),
    Column("drains in", 12, 2),
    Column("group", 16, 5),
)
WORKER_COLUMNS: Final = (
    Column("worker", 0, left=True),
    Column("mode", 7, 3),
    Column("credit", 6, 1),
    Column("leases", 6),
    Column("oldest", 8, 2),
    Column("heard", 8, 1),
    Column("token", 16, 4),
    Column("server", 18, 5),
)


def topic_of(queue_type: str) -> str:
    """The topic that has the queues of a type."""
    return f"type/{queue_type}"


def names(data: Mapping[str, Any]) -> list[str]:
    """The types that are known, in the order in which they are shown."""
    return sorted(data.get(TYPES, {}).get("types", {}))


def busiest(data: Mapping[str, Any]) -> str | None:
    """The type to begin with: the one with most waiting jobs."""
    types = data.get(TYPES, {}).get("types", {})
    return max(names(data), key=lambda name: types[name]["waiting"], default=None)


def types(data: Mapping[str, Any], chosen: str | None) -> Part:
    """The types, of which one is chosen."""
    known, found = names(data), data.get(TYPES, {})
    rows = [_type_row(name, found["types"][name], found["at"]) for name in known]
    return Part(TYPE_COLUMNS, rows, known.index(chosen) if chosen in known else None)


def _type_row(name: str, entry: Mapping[str, Any], at: float) -> tuple[str, ...]:
    enqueued, dispatched, finished = rates(entry.get("minutes", {}), at)
    return (
        name,
        *(short(entry[each]) for each in ("waiting", "delayed", "active", "dead", "ready", "held")),
        about(entry.get("oldest_ready")),
        *map(rate, (enqueued, dispatched, finished)),
        short(entry.get("subscribers", 0)),
        short(entry.get("room", 0)),
        shown(entry.get("held_by")),
    )


def queues(data: Mapping[str, Any], chosen: str, order: str) -> Part:
    """The top queues of a type."""
    found = data.get(topic_of(chosen))
    return Part(QUEUE_COLUMNS, [] if found is None else list(queue_tops.rows(found, order)))


def workers(data: Mapping[str, Any], chosen: str | None) -> Part:
    """The subscribers of a type, or all."""
    found = data.get(WORKERS, {})
    entries, servers = found.get("workers", {}), found.get("servers", {})
    rows = [
        (
            each.get("worker", NOTHING),
            each["mode"],
            short(each["credit"]),
            short(each["held"]),
            about(each.get("oldest_lease")),
            about(each.get("heard")),
            each.get("token", NOTHING),
            servers.get(each["server"], {}).get("host", each["server"]),
        )
        for _, each in sorted(entries.items())
        if chosen is None or each["queue_type"] == chosen
    ]
    return Part(WORKER_COLUMNS, rows)


def remarks(data: Mapping[str, Any], chosen: str) -> Iterator[str]:
    """What is to be said of a type: what is wrong, what holds it, and what went early."""
    found = data.get(TYPES, {})
    entry = found.get("types", {}).get(chosen, {})
    note = found.get("notes", {}).get(chosen)
    if note:
        yield note
    if entry.get("early"):
        yield f"{entry['early']:,} jobs went before their time."
    held_by = entry.get("held_by")
    if held_by not in (None, "nothing"):
        until = entry.get("held_until")
        left = "" if until is None else f", for {about(max(0, until - found['at']))}"
        yield f"Held by {held_by}{left}."
    looked = queue_tops.looked_at(data.get(topic_of(chosen), {}))
    if looked is not None:
        yield looked


def totals(data: Mapping[str, Any]) -> str:
    """All of it in a few words."""
    found = data.get(TYPES, {})
    count = len(found.get("types", {})) + found.get("more", 0)
    known = data.get(WORKERS, {})
    subscribed = len(known.get("workers", {})) + known.get("more", 0)
    connections = sum(each["connections"] for each in known.get("servers", {}).values())
    counts = {"type": count, "worker": subscribed, "connection": connections}
    told = ", ".join(f"{of:,} {what}{'' if of == 1 else 's'}" for what, of in counts.items())
    away = len(found.get("unreached", ()))
    if away or found.get("complete") is False:
        told += f"; {away:,} types could not be read" if away else "; not all types could be read"
    return told


def rates(minutes: Mapping[str, Sequence[int]], at: float) -> tuple[float, float, float]:
    """Enqueues, dispatches and finishes a second, over this minute and the last whole one."""
    begin = int(at // _MINUTE) * _MINUTE
    parts = [minutes.get(str(each), (0, 0, 0)) for each in (begin, begin - _MINUTE)]
    seconds = (_MINUTE + at - begin) / 1000
    enqueued, dispatched, finished = (sum(part[which] for part in parts) for which in range(3))
    return enqueued / seconds, dispatched / seconds, finished / seconds


def short(count: int) -> str:
    """A count in up to six characters."""
    if count < _TEN_THOUSAND:
        return f"{count:,}"
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}" if count < 100 * size else f"{count // size}{unit}"
    raise AssertionError(count)


def rate(a_second: float) -> str:
    """A rate in up to six characters."""
    if a_second < 100:
        return f"{a_second:.1f}"
    return short(round(a_second))
