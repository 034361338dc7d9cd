"""`/ws/` on a connection of ours: from a request to frames on the same transport."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
    RequestStartLine,
)
from tornado.routing import PathMatches

from sharq.settings.tokens import Grant
from sharq_server.api.replies import Reply, method_not_allowed
from sharq_server.http import responses
from sharq_server.http.access_log import AccessLog
from sharq_server.http.tornado_connection import TornadoConnection
from sharq_server.http.websocket import Frames
from sharq_server.push.handshake import Handshakes, accepting, authorization
from sharq_server.push.session import Session

PATH: Final = "/ws/?"


class OnOurs(PathMatches):
    """Matches a request for `PATH` that came on a connection of ours."""

    def __init__(self) -> None:
        super().__init__(PATH)

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        return super().match(request) if isinstance(request.connection, TornadoConnection) else None


class Upgrades(HTTPServerConnectionDelegate):
    """The handler of such requests. `begun` waits for the start, `run` does work in a task."""

    def __init__(
        self,
        handshakes: Handshakes,
        begun: Callable[[], Awaitable[None]],
        run: Callable[[Any], object],
        access_log: AccessLog | None,
    ) -> None:
        self.handshakes = handshakes
        self.begun = begun
        self.run = run
        self.access_log = access_log

    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        return _Handshake(self, request_conn)


class _Handshake(HTTPMessageDelegate):
    """One request to upgrade."""

    def __init__(self, upgrades: Upgrades, request_conn: TornadoConnection) -> None:
        self._upgrades = upgrades
        self._request_conn = request_conn
        self._has_body = False

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> None:
        self._start_line: RequestStartLine = start_line
        self._headers = headers
        self._received = time.monotonic()

    def data_received(self, chunk: bytes) -> None:
        self._has_body = True

    def finish(self) -> None:
        self._upgrades.run(self._respond())

    async def _respond(self) -> None:
        method = self._start_line.method
        judged: Grant | Reply = method_not_allowed("GET")
        if method == "GET":
            await self._upgrades.begun()
            judged = self._upgrades.handshakes.judge(
                self._start_line.version, self._headers, has_body=self._has_body
            )
        if self._request_conn.gone:
            return
        if isinstance(judged, Reply):
            responses.write(self._request_conn, judged, bodiless=method == "HEAD")
            self._request_conn.finish()
            self._log(judged.status, len(judged.body))
        else:
            self._switch(judged)
            self._log(101, 0)

    def _switch(self, grant: Grant) -> None:
        """Accept, and read frames from now on; nothing of the request is kept."""
        handshakes = self._upgrades.handshakes
        push = handshakes.push
        remote = self._request_conn.client.address
        connection, rest = self._request_conn.switch()
        frames = Frames(connection, push.max_frame_bytes, push.heartbeat, remote)
        session = Session(push, frames, grant, handshakes.credentials.is_valid)
        frames.begin(session, push.leave, responses.switching(accepting(self._headers)))
        push.open(session)
        frames.on_data(rest)

    def _log(self, status: int, size: int) -> None:
        log, credentials = self._upgrades.access_log, self._upgrades.handshakes.credentials
        if log is not None:
            log.write(
                remote=self._request_conn.client.address,
                user=None if status == 401 else credentials.name_of(authorization(self._headers)),
                request=" ".join(self._start_line._replace(path=self._request_conn.target)),
                status=status,
                size=size,
                referrer=self._headers.get("Referer"),
                agent=self._headers.get("User-Agent"),
                seconds=time.monotonic() - self._received,
            )
