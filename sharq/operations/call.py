"""Calls of the store, as bytes, and how to read their replies. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Call(NamedTuple, Generic[T]):
    """A packed command and its meaning.

    `packed` is one whole RESP2 command. `key` decides the node in a cluster (its hash tag
    counts); empty means any node. `parse` turns the reply (what a hiredis reader gives: bytes,
    int, list or None) into the result. `repeatable` tells that a second execution does no harm,
    so that a call whose answer was lost may be sent again.
    """

    packed: bytes
    key: bytes
    parse: Callable[[Any], T]
    repeatable: bool = False


Flow = Generator[Call[Any] | list[Call[Any]], Any, T]
"""Calls of the store, one after another: each call that is yielded, or list of calls that leave
together, comes back as its result or results.
"""
