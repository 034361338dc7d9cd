"""One POST and its answer, on a connection of its own.

By the parts of Tornado's HTTP client: the client itself tells nothing of an answer that is longer
than its limit, and cannot be made to stop reading.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from typing import Final

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpclient import TCPClient

from sharq.failures import MAX_MESSAGE
from sharq.forwarding.answers import Answer, NoAnswer
from sharq.forwarding.endpoint import Endpoint, Header

MOST_READ: Final = 65_536
"""Bytes of an answer's body after which it is not read any further."""

_PARAMETERS: Final = HTTP1ConnectionParameters(max_body_size=2**63)
_BODILESS: Final = (204, 304)


class Exchanges:
    """POSTs to an endpoint, each within `timeout` seconds."""

    def __init__(self, endpoint: Endpoint, timeout: float) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._client = TCPClient()
        self._tls = ssl.create_default_context() if endpoint.is_tls else None

    async def post(self, headers: Iterable[Header], body: bytes) -> Answer:
        """The answer to a body. Raises `NoAnswer`.

        An answer counts when it is whole, or when `MOST_READ` bytes of its body are there.
        """
        reading = _Reading()
        stream: IOStream | None = None
        try:
            async with asyncio.timeout(self._timeout):
                stream = await self._connect()
                connection = HTTP1Connection(stream, True, _PARAMETERS, self._endpoint.authority)
                reading.begin(connection)
                self._send(connection, headers, body)
                await connection.read_response(reading)
        except TimeoutError:
            where = self._where if stream is None else None
            raise NoAnswer("timeout", reading.told_overdue(self._timeout, where)) from None
        except StreamClosedError as error:
            if not reading.is_enough:
                raise NoAnswer("connection_lost", reading.told_lost(error.real_error)) from None
        finally:
            if stream is not None:
                stream.close()
        return reading.answer()

    @property
    def _where(self) -> str:
        return f"{self._endpoint.host}:{self._endpoint.port}"

    async def _connect(self) -> IOStream:
        host, port = self._endpoint.host, self._endpoint.port
        try:
            return await self._client.connect(
                host, port, ssl_options=self._tls, timeout=self._timeout
            )
        except TimeoutError:
            raise
        except OSError as error:
            reason = _reason(error)
            raise NoAnswer("unreachable", f"no connection to {self._where}: {reason}") from None

    def _send(self, connection: HTTP1Connection, headers: Iterable[Header], body: bytes) -> None:
        """Begin to send a request; an endpoint may answer before it has the whole body."""
        authority, target = self._endpoint.authority, self._endpoint.target
        sent = HTTPHeaders({"Host": authority, "Content-Length": str(len(body))})
        sent["Connection"] = "close"
        for name, value in headers:
            sent.add(name, value)
        connection.write_headers(RequestStartLine("POST", target, ""), sent, body)
        connection.finish()


class _Reading(HTTPMessageDelegate):
    """What has come of an answer; the connection is closed when that is enough."""

    def __init__(self) -> None:
        self._connection: HTTP1Connection | None = None
        self._start: ResponseStartLine | None = None
        self._headers = HTTPHeaders()
        self._beginning = b""
        self._size = 0
        self.is_enough = False

    def begin(self, connection: HTTP1Connection) -> None:
        """A request is sent on this connection."""
        self._connection = connection

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        # An interim answer (1xx) is followed by the real one.
        assert isinstance(start_line, ResponseStartLine)
        self._start, self._headers = start_line, headers
        if start_line.code in _BODILESS:
            self.finish()

    def data_received(self, chunk: bytes) -> None:
        self._size += len(chunk)
        self._beginning += chunk[: MAX_MESSAGE - len(self._beginning)]
        if self._size >= MOST_READ:
            self.finish()

    def finish(self) -> None:
        self.is_enough = True
        if self._connection is not None:
            self._connection.close()

    def answer(self) -> Answer:
        """The answer, when nothing more is read. Raises `NoAnswer` if it is none of HTTP."""
        if self._start is None or not self.is_enough:
            raise NoAnswer("invalid_answer", "what came is no valid answer of HTTP/1.1")
        start = self._start
        return Answer(start.code, start.reason, self._headers, self._beginning)

    def told_overdue(self, timeout: float, where: str | None) -> str:
        """What has not come in time: a connection to `where`, or some of the answer."""
        missing = "no end of its body" if where is None else f"no connection to {where}"
        if where is None and self._start is None:
            missing = "no answer"
        return f"{self._status}{missing} within {timeout:g} s"

    def told_lost(self, error: BaseException | None) -> str:
        """How the answer was cut off."""
        part = "an answer" if self._start is None else "the end of its body"
        reason = "" if error is None else f": {_reason(error)}"
        return f"{self._status}the connection was closed before {part}{reason}"

    @property
    def _status(self) -> str:
        return "" if self._start is None else f"status {self._start.code}, but "


def _reason(error: BaseException) -> str:
    """Why a connection failed, in a few words."""
    real = getattr(error, "real_error", None) or error
    if isinstance(real, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {real.verify_message}"
    return getattr(real, "strerror", None) or str(real) or type(real).__name__
