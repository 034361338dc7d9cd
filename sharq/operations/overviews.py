"""The types that have jobs, and the sums of their counts."""

from __future__ import annotations

from sharq.errors import StoreError
from sharq.operations import sums
from sharq.operations.call import Brief, Flow
from sharq.operations.operations import Operations
from sharq.operations.registry import Registry
from sharq.operations.spreading import Spreading
from sharq.results import Overview

_MINUTES = 10


def overview(spreading: Spreading, registry: Registry) -> Flow[Overview]:
    """Of all types that are registered; in a cluster as far as their nodes answer.

    Raises the failure if no type can be told, or the store is no cluster.
    """
    now = yield from _time(spreading.operations, registry)
    minutes = [(now // 60_000 - ago) * 60_000 for ago in range(_MINUTES)]
    enqueued = dict.fromkeys(minutes, 0)
    dequeued = dict.fromkeys(minutes, 0)
    with_jobs: list[str] = []
    unreached: list[str] = []
    met: set[str] = set()
    failure: StoreError | None = None
    walk = registry.walk()
    while (page := (yield from walk.next())) is not None:
        types = [queue_type for queue_type in page.types if queue_type not in met]
        met.update(types)
        answers = yield from spreading.of_types(
            types, spreading.operations.type_metrics, brief=registry.clustered
        )
        for queue_type, parts in zip(types, answers, strict=True):
            if isinstance(parts, StoreError):
                if not registry.clustered:
                    raise parts
                failure = failure or parts
                unreached.append(queue_type)
                continue
            metrics = sums.type_metrics(parts)
            if metrics.has_jobs:
                with_jobs.append(queue_type)
            for minute in minutes:
                enqueued[minute] += metrics.enqueue_counts.get(minute, 0)
                dequeued[minute] += metrics.dequeue_counts.get(minute, 0)
    if failure is not None and len(unreached) == len(met):
        raise failure
    return Overview(with_jobs, enqueued, dequeued, walk.complete and not unreached, unreached)


def _time(operations: Operations, registry: Registry) -> Flow[int]:
    """The store's time in ms; in a cluster, that of a node which answers."""
    now: int
    if not registry.clustered:
        now = yield operations.ping()
        return now
    (answer,) = yield Brief([operations.ping()])
    if isinstance(answer, StoreError):
        # A node that hangs was asked: by now it is known that it does.
        now = yield operations.ping()
        return now
    return int(answer)
