"""beanstalkd under measurement: ``-m beanstalkd_peer produce|work SOCKET [COUNT]``."""

import json
import sys
import time

import greenstalk


def produce(client, count):
    payload = json.dumps({"to": "+15550100", "text": "Your code is 1234"})
    print(json.dumps({"began": time.time()}), flush=True)
    for _ in range(count):
        client.put(payload)


def work(client):
    while True:
        job = client.reserve()
        json.loads(job.body)
        client.delete(job)


def main():
    with greenstalk.Client(sys.argv[2]) as client:
        if sys.argv[1] == "produce":
            produce(client, int(sys.argv[3]))
        else:
            work(client)


if __name__ == "__main__":
    main()
