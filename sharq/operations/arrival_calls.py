"""The operations of a migration: jobs that arrive from another store. Bytes and values, no I/O."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sharq.operations.call import Call, no_promise
from sharq.operations.watch_calls import WatchOperations

TAIL: Final = "tail"
HEAD: Final = "head"

LOOK: Final = "?"
"""In the place of the token of a chunk: it stays as it is."""


class Arriving(NamedTuple):
    """A job from another store; `payload` is strict JSON text.

    `wait` is in how many ms the next job of its queue may go, `interval` ms at most. `where` is the
    `TAIL` or the `HEAD` of the queue, or for how many ms the job is leased, in digits.
    """

    queue_id: str
    job_id: str
    payload: bytes
    interval: int
    requeues_remaining: int
    wait: int
    where: str


class StagedChunk(NamedTuple):
    """A chunk of jobs on its way, in a form of the caller's.

    Empty are the `token` of none, and the `statuses` until the jobs are in their queues.
    """

    token: str
    text: bytes
    statuses: str


class ArrivalOperations(WatchOperations):
    """A part of `Operations`."""

    def chunk(
        self, queue_type: str, former: str, token: str = "", text: bytes = b""
    ) -> Call[StagedChunk]:
        """Put a chunk in the place of the `former` one, or with `LOOK` show which one is there.

        An empty `token` removes it. The answer is the one that was there; if it is neither the
        `former` nor, after a repetition, the new one, nothing has changed.
        """
        packed = self._codec.chunk(queue_type, former, token, text)
        return Call(packed, self._keys.tag(queue_type), _staged, True)

    def original_hashes(self) -> list[Call[bool]]:
        """Whether the original's two hashes are there, with the same prefix as ours."""
        keys = [f"{self._keys.prefix}:{name}".encode() for name in ("payload", "interval")]
        packed = [b"*2\r\n$4\r\nTYPE\r\n$%d\r\n%b\r\n" % (len(key), key) for key in keys]
        return [
            Call(words, key, _is_hash, True, no_promise, optional=True)
            for words, key in zip(packed, keys, strict=True)
        ]

    def take_over(self, queue_type: str, token: str, jobs: list[Arriving]) -> Call[list[str]]:
        """Put up to a hundred jobs of a chunk into their queues, once; a word for each.

        It is QUEUED, DUPLICATE, CONFLICT or COPIED of `sharq.results`; no words mean that another
        chunk is there. An empty `token` is for jobs of no chunk: they are known by their marks.
        """
        packed = self._codec.take_over(queue_type, token, [*jobs])
        return Call(packed, self._keys.tag(queue_type), _words, True)


def _staged(reply: Any) -> StagedChunk:
    token, text, statuses = reply
    return StagedChunk(token.decode(), text, statuses.decode())


def _is_hash(reply: Any) -> bool:
    return bool(reply == b"hash")


def _words(reply: Any) -> list[str]:
    return [word.decode() for word in reply]
