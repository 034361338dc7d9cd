"""A worker over the push channel: prints each job, and takes its time over it.

push_worker.py [URL [TYPE]]

A payload may say how long that is (`work_ms`), or that the job fails (`fail`). Where the server
asks for a token, SHARQ_TOKEN has it.
"""

from __future__ import annotations

import asyncio
import os
import sys

from sharq import LeasedJob, Worker

url, queue_type, *_ = [*sys.argv[1:], *("ws://127.0.0.1:8080/ws/", "sms")[len(sys.argv) - 1 :]]
worker = Worker(url, queue_type, concurrency=32, token=os.environ.get("SHARQ_TOKEN"))


@worker.handler
async def handle(job: LeasedJob) -> None:
    print(f"{job.queue_id} {job.job_id}: {job.payload}", flush=True)
    wish = job.payload if isinstance(job.payload, dict) else {}
    await asyncio.sleep(wish.get("work_ms", 100) / 1000)
    if wish.get("fail"):
        raise ValueError("its payload asks for it")


if __name__ == "__main__":
    sys.exit(worker.run())
