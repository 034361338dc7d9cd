"""The log of what operators change: a line for each change, with the name of its token."""

from __future__ import annotations

import logging
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from sharq_server.api.handlers import Request
from sharq_server.api.replies import Reply
from sharq_server.api.routing import Route

_log = logging.getLogger(__name__)

_OF_WORKERS: Final = frozenset(("release", "cancel"))
"""Operations that workers have, too: with the lease they are no operator's."""

_OF_OPERATORS: Final = _OF_WORKERS | {"interval", "limits", "pause", "dead", "deletequeue"}

_LONGEST: Final = 300
"""Bytes of a body that a line has, at most."""


class _Body(msgspec.Struct):
    lease: Any = None


def note(route: Route, method: str, request: Request, reply: Reply, about: str) -> None:
    """Log a request if it has changed something that is an operator's; `about` is its line."""
    if reply.status < 400 and _is_one(route, method, request):
        body = repr(request.body[:_LONGEST])[2:-1]
        _log.info("Changed by %s: %s %s", request.grant.name or "-", about, body)


def _is_one(route: Route, method: str, request: Request) -> bool:
    operation = route.operation_of(method)
    if not route.has_effects(method) or operation not in _OF_OPERATORS:
        return False
    if operation in _OF_WORKERS and _has_lease(request.body):
        return False
    return parse_qs(request.query).get("dry_run") != ["true"]


def _has_lease(body: bytes) -> bool:
    try:
        return bool(body) and msgspec.json.decode(body, type=_Body).lease is not None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
