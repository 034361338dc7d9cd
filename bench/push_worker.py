"""A worker process under measurement: takes jobs by push and does nothing.

At its end the process prints how many jobs it had and, with ``--receipts``, when its handler
began with each: queue and time (µs since the epoch, by this machine's clock).
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from sharq import Worker
from sharq.worker_job import LeasedJob

CONCURRENCY = 75
PREFETCH = 25


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.push_worker")
    parser.add_argument("port", type=int)
    parser.add_argument("queue_type")
    parser.add_argument("--receipts", action="store_true")
    given = parser.parse_args()
    receipts: list[tuple[str, int]] = []
    url = f"ws://127.0.0.1:{given.port}/ws/"
    worker = Worker(url, given.queue_type, concurrency=CONCURRENCY, prefetch=PREFETCH)

    async def note(job: LeasedJob) -> None:
        receipts.append((job.queue_id, time.time_ns() // 1000))

    async def nothing(_job: LeasedJob) -> None:
        pass

    worker.handler(note if given.receipts else nothing)
    worker.run()
    print(json.dumps({"done": worker.counts["done"], "receipts": receipts}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
