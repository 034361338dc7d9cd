"""Payloads: strict JSON text on the way in, Python values on the way out of the library.

The stored text is spliced into answers as it is, so that nothing but strict JSON (RFC 8259, in
UTF-8, without lone surrogates) may come in, by whichever way.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from sharq._fastpath import json_depth
from sharq.errors import BadArgumentException, PayloadTooLarge

MAX_DEPTH = 500
"""How deep arrays and objects of a payload may nest."""

_raw_decoder = msgspec.json.Decoder(msgspec.Raw)

# Python reads integers of up to 4,300 digits, in time that grows with the square of their number.
_DIGITS_AT_ONCE: Final = 4000


def check_payload(text: bytes, max_bytes: int) -> bytes:
    """Return the JSON text without surrounding white space, or raise.

    Raises `PayloadTooLarge` over `max_bytes` and `BadArgumentException` for what is not strict
    JSON.
    """
    if len(text) > max_bytes:
        raise PayloadTooLarge(f"`payload` is larger than {max_bytes} bytes.")
    if is_too_deep(text):
        raise BadArgumentException(f"`payload` nests deeper than {MAX_DEPTH} levels.")
    try:
        text.decode()
        return bytes(_raw_decoder.decode(text))
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise BadArgumentException(f"`payload` is not valid JSON: {error}.") from None


def is_too_deep(text: bytes) -> bool:
    """Tell whether a JSON text nests deeper than `MAX_DEPTH`."""
    return text.count(b"[") + text.count(b"{") > MAX_DEPTH and json_depth(text) > MAX_DEPTH


def encode_payload(value: Any, max_bytes: int) -> bytes:
    """Return a Python value as JSON text; raise for one that JSON cannot hold as it is."""
    try:
        _check_value(value, 0)
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        encoded = text.encode()
    except RecursionError:
        raise BadArgumentException("`payload` nests too deep to be looked through.") from None
    except ValueError as error:
        raise BadArgumentException(f"`payload` has an invalid value: {error}.") from None
    if len(encoded) > max_bytes:
        raise PayloadTooLarge(f"`payload` is larger than {max_bytes} bytes.")
    return encoded


def decode_payload(text: bytes) -> Any:
    """Return JSON text as a Python value; integers may have any length."""
    try:
        return json.loads(text)
    except ValueError:
        # It is JSON, so that what Python refuses to read is the length of an integer.
        return json.loads(text, parse_int=_read_integer)


def _read_integer(digits: str) -> int:
    if digits.startswith("-"):
        return -_read_integer(digits[1:])
    if len(digits) <= _DIGITS_AT_ONCE:
        return int(digits)
    half = len(digits) // 2
    power: int = 10**half
    return _read_integer(digits[:-half]) * power + _read_integer(digits[-half:])


def _check_value(value: Any, depth: int) -> None:
    if value is None or isinstance(value, str | int | float):
        return
    if depth >= MAX_DEPTH:
        raise BadArgumentException(f"`payload` nests deeper than {MAX_DEPTH} levels.")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise BadArgumentException("`payload` has an invalid value: a key is no string.")
            _check_value(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_value(item, depth + 1)
    else:
        kind = type(value).__name__
        # The original's words (they are MessagePack's).
        raise BadArgumentException(
            f"`payload` has an invalid value: can not serialize '{kind}' object."
        )
