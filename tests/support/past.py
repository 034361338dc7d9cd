"""Jobs that became ready some time ago."""

from __future__ import annotations

from collections.abc import Callable

from sharq.operations.operations import Operations
from sharq.operations.scripts import Scripts
from sharq.results import NewJob
from sharq.settings.options import QueueSettings
from tests.support.direct import DirectStore

_CLOCK = """
local now_us = {now_us}
local now = math.floor(now_us / 1000)
local function expire(key, ms)
  redis.call('PEXPIRE', key, ms)
end

local function set_for(key, value, ms)
  redis.call('SET', key, value, 'PX', ms)
end
"""


class Past:
    """Enqueues jobs as they would have been some ms before it was made. `home` tells where a queue
    lives.
    """

    def __init__(self, store: DirectStore, prefix: str, home: Callable[[str, str], str]) -> None:
        self._store = store
        self._prefix = prefix
        self._home = home
        seconds, us = store.command("TIME")
        self._now_us = int(seconds) * 1_000_000 + int(us)

    def enqueue(self, ago: int, queue_type: str, queue_id: str, job_id: str) -> None:
        """Enqueue a job of a queue without a rate that was ready for `ago` ms then."""
        scripts = Scripts({"clock": _CLOCK.format(now_us=self._now_us - ago * 1000)})
        operations = Operations(self._prefix, QueueSettings(), scripts)
        digest = scripts.digests["enqueue"]
        self._store.command("SCRIPT", "LOAD", scripts.by_digest[digest])
        job = NewJob(queue_type, queue_id, job_id, b"1", 0, -1)
        self._store.run(operations.enqueue(self._home(queue_type, queue_id), [job]))
