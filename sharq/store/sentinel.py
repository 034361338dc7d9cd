"""What sentinels say, and which of them is believed. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from socket import gaierror
from typing import Any, Final, NamedTuple

from hiredis import ReplyError

from sharq.errors import StoreDenied, StoreError, StoreUnavailable, UnexpectedReply, reason_of
from sharq.operations.call import Call
from sharq.results import Watch
from sharq.settings.options import TCP, StoreSettings
from sharq.store.errors import store_error
from sharq.store.script_loading import pack
from sharq.store.slots import Node

ASK_TIMEOUT: Final = 0.5
"""How long a sentinel may take to answer, seconds."""

GRACE: Final = 0.25
"""How long the others are waited for when one has answered, seconds."""

LOOK_INTERVAL: Final = 2.0
"""Time between two looks at all sentinels, beside their events, seconds."""

HOLD: Final = 2.5
"""How long a replica that is being promoted is waited for, seconds."""

PROBE_INTERVAL: Final = 0.05
"""How often it is asked meanwhile, seconds."""

EVENTS: Final = (b"+failover-state-send-slaveof-noone", b"+promoted-slave", b"+switch-master")
"""The channels on which a sentinel names the next primary: before, at and after its promotion.

Only the leader has the first two, up to two seconds before its third.
"""

# An answer with an older configuration than the known one counts only if nobody has told the known
# one for so long, seconds: when all sentinels have been set up anew.
_OUTDATED_FOR: Final = 10.0


class Told(NamedTuple):
    """What a sentinel answers: the epoch of its configuration, and the primary."""

    epoch: int
    node: Node


Said = Mapping[str, Told | StoreError]
"""What each sentinel answers, by its address."""


def at_sentinel(settings: StoreSettings, address: str) -> StoreSettings:
    """How one of the sentinels is reached, over TLS if the store is."""
    node = _node(*address.rsplit(":", 1))
    user, password = settings.sentinel_username, settings.sentinel_password
    return replace(at_node(settings, node), username=user, password=password, db=0)


def at_node(settings: StoreSettings, node: Node) -> StoreSettings:
    """How a node that the sentinels name is reached."""
    return replace(settings, conn_type=TCP, host=node.host, port=node.port)


def node_of(settings: StoreSettings) -> Node:
    """The node at which settings point."""
    return Node(settings.host, settings.port)


# ---- questions and answers ----


def questions(settings: StoreSettings) -> list[Call[Any]]:
    """What a sentinel is asked, in one write; `told` reads the replies.

    Only the first reply has the epoch, and only the second one, during a failover, the promoted
    replica already.
    """
    service = (settings.sentinel_service or "").encode()
    words = (b"SENTINEL", b"MASTER", service), (b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", service)
    return [Call(pack(*each), b"", lambda reply: reply) for each in words]


def told(replies: Sequence[Any], service: str) -> Told:
    """Read the replies of a sentinel. Raises `StoreError` if it does not know the service."""
    for reply in replies:
        if isinstance(reply, ReplyError):
            raise _refused(str(reply), service)
    state, address = replies
    try:
        facts = dict(zip(state[::2], state[1::2], strict=True))
        host, port = address
        return Told(int(facts[b"config-epoch"]), _node(host.decode(), port))
    except (TypeError, ValueError, KeyError, UnicodeDecodeError):
        raise UnexpectedReply("it does not answer as a sentinel does") from None


def _refused(reply: str, service: str) -> StoreError:
    if reply.startswith("ERR No such master"):
        return StoreUnavailable(f"it monitors no `{service}` (sentinel_service)")
    if reply.startswith("ERR unknown command"):
        return StoreUnavailable("it is no sentinel")
    return store_error(reply)


def named(said: Said) -> list[Told]:
    """The answers that name a primary."""
    return [each for each in said.values() if isinstance(each, Told)]


def survey(service: str, said: Said, primary: StoreSettings | None) -> Watch:
    """How many name the primary in use, and what the others say."""
    node = None if primary is None else node_of(primary)
    naming = [each for each in said.values() if isinstance(each, Told) and each.node == node]
    others = [
        f"{address}: {_text(each)}"
        if isinstance(each, StoreError)
        else f"{address}: it names {each.node.host}:{each.node.port}"
        for address, each in said.items()
        if isinstance(each, StoreError) or each.node != node
    ]
    return Watch(service, len(said), len(naming), tuple(others))


def unanswered(said: Said) -> StoreError:
    """The error where no sentinel names a primary: what each of them says."""
    troubles = {at: each for at, each in said.items() if isinstance(each, StoreError)}
    each = "; ".join(f"{address}: {_text(error)}" for address, error in troubles.items())
    denied = any(isinstance(error, StoreDenied) for error in troubles.values())
    trouble = StoreDenied() if denied else StoreUnavailable()
    trouble.__cause__ = LookupError(f"no sentinel names a primary ({each})")
    return trouble


def _text(error: StoreError) -> str:
    cause = error.__cause__
    if isinstance(cause, OSError) and not isinstance(cause, gaierror) and cause.errno is not None:
        # Event loops have words of their own for it.
        return os.strerror(cause.errno)
    text = reason_of(error) if cause is not None else str(error)
    return text if text != "TimeoutError" else "no answer"


def _is_primary(reply: Any) -> None:
    role = reply[0] if isinstance(reply, list) and reply else reply
    if role != b"master":
        trouble = StoreUnavailable()
        trouble.__cause__ = LookupError("it is no primary, though the sentinels name it")
        raise trouble


IS_PRIMARY: Final[Call[None]] = Call(pack(b"ROLE"), b"", _is_primary)
"""Asks a node that the sentinels name; raises `StoreUnavailable` if it is not a primary."""


def candidate(message: bytes, service: str) -> Node | None:
    """The replica of the service that an event of `EVENTS` says is promoted; else None.

    A promotion is ``slave <name> <host> <port> @ <service> …``. A switch, which names the former
    primary first, may be told when another promotion has begun: it is a reason to ask, no answer.

    Source: the documentation of Sentinel, "Pub/Sub messages".
    """
    words = message.decode(errors="replace").split(" ")
    if words[0] != "slave" or words[4:6] != ["@", service] or not words[3].isdigit():
        return None
    return _node(words[2], words[3])


def _node(host: str, port: str | bytes) -> Node:
    return Node(host.removeprefix("[").removesuffix("]"), int(port))


# ---- who is believed ----


class Opinion:
    """The primary that is believed in, by what `count` sentinels say: `node`, None at first.

    Each promotion has a higher epoch than all before, so that the highest one counts: a sentinel
    that was cut off has a lower one. Times are of a monotonic clock, in seconds.
    """

    def __init__(self, count: int) -> None:
        self.node: Node | None = None
        self._majority = count // 2 + 1
        self._epoch = -1
        self._heard_at = float("-inf")

    def hear(self, answers: Sequence[Told], now: float) -> None:
        """Note the answers to one question."""
        if not answers:
            return
        newest = max(answers, key=lambda told: (told.epoch, told.node == self.node))
        outdated = newest.epoch < self._epoch
        agreed = len(answers) >= self._majority and now - self._heard_at >= _OUTDATED_FOR
        if outdated and not agreed:
            return
        self._epoch, self.node = newest
        self._heard_at = now

    def promoted(self, node: Node, now: float) -> None:
        """Note that the node an event has named is a primary now."""
        if node != self.node:
            self._epoch, self.node, self._heard_at = self._epoch + 1, node, now
