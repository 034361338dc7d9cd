"""Values as people write and read them: times, numbers, and text of any origin. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from sharq.cli.problems import WrongUsage
from sharq.errors import BadArgumentException
from sharq.identifiers import check_group, check_identifier

NONE: Final = "none"
"""What gives a limit back."""

NOTHING: Final = "-"
"""What is shown where there is no value."""

_UNITS: Final = {"": 1, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_TIME: Final = re.compile(r"((?:0|[1-9][0-9]{0,19})(?:\.[0-9]{1,20})?)(ms|s|min|h|d|)")
_TIMES: Final = "milliseconds, or a number with one of the units ms, s, min, h and d, such as 1.5s"
_INTEGER: Final = re.compile(r"-?[0-9]{1,19}")
_STEPS: Final = ((86_400_000, "d", "h"), (3_600_000, "h", "min"), (60_000, "min", "s"))
_PART: Final = {"h": 3_600_000, "min": 60_000, "s": 1000}


# ---- out ----


def visible(text: str, *, lines: bool = False) -> str:
    """Text without what a terminal would act on: such characters become escapes.

    With `lines` its ends of lines stay.
    """
    if text.isprintable():
        return text
    return "".join(
        each
        if each.isprintable() or (lines and each == "\n")
        else each.encode("unicode_escape").decode()
        for each in text
    )


def json_line(text: bytes) -> str:
    """JSON text in one line, with every number and text as it stands."""
    # Ends of lines and tabs are only between the values: in a text they have to be escapes.
    return visible(re.sub(r"[\r\n\t]+", " ", text.decode("utf-8", "backslashreplace")).strip())


def duration(milliseconds: float | None) -> str:
    """A time for people: `230 ms`, `2.75 s`, `4 min 10 s`; `-` for None."""
    if milliseconds is None:
        return NOTHING
    if milliseconds < 1000:
        return f"{milliseconds:g} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.3f}".rstrip("0").rstrip(".") + " s"
    for size, unit, smaller in _STEPS:
        if milliseconds >= size:
            whole, rest = divmod(int(milliseconds), size)
            part = rest // _PART[smaller]
            return f"{whole} {unit}" + (f" {part} {smaller}" if part else "")
    raise AssertionError(milliseconds)


def moment(milliseconds: float | None) -> str:
    """A time in milliseconds since 1970 as `2026-05-01 12:00:00 UTC`; `-` for None."""
    if milliseconds is None:
        return NOTHING
    try:
        return f"{datetime.fromtimestamp(milliseconds // 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{milliseconds:g} ms"


def shown(value: Any) -> str:
    """A value of an answer; `-` for None."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


# ---- in; each raises `WrongUsage` ----


def name(field: str, text: str) -> str:
    """The name of a type, queue, job or group."""
    check = check_group if field == "group" else check_identifier
    try:
        return check(field, text)
    except BadArgumentException as error:
        raise _invalid(field.upper().removeprefix("QUEUE_"), text, error.expected) from None


def text(option: str, given: str) -> str:
    """Text that can be sent."""
    if not is_utf8(given):
        raise _invalid(option, given, "text in UTF-8")
    return given


def milliseconds(option: str, text: str) -> bytes:
    """A time as JSON text of milliseconds, exactly: `1.5s` is 1500, `2.5` is 2.5."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise _invalid(option, text, _TIMES)
    if not match[2]:
        # As it was written: the server judges 1.0 and 1.0005.
        return match[1].encode()
    value = f"{Decimal(match[1]) * _UNITS[match[2]]:f}"
    return (value.rstrip("0").rstrip(".") if "." in value else value).encode()


def integer(option: str, text: str) -> bytes:
    """A whole number as JSON text."""
    if _INTEGER.fullmatch(text) is None:
        raise _invalid(option, text, "a whole number")
    return b"%d" % int(text)


def count(option: str, text: str, most: int) -> int:
    """A whole number from 1 to `most`."""
    if _INTEGER.fullmatch(text) is None or not 1 <= int(text) <= most:
        raise _invalid(option, text, f"a whole number from 1 to {most}")
    return int(text)


def seconds(option: str, text: str, most: int) -> float:
    """Seconds, more than 0 and up to `most`."""
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) is None or not 0 < float(text) <= most:
        raise _invalid(option, text, f"seconds, more than 0 and up to {most}")
    return float(text)


def since_1970(option: str, text: str) -> int:
    """A moment in milliseconds since 1970, from that or from ISO 8601; without a zone it is UTC."""
    if text.isascii() and text.isdigit() and len(text) > 8:
        return int(text[:20])
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            found = found.replace(tzinfo=UTC)
        return int(found.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise _invalid(
            option, text, "milliseconds since 1970, or a time such as 2026-05-01T12:00Z"
        ) from None


def is_utf8(given: str) -> bool:
    """Whether text can be written as UTF-8; an argument with other bytes cannot."""
    try:
        given.encode()
    except UnicodeEncodeError:
        return False
    return True


def _invalid(what: str, text: str, expected: str | None) -> WrongUsage:
    given = visible(text if len(text) <= 100 else f"{text[:100]}…")
    return WrongUsage(f"{what} cannot be {given!r}: expected {expected}.")
