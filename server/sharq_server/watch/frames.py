"""What viewers are told: the events of `watch`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from sharq_server.watch.merging import Data
from sharq_server.watch.tail import HandedOut

_json = msgspec.json.Encoder().encode


def whole(topic: str, data: Data) -> bytes:
    """All that a topic shows."""
    return _json({"event": "watch", "topic": topic, "full": True, "data": data})


def changes(topic: str, differences: dict[str, Any]) -> bytes:
    """A merge patch on what was told last."""
    return _json({"event": "watch", "topic": topic, "data": differences})


def handed_out(topic: str, jobs: Sequence[HandedOut], more: int) -> bytes:
    """Jobs that were handed out since the last event, and how many more."""
    return _json(
        {"event": "watch", "topic": topic, "full": True, "data": {"jobs": jobs, "more": more}}
    )


def problem(topic: str, code: str, message: str) -> bytes:
    """The store could not be asked; what was told stands."""
    return _json({"event": "watch", "topic": topic, "problem": {"code": code, "message": message}})
