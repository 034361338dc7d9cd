"""What the store did, as told by itself: scripts that keep an audit, and the file it goes into.

The scripts of the product with an audit (`audited_scripts`) append to the stream ``T:audit``, in
the same call and after their first write, so that the audit and what it tells of get in together
or not at all. A `Drain` moves the streams into ``audit.jsonl``, an entry a line:

    type, queue, job   what it is about; no `job` in what is about a queue; a shard is a type, by
                       its internal name
    at, id             when and where it got into the stream: ms of the store's own clock; the entry
    now                ms of the script's clock, which faults may have moved
    script             which script it was
    what               what happened, with more fields each:
      enqueue          place (in the order of enqueues), left, asked and interval (as asked for, and
                       in force after it), sha (SHA-1 of the payload's text); of a job or a queue
                       with limits also due (ms), priority, cost, and what is in force after it:
                       burst, concurrency (0: none), group ("": none)
      dispatch         n, place, left, attempt, ends (ms: of the lease), request; where it was
                       limited also us (of the clock, beside `now`) and charged: what the lease
                       keeps, `cost;tat,interval;tat,interval,group;tat,interval`
      finish           n
      return           n, left, counted, due (ms), place: the job waits again; how: release, return,
                       fail or expiry (then `script` is `requeue`); attempt: the number of the
                       delivery, expiries: those in a row by now
      dead             n, left, how (also reject), counted, cleared: the job has died; reason:
                       exhausted, expired, rejected or "", kept: it is a dead letter by now
      fallen           why: the dead letter was beyond a bound (jobs, bytes, age), or is replaced by
                       the death that follows
      unburied         why (retry, delete): the dead letter was taken away; a retry has an enqueue
                       before it, in the same call: `script` is `dead_retry` or `dead_advance`
      extend           n, ends
      interval, reset  interval: set by the API; given back to the producers
      clear            removed, ended (leases), purge, and what is in force after it: burst,
                       concurrency, group
      cancel           n: of the lease that it ended, 0 where the job waited
      limits           interval, burst, concurrency: in force after a change by the API; of a queue
                       also group, and api: whether the interval is the API's
      pause            till (ms; 0: resumed, -1: open)
      cost             n, cost, real, us: before the end of the lease that tells the real cost
    In `limits` and `pause` the `queue` may be `=` and the name of a group, or `=` for the type.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, Self

import msgspec

from sharq.operations.scripts import Scripts
from tests.faults.states import split_key


def offset_key(tag: str) -> str:
    """The key that holds what is added to the store's clock in scripts on a tag, in µs.

    It need not exist. Each tag has its own: in a cluster a script reaches no other node's keys.
    """
    return f"{{{tag}}}:offset"


def drained_key(stream: str) -> str:
    """A key beside a stream, which is written to know what replicas have."""
    return stream.removesuffix("audit") + "drained"


LATE_EXPIRY_MS = 15_000
"""How much later keys expire than they would: the clock may be moved back so far."""

# A clock that can be moved. Keys live by the store's own clock, and must not end too early by ours.
CLOCK = f"""
local time = redis.call('TIME')
local tag = KEYS[1] and string.match(KEYS[1], '^{{[^}}]*}}')
local offset = tag and redis.call('GET', tag .. ':offset')
local now_us = time[1] * 1000000 + time[2] + (offset or 0)
local now = math.floor(now_us / 1000)
local function expire(key, ms)
  redis.call('PEXPIRE', key, ms + {LATE_EXPIRY_MS})
end

local function set_for(key, value, ms)
  redis.call('SET', key, value, 'PX', ms + {LATE_EXPIRY_MS})
end
"""

# KEYS[1] is the type's key `void`.
_AUDIT = """
local noted = {}
local function note(now, what, name, ...)
  local entry = {now = now, what = what, script = script}
  entry.queue, entry.job = string.match(name, '^([^/]+)/(.+)$')
  entry.queue = entry.queue or name
  for i = 1, select('#', ...), 2 do
    local field, value = select(i, ...)
    entry[field] = value
  end
  noted[#noted + 1] = cjson.encode(entry)
end

local function audit(...)
  if select('#', ...) > 0 then
    note(...)
  end
  for _, entry in ipairs(noted) do
    redis.call('XADD', string.sub(KEYS[1], 1, -5) .. 'audit', '*', 'e', entry)
  end
  noted = {}
end
"""

_AT_ONCE = 5_000


def audited_scripts(overrides: Mapping[str, str] | None = None) -> Scripts:
    """The scripts of the product, keeping an audit; by the movable clock, unless overridden."""
    return Scripts({"clock": CLOCK, **(overrides or {})}, audit=_AUDIT)


class Entry(msgspec.Struct):
    """One entry of the audit; fields that its `what` does not have are at their defaults."""

    what: str
    type: str
    queue: str
    now: int
    at: int = 0
    id: str = ""
    job: str = ""
    script: str = ""
    n: int = 0
    place: int = 0
    left: int = -1
    attempt: int = 0
    asked: int | float = 0
    interval: int | float = 0
    sha: str = ""
    ends: int = 0
    due: int = 0
    request: str = ""
    counted: bool = True
    cleared: bool = False
    how: str = ""
    reason: str = ""
    kept: bool = False
    expiries: int = 0
    why: str = ""
    purge: bool = False
    removed: int = 0
    ended: int = 0
    priority: int = 0
    cost: int = 1
    real: int = 1
    burst: int = 1
    concurrency: int = 0
    group: str = ""
    api: bool = False
    till: int | float = 0
    us: int = 0
    charged: str = ""


# Lua's numbers cannot hold all of ours: some fields come as digits in a string.
_decoder = msgspec.json.Decoder(Entry, strict=False)


def decode_entry(line: bytes) -> Entry:
    """One line of the file."""
    return _decoder.decode(line)


def read_audit(path: Path) -> Iterator[Entry]:
    """The entries of a file, in their order (of each type; types are not in order)."""
    decode = _decoder.decode
    with path.open("rb") as file:
        for line in file:
            yield decode(line)


class Command(Protocol):
    """Runs a command of the store; its reply, as bytes, as it is or as redis-py shapes it."""

    def __call__(self, *words: str | bytes | int) -> Awaitable[Any]: ...


class Drain:
    """Moves the audit of a store into a file.

    What is in the file is on the disk before it leaves the store, and what is there already is not
    written twice: a `drain` may fail at any point, and be called again, on a store that has been
    restarted, too, and by a process that has been; and, at the same time, on several nodes.
    """

    def __init__(self, path: Path) -> None:
        self._last: dict[str, tuple[int, int]] = {}
        self._file = path.open("a+b")
        self._file.seek(0)
        end = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            end += len(line)
            entry = decode_entry(line)
            self._last[entry.type] = _position(entry.id)
        self._file.truncate(end)
        self._file.seek(end)

    async def drain(
        self,
        command: Command,
        prefix: str,
        settled: Callable[[str], Awaitable[bool]] | None = None,
    ) -> int:
        """Move what is there now, of all types of a `key_prefix`; how many entries there were.

        Where `settled` is given, what was read is moved only if it is true after that, told of a
        key that it may write: then the node's replicas have it, and no promotion of one can lose
        it. Else it is left, and so is all that follows. Raises what `command` raises.
        """
        moved = 0
        cursor: Any = b"0"
        while cursor is not None:
            cursor, keys = await command(
                "SCAN", cursor, "MATCH", f"{{{prefix}:*}}:*audit", "COUNT", 1000
            )
            cursor = None if int(cursor) == 0 else cursor
            for key in keys:
                moved += await self._drain_stream(command, key.decode(), settled)
        return moved

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def _drain_stream(
        self, command: Command, key: str, settled: Callable[[str], Awaitable[bool]] | None
    ) -> int:
        queue_type = split_key(key)[0]
        moved = 0
        while True:
            ms, part = self._last.get(queue_type, (0, -1))
            first = f"{ms}-{part + 1}"
            found = await command("XRANGE", key, first, "+", "COUNT", _AT_ONCE)
            if found and settled is not None and not await settled(drained_key(key)):
                return moved
            # Meanwhile another node may have given some of it.
            ms, part = self._last.get(queue_type, (0, -1))
            for position, fields in found:
                if _position(position.decode()) <= (ms, part):
                    continue
                entry = fields[b"e"] if isinstance(fields, dict) else fields[1]
                ms, part = _position(position.decode())
                head = f'{{"type":"{queue_type}","id":"{ms}-{part}","at":{ms},'
                self._file.write(head.encode() + entry[1:] + b"\n")
            if found:
                self._file.flush()
                os.fsync(self._file.fileno())
                self._last[queue_type] = ms, part
                moved += len(found)
            await command("XTRIM", key, "MINID", f"{ms}-{part + 1}")
            if len(found) < _AT_ONCE:
                return moved


def _position(identity: str) -> tuple[int, int]:
    ms, _, part = identity.partition("-")
    return int(ms), int(part)
