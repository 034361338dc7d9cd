"""Producers and workers of the original, for its own interpreter: CONFIG FILE.

The names of the jobs that it has finished go to FILE as JSON.
"""

import configparser
import json
import sys
import time

if not hasattr(configparser, "SafeConfigParser"):
    configparser.SafeConfigParser = configparser.ConfigParser

from sharq import SharQ

JOBS = 1500


def main(config, file):
    sq = SharQ(config)
    done = []
    for at in range(JOBS):
        kind, queue = ("sms", "mail")[at % 3 == 0], f"q{at % 13}"
        sq.enqueue({"at": at}, (0, 1, 50)[at % 3], f"job-{at}", queue, kind, at % 3 - 1)
        if at % 5 == 0:
            job = sq.dequeue("sms")
            if job["status"] == "success" and at % 10 == 0:
                names = job["job_id"], job["queue_id"], "sms"
                if sq.finish(*names)["status"] == "success":
                    done.append(job["job_id"])
        if at % 50 == 0:
            sq.requeue()
            time.sleep(0.02)
    with open(file, "w") as out:
        json.dump(done, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
