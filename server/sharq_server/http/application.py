"""What this wing needs from the application that it serves."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from tornado.httputil import HTTPConnection, HTTPMessageDelegate

from sharq import Batch
from sharq.engine import Engine
from sharq_server.api.doctor import Facts
from sharq_server.api.gate import Gate
from sharq_server.api.handing import Handing
from sharq_server.api.warnings import Warnings
from sharq_server.http.access_log import AccessLog
from sharq_server.security.admission import Connections
from sharq_server.security.credentials import Credentials
from sharq_server.security.origins import Origins
from sharq_server.security.proxies import Proxies
from sharq_server.telemetry.formats import Form
from sharq_server.telemetry.meter import Meter


class Jobs(Protocol):
    """Waits for jobs, and takes jobs back whose answer cannot be sent."""

    @property
    def handing(self) -> Mapping[str, Handing]:
        """Who is told of jobs that are handed out, by the types that somebody tails."""

    async def wait_for(
        self,
        queue_type: str,
        count: int,
        request_id: str | None,
        seconds: float,
        set_stop: Callable[[Callable[[], None] | None], None],
    ) -> Batch | None:
        """Jobs of a type as soon as they are ready; None if none was in time.

        `set_stop` gets a function that ends the wait early, and None when it is over. Raises
        `Stopping`.
        """

    def bring_back(self, queue_type: str, batch: Batch) -> None:
        """Give leased jobs to others, since the answer could not be sent."""


class Application(Protocol):
    """The application, as connections and requests see it.

    `base_path`: what all paths begin with, without a slash at its end; "" if nothing.
    `draining`: each answer ends its connection now. `serving`: requests need not wait for the
    start. `under_way` has the unanswered requests.
    """

    @property
    def base_path(self) -> str: ...
    @property
    def engine(self) -> Engine: ...
    @property
    def push(self) -> Jobs: ...
    @property
    def gate(self) -> Gate: ...
    @property
    def warnings(self) -> Warnings: ...
    @property
    def origins(self) -> Origins: ...
    @property
    def credentials(self) -> Credentials: ...
    @property
    def proxies(self) -> Proxies: ...
    @property
    def connections(self) -> Connections: ...
    @property
    def meter(self) -> Meter: ...
    @property
    def access_log(self) -> AccessLog | None: ...
    @property
    def facts(self) -> Facts: ...
    @property
    def draining(self) -> bool: ...
    @property
    def serving(self) -> bool: ...
    @property
    def under_way(self) -> set[object]: ...

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """The delegate of a request on a connection."""

    def start_other_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """The same for a request that is for none of the routes."""

    def advance_bulk(self, queue_type: str) -> None:
        """Go on with a bulk of dead letters that has begun, in the background."""

    async def scrape(self, form: Form) -> bytes:
        """The metrics of all processes, as a text."""

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work in a task of the application."""

    async def begun(self) -> None:
        """Wait for the start, if it is under way."""
