"""Jobs that became ready some time ago."""

from __future__ import annotations

from collections.abc import Callable

from sharq.operations.operations import Operations
from sharq.operations.scripts import Scripts
from sharq.results import NewJob
from sharq.settings.options import QueueSettings
from tests.support.direct import DirectStore

_NOW_KEY = "{past}us"
_CLOCK = f"""
local now_us = tonumber(redis.call('GET', '{_NOW_KEY}'))
local now = math.floor(now_us / 1000)
local function expire(key, ms)
  redis.call('PEXPIRE', key, ms)
end

local function set_for(key, value, ms)
  redis.call('SET', key, value, 'PX', ms)
end
"""
_SCRIPTS = Scripts({"clock": _CLOCK})


class Past:
    """Enqueues jobs as they would have been some ms before it was made. `home` tells where a queue
    lives.
    """

    def __init__(self, store: DirectStore, prefix: str, home: Callable[[str, str], str]) -> None:
        self._store = store
        self._operations = Operations(prefix, QueueSettings(), _SCRIPTS)
        self._home = home
        digest = _SCRIPTS.digests["enqueue"]
        store.command("SCRIPT", "LOAD", _SCRIPTS.by_digest[digest])
        seconds, us = store.command("TIME")
        self._now_us = int(seconds) * 1_000_000 + int(us)

    def enqueue(self, ago: int, queue_type: str, queue_id: str, job_id: str) -> None:
        """Enqueue a job of a queue without a rate that was ready for `ago` ms then."""
        self._store.command("SET", _NOW_KEY, self._now_us - ago * 1000)
        job = NewJob(queue_type, queue_id, job_id, b"1", 0, -1)
        self._store.run(self._operations.enqueue(self._home(queue_type, queue_id), [job]))
        self._store.command("DEL", _NOW_KEY)
