"""What each topic shows: from the store, and from what the servers tell of their subscribers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from sharq.engine import Engine
from sharq.observed import TypeMetrics
from sharq_server.api import shown_replies
from sharq_server.api.replies import Reply
from sharq_server.watch import roster
from sharq_server.watch.holders import Holders
from sharq_server.watch.merging import Data, known
from sharq_server.watch.notes import note
from sharq_server.watch.roster import Roster
from sharq_server.watch.sampling import Sampler
from sharq_server.watch.topics import HOLDER, QUEUE, TYPE, TYPES, Topic

MOST_TYPES: Final = 100
"""Types that are looked at, at most; the page says how many more there are."""

Reach = frozenset[str] | None
"""The types that a viewer may see; None: all."""


class Looks:
    """Looks at the store through `engine` whenever it is asked to.

    `servers`: who is connected, `holders`: who holds leases.
    """

    def __init__(self, engine: Engine, servers: Roster, holders: Holders) -> None:
        self._engine = engine
        self._roster = servers
        self._holders = holders
        self._samplers: dict[str, Sampler] = {}

    async def look(self, topic: Topic, reach: Reach) -> Data:
        """What a topic shows now. Raises `StoreError`."""
        if topic.kind == HOLDER:
            return await self._holders.look(topic.lease)
        if topic.kind != QUEUE:
            await self._roster.call([*self._samplers])
        if topic.kind == TYPES:
            return await self._types(reach)
        if topic.kind == TYPE:
            return await self._type(str(topic.queue_type))
        if topic.kind == QUEUE:
            return await self._queue(str(topic.queue_type), str(topic.queue_id))
        return await self._workers(reach)

    def forget(self, topics: set[Topic]) -> None:
        """Only these are still watched."""
        kept = {topic.queue_type for topic in topics if topic.kind == TYPE}
        self._samplers = {name: each for name, each in self._samplers.items() if name in kept}
        self._holders.forget({topic.lease for topic in topics if topic.kind == HOLDER})

    async def _types(self, reach: Reach) -> Data:
        engine, flows = self._engine, self._engine.flows.watching
        if reach is None:
            names, more, complete = await engine.run(flows.types(MOST_TYPES))
        else:
            names, more = sorted(reach)[:MOST_TYPES], max(0, len(reach) - MOST_TYPES)
            complete = True
        at, types = await engine.run(flows.metrics(names))
        subscribed = roster.totals(self._roster.rolls())
        shown = {
            name: _type_entry(at, metrics, subscribed.get(name))
            for name, metrics in types.items()
            if reach is None or metrics.has_jobs or any(metrics.enqueue_counts.values())
        }
        notes = {name: note(entry) for name, entry in shown.items()}
        return {
            "at": at,
            "types": shown,
            "more": more,
            "notes": {name: text for name, text in notes.items() if text is not None},
            **known(
                complete=None if complete else False,
                unreached=[name for name in names if name not in types] or None,
            ),
        }

    async def _type(self, queue_type: str) -> Data:
        engine = self._engine
        at, metrics, limits = await engine.run(engine.flows.watching.type(queue_type))
        subscribed = roster.totals(self._roster.rolls())
        entry = _type_entry(at, metrics, subscribed.get(queue_type))
        sampler = self._samplers.get(queue_type)
        if sampler is None:
            sampler = self._samplers[queue_type] = Sampler(engine, queue_type)
        first = await sampler.look(at, self._roster.grown(queue_type))
        return {
            "at": at,
            **entry,
            **known(note=note(entry)),
            **first,
            "limits": _told(shown_replies.limits(limits, of_queue=False)),
        }

    async def _queue(self, queue_type: str, queue_id: str) -> Data:
        engine = self._engine
        at, metrics, limits = await engine.run(engine.flows.watching.queue(queue_type, queue_id))
        return {
            "at": at,
            "metrics": _told(shown_replies.queue_metrics(metrics)),
            "limits": _told(shown_replies.limits(limits, of_queue=True)),
            "early": metrics.early,
        }

    async def _workers(self, reach: Reach) -> Data:
        engine = self._engine
        at, _ = await engine.run(engine.flows.watching.metrics(()))
        shown = roster.shown(self._roster.rolls())
        if reach is not None:
            workers: Mapping[str, Any] = shown["workers"]
            shown["workers"] = {
                name: each for name, each in workers.items() if each["queue_type"] in reach
            }
        return {"at": at, **shown}


def _type_entry(
    at: int, metrics: TypeMetrics, subscribed: Mapping[str, int] | None
) -> dict[str, Any]:
    minutes = {
        str(minute): [count, metrics.dequeue_counts[minute], metrics.finish_counts[minute]]
        for minute, count in metrics.enqueue_counts.items()
    }
    return {
        **known(
            waiting=metrics.waiting,
            delayed=metrics.delayed,
            active=metrics.active,
            dead=metrics.dead.jobs,
            fallen_out=metrics.dead.fallen_out or None,
            ready=metrics.ready,
            held=metrics.held,
            oldest_ready=metrics.oldest_ready,
            held_by=metrics.held_by,
            held_until=None if metrics.ready_in is None else at + metrics.ready_in,
            early=metrics.early,
            minutes=minutes,
        ),
        **(subscribed or {"subscribers": 0, "credit": 0, "room": 0}),
    }


def _told(reply: Reply) -> Any:
    """What a route answers, as data of a patch: without what is not known."""
    return _without_none(msgspec.json.decode(reply.body))


def _without_none(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _without_none(each) for name, each in value.items() if each is not None}
