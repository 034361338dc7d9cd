"""Calls of the library one at a time: ``library_calls.py CONFIG JOBS``; by ours or the original.

Both have the same classic interface. Prints the seconds that each kind of call took in all.
"""

import configparser
import json
import sys
import time
import uuid

if not hasattr(configparser, "SafeConfigParser"):
    configparser.SafeConfigParser = configparser.ConfigParser  # type: ignore[attr-defined]

from sharq import SharQ

QUEUES = 1_000
WARM_UP = 200


def cycle(sq, count):
    payload = {"to": "+15550100", "text": "Your code is 1234"}
    ids = [str(uuid.uuid4()) for _ in range(count)]
    times = [time.perf_counter()]
    for at, job_id in enumerate(ids):
        sq.enqueue(
            payload=payload,
            interval=1,
            job_id=job_id,
            queue_id=f"queue-{at % QUEUES}",
            queue_type="bench",
        )
    times.append(time.perf_counter())
    jobs = [sq.dequeue(queue_type="bench") for _ in range(count)]
    times.append(time.perf_counter())
    for job in jobs:
        sq.finish(queue_type="bench", queue_id=job["queue_id"], job_id=job["job_id"])
    times.append(time.perf_counter())
    return [after - before for before, after in zip(times, times[1:])]  # noqa: B905, RUF007


def main():
    sq = SharQ(sys.argv[1])
    cycle(sq, WARM_UP)
    print(json.dumps(cycle(sq, int(sys.argv[2]))))


if __name__ == "__main__":
    main()
