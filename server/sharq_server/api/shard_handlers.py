"""What the routes of shards do: how many a type has, and another number."""

from __future__ import annotations

from msgspec import UNSET

from sharq.engine import Carrier
from sharq.identifiers import missing
from sharq_server.api import bodies, replies
from sharq_server.api.handlers import Request
from sharq_server.api.replies import Reply


async def show(engine: Carrier, request: Request) -> Reply:
    bodies.only_parameters(request.query)
    (queue_type,) = request.names
    return replies.told({"shards": await engine.run(engine.flows.resharding.show(queue_type))})


async def set_shards(engine: Carrier, request: Request) -> Reply:
    bodies.only_parameters(request.query)
    (queue_type,) = request.names
    wanted = bodies.decode(bodies.Shards, request.body).shards
    if wanted is UNSET:
        raise missing("shards")
    before = await engine.run(engine.flows.resharding.set(queue_type, wanted))
    return replies.told({"shards": wanted, "shards_before": before})
