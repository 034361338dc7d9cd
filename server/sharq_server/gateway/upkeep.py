"""The upkeep of a server that has no thread of its own: done by requests, after their answers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Final

from sharq.blocking_engine import SyncEngine
from sharq.errors import SharqException
from sharq_server.api.durability import evictions, findings

_log = logging.getLogger(__name__)

_LOOK_EVERY: Final = 3600.0


class Upkeep:
    """Sweeps for one process, by one thread at a time, when a sweep is due. Whoever asks for the
    warnings has it look how the store keeps its data, once an hour.

    Of all servers on a store one sweeps at a time, so many processes may try.
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

    @property
    def due(self) -> bool:
        """Whether there is something to do."""
        return self._sweeps and time.monotonic() >= self._due_at

    def work(self) -> None:
        """Do what is due. A failure of the store is logged, once until it is over."""
        if not self._busy.acquire(blocking=False):
            return
        try:
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

    def warnings(self) -> Sequence[str]:
        """What to tell of the store, which is looked at now if that is due; findings are logged."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY
            try:
                nodes = self._engine.look_at_store()
            except SharqException:  # it has just answered, and is told of when it does not
                self._look_at = now
            else:
                self._warnings = evictions(nodes)
                for level, line in findings(nodes):
                    _log.log(level, "%s", line)
        return self._warnings
