"""What the API is asked to set, as texts: "" leaves a value, "-" gives it back."""

from __future__ import annotations

from typing import Any, NamedTuple

from sharq.results import REMOVE, LimitValues, Removal


class LimitChanges(NamedTuple):
    """Changes of limits."""

    interval: str = ""
    burst: str = ""
    concurrency: str = ""
    group: str = ""
    reason: str = ""

    def values(self) -> LimitValues:
        """The same as a caller gives them."""
        return LimitValues(
            _value(self.interval, float),
            _value(self.burst, int),
            _value(self.concurrency, int),
            _value(self.group, str),
            _value(self.reason, str),
        )


def pause_for(text: str) -> int | Removal | None:
    """The length of a pause (ms): "" is an open one, "-" its end."""
    return _value(text, int)


def _value(text: str, kind: type[Any]) -> Any:
    if text == "-":
        return REMOVE
    return kind(text) if text else None
