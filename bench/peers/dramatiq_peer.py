"""dramatiq under measurement: ``-m dramatiq_peer COUNT`` enqueues; its own command works."""

import json
import os
import sys
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from redis import Redis

dramatiq.set_broker(RedisBroker(client=Redis(unix_socket_path=os.environ["BENCH_SOCKET"])))


@dramatiq.actor
def handle(payload):
    pass


def main():
    payload = {"to": "+15550100", "text": "Your code is 1234"}
    print(json.dumps({"began": time.time()}), flush=True)
    for _ in range(int(sys.argv[1])):
        handle.send(payload)


if __name__ == "__main__":
    main()
