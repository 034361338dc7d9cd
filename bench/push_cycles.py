"""Job cycles over the push channel: jobs a second, and the calls of the store that they take."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from bench.processes import Stand
from bench.push_stand import connect, disconnect, is_done, worker
from bench.push_worker import PREFETCH
from bench.sending import IN_FRAMES, Sending
from bench.store import PAYLOAD
from sharq.operations.scripts import Scripts

QUEUES = 1_000
_PROBE = 16_000
_LONGEST_LOG = 400_000
_LOGGED_US = 6
_STEPS = ("enqueue", "dequeue", "finish")
_numbers = itertools.count()


class Batches(NamedTuple):
    """Jobs that one call of the store takes on the average, by its kind."""

    enqueue: float
    dequeue: float
    finish: float


def cycles(
    here: Stand,
    jobs: int,
    interval: int,
    prefetch: int = PREFETCH,
    sending: Sending = IN_FRAMES,
) -> float:
    """Jobs a second from the first enqueue until the last has been finished.

    They are enqueued as `sending` says, over `QUEUES` queues with an `interval` in ms; the worker
    has up to `prefetch` jobs ahead.
    """
    queue_type = f"cycles{next(_numbers)}"
    with worker(here, queue_type, "--prefetch", str(prefetch)) as told:
        speed = asyncio.run(_cycles(here, queue_type, jobs, interval, sending))
    if told["done"] < jobs:
        raise RuntimeError(f"The worker had {told['done']} of {jobs} jobs.")
    return speed


def batches(here: Stand) -> Batches:
    """How many jobs a call has that the server sends; by the store's log of calls.

    The log also has the commands that scripts run. Nearly all are quicker than any script, so that
    a threshold of a few µs keeps them out.
    """
    client: Any = here.store.client
    client.config_set("slowlog-max-len", _LONGEST_LOG)
    client.slowlog_reset()
    client.config_set("slowlog-log-slower-than", _LOGGED_US)
    cycles(here, _PROBE, 1)
    client.config_set("slowlog-log-slower-than", -1)
    names = {digest: name for name, digest in Scripts().digests.items()}
    counts: Counter[str] = Counter()
    for entry in client.slowlog_get(-1):
        words = entry["command"].split()
        if words[0].upper() == b"EVALSHA":
            name = names.get(words[1].decode(), "")
            counts.update(step for step in _STEPS if name.startswith(step))
    client.slowlog_reset()
    if any(not counts[step] for step in _STEPS):
        raise RuntimeError(f"The store's log lacks calls: {dict(counts)}.")
    return Batches(*(_PROBE / counts[step] for step in _STEPS))


async def _cycles(
    here: Stand, queue_type: str, jobs: int, interval: int, sending: Sending
) -> float:
    written = frames(queue_type, jobs, lambda _queue: interval, sending.jobs)
    socket = await connect(here)
    loop = asyncio.get_running_loop()
    began = loop.time()
    under_way = 0
    for frame in written:
        socket.write_message(frame)
        under_way += 1
        if under_way == sending.calls:
            await socket.read_message()
            under_way -= 1
    for _ in range(under_way):
        await socket.read_message()
    while not is_done(here, queue_type):
        await asyncio.sleep(0.005)
    elapsed = loop.time() - began
    await disconnect(socket)
    return jobs / elapsed


def frames(
    queue_type: str,
    jobs: int,
    interval: Callable[[int], int],
    size: int,
    queues: int = QUEUES,
) -> list[str]:
    """Frames that enqueue so many jobs, `size` in each, to one of the queues after another.

    `interval` tells that of a queue by its number, in ms.
    """
    payload = json.loads(PAYLOAD)
    numbers = itertools.islice(_numbers, jobs)
    written = []
    while some := list(itertools.islice(numbers, size)):
        listed = [
            {
                "queue_type": queue_type,
                "queue_id": f"queue-{number % queues}",
                "job_id": f"job-{number:032}",
                "interval": interval(number % queues),
                "payload": payload,
            }
            for number in some
        ]
        written.append(json.dumps({"op": "enqueue", "jobs": listed}))
    return written
