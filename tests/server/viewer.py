"""A client that watches topics, and what watching costs the store."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.server.subscriber import Subscriber
from tests.support.stores import PrivateStore


def merged(data: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7386), as a client applies it."""
    if not isinstance(patch, dict):
        return patch
    data = dict(data) if isinstance(data, dict) else {}
    for name, value in patch.items():
        if value is None:
            data.pop(name, None)
        else:
            data[name] = merged(data.get(name), value)
    return data


class Viewer:
    """A client that watches: `shown` is what it knows of each topic."""

    def __init__(self, subscriber: Subscriber) -> None:
        self.subscriber = subscriber
        self.shown: dict[str, Any] = {}
        self.wholes = 0
        self.problems: list[dict[str, Any]] = []

    async def watch(self, *topics: str) -> None:
        answer = await self.subscriber.ask(op="watch", topics=topics)
        assert answer["event"] == "reply", answer

    async def see(self) -> None:
        """Take the next event."""
        event = await self.subscriber.event("watch", 15)
        topic = event["topic"]
        if "problem" in event:
            self.problems.append(event["problem"])
        elif event.get("full"):
            self.wholes += 1
            self.shown[topic] = event["data"]
        else:
            self.shown[topic] = merged(self.shown[topic], event["data"])

    async def until(self, topic: str, holds: Any) -> Any:
        """Wait until what is known of a topic is as wanted."""
        while topic not in self.shown or not holds(self.shown[topic]):
            await self.see()
        return self.shown[topic]


async def calls_within(store: PrivateStore, seconds: float) -> int:
    """The calls of scripts that a store gets in a time; there is no condition to wait for."""
    before = store.script_calls()
    await asyncio.sleep(seconds)
    return store.script_calls() - before
