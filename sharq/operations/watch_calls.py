"""The operations of those who look on: operators, dashboards. Bytes and values, no I/O."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from sharq._fastpath import Codec, Keyspace
from sharq.observed import Backlog, LeasedName, LeasePage, WatchedQueue, WatchedQueues
from sharq.operations import limit_words
from sharq.operations.call import Anywhere, Call, no_promise
from sharq.operations.cursors import QueueCursor

T = TypeVar("T")

_PLAIN: Final = re.compile(
    rb"([\d.]+):[\d.]+:(\d+):(\d+):\d+(?::(\d+):(\d+):\d+:\d:\d+(?::(\d+))?)? "
)


class SamplePage(NamedTuple):
    """Names of queues with waiting jobs; `total` is that of a `Sample`."""

    cursor: QueueCursor | None
    total: int
    names: list[str]


class Recounted(NamedTuple):
    """Some queues by name, with their waiting jobs and the delayed ones among them.

    `waiting` and `delayed` are what the counters tell of the type, and `mark` changes whenever
    something is counted.
    """

    cursor: QueueCursor | None
    waiting: int
    delayed: int
    mark: bytes
    queues: dict[str, tuple[int, int]]


class WatchOperations:
    """A part of `Operations`."""

    _codec: Codec
    _keys: Keyspace

    def _anywhere(self, pack: Callable[[int], bytes], parse: Callable[[Any], T]) -> Call[T]:
        """A call of a script that any node may run, and may run again."""
        return Call(pack(0), b"", parse, True, no_promise, Anywhere(self._keys.place, pack))

    def sample_queues(self, queue_type: str, cursor: QueueCursor, count: int) -> Call[SamplePage]:
        """One page, of about `count`, of the names of queues with waiting jobs."""
        packed = self._codec.sample_queues(queue_type, *cursor, count)
        return Call(packed, self._keys.tag(queue_type), _sample_page, True, no_promise)

    def backlogs(
        self, queue_type: str, queue_ids: list[str]
    ) -> Call[list[tuple[Backlog, str | None]]]:
        """The backlogs of queues, of those that have one, each with its group (None: none)."""
        packed = self._codec.queue_states(queue_type, queue_ids)

        def parse(reply: list[Any]) -> list[tuple[Backlog, str | None]]:
            found = map(backlog_of, queue_ids, reply)
            return [
                (backlog, group_of(state))
                for backlog, state in zip(found, reply, strict=True)
                if backlog is not None
            ]

        return Call(packed, self._keys.tag(queue_type), parse, True, no_promise)

    def group_intervals(self, queue_type: str, groups: list[str]) -> Call[dict[str, float]]:
        """The intervals (ms) of groups, of those that have one."""
        packed = self._codec.group_states(queue_type, groups)

        def parse(reply: list[Any]) -> dict[str, float]:
            told = {
                group: limit_words.number(state.partition(b":")[0])
                for group, state in zip(groups, reply, strict=True)
                if state is not None
            }
            return {group: interval for group, interval in told.items() if interval}

        return Call(packed, self._keys.tag(queue_type), parse, True, no_promise)

    def watch_queues(
        self, queue_type: str, first: int, queue_ids: list[str]
    ) -> Call[WatchedQueues]:
        """The `first` queues of the schedule, and others by their names."""
        packed = self._codec.watch_queues(queue_type, first, queue_ids)
        return Call(packed, self._keys.tag(queue_type), _watched, True, no_promise)

    def share_sample(self, queue_type: str, server_id: str, sample: bytes) -> Call[bytes | None]:
        """Give this server's sample to the others; None where this server is the one to take it.

        Otherwise the answer is the sample of the server that does. An empty one is none.
        """
        packed = self._codec.share_sample(queue_type, server_id, sample)
        return Call(packed, self._keys.tag(queue_type), _shared, True, no_promise)

    def tell_servers(self, server_id: str | None, message: bytes) -> Call[None]:
        """Send a message to a server, or to all for None."""

        def pack(number: int) -> bytes:
            return self._codec.tell_servers(server_id, message, number)

        return self._anywhere(pack, _nothing)

    def list_leases(
        self, queue_type: str, queue_id: str, cursor: str, count: int
    ) -> Call[LeasePage]:
        """The leased jobs of a queue among about `count` of its type; "0" is the beginning."""
        packed = self._codec.list_leases(queue_type, queue_id, cursor, count)
        return Call(packed, self._keys.tag(queue_type), _leases, True, no_promise)

    def show_job(
        self, queue_type: str, queue_id: str, job_id: str
    ) -> Call[tuple[bytes | None, str | None]]:
        """The payload of a job, None if there is none, and the number of its lease, if any."""
        packed = self._codec.show_job(queue_type, queue_id, job_id)
        return Call(packed, self._keys.tag(queue_type), _shown, True, no_promise)

    def recount(self, queue_type: str, cursor: QueueCursor, count: int) -> Call[Recounted]:
        """Count the waiting jobs of about `count` queues."""
        packed = self._codec.recount(queue_type, *cursor, count)
        return Call(packed, self._keys.tag(queue_type), _recounted, True, no_promise)

    def correct_totals(self, queue_type: str, waiting: int, delayed: int) -> Call[None]:
        """Let the counters tell of so many more waiting jobs, and delayed ones among them."""
        packed = self._codec.correct_totals(queue_type, waiting, delayed)
        return Call(packed, self._keys.tag(queue_type), _nothing)


def _cursor(part: bytes, group: bytes, at: bytes) -> QueueCursor | None:
    return QueueCursor(part.decode(), group.decode(), at.decode()) if part else None


def _sample_page(reply: list[Any]) -> SamplePage:
    part, group, at, total, *members = reply
    names = [name.decode() for name in members[::2] if name[:1] != b"="]
    return SamplePage(_cursor(part, group, at), total, names)


def backlog_of(queue_id: str, state: bytes | None) -> Backlog | None:
    """What a queue's state, see docs/keyspace.md, tells of its backlog; None if nothing waits."""
    if state is None:
        return None
    numbers = _PLAIN.match(state, state.find(b"|") + 1 if state[:1] == b"~" else 0)
    if numbers is None:
        return None
    interval, head, following, back, late, apart = numbers.groups(b"0")
    waiting = int(following) - int(head) + int(back) + int(late) - int(apart)
    if waiting <= 0:
        return None
    return Backlog(queue_id, waiting, limit_words.number(interval) or None)


def group_of(state: bytes) -> str | None:
    """The group in a queue's state, see docs/keyspace.md; None where there is none."""
    if state[:1] != b"~":
        return None
    by_enqueue, by_api = state[1 : state.find(b"|")].split(b":")[7:9]
    return (by_api or by_enqueue).decode() or None


def _watched(reply: list[Any]) -> WatchedQueues:
    queues = [
        WatchedQueue(
            name.decode(),
            waiting,
            active,
            limit_words.number(interval) if interval else None,
            int(turn_in) if turn_in else None,
            group.decode() or None,
            held_by.decode(),
            int(drained_in) if drained_in else None,
        )
        for name, waiting, active, interval, turn_in, group, held_by, drained_in in zip(
            *(reply[at::8] for at in range(1, 9)), strict=True
        )
    ]
    return WatchedQueues(queues[: reply[0]], queues[reply[0] :])


def _shared(reply: list[Any]) -> bytes | None:
    own, sample = reply
    return None if own else bytes(sample)


def _leases(reply: list[Any]) -> LeasePage:
    leases = [
        LeasedName(job_id.decode(), n.decode(), ends_in, attempt)
        for job_id, n, ends_in, attempt in zip(*(reply[at::4] for at in range(1, 5)), strict=True)
    ]
    cursor = reply[0].decode()
    return LeasePage(None if cursor == "0" else cursor, leases)


def _shown(reply: list[Any]) -> tuple[bytes | None, str | None]:
    payload, n = reply
    return payload, n.decode() or None


def _recounted(reply: list[Any]) -> Recounted:
    part, group, at, waiting, delayed, mark = reply[:6]
    queues = {
        name.decode(): (queued, late)
        for name, queued, late in zip(reply[6::3], reply[7::3], reply[8::3], strict=True)
    }
    return Recounted(_cursor(part, group, at), waiting, delayed, mark, queues)


def _nothing(_reply: Any) -> None:
    return None
