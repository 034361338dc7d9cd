"""The requests of a connection: read one at a time, and answered in their order.

The routes of `hot` are answered at once; every other request becomes a `Message` and goes to the
application through Tornado's interface, by a `TornadoConnection`. Invalid bytes, or a request that
comes too slowly, get an answer and end the connection.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from tornado.httputil import HTTPInputError, HTTPMessageDelegate

from sharq.errors import SharqException
from sharq_server.api import bodies, error_reporting, hot
from sharq_server.api.replies import Reply
from sharq_server.http import framing
from sharq_server.http._lane import IN_BODY, WAITING
from sharq_server.http.application import Application
from sharq_server.http.connection import Connection
from sharq_server.http.pace import Pace
from sharq_server.http.reading import RequestReader
from sharq_server.http.responses import answer, last_answer
from sharq_server.http.tornado_connection import Context, Message, TornadoConnection

_log = logging.getLogger(__name__)


class Requests(RequestReader):
    """Reads `connection` for `app`. `now` tells the time for time-outs, in seconds.

    `since` is when the connection became idle.
    """

    def __init__(self, app: Application, connection: Connection, now: Callable[[], float]) -> None:
        super().__init__()
        self.body_limit = app.gate.body_limit
        # The application decides about each request of a late connection.
        self.hosts = set() if connection.late else app.origins.known_hosts
        self.locked = app.credentials.needed
        self.epoch = app.credentials.epoch
        self.base_path = app.base_path.encode()
        self.since = now()
        self._app = app
        self._engine = app.engine
        self._on_answer = app.meter.on_request
        self._connection = connection
        self._now = now
        self._behind: deque[Message | Reply | Callable[[], None]] = deque()
        self._current: Message | None = None
        self._receiving: Message | None = None
        self._body: Pace | None = None
        self._request_conn: TornadoConnection | None = None
        self._handling: asyncio.Task[None] | None = None
        self._hot = ""
        self._begun = 0.0
        self._advancing = False
        self._given_up = self._refusing = False

    # Called by the connection

    def on_data(self, data: bytes) -> None:
        self.read(data)
        if self.stage != WAITING or self._behind:
            # The body of a message is counted without what is around its chunks.
            if self._body is not None and self._receiving is None:
                self._body.size += len(data)
            self._look_after_reading()

    def on_half_close(self) -> bool:
        if self._receiving is not None or not self.busy:
            return False
        if self._request_conn is not None:
            self._request_conn.on_half_close()
        return True

    def on_close(self) -> None:
        self.forget()
        self._behind.clear()
        receiving, self._receiving = self._receiving, None
        if receiving is not None and receiving is self._current and self._handling is not None:
            self._handling.cancel()
        elif self._request_conn is not None:
            self._request_conn.on_close()

    def on_stuck(self) -> None:
        self._look_after_reading()

    def on_writable(self) -> None:
        self._look_after_reading()
        self._advance()

    # The hot routes

    def admits(self, authorization: bytes | None, operation: str, queue_type: str) -> bool:
        grant = self._app.credentials.grant_of(authorization)
        return grant is not None and grant.may(operation) and grant.reaches(queue_type)

    def on_enqueue(self, queue_type: str, queue_id: str, body: bytes) -> None:
        self._begin_hot(hot.ENQUEUE, (queue_type, queue_id, body), body)

    def on_dequeue(self, queue_type: str | None, query: str, body: bytes) -> None:
        count: int | None = None
        if query:
            try:
                wanted = bodies.dequeue_parameters(query)
            except SharqException:
                self._take_whole(body)
                return
            if wanted.wait or wanted.request_id is not None:
                self._take_whole(body)
                return
            count = wanted.count
        what = (queue_type or "default", count, self._app.push)
        self._begin_hot(hot.DEQUEUE if queue_type else hot.DEQUEUE_DEFAULT, what, body)

    def on_finish(self, queue_type: str, queue_id: str, job_id: str, body: bytes) -> None:
        self._begin_hot(hot.FINISH, (queue_type, queue_id, job_id, body), body)

    def _begin_hot(self, route: hot.HotRoute, arguments: tuple[Any, ...], body: bytes) -> None:
        self._body = None
        app = self._app
        if not app.serving:
            self._take_whole(body)
            return
        respond = self._respond if app.access_log is None else self._logging_respond()
        if self.busy or self._behind:
            self._behind.append(lambda: self._run_hot(route, arguments, respond))
        else:
            self.busy = True
            self._hot, self._begun = route.template, time.perf_counter()
            app.under_way.add(self)
            route.answer(self._engine, *arguments, respond)

    def _run_hot(
        self, route: hot.HotRoute, arguments: tuple[Any, ...], respond: Callable[[Reply], None]
    ) -> None:
        """Begin a request that had to wait for the answers to others."""
        self._hot, self._begun = route.template, time.perf_counter()
        self._app.under_way.add(self)
        route.answer(self._engine, *arguments, respond)

    def _take_whole(self, body: bytes) -> None:
        """Let the application answer a request that is not for a hot route."""
        self.on_head()
        if body:
            self.on_chunk(body)
        self.on_end()

    def _logging_respond(self) -> Callable[[Reply], None]:
        """The function that answers the current request, and writes the access log."""
        log, came = self._app.access_log, time.monotonic()
        request = b"%b %b HTTP/1.1" % (self.method, self.target)
        fields: dict[bytes, bytes] = {}
        for name, value in self.headers:
            before = fields.get(name.lower())
            fields[name.lower()] = value if before is None else b"%b,%b" % (before, value)
        remote = self._connection.remote_ip
        if self._app.proxies:
            hops = fields.get(b"x-forwarded-for", b"").decode("latin-1")
            remote = self._app.proxies.client(remote, "", hops, None, None).address
        user = self._app.credentials.name_of(fields.get(b"authorization"))

        def respond(reply: Reply) -> None:
            self._respond(reply)
            if log is not None:
                log.write(
                    remote=remote,
                    user=user,
                    request=request.decode("latin-1"),
                    status=reply.status,
                    size=len(reply.body),
                    referrer=fields.get(b"referer", b"").decode("latin-1"),
                    agent=fields.get(b"user-agent", b"").decode("latin-1"),
                    seconds=time.monotonic() - came,
                )

        return respond

    def _respond(self, reply: Reply) -> None:
        app = self._app
        app.under_way.discard(self)
        self._on_answer(self._hot, reply.status, time.perf_counter() - self._begun)
        connection = self._connection
        if connection.ended or (connection.half_closed and reply.unsent is not None):
            if reply.unsent is not None:
                reply.unsent()
            connection.close()
            return
        if app.draining or connection.half_closed:
            connection.write(last_answer(reply))
            self.end()
        else:
            connection.write(answer(reply))
        self.busy = False
        self.since = self._now()
        if self._behind:
            self._advance()

    # Every other request

    def on_head(self) -> None:
        start_line, fields = self.take_head()
        message = Message(start_line, fields, self.keeps_alive and not self.wants_close)
        self._receiving = message
        if start_line.version not in framing.VERSIONS:
            self._refuse(framing.MALFORMED)
            return
        self._behind.append(message)
        self._advance()

    def on_chunk(self, chunk: bytes) -> None:
        if self._receiving is not None:
            if self._body is None:
                self._body = self._new_pace()
            self._body.size += len(chunk)
            self._receiving.add(chunk)

    def on_end(self) -> None:
        self._body = None
        receiving, self._receiving = self._receiving, None
        if receiving is not None:
            receiving.end()

    def on_large_target(self) -> None:
        self._refuse(framing.URI_TOO_LONG)

    def on_large_head(self) -> None:
        self._refuse(framing.HEADERS_TOO_LARGE)

    def _advance(self) -> None:
        """Start the next request, if the previous one is answered and its answer is sent."""
        if self._advancing:
            return
        self._advancing = True
        connection = self._connection
        while self._behind and not (self.busy or connection.ended or connection.stuck):
            self.busy = True
            following = self._behind.popleft()
            if isinstance(following, Message):
                self._current = following
                loop = asyncio.get_running_loop()
                self._handling = loop.create_task(self._handle(following))
            elif isinstance(following, Reply):
                self.refuse_now(following)
            else:
                following()
        self._advancing = False
        self._look_after_reading()

    async def _handle(self, message: Message) -> None:
        """Pass a request to the application and wait for the answer."""
        context = Context(self._connection)
        request_conn = TornadoConnection(self, message, context)
        self._request_conn = request_conn
        delegate = self._app.start_request(self, request_conn)
        given = False
        try:
            given = await self._hand_over(message, request_conn, delegate)
            await request_conn.answered
        except asyncio.CancelledError:
            request_conn.on_close()
        except Exception:
            _log.exception("A request for %s failed", message.start_line.path)
            self.abort()
        finally:
            if not given:
                delegate.on_connection_close()
            self._request_conn = self._handling = self._current = None
            self.busy = False
            self.since = self._now()
        if not self._connection.ended and not self._given_up:
            self._go_on()

    async def _hand_over(
        self, message: Message, request_conn: TornadoConnection, delegate: HTTPMessageDelegate
    ) -> bool:
        """Pass the message to the delegate as it comes; False if it has refused it."""
        try:
            headers = message.headers
        except HTTPInputError:
            request_conn.refuse(framing.MALFORMED)
            return False
        expecting = "Expect" in headers
        begun = delegate.headers_received(message.start_line, headers)
        if begun is not None:
            await begun
        if expecting:
            request_conn.say_continue()
        while not request_conn.answered.done():
            chunk = await message.next_chunk()
            if chunk is None:
                if message.refusal is not None:
                    request_conn.refuse(message.refusal)
                    return False
                delegate.finish()
                return True
            self._look_after_reading()
            taken = delegate.data_received(chunk)
            if taken is not None:
                await taken
        return False

    def _go_on(self) -> None:
        """The current request is answered."""
        rest = self.no_upgrade()
        if rest:
            self.on_data(rest)
        self._advance()
        if self._connection.half_closed and not self.busy:
            self._connection.close()

    # Trouble

    def on_malformed(self) -> None:
        self._refuse(framing.MALFORMED)

    def on_bug(self, bug: Exception) -> None:
        self._refuse(error_reporting.reply_to(bug, "The reading of a request"))

    def _refuse(self, reply: Reply) -> None:
        """Refuse the request that is being read, in its turn, and read no more.

        If there is a head, it is checked first, as if it had come in a packet of its own.
        """
        self.ignore()
        if self._refusing:
            return
        self._refusing = True
        receiving, self._receiving = self._receiving, None
        if receiving is None:
            self._behind.append(reply)
        else:
            receiving.refuse(reply)
            if receiving is not self._current and receiving not in self._behind:
                self._behind.append(receiving)
        self._advance()

    def refuse_now(self, reply: Reply) -> None:
        """Refuse the current request, and end the connection."""
        if not self._connection.ended:
            self._connection.write(last_answer(reply))
            self._linger()

    def end(self) -> None:
        """End the connection when all written data is sent."""
        if self.stage != WAITING or self._behind or self._connection.holding:
            self._linger()
        else:
            self._connection.close()

    def abort(self) -> None:
        """End the connection at once."""
        self._connection.abort()

    def _linger(self) -> None:
        self.ignore()
        self._behind.clear()
        self._connection.linger()

    # Back-pressure and time

    def _look_after_reading(self) -> None:
        """Stop reading if earlier requests are not done."""
        connection = self._connection
        if connection.ended:
            return
        if self.stage == IN_BODY and self._body is None:
            self._body = self._new_pace()
        connection.hold(
            bool(self._behind)
            or self.upgrading
            or connection.stuck
            or (self._receiving is not None and self._receiving.full)
        )

    def _new_pace(self) -> Pace:
        """For a body that begins now."""
        lengths = [value for name, value in self.headers if name.lower() == b"content-length"]
        length = framing.length_in(lengths[0].decode("latin-1")) if lengths else None
        return Pace(self._now(), length or 0)

    def look_at_time(self, now: float, idle: float, body: float) -> None:
        connection = self._connection
        if connection.stuck:
            if not connection.moves(now, idle):
                connection.discard()
        elif self._body is not None:
            if self._body.is_slow(now, body, held=connection.holding):
                self._refuse(framing.TIMED_OUT)
        elif not self.busy and now - self.since > idle:
            if self.stage == WAITING:
                connection.close()
            else:
                self._refuse(framing.TIMED_OUT)

    def stop(self) -> None:
        if self.stage != WAITING and (not self.busy or self._receiving is not None):
            self._refuse(framing.STOPPING)
        elif self.busy:
            self._connection.abort()
        else:
            self._connection.close()

    # For the request_conn

    @property
    def connection(self) -> Connection:
        """What the requests come on."""
        return self._connection

    @property
    def closing_down(self) -> bool:
        """Whether each answer now ends its connection."""
        return self._app.draining or self._connection.half_closed

    def give_up(self) -> bytes:
        """Read no more requests; returns the bytes after the last one.

        For the next reader of the connection.
        """
        self._given_up = True
        rest = self.no_upgrade()
        self.forget()
        return rest
