"""JSON text: checked, split, read as Python values, and its errors explained.

msgspec reads usual text. It refuses half a surrogate pair, and a whole text for one odd value in
it; such text is split here.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from sharq._fastpath import json_fault, json_parts, json_value
from sharq.errors import BadArgumentException, NotJson

MAX_DEPTH = 500
"""How deep arrays and objects of a payload may nest."""

MAX_FIELDS = 1000
"""Fields of an object that is split, at most."""

_MAX_TEXT_DEPTH: Final = 512

# Python reads integers of so many digits whatever its limit is, in time that grows with the square.
_DIGITS_AT_ONCE: Final = 600

_decoder: Final = msgspec.json.Decoder()

# The results of `json_fault`, as sentences about the text.
_REFUSED: Final = {
    "too large": "{noun} has a number that is too large.",
    "too long": "{noun} has an integer of more than 4,000 digits.",
    "too deep": "{noun} nests deeper than 500 levels.",
}
_NOT_JSON: Final = {
    "empty": "it is empty",
    "cut off": "it ends too early",
    "misplaced": "byte {at} is not expected there",
    "no utf-8": "byte {at} is not UTF-8",
    "control": "a string has a control character, byte {at}",
    "escape": "a string has an unknown escape, at byte {at}",
    "constant": "it has NaN or an infinity",
    "more": "there is more after its end, at byte {at}",
}
FAULTS: Final = frozenset((*_REFUSED, *_NOT_JSON))
"""The reasons that `json_fault` gives."""


def read(text: bytes) -> Any:
    """Return JSON text as a Python value; integers may have any length.

    Raises ValueError if it is not JSON.
    """
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Half a surrogate pair, or a number beyond msgspec's.
        return json.loads(text.decode(), parse_int=_read_integer)


def is_json(text: bytes, deepest: int = _MAX_TEXT_DEPTH) -> bool:
    """Tell whether a text is strict JSON that can be read back."""
    return json_value(text, deepest) is not None


def fields_of(text: bytes) -> dict[str, bytes] | None:
    """The fields of a JSON object as text, the last of each name; None if it is no object.

    Their values are only separated, not checked. One that a later field of the same name replaces
    has to be JSON, too. Raises `BadArgumentException` for over `MAX_FIELDS`.
    """
    fields: dict[str, bytes] = {}
    parts = _parts_of(text, b"{", 2 * MAX_FIELDS + 1)
    if parts is None:
        return None
    if len(parts) > 2 * MAX_FIELDS:
        raise BadArgumentException(f"An object has more than {MAX_FIELDS} fields.")
    for name, value in zip(parts[::2], parts[1::2], strict=True):
        if not (name.startswith(b'"') and is_json(name)):
            return None
        field: str = read(name)
        if field in fields and not is_json(fields[field]):
            return None
        fields[field] = value
    return fields


def field_of(text: bytes, name: str) -> bytes | None:
    """The text of the last field of a name in a JSON object of any size; None where it has none."""
    parts = _parts_of(text, b"{", len(text)) or []
    plain = f'"{name}"'.encode()
    for at in range(len(parts) - 2, -1, -2):
        found = parts[at]
        if found == plain or (b"\\" in found and is_json(found, 0) and read(found) == name):
            return parts[at + 1]
    return None


def items_of(text: bytes, most: int) -> list[bytes] | None:
    """The elements of a JSON array as text, only separated, not checked; None if it is no array.

    After `most` of them the rest is left out.
    """
    return _parts_of(text, b"[", most)


def _parts_of(text: bytes, bracket: bytes, most: int) -> list[bytes] | None:
    return json_parts(text, most) if text.lstrip()[:1] == bracket else None


def refusal(noun: str, text: bytes, deepest: int = _MAX_TEXT_DEPTH) -> BadArgumentException | None:
    """The error in a text that `noun` names; None if it is strict JSON."""
    found = json_fault(text, deepest)
    if found is None:
        return None
    if found[0] == "too deep" and deepest != MAX_DEPTH:
        return BadArgumentException(f"{noun} nests too deep.")
    return refusal_of(noun, *found)


def refusal_of(noun: str, fault: str, at: int = 0) -> BadArgumentException:
    """The error for one of `FAULTS`, in a text that may nest `MAX_DEPTH` levels."""
    if fault in _REFUSED:
        return BadArgumentException(_REFUSED[fault].format(noun=noun))
    return NotJson(f"{noun} is not valid JSON: {_NOT_JSON[fault].format(at=at)}.")


def has_readable_numbers(text: bytes) -> bool:
    """Tell whether a text is free of a number that `refusal` would name first."""
    found = json_fault(text, _MAX_TEXT_DEPTH)
    return found is None or found[0] not in ("too large", "too long")


def _read_integer(digits: str) -> int:
    if digits.startswith("-"):
        return -_read_integer(digits[1:])
    if len(digits) <= _DIGITS_AT_ONCE:
        return int(digits)
    half = len(digits) // 2
    power: int = 10**half
    return _read_integer(digits[:-half]) * power + _read_integer(digits[-half:])
