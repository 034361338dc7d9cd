"""The handshake of a websocket (RFC 6455, 4.2): who may connect, and the answer. Pure."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from tornado.httputil import HTTPHeaders

from sharq.codec import websocket_frames as ws
from sharq.settings.tokens import Grant
from sharq_server.api import replies
from sharq_server.api.replies import Reply
from sharq_server.http import framing
from sharq_server.push import frames
from sharq_server.push.push import Push
from sharq_server.security.credentials import UNAUTHORIZED, Credentials
from sharq_server.security.origins import FOREIGN_ORIGIN, Origins

_BEARER: Final = "sharq.bearer."
"""The prefix of the subprotocol with a token in base64url."""


class Handshakes:
    """Decides who may connect to `push`."""

    def __init__(self, push: Push, origins: Origins, credentials: Credentials) -> None:
        self.push = push
        self.credentials = credentials
        self._origins = origins

    def judge(self, version: str, headers: HTTPHeaders, *, has_body: bool) -> Grant | Reply:
        """The rights of the client of a GET, or why it may not connect."""
        # HTTP/1.0 has no upgrade (RFC 9110, 7.8).
        if version == "HTTP/1.0" or not (
            "upgrade" in _words(headers, "Connection") and "websocket" in _words(headers, "Upgrade")
        ):
            return replies.failure("bad_request", "This route takes a websocket upgrade.")
        if has_body:
            return replies.failure("bad_request", "A websocket upgrade has no body.")
        if headers.get("Sec-WebSocket-Version") != ws.VERSION:
            return replies.failure("upgrade_required", "The websocket version has to be 13.")
        if not _is_key(headers.get("Sec-WebSocket-Key", "")):
            return replies.failure("bad_request", "The Sec-WebSocket-Key is not valid.")
        if self._origins.is_foreign(headers):
            return replies.refused(FOREIGN_ORIGIN)
        grant = self.credentials.grant_of(authorization(headers))
        if grant is None:
            return replies.refused(UNAUTHORIZED)
        if self.push.draining or not self.push.started:
            return framing.STOPPING
        return grant


def accepting(headers: HTTPHeaders) -> list[tuple[str, str]]:
    """The headers of the answer that accepts."""
    fields = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", ws.accept_value(headers["Sec-WebSocket-Key"])),
    ]
    if frames.PROTOCOL in offered(headers):
        fields.append(("Sec-WebSocket-Protocol", frames.PROTOCOL))
    return fields


def offered(headers: HTTPHeaders) -> list[str]:
    """The subprotocols that a client offers."""
    return [name.strip() for name in headers.get("Sec-WebSocket-Protocol", "").split(",")]


def _words(headers: HTTPHeaders, name: str) -> set[str]:
    """The words of a header that is a list, in lower case."""
    return {word.strip().lower() for word in headers.get(name, "").split(",")}


def authorization(headers: HTTPHeaders) -> bytes | None:
    """The value of the Authorization header, or of its substitute among the subprotocols."""
    for name in offered(headers):
        encoded = name.removeprefix(_BEARER)
        if encoded != name:
            try:
                return b"Bearer " + base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
            except ValueError:
                return b""
    value = headers.get("Authorization")
    return None if value is None else value.encode("latin-1")


def _is_key(value: str) -> bool:
    """Whether `value` is 16 bytes in base64."""
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
