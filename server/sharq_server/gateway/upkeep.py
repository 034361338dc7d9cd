"""The upkeep of a server that has no thread of its own: done by requests, after their answers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Final

from sharq.blocking_engine import SyncEngine
from sharq.errors import SharqException
from sharq_server.api.durability import answering, evictions, findings

_log = logging.getLogger(__name__)

_LOOK_EVERY: Final = 3600.0

_STEPS: Final = 20
"""Steps of a bulk, at most, after the answer to the request that began it."""


class Upkeep:
    """Sweeps for one process, by one thread at a time, when a sweep is due. Whoever asks for the
    warnings has it look how the store keeps its data, once an hour.

    Of all servers on a store one sweeps at a time, so many processes may try. A bulk of dead
    letters is begun here, and what is left after some steps goes on with the sweeps.
    """

    def __init__(self, engine: SyncEngine) -> None:
        self._engine = engine
        self._warnings: Sequence[str] = ()
        settings = engine.flows.settings
        self._sweeps = settings.enable_requeue_script
        self._interval = settings.job_requeue_interval / 1000
        self._busy = threading.Lock()
        self._look_at = time.monotonic()
        self._due_at = time.monotonic()
        self._failing = False
        self._bulks: set[str] = set()

    @property
    def due(self) -> bool:
        """Whether there is something to do."""
        return self._sweeps and time.monotonic() >= self._due_at

    @property
    def bulks_begin(self) -> bool:
        """Whether there are bulks whose first steps are to be done."""
        return bool(self._bulks)

    def advance_bulk(self, queue_type: str) -> None:
        """A bulk of dead letters has begun: its first steps are work."""
        self._bulks.add(queue_type)

    def work(self) -> None:
        """Do what is due. A failure of the store is logged, once until it is over."""
        if not self._busy.acquire(blocking=False):
            return
        try:
            # Before the sweep, which would go on with them.
            self._begin_bulks()
            if self.due:
                self._due_at = time.monotonic() + self._interval
                self._due_at = time.monotonic() + self._engine.sweep_when_due()
        except SharqException as error:
            if not self._failing:
                _log.warning("Expired jobs are not taken back: %s", error)
            self._failing = True
        except Exception:
            _log.exception("Expired jobs are not taken back: a bug in the sweep")
        else:
            if self._failing:
                _log.info("Expired jobs are taken back again")
            self._failing = False
        finally:
            self._busy.release()

    def _begin_bulks(self) -> None:
        dead = self._engine.flows.dead
        for queue_type in tuple(self._bulks):
            self._bulks.discard(queue_type)
            for _ in range(_STEPS):
                if not self._engine.run(dead.advance(queue_type, self._engine.server_id)):
                    break

    def warnings(self) -> Sequence[str]:
        """What to tell of the store, which is looked at now if that is due; findings are logged."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY
            try:
                nodes = answering(self._engine.look_at_store())
            except SharqException:  # it has just answered, and is told of when it does not
                self._look_at = now
            else:
                self._warnings = evictions(nodes)
                for level, line in findings(nodes):
                    _log.log(level, "%s", line)
        return self._warnings
