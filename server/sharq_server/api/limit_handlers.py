"""What the routes of limits and pauses do, for a queue, a group and a type alike."""

from __future__ import annotations

from sharq.engine import Carrier
from sharq_server.api import bodies, limit_bodies, replies, shown_replies
from sharq_server.api.handlers import Request
from sharq_server.api.replies import Reply


async def set_limits(engine: Carrier, request: Request) -> Reply:
    level, given = limit_bodies.level_of(request.names, request.query, limit_bodies.DRY_RUN)
    tries = limit_bodies.dry_run(given)
    values = limit_bodies.values_of(request.body, level)
    limiting, queue_type = engine.flows.limiting, request.names[0]
    if tries:
        return shown_replies.estimate(
            await engine.run(limiting.estimate(queue_type, *level, **values))
        )
    await engine.run(limiting.set(queue_type, *level, **values))
    return replies.SUCCESS


async def show(engine: Carrier, request: Request) -> Reply:
    level, _ = limit_bodies.level_of(request.names, request.query)
    limits = await engine.run(engine.flows.limiting.show(request.names[0], *level))
    return shown_replies.limits(limits, of_queue=level.queue_id is not None)


async def reset(engine: Carrier, request: Request) -> Reply:
    level, _ = limit_bodies.level_of(request.names, request.query)
    bodies.decode_optional(bodies.Nothing, request.body)
    await engine.run(engine.flows.limiting.reset(request.names[0], *level))
    return replies.SUCCESS


async def pause(engine: Carrier, request: Request) -> Reply:
    level, _ = limit_bodies.level_of(request.names, request.query)
    wanted = limit_bodies.pause_of(request.body)
    await engine.run(
        engine.flows.limiting.pause(request.names[0], *level, wanted.duration, wanted.reason)
    )
    return replies.SUCCESS


async def resume(engine: Carrier, request: Request) -> Reply:
    level, _ = limit_bodies.level_of(request.names, request.query)
    bodies.decode_optional(bodies.Nothing, request.body)
    await engine.run(engine.flows.limiting.resume(request.names[0], *level))
    return replies.SUCCESS
