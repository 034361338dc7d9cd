"""What a node of the store reports about how it keeps its data."""

from __future__ import annotations

from typing import Any, Final

from hiredis import ReplyError

from sharq.operations.call import Call
from sharq.results import Keeping
from sharq.settings.options import StoreSettings
from sharq.store.connecting import address
from sharq.store.query import ask, ask_blocking
from sharq.store.script_loading import pack

_INFO: Final = Call(pack(b"INFO"), b"", lambda reply: reply)
_APPENDFSYNC: Final = Call(pack(b"CONFIG", b"GET", b"appendfsync"), b"", lambda reply: reply)


async def look_at(settings: StoreSettings, timeout: float) -> Keeping:
    """Ask one node. `timeout` is as in `ask`; raises `StoreError` if it does not answer."""
    return _keeping(settings, *await ask(settings, [_INFO, _APPENDFSYNC], timeout))


def look_at_blocking(settings: StoreSettings, timeout: float) -> Keeping:
    """The same without an event loop; `timeout` in seconds is for all of it."""
    return _keeping(settings, *ask_blocking(settings, [_INFO, _APPENDFSYNC], timeout))


def _keeping(settings: StoreSettings, info: Any, appendfsync: Any) -> Keeping:
    where = address(settings)
    if isinstance(info, ReplyError):
        return Keeping(where, refused=("INFO", str(info)))
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
        refused=refused,
    )
