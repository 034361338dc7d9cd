"""Takes the audit out of the store while a run goes on, and counts what it tells."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.faults.audit import Drain, decode_entry

_EVERY: Final = 0.2
_CHUNK: Final = 1 << 24


class Auditing:
    """Drains the audit into `path`, for the scripts of one `key_prefix`.

    That is done in a thread of its own: each piece is forced to the disk. `enqueued` counts the
    jobs so far, `waiting` those that have not ended; `failure` is what has ended the thread, if
    anything has.
    """

    def __init__(self, socket: str, prefix: str, path: Path) -> None:
        self.enqueued = 0
        self.failure: BaseException | None = None
        self._ended = 0
        self._socket = socket
        self._prefix = prefix
        self._drain = Drain(path)
        self._file = path.open("rb")
        self._rest = b""
        self._loop = asyncio.new_event_loop()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many jobs have not ended."""
        return self.enqueued - self._ended

    async def drain(self) -> int:
        """Take out what is there now; how many entries. Raises what redis-py raises."""
        moving = asyncio.run_coroutine_threadsafe(self._move(), self._loop)
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
        client: Any = redis.asyncio.Redis(
            unix_socket_path=self._socket,
            protocol=2,
            socket_timeout=5,
            retry=Retry(NoBackoff(), 0),
        )
        self._command = client.execute_command
        while not self._stopped:
            # The store may be away.
            with suppress(redis.RedisError, OSError):
                await self._move()
            await asyncio.sleep(_EVERY)
        await client.aclose()

    async def _move(self) -> int:
        async with self._lock:
            moved = await self._drain.drain(self._command, self._prefix)
            self._count()
            return moved

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
