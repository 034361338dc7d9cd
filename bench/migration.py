"""How long `sharq migrate` takes, what memory, and whether anything differs after ten kills."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from bench.progress import Progress
from bench.report import Column, Table
from bench.store import PREFIX
from bench.subject import Findings, Options, Subject
from bench.targets import Target
from sharq.migration.names import SWEEP_LOCK, Names
from tests.support.stores import PrivateStore

_JOBS: Final = 100_000
_FULL: Final = 1_000_000
_DEPTH: Final = 100
"""Jobs of each queue."""

_LEASED: Final = 100
"""Of so many jobs one is leased."""

_KILLS: Final = 10
_TYPE: Final = b"sms"
_PIPELINE: Final = 1000

# Without the seconds in which it looks whether the source is in use.
_RUN: Final = """
import sys
from sharq.blocking_engine import SyncEngine
from sharq.deployment import Deployment
from sharq.migration.migration import Migration, Plan
from sharq.settings.reading import Settings

old, new, rejects = sys.argv[1:]
engine = SyncEngine(Deployment.read(Settings.load(new)), reclaims=False)
report = Migration(Settings.of_original(old).redis, 60_000, engine, Plan(watch=0), rejects).run()
print(report.jobs + report.leases, report.seconds)
"""


class _Stand(NamedTuple):
    """Two stores, and the command that moves what the first one has."""

    source: PrivateStore
    target: PrivateStore
    command: list[str]


class _Run(NamedTuple):
    """A run that was not disturbed: seconds, MB of its process and of both stores."""

    seconds: float
    process: float
    source: float
    target: float


def run(progress: Progress, options: Options) -> Findings:
    jobs = _FULL if options.full else _JOBS
    progress.begin("migration", 4 + _KILLS)
    with _stand() as stand:
        progress.step(f"filling: {jobs:,} jobs of the original")
        fill(stand.source.client, jobs)
        progress.step("moving")
        whole = _move(stand)
    with _stand() as stand:
        progress.step("filling again")
        names = fill(stand.source.client, jobs)
        for at in range(_KILLS):
            progress.step(f"kill {at + 1}")
            _move_and_kill(stand, jobs)
        progress.step("moving the rest, and comparing")
        _move(stand)
        differing = _difference(stand, names)
    progress.end()
    return Findings([_table(jobs, whole, differing)], [_target(differing)])


@contextmanager
def _stand() -> Iterator[_Stand]:
    with PrivateStore() as source, PrivateStore() as target, tempfile.TemporaryDirectory() as path:
        files = []
        for name, store in (("old", source), ("new", target)):
            file = Path(path, f"{name}.conf")
            file.write_text(
                f"[redis]\nkey_prefix = {PREFIX}\nconn_type = unix_sock\n"
                f"unix_socket_path = {store.socket_path}\n"
            )
            files.append(str(file))
        yield _Stand(source, target, [sys.executable, "-c", _RUN, *files, f"{path}/rejects"])


def fill(client: Any, jobs: int) -> set[str]:
    """Put jobs into a store as the original keeps them; returns their names, `queue/job`."""
    keys = Names(PREFIX)
    now = int(time.time() * 1000)
    payload = msgspec.msgpack.encode({"to": "+15550100", "text": "Your code is 1234"})
    names: set[str] = set()
    pipe = client.pipeline(transaction=False)
    for at in range(jobs):
        queue, job = b"queue-%d" % (at // _DEPTH), b"96c82500-9f88-11e3-bb98-%012x" % at
        names.add(f"{queue.decode()}/{job.decode()}")
        if at % _LEASED:
            pipe.rpush(keys.jobs(_TYPE, queue), job)
        else:
            pipe.zadd(keys.active(_TYPE), {b"%b:%b" % (queue, job): now + 600_000})
        pipe.hset(keys.payloads, b":".join((_TYPE, queue, job)), payload)
        pipe.hset(keys.requeues(_TYPE, queue), job, -1)
        if at % _DEPTH == 0:
            pipe.hset(keys.intervals, b"%b:%b" % (_TYPE, queue), 1000)
            pipe.zadd(keys.ready(_TYPE), {queue: now})
            pipe.set(keys.last(_TYPE, queue), now, px=60_000)
        if at % _PIPELINE == 0:
            pipe.execute()
    pipe.execute()
    return names


def _move(stand: _Stand) -> _Run:
    used = stand.source.client.info("memory")["used_memory"]
    process = subprocess.Popen(stand.command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    words = process.stdout.read().split()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError("the migration has failed")
    target = stand.target.client.info("memory")["used_memory"]
    return _Run(float(words[1]), usage.ru_maxrss / 1024, used / 2**20, target / 2**20)


def _move_and_kill(stand: _Stand, jobs: int) -> None:
    client, key = stand.source.client, Names(PREFIX).payloads
    left = int(client.hlen(key))
    until = left - random.randrange(1, max(2, 2 * jobs // (_KILLS + 2)))
    process = subprocess.Popen(stand.command, stdout=subprocess.DEVNULL)
    while process.poll() is None and int(client.hlen(key)) > until:
        time.sleep(0.0005)
    process.kill()
    process.wait()
    # It ends by itself after 15 seconds.
    client.delete(SWEEP_LOCK)


def _difference(stand: _Stand, names: set[str]) -> int:
    """How many jobs are missing, there twice, or still in the source."""
    client, tag = stand.target.client, "{" + f"{PREFIX}:{_TYPE.decode()}" + "}"
    came = Counter(member.decode() for member in client.zrange(f"{tag}:leases", 0, -1))
    for key in client.scan_iter(match=f"{tag}:q:*", count=1000):
        queue = key.decode().rpartition(":")[2]
        # A job in the order has a field with its place and one with its name, the first one may be
        # in the state.
        first = (client.get(key) or b"").split(b" ")[1]
        found = [name for name in client.hkeys(f"{tag}:j:{queue}") if name[:1] != b":"]
        came.update(f"{queue}/{job.decode()}" for job in (first, *found) if job)
    missing = names - came.keys()
    doubled = sum(count - 1 for count in came.values())
    left = int(stand.source.client.hlen(Names(PREFIX).payloads))
    return len(missing) + doubled + left + len(came.keys() - names)


def _table(jobs: int, whole: _Run, differing: int) -> Table:
    columns = (
        Column("jobs"),
        Column("seconds", 1),
        Column("jobs/s"),
        Column("MB, process"),
        Column("MB, source before"),
        Column("MB, target after"),
        Column(f"differing after {_KILLS} kills"),
    )
    row = jobs, whole.seconds, jobs / whole.seconds, *whole[1:], differing
    note = f"Queues of {_DEPTH} jobs, one in {_LEASED} leased; both stores on this machine."
    return Table("Moving from the original", columns, [row], (note,))


def _target(differing: int) -> Target:
    return Target(
        "a migration", f"after {_KILLS} kills", 0, differing, "jobs that differ", at_most=True
    )


SUBJECT = Subject("migration", "moving the jobs of the original; --full: a million", run)
