"""Makes `fixtures/original.json` by the original's own code: a dump of a store that it has used.

    pip install --target /tmp/original msgpack
    pip install --target /tmp/original --no-deps sharq==1.3.0
    python -m tests.migration.make_fixtures /tmp/original

Its pins do not install today, so it runs on the redis-py of this environment; the module of the
cluster, which it imports, is left empty.
"""

from __future__ import annotations

import configparser
import json
import sys
import tempfile
import time
import types
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis

from tests.migration.old import FIXTURES, LEASE, PREFIX
from tests.support.stores import PrivateStore

_CONFIG = """\
[sharq]
job_expire_interval : {lease}
job_requeue_interval : 1000
default_job_requeue_limit : -1
[redis]
db : 0
key_prefix : {prefix}
conn_type : unix_sock
unix_socket_path : {socket}
"""


def original(folder: str, store: PrivateStore) -> Any:
    """The original's class on a store."""
    for name in [name for name in sys.modules if name.split(".")[0] == "sharq"]:
        del sys.modules[name]
    sys.path.insert(0, folder)
    cluster: Any = types.ModuleType("rediscluster")
    cluster.RedisCluster = None
    sys.modules["rediscluster"] = cluster
    parsers: Any = configparser
    parsers.SafeConfigParser = configparser.ConfigParser
    from sharq.queue import SharQ  # type: ignore[attr-defined]

    assert sys.modules["sharq.queue"].__file__.startswith(folder), "it is our own"
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(_CONFIG.format(lease=LEASE, prefix=PREFIX, socket=store.socket_path))
        file.flush()
        return SharQ(file.name)


def use(sharq: Any) -> None:
    """What it is asked for, in an order in which it does not lose anything."""
    for at in range(250):
        job = {"to": f"+1555{at:04}", "text": "Grüße", "n": 2**63 + at, "nested": [1.5, None, {}]}
        sharq.enqueue(job, 1000, f"job-{at}", f"user-{at % 3}", "sms", at % 4 - 1)
    for at in range(5):
        sharq.enqueue(at, 0, f"mail-{at}", "free", "mail")
    sharq.enqueue({"z": 1, "a": 2}, 60_000, "later", "slow", "mail")
    for _ in range(3):
        sharq.dequeue("sms")
    for _ in range(2):
        sharq.dequeue("mail")
    sharq.interval(2000, "user-1", "sms")
    # A job that was finished, a queue that was cleared and has left its payloads behind.
    sharq.finish("mail-0", "free", "mail")
    sharq.enqueue("gone", 10, "gone-1", "cleared", "sms")
    sharq.clear_queue("sms", "cleared")
    # Its own words for keys.
    sharq.enqueue("active", 5, "j", "queue", "active")
    sharq.enqueue("ready", 5, "j", "queue", "ready")
    for kind in ("payload", "interval"):
        # It fails on its own key when the job is in the list already.
        with suppress(redis.ResponseError):
            sharq.enqueue(kind, 5, "j", "queue", kind)


def dumped(client: Any) -> dict[str, Any]:
    """All keys: kind and value, values of hashes and strings in hexadecimal."""
    keys: dict[str, Any] = {}
    for name in sorted(client.scan_iter(count=1000)):
        key, kind = name.decode(), client.type(name).decode()
        if kind == "list":
            value: Any = [item.decode() for item in client.lrange(key, 0, -1)]
        elif kind == "set":
            value = sorted(item.decode() for item in client.smembers(key))
        elif kind == "zset":
            value = {item.decode(): at for item, at in client.zrange(key, 0, -1, withscores=True)}
        elif kind == "hash":
            value = {field.decode(): text.hex() for field, text in client.hgetall(key).items()}
        else:
            value = client.get(key).hex()
        keys[key] = [kind, value]
    return keys


def main(folder: str) -> None:
    with PrivateStore() as store:
        use(original(folder, store))
        dump = {"made_at": int(time.time() * 1000), "keys": dumped(store.client)}
    FIXTURES.mkdir(exist_ok=True)
    Path(FIXTURES, "original.json").write_text(json.dumps(dump, indent=0) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
