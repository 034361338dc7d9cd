"""The history as operations: each invoke with its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.faults.history import Event


def operations(events: Iterable[Event]) -> Iterator[tuple[Event, Event | None, bool]]:
    """In the order of the history: what begins, what ends, and notes.

    An invoke comes twice: with None when it begins, and with its end when that comes, or at the
    end of all with None where it has none; the last part tells whether it is over. A note is over
    at once.
    """
    under_way: dict[tuple[str, int], Event] = {}
    for event in events:
        if event.e == "note":
            yield event, None, True
        elif event.e == "invoke":
            former = under_way.get((event.p, event.i))
            if former is not None:
                yield former, None, True
            under_way[event.p, event.i] = event
            yield event, None, False
        else:
            invoke = under_way.pop((event.p, event.i), None)
            if invoke is not None:
                yield invoke, event, True
    for invoke in under_way.values():
        yield invoke, None, True
