"""Bytes to requests: httptools through `_lane.Reader`, and what that parser cannot do."""

from __future__ import annotations

import re
from typing import Final

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade
from tornado.httputil import RequestStartLine

from sharq_server.http._lane import WAITING, Reader

# A method that the parser does not know is read under the name of a known one.
_STAND_IN: Final = b"PURGE"
_METHOD: Final = re.compile(rb"(?:\r\n)*([!#$%&'*+.^_`|~0-9A-Za-z-]+) ")
_KNOWN: Final = frozenset(
    b"DELETE GET HEAD POST PUT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK"
    b" BIND REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE"
    b" UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK UNLINK".split()
)

_LENGTHS: Final = (b"content-length", b"transfer-encoding")


def _is_none(name: bytes, value: bytes) -> bool:
    """Whether a header field says that there is no body."""
    return name.lower() == b"content-length" and re.fullmatch(rb"0{1,19}", value) is not None


class RequestReader(Reader):
    """A `Reader` that knows every method, and upgrades.

    `upgrading`: the last request wants another protocol; nothing after it is read before that is
    decided.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rest: bytes | None = None
        self._odd_method: bytes | None = None
        self._wish: list[tuple[bytes, bytes]] = []

    def read(self, data: bytes) -> None:
        """Read `data` and pass on its requests; raises nothing."""
        if self._rest is not None:
            self._rest += data
            return
        fresh = self.stage == WAITING
        try:
            self.feed(data)
        except HttpParserUpgrade as upgrade:
            self._on_upgrade(data[upgrade.args[0] :])
        except HttpParserCallbackError as error:
            cause = error.__context__
            if isinstance(cause, HttpParserError):
                self.on_malformed()
            else:
                self.on_bug(cause if isinstance(cause, Exception) else error)
        except HttpParserError:
            self._on_error(data if fresh else b"")

    @property
    def upgrading(self) -> bool:
        return self._rest is not None

    def no_upgrade(self) -> bytes:
        """Continue with requests; `data` came after the one that wanted another protocol."""
        rest, self._rest = self._rest, None
        if rest is not None:
            self.renew()
        return rest or b""

    def take_head(self) -> tuple[RequestStartLine, list[tuple[bytes, bytes]]]:
        """The line and the fields of the head that has come."""
        method = self.method if self._odd_method is None else self._odd_method
        self._odd_method = None
        start_line = RequestStartLine(
            method.decode("latin-1"), self.target.decode("latin-1"), self.version
        )
        wish, self._wish = self._wish, []
        return start_line, self.headers + wish

    @property
    def wants_close(self) -> bool:
        """Whether the head that was read has `close` among its connection options."""
        values = (value for name, value in self.headers if name.lower() == b"connection")
        options = (option for value in values for option in value.lower().split(b","))
        return any(option.strip() == b"close" for option in options)

    def _on_upgrade(self, rest: bytes) -> None:
        """The parser ends at a request to upgrade, before its body."""
        lengths = [(name, value) for name, value in self.headers if name.lower() in _LENGTHS]
        if not lengths or [_is_none(*field) for field in lengths] == [True]:
            self._rest = rest
            self.on_head()
            self.on_end()
            return
        # With a body it is read as if it did not want an upgrade. Only its end shows whether the
        # body is empty: such a GET, which is never a hot request then, goes to its route with the
        # upgrade.
        if self.method == b"GET":
            self._wish = [field for field in self.headers if field[0].lower() == b"upgrade"]
        fields = [field for field in self.headers if field[0].lower() != b"upgrade"]
        line = b"%b %b %b" % (self.method, self.target, self.version.encode())
        head = b"\r\n".join([line, *(b"%b: %b" % field for field in fields)])
        self.renew()
        self.read(head + b"\r\n\r\n" + rest)

    def _on_error(self, data: bytes) -> None:
        method = _METHOD.match(data)
        if method is None or method[1] in _KNOWN or self._odd_method is not None:
            self.on_malformed()
            return
        self._odd_method = method[1]
        self.renew()
        self.read(_STAND_IN + data[method.end(1) :])

    # For subclasses

    def on_malformed(self) -> None:
        """The bytes are no request."""
        raise NotImplementedError

    def on_bug(self, bug: Exception) -> None:
        """A callback of a request has failed."""
        raise NotImplementedError
