"""The load generator: keep-alive connections with one request under way on each.

A process of its own, so that it takes nothing from the server but the processor: it reads what
to do as one JSON object from its standard input and writes what came of it to its output. It
speaks just enough HTTP to be quick: requests are bytes made ahead, and of an answer it looks at
the status, the length and, where the next request depends on it, the body.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass

_LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)\r\n", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Order:
    """What to do: `kind` is a key of `KINDS`.

    Jobs go to the queues ``queue-0`` to ``queue-<queues - 1>`` of `queue_type` with `interval` ms.
    """

    kind: str
    port: int
    seconds: int
    queue_type: str = "bench"
    queues: int = 1_000
    interval: int = 1
    connections: int = 32


@dataclass(frozen=True, slots=True)
class Outcome:
    """`count` answers as wanted, `answers` a second; half and 99 % took at most `p50_ms`, `p99_ms`.

    `busy` is the share of a processor that the load took itself. `others` counts the answers that
    were not as wanted, by their status.
    """

    count: int
    answers: float
    p50_ms: float
    p99_ms: float
    busy: float
    others: dict[str, int]


class Answers:
    """Counts what comes back."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Count from now on."""
        self.wanted = 0
        self.others: Counter[str] = Counter()
        self.took: list[float] = []
        self._began = time.perf_counter()
        self._processor = time.process_time()

    def outcome(self) -> Outcome:
        elapsed = time.perf_counter() - self._began
        busy = (time.process_time() - self._processor) / elapsed
        took = sorted(self.took) or [0.0]
        p50, p99 = (1000 * took[int(share * len(took))] for share in (0.5, 0.99))
        return Outcome(self.wanted, self.wanted / elapsed, p50, p99, busy, dict(self.others))


Talk = Generator[bytes, bytes, None]
"""What a connection says: it yields requests and is sent the answer to each, head and body."""


def hello(_order: Order) -> Talk:
    """GET / for ever."""
    while True:
        yield b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def enqueue(order: Order) -> Talk:
    """Enqueue jobs with ids of their own, to one queue after another."""
    unique = uuid.uuid4().hex[:24]
    head = b"POST /enqueue/%s/queue-%d/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n"
    payload = b'{"to":"+15550100","text":"Your code is 1234"}'
    body = b'{"job_id":"%s-%011d","interval":%d,"payload":%s}'
    length = len(body % (unique.encode(), 0, order.interval, payload))
    heads = [head % (order.queue_type.encode(), at, length) for at in range(order.queues)]
    for job in itertools.count():
        number = next(_numbers) % order.queues
        yield heads[number] + body % (unique.encode(), job, order.interval, payload)


def cycle(order: Order) -> Talk:
    """Dequeue a job and finish it with its lease, if it has one, for ever."""
    dequeue = f"GET /dequeue/{order.queue_type}/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    while True:
        answer = yield dequeue
        if answer[9:12] != b"200":
            continue
        job = json.loads(answer[answer.index(_HEAD_END) :])
        body = json.dumps({"lease": job["lease"]}) if "lease" in job else ""
        path = f"/finish/{order.queue_type}/{job['queue_id']}/{job['job_id']}/"
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
        yield (head + body).encode()


KINDS: dict[str, Callable[[Order], Talk]] = {"hello": hello, "enqueue": enqueue, "cycle": cycle}

_numbers = itertools.count()


class Connection(asyncio.Protocol):
    """Sends a request, waits for the whole answer, sends the next."""

    def __init__(self, talk: Talk, answers: Answers, lost: Callable[[], None]) -> None:
        self._talk = talk
        self._answers = answers
        self._lost = lost
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._asked = time.perf_counter()
        transport.write(next(self._talk))

    def data_received(self, data: bytes) -> None:
        answer = self._buffer + data
        head = answer.find(_HEAD_END)
        length = _LENGTH.search(answer, 0, head + 2)
        if head < 0 or length is None or len(answer) < head + 4 + int(length[1]):
            self._buffer = answer
            return
        self._buffer = b""
        now = time.perf_counter()
        self._answers.took.append(now - self._asked)
        if answer[9:10] == b"2":
            self._answers.wanted += 1
        else:
            self._answers.others[answer[9:12].decode()] += 1
        request = self._talk.send(answer)
        self._asked = time.perf_counter()
        self._transport.write(request)

    def connection_lost(self, error: Exception | None) -> None:
        self._lost()


async def drive(order: Order) -> Outcome:
    """Load the server as ordered. Raises ConnectionError where it closes a connection."""
    loop = asyncio.get_running_loop()
    answers = Answers()
    lost = asyncio.Event()
    transports = []
    answers.begin()
    for _ in range(order.connections):
        transport, _ = await loop.create_connection(
            lambda: Connection(KINDS[order.kind](order), answers, lost.set), "127.0.0.1", order.port
        )
        transports.append(transport)
    await asyncio.sleep(order.seconds)
    outcome = answers.outcome()
    if lost.is_set():
        raise ConnectionError("The server closed a connection.")
    for transport in transports:
        transport.abort()
    return outcome


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(drive(Order(**json.load(sys.stdin)))))))
