"""huey under measurement: `main` enqueues; its own command runs the consumer.

A task is known by the name of its module, so this one has to be imported, not run."""

import json
import os
import sys
import time

from huey import RedisHuey
from redis import ConnectionPool, UnixDomainSocketConnection

pool = ConnectionPool(connection_class=UnixDomainSocketConnection, path=os.environ["BENCH_SOCKET"])
huey = RedisHuey("bench", connection_pool=pool, results=False)


@huey.task()
def handle(payload):
    pass


def main():
    payload = {"to": "+15550100", "text": "Your code is 1234"}
    print(json.dumps({"began": time.time()}), flush=True)
    for _ in range(int(sys.argv[1])):
        handle(payload)
