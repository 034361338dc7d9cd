"""The worker's log: an event and its fields, as text or as JSON."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any, Final

log: Final = logging.getLogger("sharq.worker")

TEXT: Final = "text"
JSON: Final = "json"

_FORMAT: Final = "%(asctime)s %(levelname)s %(message)s"
_REMINDER: Final = 60.0
_MOST_CAUSES: Final = 100


class Event:
    """A message of `event` and `key=value` pairs."""

    def __init__(self, event: str, fields: dict[str, Any]) -> None:
        self.event = event
        self.fields = fields

    def __str__(self) -> str:
        fields = (f"{name}={_word(value)}" for name, value in self.fields.items())
        return " ".join([self.event, *fields])


def note(level: int, event: str, fault: BaseException | None = None, /, **fields: Any) -> None:
    """Log an event; with `fault`, its traceback too."""
    if log.isEnabledFor(level):
        log.log(level, "%s", Event(event, fields), exc_info=fault)


def _text(value: Any) -> str:
    """Any value in one line."""
    try:
        text = str(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if text.isprintable() else repr(text)


def _word(value: Any) -> str:
    """Any value as one word, in quotes if it would be several."""
    text = _text(value)
    plain = text.isprintable() and text and not any(each in " \"'=" for each in text)
    quoted = text.startswith("'") and text.endswith("'")  # since it was not printable
    return text if plain or quoted else repr(text)


class Causes:
    """Logs an error once for each cause, and then each minute how often it came.

    `clock` is monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[tuple[Any, ...], tuple[float, int]] = {}

    def note(self, level: int, event: str, **fields: Any) -> None:
        """Log an event, unless it was logged lately; events with the same fields are the same."""
        cause = (event, *fields.values())
        now = self._clock()
        since, times = self._seen.get(cause, (-_REMINDER, 0))
        if now - since >= _REMINDER:
            note(level, event, **fields, **({"times": times + 1} if times else {}))
            since, times = now, 0
        else:
            times += 1
        if len(self._seen) >= _MOST_CAUSES:
            self._seen.clear()
        self._seen[cause] = (since, times)

    def over(self) -> None:
        """All is well again: the next event is logged at once."""
        self._seen.clear()


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, event and its fields."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
        }
        told = record.args[0] if isinstance(record.args, tuple) and record.args else None
        if isinstance(told, Event):
            line |= {"event": told.event, **told.fields}
        else:
            line["event"] = record.getMessage()
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, separators=(",", ":"), default=_text)


def show_unless_configured() -> None:
    """Send the log to the standard error, if the program has not said where it goes."""
    if not log.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(_FORMAT))
        log.addHandler(handler)
        log.setLevel(logging.INFO)


def set_up(form: str) -> None:
    """Send the log to the standard error, as `TEXT` or as `JSON`."""
    handler = logging.StreamHandler()
    if form == JSON:
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter(_FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
