"""Where limits and pauses are: at a queue, at a group of queues, or at a whole type. Pure."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

from sharq.errors import BadArgumentException
from sharq.identifiers import check_group, check_identifier

QUEUE: Final = "queue"
GROUP: Final = "group"
TYPE: Final = "type"


class Target(NamedTuple):
    """One level of a type. `name` is that of the queue or the group, and empty for the type."""

    kind: Literal["queue", "group", "type"]
    name: str = ""


def target_of(queue_id: Any, group_id: Any) -> Target:
    """The queue or the group that is named, or the type if neither is (None).

    Raises `BadArgumentException` for a name that is not valid, and for both.
    """
    if queue_id is None and group_id is None:
        return Target(TYPE)
    if group_id is None:
        return Target(QUEUE, check_identifier("queue_id", queue_id))
    if queue_id is None:
        return Target(GROUP, check_group("group_id", group_id))
    raise BadArgumentException("`queue_id` and `group_id` cannot be given together.")
