"""How long the store takes for the calls of each script, told to an observer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sharq.operations.observing import SCRIPT, names_in_calls
from sharq.store.wire import Entry


class CallTimer:
    """Takes the times of the calls of a link. `digests` maps the name of a script to its SHA-1.

    `on_answer` gets the name and the seconds between the write of a call and its answer: with the
    way there and back, and what the store did before. `clock` is monotonic, in seconds.
    """

    def __init__(
        self,
        digests: Mapping[str, str],
        on_answer: Callable[[str, float], None],
        clock: Callable[[], float],
    ) -> None:
        self._names = names_in_calls(digests)
        self._on_answer = on_answer
        self._clock = clock

    def on_sent(self, entries: Iterable[Entry[Any]]) -> None:
        """These calls are sent now."""
        now = self._clock()
        for entry in entries:
            entry.sent_at = now

    def on_reply(self, entry: Entry[Any]) -> None:
        """A call that was sent has its answer now."""
        script = self._names.get(entry.call.packed[SCRIPT])
        if script is not None:
            self._on_answer(script, self._clock() - entry.sent_at)
