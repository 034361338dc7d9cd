"""What a node of the store reports about itself: what it is, and how it keeps its data."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

from hiredis import ReplyError

from sharq.errors import StoreError, StoreUnavailable
from sharq.operations.call import Call
from sharq.results import Keeping
from sharq.settings.options import StoreSettings
from sharq.store.connecting import address
from sharq.store.query import ask, ask_blocking
from sharq.store.script_loading import pack

_QUESTIONS: Final = [
    Call(pack(*words), b"", lambda reply: reply)
    for words in ((b"INFO",), (b"CONFIG", b"GET", b"appendfsync"), (b"TIME",))
]


async def look_at(settings: StoreSettings, timeout: float) -> Keeping:
    """Ask one node; `timeout` in seconds is for all of it."""
    asked_at = _now()
    try:
        async with asyncio.timeout(timeout):
            replies = await ask(settings, _QUESTIONS, timeout)
    except TimeoutError:
        return _silent(settings, StoreUnavailable("No answer in time."))
    except StoreError as error:
        return _silent(settings, error)
    return _keeping(settings, asked_at, *replies)


def look_at_blocking(settings: StoreSettings, timeout: float) -> Keeping:
    """The same without an event loop."""
    asked_at = _now()
    try:
        replies = ask_blocking(settings, _QUESTIONS, timeout)
    except StoreError as error:
        return _silent(settings, error)
    return _keeping(settings, asked_at, *replies)


def _silent(settings: StoreSettings, trouble: StoreError) -> Keeping:
    return Keeping(address(settings), trouble=trouble)


def _keeping(
    settings: StoreSettings, asked_at: int, info: Any, appendfsync: Any, clock: Any
) -> Keeping:
    where = address(settings)
    ahead = _ahead(clock, asked_at, _now())
    if isinstance(info, ReplyError):
        return Keeping(where, refused=("INFO", str(info)), ahead=ahead)
    lines = info.decode(errors="replace").splitlines()
    facts = dict(line.partition(":")[::2] for line in lines)
    logs = facts.get("aof_enabled") != "0"
    refused = value = None
    if isinstance(appendfsync, ReplyError):
        refused = ("CONFIG GET appendfsync", str(appendfsync)) if logs else None
    elif len(appendfsync) == 2:
        value = appendfsync[1].decode()
    return Keeping(
        where,
        logs=logs,
        appendfsync=value,
        eviction=facts.get("maxmemory_policy", "noeviction"),
        replicas=int(facts.get("connected_slaves", 0)) if facts.get("role") == "master" else 0,
        acked=settings.replicas_acked,
        refused=refused,
        product=_product(facts),
        memory=_count(facts.get("used_memory")),
        max_memory=_count(facts.get("maxmemory")),
        ahead=ahead,
        follows=facts.get("role") == "slave",
        # It is told only where both options are set.
        bounded="min_slaves_good_slaves" in facts,
        unsettled=facts.get("cluster_enabled") == "1" and not settings.clustered,
    )


def _product(facts: Mapping[str, str]) -> str | None:
    """The name and the version of a node; Valkey tells that of the Redis it is like, too."""
    for name, field in (("Valkey", "valkey_version"), ("Redis", "redis_version")):
        if field in facts:
            return f"{name} {facts[field]}"
    return None


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _ahead(clock: Any, before: int, after: int) -> int | None:
    """How far the node's clock is beyond the time in which it was asked; all in ms."""
    if isinstance(clock, ReplyError):
        return None
    seconds, microseconds = map(int, clock)
    told = seconds * 1000 + microseconds // 1000
    return max(told - after, 0) + min(told - before, 0)


def _now() -> int:
    return time.time_ns() // 1_000_000
