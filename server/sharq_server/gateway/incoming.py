"""A request as a WSGI server passes it on (PEP 3333): its head and its body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

from tornado.httputil import HTTPHeaders, RequestStartLine

from sharq_server.api.compression import BrokenGzip, GzipDecoder, TooLarge
from sharq_server.api.replies import Reply, failure
from sharq_server.http import framing

Environ = Mapping[str, Any]

# Headers that have no HTTP_ before their names.
_UNPREFIXED: Final = {"CONTENT_TYPE": "Content-Type", "CONTENT_LENGTH": "Content-Length"}

# Where web servers keep the target as it came over the wire.
_TARGETS: Final = ("REQUEST_URI", "RAW_URI")

_PATH_CHARACTERS: Final = "/:@!$&'()*+,;=~"

_NOT_WHOLE: Final = failure("bad_request", "The body has not come completely.")
_NO_LENGTH: Final = failure("length_required", "The request has no Content-Length.")


def headers_of(environ: Environ) -> HTTPHeaders:
    """The headers of a request."""
    headers = HTTPHeaders()
    for name, value in environ.items():
        if name.startswith("HTTP_"):
            headers.add(name[5:].replace("_", "-").title(), value)
        elif name in _UNPREFIXED and value:
            headers.add(_UNPREFIXED[name], value)
    return headers


def start_line_of(environ: Environ) -> RequestStartLine:
    """The method, the target below the place of the application, and the version.

    A version after 1.1 is taken for 1.1: what differs is the web server's concern.
    """
    path, query = path_of(environ), environ.get("QUERY_STRING", "")
    version = "HTTP/1.0" if environ.get("SERVER_PROTOCOL") == "HTTP/1.0" else "HTTP/1.1"
    target = f"{path}?{query}" if query else path
    return RequestStartLine(environ["REQUEST_METHOD"], target, version)


def path_of(environ: Environ) -> str:
    """The path, percent-encoded.

    PATH_INFO has it decoded, so that a %2F in a name looks like a slash. Many servers also tell the
    target as it came; it counts where it is the same path, which nothing has rewritten.
    """
    decoded = environ.get("PATH_INFO", "") or "/"
    place = environ.get("SCRIPT_NAME", "")
    whole = (place + decoded).encode("latin-1")
    for name in _TARGETS:
        target = environ.get(name, "")
        raw = framing.origin_form(target).partition("?")[0] if target else ""
        if raw and unquote_to_bytes(raw) == whole:
            if raw.startswith(place):
                return raw[len(place) :] or "/"
            break
    return quote(decoded.encode("latin-1"), safe=_PATH_CHARACTERS)


def body_of(environ: Environ, headers: HTTPHeaders, limit: int) -> bytes | Reply:
    """The body of at most `limit` bytes, or the answer to a request whose body is not usable."""
    stream = environ["wsgi.input"]
    if "Transfer-Encoding" in headers:
        if not environ.get("wsgi.input_terminated"):
            return _NO_LENGTH
        size = limit + 1
    else:
        size = framing.content_length(headers) or 0
        if size > limit:
            return framing.too_large(limit)
    try:
        body = _read(stream, size)
    except Exception:  # each web server has its own
        return _NOT_WHOLE
    if "Transfer-Encoding" not in headers and len(body) < size:
        return _NOT_WHOLE
    if len(body) > limit:
        return framing.too_large(limit)
    return _unpacked(body, limit) if framing.is_gzip(headers) else body


def _unpacked(body: bytes, limit: int) -> bytes | Reply:
    decoder = GzipDecoder(limit)
    try:
        unpacked = decoder.feed(body)
        decoder.end()
    except TooLarge:
        return framing.too_large(limit)
    except BrokenGzip as error:
        return framing.broken(str(error))
    return unpacked


def _read(stream: Any, size: int) -> bytes:
    """Up to `size` bytes; fewer only where no more come."""
    body: bytes = stream.read(size) if size else b""
    if len(body) == size:
        return body
    parts, missing = [body], size - len(body)
    while missing and parts[-1]:
        parts.append(stream.read(missing))
        missing -= len(parts[-1])
    return b"".join(parts)
