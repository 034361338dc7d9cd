"""The compiled hot path: every key, every script call, and the replies that matter.

`Codec` packs one EVALSHA call as RESP2 bytes; what KEYS and ARGV hold is written at the head of
the script of the same name in ``lua/``. Names are taken as checked: see `sharq.identifiers`.
Payloads are JSON text that is never parsed here.
"""

from collections.abc import Mapping, Sequence
from typing import final

from sharq.results import NewJob

@final
class Writer: ...

@final
class Codec:
    """Builds the keys of one deployment and packs its script calls.

    `prefix` is the `key_prefix`; `digests` maps a script's name to its SHA-1 in hex.
    """

    def __new__(cls, prefix: str, digests: Mapping[str, str]) -> Codec: ...
    @property
    def prefix(self) -> str: ...
    def tag(self, queue_type: str) -> bytes:
        """The hash tag of a type, ``{prefix:queue_type}``: what decides its slot."""

    def registry(self) -> bytes:
        """The key of the registry of types, ``{prefix}:types``."""

    def clear(
        self, queue_type: str, queue_id: str, interval_retention: int, purge: bool
    ) -> bytes: ...
    def dequeue(
        self,
        queue_type: str,
        count: int,
        lease_ms: int,
        max_bytes: int,
        request_id: str | None = None,
    ) -> bytes: ...
    def enqueue(
        self,
        queue_type: str,
        queue_id: str,
        job_id: str,
        payload: bytes,
        interval: int,
        requeue_limit: int,
        max_length: int | None = None,
    ) -> bytes: ...
    def enqueue_many(self, queue_type: str, jobs: Sequence[NewJob]) -> bytes: ...
    def extend(
        self, queue_type: str, queue_id: str, job_id: str, n: str, by: int, retention: int
    ) -> bytes: ...
    def finish(
        self,
        queue_type: str,
        queue_id: str,
        job_id: str,
        n: str,
        retention: int,
        interval_retention: int,
    ) -> bytes: ...
    def interval(
        self, queue_type: str, queue_id: str, interval: int, interval_retention: int
    ) -> bytes: ...
    def interval_reset(
        self, queue_type: str, queue_id: str, interval_retention: int
    ) -> bytes: ...
    def list_queues(self, queue_type: str, waiting: bool, cursor: str, count: int) -> bytes: ...
    def list_types(self, cursor: str, count: int) -> bytes: ...
    def ping(self) -> bytes: ...
    def queue_length(self, queue_type: str, queue_id: str) -> bytes: ...
    def queue_metrics(self, queue_type: str, queue_id: str) -> bytes: ...
    def register(self, queue_type: str) -> bytes: ...
    def release(
        self,
        queue_type: str,
        queue_id: str,
        job_id: str,
        n: str,
        delay: int,
        counted: bool,
        retention: int,
        interval_retention: int,
    ) -> bytes: ...
    def requeue(
        self, queue_type: str, batch: int, retention: int, interval_retention: int
    ) -> bytes: ...
    def status(self, queue_type: str, queue_id: str, job_id: str, retention: int) -> bytes: ...
    def type_metrics(self, queue_type: str) -> bytes: ...
    def unregister(self, queue_type: str, age: int) -> bytes: ...

@final
class Job:
    """A leased job. Made by `Batch` only.

    `payload` is JSON text as it was enqueued. `requeues_remaining` is -1 for ever. `attempt` is
    1 for the first delivery. `current_queue_length` counts the waiting jobs after this one was
    taken. `lease` is the token ``queue_type/queue_id/job_id/n``.
    """

    @property
    def queue_type(self) -> str: ...
    @property
    def queue_id(self) -> str: ...
    @property
    def job_id(self) -> str: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def requeues_remaining(self) -> int: ...
    @property
    def attempt(self) -> int: ...
    @property
    def current_queue_length(self) -> int: ...
    @property
    def lease(self) -> str: ...

@final
class Batch:
    """The answer of a dequeue: leased jobs, in the order in which they were taken.

    `reply` is the script's: the wait, then queue_id, job_id, n, requeues_remaining, attempt,
    length and payload of each job. It is turned into objects or into JSON only when asked for.
    """

    def __new__(cls, queue_type: str, reply: list[int | bytes]) -> Batch: ...
    def __len__(self) -> int: ...
    @property
    def queue_type(self) -> str: ...
    @property
    def jobs(self) -> list[Job]: ...
    @property
    def wait_us(self) -> int | None:
        """Microseconds until the next queue of the type is ready; None: none is scheduled.

        0 where the dequeue got all that it asked for: the next one may come at once.
        """

    def to_json(self) -> bytes:
        """The REST answer with the first job. ValueError where there is none."""

    def to_json_list(self) -> bytes:
        """The REST answer with all jobs, as an array."""

def json_depth(text: bytes) -> int:
    """How deep arrays and objects nest in a JSON text (0: a scalar). Does not validate."""
