"""A worker process under measurement: takes jobs by push and does nothing.

At its end the process prints how many jobs it had and, with ``--receipts``, when its handler
began with each: queue and time (µs since the epoch, by this machine's clock). With ``--slow`` its
handlers take as many seconds as the payload says, and the worker has its own defaults.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time

from sharq import Worker
from sharq.worker.job import LeasedJob

CONCURRENCY = 75
PREFETCH = 25


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.push_worker")
    parser.add_argument("port", type=int)
    parser.add_argument("queue_type")
    parser.add_argument("--receipts", action="store_true")
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--prefetch", type=int)
    given = parser.parse_args()
    receipts: list[tuple[str, int]] = []
    url = f"ws://127.0.0.1:{given.port}/ws/"
    options = {} if given.slow else {"concurrency": CONCURRENCY, "prefetch": PREFETCH}
    if given.prefetch is not None:
        options["prefetch"] = given.prefetch
    worker = Worker(url, given.queue_type, **options)

    async def note(job: LeasedJob) -> None:
        receipts.append((job.queue_id, time.time_ns() // 1000))
        if given.slow:
            await asyncio.sleep(job.payload)

    async def nothing(_job: LeasedJob) -> None:
        pass

    worker.handler(note if given.receipts else nothing)
    worker.run()
    print(json.dumps({"done": worker.counts["done"], "receipts": receipts}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
