"""Calls of the store over a connection of the benchmark's own, and what they cost it."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import hiredis
import redis

from sharq import NewJob
from sharq.operations.call import Call
from sharq.operations.operations import BULK_SIZE, Operations
from sharq.operations.scripts import Scripts
from sharq.settings.options import QueueSettings
from sharq.store.script_loading import ScriptLoading
from tests.support.stores import PrivateStore

T = TypeVar("T")

PREFIX = "sharq_server"
PAYLOAD = b'{"to":"+15550100","text":"Your code is 1234"}'

_PIPELINE = 100
"""Calls that go in one write."""

_AHEAD = 2
"""Writes that are under way while answers are read, so that the store never waits."""


class Cost(NamedTuple):
    """What calls took, in µs a call.

    `script` is the store's own account: the time in the script, without reading the call and
    writing the answer. `call` is one by the clock, with many under way at a time: what one costs
    the store as a whole, unless whoever reads the answers is slower.
    """

    script: float
    call: float


def new_job(queue_type: str, queue_id: str, interval: int = 0) -> NewJob:
    """A job as small as those of the targets: an id of 36 bytes and a payload of 45."""
    return NewJob(queue_type, queue_id, str(uuid.uuid4()), PAYLOAD, interval, -1)


class StoreCalls:
    """The operations on a running store, over a connection that pipelines their calls."""

    def __init__(self, store: PrivateStore) -> None:
        scripts = Scripts()
        self.operations = Operations(PREFIX, QueueSettings(), scripts)
        self.client: redis.Redis = store.client
        self.socket_path = store.socket_path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(store.socket_path)
        self._reader = hiredis.Reader()
        self._scripts = ScriptLoading(scripts.by_digest)
        self._loaded: set[str] = set()

    def close(self) -> None:
        self._socket.close()

    def run(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Run calls, many at a time; their results in order."""
        self._load(calls)
        replies = self._replies([call.packed for call in calls])
        return [call.parse(reply) for call, reply in zip(calls, replies, strict=True)]

    def measure(self, calls: Sequence[Call[Any]]) -> tuple[list[Any], Cost]:
        """As `run`, with what the calls cost."""
        self._load(calls)
        packed = [call.packed for call in calls]
        before = self._script_time()
        began = time.perf_counter()
        replies = self._replies(packed)
        elapsed = time.perf_counter() - began
        script = self._script_time() - before
        results = [call.parse(reply) for call, reply in zip(calls, replies, strict=True)]
        return results, Cost(script / len(calls), elapsed * 1e6 / len(calls))

    def fill(self, jobs: Iterable[NewJob]) -> None:
        """Enqueue jobs of one type in bulk."""
        enqueue = self.operations.enqueue
        rest = iter(jobs)
        while some := list(islice(rest, _PIPELINE * BULK_SIZE)):
            self.run([enqueue(part[0].queue_type, part) for part in parts(some, BULK_SIZE)])

    def used_memory(self) -> int:
        """Bytes that the store uses by its own account, connections left out."""
        memory: Any = self.client.info("memory")
        return int(memory["used_memory"]) - int(memory["mem_clients_normal"])

    def _load(self, calls: Sequence[Call[Any]]) -> None:
        """Load the scripts that the calls are the first to run, as a link does."""
        needed = {self._scripts.missing(call) for call in calls} - self._loaded
        self._replies([self._scripts.load(digest).packed for digest in needed])
        self._loaded |= needed

    def _replies(self, packed: Sequence[bytes]) -> list[Any]:
        replies: list[Any] = []
        writes = [(b"".join(part), len(part)) for part in parts(packed, _PIPELINE)]
        for written, _ in writes[:_AHEAD]:
            self._socket.sendall(written)
        for at, (_, count) in enumerate(writes):
            for _ in range(count):
                while (reply := self._reader.gets()) is False:
                    self._reader.feed(self._socket.recv(1 << 18))
                if isinstance(reply, Exception):
                    raise reply
                replies.append(reply)
            if at + _AHEAD < len(writes):
                self._socket.sendall(writes[at + _AHEAD][0])
        return replies

    def _script_time(self) -> int:
        stats: Any = self.client.info("commandstats")
        return int(stats.get("cmdstat_evalsha", {}).get("usec", 0))


class BenchStore(StoreCalls):
    """A store of the benchmark's own, without a log on the disk, and the operations on it."""

    def __init__(self) -> None:
        self._store = PrivateStore()
        super().__init__(self._store)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        self._store.close()


def parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in pieces of `size`, the last one perhaps shorter."""
    for at in range(0, len(items), size):
        yield items[at : at + size]


def refilling(calls: StoreCalls, queue_type: str, queues: int) -> Callable[[int], None]:
    """Puts jobs into queues, in turn: as they are emptied."""
    at = 0

    def refill(count: int) -> None:
        nonlocal at
        numbers = range(at, at + count)
        calls.fill(new_job(queue_type, f"queue-{each % queues}", 1) for each in numbers)
        at += count

    return refill
