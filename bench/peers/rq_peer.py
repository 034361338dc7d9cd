"""RQ under measurement: ``-m rq_peer SOCKET COUNT`` enqueues; its own command runs the workers."""

import json
import sys
import time

from redis import Redis
from rq import Queue

FRAME = 32


def handle(payload):
    pass


def main():
    queue = Queue("bench", connection=Redis(unix_socket_path=sys.argv[1]))
    payload = {"to": "+15550100", "text": "Your code is 1234"}
    print(json.dumps({"began": time.time()}), flush=True)
    for at in range(0, int(sys.argv[2]), FRAME):
        size = min(FRAME, int(sys.argv[2]) - at)
        queue.enqueue_many(
            [Queue.prepare_data("rq_peer.handle", (payload,), result_ttl=0) for _ in range(size)]
        )


if __name__ == "__main__":
    main()
