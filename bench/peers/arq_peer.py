"""arq under measurement: ``-m arq_peer produce|work SOCKET [COUNT]``."""

import asyncio
import json
import sys
import time

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker

FRAME = 32


async def handle(context, payload):
    pass


async def produce(settings, count):
    pool = await create_pool(settings)
    payload = {"to": "+15550100", "text": "Your code is 1234"}
    print(json.dumps({"began": time.time()}), flush=True)
    for at in range(0, count, FRAME):
        jobs = [pool.enqueue_job("handle", payload) for _ in range(min(FRAME, count - at))]
        await asyncio.gather(*jobs)
    await pool.aclose()


def main():
    settings = RedisSettings(unix_socket_path=sys.argv[2])
    if sys.argv[1] == "produce":
        asyncio.run(produce(settings, int(sys.argv[3])))
        return
    asyncio.set_event_loop(asyncio.new_event_loop())
    worker = Worker([handle], redis_settings=settings, max_jobs=100, poll_delay=0.01, keep_result=0)
    worker.run()


if __name__ == "__main__":
    main()
