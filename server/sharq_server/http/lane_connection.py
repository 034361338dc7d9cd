"""One connection of the fast lane: requests in, one at a time, and answers out in their order.

httptools parses (`_lane.Reader`). The routes of `hot` are answered at once; every other request
becomes a `Message` and is handed to the application through Tornado's seam, by a `Conversation`.
What is no request, or comes too slowly, is answered and ends the connection.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade
from tornado.httputil import HTTPInputError, HTTPMessageDelegate, RequestStartLine
from tornado.iostream import StreamClosedError

from sharq.errors import SharqException
from sharq_server.api import bodies, hot, incidents
from sharq_server.api.replies import Reply
from sharq_server.http import framing
from sharq_server.http._lane import IN_BODY, WAITING, Reader
from sharq_server.http.answers import answer, last_answer
from sharq_server.http.conversation import Context, Conversation, Message
from sharq_server.http.listener import LINGER_SECONDS, MOST_LINGERING, HTTPStream
from sharq_server.http.patience import discard_unsent

if TYPE_CHECKING:
    from sharq_server.app import SharQApplication
    from sharq_server.http.lane import LaneListener

_log = logging.getLogger(__name__)

# A method that the parser does not know is read under the name of one that it does.
_STAND_IN: Final = b"PURGE"
_METHOD: Final = re.compile(rb"(?:\r\n)*([!#$%&'*+.^_`|~0-9A-Za-z-]+) ")
_KNOWN: Final = frozenset(
    b"DELETE GET HEAD POST PUT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK"
    b" BIND REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE"
    b" UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK UNLINK".split()
)

_LENGTHS: Final = (b"content-length", b"transfer-encoding")


def _is_none(name: bytes, value: bytes) -> bool:
    """Whether a field tells that there is no body."""
    return name.lower() == b"content-length" and re.fullmatch(rb"0{1,19}", value) is not None


class LaneConnection(Reader, asyncio.Protocol):
    """`since` is when the connection became idle, by the listener's clock. `gone` tells that it has
    ended, `half_closed` that the client sends no more.
    """

    def __init__(self, app: SharQApplication, listener: LaneListener) -> None:
        super().__init__()
        self.body_limit = app.body_limit(None)
        # Late is who comes while the server stops: the application decides about each request then.
        self.late = listener.drains
        self.hosts = set() if self.late else app.origins.known_hosts
        self.locked = app.credentials.needed
        self.epoch = app.credentials.epoch
        self.since = listener.now
        self.gone = False
        self.half_closed = False
        self._app = app
        self._engine = app.engine
        self._listener = listener
        self._behind: deque[Message | Callable[[], None]] = deque()
        self._current: Message | None = None
        self._receiving: Message | None = None
        self._body_since: float | None = None
        self._conversation: Conversation | None = None
        self._conversing: asyncio.Task[None] | None = None
        self._rest: bytes | None = None
        self._odd_method: bytes | None = None
        self._wish: list[tuple[bytes, bytes]] = []
        self._advancing = False
        self._ended = False
        self._holding = False
        self._stuck = False
        self._unsent = -1
        self._moved_at = 0.0
        self._drained: asyncio.Future[None] | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._counted_for: str | None = None

    # The transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are asyncio's by their methods alone.
        self._transport = cast(asyncio.Transport, transport)
        self._listener.connections.add(self)
        address = self._context().remote_ip
        if not self._listener.room.has(transport.get_extra_info("socket").fileno()):
            self._transport.write(last_answer(framing.OVERLOADED))
            self._ended = True
            self._transport.close()
        elif self._app.connections.enter(address):
            self._counted_for = address
        else:
            self.refuse_now(framing.OVERLOADED)

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        if self._rest is not None:
            self._rest += data
            return
        fresh = self.stage == WAITING
        try:
            self.feed(data)
        except HttpParserUpgrade as upgrade:
            self._on_upgrade(data[upgrade.args[0] :])
        except HttpParserCallbackError as error:
            self._on_bug(error)
        except HttpParserError:
            self._on_malformed(data if fresh else b"")
        if self.stage != WAITING or self._behind:
            self._look_after_reading()

    def eof_received(self) -> bool:
        """The client sends no more: what it has asked for is still answered, jobs excepted."""
        self.half_closed = True
        if self._lingering is not None or self._ended or self._receiving is not None:
            return False
        if not self.busy:
            return False
        if self._conversation is not None:
            self._conversation.on_half_close()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.gone = True
        self._listener.forget(self)
        self.forget()
        self._behind.clear()
        if self._lingering is not None:
            self._lingering.cancel()
            self._listener.lingering -= 1
        self._leave()
        self._resolve_drained()
        receiving, self._receiving = self._receiving, None
        if receiving is not None and receiving is self._current and self._conversing is not None:
            self._conversing.cancel()
        elif self._conversation is not None:
            self._conversation.on_close()

    def _leave(self) -> None:
        """Let another connection have the place of this one."""
        address, self._counted_for = self._counted_for, None
        if address is not None:
            self._app.connections.leave(address)

    def pause_writing(self) -> None:
        self._stuck = True
        self._look_after_reading()

    def resume_writing(self) -> None:
        self._stuck = False
        self._unsent = -1
        self._resolve_drained()
        self._look_after_reading()
        self._advance()

    # The hot routes

    def admits(self, authorization: bytes | None, operation: str, queue_type: str) -> bool:
        grant = self._app.credentials.grant_of(authorization)
        return grant is not None and grant.may(operation) and grant.reaches(queue_type)

    def on_enqueue(self, queue_type: str, queue_id: str, body: bytes) -> None:
        self._begin_hot(hot.enqueue, (queue_type, queue_id, body), body)

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
        what = (queue_type or "default", count, self._app.push.bring_back)
        self._begin_hot(hot.dequeue, what, body)

    def on_finish(self, queue_type: str, queue_id: str, job_id: str, body: bytes) -> None:
        self._begin_hot(hot.finish, (queue_type, queue_id, job_id, body), body)

    def _begin_hot(
        self, route: Callable[..., None], arguments: tuple[Any, ...], body: bytes
    ) -> None:
        self._body_since = None
        app = self._app
        if not app.serving:
            self._take_whole(body)
            return
        respond = self._respond if app.access_log is None else self._logging_respond()
        if self.busy or self._behind:
            self._behind.append(lambda: route(self._engine, *arguments, respond))
        else:
            self.busy = True
            app.under_way.add(self)
            route(self._engine, *arguments, respond)

    def _take_whole(self, body: bytes) -> None:
        """Have the application answer a request that the hot routes do not."""
        self.on_head()
        if body:
            self.on_chunk(body)
        self.on_end()

    def _logging_respond(self) -> Callable[[Reply], None]:
        """What answers the request that has been read, and notes it in the access log."""
        log, came = self._app.access_log, time.monotonic()
        request = b"%b %b HTTP/1.1" % (self.method, self.target)
        fields = {name.lower(): value for name, value in self.headers}

        def respond(reply: Reply) -> None:
            self._respond(reply)
            if log is not None:
                log.write(
                    remote=self._context().remote_ip,
                    request=request.decode("latin-1"),
                    status=reply.status,
                    size=len(reply.body),
                    referrer=fields.get(b"referer", b"").decode("latin-1"),
                    agent=fields.get(b"user-agent", b"").decode("latin-1"),
                    seconds=time.monotonic() - came,
                )

        return respond

    def _respond(self, reply: Reply) -> None:
        self._app.under_way.discard(self)
        if self.gone or self._ended or (self.half_closed and reply.unsent is not None):
            if reply.unsent is not None:
                reply.unsent()
            self._transport.close()
            return
        if self._app.draining or self.half_closed:
            self._transport.write(last_answer(reply))
            self.end()
        else:
            self._transport.write(answer(reply))
        self.busy = False
        self.since = self._listener.now
        if self._behind:
            self._advance()

    # Every other request

    def on_head(self) -> None:
        method = self.method if self._odd_method is None else self._odd_method
        self._odd_method = None
        start_line = RequestStartLine(
            method.decode("latin-1"), self.target.decode("latin-1"), self.version
        )
        wish, self._wish = self._wish, []
        fields = self.headers + wish
        message = Message(start_line, fields, self.keeps_alive and not self._wants_close())
        self._receiving = message
        if start_line.version not in framing.VERSIONS:
            self._refuse(framing.MALFORMED)
            return
        self._behind.append(message)
        self._advance()

    def _wants_close(self) -> bool:
        """Whether the head that was read has the option to close, whatever else it has."""
        values = (value for name, value in self.headers if name.lower() == b"connection")
        options = (option for value in values for option in value.lower().split(b","))
        return any(option.strip() == b"close" for option in options)

    def on_chunk(self, chunk: bytes) -> None:
        if self._receiving is not None:
            self._receiving.add(chunk)

    def on_end(self) -> None:
        self._body_since = None
        receiving, self._receiving = self._receiving, None
        if receiving is not None:
            receiving.end()

    def on_large_target(self) -> None:
        self._refuse(framing.URI_TOO_LONG)

    def on_large_head(self) -> None:
        self._refuse(framing.HEADERS_TOO_LARGE)

    def _advance(self) -> None:
        """Begin the next request, if the one before it is answered and its answer on its way."""
        if self._advancing:
            return
        self._advancing = True
        while self._behind and not (self.busy or self._ended or self.gone) and not self._stuck:
            self.busy = True
            following = self._behind.popleft()
            if not isinstance(following, Message):
                self._app.under_way.add(self)
                following()
            elif following.refusal is not None:
                self.refuse_now(following.refusal)
            else:
                self._current = following
                loop = asyncio.get_running_loop()
                self._conversing = loop.create_task(self._converse(following))
        self._advancing = False
        self._look_after_reading()

    async def _converse(self, message: Message) -> None:
        """Hand a request to the application and wait until it is answered."""
        conversation = Conversation(self, message, self._context())
        self._conversation = conversation
        delegate = self._app.start_request(self, conversation)
        given = False
        try:
            given = await self._hand_over(message, conversation, delegate)
            await conversation.answered
        except asyncio.CancelledError:
            conversation.on_close()
        except Exception:
            _log.exception("A request for %s failed", message.start_line.path)
            self.abort()
        finally:
            if not given:
                delegate.on_connection_close()
            self._conversation = self._conversing = self._current = None
            self.busy = False
            self.since = self._listener.now
        if not self._ended and not self.gone:
            self._go_on()

    async def _hand_over(
        self, message: Message, conversation: Conversation, delegate: HTTPMessageDelegate
    ) -> bool:
        """Tell the delegate of the message as it comes; False where it has refused it."""
        try:
            headers = message.headers
        except HTTPInputError:
            conversation.refuse(framing.MALFORMED)
            return False
        expecting = "Expect" in headers
        begun = delegate.headers_received(message.start_line, headers)
        if begun is not None:
            await begun
        if expecting:
            conversation.say_continue()
        while not conversation.answered.done():
            chunk = await message.next_chunk()
            if chunk is None:
                delegate.finish()
                return True
            self._look_after_reading()
            taken = delegate.data_received(chunk)
            if taken is not None:
                await taken
        return False

    def _go_on(self) -> None:
        """The request under way is answered."""
        if self._rest is not None:
            rest, self._rest = self._rest, None
            self.renew()
            if rest:
                self.data_received(rest)
        self._advance()
        if self.half_closed and not self.busy and not self._ended:
            self._transport.close()

    def _context(self) -> Context:
        address = self._transport.get_extra_info("peername")
        return Context(address[0] if isinstance(address, tuple) else "0.0.0.0", address)

    # Trouble

    def _on_upgrade(self, rest: bytes) -> None:
        """The parser ends at a request to upgrade, before its body."""
        lengths = [(name, value) for name, value in self.headers if name.lower() in _LENGTHS]
        if not lengths or [_is_none(*field) for field in lengths] == [True]:
            self._rest = rest
            self.on_head()
            self.on_end()
            return
        # With a body it is read as if it did not want to. Whether that is empty is seen at its end:
        # a GET, which is never a hot request then, is told to its route with the wish.
        if self.method == b"GET":
            self._wish = [field for field in self.headers if field[0].lower() == b"upgrade"]
        fields = [field for field in self.headers if field[0].lower() != b"upgrade"]
        line = b"%b %b %b" % (self.method, self.target, self.version.encode())
        head = b"\r\n".join([line, *(b"%b: %b" % field for field in fields)])
        self.renew()
        self.data_received(head + b"\r\n\r\n" + rest)

    def _on_malformed(self, data: bytes) -> None:
        method = _METHOD.match(data)
        if method is not None and method[1] not in _KNOWN and self._odd_method is None:
            self._odd_method = method[1]
            self.renew()
            self.data_received(_STAND_IN + data[method.end(1) :])
            return
        message, reply = self._receiving, None
        if message is not None:
            with suppress(HTTPInputError):
                reply = framing.problem(message.start_line, message.headers)
        self._refuse(reply or framing.MALFORMED)

    def _on_bug(self, error: HttpParserCallbackError) -> None:
        cause = error.__context__
        if isinstance(cause, HttpParserError):
            self._on_malformed(b"")
            return
        bug = cause if isinstance(cause, Exception) else error
        self._refuse(incidents.reply_to(bug, "The reading of a request"))

    def _refuse(self, reply: Reply) -> None:
        """Answer what is being read with a refusal, in its turn, and read no more."""
        self.ignore()
        receiving, self._receiving = self._receiving, None
        if receiving is not None and receiving is self._current:
            self._current = None
            if self._conversing is not None:
                self._conversing.cancel()
            self.refuse_now(reply)
            return
        if receiving is None:
            receiving = Message(RequestStartLine("", "", ""), [], False)
        receiving.refusal = reply
        if receiving not in self._behind:
            self._behind.append(receiving)
        self._advance()

    def refuse_now(self, reply: Reply) -> None:
        """Answer the request under way with a refusal, and end the connection."""
        if not self.gone and not self._ended:
            self._transport.write(last_answer(reply))
            self._linger()

    def end(self) -> None:
        """End the connection when what was written has gone."""
        if self._ended or self.gone:
            return
        if self.stage != WAITING or self._behind or self._holding:
            self._linger()
        else:
            self._ended = True
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        self._ended = True
        self._transport.abort()

    def _linger(self) -> None:
        """Close, but keep reading for a moment.

        A socket that is closed with unread input resets the connection, and the answer may be lost
        on its way (RFC 9112, 9.6).
        """
        self._ended = True
        self.ignore()
        self._behind.clear()
        listener = self._listener
        if (
            self.half_closed
            or not self._transport.can_write_eof()
            or listener.lingering >= MOST_LINGERING
        ):
            self._transport.close()
            return
        self._transport.write_eof()
        self._look_after_reading()
        loop = asyncio.get_running_loop()
        listener.lingering += 1
        self._lingering = loop.call_later(LINGER_SECONDS, self._transport.abort)

    # Back-pressure and time

    def _look_after_reading(self) -> None:
        """Read no more where what was read is not dealt with."""
        if self.gone:
            return
        if self.stage == IN_BODY and self._body_since is None:
            self._body_since = self._listener.now
        hold = not self._ended and (
            bool(self._behind)
            or self._rest is not None
            or self._stuck
            or (self._receiving is not None and self._receiving.full)
        )
        if hold != self._holding:
            self._holding = hold
            if hold:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def look_at_time(self, now: float, idle: float, body: float) -> None:
        """Close what is idle or too slow; `idle` and `body` are in seconds."""
        if self._stuck or self._ended:
            self._look_at_progress(now, idle)
        elif self._body_since is not None and not self._holding:
            if now - self._body_since > body:
                self._refuse(framing.TIMED_OUT)
        elif not self.busy and now - self.since > idle:
            if self.stage == WAITING:
                self._ended = True
                self._transport.close()
            else:
                self._refuse(framing.TIMED_OUT)

    def _look_at_progress(self, now: float, idle: float) -> None:
        """Give up on a client that takes nothing of what it has to be sent."""
        unsent = self._transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent, self._moved_at = unsent, now
        elif now - self._moved_at > idle:
            discard_unsent(self._transport.get_extra_info("socket"))
            self.abort()

    def stop(self) -> None:
        """The server ends: what is not whole by now is not begun."""
        if self._ended:
            return
        if self.stage != WAITING and (not self.busy or self._receiving is not None):
            self._refuse(framing.STOPPING)
        elif self.busy:
            self.abort()
        else:
            self._ended = True
            self._transport.close()

    # For the conversation

    @property
    def closing_down(self) -> bool:
        """Whether each answer ends its connection now."""
        return self._app.draining or self.half_closed

    def write(self, data: bytes) -> None:
        """Send bytes of the answer under way."""
        self._transport.write(data)

    def drained(self) -> asyncio.Future[None] | None:
        """What waits until the client has read more; None where it reads well."""
        if not self._stuck or self.gone:
            return None
        if self._drained is None:
            self._drained = asyncio.get_running_loop().create_future()
        return self._drained

    def _resolve_drained(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def detach(self, first: bytes) -> HTTPStream:
        """Hand the connection over as a stream that begins by sending `first`.

        Raises StreamClosedError where that cannot be done.
        """
        transport = self._transport
        if self.gone or self._behind or transport.get_write_buffer_size():
            self.abort()
            raise StreamClosedError
        if not self._holding:
            transport.pause_reading()
        try:
            connection = _duplicate(transport.get_extra_info("socket").fileno())
        except OSError as error:
            self.abort()
            raise StreamClosedError(real_error=error) from error
        stream = HTTPStream(connection, lambda: self._listener.stops)
        stream.settle()
        stream.give_back(self._rest or b"")
        address, self._counted_for = self._counted_for, None
        if address is not None:
            stream.on_end = partial(self._app.connections.leave, address)
        # This closes one of two descriptors: the connection stays.
        self.abort()
        with suppress(StreamClosedError):
            stream.write(first)
        return stream


def _duplicate(descriptor: int) -> socket.socket:
    """Another socket of the same connection. Raises OSError."""
    copy = socket.socket(fileno=socket.dup(descriptor))
    copy.setblocking(False)
    return copy
