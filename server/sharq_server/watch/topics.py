"""What can be watched. Pure."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sharq.errors import BadArgumentException
from sharq.identifiers import invalid, is_identifier

MOST: Final = 8
"""Topics that a connection watches, at most."""

TYPES, TYPE, QUEUE, WORKERS, TAIL = "types", "type", "queue", "workers", "tail"
HOLDER = "holder"
_NAMES: Final = {TYPES: 0, TYPE: 1, QUEUE: 2, WORKERS: 0, TAIL: 1, HOLDER: 4}


class Topic(NamedTuple):
    """`types`, `type/NAME`, `queue/TYPE/ID`, `workers`, `tail/TYPE` or `holder/LEASE`.

    A lease is `TYPE/QUEUE/JOB/NUMBER`.
    """

    kind: str
    queue_type: str | None = None
    queue_id: str | None = None
    job_id: str | None = None
    number: str | None = None

    @property
    def lease(self) -> str:
        """The lease of `holder/LEASE`."""
        return str(self).partition("/")[2]

    def __str__(self) -> str:
        return "/".join(word for word in self if word is not None)


def topics_of(values: Any) -> list[Topic]:
    """The topics in a client's frame. Raises `BadArgumentException`."""
    if not isinstance(values, list | tuple):
        raise invalid("topics")
    if len(values) > MOST:
        raise BadArgumentException(f"`topics` has more than {MOST} entries.")
    return list(dict.fromkeys(_topic(value) for value in values))


def _topic(value: Any) -> Topic:
    if not isinstance(value, str):
        raise invalid("topics")
    kind, *names = value.split("/")
    if _NAMES.get(kind) != len(names) or not all(map(is_identifier, names)):
        raise invalid("topics")
    return Topic(kind, *names)
