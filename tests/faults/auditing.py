"""Takes the audit out of the store while a run goes on, and counts what it tells.

Of several nodes, only what all replicas of a primary have is taken from it: the audit is what has
come to stay, whoever is promoted. What a promotion has lost was never in it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.faults.audit import Drain, decode_entry

_EVERY: Final = 0.2
_CHUNK: Final = 1 << 24
_LAG: Final = 1000
"""Ms that replicas have to follow; what they do not have by then waits for the next time."""


class Auditing:
    """Drains the audit into `path`, for the scripts of one `key_prefix`.

    That is done in a thread of its own: each piece is forced to the disk. `sockets` tells where the
    nodes are, a primary of them has so many `replicas`. `enqueued` counts the jobs so far,
    `waiting` those that have not ended; `failure` is what has ended the thread, if anything has.
    """

    def __init__(
        self,
        sockets: Callable[[], Sequence[str]],
        prefix: str,
        path: Path,
        *,
        password: str | None = None,
        replicas: int = 0,
    ) -> None:
        self.enqueued = 0
        self.failure: BaseException | None = None
        self._ended = 0
        self._sockets = sockets
        self._password = password
        self._replicas = replicas
        self._prefix = prefix
        self._drain = Drain(path)
        self._file = path.open("rb")
        self._rest = b""
        self._loop = asyncio.new_event_loop()
        self._stopped = False
        self._clients: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many jobs have not ended."""
        return self.enqueued - self._ended

    async def drain(self) -> int:
        """Take out what is there now; how many entries. Raises what redis-py raises."""
        moving = asyncio.run_coroutine_threadsafe(self._move(strict=True), self._loop)
        return await asyncio.wrap_future(moving)

    def close(self) -> None:
        """Take no more."""
        self._stopped = True
        self._thread.join()
        self._loop.close()
        self._drain.close()
        self._file.close()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._work())
        except BaseException as error:
            self.failure = error

    async def _work(self) -> None:
        self._lock = asyncio.Lock()
        while not self._stopped:
            await self._move()
            await asyncio.sleep(_EVERY)
        for client in self._clients.values():
            await client.aclose()

    async def _move(self, *, strict: bool = False) -> int:
        """Drain all nodes at once; some may be away, unless it is to be `strict`."""
        async with self._lock:
            nodes = [self._node(socket, strict) for socket in self._sockets()]
            results = await asyncio.gather(*nodes, return_exceptions=True)
            self._count()
        for result in results:
            if isinstance(result, BaseException) and (
                strict or not isinstance(result, redis.RedisError | OSError)
            ):
                raise result
        return sum(result for result in results if isinstance(result, int))

    async def _node(self, socket: str, strict: bool) -> int:
        client = self._clients.get(socket)
        if client is None:
            client = self._clients[socket] = redis.asyncio.Redis(
                unix_socket_path=socket,
                password=self._password,
                protocol=2,
                socket_timeout=2 if self._replicas else 5,
                retry=Retry(NoBackoff(), 0),
            )
        command = client.execute_command
        if not self._replicas:
            return await self._drain.drain(command, self._prefix)
        if (await command("INFO", "replication"))["role"] != "master":
            return 0

        async def settled(key: str) -> bool:
            kept = await _is_followed(client, key, self._replicas)
            if strict and not kept:
                raise TimeoutError("the replicas do not follow")
            return kept

        return await self._drain.drain(command, self._prefix, settled)

    def _count(self) -> None:
        """Count in what has been written since the last time; whole entries alone."""
        while chunk := self._file.read(_CHUNK):
            whole, _, self._rest = (self._rest + chunk).rpartition(b"\n")
            self.enqueued += whole.count(b'"what":"enqueue"')
            self._ended += whole.count(b'"what":"finish"') + whole.count(b'"what":"dead"')
            self._ended += whole.count(b'"what":"cancel"')
            if b'"what":"clear"' in whole:
                for line in whole.split(b"\n"):
                    if b'"what":"clear"' in line:
                        entry = decode_entry(line)
                        self._ended += entry.removed + entry.ended


async def _is_followed(client: Any, key: str, replicas: int) -> bool:
    """Whether all replicas get to have what a primary has now: one that was replaced has not all
    of them, and a promotion of any replica loses nothing of it.
    """
    # A wait is for what its own connection has written.
    both = client.pipeline(transaction=False)
    both.execute_command("SET", key, "1")
    both.execute_command("WAIT", replicas, _LAG)
    return int((await both.execute())[1]) >= replicas
