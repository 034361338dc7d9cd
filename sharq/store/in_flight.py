"""How many calls may be on their way to the store at once. Pure."""

from __future__ import annotations

from typing import Final

_FIRST: Final = 1024
_LEAST: Final = 16

# Ticks that the store may need for the calls in flight.
_TICKS_OF_WORK: Final = 4


class Window:
    """A bound that follows the store's speed.

    A call that was sent is carried out, even if its caller has given up; an overloaded store would
    work only for such callers. `size` is the largest useful number of calls in flight, at most
    `most`. Time is in ticks.
    """

    __slots__ = ("_done", "_most", "_sent", "size")

    def __init__(self, most: int) -> None:
        self._most = most
        self.reset()

    def reset(self) -> None:
        """Start again, on a new connection."""
        self.size = min(_FIRST, self._most)
        self._sent = 0
        self._done = 0

    def on_sent(self, count: int) -> None:
        """Note the number of calls that were sent."""
        self._sent += count

    def on_tick(self, under_way: int) -> None:
        """A tick has passed; this number of calls has no answer yet."""
        done = self._sent - under_way
        answered, self._done = done - self._done, done
        if under_way > _TICKS_OF_WORK * answered:
            self.size = max(_LEAST, min(self.size, _TICKS_OF_WORK * answered))
        else:
            self.size = min(self._most, 2 * self.size)
