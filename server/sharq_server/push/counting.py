"""How many subscribers there are now, and what they may hold: counted when somebody asks."""

from __future__ import annotations

from collections.abc import Iterable

from sharq_server.push.long_poll import LongPoll
from sharq_server.push.session import Session
from sharq_server.telemetry.meter import TypeUse

_NONE = TypeUse()


def counted(sessions: Iterable[Session], polls: Iterable[LongPoll]) -> dict[str, TypeUse]:
    """The subscribers by queue type.

    Room that a connection has for several types counts for each of them.
    """
    types: dict[str, TypeUse] = {}
    for session in sessions:
        for queue_type, subscription in session.subscriptions.items():
            use = types.get(queue_type, _NONE)
            types[queue_type] = TypeUse(
                use.deliver + (not subscription.notify),
                use.notify + subscription.notify,
                use.poll,
                use.held + session.credit.held_of(queue_type),
                use.free + session.credit.unused(queue_type),
            )
    for poll in polls:
        use = types.get(poll.queue_type, _NONE)
        types[poll.queue_type] = use._replace(poll=use.poll + 1)
    return types
