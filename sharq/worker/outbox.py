"""The ends of leases that a worker still has to send, until they are answered. Pure.

Only this module decides what an answer means: whether one is done, sent again, or given up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from sharq.endings import QUEUE
from sharq.failures import fields_of
from sharq.results import JobError
from sharq.worker.frames import chunks, encode

OVER: Final = frozenset(
    {"success", "already_finished", "not_active", "stale_lease", "invalid_argument"}
)
"""Results after which nothing more has to be sent about a lease."""

FOR_GOOD: Final = frozenset({"forbidden", "invalid_argument", "not_json", "payload_too_large"})
"""Codes of refusals that last as long as the connection."""


_ITEMS_BYTES: Final = 60 * 1024
"""Bytes of the items of one frame, at most, or one item: every server takes a frame of 64 KiB."""


class End(NamedTuple):
    """How a lease has to end: with a finish, a release with `delay` ms, or a failure by `error`.

    `cost` is the real one, `pause` (ms) that of a level of the kind `scope`; None: not told. After
    a failure the server decides about a `delay` of None; without `retry` the job is dead.
    """

    finish: bool
    delay: int | None = 0
    count_requeue: bool = True
    cost: int | None = None
    pause: int | None = None
    scope: str = QUEUE
    error: JobError | None = None
    retry: bool = True

    @property
    def operation(self) -> str:
        if self.finish:
            return "finish"
        return "release" if self.error is None else "fail"

    @property
    def is_plain(self) -> bool:
        """Whether those that are alike share a frame of `leases`; others have one of `items`."""
        return self.cost is None and self.pause is None and self.error is None

    def item(self, lease: str) -> dict[str, Any]:
        """The item of a frame that tells it of a lease."""
        told: dict[str, Any] = {"lease": lease}
        if self.cost is not None:
            told["cost"] = self.cost
        if self.error is not None:
            told["error"] = fields_of(self.error)
            if not self.retry:
                told["retry"] = False
            elif self.delay is not None:
                told["delay"] = self.delay
            return told
        if self.delay:
            told["delay"] = self.delay
        if self.pause is not None:
            told |= {"pause": self.pause, "pause_scope": self.scope}
        elif not self.count_requeue:
            told["count_requeue"] = False
        return told


GIVE_BACK: Final = End(finish=False, count_requeue=False)
"""The end of a job that was not started."""


class Answered(NamedTuple):
    """A lease whose end has been answered.

    `lost`: it had ended before; `dead`: its job died.
    """

    lease: str
    end: End
    lost: bool
    dead: bool = False


class Refused(NamedTuple):
    """Ends that the server has not carried out, by its `code`.

    `for_good`: they are given up, and their leases run out. Otherwise they are sent again.
    """

    operation: str
    code: str
    leases: list[str]
    for_good: bool


class Outcome(NamedTuple):
    """The result of a frame's answer.

    `well`: it was a probe that succeeded, and refused ends may be sent again.
    """

    over: list[Answered]
    refused: list[Refused]
    well: bool


class Outbox:
    """Ends of leases: each is sent once, and again if its answer can no longer come.

    Ends that the server has refused for now wait for `probe`, which sends one frame of them at a
    time. As long as the last whole frame for a type was refused, nothing else is sent for it: other
    types may lie at another node of the store, which is there.
    """

    def __init__(self) -> None:
        self._ends: dict[str, End] = {}
        self._unsent: dict[str, None] = {}
        self._refused: dict[str, None] = {}
        self._sent: dict[int, list[str]] = {}
        self._repeated: set[str] = set()
        self._closed = False
        self._closed_types: set[str] = set()
        self._probe = 0

    def __len__(self) -> int:
        return len(self._ends)

    def __contains__(self, lease: object) -> bool:
        return lease in self._ends

    @property
    def waits(self) -> bool:
        """Whether `probe` has something to send."""
        return bool(self._refused) or any(map(self._is_closed, self._unsent))

    def add(self, lease: str, end: End) -> None:
        """Add the end of a lease."""
        self._ends[lease] = end
        self._unsent[lease] = None

    def drop(self, lease: str) -> None:
        """The lease has ended: nothing has to be sent about it."""
        self._ends.pop(lease, None)
        self._unsent.pop(lease, None)
        self._refused.pop(lease, None)
        self._repeated.discard(lease)

    def unanswered(self, frame_ids: Iterable[int]) -> None:
        """No answer comes to these frames: their ends may be carried out, and are sent again."""
        for frame_id in frame_ids:
            for lease in self._sent.pop(frame_id, ()):
                if lease in self._ends:
                    self._unsent[lease] = None
                    self._repeated.add(lease)

    def close(self, queue_types: Iterable[str] | None = None) -> None:
        """The server carries nothing out, or nothing of these types: send only probes."""
        if queue_types is None:
            self._closed = True
        else:
            self._closed_types.update(queue_types)

    def open(self, queue_types: Collection[str] | None = None) -> None:
        """The server carries ends out again, or there is another server: all may be sent.

        With `queue_types` that is known of these.
        """
        if queue_types is None:
            self._closed = False
            self._closed_types.clear()
        else:
            self._closed_types.difference_update(queue_types)
        for lease in list(self._refused):
            if queue_types is None or _type_of(lease) in queue_types:
                del self._refused[lease]
                self._unsent[lease] = None

    def frames(self, next_id: Iterator[int]) -> list[tuple[int, bytes]]:
        """The frames for unsent ends, each with its id: one for all plain finishes."""
        if not self._unsent or self._closed:
            return []
        unsent, self._unsent = self._unsent, {}
        if self._closed_types:
            self._unsent = {lease: None for lease in unsent if self._is_closed(lease)}
            unsent = {lease: None for lease in unsent if lease not in self._unsent}
        return [self._frame(next_id, end, part) for end, part in self._alike(unsent)]

    def probe(self, next_id: Iterator[int]) -> list[tuple[int, bytes]]:
        """One frame of refused ends, to see whether it is carried out now."""
        unsent = [lease for lease in self._unsent if self._is_closed(lease)]
        for end, part in self._alike(self._refused or unsent):
            for lease in part:
                self._refused.pop(lease, None)
                self._unsent.pop(lease, None)
            frame = self._frame(next_id, end, part)
            self._probe = frame[0]
            return [frame]
        return []

    def _alike(self, leases: Iterable[str]) -> Iterator[tuple[End, list[str]]]:
        alike: dict[End | str, list[str]] = {}
        for lease in leases:
            end = self._ends[lease]
            alike.setdefault(end if end.is_plain else end.operation, []).append(lease)
        for same in alike.values():
            for part in chunks(same):
                for some in self._by_size(part):
                    yield self._ends[some[0]], some

    def _by_size(self, leases: Sequence[str]) -> Iterator[list[str]]:
        """The leases in parts, one for each frame that is not too large."""
        some: list[str] = []
        size = 0
        for lease in leases:
            end = self._ends[lease]
            more = 0 if end.error is None else len(encode(end.item(lease))) + 1
            if some and size + more > _ITEMS_BYTES:
                yield some
                some, size = [], 0
            some.append(lease)
            size += more
        yield some

    def _frame(self, next_id: Iterator[int], end: End, leases: list[str]) -> tuple[int, bytes]:
        frame_id = next(next_id)
        frame: dict[str, Any] = {"op": end.operation, "id": frame_id}
        if not end.is_plain:
            frame["items"] = [self._ends[lease].item(lease) for lease in leases]
        elif end.finish:
            frame["leases"] = leases
        else:
            told = {"delay": end.delay, "count_requeue": end.count_requeue}
            frame |= {"leases": leases, **told}
        self._sent[frame_id] = leases
        return frame_id, encode(frame)

    def has(self, frame_id: int | None) -> bool:
        """Whether a frame was sent from here and is not answered."""
        return frame_id in self._sent

    def answer(self, frame_id: int, results: list[Any], dead: Collection[int] = ()) -> Outcome:
        """Process the results of a frame; those at the places `dead` are of jobs that died."""
        leases = self._sent.get(frame_id, [])
        if len(leases) != len(results):
            # Its content is not known.
            unknown = self.refuse(frame_id, "incomplete_answer", done=True)
            return Outcome([], [unknown] if unknown else [], False)
        del self._sent[frame_id]
        over: list[Answered] = []
        refused: dict[str, list[str]] = {}
        end = None
        for at, (lease, result) in enumerate(zip(leases, results, strict=True)):
            known = self._ends.get(lease)
            if known is None:
                continue
            end = known
            if result not in OVER:
                refused.setdefault(str(result), []).append(lease)
                continue
            over.append(Answered(lease, end, self._is_lost(lease, end, result), at in dead))
            self._closed_types.discard(_type_of(lease))
            self.drop(lease)
        probed = frame_id == self._probe
        if over:
            self._closed = False
        if end is None:
            return Outcome(over, [], probed)
        more = [self._refuse(end, code, some, done=True) for code, some in refused.items()]
        return Outcome(over, more, probed and not more)

    def refuse(self, frame_id: int, code: str, *, done: bool) -> Refused | None:
        """A whole frame was refused; `done`: it may still have been carried out."""
        leases = [lease for lease in self._sent.pop(frame_id, ()) if lease in self._ends]
        if not leases:
            return None
        refused = self._refuse(self._ends[leases[0]], code, leases, done=done)
        if not refused.for_good:
            self.close({_type_of(lease) for lease in leases})
        return refused

    def _refuse(self, end: End, code: str, leases: list[str], *, done: bool) -> Refused:
        refused = Refused(end.operation, code, leases, code in FOR_GOOD)
        for lease in leases:
            if refused.for_good:
                self.drop(lease)
            else:
                self._refused[lease] = None
                if done:
                    self._repeated.add(lease)
        return refused

    def _is_closed(self, lease: str) -> bool:
        return self._closed or _type_of(lease) in self._closed_types

    def _is_lost(self, lease: str, end: End, result: str) -> bool:
        if result == "success":
            return False
        if end.finish:
            return result != "already_finished"
        # A second release finds nothing if the first, unanswered one was carried out.
        return lease not in self._repeated


def _type_of(lease: str) -> str:
    return lease.partition("/")[0]
