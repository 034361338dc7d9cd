"""Servers that wait for jobs, without a server: their calls, and whom the store wakes."""

from __future__ import annotations

import redis

from sharq._fastpath import Batch
from sharq.identifiers import check_lease
from sharq.results import Lease, NewJob, Offer
from sharq.settings.options import QueueSettings
from tests.support.direct import ClockedQueue, DirectStore
from tests.support.stores import PrivateStore


class Servers:
    """Servers that wait for the type `t`, by a clock in the test's hand."""

    def __init__(self, store: PrivateStore) -> None:
        store.client.flushall()
        self.direct = DirectStore(store.socket_path)
        self.queue = ClockedQueue(self.direct, settings=QueueSettings(job_expire_interval=60_000))
        self.operations = self.queue.operations
        self.listener = redis.Redis(unix_socket_path=store.socket_path).pubsub()
        self.seq = 0
        self.jobs = 0

    def listen(self, *names: str) -> None:
        for name in names:
            self.listener.subscribe(self.operations.channel(name))
            while self.listener.get_message(timeout=2)["type"] != "subscribe":
                pass

    def woken(self) -> list[str]:
        """The servers that were woken since the last look."""
        # A message of our own comes behind all that were published before.
        self.listener.subscribe("mark")
        names = []
        while True:
            message = self.listener.get_message(timeout=2)
            assert message is not None
            if message["type"] == "message":
                assert self.operations.woken_type(message["data"]) == "t"
                names.append(message["channel"].decode().rpartition(":")[2])
            elif message["channel"] == b"mark" and message["type"] == "subscribe":
                break
        self.listener.unsubscribe("mark")
        while self.listener.get_message(timeout=2)["type"] != "unsubscribe":
            pass
        return names

    def ask(self, name: str, count: int = 1, more: bool = False) -> Batch:
        self.seq += 1
        return self.queue.run(self.operations.dispatch("t", count, name, self.seq, None, more))

    def hand_on(self, name: str, offered: int = 0) -> bool:
        return self.queue.run(self.operations.hand_on("t", name, offered))

    def offer(self, name: str, wanted: int = 1, offered: int = 0) -> Offer:
        return self.queue.run(self.operations.offer("t", name, wanted, offered, 250))

    def put(self, queue_id: str = "q", interval: int = 0, job_id: str | None = None) -> None:
        self.jobs += 1
        job = NewJob("t", queue_id, job_id or f"j{self.jobs}", b"1", interval, -1)
        self.queue.run(self.operations.enqueue("t", [job]))

    def take(self, count: int = 1) -> list[Lease]:
        batch = self.queue.run(self.operations.dequeue("t", count))
        return [check_lease(lease) for lease in batch.leases(0, len(batch))]

    def close(self) -> None:
        self.listener.close()
        self.direct.close()
