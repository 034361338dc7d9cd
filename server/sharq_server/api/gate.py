"""Who is let in: a request judged by its head. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from tornado.httputil import HTTPHeaders

from sharq.settings.options import QueueSettings
from sharq.settings.tokens import UNLIMITED, Grant
from sharq_server.api import replies
from sharq_server.api.replies import Reply
from sharq_server.api.routes import ROUTES
from sharq_server.api.routing import OPEN, Match, Router
from sharq_server.security.credentials import Credentials
from sharq_server.security.origins import Origins
from sharq_server.security.refusal import Refusal

_BESIDES_PAYLOAD: Final = 64 * 1024
"""Bytes that a request's body may have besides its payload."""


class Admission(NamedTuple):
    """A request that is let in.

    `match` is None if it is for none of the routes. `grant` has the rights of the client. The body
    may have `body_limit` bytes. `preflight` is the answer to a browser that asks before a request.
    """

    match: Match | None
    grant: Grant
    body_limit: int
    preflight: Reply | None = None


class Gate:
    """The rules of one server: its Hosts and origins, its tokens, its sizes."""

    def __init__(self, origins: Origins, credentials: Credentials, settings: QueueSettings) -> None:
        self._origins = origins
        self._credentials = credentials
        self._router = Router(ROUTES)
        self.body_limit: Final = settings.max_payload_bytes + _BESIDES_PAYLOAD
        self._bulk_limit = settings.max_bulk_bytes

    def judge(self, method: str, path: str, headers: HTTPHeaders) -> Admission | Reply:
        """Judge a request by its method, its path as it came over the wire, and its headers."""
        match = self._router.find(path)
        has_effects = match is not None and match.route.has_effects(method)
        refusal = self._origins.problem(headers, has_effects=has_effects)
        grant = UNLIMITED
        bulk = match is not None and match.route.bulk
        limit = self._bulk_limit if bulk else self.body_limit
        if refusal is None and match is not None:
            # A browser asks without a token.
            fields = self._origins.allowed.preflight(method, headers, match.route.methods)
            if fields is not None:
                return Admission(match, grant, limit, replies.preflight(fields))
            judged = self._authorize(match, method, headers)
            if isinstance(judged, Grant):
                grant = judged
            else:
                refusal = judged
        if refusal is not None:
            return replies.refused(refusal)
        return Admission(match, grant, limit)

    def _authorize(self, match: Match, method: str, headers: HTTPHeaders) -> Grant | Refusal:
        """The client's rights, or a refusal if they do not allow the request."""
        credentials, route = self._credentials, match.route
        if not credentials.needed or route.operation == OPEN:
            return UNLIMITED
        return credentials.judge(
            headers.get("Authorization"),
            route.operation_of(method),
            route.queue_type(match.values),
            mixed=route.bulk,
        )
