"""What can be seen of the processes from outside: memory, open files, keys. Linux only."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import redis

# Keys that hold jobs and leases; all others of a type run out by themselves (docs/keyspace.md).
_JOBS = re.compile(rb"\}:(ready|leases|held|q|j|r|d)(:|$)")
_NEVER_ENDS = re.compile(rb"\}:types$")


class Sample(NamedTuple):
    """One look: seconds from the begin, resident KiB, open files, keys, and what the load holds."""

    at: float
    server_kib: int
    store_kib: int
    server_files: int
    store_keys: int
    store_clients: int
    held: int
    slow: int


class Keys(NamedTuple):
    """The keys of a store: how many hold jobs, and those that would stay for ever besides."""

    of_jobs: int
    endless: list[str]


def resident_kib(pid: int) -> int:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    match = re.search(r"^VmRSS:\s+(\d+) kB", status, re.M)
    return int(match[1]) if match else 0


def open_files(pid: int) -> int:
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def look(at: float, server: int, store: int, client: redis.Redis, held: int, slow: int) -> Sample:
    """Take a sample of the processes `server` and `store`, and of the store through `client`."""
    clients: Any = client.info("clients")
    keys: Any = client.dbsize()
    return Sample(
        round(at, 1),
        resident_kib(server),
        resident_kib(store),
        open_files(server),
        keys,
        clients["connected_clients"],
        held,
        slow,
    )


def keys(client: redis.Redis) -> Keys:
    """Sort the keys of a store by whether they end by themselves."""
    of_jobs = 0
    endless: Counter[str] = Counter()
    for key in client.scan_iter(count=1000):
        if _JOBS.search(key):
            of_jobs += 1
        elif not _NEVER_ENDS.search(key) and client.pttl(key) == -1:
            endless[key.decode()] += 1
    return Keys(of_jobs, sorted(endless))
