"""Clients that tell the real cost of a job at its end, pause its queue, group or type, or fail.

They take jobs as all pollers do, and end some of them by a call of their own to the store.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import hiredis

from sharq.failures import error_word
from sharq.operations.operations import Operations
from sharq.results import DEAD, QUEUED, SUCCESS, Ended, JobError, Told
from sharq.settings.options import QueueSettings
from tests.faults.audit import audited_scripts
from tests.faults.callers import Run
from tests.faults.http_client import Job
from tests.faults.pollers import Poller, number_of
from tests.faults.stand import FAILURES, FINISHED_RETENTION, INTERVAL_RETENTION
from tests.faults.tenants import FAILING, LIMITED
from tests.support.direct import DirectStore

_PATIENCE: Final = 3.0
_SETTLED: Final = 0.6
"""Part of the jobs of limited types that are ended so."""

_WAYS: Final = ("finish", "finish", "release", "return", "fail", "fail", "reject")
_OPERATIONS: Final = {
    "finish": "finish",
    "release": "release",
    "return": "release",
    "fail": "fail",
    "reject": "fail",
}
_COSTS: Final = (1, 1, 2, 6)
_PAUSED: Final = 0.04
_PAUSES: Final = (20, 200, 600)


class Settler(Poller):
    """A poller that ends jobs of limited types with more than a finish or a release takes."""

    def __init__(self, run: Run, name: str, number: int) -> None:
        super().__init__(run, name, number)
        self._socket = str(Path(run.places.folder) / "store.sock")
        self._store: DirectStore | None = None
        self._scripts = audited_scripts()
        settings = QueueSettings(
            finished_retention=FINISHED_RETENTION, interval_retention=INTERVAL_RETENTION, **FAILURES
        )
        self._operations = Operations(run.places.setup.prefix, settings, self._scripts)

    async def _deal_with(self, queue_type: str, job: Job) -> None:
        chance = 1.0 if self._run.well_behaved else self._caller.rng.random()
        if queue_type not in (*LIMITED, FAILING) or chance > _SETTLED:
            await super()._deal_with(queue_type, job)
            return
        rng = self._caller.rng
        how, cost = rng.choice(_WAYS), rng.choice(_COSTS)
        delay = rng.choice(("", "", "0", "120")) if how == "fail" else "0"
        told = Told(job.queue_id, job.job_id, str(number_of(job.lease)), how, str(cost), delay)
        if how in ("fail", "reject"):
            error = JobError(rng.choice(("ValueError", "OSError")), "told by a settler")
            told = told._replace(worker="settler%201", error=error_word(error))
        if queue_type in LIMITED and rng.random() < _PAUSED:
            scope = rng.choice(("queue", "group", "type"))
            told = told._replace(pause=str(rng.choice(_PAUSES)), scope=scope)
        names = {"type": queue_type, "queue": job.queue_id, "job": job.job_id}
        operation = self._caller.log.invoke(
            _OPERATIONS[how], **names, n=number_of(job.lease), **_more(how, delay)
        )
        try:
            (ended,) = await asyncio.to_thread(self._settle, queue_type, told)
        except (OSError, hiredis.ReplyError):
            operation.unknown()
            self._store = None
            return
        if ended.outcome in (SUCCESS, QUEUED, DEAD):
            operation.ok()
        else:
            operation.fail(ended.outcome)

    def _settle(self, queue_type: str, told: Told) -> list[Ended]:
        if self._store is None:
            self._store = DirectStore(self._socket, _PATIENCE)
        call = self._operations.settle(queue_type, [told])
        try:
            return self._store.run(call)
        except hiredis.ReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        self._store.load(self._scripts)
        return self._store.run(call)


def _more(how: str, delay: str) -> dict[str, Any]:
    """What the history keeps of the way a lease was ended."""
    if how == "reject":
        return {"retry": False}
    if how == "fail":
        return {"delay": int(delay)} if delay else {}
    return {"count_requeue": how != "return"}
