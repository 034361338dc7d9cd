"""The peers: what each is installed from, how it works and enqueues, and how it was set up."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import redis

from bench.peers.install import (
    Say,
    environment,
    module_versions,
    modules,
    program,
    python_versions,
)
from bench.sending import IN_FRAMES, ONE_BY_ONE, Sending

HERE = Path(__file__).parent


class Ready(NamedTuple):
    """A peer that is installed: `worker` and `producer` are commands, `versions` one line.

    `{socket}` in a command stands for the store's socket; a producer's last argument is the
    number of jobs. `environ` is added to the environment of both, `{socket}` likewise.
    """

    versions: str
    worker: Sequence[str]
    producer: Sequence[str]
    environ: dict[str, str]


class Peer(NamedTuple):
    """Another queue. `prepare` installs it (or raises `Missing`) and makes its commands.

    `jobs` are as many as it does in a few seconds, and `sending` is how its producer, as its
    documentation advises, sends them. `pending` counts what is not yet acknowledged;
    None for one that brings a store of its own. `workers` processes are started, each of which may
    have children.
    """

    name: str
    jobs: int
    prepare: Callable[[Say], Ready]
    sending: Sending
    pending: Callable[[redis.Redis], int] | None
    setup: str
    workers: int = 1


def _python(
    packages: Sequence[str], shown: Sequence[str], worker: str, producer: str
) -> Callable[[Say], Ready]:
    """A peer in a Python environment, whose name is that of its first package.

    `shown` are the packages whose versions are told; the commands are what follows the interpreter.
    """

    def prepare(say: Say) -> Ready:
        python = environment(shown[0], packages, say)
        return Ready(
            python_versions(python, shown),
            [str(python), *shlex.split(worker)],
            [str(python), *shlex.split(producer)],
            {"PYTHONPATH": str(HERE), "BENCH_SOCKET": "{socket}"},
        )

    return prepare


def _bullmq(say: Say) -> Ready:
    packages = ("bullmq@6", "ioredis@6")
    folder = modules("bullmq", packages, say)
    command = [program("node"), str(HERE / "bullmq_peer.cjs")]
    return Ready(
        module_versions(folder, ("bullmq", "ioredis")),
        [*command, "work", "{socket}"],
        [*command, "produce", "{socket}"],
        {"NODE_PATH": str(folder)},
    )


def _beanstalkd(say: Say) -> Ready:
    program("beanstalkd")
    prepare = _python(
        ("greenstalk>=2,<3",),
        ("greenstalk",),
        "-m beanstalkd_peer work {socket}",
        "-m beanstalkd_peer produce {socket}",
    )
    return prepare(say)


def _count(store: redis.Redis, *commands: tuple[str, str]) -> int:
    pipe: Any = store.pipeline(transaction=False)
    for words in commands:
        pipe.execute_command(*words)
    return sum(pipe.execute())


BULLMQ = "BullMQ"
BEANSTALKD = "beanstalkd"

PEERS = (
    Peer(
        BULLMQ,
        16_000,
        _bullmq,
        IN_FRAMES,
        lambda store: _count(store, ("LLEN", "bull:bench:wait"), ("LLEN", "bull:bench:active")),
        "one worker, concurrency 100; addBulk; removeOnComplete",
    ),
    Peer(
        "RQ",
        600,
        _python(
            ("rq>=2,<3", "redis[hiredis]"),
            ("rq", "redis"),
            "-m rq.cli worker-pool bench -n 2 -q -w rq.worker.SimpleWorker -u unix://{socket}",
            "-m rq_peer {socket}",
        ),
        Sending(32, 1),
        lambda store: _count(store, ("LLEN", "rq:queue:bench"), ("ZCARD", "rq:wip:bench")),
        "worker-pool of 2 with SimpleWorker (no fork a job); enqueue_many; result_ttl=0",
    ),
    Peer(
        "arq",
        2_000,
        _python(
            ("arq<1", "redis[hiredis]"),
            ("arq", "redis"),
            "-m arq_peer work {socket}",
            "-m arq_peer produce {socket}",
        ),
        Sending(1, 32),
        lambda store: _count(store, ("ZCARD", "arq:queue")),
        "one worker, max_jobs=100, poll_delay=0.01, keep_result=0",
    ),
    Peer(
        "dramatiq",
        4_000,
        _python(
            ("dramatiq[redis]>=2,<3", "redis[hiredis]"),
            ("dramatiq", "redis"),
            "-m dramatiq dramatiq_peer -p 2 -t 8",
            "-m dramatiq_peer",
        ),
        ONE_BY_ONE,
        lambda store: _count(store, ("HLEN", "dramatiq:default.msgs")),
        "2 processes with 8 threads, its default here",
    ),
    Peer(
        "huey",
        4_000,
        _python(
            ("huey>=3,<4", "redis[hiredis]"),
            ("huey", "redis"),
            "-m huey.bin.huey_consumer huey_peer.huey -k process -w 2 -q",
            "-c 'import huey_peer; huey_peer.main()'",
        ),
        ONE_BY_ONE,
        lambda store: _count(store, ("LLEN", "huey.redis.bench")),
        "consumer with 2 processes, results=False; it acknowledges nothing",
    ),
    Peer(
        "Celery",
        1_200,
        _python(
            ("celery[redis]>=5,<6", "redis[hiredis]"),
            ("celery", "redis"),
            "-m celery -A celery_peer worker -P prefork -c 2 -l WARNING",
            "-m celery_peer",
        ),
        ONE_BY_ONE,
        lambda store: _count(store, ("LLEN", "celery"), ("HLEN", "unacked")),
        "prefork with 2 processes, acks_late, ignore_result, prefetch multiplier 50",
    ),
    Peer(
        BEANSTALKD,
        10_000,
        _beanstalkd,
        ONE_BY_ONE,
        None,
        "greenstalk, 2 worker processes that reserve and delete",
        workers=2,
    ),
)
