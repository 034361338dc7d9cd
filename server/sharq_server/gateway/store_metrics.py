"""The metrics under a WSGI server: what the store tells. What many processes do, none can tell."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final

from sharq.errors import StoreError
from sharq.immediate import Immediate
from sharq_server.telemetry.fields import MOST_NAMED
from sharq_server.telemetry.formats import Form
from sharq_server.telemetry.store_state import StoreState, read_states

_EVERY: Final = 1.0
"""Seconds between two readings, at least."""


class StoreMetrics:
    """The gauges of the store, at most a second old; for the threads of one process."""

    def __init__(self, carrier: Immediate, node: str) -> None:
        self._carrier = carrier
        self._node = node
        self._read_at = float("-inf")
        self._states: Mapping[str, StoreState] = {}
        self._reached = False

    async def scrape(self, form: Form) -> bytes:
        """The gauges, as a text."""
        # Imported where it is needed: it is no part of most processes.
        from sharq_server.telemetry.exposition import Scrape, written

        now = time.monotonic()
        if now >= self._read_at + _EVERY:
            self._read_at = now
            try:
                self._states = await read_states(self._carrier, _first)
                self._reached = True
            except StoreError:
                self._states, self._reached = {}, False
        return written(Scrape(None, self._states, {self._node: self._reached}), form)


def _first(registered: Sequence[str]) -> Sequence[str]:
    return registered[:MOST_NAMED]
