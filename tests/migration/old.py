"""The original at work: its keys as its scripts write them, and dumps of its stores."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import redis

from tests.support.stores import PrivateStore

FIXTURES: Final = Path(__file__).parent / "fixtures"
PREFIX: Final = "sharq_server"
LEASE: Final = 120_000

# What its enqueue, its dequeue and its finish do, without the counters of a queue.
_ENQUEUE: Final = """
local p, kind, now, queue, job = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local list, ready = p .. ':' .. kind .. ':' .. queue, p .. ':' .. kind
redis.call('RPUSH', list, job)
redis.call('HSET', p .. ':payload', kind .. ':' .. queue .. ':' .. job, ARGV[4])
redis.call('HSET', p .. ':interval', kind .. ':' .. queue, ARGV[5])
redis.call('HSET', list .. ':requeues_remaining', job, ARGV[6])
if not redis.call('ZRANK', ready, queue) then
  redis.call('SADD', p .. ':ready:queue_type', kind)
  local last = redis.call('GET', list .. ':time')
  redis.call('ZADD', ready, last and ARGV[5] + last or now, queue)
end
redis.call('INCR', p .. ':enqueue_counter:' .. math.floor(now / 60000) * 60000)
"""
_DEQUEUE: Final = """
local p, kind, now, lease = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local ready = p .. ':' .. kind
local queue = redis.call('ZRANGEBYSCORE', ready, 0, now)[1]
if not queue then
  return {}
end
local list, field = ready .. ':' .. queue, kind .. ':' .. queue
local job = redis.call('LPOP', list)
redis.call('PSETEX', list .. ':time', lease, now)
if redis.call('LLEN', list) == 0 then
  redis.call('ZREM', ready, queue)
else
  redis.call('ZADD', ready, now + (redis.call('HGET', p .. ':interval', field) or 0), queue)
end
redis.call('ZADD', ready .. ':active', now + lease, queue .. ':' .. job)
redis.call('SADD', p .. ':active:queue_type', kind)
redis.call('INCR', p .. ':dequeue_counter:' .. math.floor(now / 60000) * 60000)
return {queue, job, redis.call('HGET', p .. ':payload', field .. ':' .. job)}
"""
_FINISH: Final = """
local p, kind, queue, job = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
if redis.call('ZREM', p .. ':' .. kind .. ':active', queue .. ':' .. job) ~= 1 then
  return 0
end
redis.call('HDEL', p .. ':payload', kind .. ':' .. queue .. ':' .. job)
if redis.call('EXISTS', p .. ':' .. kind .. ':' .. queue) ~= 1 then
  redis.call('HDEL', p .. ':interval', kind .. ':' .. queue)
end
redis.call('HDEL', p .. ':' .. kind .. ':' .. queue .. ':requeues_remaining', job)
return 1
"""


def now_ms() -> int:
    return int(time.time() * 1000)


def packed(payload: Any) -> bytes:
    """A payload as the original stores it."""
    return msgspec.msgpack.encode(payload)


class Old:
    """A deployment of the original; `ahead` is by how many ms its servers' clocks are ahead."""

    def __init__(
        self,
        store: PrivateStore,
        prefix: str = PREFIX,
        ahead: int = 0,
        client: redis.Redis | None = None,
    ) -> None:
        self.store = store
        self.client: redis.Redis = store.client if client is None else client
        self.prefix = prefix
        self.ahead = ahead
        self._enqueue = self.client.register_script(_ENQUEUE)
        self._dequeue = self.client.register_script(_DEQUEUE)
        self._finish = self.client.register_script(_FINISH)
        self._together: Any = None

    def key(self, *words: str) -> str:
        return ":".join((self.prefix, *words))

    def now(self) -> int:
        return now_ms() + self.ahead

    def enqueue(
        self,
        kind: str,
        queue: str,
        job: str,
        payload: Any = None,
        interval: int = 0,
        requeues: int = -1,
        *,
        raw: bytes | None = None,
    ) -> None:
        text = packed(payload) if raw is None else raw
        self._enqueue(
            keys=[self.prefix, kind],
            args=[self.now(), queue, job, text, interval, requeues],
            client=self._together,
        )

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is enqueued in the context gets to the store with its end, in one round trip."""
        with self.client.pipeline(transaction=False) as self._together:
            yield
            self._together.execute()
        self._together = None

    def dequeue(self, kind: str, lease: int = LEASE) -> tuple[str, str] | None:
        got: Any = self._dequeue(keys=[self.prefix, kind], args=[self.now(), lease])
        return (got[0].decode(), got[1].decode()) if got else None

    def finish(self, kind: str, queue: str, job: str) -> bool:
        return bool(self._finish(keys=[self.prefix, kind], args=[queue, job]))

    def keys(self) -> dict[str, Any]:
        """All that is left of it, apart from counters and times, which end by themselves."""
        own = (key.decode() for key in self.client.scan_iter(count=1000))
        return {
            key: content(self.client, key)
            for key in own
            if not key.startswith("{" + PREFIX) and "_counter:" not in key
            if not key.endswith(":time")
        }


def content(client: Any, key: str) -> Any:
    """What a key of the original has."""
    kind = client.type(key).decode()
    reads = {
        "string": lambda: client.get(key),
        "hash": lambda: client.hgetall(key),
        "list": lambda: client.lrange(key, 0, -1),
        "set": lambda: client.smembers(key),
        "zset": lambda: client.zrange(key, 0, -1, withscores=True),
    }
    return reads[kind]()


def load(client: Any, path: Path, *, shift: bool = True) -> None:
    """Put a dump into a store; with `shift` its times move as if it had been made now."""
    dump = json.loads(path.read_text())
    by = now_ms() - dump["made_at"] if shift else 0
    for key, (kind, value) in dump["keys"].items():
        if kind == "list":
            client.rpush(key, *value)
        elif kind == "set":
            client.sadd(key, *value)
        elif kind == "zset":
            client.zadd(key, {member: score + by for member, score in value.items()})
        elif kind == "hash":
            client.hset(key, mapping={name: bytes.fromhex(text) for name, text in value.items()})
        elif key.endswith(":time"):
            client.psetex(key, LEASE, int(bytes.fromhex(value)) + by)
        else:
            client.set(key, bytes.fromhex(value))
