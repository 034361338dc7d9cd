"""What the routes of dead letters do: looking at them, retrying and deleting some or many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sharq.engine import Carrier
from sharq_server.api import bodies, dead_bodies, dead_replies, replies
from sharq_server.api.handlers import Request
from sharq_server.api.replies import Reply


async def page(engine: Carrier, request: Request) -> Reply:
    (queue_type,) = request.names
    asked = dead_bodies.page_query(request.query)
    return dead_replies.dead_page(await engine.run(engine.flows.dead.page(queue_type, **asked)))


async def show(engine: Carrier, request: Request) -> Reply:
    bodies.only_parameters(request.query)
    letter = await engine.run(engine.flows.dead.show(*request.names))
    return replies.NO_SUCH_JOB if letter is None else dead_replies.dead_letter(letter)


async def retry(engine: Carrier, request: Request) -> Reply:
    return await _change(engine, request, "retry", engine.flows.dead.retry)


async def delete(engine: Carrier, request: Request) -> Reply:
    return await _change(engine, request, "delete", engine.flows.dead.delete)


async def _change(
    engine: Carrier, request: Request, kind: str, at_once: Callable[[str, Any], Any]
) -> Reply:
    """Retry or delete: named ones `at_once`, others in a bulk that the server goes on with."""
    (queue_type,) = request.names
    bodies.only_parameters(request.query)
    selection = dead_bodies.selection_of(request.body)
    if selection.jobs is not None:
        return dead_replies.dead_changed(await engine.run(at_once(queue_type, selection.jobs)))
    begun = await engine.run(
        engine.flows.dead.begin(queue_type, kind, selection.bulk_filter, selection.limit)
    )
    # Also with one that its server has left.
    request.exchange.advance_bulk(queue_type)
    return dead_replies.bulk_begun(begun.id) if begun.begun else dead_replies.bulk_running(begun.id)


async def progress(engine: Carrier, request: Request) -> Reply:
    bodies.only_parameters(request.query)
    (queue_type,) = request.names
    bulk = await engine.run(engine.flows.dead.progress(queue_type))
    if bulk is not None and bulk.state == "running":
        request.exchange.advance_bulk(queue_type)
    return dead_replies.bulk_progress(bulk)


async def cancel(engine: Carrier, request: Request) -> Reply:
    bodies.only_parameters(request.query)
    bodies.decode_optional(bodies.Nothing, request.body)
    cancelled = await engine.run(engine.flows.dead.cancel(*request.names))
    return replies.SUCCESS if cancelled else replies.NO_BULK
