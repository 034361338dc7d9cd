"""Leased jobs that are handed to somebody, told to those who tail their type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sharq import Batch

REST: Final = "rest"
BULK: Final = "bulk"
"""In a list, of a dequeue with `count`."""
WAIT: Final = "wait"
"""To a long poll."""
PUSH: Final = "push"
FETCH: Final = "fetch"
"""By the frame `dequeue`."""

Handing = Callable[[Batch, int, int, str, str | None], None]
"""Is told of the jobs of a batch from `start` up to `stop`: how they are handed out, and to which
worker, if it has told its name.
"""
