"""Answers: as bytes, and to Tornado's connections."""

from __future__ import annotations

import time
from asyncio import Future
from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache
from http.client import responses
from typing import Final

from tornado.httputil import HTTPConnection, HTTPHeaders, ResponseStartLine

from sharq_server.api.replies import Reply
from sharq_server.http import _lane

_HEAD: Final = (
    "HTTP/1.1 {status} {reason}\r\n"
    "Server: SharQ\r\n"
    "Date: {date}\r\n"
    "Content-Type: application/json\r\n"
    # A GET may have effects here, so no answer may be cached.
    "Cache-Control: no-store\r\n"
    "{more}"
    "Content-Length: "
)


class _Heads:
    """The heads of most answers, by status and Retry-After, valid for a second."""

    second = 0
    known: dict[int | tuple[int, int], bytes]


_now: Final = _Heads()


def http_date() -> str:
    """The value of a Date header now."""
    return _formatted(int(time.time()))


@lru_cache(maxsize=1)
def _formatted(second: int) -> str:
    return formatdate(second, usegmt=True)


def answer(reply: Reply) -> bytes:
    """An answer after which the connection stays."""
    second = int(time.time())
    if second != _now.second:
        _now.second = second
        _now.known = {}
    if reply.allow is None:
        status, seconds = reply.status, reply.retry_after
        case = status if seconds is None else (status, seconds)
        head = _now.known.get(case)
        if head is None:
            head = _now.known[case] = _head(reply)
    else:
        head = _head(reply)
    return _lane.answer(head, reply.body)


def last_answer(reply: Reply) -> bytes:
    """An answer after which the connection ends."""
    return _lane.answer(_head(reply, "Connection: close\r\n"), reply.body)


def switching(fields: Iterable[tuple[str, str]]) -> bytes:
    """The answer that switches to another protocol."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 101 Switching Protocols\r\nServer: SharQ\r\n{lines}\r\n".encode()


def write(
    connection: HTTPConnection, reply: Reply, *, bodiless: bool = False, last: bool = False
) -> Future[None]:
    """Answer on a connection of Tornado's kind; `bodiless` to a HEAD."""
    headers = HTTPHeaders()
    headers["Server"] = "SharQ"
    headers["Date"] = http_date()
    has_content = reply.status != 204
    if has_content:
        headers["Content-Type"] = reply.content_type
    # A GET may have effects here, so no answer may be cached.
    headers["Cache-Control"] = "no-store"
    if has_content:
        headers["Content-Length"] = str(len(reply.body))
    for name, value in reply.fields:
        headers[name] = value
    if last:
        headers["Connection"] = "close"
    start_line = ResponseStartLine("HTTP/1.1", reply.status, responses[reply.status])
    return connection.write_headers(start_line, headers, None if bodiless else reply.body)


def _head(reply: Reply, more: str = "") -> bytes:
    """The head of an answer, up to the length of its body."""
    more += "".join(f"{name}: {value}\r\n" for name, value in reply.fields)
    reason = responses[reply.status]
    return _HEAD.format(status=reply.status, reason=reason, date=http_date(), more=more).encode()
