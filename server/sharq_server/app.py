"""The route table and the wiring: a Tornado application whose routes are SharQ's REST API."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from tornado.httputil import HTTPConnection, HTTPMessageDelegate
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets
from tornado.routing import Rule
from tornado.web import Application, RequestHandler

from sharq.engine import Engine
from sharq_server.api import replies
from sharq_server.api.dead_bulks import DeadBulks
from sharq_server.api.doctor import Facts
from sharq_server.api.gate import Gate
from sharq_server.api.replies import Reply
from sharq_server.api.routes import ALL_METHODS
from sharq_server.api.warnings import Warnings
from sharq_server.http.access_log import AccessLog
from sharq_server.http.listener import BACKLOG, IDLE_SECONDS, Listener
from sharq_server.http.pace import BODY_SECONDS
from sharq_server.http.request_delegate import RequestDelegate
from sharq_server.http.tornado_connection import TornadoConnection
from sharq_server.push import websocket
from sharq_server.push.handshake import Handshakes, authorization
from sharq_server.push.push import Push
from sharq_server.push.stock import PushHandler
from sharq_server.security import descriptors
from sharq_server.security.admission import Connections
from sharq_server.security.certificates import Certificate
from sharq_server.security.credentials import Credentials
from sharq_server.security.origins import Origins
from sharq_server.security.proxies import Proxies
from sharq_server.telemetry.fields import OTHER
from sharq_server.telemetry.formats import Form
from sharq_server.telemetry.meter import Meter
from sharq_server.telemetry.telemetry import Telemetry
from sharq_server.ui import dashboard
from sharq_server.ui.dashboard import Dashboard
from sharq_server.ui.handler import DashboardHandler


class SharQApplication(Application):
    """The REST API. Added handlers get all other paths.

    `under_way` has the requests that are not answered yet. With `draining` set, each answer ends
    its connection. `begin` is called in the event loop before the first request is served; when it
    has ended, the application is `serving`. `origins` and `credentials` decide about requests by
    their heads. Raises `ConfigError` for invalid tokens or an invalid certificate.
    """

    def __init__(
        self,
        engine: Engine,
        push: Push,
        telemetry: Telemetry,
        access_log: AccessLog | None = None,
        begin: Callable[[], None] | None = None,
    ) -> None:
        server = engine.settings.server
        self.credentials = Credentials(server.token_file, server.tokens)
        self.origins = Origins(
            server.host,
            server.allowed_hosts,
            server.allowed_origins,
            own_names=(socket.gethostname(),),
            any_host=self.credentials.needed,
        )
        handshakes = Handshakes(push, self.origins, self.credentials)
        upgrades = websocket.Upgrades(handshakes, self.begun, self.run, access_log)
        rules: list[Any] = [
            Rule(websocket.OnOurs(), upgrades),
            (websocket.PATH, PushHandler, {"handshakes": handshakes, "begun": self.begun}),
        ]
        if server.ui != dashboard.OFF:
            pages = Dashboard(server, tokens=self.credentials.needed, live=True)
            rules.append((dashboard.PATH, DashboardHandler, {"dashboard": pages}))
        super().__init__(
            rules,
            default_handler_class=_UnknownRoute,
            log_function=self._log_other,
        )
        self.base_path = server.base_path or ""
        self.engine = engine
        self.push = push
        self.telemetry = telemetry
        self.proxies = Proxies(server.trusted_proxies)
        self.connections = Connections(
            server.max_connections, server.max_connections_per_address, self.proxies
        )
        self.certificate: Certificate | None = None
        if server.tls_certificate is not None:
            self.certificate = Certificate(server.tls_certificate, server.tls_key)
        self.warnings = Warnings()
        self.dead_bulks = DeadBulks(engine)
        self.access_log = access_log
        self.gate = Gate(self.origins, self.credentials, engine.settings.sharq)
        self.draining = False
        self.under_way: set[object] = set()
        self.serving = begin is None
        self._beginning: asyncio.Task[None] | None = None
        self._begin = begin
        self._tasks: set[asyncio.Task[None]] = set()

    def listen(  # type: ignore[override] # what serves is no HTTPServer, but is stopped like one
        self,
        port: int,
        address: str | None = None,
        *,
        family: socket.AddressFamily = socket.AF_UNSPEC,
        backlog: int = BACKLOG,
        flags: int | None = None,
        reuse_port: bool = False,
        **options: Any,
    ) -> Listener:
        """Serve on a port, as in Tornado; `options` are those of `make_listener`."""
        listener = self.make_listener(**options)
        sockets = bind_sockets(
            port, address, family=family, backlog=backlog, flags=flags, reuse_port=reuse_port
        )
        listener.add_sockets(sockets)
        if self._begin is not None:
            IOLoop.current().add_callback(self._begin)
        return listener

    def make_listener(
        self,
        *,
        idle_connection_timeout: float = IDLE_SECONDS,
        body_timeout: float = BODY_SECONDS,
        certificate: Certificate | None = None,
        **others: Any,
    ) -> Listener:
        """The listener that serves this application on sockets, with TLS if there is a certificate.

        By default that is the one of the settings. Raises TypeError for an option of Tornado's.
        """
        if others:
            raise TypeError(
                f"app.listen takes no {', '.join(others)}. Tornado's own server does: "
                f"HTTPServer(app, {', '.join(f'{name}=…' for name in others)})"
            )
        return Listener(
            self,
            idle_connection_timeout=idle_connection_timeout,
            body_timeout=body_timeout,
            certificate=self.certificate if certificate is None else certificate,
        )

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        if self._begin is not None:
            self._begin()
            self._begin = None
            self.serving = self._beginning is None
        return RequestDelegate(self, server_conn, request_conn)

    def start_other_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """A request that is for none of the routes."""
        return super().start_request(server_conn, request_conn)

    def wait_for(self, beginning: asyncio.Task[None]) -> None:
        """Note the task that starts the application; requests wait for its end."""
        self._beginning = beginning
        beginning.add_done_callback(self._on_begun)

    async def begun(self) -> None:
        """Wait for the start, if it is under way."""
        if self._beginning is not None:
            await asyncio.wait({self._beginning})

    def _on_begun(self, _beginning: asyncio.Task[None]) -> None:
        self._beginning = None
        self.serving = self._begin is None

    def advance_bulk(self, queue_type: str) -> None:
        """Go on with a bulk of dead letters that has begun, in the background."""
        self.dead_bulks.advance(queue_type)

    @property
    def meter(self) -> Meter:
        """Counts for this process."""
        return self.telemetry.meter

    async def scrape(self, form: Form) -> bytes:
        """The metrics of all processes, as a text."""
        return await self.telemetry.scrape(form)

    @property
    def facts(self) -> Facts:
        """What this process knows of itself, for the doctor."""
        certificate = self.certificate
        return Facts(
            places=self.engine.settings.server.host,
            tokens=len(self.credentials) if self.credentials.needed else None,
            certificate=None if certificate is None else (certificate.path, certificate.days_left),
            behind_proxy=bool(self.proxies),
            files=descriptors.in_use(),
            most_files=descriptors.limit(),
            connections=len(self.connections),
            most_connections=self.connections.most,
        )

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work in a task of the application."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _log_other(self, handler: RequestHandler) -> None:
        self.meter.on_request(OTHER, handler.get_status(), handler.request.request_time())
        if self.access_log is not None:
            request = handler.request
            connection, remote = request.connection, request.remote_ip
            target = self.base_path + (request.uri or "")
            if isinstance(connection, TornadoConnection):
                remote, target = connection.client.address, connection.target
            self.access_log.write(
                remote=remote or "-",
                user=self.credentials.name_of(authorization(request.headers)),
                request=f"{request.method} {target} {request.version}",
                status=handler.get_status(),
                size=None,
                referrer=request.headers.get("Referer"),
                agent=request.headers.get("User-Agent"),
                seconds=request.request_time(),
            )


class _UnknownRoute(RequestHandler):
    """For a path without a handler: 404 for any method."""

    application: SharQApplication

    def prepare(self) -> None:
        allowed = self.application.origins.allowed
        request = self.request
        fields = allowed.preflight(request.method or "", request.headers, ALL_METHODS)
        # A page may then see that there is no such route.
        self._answer(replies.UNKNOWN_ROUTE if fields is None else replies.preflight(fields))

    def send_error(self, status_code: int = 404, **kwargs: Any) -> None:
        self._answer(replies.UNKNOWN_ROUTE)

    def _answer(self, reply: Reply) -> None:
        self.set_status(reply.status)
        self.set_header("Server", "SharQ")
        self.set_header("Cache-Control", "no-store")
        if reply.body:
            self.set_header("Content-Type", "application/json")
        else:
            self.clear_header("Content-Type")
        for_page = self.application.origins.allowed.fields(self.request.headers)
        for name, value in (*reply.more, *for_page):
            self.set_header(name, value)
        self.finish(reply.body or None)

    def log_exception(self, *error: Any) -> None:
        """Tornado's own errors for such a request do not matter."""
