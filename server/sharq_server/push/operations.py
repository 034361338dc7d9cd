"""What each frame of a client does: one coroutine for each, from the frame to its answer."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from sharq import Batch
from sharq.endings import FINISH, Ending
from sharq.engine import Engine
from sharq.errors import BadArgumentException, StoreError
from sharq.results import DEAD, SUCCESS, Ended, Extended, Lease
from sharq_server.api import handlers, replies
from sharq_server.api.handing import FETCH
from sharq_server.api.refusals import Forbidden, NotSubscribed, Stopping
from sharq_server.push import frames
from sharq_server.push.delivery import Delivery
from sharq_server.push.session import Answer, Session, Slot
from sharq_server.push.subscription import Subscription
from sharq_server.security.credentials import lacking
from sharq_server.watch import frames as watch_frames
from sharq_server.watch.topics import TAIL

T = TypeVar("T")
L = TypeVar("L")

_REFUSED: Final[Ended | StoreError] = Ended(Forbidden.code)
_DIED: Final = Ended(DEAD)
_PAUSE: Final = "pause"
"""The operation that a pause of others than the job's queue needs."""

_MOST: Final = frames.LIMITS["max_subscriptions"]


async def carry_out(session: Session, frame: Any, slot: Slot) -> Answer:
    """Carry a decoded frame out; raises the error for a refused one."""
    operation, carry = _OPERATIONS[type(frame)]
    if not session.grant.may(operation):
        raise Forbidden(lacking(operation).message)
    if not isinstance(frame, _IN_THEIR_PLACE):
        session.push.engine.gathering.send_those_of(session)
    return await carry(session, frame, slot)


async def _within_reach(
    session: Session,
    leases: Sequence[L],
    ask: Callable[[Sequence[L]], Awaitable[Sequence[T]]],
    refusal: T,
    type_of: Callable[[L], str | None],
) -> Sequence[T]:
    """The outcomes for leases; `refusal` for types that the client's token does not allow."""
    grant = session.grant
    if grant.queue_types is None:
        return await ask(leases)
    within = [grant.reaches(type_of(lease)) for lease in leases]
    reached = [lease for lease, is_within in zip(leases, within, strict=True) if is_within]
    return _spread(await ask(reached) if reached else (), within, refusal)


def _spread(outcomes: Sequence[T], within: Sequence[bool], refusal: T) -> Sequence[T]:
    """The outcomes at the places that are `within`, and the refusal at the others."""
    each = iter(outcomes)
    return [next(each) if is_within else refusal for is_within in within]


def _of_token(lease: str) -> str:
    return lease.partition("/")[0]


# Changes of subscriptions are made in turn, so that a frame applies to the result of earlier ones.


async def _subscribe(session: Session, frame: frames.Subscribe, slot: Slot) -> Answer:
    queue_type, push = frame.queue_type, session.push
    if not session.grant.reaches(queue_type):
        raise Forbidden
    # At once: for frames that come before the answer, too.
    session.worker = frame.worker or session.worker
    asked = time.monotonic()
    carried: Sequence[Extended | StoreError] = []
    if frame.leases:
        carried = _carried_out(await _extended(session, frame.leases, 0))
    await session.turn(slot)
    if push.draining:
        raise Stopping
    former = session.subscriptions.get(queue_type)
    if former is None and len(session.subscriptions) >= _MOST:
        raise BadArgumentException(f"There are {_MOST} subscriptions already.")
    if former is not None:
        del session.subscriptions[queue_type]
        push.dispatcher.leave(queue_type, former)
        await push.dispatcher.settled(queue_type)
    subscription = Subscription(
        session,
        queue_type,
        notify=frame.mode == "notify",
        release_on_disconnect=frame.on_disconnect == "release",
    )

    def begin() -> None:
        for lease, outcome in zip(frame.leases, carried, strict=True):
            if not isinstance(outcome, StoreError) and outcome.outcome == SUCCESS:
                until = asked + outcome.lease_ms / 1000
                session.hold(lease.partition("/")[0], [lease], until)
        session.credit.limit(queue_type, frame.credit)
        session.subscriptions[queue_type] = subscription
        push.dispatcher.join(queue_type, subscription)
        push.subscribed(session)

    results = frames.extended(carried) if frame.leases else None
    return Answer(frames.reply(frame.id, results), begin)


async def _set_credit(session: Session, frame: frames.Credit, slot: Slot) -> Answer:
    await session.turn(slot)
    queue_type, dispatcher = frame.queue_type, session.push.dispatcher
    if queue_type is not None and queue_type not in session.subscriptions:
        raise NotSubscribed
    lower = frame.credit < session.credit.limit_of(queue_type)
    concerned = [
        each
        for each in session.subscriptions.values()
        if queue_type is None or each.queue_type == queue_type
    ]
    if lower:
        session.credit.limit(queue_type, frame.credit)
        for each in concerned:
            if frame.credit == 0:
                dispatcher.leave(each.queue_type, each)
            await dispatcher.settled(each.queue_type)

    def begin() -> None:
        session.credit.limit(queue_type, frame.credit)
        if frame.credit:
            for each in concerned:
                dispatcher.join(each.queue_type, each)

    return Answer(frames.reply(frame.id), begin)


async def _unsubscribe(session: Session, frame: frames.Unsubscribe, slot: Slot) -> Answer:
    await session.turn(slot)
    subscription = session.subscriptions.pop(frame.queue_type, None)
    if subscription is not None:
        dispatcher = session.push.dispatcher
        dispatcher.leave(frame.queue_type, subscription)
        await dispatcher.settled(frame.queue_type)
        session.credit.limit(frame.queue_type, None)
    return Answer(frames.reply(frame.id), lambda: session.push.subscribed(session))


async def _fail(session: Session, frame: frames.Fail, slot: Slot) -> Answer:
    frame.by(session.worker)
    return await _end(session, frame, slot)


async def _end(
    session: Session, frame: frames.Finish | frames.Release | frames.Fail, _slot: Slot
) -> Answer:
    ending, leases = frame.items, frame.leases
    if isinstance(ending, Ending):
        outcomes = await _end_alike(session, leases, ending)
    else:
        outcomes = await _end_each(session, list(zip(leases, ending, strict=True)))
        # A lease with an invalid value has not ended.
        leases = [lease if way else "" for lease, way in zip(leases, ending, strict=True)]
    _carried_out(outcomes)
    if any(isinstance(outcome, StoreError) or outcome is _REFUSED for outcome in outcomes):
        leases = [
            lease
            for lease, outcome in zip(leases, outcomes, strict=True)
            if not (isinstance(outcome, StoreError) or outcome is _REFUSED)
        ]
    dead = [at for at, outcome in enumerate(outcomes) if outcome == _DIED]
    text = frames.reply(frame.id, frames.ended(outcomes), dead=dead)
    return Answer(text, lambda: session.free(leases))


async def _end_alike(
    session: Session, leases: Sequence[str], ending: Ending
) -> Sequence[Ended | StoreError]:
    engine = session.push.engine
    if not _permitted(session, ending):
        raise Forbidden(lacking(_PAUSE).message)

    def end(leases: Sequence[str]) -> Awaitable[Sequence[Ended | StoreError]]:
        if ending == FINISH:
            return engine.gathering.finish(session, leases)
        engine.gathering.send_those_of(session)
        return engine.run(engine.flows.end_many(leases, ending))

    return await _within_reach(session, leases, end, _REFUSED, _of_token)


async def _end_each(
    session: Session, items: Sequence[tuple[str, Ending | None]]
) -> Sequence[Ended | StoreError]:
    engine = session.push.engine
    permitted = [_permitted(session, ending) for _, ending in items]
    some = [item for item, is_permitted in zip(items, permitted, strict=True) if is_permitted]
    if not some:
        return [_REFUSED] * len(items)

    def settle(
        items: Sequence[tuple[str, Ending | None]],
    ) -> Awaitable[Sequence[Ended | StoreError]]:
        engine.gathering.send_those_of(session)
        return engine.run(engine.flows.settle_many(items))

    outcomes = await _within_reach(session, some, settle, _REFUSED, lambda item: _of_token(item[0]))
    return _spread(outcomes, permitted, _REFUSED)


def _permitted(session: Session, ending: Ending | None) -> bool:
    """Whether the client's token allows what a worker's pause is for."""
    return ending is None or not ending.pauses_others or session.grant.may(_PAUSE)


async def _cancel(session: Session, frame: frames.Cancel, _slot: Slot) -> Answer:
    engine = session.push.engine

    def cancel(jobs: Sequence[Lease | None]) -> Awaitable[Sequence[Ended | StoreError]]:
        return engine.run(engine.flows.cancel_many(jobs))

    outcomes = _carried_out(
        await _within_reach(
            session, frame.jobs, cancel, _REFUSED, lambda job: job and job.queue_type
        )
    )
    over = [
        "/".join(job)
        for job, outcome in zip(frame.jobs, outcomes, strict=True)
        if job is not None and job.n and isinstance(outcome, Ended) and outcome.outcome == SUCCESS
    ]
    text = frames.reply(frame.id, frames.ended(outcomes))
    return Answer(text, lambda: session.free(over))


async def _extend(session: Session, frame: frames.Extend, _slot: Slot) -> Answer:
    asked = time.monotonic()
    outcomes = _carried_out(await _extended(session, frame.leases, frame.by))
    for lease, outcome in zip(frame.leases, outcomes, strict=True):
        if not isinstance(outcome, StoreError) and outcome.outcome == SUCCESS:
            session.extended(lease, asked + outcome.lease_ms / 1000)
    return Answer(frames.reply(frame.id, frames.extended(outcomes)))


async def _extended(
    session: Session, leases: Sequence[str], by: int
) -> Sequence[Extended | StoreError]:
    gathering = session.push.engine.gathering

    def extend(leases: Sequence[str]) -> Awaitable[Sequence[Extended | StoreError]]:
        return gathering.extend(session, leases, by)

    return await _within_reach(session, leases, extend, Extended(Forbidden.code, 0), _of_token)


async def _enqueue(session: Session, frame: frames.Enqueue, _slot: Slot) -> Answer:
    answers = await handlers.enqueue_entries(session.push.engine, frame.jobs, session.grant)
    results = b"[%b]" % b",".join([answer.body for answer in answers])
    return Answer(frames.reply(frame.id, results))


async def _dequeue(session: Session, frame: frames.Dequeue, _slot: Slot) -> Answer:
    queue_type, push, credit = frame.queue_type, session.push, session.credit
    engine = push.engine
    if not session.grant.reaches(queue_type):
        raise Forbidden
    if push.draining:
        raise Stopping
    wanted = credit.reserve(queue_type, frame.count)
    if not wanted:
        return Answer(frames.reply(frame.id, jobs=b"[]"))
    asked = time.monotonic()
    try:
        batch = await engine.run(engine.flows.take(queue_type, wanted, frame.request_id))
    finally:
        credit.unreserve(queue_type, wanted)
    left_ms = round(push.lease_seconds * 1000)
    if batch and frame.request_id is not None:
        # They may be from an earlier answer.
        asked = time.monotonic()
        left_ms = await _left_of(batch, engine)
    delivery = Delivery(batch, 0, len(batch), asked + left_ms / 1000)
    if batch:
        session.hold(queue_type, delivery.leases, delivery.until)
    subscription = session.subscriptions.get(queue_type)

    def look_again() -> None:
        if subscription is not None and subscription.notify:
            push.dispatcher.used(queue_type, subscription)
        session.refill()

    if batch:
        session.handed_out(queue_type, delivery, FETCH)
        text = frames.reply(frame.id, jobs=batch.jobs_json(0, len(batch), left_ms))
    else:
        text = frames.nothing_ready(frame.id, replies.ready_in(batch.wait_us))
    # With a request_id the client can ask again, and gets the same answer.
    lost = (queue_type, delivery) if batch and frame.request_id is None else None
    return Answer(text, look_again, lost)


async def _watch(session: Session, frame: frames.Watch, _slot: Slot) -> Answer:
    push, grant = session.push, session.grant
    seen = [
        each for each in frame.topics if each.queue_type is None or grant.reaches(each.queue_type)
    ]
    refusal = Forbidden()
    if frame.topics and not seen:
        raise refusal
    tailed = [str(each.queue_type) for each in seen if each.kind == TAIL]

    def begin() -> None:
        push.viewing.watch(session, [each for each in seen if each.kind != TAIL])
        push.tailing.watch(session, tailed)
        for topic in frame.topics:
            if topic not in seen:
                session.send(watch_frames.problem(str(topic), refusal.code, refusal.message))

    return Answer(frames.reply(frame.id), begin)


async def _left_of(batch: Batch, engine: Engine) -> int:
    """Milliseconds until the first lease of a batch ends, by the store's clock."""
    leases = batch.leases(0, len(batch))
    outcomes = _carried_out(await engine.run(engine.flows.extend_many(leases, 0)))
    return min(
        outcome.lease_ms
        if not isinstance(outcome, StoreError) and outcome.outcome == SUCCESS
        else 0
        for outcome in outcomes
    )


def _carried_out(outcomes: Sequence[T]) -> Sequence[T]:
    """The outcomes; raises the store's failure if it failed for all of them."""
    if outcomes and all(isinstance(outcome, StoreError) for outcome in outcomes):
        failures: list[Any] = list(outcomes)
        raise next((each for each in failures if each.outcome_unknown), failures[0])
    return outcomes


_Operation = Callable[[Session, Any, Slot], Awaitable[Answer]]

# Each frame's operation, which a token has to allow, and the function that carries it out.
_OPERATIONS: Final[dict[type[Any], tuple[str, _Operation]]] = {
    frames.Subscribe: ("dequeue", _subscribe),
    frames.Credit: ("dequeue", _set_credit),
    frames.Unsubscribe: ("dequeue", _unsubscribe),
    frames.Finish: ("finish", _end),
    frames.Release: ("release", _end),
    frames.Fail: ("release", _fail),
    frames.Extend: ("extend", _extend),
    frames.Cancel: ("cancel", _cancel),
    frames.Enqueue: ("enqueue", _enqueue),
    frames.Dequeue: ("dequeue", _dequeue),
    frames.Watch: ("metrics", _watch),
}

_IN_THEIR_PLACE: Final = (frames.Finish, frames.Release, frames.Fail, frames.Extend)
"""Frames whose operations see to their place among those that are gathered."""
