"""The compiled hot path: keys, script calls, the replies that matter, names and JSON text.

`Codec` packs one EVALSHA call as RESP2 bytes; the script of the same name in ``lua/`` documents
KEYS and ARGV. It expects valid names (see `sharq.identifiers`) and payloads as checked JSON text
(see `sharq.operations.payloads`). Numbers are signed integers of 64 bits; times are in milliseconds
unless a name says otherwise.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, final

from msgspec import Raw

from sharq.results import Enqueued, Lease, NewJob, Removal, Told

@final
class Writer: ...

@final
class Keyspace:
    """The keys of one deployment; `prefix` is its `key_prefix`."""

    def __new__(cls, prefix: str) -> Self: ...
    @property
    def prefix(self) -> str:
        """The `key_prefix`."""

    def tag(self, queue_type: str) -> bytes:
        """The hash tag of a type, ``{prefix:queue_type}``, which determines its slot."""

    def place(self, index: int) -> bytes:
        """A key for scripts that any node may run, ``{prefix:.index}:``.

        No type has its tag. By their indices they are in all slots.
        """

    def registry(self) -> bytes:
        """The key of the registry of types, ``{prefix}:types``."""

    def channel(self, server_id: str) -> bytes:
        """The pub/sub channel through which a server is woken, ``{prefix}:wake:server_id``."""

    def common_channel(self) -> bytes:
        """The channel on which all servers listen."""

    def silent_channel(self) -> bytes:
        """The channel on which nobody listens: what is published there only goes to replicas."""

    def woken_type(self, message: bytes) -> str | None:
        """The type that a message on such a channel is about; None for any other message."""

def confirmation_key(key: bytes) -> bytes:
    """The key with the tag of `key` that is written where replicas confirm, ``{…}:acked``.

    Raises ValueError if it has none.
    """

@final
class Codec:
    """Packs the script calls of one deployment.

    `prefix` is the `key_prefix`; `digests` maps a script's name to its SHA-1 in hex.

    A call raises TypeError, OverflowError or UnicodeEncodeError for an argument that cannot be
    packed, KeyError where `digests` lacks its script; the next call is not affected.
    """

    def __new__(cls, prefix: str, digests: Mapping[str, str]) -> Self: ...
    @property
    def keys(self) -> Keyspace:
        """The keys of the deployment."""

    def chunk(self, queue_type: str, former: str, token: str, text: bytes) -> bytes:
        """Pack the replacement of a type's chunk of jobs that come from another store.

        `former` is the token of the chunk that is there, empty for none, or ``?`` to look only;
        with an empty `token` it is removed.
        """

    def claim_sweep(self, hold: int, place: int = 0) -> bytes:
        """Pack the claim to sweep for the next `hold` ms.

        With a `place` it is made behind the tag of that one, since the registry is away.
        """

    def cancel(
        self, queue_type: str, leases: list[Lease], retention: int, interval_retention: int
    ) -> bytes:
        """Pack the removal of jobs of one type; an empty `n` means one that is not leased.

        `retention`, `interval_retention`: ms, as in `finish`.
        """

    def clear(self, queue_type: str, queue_id: str, interval_retention: int, purge: bool) -> bytes:
        """Pack the removal of a queue's waiting jobs, with `purge` of its leases too.

        `interval_retention`: ms for which an interval of the API is kept after the queue's last
        job.
        """

    def dead_advance(self, queue_type: str, owner: str, hold: int) -> bytes:
        """Pack a step of a bulk of dead letters, by the server `owner`."""

    def dead_begin(
        self,
        queue_type: str,
        bulk_id: str,
        kind: str,
        queue_id: str,
        reason: str,
        error: str,
        before: int | None,
        limit: int | None,
    ) -> bytes:
        """Pack the begin of a bulk of dead letters; empty words of its filter select all.

        `error` is how the words of such errors begin, `before` a time (epoch, ms).
        """

    def dead_cancel(self, queue_type: str) -> bytes:
        """Pack the end of the bulk that runs."""

    def dead_delete(self, queue_type: str, jobs: list[tuple[str, str]]) -> bytes:
        """Pack the removal of up to a hundred dead letters, by queue_id and job_id."""

    def dead_list(
        self,
        queue_type: str,
        queue_id: str,
        reason: str,
        error: str,
        before: int | None,
        at: str,
        count: int,
        max_bytes: int,
    ) -> bytes:
        """Pack the query of a page of dead letters; the filter is that of `dead_begin`.

        `at` is the death (µs) that the page before ended with, empty for the first page.
        """

    def dead_progress(self, queue_type: str) -> bytes:
        """Pack the query of the bulk of dead letters that runs, or ran last."""

    def dead_retry(self, queue_type: str, jobs: list[tuple[str, str]]) -> bytes:
        """Pack the retry of up to a hundred dead letters, by queue_id and job_id."""

    def dead_show(self, queue_type: str, queue_id: str, job_id: str) -> bytes:
        """Pack the query of a dead letter."""

    def dequeue(
        self,
        queue_type: str,
        count: int,
        lease_ms: int,
        max_bytes: int,
        request_id: str | None = None,
        server_id: str | None = None,
        seq: int = 0,
        more: bool = False,
        age: int | None = None,
        known: int = 0,
    ) -> bytes:
        """Pack the lease of up to `count` jobs for `lease_ms` each.

        The answer stays under `max_bytes`, or has one job. With `server_id` that server waits for
        the jobs that it does not get; with `more` it has room beyond `count`. The answer can be
        repeated with its `request_id`, or by a server with the number `seq` of its last call. Of a
        shard only queues that have been ready for `age` ms count, and the answer tells its head; a
        client's request goes on behind the `known` jobs that the shard has given for it.
        """

    def close_shard(self, queue_type: str, generation: int) -> bytes:
        """Pack that a shard is closed, if nothing is there, by a change of this `generation`."""

    def dry_run(
        self,
        queue_type: str,
        kind: str,
        name: str,
        new_interval: float | Removal | None,
        new_burst: int | Removal | None,
        new_concurrency: int | Removal | None,
        new_group: str | Removal | None,
    ) -> bytes:
        """Pack the question how long the work of a level would take with other limits.

        The level and the values are as in `limits`.
        """

    def enqueue(self, queue_type: str, jobs: Sequence[NewJob]) -> bytes:
        """Pack jobs of one type for the tails of their queues, in order.

        `interval` in ms, an int or a float of which three decimals count; a `requeue_limit` of -1:
        no limit; a `max_queued_length` of None: the length has no bound; `options` of None: there
        are none. The `queue_type` of the jobs themselves is ignored.
        """

    def extend(self, queue_type: str, leases: list[Lease], by: int, retention: int) -> bytes:
        """Pack a later end of up to a hundred leases of one type, `by` ms from now.

        An empty `n` stands for any lease. `retention`: ms for which ended jobs are remembered.
        """

    def finish(
        self,
        queue_type: str,
        queue_id: str,
        job_id: str,
        n: str,
        retention: int,
        interval_retention: int,
    ) -> bytes:
        """Pack the end of a job under lease `n` (empty: under any).

        Both retentions are in ms: of ended jobs, and of an interval of the API in an idle queue.
        """

    def finish_many(
        self, queue_type: str, leases: list[Lease], retention: int, interval_retention: int
    ) -> bytes:
        """Pack the end of up to a hundred leased jobs of one type, as `finish` does."""

    def hand_on(self, queue_type: str, server_id: str, offered: int) -> bytes:
        """Pack that a server no longer waits for jobs of a type, and that another may be woken.

        `offered`: how many it still offers.
        """

    def interval(
        self, queue_type: str, queue_id: str, interval: float, interval_retention: int
    ) -> bytes:
        """Pack a queue's `interval` (ms, up to three decimals) as set by the API.

        `interval_retention`: ms for which it is kept after the queue's last job.
        """

    def interval_reset(self, queue_type: str, queue_id: str, interval_retention: int) -> bytes:
        """Pack that enqueues set a queue's interval again. `interval_retention` in ms."""

    def limits(
        self,
        queue_type: str,
        kind: str,
        name: str,
        new_interval: float | Removal | None,
        new_burst: int | Removal | None,
        new_concurrency: int | Removal | None,
        new_group: str | Removal | None,
        reason: str | Removal | None,
        interval_retention: int,
    ) -> bytes:
        """Pack limits that the API sets at a level: a "queue", a "group" or the "type".

        `name` is that of the queue or the group, empty for the type. None leaves a value as it is,
        `REMOVE` gives it back; the interval and `interval_retention` are in ms. `reason` is encoded
        in percent, and never "-".
        """

    def list_jobs(
        self,
        queue_type: str,
        queue_id: str,
        part: str,
        start: int,
        seen: int,
        count: int,
        max_bytes: int,
    ) -> bytes:
        """Pack a look at up to `count` waiting jobs, of `max_bytes` together.

        The page begins in a `part` ("returned", "new" or "delayed") at `start` (a sequence number;
        of the delayed a time in ms, behind the first `seen` jobs of that time).
        """

    def list_queues(
        self, queue_type: str, part: str, group: str, cursor: str, count: int, prefix: str
    ) -> bytes:
        """Pack one page, of about `count`, of the queues with jobs.

        `part`: those in the schedule of the type, of a `group` in turn, or those with leases
        ("type", "group", "leased"). The first `cursor` is "0", each further one that of the answer
        before. Only queues whose names begin with `prefix` are listed.
        """

    def list_types(self, cursor: str, count: int) -> bytes:
        """Pack one page, of about `count`, of the registry; `cursor` as for `list_queues`."""

    def offer(
        self, queue_type: str, server_id: str, wanted: int, offered: int, offer_ms: int
    ) -> bytes:
        """Pack the question how many jobs, up to `wanted`, are ready and offered by no server.

        `offered`: how many this one offers already. All its offers are valid for `offer_ms`.
        """

    def open_shard(self, queue_type: str, generation: int) -> bytes:
        """Pack that a shard is opened again, if no later change than this has closed it."""

    def pause(
        self,
        queue_type: str,
        kind: str,
        name: str,
        ms: int | Removal | None,
        reason: str,
        set_by: str,
        interval_retention: int,
        number: int | None,
    ) -> bytes:
        """Pack a pause of a level for `ms`; None: until it is resumed, `REMOVE`: its end.

        The level and `reason` are as in `limits`. `set_by` is "api" or "worker": that makes no
        pause of a type shorter. `number`: the place in the order of those of a type in all shards,
        see `pausing`; None for any other.
        """

    def pausing(
        self, queue_type: str, number: int, ms: int | Removal | None, reason: str, set_by: str
    ) -> bytes:
        """Pack that a type is to be paused or resumed in all its shards, or with an empty `set_by`
        the question for what is to be done.

        A `number` of 0 gets the next one; any other tells that this has been done. The rest is as
        in `pause`.
        """

    def ping(self, number: int) -> bytes:
        """Pack a script call that changes nothing; `number` is that of its key's place."""

    def queue_length(self, queue_type: str, queue_id: str) -> bytes:
        """Pack the question how many jobs of a queue wait."""

    def queue_metrics(self, queue_type: str, queue_id: str) -> bytes:
        """Pack the question for one queue's lengths, rate and counts."""

    def rate_states(self, queue_type: str, cursor: str, count: int) -> bytes:
        """Pack a look, among about `count` keys of a node, for states of queues; "0" begins."""

    def register(self, queue_type: str) -> bytes:
        """Pack the entry of a type in the registry."""

    def release(
        self,
        queue_type: str,
        leases: list[Lease],
        delay: int,
        counted: bool,
        retention: int,
        interval_retention: int,
        failing: str,
    ) -> bytes:
        """Pack the return of up to a hundred leased jobs of one type, `delay` ms from now.

        An empty `n` stands for any lease. `counted` takes one requeue off the limit. The
        retentions, in ms, are as for `finish`. `failing` has the bounds of dead letters, those of
        the backoff, and a drawn word: `jobs:bytes:retention:min:max:seed`.
        """

    def requeue(
        self,
        queue_type: str,
        batch: int,
        retention: int,
        interval_retention: int,
        failing: str,
    ) -> bytes:
        """Pack the return of up to `batch` jobs of a type whose leases have run out.

        The retentions, in ms, are as for `finish`, `failing` is as for `release`.
        """

    def rights(self, server_id: str, number: int, confirming: str | None = None) -> bytes:
        """Pack the question which of SharQ's commands the store's user may not run.

        They are tried on unused keys, one of them at the place `number`, and on the channel of a
        server. `confirming` is the command, with arguments, that waits for replicas, where that is
        done.
        """

    def settle(
        self,
        queue_type: str,
        told: list[Told],
        retention: int,
        interval_retention: int,
        failing: str,
    ) -> bytes:
        """Pack the end of up to a hundred leases of one type with what their holders tell.

        The retentions, in ms, are as for `finish`.
        """

    def shards(self, queue_type: str, former: str, following: str, begins: bool) -> bytes:
        """Pack what is to be known of a type's shards, if `former` is now; an empty `following`
        looks. With `begins` the store's time is put behind it.
        """

    def show_limits(self, queue_type: str, kind: str, name: str) -> bytes:
        """Pack the question for the limits of a level, named as in `limits`."""

    def status(self, queue_type: str, queue_id: str, job_id: str, retention: int) -> bytes:
        """Pack the question for the state of a job. `retention`: as for `extend`, in ms."""

    def take_over(
        self,
        queue_type: str,
        token: str,
        arriving: list[tuple[str, str, bytes, int, int, int, str]],
    ) -> bytes:
        """Pack up to a hundred jobs of one type that come from another store.

        Each is queue_id, job_id, payload, interval (ms), requeues that remain, the ms until the
        next dispatch of its queue, and ``tail`` or ``head`` of it, or the ms of its lease. `token`
        is that of their chunk, or empty.
        """

    def try_write(self, place: int) -> bytes:
        """Pack a write that changes nothing, for the node that serves a place."""

    def type_metrics(self, queue_type: str) -> bytes:
        """Pack the question for the counts of a type, and whether it has jobs."""

    def correct_totals(self, queue_type: str, more_waiting: int, more_delayed: int) -> bytes:
        """Pack that so many more jobs of a type wait, and are delayed, than its counters tell."""

    def list_leases(self, queue_type: str, queue_id: str, cursor: str, count: int) -> bytes:
        """Pack one page of the leased jobs of a queue; the first `cursor` is "0"."""

    def recount(self, queue_type: str, part: str, group: str, cursor: str, count: int) -> bytes:
        """Pack one page, of about `count` queues, of a count of the waiting jobs of a type."""

    def group_states(self, queue_type: str, groups: list[str]) -> bytes:
        """Pack the question for the states of groups: MGET, no script."""

    def queue_states(self, queue_type: str, queue_ids: list[str]) -> bytes:
        """Pack the question for the states of queues: MGET, no script."""

    def sample_queues(
        self, queue_type: str, part: str, group: str, cursor: str, count: int
    ) -> bytes:
        """Pack one page, of about `count`, of the queues with waiting jobs and the groups of such.

        `part` and `cursor` are those of `list_queues`.
        """

    def share_sample(self, queue_type: str, server_id: str, sample: bytes) -> bytes:
        """Pack a server's sample of a type, for others to show; empty if there is none yet."""

    def show_job(self, queue_type: str, queue_id: str, job_id: str) -> bytes:
        """Pack the question for the payload of a job and its lease."""

    def tell_servers(self, server_id: str | None, message: bytes, number: int) -> bytes:
        """Pack a message to a server, or to all for None; `number` is that of the key's place."""

    def watch_queues(self, queue_type: str, first: int, queue_ids: list[str]) -> bytes:
        """Pack the question how queues are: the `first` of the schedule, and those by name."""

    def unregister(self, queue_type: str, age: int) -> bytes:
        """Pack the removal of a type that was registered no less than `age` ms ago."""

def enqueued(reply: list[Any]) -> list[Enqueued]:
    """The outcomes in the reply of `enqueue`. KeyError for another word."""

@final
class Job:
    """A leased job. Made by `Batch` only."""

    @property
    def queue_type(self) -> str:
        """The type of its queue."""

    @property
    def queue_id(self) -> str:
        """The name of its queue within the type."""

    @property
    def job_id(self) -> str:
        """Its name within the queue."""

    @property
    def payload(self) -> bytes:
        """JSON text, as it was enqueued."""

    @property
    def requeues_remaining(self) -> int:
        """How often it may go back to its queue after this delivery; -1: no limit."""

    @property
    def attempt(self) -> int:
        """The number of this delivery, from 1; those given back uncounted do not count."""

    @property
    def current_queue_length(self) -> int:
        """The jobs that waited in its queue after it was taken."""

    @property
    def interval(self) -> float:
        """The interval (ms) of its queue when the answer was made; an `int` if it is whole."""

    @property
    def burst(self) -> int:
        """How many of its queue's jobs may be dispatched at once after idleness; 1: no more."""

    @property
    def lease(self) -> str:
        """The token of this lease, ``queue_type/queue_id/job_id/n``."""

@final
class Batch:
    """The answer of a dequeue: leased jobs, in the order in which they were taken.

    `reply` is the script's: wait, rank and since, then queue_id, job_id, n, requeues_remaining,
    attempt, length, payload and interval of each job. An interval with decimals comes as text, one
    with a burst as text with a star between both. The reply is turned into objects or JSON only on
    demand.
    Raises ValueError for a list that is not such a reply; so do its methods if the list was
    changed.
    """

    def __new__(cls, queue_type: str, reply: list[int | bytes]) -> Self: ...
    def __len__(self) -> int: ...
    @property
    def queue_type(self) -> str:
        """The type that was asked for, which is that of all the jobs."""

    @property
    def jobs(self) -> list[Job]:
        """The jobs as objects; the same list every time."""

    @property
    def wait_us(self) -> int | None:
        """Microseconds until the next queue of the type is ready; None: none is scheduled.

        0 if the dequeue got all that it asked for: the next one may follow at once.
        """

    @property
    def rank(self) -> int:
        """How many servers that wait for the next queue have waited longer than this one."""

    @property
    def head_ms(self) -> int | None:
        """Of a shard that is not waited for: ms for which its next queue has been ready; None: it
        is not ready.
        """

    @property
    def repeats(self) -> bool:
        """Of a shard: whether this repeats an earlier answer to the same `request_id` or `seq`."""

    @property
    def ready_ms(self) -> int | None:
        """Milliseconds for which the queue of the first job had been ready, by the store's clock.

        None if the answer repeats that of an earlier call, or has no jobs.
        """

    def part(self, start: int, stop: int) -> Batch:
        """The jobs from `start` up to `stop` as a batch. IndexError if there are none."""

    def leases(self, start: int, stop: int) -> list[str]:
        """The lease tokens of the jobs from `start` up to `stop`; IndexError as above."""

    def jobs_json(self, start: int, stop: int, lease_ms: int) -> bytes:
        """The jobs from `start` up to `stop` as a JSON array, with `lease_ms` as what is left of
        their leases, `attempt`, `interval` and a `burst` over 1; IndexError as above.
        """

    def to_json(self, at: int = 0) -> bytes:
        """The REST answer with one job. ValueError if there is none, IndexError beyond the end."""

    def to_json_list(self, start: int = 0, stop: int | None = None) -> bytes:
        """The REST answer with the jobs from `start` to `stop`, or with all, as an array."""

def joined(queue_type: str, batches: list[Batch], wait_us: int | None) -> Batch:
    """The jobs of batches of a type as one, in order, with another `wait_us`; the rank is 0."""

def json_value(text: bytes, deepest: int) -> bytes | None:
    """The JSON value that a text is, without the white space around it.

    None if it is not JSON by RFC 8259 in UTF-8, is nested deeper than `deepest` (up to 512,
    ValueError above), or has a number that cannot be read back: too large for a double, or an
    integer of more than 4,000 digits. Half a surrogate pair may be an escape.
    """

def json_fault(text: bytes, deepest: int) -> tuple[str, int] | None:
    """Why `json_value` returns None for a text, and the place of the byte; None if it does not.

    The reason is "empty", "cut off", "misplaced" (the byte), "no utf-8", "control" (a character of
    a string that has to be an escape), "escape" (an invalid one), "constant" (NaN or an infinity),
    "too large" or "too long" (a number), "too deep" or "more" (after the value).
    """

def json_parts(text: bytes, most: int) -> list[bytes] | None:
    """The elements of what looks like a JSON array; of an object, names and values in turn.

    They are separated only by quotes, brackets and commas; the caller has to check each. After
    `most` of them the rest is left out. None if the text has another structure.
    """

def json_dump(value: Any, deepest: int) -> bytes:
    """A Python value as compact JSON text in UTF-8.

    It consists of None, bool, int, float, str, dict, list and tuple, and subclasses of these. Half
    a surrogate pair is written as an escape. Raises ValueError if it has something else,
    OverflowError with the word of `json_fault` ("too deep", "too long", "constant") for text that
    this would refuse, and RecursionError if the stack has no room left.
    """

def is_name(value: object) -> bool:
    """Whether `value` is a `str` of 1 to 100 characters of ``A-Z a-z 0-9 _ -``."""

def lease_parts(value: object) -> tuple[str, str, str, str] | None:
    """The names and the number of a lease token, ``queue_type/queue_id/job_id/n``.

    None if it is no such `str`; the number has 1 to 19 digits.
    """

# What clients send, where it is plain

@final
class JobReader:
    """Reads jobs of the plainest form from JSON text.

    All others need the full checks: if a name has an escape, if a field is missing, duplicate,
    unknown or invalid, if the payload is larger than `max_payload_bytes` or nested too deep, or if
    there may be a bound on the length of the queue. `requeue_limit` is for jobs without one.
    """

    def __new__(cls, max_payload_bytes: int, requeue_limit: int) -> Self: ...
    def one(self, text: bytes, queue_type: str, queue_id: str) -> NewJob | None:
        """The job in a JSON object that does not name its queue; None if it is not plain.

        Text that is not JSON or not UTF-8 is not plain either.
        """

    def many(self, entries: Iterable[bytes | Raw]) -> list[NewJob | None]:
        """The job in each object, which names its queue; None if it is not plain."""

# The payloads of websocket frames

def mask(key: bytes, data: bytes | bytearray | memoryview) -> bytes:
    """`data` with each byte combined with one of the four of `key` in turn; twice restores it.

    ValueError if the key does not have four bytes.
    """
