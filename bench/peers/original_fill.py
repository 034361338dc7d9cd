"""Fill queues of the original by its own script: CONFIG TYPE QUEUES DEPTH INTERVAL."""

import configparser
import sys
import time
import uuid

if not hasattr(configparser, "SafeConfigParser"):
    configparser.SafeConfigParser = configparser.ConfigParser

from sharq import SharQ
from sharq.utils import serialize_payload

PIPELINE = 1_000


def main():
    config, queue_type, queues, depth, interval = sys.argv[1:]
    sq = SharQ(config)
    payload = serialize_payload({"to": "+15550100", "text": "Your code is 1234"})
    numbers = [number for _ in range(int(depth)) for number in range(int(queues))]
    for at in range(0, len(numbers), PIPELINE):
        pipe = sq.redis_client().pipeline(transaction=False)
        now = str(int(time.time() * 1000))
        for number in numbers[at : at + PIPELINE]:
            args = [now, f"queue-{number}", str(uuid.uuid4()), payload, interval, -1]
            sq._lua_enqueue(keys=["sharq_server", queue_type], args=args, client=pipe)
        pipe.execute()


if __name__ == "__main__":
    main()
