"""From a request that was let in to its reply."""

from __future__ import annotations

from sharq.engine import Carrier
from sharq.identifiers import invalid, is_identifier
from sharq_server.api import changes, error_reporting, replies
from sharq_server.api.handlers import Handler, Request
from sharq_server.api.replies import Reply
from sharq_server.api.routing import Match


def handler_of(match: Match, method: str) -> Handler | Reply:
    """What handles a request, or the answer to one with a wrong method or a wrong name."""
    route, values = match
    handler = route.methods.get(method)
    if handler is None:
        return route.not_allowed
    for name, value in zip(route.names, values, strict=True):
        if not is_identifier(value):
            return replies.of_error(invalid(name))
    return handler


async def answer(
    match: Match, method: str, handler: Handler, engine: Carrier, request: Request, about: str
) -> Reply:
    """Let `handler` answer; an error is answered, too. `about`, the request's line, is for the log.

    What operators change is logged.
    """
    try:
        reply = await handler(engine, request)
    except Exception as error:
        return error_reporting.reply_to(error, about)
    changes.note(match.route, method, request, reply, about)
    return reply
