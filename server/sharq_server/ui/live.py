"""`/live/`: a page that shows which queues have jobs ready, and how fast they are handed out."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final

from tornado.web import RequestHandler

from sharq_server.api import replies

PATH: Final = "/live/?"

PAGE: Final = files("sharq_server.ui").joinpath("static", "live.html").read_bytes()
_POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


FIELDS: Final = [
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
]
"""The headers of the page."""


class LivePage(RequestHandler):
    """The page is one file; it reads its data from `/metrics/`, a few requests a second."""

    def get(self) -> None:
        self.set_header("Server", "SharQ")
        for name, value in FIELDS:
            self.set_header(name, value)
        self.finish(PAGE)

    head = get

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        reply = replies.method_not_allowed("GET, HEAD")
        self.set_header("Server", "SharQ")
        self.set_header("Content-Type", "application/json")
        self.set_header("Allow", reply.allow or "")
        self.finish(reply.body)
