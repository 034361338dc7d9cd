"""Parse, one operation, reply: what each route does.

A handler takes the library and a `Request` whose names are valid, and returns a `Reply`; it raises
the library's exceptions. It knows neither Tornado nor a connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from msgspec import UNSET, Raw

from sharq import Batch
from sharq.endings import fail_with
from sharq.engine import Carrier
from sharq.errors import Sharded, SharqException, StoreError
from sharq.identifiers import check_leased, invalid
from sharq.results import Enqueued, Keeping, NewJob
from sharq.settings.tokens import UNLIMITED, Grant
from sharq_server.api import bodies, error_reporting, openapi, replies, shown_replies
from sharq_server.api.doctor import Facts
from sharq_server.api.handing import BULK, REST, WAIT, Handing
from sharq_server.api.json_decoding import mandatory
from sharq_server.api.replies import Reply
from sharq_server.security.credentials import FORBIDDEN, lacking
from sharq_server.telemetry.formats import Form, form_of

_OUT_OF_REACH: Final = replies.refused(FORBIDDEN)
_AT_A_TIME: Final = 100
"""Jobs of a bulk that are checked before other requests get their turn."""

_QUEUES_A_PAGE: Final = 100


class RequestDelegate(Protocol):
    """What a handler may use of its request's connection."""

    @property
    def waits(self) -> bool:
        """Whether a request may wait for jobs."""

    @property
    def warnings(self) -> Sequence[str]:
        """What an operator should know of the server and its store."""

    @property
    def facts(self) -> Facts:
        """What the server knows of itself."""

    async def look_at_store(self) -> list[Keeping]:
        """What each node of the store is, and how it keeps its data. Raises `StoreError`."""

    @property
    def gone(self) -> bool:
        """Whether the client is gone, or may be: nothing more is leased to it."""

    async def wait_for(
        self, queue_type: str, count: int, request_id: str | None, seconds: float
    ) -> Batch | None:
        """Jobs of a type as soon as they are ready; None if none was, or the client is gone.

        Raises `Stopping`.
        """

    @property
    def handing(self) -> Mapping[str, Handing]:
        """Who is told of jobs that are handed out, by the types that somebody tails."""

    def bring_back(self, queue_type: str, batch: Batch) -> None:
        """Give leased jobs to others, since the client is gone."""

    def advance_bulk(self, queue_type: str) -> None:
        """Go on with the bulk of dead letters that has begun, after the answer."""

    async def scrape(self, form: Form) -> bytes:
        """The metrics of the server, as a text."""


class Request(NamedTuple):
    """`names`: the names in the path, in order. `query`: the query string as it came. `grant`: all
    rights of the client, more than the route needs. `prefix`: the path before the route's, which a
    proxy has taken off. `accept`: the Accept header.
    """

    names: tuple[str, ...]
    query: str
    body: bytes
    exchange: RequestDelegate
    grant: Grant = UNLIMITED
    prefix: str = ""
    accept: str | None = None


Handler = Callable[[Carrier, Request], Awaitable[Reply]]


async def index(_engine: Carrier, _request: Request) -> Reply:
    return replies.HELLO


async def description(_engine: Carrier, request: Request) -> Reply:
    return openapi.reply(request.prefix)


async def deepstatus(engine: Carrier, request: Request) -> Reply:
    strict = bodies.strict(request.query)
    told = await engine.try_writes()
    failures = [error for error in told.values() if error is not None]
    nodes = replies.nodes(told) if engine.flows.registry.clustered else {}
    if failures and (strict or len(failures) == len(told)):
        return error_reporting.reply_to(failures[0], "GET /deepstatus/", **nodes)
    return replies.working(request.exchange.warnings, **nodes)


async def enqueue(engine: Carrier, request: Request) -> Reply:
    queue_type, queue_id = request.names
    plain = engine.flows.plain_job(request.body, queue_type, queue_id)
    job = plain or job_of(engine, queue_type, queue_id, request.body)
    return _enqueued(job, await engine.run(engine.flows.submit(job)))


def job_of(engine: Carrier, queue_type: str, queue_id: str, text: bytes) -> NewJob:
    """The job in the body of a request."""
    body = bodies.decode(bodies.Job, text)
    if body.queue_type is not UNSET and body.queue_type != queue_type:
        raise invalid("queue_type", "none, or that of the path")
    if body.queue_id is not UNSET and body.queue_id != queue_id:
        raise invalid("queue_id", "none, or that of the path")
    return _new_job(engine, body, queue_type, queue_id)


async def enqueue_many(engine: Carrier, request: Request) -> Reply:
    entries = bodies.entries_of(bodies.decode(bodies.Bulk, request.body).jobs)
    return replies.bulk(await enqueue_entries(engine, entries, request.grant))


async def enqueue_entries(
    engine: Carrier, entries: Sequence[Raw], grant: Grant = UNLIMITED
) -> list[Reply]:
    """Enqueue the jobs of a bulk: for each, in order, what the single route would answer.

    A job of a type that `grant` does not allow is refused. Raises the store's failure if no job
    reached it.
    """
    jobs: list[NewJob | Reply] = []
    for at in range(0, len(entries), _AT_A_TIME):
        if at:
            await asyncio.sleep(0)
        some = entries[at : at + _AT_A_TIME]
        plain = engine.flows.plain_jobs(some)
        jobs += [job or _entry(engine, entry) for job, entry in zip(plain, some, strict=True)]
    if grant.queue_types is not None:
        jobs = [_within(grant, job) for job in jobs]
    valid = [job for job in jobs if isinstance(job, NewJob)]
    outcomes = await engine.run(engine.flows.submit_many(valid)) if valid else []
    failures = [outcome for outcome in outcomes if isinstance(outcome, StoreError)]
    if len(failures) == len(entries):
        # That is the request's failure, not each job's own.
        raise next((each for each in failures if each.outcome_unknown), failures[0])
    answers = iter(outcomes)
    return [_enqueued(job, next(answers)) if isinstance(job, NewJob) else job for job in jobs]


async def dequeue_by_post(engine: Carrier, request: Request) -> Reply:
    bodies.decode_optional(bodies.Nothing, request.body)
    return await dequeue(engine, request)


async def dequeue(engine: Carrier, request: Request) -> Reply:
    wanted = bodies.dequeue_parameters(request.query)
    queue_type = request.names[0] if request.names else "default"
    count = wanted.count or 1
    how = REST if wanted.count is None else BULK
    batch = await engine.run(engine.flows.take(queue_type, count, wanted.request_id))
    # No job and no wait: all jobs of the request_id have ended.
    over = wanted.request_id is not None and batch.wait_us == 0
    if not batch and wanted.wait and not over and request.exchange.waits:
        waited = await request.exchange.wait_for(queue_type, count, wanted.request_id, wanted.wait)
        if waited is not None:
            batch, how = waited, WAIT
        elif not request.exchange.gone:
            # The schedule before the wait is out of date.
            batch = await engine.run(engine.flows.take(queue_type, count, wanted.request_id))
    if not batch:
        return replies.nothing_ready(batch.wait_us)
    tell = request.exchange.handing.get(queue_type)
    if tell is not None:
        tell(batch, 0, len(batch), how, None)
    body = batch.to_json() if wanted.count is None else batch.to_json_list()
    if wanted.request_id is not None:
        # The client can ask again, and gets the same answer.
        return Reply(200, body)
    return Reply(200, body, unsent=lambda: request.exchange.bring_back(queue_type, batch))


async def finish(engine: Carrier, request: Request) -> Reply:
    queue_type, queue_id, job_id = request.names
    told = bodies.finish_of(request.body)
    return replies.finished(
        await engine.run(
            engine.flows.finish_job(queue_type, queue_id, job_id, told.lease, told.cost)
        )
    )


async def release(engine: Carrier, request: Request) -> Reply:
    queue_type, queue_id, job_id = request.names
    body = bodies.decode_optional(bodies.Release, request.body)
    meant = check_leased(queue_type, queue_id, job_id, body.lease)
    ending = bodies.release_of(
        body.delay, body.count_requeue, body.cost, body.pause, body.pause_scope
    )
    if ending.pauses_others and not request.grant.may("pause"):
        return replies.refused(lacking("pause"))
    return replies.released(await engine.run(engine.flows.end_job(meant, ending)))


async def fail(engine: Carrier, request: Request) -> Reply:
    bodies.only_parameters(request.query)
    body = bodies.decode_optional(bodies.Fail, request.body)
    queue_type, queue_id, job_id = request.names
    meant = check_leased(queue_type, queue_id, job_id, body.lease)
    ending = fail_with(body.error, body.retry, body.delay, body.cost, body.pause, body.worker)
    return replies.released(await engine.run(engine.flows.end_job(meant, ending)))


async def extend(engine: Carrier, request: Request) -> Reply:
    queue_type, queue_id, job_id = request.names
    body = bodies.decode(bodies.Extend, request.body)
    by = mandatory("by", body.by)
    return replies.extended(
        await engine.run(engine.flows.extend_job(queue_type, queue_id, job_id, by, body.lease))
    )


async def cancel(engine: Carrier, request: Request) -> Reply:
    queue_type, queue_id, job_id = request.names
    bodies.only_parameters(request.query)
    lease = bodies.decode_optional(bodies.Cancel, request.body).lease
    return replies.cancelled(
        await engine.run(engine.flows.cancel_job(queue_type, queue_id, job_id, lease))
    )


async def leases(engine: Carrier, request: Request) -> Reply:
    bodies.only_parameters(request.query, "cursor", "count")
    asked = bodies.paging(request.query)
    count = bodies.MAX_LEASES if asked.count is None else asked.count
    queue_type, queue_id = request.names
    flow = engine.flows.watching.leases(queue_type, queue_id, asked.cursor, count)
    return shown_replies.lease_page(await engine.run(flow), queue_type, queue_id)


async def recount(engine: Carrier, request: Request) -> Reply:
    bodies.only_parameters(request.query)
    bodies.decode_optional(bodies.Nothing, request.body)
    (queue_type,) = request.names
    return shown_replies.recounted(await engine.run(engine.flows.watching.recount(queue_type)))


async def job_status(engine: Carrier, request: Request) -> Reply:
    if bodies.with_payload(request.query):
        if not request.grant.may("jobs"):
            return replies.refused(lacking("jobs"))
        return shown_replies.shown_job(await engine.run(engine.flows.watching.job(*request.names)))
    return shown_replies.job_status(await engine.run(engine.flows.job_status(*request.names)))


async def set_interval(engine: Carrier, request: Request) -> Reply:
    queue_type, queue_id = request.names
    interval = bodies.interval_of(bodies.decode(bodies.Interval, request.body).interval)
    known = await engine.run(engine.flows.set_interval(queue_type, queue_id, interval))
    return replies.SUCCESS if known else replies.NO_SUCH_QUEUE


async def reset_interval(engine: Carrier, request: Request) -> Reply:
    was_set = await engine.run(engine.flows.reset_interval(*request.names))
    return replies.SUCCESS if was_set else replies.NO_INTERVAL_SET


async def prometheus(_engine: Carrier, request: Request) -> Reply:
    return await _scraped(request, form_of(request.accept) or Form.TEXT)


async def overview(engine: Carrier, request: Request) -> Reply:
    form = form_of(request.accept)
    if form is not None:
        return await _scraped(request, form)
    return shown_replies.overview(await engine.run(engine.flows.overview()))


async def jobs(engine: Carrier, request: Request) -> Reply:
    queue_type, queue_id = request.names
    bodies.only_parameters(request.query, "cursor", "count")
    asked = bodies.paging(request.query)
    count = bodies.MAX_DEQUEUED if asked.count is None else asked.count
    return shown_replies.job_page(
        await engine.run(engine.flows.job_page(queue_type, queue_id, asked.cursor, count))
    )


async def queue_ids(engine: Carrier, request: Request) -> Reply:
    (queue_type,) = request.names
    asked = bodies.paging(request.query)
    state = await engine.run(engine.flows.type_metrics(queue_type))
    if asked != bodies.Paging(None, None):
        count = _QUEUES_A_PAGE if asked.count is None else asked.count
        page = await engine.run(
            engine.flows.queue_page(queue_type, asked.cursor, count, asked.prefix)
        )
        return shown_replies.queue_ids(page.queue_ids, state, cursor=page.cursor)
    names = await engine.run(engine.flows.queue_ids(queue_type))
    return shown_replies.queue_ids(names, state)


async def queue_metrics(engine: Carrier, request: Request) -> Reply:
    return shown_replies.queue_metrics(await engine.run(engine.flows.queue_metrics(*request.names)))


async def clear(engine: Carrier, request: Request) -> Reply:
    queue_type, queue_id = request.names
    purge_all = bodies.purge_all(request.body, request.query)
    return replies.cleared(
        await engine.run(engine.flows.clear(queue_type, queue_id, purge_all)), purge_all
    )


async def _scraped(request: Request, form: Form) -> Reply:
    return replies.text(await request.exchange.scrape(form), form.value)


def _new_job(engine: Carrier, body: bodies.Job, queue_type: Any, queue_id: Any) -> NewJob:
    job_id = mandatory("job_id", body.job_id)
    interval = bodies.interval_of(body.interval)
    payload = bodies.payload_of(body)
    return engine.flows.new_job(
        payload,
        interval,
        job_id,
        queue_id,
        queue_type,
        requeue_limit=body.requeue_limit,
        max_queued_length=bodies.bound_of(body, payload)
        if engine.flows.settings.payload_max_queued_length
        else body.max_queued_length,
        **bodies.options_of(body),
    )


def _entry(engine: Carrier, entry: Raw) -> NewJob | Reply:
    """One entry of a bulk request: the job, or the answer that the single route would give."""
    try:
        body = bodies.decode_entry(entry)
        queue_type = mandatory("queue_type", body.queue_type)
        queue_id = mandatory("queue_id", body.queue_id)
        return _new_job(engine, body, queue_type, queue_id)
    except SharqException as error:
        return replies.of_error(error)


def _within(grant: Grant, job: NewJob | Reply) -> NewJob | Reply:
    """The job, or its refusal if its type is not allowed."""
    if isinstance(job, NewJob) and not grant.reaches(job.queue_type):
        return _OUT_OF_REACH
    return job


def _enqueued(job: NewJob, outcome: Enqueued | StoreError | Sharded) -> Reply:
    if isinstance(outcome, SharqException):
        return error_reporting.reply_to(outcome, "POST /enqueue/")
    return replies.enqueued(outcome, job.max_queued_length is not None)
