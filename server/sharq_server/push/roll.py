"""What this server tells of its subscribers, and of the leases that they hold."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Collection, Iterable
from typing import Protocol

from sharq.engine import Engine
from sharq_server.push.credit import UNLIMITED
from sharq_server.push.session import Session
from sharq_server.push.subscription import Subscription
from sharq_server.watch.holders import Holder
from sharq_server.watch.roster import MOST, Roll, Subscribed


class Sessions(Protocol):
    """The sessions of a server."""

    @property
    def engine(self) -> Engine: ...
    @property
    def sessions(self) -> Iterable[Session]: ...
    @property
    def lease_seconds(self) -> float: ...


def roll_of(push: Sessions) -> Roll:
    """All subscriptions, up to the most that are told."""
    now = time.monotonic()
    subscribed: dict[str, Subscribed] = {}
    connections = more = 0
    for session in push.sessions:
        connections += 1
        for queue_type in session.subscriptions:
            if len(subscribed) < MOST:
                name = f"{session.number}/{queue_type}"
                subscribed[name] = _subscribed(session, queue_type, now, push.lease_seconds)
            else:
                more += 1
    return Roll(push.engine.server_id, connections, subscribed, more, _host())


def holders_of(push: Sessions, leases: Collection[str]) -> dict[str, Holder]:
    """Those of the leases that connections of this server hold, with the one that has got it last.

    It takes a step for each connection, however many leases those hold.
    """
    now, wall, wanted = time.monotonic(), time.time(), frozenset(leases)
    found: dict[str, tuple[float, Session]] = {}
    for session in push.sessions:
        for lease in session.credit.held.keys() & wanted:
            since = session.credit.since(lease) or 0.0
            if lease not in found or since > found[lease][0]:
                found[lease] = since, session
    return {
        lease: _holder(push.engine.server_id, session, lease, wall - (now - since))
        for lease, (since, session) in found.items()
    }


def _holder(server_id: str, session: Session, lease: str, since: float) -> Holder:
    subscription = session.subscriptions.get(lease.partition("/")[0])
    return Holder(
        server_id,
        _host(),
        1000 * round(since),
        None if subscription is None else _mode(subscription),
        session.worker,
        session.grant.name or None,
    )


def _host() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _mode(subscription: Subscription) -> str:
    return "notify" if subscription.notify else "deliver"


def _subscribed(session: Session, queue_type: str, now: float, lease: float) -> Subscribed:
    credit, subscription = session.credit, session.subscriptions[queue_type]
    ends = [end for token, end in credit.held.items() if token.startswith(queue_type + "/")]
    limit = min(credit.limit_of(queue_type), credit.limit_of(None))
    return Subscribed(
        queue_type,
        _mode(subscription),
        limit if limit < UNLIMITED else 0,
        credit.unused(queue_type),
        len(ends),
        max(0, round(now + lease - min(ends))) if ends else None,
        max(0, round(now - session.heard)),
        session.worker,
        session.grant.name,
    )
