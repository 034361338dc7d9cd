"""What a server tells of the topics that are watched: wholes, and differences to them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Data = dict[str, Any]


class Watched:
    """The last state of each topic, and why it could not be told, if so.

    `data` stays over the loss of a connection, until the next whole; `problems` has messages.
    """

    def __init__(self) -> None:
        self.topics: tuple[str, ...] = ()
        self.data: dict[str, Data] = {}
        self.problems: dict[str, str] = {}
        self._whole: set[str] = set()

    def want(self, topics: Iterable[str]) -> None:
        """Watch these, and forget the others."""
        self.topics = tuple(topics)
        for known in (self.data, self.problems):
            for topic in known.keys() - set(self.topics):
                del known[topic]
        self._whole.clear()

    def begin(self) -> None:
        """A new connection, or a pause: differences count from the next whole on."""
        self._whole.clear()

    def take(self, event: Mapping[str, Any]) -> bool:
        """Take an event `watch`; False if it cannot be used without the whole."""
        topic = event.get("topic")
        if topic not in self.topics:
            # It was on its way when others were asked for.
            return True
        assert isinstance(topic, str)
        problem = event.get("problem")
        if problem is not None:
            self.problems[topic] = f"{problem['message'].rstrip('.')} ({problem['code']})"
            self._whole.discard(topic)
            return True
        if event.get("full"):
            self.data[topic] = event["data"]
            self._whole.add(topic)
            self.problems.pop(topic, None)
            return True
        if topic in self.problems:
            return True
        if topic not in self._whole:
            return False
        self.data[topic] = merged(self.data[topic], event["data"])
        return True

    @property
    def complete(self) -> bool:
        """Whether the whole of every topic is known."""
        return self._whole.issuperset(self.topics)


def merged(value: Any, patch: Any) -> Any:
    """A JSON value with a merge patch (RFC 7386); neither is changed."""
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for name, each in patch.items():
        if each is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), each)
    return result
