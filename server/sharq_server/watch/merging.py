"""Differences between two JSON objects, as JSON merge patches (RFC 7386). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Data = Mapping[str, Any]
"""A JSON object. No field is None: in a patch that removes one."""


def patch(before: Data, after: Data) -> dict[str, Any]:
    """What makes `after` of `before`; empty if they are the same."""
    changes: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        former = before.get(name)
        if isinstance(value, Mapping) and isinstance(former, Mapping):
            inner = patch(former, value)
            if inner:
                changes[name] = inner
        elif value != former:
            changes[name] = value
    return changes


def known(**fields: Any) -> dict[str, Any]:
    """An object of those fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}
