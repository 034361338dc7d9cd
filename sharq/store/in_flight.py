"""How many calls may be on their way to the store at once. Pure."""

from __future__ import annotations

from typing import Final

_FIRST: Final = 1024
_LEAST: Final = 16

# Ticks that the store may need for what is on its way.
_TICKS_OF_WORK: Final = 4


class Window:
    """A bound that follows what the store does.

    What was sent is carried out, though its caller may have given up by then; a store that is given
    more than it can do would work for such callers alone. `size` is the most calls that are worth
    sending, at most `most`. It is told the time in ticks.
    """

    __slots__ = ("_done", "_most", "_sent", "size")

    def __init__(self, most: int) -> None:
        self._most = most
        self.reset()

    def reset(self) -> None:
        """Begin anew, on a new connection."""
        self.size = min(_FIRST, self._most)
        self._sent = 0
        self._done = 0

    def on_sent(self, count: int) -> None:
        """Note that so many calls were sent."""
        self._sent += count

    def on_tick(self, under_way: int) -> None:
        """A tick has passed, and so many calls are without an answer."""
        done = self._sent - under_way
        answered, self._done = done - self._done, done
        if under_way > _TICKS_OF_WORK * answered:
            self.size = max(_LEAST, min(self.size, _TICKS_OF_WORK * answered))
        else:
            self.size = min(self._most, 2 * self.size)
