"""The original SharQ, core 1.3.0 and server 0.2.0, in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import redis

from bench.peers.failures import Missing
from bench.peers.install import Say, environment, python_versions
from bench.waiting import wait_until
from tests.support.stores import PrivateStore, free_port

HERE = Path(__file__).parent
SETUP = (
    "core 1.3.0 on the redis clients that it pins (msgpack a newer one, since its own no longer"
    " compiles); server 0.2.0 on today's Flask, gunicorn and gevent, one process, the few words"
    " replaced that only Python 2 can read"
)

_LIBRARIES = ("redis==3.0.1", "redis-py-cluster==2.0.0", "msgpack>=1,<2", "setuptools<82")
_SERVER = ("flask>=3,<4", "gunicorn[gevent]>=27,<28", "ujson>=5")
_ALONE = ("sharq==1.3.0", "SharQServer==0.2.0")
_SHOWN = ("SharQ", "SharQServer", "redis", "msgpack", "flask", "gunicorn", "gevent")
_START = 30.0

_CONFIG = """\
[sharq]
job_expire_interval : 60000
job_requeue_interval : 1000
default_job_requeue_limit : -1

[sharq-server]
host : 127.0.0.1
port : 0

[redis]
db : 0
key_prefix : sharq_server
conn_type : unix_sock
unix_socket_path : {socket}
clustered : false
"""


class Original(NamedTuple):
    """An environment that has it: its Python, and the versions of all that counts."""

    python: Path
    versions: str


class Served(NamedTuple):
    """The original's server at work on a store of its own."""

    original: Original
    port: int
    config: str
    socket: str

    def fill(self, queue_type: str, queues: int, depth: int, interval: int) -> None:
        """Put `depth` jobs into each of `queues` queues."""
        words = [queue_type, str(queues), str(depth), str(interval)]
        _check([str(self.original.python), str(HERE / "original_fill.py"), self.config, *words])


def prepare(say: Say) -> Original:
    """Install it where it is not there. May raise `Missing`."""
    python = environment("original", (*_LIBRARIES, *_SERVER), say, alone=_ALONE)
    return Original(python, python_versions(python, _SHOWN))


@contextmanager
def configured(store: PrivateStore) -> Iterator[str]:
    """The path of a configuration for a store."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(_CONFIG.format(socket=store.socket_path))
        file.flush()
        yield file.name


@contextmanager
def served(original: Original, **options: Any) -> Iterator[Served]:
    """Its server, as one gevent process of gunicorn, on a store with `options`."""
    with PrivateStore(**options) as store, configured(store) as config:
        port = free_port()
        command = [str(original.python), "-m", "gunicorn", "original_app:application"]
        command += ["--worker-class", "gevent", "--workers", "1", "--bind", f"127.0.0.1:{port}"]
        command += ["--no-control-socket"]
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(
                command,
                cwd=HERE,
                env=os.environ | {"BENCH_CONFIG": config, "PYTHONPATH": str(HERE)},
                stdout=log,
                stderr=log,
            )
            try:
                if not wait_until(lambda: _is_up(store.client), _START):
                    log.seek(0)
                    lines = log.read().decode(errors="replace").strip().splitlines()
                    raise Missing(f"the server did not start: {lines[-1][:100] if lines else '?'}")
                yield Served(original, port, config, store.socket_path)
            finally:
                process.terminate()
                process.wait()


def _is_up(store: redis.Redis) -> bool:
    """Whether its requeue loop runs: the worker process has loaded the application."""
    stats: Any = store.info("commandstats")
    return "cmdstat_smembers" in stats


def _check(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise Missing(f"it failed: {done.stderr.strip().splitlines()[-1][:100]}")
