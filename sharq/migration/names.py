"""The keys of the original, which have no hash tag of their own."""

from __future__ import annotations

from typing import Final

SWEEP_LOCK: Final = b"sharq-requeue-lock-key"
"""Held by whichever server takes back expired leases; it has no prefix."""


class Names:
    """The keys of a deployment with a `key_prefix`, which may have any characters.

    Names of types, queues and jobs are bytes: some were never valid.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix.encode()
        self.payloads = self._key(b"payload")
        self.intervals = self._key(b"interval")
        self.ready_types = self._key(b"ready", b"queue_type")
        self.active_types = self._key(b"active", b"queue_type")
        # No type has a dot in its name.
        self.receipts = self._key(b".moved")

    def ready(self, kind: bytes) -> bytes:
        """The sorted set of queues by the time of their next job."""
        return self._key(kind)

    def active(self, kind: bytes) -> bytes:
        """The sorted set of leased jobs, `queue:job`, by the end of their leases."""
        return self._key(kind, b"active")

    def jobs(self, kind: bytes, queue: bytes) -> bytes:
        """The list of a queue's waiting jobs."""
        return self._key(kind, queue)

    def requeues(self, kind: bytes, queue: bytes) -> bytes:
        """The hash of the requeues that remain to a queue's jobs."""
        return self._key(kind, queue, b"requeues_remaining")

    def last(self, kind: bytes, queue: bytes) -> bytes:
        """The time of a queue's last dispatch."""
        return self._key(kind, queue, b"time")

    def counters(self, minute: int) -> tuple[bytes, bytes]:
        """The counters of what was enqueued and dequeued in a minute (ms)."""
        text = b"%d" % minute
        return self._key(b"enqueue_counter", text), self._key(b"dequeue_counter", text)

    def _key(self, *words: bytes) -> bytes:
        return b":".join((self._prefix, *words))
