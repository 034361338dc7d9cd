"""The most frequent routes, without a coroutine: from a request to its `Reply`.

They answer like those of the same name in `handlers`, with the same parts. Requests of one turn of
the loop go to the store together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

from sharq import Batch
from sharq.engine import Engine
from sharq.results import Ended, Enqueued
from sharq_server.api import bodies, error_reporting, handlers, replies
from sharq_server.api.handing import BULK, REST, Handing
from sharq_server.api.replies import Reply

Respond = Callable[[Reply], None]


class Hands(Protocol):
    """Who knows those who tail types, and takes jobs back whose answer cannot be sent."""

    @property
    def handing(self) -> Mapping[str, Handing]: ...
    def bring_back(self, queue_type: str, batch: Batch) -> None: ...


_ENQUEUE: Final = "POST /enqueue/"
_DEQUEUE: Final = "GET /dequeue/"
_FINISH: Final = "POST /finish/"


class HotRoute(NamedTuple):
    """What answers the requests for a route: `answer` gets the engine, arguments and `Respond`."""

    template: str
    answer: Callable[..., None]


def enqueue(engine: Engine, queue_type: str, queue_id: str, body: bytes, respond: Respond) -> None:
    """Put the job in a body into a queue."""
    job = engine.flows.plain_job(body, queue_type, queue_id)
    if job is None:
        try:
            job = handlers.job_of(engine, queue_type, queue_id, body)
        except Exception as error:
            respond(error_reporting.reply_to(error, _ENQUEUE))
            return
    bounded = job.max_queued_length is not None

    def done(outcome: Enqueued | Exception) -> None:
        if isinstance(outcome, Enqueued):
            respond(replies.enqueued(outcome, bounded))
        else:
            respond(error_reporting.reply_to(outcome, _ENQUEUE))

    engine.batcher.enqueue(job, done)


def dequeue(
    engine: Engine, queue_type: str, count: int | None, hands: Hands, respond: Respond
) -> None:
    """Lease jobs of a type: one, or, with `count`, a list of up to that many."""

    def done(batch: Batch | Exception, start: int, stop: int) -> None:
        if not isinstance(batch, Batch):
            respond(error_reporting.reply_to(batch, _DEQUEUE))
        elif start == stop:
            respond(replies.nothing_ready(batch.wait_us))
        else:
            tell = hands.handing.get(queue_type)
            if tell is not None:
                tell(batch, start, stop, REST if count is None else BULK, None)
            respond(
                Reply(
                    200,
                    batch.to_json(start) if count is None else batch.to_json_list(start, stop),
                    unsent=lambda: hands.bring_back(queue_type, batch.part(start, stop)),
                )
            )

    engine.batcher.take(queue_type, count or 1, done)


def finish(
    engine: Engine, queue_type: str, queue_id: str, job_id: str, body: bytes, respond: Respond
) -> None:
    """End a leased job for good."""

    def done(outcome: Ended | Exception) -> None:
        if isinstance(outcome, Ended):
            respond(replies.finished(outcome))
        else:
            respond(error_reporting.reply_to(outcome, _FINISH))

    try:
        told = bodies.finish_of(body)
        engine.batcher.finish(queue_type, queue_id, job_id, told.lease, done, told.cost)
    except Exception as error:
        respond(error_reporting.reply_to(error, _FINISH))


ENQUEUE: Final = HotRoute("/enqueue/<queue_type>/<queue_id>/", enqueue)
DEQUEUE: Final = HotRoute("/dequeue/<queue_type>/", dequeue)
DEQUEUE_DEFAULT: Final = HotRoute("/dequeue/", dequeue)
FINISH: Final = HotRoute("/finish/<queue_type>/<queue_id>/<job_id>/", finish)
