"""The WSGI application: one request at a time in each thread, over blocking connections."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from tornado.httputil import HTTPHeaders

from sharq import Batch, SharQ
from sharq.blocking_engine import SyncEngine
from sharq.deployment import ConfigSource, Deployment
from sharq.errors import SharqException, StoreError
from sharq.immediate import Immediate, carry_out
from sharq.results import Keeping
from sharq.settings.reading import Settings
from sharq_server.api import answering, error_reporting, replies
from sharq_server.api.doctor import Facts
from sharq_server.api.gate import Gate
from sharq_server.api.handing import Handing
from sharq_server.api.handlers import Request
from sharq_server.api.replies import Reply, failure
from sharq_server.api.routes import ALL_METHODS
from sharq_server.gateway import incoming
from sharq_server.gateway.incoming import Environ
from sharq_server.gateway.outgoing import Answer, Outgoing, StartResponse
from sharq_server.gateway.store_metrics import StoreMetrics
from sharq_server.gateway.telling import StoreLog
from sharq_server.gateway.upkeep import Upkeep
from sharq_server.http import framing
from sharq_server.security import descriptors
from sharq_server.security.credentials import Credentials
from sharq_server.security.origins import Origins
from sharq_server.telemetry.formats import Form
from sharq_server.ui import dashboard
from sharq_server.ui.dashboard import Dashboard

_SWEEPING: Final = frozenset(("dequeue", "finish", "dead", "deepstatus"))
"""First segments of the routes after whose answers the sweep may be due."""

_LOOK_AT_TOKENS: Final = 1.0
"""Seconds between two checks whether the token file has changed."""

_PUSH_CHANNEL: Final = re.compile("/ws/?")
_NO_PUSH_CHANNEL: Final = failure(
    "upgrade_required",
    "A WSGI server has no push channel. Run `sharq-server` on the same store, and subscribe there.",
)
_DASHBOARD: Final = re.compile(dashboard.PATH)


class _Exchange:
    """The connection of a request: it is not known whether its client is still there."""

    waits = gone = False

    def __init__(
        self,
        engine: SyncEngine,
        upkeep: Upkeep,
        credentials: Credentials,
        store_metrics: StoreMetrics,
    ) -> None:
        self._engine = engine
        self._upkeep = upkeep
        self._credentials = credentials
        self._store_metrics = store_metrics

    @property
    def warnings(self) -> Sequence[str]:
        return self._upkeep.warnings()

    @property
    def facts(self) -> Facts:
        return Facts(
            places=None,
            tokens=len(self._credentials) if self._credentials.needed else None,
            certificate=None,
            behind_proxy=False,
            files=descriptors.in_use(),
            most_files=descriptors.limit(),
            connections=0,
            most_connections=None,
            sweeps_by_requests=True,
        )

    async def look_at_store(self) -> list[Keeping]:
        return self._engine.look_at_store()

    async def wait_for(self, *_: Any) -> Batch | None:
        return None

    @property
    def handing(self) -> Mapping[str, Handing]:
        # It does not hear when somebody tails a type.
        return {}

    def bring_back(self, _queue_type: str, batch: Batch) -> None:
        leases = [job.lease for job in batch.jobs]
        with suppress(StoreError):  # a lease that is not given back runs out
            self._engine.run(self._engine.flows.give_back_many(leases, False))

    def advance_bulk(self, queue_type: str) -> None:
        self._upkeep.advance_bulk(queue_type)

    async def scrape(self, form: Form) -> bytes:
        return await self._store_metrics.scrape(form)


class _Service(NamedTuple):
    """What is there from the first request on."""

    engine: SyncEngine
    carrier: Immediate
    exchange: _Exchange
    upkeep: Upkeep


class WSGIServer:
    """The REST API as a WSGI application, an object to be called.

    `config` is as in `SharQServer`; it is read at once. Nothing is connected and nothing is started
    before the first request, so that web servers may fork until then; a process that was forked
    later has connections of its own. There is no thread: the sweep is done after answers, see
    `Upkeep`. Raises `ConfigError` for a configuration, or tokens, that are not valid.
    """

    def __init__(self, config: ConfigSource = None) -> None:
        self._deployment = Deployment.read(config)
        settings = self._deployment.settings
        self._credentials = Credentials(settings.server.token_file, settings.server.tokens)
        origins = Origins(
            settings.server.host,
            settings.server.allowed_hosts,
            settings.server.allowed_origins,
            own_names=(socket.gethostname(),),
            any_host=self._credentials.needed,
        )
        self._allowed = origins.allowed
        self._gate = Gate(origins, self._credentials, settings.sharq)
        self._base_path = settings.server.base_path or ""
        self._dashboard: Dashboard | None = None
        if settings.server.ui != dashboard.OFF:
            needed = self._credentials.needed
            self._dashboard = Dashboard(settings.server, tokens=needed, live=False)
        self._tokens_read_at = time.monotonic()
        self._starting = threading.Lock()
        self._service: _Service | None = None

    @property
    def app(self) -> WSGIServer:
        """The application; the original's `server` has it under this name."""
        return self

    @property
    def config(self) -> Settings:
        """The settings."""
        return self._deployment.settings

    @property
    def sq(self) -> SharQ:
        """The library over the same connections. May raise `EmbeddedStoreError`."""
        return SharQ.over(self._started().engine)

    def close(self) -> None:
        """Close the connections and leave the embedded store; a later request opens them again."""
        with self._starting:
            service, self._service = self._service, None
        if service is not None:
            service.engine.close()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        headers = incoming.headers_of(environ)
        start_line = incoming.start_line_of(environ)
        method = start_line.method
        out = Outgoing(start_response, method, self._allowed.fields(headers))
        reply = framing.problem(start_line, headers)
        if reply is not None:
            return out.answer(reply)
        self._look_at_tokens()
        path, _, query = framing.below(start_line.path, self._base_path).partition("?")
        judged = self._gate.judge(method, path, headers)
        if isinstance(judged, Reply):
            return out.answer(judged)
        match = judged.match
        if match is None:
            return self._other(path, method, headers, out)
        if judged.preflight is not None:
            return out.answer(judged.preflight)
        body = incoming.body_of(environ, headers, judged.body_limit)
        if isinstance(body, Reply):
            return out.answer(body)
        handler = answering.handler_of(match, method)
        if isinstance(handler, Reply):
            return out.answer(handler)
        about = f"{method} {start_line.path}"
        try:
            service = self._started()
        except SharqException as error:
            return out.answer(error_reporting.reply_to(error, about))
        place = environ.get("SCRIPT_NAME", "") + self._base_path
        names, grant, accept = match.values, judged.grant, headers.get("Accept")
        request = Request(names, query, body, service.exchange, grant, place, accept)
        reply = carry_out(answering.answer(match, method, handler, service.carrier, request, about))
        # A store that does not answer is not asked again.
        may_sweep = match.route.first in _SWEEPING and reply.status < 500
        upkeep = service.upkeep
        if not (reply.unsent or upkeep.bulks_begin or (may_sweep and upkeep.due)):
            return out.answer(reply)
        out.begin(reply)
        return Answer(out.body(reply.body), reply.unsent, upkeep.work)

    def _other(
        self, path: str, method: str, headers: HTTPHeaders, out: Outgoing
    ) -> Iterable[bytes]:
        """Answer a request that is for none of the routes."""
        if _PUSH_CHANNEL.fullmatch(path):
            return out.answer(_NO_PUSH_CHANNEL)
        if self._dashboard is None or not _DASHBOARD.fullmatch(path):
            fields = self._allowed.preflight(method, headers, ALL_METHODS)
            # A page may then see that there is no such route.
            return out.answer(
                replies.UNKNOWN_ROUTE if fields is None else replies.preflight(fields)
            )
        answer = self._dashboard.answer(method, path, headers.get("If-None-Match"))
        return out.answer(answer) if isinstance(answer, Reply) else out.page(*answer)

    def _started(self) -> _Service:
        service = self._service
        if service is None:
            with self._starting:
                service = self._service
                if service is None:
                    engine = SyncEngine(self._deployment, reclaims=False)
                    carrier, upkeep = Immediate(engine, StoreLog().note), Upkeep(engine)
                    place = self._deployment.settings.redis.place
                    metrics = StoreMetrics(carrier, place)
                    exchange = _Exchange(engine, upkeep, self._credentials, metrics)
                    service = _Service(engine, carrier, exchange, upkeep)
                    self._service = service
        return service

    def _look_at_tokens(self) -> None:
        if self._credentials.needed:
            now = time.monotonic()
            if now >= self._tokens_read_at + _LOOK_AT_TOKENS:
                self._tokens_read_at = now
                self._credentials.refresh()
