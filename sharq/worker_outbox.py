"""What a worker still has to tell the server of its leases, until that has been answered. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from sharq.worker_frames import chunks, encode

_FINAL: Final = frozenset(
    {"success", "already_finished", "not_active", "stale_lease", "invalid_argument"}
)


class End(NamedTuple):
    """How a lease is to end: with a finish, or with a release after `delay` ms."""

    finish: bool
    delay: int = 0
    count_requeue: bool = True


class Answered(NamedTuple):
    """A lease whose end has been answered; `lost` where it had ended before."""

    lease: str
    end: End
    lost: bool


class Outbox:
    """Ends of leases: each is sent once, and again where its answer cannot come any more."""

    def __init__(self) -> None:
        self._ends: dict[str, End] = {}
        self._unsent: dict[str, None] = {}
        self._sent: dict[int, list[str]] = {}
        self._repeated: set[str] = set()

    def __len__(self) -> int:
        return len(self._ends)

    def __contains__(self, lease: str) -> bool:
        return lease in self._ends

    def add(self, lease: str, end: End) -> None:
        """Have a lease ended."""
        self._ends[lease] = end
        self._unsent[lease] = None

    def drop(self, lease: str) -> None:
        """The lease is no more: there is nothing to tell of it."""
        self._ends.pop(lease, None)
        self._unsent.pop(lease, None)
        self._repeated.discard(lease)

    def again(self, frame_ids: Iterable[int], *, done: bool = True) -> None:
        """What was sent in these frames has to be sent again; `done`: it may have been done."""
        for frame_id in frame_ids:
            for lease in self._sent.pop(frame_id, ()):
                if lease in self._ends:
                    self._unsent[lease] = None
                    if done:
                        self._repeated.add(lease)

    def frames(self, next_id: Iterator[int]) -> list[tuple[int, bytes]]:
        """The frames that tell what is not sent yet, each with its id: one for all finishes."""
        if not self._unsent:
            return []
        alike: dict[End, list[str]] = {}
        for lease in self._unsent:
            alike.setdefault(self._ends[lease], []).append(lease)
        self._unsent.clear()
        frames = []
        for end, leases in alike.items():
            for part in chunks(leases):
                frame: dict[str, Any] = {"op": "finish" if end.finish else "release"}
                frame_id = frame["id"] = next(next_id)
                frame["leases"] = part
                if not end.finish:
                    frame |= {"delay": end.delay, "count_requeue": end.count_requeue}
                self._sent[frame_id] = list(part)
                frames.append((frame_id, encode(frame)))
        return frames

    def answer(self, frame_id: int, results: list[Any]) -> tuple[list[Answered], int]:
        """Take the results of a frame: what is over, and how many have to be sent again."""
        leases = self._sent.get(frame_id, [])
        if len(leases) != len(results):
            # What it says is not known, so that it says nothing.
            self.again([frame_id])
            return [], len(leases)
        self._sent.pop(frame_id, None)
        over: list[Answered] = []
        failed = 0
        for lease, result in zip(leases, results, strict=True):
            end = self._ends.get(lease)
            if end is None:
                continue
            if result not in _FINAL:
                self._unsent[lease] = None
                self._repeated.add(lease)
                failed += 1
                continue
            over.append(Answered(lease, end, self._is_lost(lease, end, result)))
            self.drop(lease)
        return over, failed

    def has(self, frame_id: int | None) -> bool:
        """Whether a frame was sent from here and is not answered."""
        return frame_id in self._sent

    def _is_lost(self, lease: str, end: End, result: str) -> bool:
        if result == "success":
            return False
        if end.finish:
            return result != "already_finished"
        # A second release finds nothing where the first one, unanswered, was carried out.
        return lease not in self._repeated
