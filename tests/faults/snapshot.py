"""What is in the store once nothing moves: every job, all counters, every key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tests.faults.states import (
    DEAD,
    add_counters,
    dead_letters,
    level_of,
    new_counters,
    split_key,
)
from tests.faults.stores import AnyNode, AnyStore

_PAGE: Final = 1000

_DEAD: Final = """
local function sizes(part)
  local out, key = {}, KEYS[1] .. part
  for _, member in ipairs(redis.call('HKEYS', key)) do
    out[#out + 1], out[#out + 2] = member, redis.call('HSTRLEN', key, member)
  end
  return out
end
return {
  redis.call('HGETALL', KEYS[1]), redis.call('ZRANGE', KEYS[1] .. ':order', 0, -1, 'WITHSCORES'),
  sizes(':about'), sizes(':jobs'),
}
"""


async def snapshot(store: AnyStore) -> dict[str, Any]:
    """All of it, of all nodes.

    `jobs`: {type, queue, job, state}, the state `queued` or `active`. `levels`: the leases that
    queues, groups and types count, {type, level, leased, group} as in `states`. `dead`: what each
    type has of dead letters, `counters`: those of each type and minute, as in `states`. `keys`:
    name, type and TTL (ms; -1 for none). `memory`: the bytes that the store uses. `now`: the
    store's time in ms.
    """
    parts = [await _of_node(node) for node in await store.whole()]
    whole = parts[0]
    for part in parts[1:]:
        for name in ("jobs", "levels", "dead", "keys"):
            whole[name] += part[name]
        whole["counters"].update(part["counters"])
    whole["memory"] = await store.memory()
    return whole


async def _of_node(store: AnyNode) -> dict[str, Any]:
    jobs: list[dict[str, str]] = []
    counters = new_counters()
    keys: list[dict[str, Any]] = []
    levels: list[dict[str, Any]] = []
    buried: dict[str, str] = {}
    for key, kind, ttl in await _keys(store):
        keys.append({"key": key, "type": kind, "ttl": ttl})
        queue_type, rest = split_key(key)
        if not queue_type:
            continue
        jobs += [
            {"type": queue_type, "queue": queue, "job": job, "state": state}
            for queue, job, state in await _jobs(store, key, kind, rest)
        ]
        if kind == "string":
            level = level_of(rest, (await store.insist("GET", key) or b"").decode())
            levels += [{"type": queue_type, **level}] if level is not None else []
        if rest in DEAD and kind != "string":
            # As a string it closes the keys of a type that is spread.
            buried[queue_type] = key.removesuffix(rest) + "dead"
        if rest.startswith("c:") and kind == "hash":
            counts = _pairs(await store.insist("HGETALL", key))
            add_counters(counters[queue_type], rest, counts)
    return {
        "jobs": jobs,
        "levels": levels,
        "dead": [await _dead(store, *of_type) for of_type in sorted(buried.items())],
        "counters": counters,
        "keys": [each for each in keys if split_key(each["key"])[1] != "audit"],
        "now": await _now(store),
    }


async def _dead(store: AnyNode, queue_type: str, key: str) -> dict[str, Any]:
    """What a type has of dead letters, all at one time: the sweep may remove some."""
    reply = await store.insist("EVAL", _DEAD, 1, key)
    return dead_letters(queue_type, *(dict(_pairs(flat)) for flat in reply))


async def count_dead(store: AnyStore) -> int:
    """How many dead letters there are."""
    return sum([await _count_dead(node) for node in await store.whole()])


async def _count_dead(store: AnyNode) -> int:
    found = await _keys(store)
    orders = [key for key, kind, _ in found if kind == "zset" and key.endswith(":dead:order")]
    return sum([int(await store.insist("ZCARD", key)) for key in orders])


async def count_jobs(store: AnyStore) -> int:
    """How many jobs there are.

    One that goes from a lease to its queue meanwhile may be missed: if there are none, they are
    counted again.
    """
    nodes = await store.whole()
    counts = [await _count_jobs(node) or await _count_jobs(node) for node in nodes]
    return sum(counts)


async def _count_jobs(store: AnyNode) -> int:
    return sum(
        [
            len(await _jobs(store, key, kind, split_key(key)[1]))
            for key, kind, _ in await _keys(store)
        ]
    )


async def _now(store: AnyNode) -> int:
    seconds, micros = await store.insist("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


async def _keys(store: AnyNode) -> list[tuple[str, str, int]]:
    cursor, names = b"0", set()
    while True:
        cursor, page = await store.insist("SCAN", cursor, "COUNT", _PAGE)
        names.update(page)
        if cursor in (b"0", 0):
            break
    found = []
    for name in sorted(names):
        kind = (await store.insist("TYPE", name)).decode()
        if kind != "none":
            found.append((name.decode(), kind, await store.insist("PTTL", name)))
    return found


async def _jobs(store: AnyNode, key: str, kind: str, rest: str) -> list[tuple[str, str, str]]:
    """The jobs that a key holds: queue, job, state."""
    word, _, queue = rest.partition(":")
    if rest == "held" and kind == "hash":
        leased = (field.decode().partition("/") for field in await store.insist("HKEYS", key))
        return [(queue, job, "active") for queue, _, job in leased]
    if word == "j" and kind == "hash":
        fields = (field.decode() for field in await store.insist("HKEYS", key))
        return [(queue, job, "queued") for job in fields if not job.startswith(":")]
    if word == "q" and kind == "string":
        _, _, inline = (await store.insist("GET", key) or b"").decode().partition(" ")
        return [(queue, inline.partition(" ")[0], "queued")] if inline else []
    return []


def _pairs(flat: Any) -> Iterator[tuple[str, int]]:
    items = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
    for name, count in items:
        yield name.decode(), int(count)
