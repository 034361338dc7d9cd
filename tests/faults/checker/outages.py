"""When nothing could be expected of the service, by the notes of the faults.

What is done to a node of a store of several concerns the types that the node has, and no others.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from tests.faults.history import Event
from tests.faults.schedule import is_of_node

RECOVERY_MS: Final = 5_000
"""Within so many ms of the store's return, service is back."""

_OF_ALL: Final = (
    *("kill store", "stop the store", "restart the store", "fill the disk"),
    "restart all servers",
)
_START_MS: Final = 3_000
"""What a server takes to work again, at most, where another one is there to do its part."""

Span = tuple[float, float]


class Outages:
    """Spans of time in ms of the store's clock, in order; those that touch are one."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self.spans = _joined(spans)

    def deadline(self, due: float, within: float) -> float:
        """Until when what is `due` is to be done; each outage starts the time again."""
        deadline = due + within
        at = max(0, bisect_left(self.spans, (due, 0.0)) - 1)
        for begin, end in self.spans[at:]:
            if begin > deadline:
                break
            if end + RECOVERY_MS > due:
                deadline = max(deadline, end + RECOVERY_MS + within)
        return deadline

    def meets(self, span: Span) -> bool:
        """Whether a span and an outage have a time in common."""
        at = max(0, bisect_left(self.spans, span) - 1)
        return any(begin <= span[1] and end >= span[0] for begin, end in self.spans[at : at + 2])

    def ends(self) -> Iterator[Span]:
        """The end of each outage, and for how long there is none after it."""
        for at, (_, end) in enumerate(self.spans):
            following = self.spans[at + 1 : at + 2]
            yield end, following[0][0] - end if following else float("inf")


class ByType:
    """The outages of all, and of types."""

    def __init__(self, whole: Iterable[Span], of_types: Mapping[str, Iterable[Span]]) -> None:
        self.whole = Outages(whole)
        self._of_types = {
            name: Outages([*self.whole.spans, *spans]) for name, spans in of_types.items()
        }

    def of(self, queue_type: str) -> Outages:
        """Those of a type."""
        return self._of_types.get(queue_type, self.whole)


def spans_of_nodes(
    notes: Iterable[Event], ms: Callable[[int], float], after: float = 0
) -> dict[str, list[Span]]:
    """For each type, when something was done to its node, and so many ms longer."""
    begun: dict[tuple[str, str], float] = {}
    spans: defaultdict[str, list[Span]] = defaultdict(list)
    for note in notes:
        if not is_of_node(note.op):
            continue
        key = (note.op, note.target)
        if note.phase == "begin":
            begun[key] = ms(note.t)
        for queue_type in note.types if note.phase == "end" else ():
            spans[queue_type].append((begun.get(key, ms(note.t)), ms(note.t) + after))
    return spans


def outages_of(notes: Iterable[Event], wall_minus_t: int) -> ByType:
    """The outages in the history: the store is, or all servers at once are, out of order.

    `wall_minus_t` is how far the time of day is ahead of the times of the history, in µs.
    """
    notes = list(notes)
    whole: list[Span] = []
    of_server: defaultdict[str, list[Span]] = defaultdict(list)
    begun: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    last = 0.0
    for note in notes:
        last = (note.t + wall_minus_t) / 1000
        if is_of_node(note.op):
            continue
        key = (note.op, note.target)
        if note.phase == "begin":
            begun[key].append(last)
        elif note.phase == "end" and begun[key]:
            # Of faults that overlap, the first begun ends first.
            _add(whole, of_server, key, begun[key].pop(0), last)
    for key, begins in begun.items():
        for begin in begins:
            _add(whole, of_server, key, begin, last)
    common: list[Span] | None = None
    for spans in of_server.values():
        joined = _joined(spans)
        common = joined if common is None else list(_common(common, joined))
    of_types = spans_of_nodes(notes, lambda t: (t + wall_minus_t) / 1000)
    return ByType([*whole, *(common or ())], of_types)


def _add(
    whole: list[Span],
    of_server: dict[str, list[Span]],
    key: tuple[str, str],
    begin: float,
    end: float,
) -> None:
    op, target = key
    if op in _OF_ALL:
        whole.append((begin, end))
    elif target and "worker" not in op:
        of_server[target].append((begin, end + _START_MS))


def _joined(spans: Iterable[Span]) -> list[Span]:
    joined: list[Span] = []
    for begin, end in sorted(spans):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def _common(some: list[Span], others: list[Span]) -> Iterator[Span]:
    """The times that are in both."""
    for begin, end in some:
        for other_begin, other_end in others:
            if max(begin, other_begin) < min(end, other_end):
                yield max(begin, other_begin), min(end, other_end)
