"""Which queues are told by name, of which types: few, so that labels are bounded. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

from sharq_server.telemetry.store_state import StoreState

MOST_TYPES: Final = 10
"""Types whose queues are told, at most."""

MOST_QUEUES: Final = 10
"""Queues of a type in each metric, at most."""


class TopQueues(NamedTuple):
    """The first queues of a type: by their `waiting` jobs, and by the seconds since they may go."""

    waiting: Mapping[str, int]
    ready: Mapping[str, float]


LookAtTops = Callable[[Sequence[str]], Awaitable[Mapping[str, TopQueues]]]
"""Looks at types: the first queues of each; those that are not known yet are left out."""


def busiest(states: Mapping[str, StoreState]) -> list[str]:
    """The types whose queues are told: those with the most waiting jobs."""
    waiting = {name: state.waiting for name, state in states.items() if state.waiting}
    return heapq.nsmallest(MOST_TYPES, waiting, key=lambda name: (-waiting[name], name))
