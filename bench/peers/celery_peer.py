"""Celery under measurement: ``-m celery_peer COUNT`` enqueues; its own command runs the worker."""

import json
import os
import sys
import time

from celery import Celery

app = Celery("celery_peer", broker=f"redis+socket://{os.environ['BENCH_SOCKET']}")
app.conf.update(task_ignore_result=True, task_acks_late=True, worker_prefetch_multiplier=50)


@app.task(name="celery_peer.handle")
def handle(payload):
    pass


def main():
    payload = {"to": "+15550100", "text": "Your code is 1234"}
    print(json.dumps({"began": time.time()}), flush=True)
    for _ in range(int(sys.argv[1])):
        handle.delay(payload)


if __name__ == "__main__":
    main()
