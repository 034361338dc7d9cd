"""What a caller asks for: arguments checked, then one or more calls of the store.

A flow is a generator: it yields a `Call` and is sent its result, or yields a list of calls and is
sent a list with a result or a `StoreError` for each. It does no I/O, so the synchronous and the
asynchronous engine run the same flows. `sharq.aio` documents each method for users; methods that
only servers use are documented here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from sharq._fastpath import Batch, JobReader
from sharq.errors import NotEmpty, Sharded, SharqException, StoreError, WrongKind
from sharq.identifiers import (
    MAX_COUNT,
    check_identifier,
    check_integer,
    check_interval,
    check_requeue_limit,
)
from sharq.operations.call import Call, Flow
from sharq.operations.dead_letters import DeadLetters
from sharq.operations.expiry import Expiry
from sharq.operations.job_options import check_options
from sharq.operations.known_heads import KnownHeads
from sharq.operations.limiting import Limiting
from sharq.operations.operations import Operations
from sharq.operations.overviews import overview
from sharq.operations.payloads import check_payload
from sharq.operations.queue_flows import QueueFlows
from sharq.operations.registry import Registry
from sharq.operations.resharding import Resharding
from sharq.operations.sharding import is_shard, type_of
from sharq.operations.spreading import sharded, unfailed
from sharq.operations.sweeping import PlaceOf, Sweeping
from sharq.operations.taking import Taking
from sharq.operations.taking_back import sweep_types
from sharq.operations.watching import Watching
from sharq.results import INVALID, REMOVE, Enqueued, NewJob, Offer, Overview, Swept
from sharq.settings.options import QueueSettings

_log = logging.getLogger(__name__)

MAX_TAKE = 100
"""Jobs that one dequeue leases, at most."""

_NOT_ENQUEUED = Enqueued(INVALID, 0)


class Flows(QueueFlows):
    """The flows of one deployment. `clock` is monotonic, in seconds.

    With `reclaims` a dequeue first takes back expired leases, if `settings` want sweeps: for
    clients without a sweep of their own. `plain_job` and `plain_jobs` read jobs as most clients
    send them, see `JobReader`. `registry` has the types, and takes over what that of `former` flows
    still owes; where it is `clustered` it may be away while types are not. `limiting` has those of
    limits and pauses, `dead` those of dead letters, `watching` those of operators who look on.
    """

    def __init__(
        self,
        operations: Operations,
        settings: QueueSettings,
        clock: Callable[[], float],
        *,
        reclaims: bool = False,
        clustered: bool = False,
        former: Flows | None = None,
    ) -> None:
        super().__init__(operations)
        self.settings = settings
        self._clock = clock
        owing = None if former is None else former.registry.registrations
        self.registry: Registry = Registry(operations, clock, clustered=clustered, former=owing)
        self.limiting = Limiting(operations, self._register_one, self.spreading)
        self.dead = DeadLetters(operations, self.spreading)
        self.watching = Watching(operations, self.spreading, self.registry)
        self.resharding = Resharding(self.spreading, self._register_one)
        self._to_spread = {
            queue_type: int(shards)
            for queue_type, _, shards in (each.partition(":") for each in settings.shards)
        }
        self._reclaiming: Expiry | None = None
        self.heads = KnownHeads(self.shards, clock)
        self.spreading.touched = self.heads.touched
        if reclaims and settings.enable_requeue_script:
            self._reclaiming = Expiry(
                settings.job_requeue_interval / 1000, settings.job_expire_interval / 1000, clock
            )
        self._taking = Taking(operations, self.spreading, self.heads, self._reclaiming, clustered)
        reader = JobReader(settings.max_payload_bytes, settings.default_job_requeue_limit)
        self.plain_job = reader.one
        self.plain_jobs = reader.many

    def new_job(
        self,
        payload: bytes,
        interval: Any,
        job_id: Any,
        queue_id: Any,
        queue_type: Any,
        requeue_limit: Any,
        max_queued_length: Any,
        **options: Any,
    ) -> NewJob:
        """Check what a job is made of; no call of the store. `options`: see `check_options`."""
        if requeue_limit is None:
            requeue_limit = self.settings.default_job_requeue_limit
        if max_queued_length is not None:
            check_integer("max_queued_length", max_queued_length, 0, MAX_COUNT)
        # In the original's order, since that decides which error is raised.
        interval = check_interval("interval", interval)
        job_id = check_identifier("job_id", job_id)
        queue_id = check_identifier("queue_id", queue_id)
        queue_type = check_identifier("queue_type", queue_type)
        requeue_limit = check_requeue_limit(requeue_limit)
        text = check_payload(payload, self.settings.max_payload_bytes)
        return NewJob(
            queue_type,
            queue_id,
            job_id,
            text,
            interval,
            requeue_limit,
            max_queued_length,
            check_options(**options) if options else None,
        )

    def submit(self, job: NewJob) -> Flow[Enqueued]:
        """Enqueue one job, after its type was registered."""
        name = self.shards.home(job.queue_type, job.queue_id)
        (outcome,) = yield from self.submit_alike(name, (job,))
        if isinstance(outcome, SharqException):
            raise outcome
        return outcome

    def submit_alike(
        self, name: str, jobs: Sequence[NewJob]
    ) -> Flow[Sequence[Enqueued | StoreError | Sharded]]:
        """Enqueue up to `BULK_SIZE` jobs of one shard, in order.

        Their type may turn out to be spread otherwise: then each succeeds or fails alone.
        """
        queue_type = jobs[0].queue_type
        if self.registry.due(queue_type):
            yield from self._register_one(queue_type)
        if not is_shard(name) or not any(map(_group_refusal, jobs)):
            try:
                outcomes: list[Enqueued] = yield self.operations.enqueue(name, jobs)
                self.spreading.tell(name)
                return outcomes
            except WrongKind:
                if not (yield from self.spreading.learn(queue_type, name)):
                    raise
        return (yield from self._submit(jobs))

    def submit_many(self, jobs: Sequence[NewJob]) -> Flow[list[Enqueued | StoreError | Sharded]]:
        """Enqueue jobs in order; the outcome or the failure of each, in the same order."""
        queue_types = dict.fromkeys(job.queue_type for job in jobs)
        failures = yield from self._register(list(queue_types))
        if not failures:
            return (yield from self._submit(jobs))
        good = [None if job.queue_type in failures else job for job in jobs]
        results = yield from self._submit(good)
        for at, job in enumerate(jobs):
            results[at] = failures.get(job.queue_type, results[at])
        return results

    def _submit(self, jobs: Sequence[NewJob | None]) -> Flow[list[Enqueued | StoreError | Sharded]]:
        return (
            yield from self.spreading.of_items(
                jobs, self.operations.enqueue, _NOT_ENQUEUED, _group_refusal
            )
        )

    def take(self, queue_type: Any, count: Any, request_id: Any) -> Flow[Batch]:
        """Lease up to `count` jobs of a type."""
        queue_type = check_identifier("queue_type", queue_type)
        check_integer("count", count, 1, MAX_TAKE)
        if request_id is not None:
            request_id = check_identifier("request_id", request_id)
        batch = yield from self._take(queue_type, count, request_id)
        if batch:
            self.registry.use(queue_type)
        return batch

    def _take(self, queue_type: str, count: int, request_id: str | None) -> Flow[Batch]:
        if not self.shards.is_spread(queue_type):
            try:
                return (yield from self._take_unspread(queue_type, count, request_id))
            except WrongKind:
                if not (yield from self.spreading.learn(queue_type, queue_type)):
                    raise
        return (yield from self._taking.take(queue_type, count, request_id))

    def _take_unspread(self, queue_type: str, count: int, request_id: str | None) -> Flow[Batch]:
        call = self.operations.dequeue(queue_type, count, request_id)
        reclaiming = self._reclaiming
        if reclaiming is not None and reclaiming.due(queue_type):
            return (yield from self._take_after_sweep(reclaiming, queue_type, call))
        batch: Batch = yield call
        return batch

    def _take_after_sweep(
        self, reclaiming: Expiry, queue_type: str, call: Call[Batch]
    ) -> Flow[Batch]:
        swept, batch = yield [self.operations.requeue(queue_type), call]
        if isinstance(batch, StoreError):
            raise batch
        reclaiming.note(queue_type, swept)
        if not batch and isinstance(swept, Swept) and swept.vacant:
            # In a list, since its failure must not reach the caller.
            yield [self.operations.unregister(queue_type)]
        taken: Batch = batch
        return taken

    # What servers do

    def dispatch(
        self,
        name: str,
        count: int,
        server_id: str,
        seq: int,
        request_id: str | None,
        more: bool,
        age: int | None = None,
    ) -> Flow[Batch]:
        """Lease up to `count` jobs of a shard, by its internal name; the server then waits there
        for those that it did not get. Raises `WrongKind` if the shard is in use no more: `shards`
        knows the others.

        It is not waiting if the answer's `wait_us` is 0. With `more` it has room beyond `count`,
        and no other server offers jobs until it has asked again. The call may be repeated with the
        same `seq`, unless there was one with a later `seq`, and with the `request_id` of a client:
        it returns the same jobs. Of the shards of a spread type, they are those of queues that have
        been ready for `age` ms.
        """
        batch = yield from self.spreading.at(
            name,
            lambda name: self.operations.dispatch(
                name, count, server_id, seq, request_id, more, age
            ),
        )
        if batch:
            self.registry.use(type_of(name))
        return batch

    def offer(
        self, name: str, server_id: str, wanted: int, offered: int, offer_ms: int
    ) -> Flow[Offer]:
        """How many jobs of a shard are ready, up to `wanted`, that no server has offered to
        subscribers. The name and errors are those of `dispatch`.

        There are none while a server has room for jobs itself. `offered` is how many this server
        offers already. Its offers are valid for `offer_ms`; it then waits for those that it did not
        get. With 0 `wanted` the answer's `wait_us` is 0 if anything is ready.
        """
        return (
            yield from self.spreading.at(
                name,
                lambda name: self.operations.offer(name, server_id, wanted, offered, offer_ms),
            )
        )

    def hand_on(self, offered: Mapping[str, int], server_id: str) -> Flow[None]:
        """Stop waiting for jobs of these shards, and let other servers know what is next.

        The numbers count the jobs that this server still offers to its subscribers.
        """
        if offered:
            calls = [self.operations.hand_on(name, server_id, n) for name, n in offered.items()]
            answers = yield calls
            # Nobody waits at a shard that is not in use.
            unfailed(answer for answer in answers if not isinstance(answer, WrongKind))

    def sweeping(self, place_of: PlaceOf | None = None) -> Sweeping:
        """The sweep that the settings want, with the clock and the registry of these flows.

        `place_of` tells the node of a type, where there are several.
        """
        interval, lease = self.settings.job_requeue_interval, self.settings.job_expire_interval
        return Sweeping(
            *(self.spreading, interval / 1000, lease / 1000, self._clock, self.registry, place_of)
        )

    def overview(self) -> Flow[Overview]:
        """The types that have jobs, and the sums of their counts.

        Where nodes of a cluster are away it says so; the failure is raised if no type can be told.
        """
        return (yield from overview(self.spreading, self.registry))

    def is_swept(self) -> Flow[bool]:
        """Whether some server sweeps now; False is also between two of its rounds.

        A look in such a moment takes the claim for a millisecond, which delays nobody.
        """
        claim = yield from self.registry.claim(1)
        return not claim.granted

    def has_original(self) -> Flow[bool]:
        """Whether the original has jobs in the same store with the same prefix, or had some.

        False also where the store's user may not look.
        """
        answers = yield self.operations.original_hashes()
        return any(answer is True for answer in answers)

    def sweep(self) -> Flow[int]:
        """Take back the jobs of all types whose leases have run out; returns their number.

        Vacant types are removed from the registry. If a node fails, the other types are still swept
        before its error is raised; if it is that of the registry, those that are known here.
        """
        total = 0
        failure: StoreError | None = None
        walk = self.registry.walk()
        while (page := (yield from walk.next())) is not None:
            failure = failure or page.failure
            try:
                total += yield from sweep_types(
                    self.spreading, page.types, unregisters=page.failure is None
                )
            except StoreError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return total

    def _register_one(self, queue_type: str) -> Flow[None]:
        """Register a type if it is due; raises the failure."""
        failures = yield from self._register([queue_type])
        if queue_type in failures:
            raise failures[queue_type]

    def _register(self, queue_types: Sequence[str]) -> Flow[dict[str, StoreError]]:
        """Register the types that are due; returns the failures that prevent an enqueue."""
        failures: dict[str, StoreError] = {}
        registered = yield from self.registry.register(queue_types)
        for queue_type, failure in registered.items():
            if failure is not None:
                failures[queue_type] = failure
            elif queue_type in self._to_spread:
                yield from self._spread(queue_type)
            elif self.shards.is_spread(queue_type):
                with suppress(StoreError, NotEmpty):
                    yield from self.resharding.recall(queue_type)
        return failures

    def _spread(self, queue_type: str) -> Flow[None]:
        """Spread a type as the settings want it, unless the store knows of it already."""
        shards = self._to_spread.pop(queue_type)
        try:
            yield from self.resharding.set_first(queue_type, shards)
        except NotEmpty as error:
            _log.warning("%s is not spread over %d shards: %s", queue_type, shards, error)
        except StoreError:
            # The next registration tries it again.
            self._to_spread[queue_type] = shards


def _group_refusal(job: NewJob) -> Sharded | None:
    """Why a job cannot be in a type that is spread, if it cannot."""
    options = job.options
    if options is None or options.group in (None, REMOVE):
        return None
    return sharded(job.queue_type, "groups")
