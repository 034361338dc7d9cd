"""A producer: puts messages into a tenant's queue, from which workers get one each half second.

    python enqueue.py [URL] [QUEUE_TYPE] [QUEUE_ID]

It needs nothing but Python; polling_worker.py is the other end. Where the server asks for a token,
SHARQ_TOKEN has it.
"""

import argparse
import json
import os
import urllib.request
import uuid
from typing import Any

INTERVAL = 500
"""Milliseconds between two jobs of the queue, at least."""

TOKEN = os.environ.get("SHARQ_TOKEN")
CREDENTIALS = {"Authorization": f"Bearer {TOKEN}"} if TOKEN else {}


def enqueue(url: str, queue_type: str, queue_id: str, payload: Any) -> str:
    """Put a job into a queue, which its first job creates; returns its job_id.

    With the same job_id and payload a request can be made again after a failure: as long as the
    job waits or is worked on, it is not taken twice.
    """
    job_id = str(uuid.uuid4())
    job = {"job_id": job_id, "interval": INTERVAL, "payload": payload}
    request = urllib.request.Request(
        f"{url}/enqueue/{queue_type}/{queue_id}/",
        json.dumps(job).encode(),
        {"Content-Type": "application/json"} | CREDENTIALS,
    )
    with urllib.request.urlopen(request, timeout=30):
        return job_id


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Put five messages into a queue.")
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8080")
    parser.add_argument("queue_type", nargs="?", default="sms")
    parser.add_argument("queue_id", nargs="?", default="tenant-1")
    given = parser.parse_args()
    for number in range(1, 6):
        payload = {"to": "+15550100", "text": f"Message {number}"}
        print(enqueue(given.url.rstrip("/"), given.queue_type, given.queue_id, payload))
