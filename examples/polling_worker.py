"""A worker that polls for the jobs of one queue type and processes them one after another.

    python polling_worker.py [URL] [QUEUE_TYPE]

It needs nothing but Python. URL is where the server is (or SHARQ_URL, or http://127.0.0.1:8080),
QUEUE_TYPE is what to work on (or SHARQ_QUEUE_TYPE, or sms). Where the server asks for a token,
SHARQ_TOKEN has it.
"""

import argparse
import json
import os
import sys
import time
import traceback
import urllib.error
import urllib.request
from contextlib import suppress
from typing import Any

AT_MOST = 1.0
"""Seconds for which it sleeps at most: a job of another queue may come at any time."""


def process(job: dict[str, Any]) -> None:
    """The work itself. Put yours here."""
    print(job["queue_id"], job["payload"], flush=True)


def work(url: str, queue_type: str) -> None:
    """Dequeue and process jobs, without end: finish each, or tell why it has failed."""
    while True:
        try:
            # A job of the queue type, from any of its ready queues.
            # A POST: proxies may repeat a GET, and the second one would lease another job.
            status, answer, retry_after = call("POST", f"{url}/dequeue/{queue_type}/")
            if status == 200:
                try:
                    process(answer)
                except Exception as error:
                    fail(url, queue_type, answer, error)
                else:
                    finish(url, queue_type, answer)
            elif answer.get("code") == "nothing_ready":  # every queue is empty, or not ready yet
                ready_in = answer.get("ready_in")  # when the next job is due, in ms
                time.sleep(AT_MOST if ready_in is None else min(ready_in / 1000, AT_MOST))
            elif retry_after is not None:  # the server or its store is busy, or away
                print(f"Something went wrong: {answer['message']}", file=sys.stderr)
                time.sleep(retry_after)
            else:
                raise RuntimeError(answer["message"])
        except Exception as error:
            # A job that was not finished goes back to its queue when its lease runs out.
            print(f"Something went wrong: {error!r}", file=sys.stderr)
            time.sleep(5)


def finish(url: str, queue_type: str, job: dict[str, Any]) -> None:
    """Mark a job as processed.

    The lease tells whose it is: if it ran out, the job is another worker's by now, and stays so.
    """
    end("finish", url, queue_type, job, {"lease": job["lease"]})


def fail(url: str, queue_type: str, job: dict[str, Any], error: Exception) -> None:
    """Give a job back that has failed: it comes again later, as often as its requeue limit allows.

    What has failed for good is at /dead/<queue_type>/, with its error.
    """
    print(f"{job['job_id']} has failed: {error!r}", file=sys.stderr)
    trace = "".join(traceback.format_exception(error))
    told = {"type": type(error).__name__, "message": str(error), "trace": trace}
    end("fail", url, queue_type, job, {"lease": job["lease"], "error": told})


def end(how: str, url: str, queue_type: str, job: dict[str, Any], body: dict[str, Any]) -> None:
    """End the lease of a job."""
    path = f"{how}/{queue_type}/{job['queue_id']}/{job['job_id']}"
    status, answer, _ = call("POST", f"{url}/{path}/", body)
    if status != 200:
        raise RuntimeError(answer["message"])


def call(
    method: str, url: str, body: dict[str, Any] | None = None
) -> tuple[int, dict[str, Any], int | None]:
    """Make a request: the status, the body and the Retry-After (s) of the answer."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    if token := os.environ.get("SHARQ_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response), None
    except urllib.error.HTTPError as error:
        with error:
            retry_after = error.headers.get("Retry-After", "")
            return error.code, json.load(error), int(retry_after) if retry_after.isdigit() else None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Work on the jobs of a queue type.")
    url = os.environ.get("SHARQ_URL", "http://127.0.0.1:8080")
    parser.add_argument("url", nargs="?", default=url)
    parser.add_argument("queue_type", nargs="?", default=os.environ.get("SHARQ_QUEUE_TYPE", "sms"))
    given = parser.parse_args()
    with suppress(KeyboardInterrupt):
        work(given.url.rstrip("/"), given.queue_type)
