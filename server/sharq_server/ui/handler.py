"""The dashboard as a handler of Tornado's application."""

from __future__ import annotations

from typing import Any

from tornado.web import RequestHandler

from sharq_server.api import replies
from sharq_server.api.replies import Reply
from sharq_server.ui.dashboard import Answer, Dashboard


class DashboardHandler(RequestHandler):
    """Answers what is the `dashboard`'s."""

    def initialize(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard

    def prepare(self) -> None:
        request = self.request
        answer = self._dashboard.answer(
            request.method or "", request.path, request.headers.get("If-None-Match")
        )
        self._send(answer if isinstance(answer, Answer) else _of(answer))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self._send(_of(replies.UNKNOWN_ROUTE))

    def compute_etag(self) -> str | None:
        return None  # the answer has one where there is one

    def _send(self, answer: Answer) -> None:
        self.clear()
        self.set_status(answer.status)
        self.set_header("Server", "SharQ")
        self.clear_header("Content-Type")
        for name, value in answer.fields:
            self.set_header(name, value)
        self.finish(answer.body or None)


def _of(reply: Reply) -> Answer:
    fields = (("Content-Type", "application/json"), ("Cache-Control", "no-store"), *reply.fields)
    return Answer(reply.status, fields, reply.body)
