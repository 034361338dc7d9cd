"""The original's store: what is read there, and what is removed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Any, Final, NamedTuple, TypeVar

from sharq.errors import StoreError
from sharq.migration.names import SWEEP_LOCK, Names
from sharq.operations.call import Call
from sharq.settings.options import StoreSettings
from sharq.store.blocking_cluster import open_sync_link
from sharq.store.script_loading import pack

T = TypeVar("T")

CHUNK: Final = 100
"""Jobs that are moved at once, at most."""

ROOM: Final = 4 * 1024 * 1024
"""Bytes of payloads after which no further job is read into a chunk."""

_PAGE: Final = 1000
_TIMEOUT: Final = 30.0

GONE: Final = "lost"
"""In place of an answer: the lock of the sweep is somebody else's by now."""


class Found(NamedTuple):
    """A job as it is stored: `payload`, `requeues`, `interval` and `last` (the time of its queue's
    last dispatch) are None where they are missing. `score` is the time (ms) in the sorted set, of
    the queue's next job or of the end of the lease.
    """

    queue: bytes
    job: bytes
    payload: bytes | None
    requeues: bytes | None
    interval: bytes | None
    last: bytes | None
    score: bytes | None

    @property
    def digest(self) -> bytes:
        """What tells whether the payload is still the same."""
        return hashlib.sha1(self.payload or b"").hexdigest().encode()


class Looked(NamedTuple):
    """A page of jobs that was read at `time` (ms, of the store's clock).

    `lengths` has how many jobs each queue has in all; of leased ones, the type.
    """

    time: int
    jobs: list[Found]
    lengths: dict[bytes, int]


class Source:
    """The store of a deployment of the original; its `key_prefix` is that of `settings`.

    Its methods raise `StoreError`.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self.names = Names(settings.key_prefix)
        self._clustered = settings.clustered
        scripts = dict(_read_scripts())
        self._digests = {name: _digest(text) for name, text in scripts.items()}
        texts = {_digest(text): text for text in scripts.values()}
        # What leaves a store is kept by the other one: its replicas are of no concern.
        own = replace(settings, replicas_acked=0, replicas_durable=False)
        self._link = open_sync_link(own, texts, timeout=_TIMEOUT)
        self._key = self.names.payloads

    def close(self) -> None:
        """Close the connections."""
        self._link.close()

    def time(self) -> int:
        """The time (ms) by the store's clock."""
        return self._run(_time, b"TIME")

    # What is there

    def types(self) -> set[bytes]:
        """The types that are named as such; some may be stale, and some missing."""
        sets = self.names.ready_types, self.names.active_types
        return {name for key in sets for name in self._run(list, b"SMEMBERS", key)}

    def fields(self) -> Iterator[list[bytes]]:
        """The fields of both hashes, `type:queue:job` and `type:queue`, in pages."""
        for key in (self.names.payloads, self.names.intervals):
            cursor = b"0"
            while True:
                cursor, page = self._script("fields", [key], [cursor, b"%d" % _PAGE], tuple, True)
                yield page
                if cursor == b"0":
                    break

    def scheduled(self, kind: bytes) -> Iterator[bytes]:
        """The queues of a type in its sorted set."""
        key = self.names.ready(kind)
        if self._run(bytes, b"TYPE", key) != b"zset":
            return
        cursor = b"0"
        while True:
            cursor, page = self._run(tuple, b"ZSCAN", key, cursor, b"COUNT", b"%d" % _PAGE)
            yield from page[::2]
            if cursor == b"0":
                break

    def counts(self, minutes: Sequence[int]) -> list[bytes | None]:
        """What the counters of these minutes (ms) have."""
        calls = [
            Call(pack(b"GET", key), key, _as_it_is, True)
            for minute in minutes
            for key in self.names.counters(minute)
        ]
        return _unfailed(self._link.run_many(calls))

    def look(self, kind: bytes, queues: Sequence[tuple[bytes, int]], count: int = CHUNK) -> Looked:
        """The first waiting jobs of queues, each from a place in its list on.

        The last queues may be missing, where those before have enough.
        """
        names = self.names
        keys = [names.payloads, names.intervals, names.ready(kind)]
        words = [kind, b"%d" % count, b"%d" % ROOM]
        for queue, begin in queues:
            keys += [names.jobs(kind, queue), names.requeues(kind, queue), names.last(kind, queue)]
            words += [queue, b"%d" % begin]
        time, *found = self._script("look", keys, words, list, True)
        looked = Looked(time, [], {})
        for (queue, _), (interval, last, score, length, jobs) in zip(queues, found, strict=False):
            looked.lengths[queue] = length
            for job, payload, requeues in zip(jobs[::3], jobs[1::3], jobs[2::3], strict=True):
                looked.jobs.append(Found(queue, job, payload, requeues, interval, last, score))
        return looked

    def look_at_leases(self, kind: bytes, begin: int) -> Looked:
        """The leased jobs of a type by the end of their leases, from a place on."""
        names = self.names
        keys = [names.active(kind), names.payloads, names.intervals]
        words = [kind, b"%d" % begin, b"%d" % CHUNK, b"%d" % ROOM, names.jobs(kind, b"")]
        time, length, *jobs = self._script("look_active", keys, words, list, True)
        looked = Looked(time, [], {b"": length})
        for at in range(0, len(jobs), 6):
            member, end, payload, requeues, interval, last = jobs[at : at + 6]
            # One without a colon was never a lease of anything.
            queue, _, job = member.rpartition(b":")
            looked.jobs.append(Found(queue, job, payload, requeues, interval, last, end))
        return looked

    # What is removed

    def take(self, kind: bytes, token: str, jobs: Sequence[Found], owner: str) -> str:
        """Remove waiting jobs, as `look` has read them, as far as they still stand there.

        A digit for each, `1` if it was removed, or `GONE`.
        """
        names = self.names
        keys = [names.receipts, names.payloads, names.ready(kind), names.ready_types]
        words = [self._owner(owner), kind, token.encode()]
        by_queue: dict[bytes, list[Found]] = {}
        for job in jobs:
            by_queue.setdefault(job.queue, []).append(job)
        for queue, some in by_queue.items():
            keys += [names.jobs(kind, queue), names.requeues(kind, queue)]
            words += [queue, b"%d" % len(some)]
            for job in some:
                words += [job.job, job.digest]
        return self._script("take", keys + self._lock(), words, bytes.decode, True)

    def take_leases(self, kind: bytes, token: str, jobs: Sequence[Found], owner: str) -> str:
        """Remove leased jobs, as `look_at_leases` has read them; otherwise as `take`."""
        names = self.names
        keys = [names.receipts, names.payloads, names.active(kind), names.active_types]
        words = [self._owner(owner), kind, token.encode()]
        for job in jobs:
            keys.append(names.requeues(kind, job.queue))
            words += [job.queue, job.job, job.score or b"", job.digest]
        return self._script("take_active", keys + self._lock(), words, bytes.decode, True)

    def receipts(self) -> dict[bytes, tuple[str, str]]:
        """The last removal of each type: the token of its chunk, and the answer."""
        words = self._run(list, b"HGETALL", self.names.receipts)
        told = [word.decode().partition(" ") for word in words[1::2]]
        return {
            kind: (token, bits) for kind, (token, _, bits) in zip(words[::2], told, strict=True)
        }

    def drop_receipt(self, kind: bytes) -> None:
        """Remove the receipt of a type: what it is about has arrived."""
        self._run(bool, b"HDEL", self.names.receipts, kind)

    def tidy(self, kind: bytes, queues: Sequence[bytes]) -> int:
        """Remove what is left of queues without jobs; how many had nothing but an entry."""
        names, ghosts = self.names, 0
        for at in range(0, len(queues), _PAGE):
            some = queues[at : at + _PAGE]
            keys = [names.intervals, names.ready(kind), names.active(kind)]
            keys += [names.jobs(kind, queue) for queue in some]
            ghosts += self._script("tidy", keys, [kind, *some], int)
        return ghosts

    # The lock of the original's sweep

    def lock(self, owner: str, ms: int) -> bool:
        """Take the lock for `ms`; False if somebody else has it."""
        words = b"SET", SWEEP_LOCK, owner.encode(), b"NX", b"PX", b"%d" % ms
        taken = self._link.run(Call(pack(*words), SWEEP_LOCK, lambda reply: reply is not None))
        return taken or self.hold(owner, ms)

    def hold(self, owner: str, ms: int) -> bool:
        """Hold the lock for `ms` from now on, or with 0 give it back; False if it is not held."""
        words = [owner.encode(), b"%d" % ms]
        return self._script("hold", [SWEEP_LOCK], words, bool, True)

    def _owner(self, owner: str) -> bytes:
        return b"" if self._clustered else owner.encode()

    def _lock(self) -> list[bytes]:
        # In a cluster it is in another slot.
        return [] if self._clustered else [SWEEP_LOCK]

    def _run(self, parse: Callable[[Any], T], *words: bytes) -> T:
        return self._link.run(Call(pack(*words), self._key, parse, True))

    def _script(
        self,
        name: str,
        keys: list[bytes],
        words: list[bytes],
        parse: Callable[[Any], T],
        repeatable: bool = False,
    ) -> T:
        head = b"EVALSHA", self._digests[name].encode(), b"%d" % len(keys)
        return self._link.run(Call(pack(*head, *keys, *words), keys[0], parse, repeatable))


def _time(reply: list[bytes]) -> int:
    seconds, microseconds = map(int, reply)
    return seconds * 1000 + microseconds // 1000


def _digest(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


def _read_scripts() -> Iterator[tuple[str, str]]:
    for entry in files("sharq.migration").joinpath("lua").iterdir():
        if entry.name.endswith(".lua"):
            yield entry.name.removesuffix(".lua"), entry.read_text("utf-8")


def _as_it_is(reply: T) -> T:
    return reply


def _unfailed(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, StoreError):
            raise answer
    return answers
