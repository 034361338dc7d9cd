"""Errors in a request before its body is read. Pure.

By RFC 9110 and RFC 9112; if they leave a choice, the strict one, so that no proxy in front can read
a message differently.
"""

from __future__ import annotations

import re
from typing import Final

from tornado.httputil import HTTPHeaders, RequestStartLine

from sharq_server.api import compression
from sharq_server.api.replies import Reply, failure
from sharq_server.http._lane import MAX_URL

VERSIONS: Final = ("HTTP/1.0", "HTTP/1.1")

# The forms of a target (RFC 9112, 3.2) except CONNECT's: a path, a URL, or a single *.
_TARGET = re.compile(r"(?:/|https?://[^/?#]+(?=[/?]|\Z)|\*\Z)[\x21-\x7e]*", re.IGNORECASE)
_AUTHORITY = re.compile(r"https?://[^/?#]+", re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9\-._~%!$&'()*+;=:\[\]]*")
_LENGTH = re.compile(r"[0-9]{1,19}")

MALFORMED: Final = failure("bad_request", "The request is not valid HTTP.")
NO_TLS: Final = failure("bad_request", "This port speaks TLS only: use https.")
URI_TOO_LONG: Final = failure("uri_too_long", f"The URL is longer than {MAX_URL} bytes.")
HEADERS_TOO_LARGE: Final = failure("headers_too_large", "The headers are too large.")
TIMED_OUT: Final = failure("request_timeout", "The request did not arrive in time.")
OVERLOADED: Final = failure("overloaded", "There are too many connections.")._replace(retry_after=1)
STOPPING: Final = failure("stopping", "The server is stopping.")._replace(retry_after=1)


def problem(start_line: RequestStartLine, headers: HTTPHeaders) -> Reply | None:
    """The answer for a request that no route can serve, or None."""
    if start_line.version not in VERSIONS or not _TARGET.fullmatch(start_line.path):
        return MALFORMED
    hosts = headers.get_list("Host")
    if len(hosts) != 1:
        if hosts:
            return failure("bad_request", "The request has more than one Host.")
        if start_line.version != "HTTP/1.0":
            return failure("bad_request", "The request has no Host.")
    elif not _HOST.fullmatch(hosts[0]):
        return failure("bad_request", "The Host is not valid.")
    if "Transfer-Encoding" in headers:
        if "Content-Length" in headers:
            return failure("bad_request", "The request has two lengths.")
        if start_line.version == "HTTP/1.0" or headers["Transfer-Encoding"].lower() != "chunked":
            return failure("bad_request", "The Transfer-Encoding is not supported.")
    elif "Content-Length" in headers and content_length(headers) is None:
        return failure("bad_request", "The Content-Length is not valid.")
    if len(start_line.path) > MAX_URL:
        return URI_TOO_LONG
    if "Expect" in headers and headers["Expect"].lower() != "100-continue":
        return failure("expectation_failed", "The only known expectation is 100-continue.")
    if headers.get("Content-Encoding", "").lower() not in compression.PLAIN | compression.GZIP:
        return failure("unsupported_media_type", "A body can be compressed by gzip only.")
    return None


def is_gzip(headers: HTTPHeaders) -> bool:
    """Whether the body of a request without a `problem` is compressed."""
    return headers.get("Content-Encoding", "").lower() in compression.GZIP


def broken(reason: str) -> Reply:
    """The answer for a body that is not the gzip that its head says."""
    return failure("bad_request", reason)


def origin_form(target: str) -> str:
    """The path and the query of a valid target, which may be a whole URL."""
    if target.startswith("/"):
        return target
    rest = _AUTHORITY.sub("", target, count=1)
    return rest if rest.startswith(("/", "*")) else f"/{rest}"


def below(target: str, base_path: str) -> str:
    """A path and its query as they are below `base_path`; what is not becomes ``*``, no route.

    `base_path` is empty, or has no slash at its end.
    """
    if not base_path:
        return target
    rest = target.removeprefix(base_path)
    if len(rest) == len(target):
        return "*"
    if rest.startswith("/"):
        return rest
    return f"/{rest}" if not rest or rest.startswith("?") else "*"


def content_length(headers: HTTPHeaders) -> int | None:
    """The length of the body in bytes; None if there is no valid Content-Length."""
    return length_in(headers.get("Content-Length", ""))


def length_in(value: str) -> int | None:
    """The bytes that a Content-Length tells; None if it is not valid."""
    return int(value) if _LENGTH.fullmatch(value) else None


def too_large(limit: int) -> Reply:
    """The answer for a body of more than `limit` bytes."""
    return failure("payload_too_large", f"The body is larger than {limit} bytes.")
