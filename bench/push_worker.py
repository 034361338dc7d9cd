"""A worker process under measurement: takes jobs, by push or by polling, and does nothing.

A job's payload may be the time (µs) at which it was about to be enqueued. At its end the process
prints how many jobs it had, and the seconds from those times to their receipt.
"""

from __future__ import annotations

import argparse
import http.client
import json
import signal
import sys
import time
from types import FrameType
from typing import Any

from sharq import Worker
from sharq.worker_job import LeasedJob

_latencies: list[float] = []
_others: list[None] = []


def _note(payload: Any) -> None:
    if isinstance(payload, int):
        _latencies.append(time.time() - payload / 1e6)
    else:
        _others.append(None)


async def _handle(job: LeasedJob) -> None:
    _note(job.payload)


def _push(port: int, queue_type: str) -> None:
    worker = Worker(f"ws://127.0.0.1:{port}/ws/", queue_type, concurrency=75, prefetch=25)
    worker.handler(_handle)
    worker.run()


def _poll(port: int, queue_type: str, every: float) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        while True:
            connection.request("GET", f"/dequeue/{queue_type}/?count=100")
            body = json.loads(connection.getresponse().read())
            for job in body.get("jobs", ()):
                _note(job["payload"])
            for job in body.get("jobs", ()):
                path = f"/finish/{queue_type}/{job['queue_id']}/{job['job_id']}/"
                connection.request("POST", path, json.dumps({"lease": job["lease"]}))
                connection.getresponse().read()
            if not body.get("jobs"):
                time.sleep(every)
    except KeyboardInterrupt:
        return


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.push_worker")
    parser.add_argument("port", type=int)
    parser.add_argument("queue_type")
    parser.add_argument("--poll", type=float, default=0.0)
    given = parser.parse_args()
    if given.poll:
        signal.signal(signal.SIGTERM, _interrupt)
        _poll(given.port, given.queue_type, given.poll)
    else:
        _push(given.port, given.queue_type)
    print(json.dumps({"done": len(_latencies) + len(_others), "latencies": sorted(_latencies)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
