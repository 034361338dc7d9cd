"""What a worker still has to tell the server of its leases, until that has been answered. Pure."""

from __future__ import annotations

from collections.abc import Iterator
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
    """Ends of leases: each is sent once on a connection, and again on the next one if need be."""

    def __init__(self) -> None:
        self._ends: dict[str, End] = {}
        self._unsent: dict[str, None] = {}
        self._sent: dict[int, list[str]] = {}

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

    def again(self, frame_id: int | None = None) -> None:
        """What was sent in a frame, or at all, has to be sent again."""
        frames = list(self._sent) if frame_id is None else [frame_id]
        for each in frames:
            for lease in self._sent.pop(each, ()):
                if lease in self._ends:
                    self._unsent[lease] = None

    def frames(self, next_id: Iterator[int]) -> list[bytes]:
        """The frames that tell what is not sent yet: one for all finishes, mostly."""
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
                frames.append(encode(frame))
        return frames

    def answer(self, frame_id: int | None, results: list[Any]) -> tuple[list[Answered], int]:
        """Take the results of a frame: what is over, and how many have to be sent again."""
        leases = self._sent.pop(frame_id, None) if frame_id is not None else None
        if leases is None or len(leases) != len(results):
            return [], 0
        over: list[Answered] = []
        failed = 0
        for lease, result in zip(leases, results, strict=True):
            end = self._ends.get(lease)
            if end is None:
                continue
            if result not in _FINAL:
                self._unsent[lease] = None
                failed += 1
                continue
            del self._ends[lease]
            lost = result != "success" and not (end.finish and result == "already_finished")
            over.append(Answered(lease, end, lost))
        return over, failed

    def has(self, frame_id: int | None) -> bool:
        """Whether a frame was sent from here and is not answered."""
        return frame_id in self._sent
