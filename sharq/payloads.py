"""Payloads: strict JSON text on the way in, Python values on the way out of the library.

The stored text is spliced into answers as it is, so that nothing but strict JSON (RFC 8259, in
UTF-8, without lone surrogates) may come in, by whichever way.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from sharq._fastpath import json_depth, json_dump, json_value
from sharq.errors import BadArgumentException, PayloadTooLarge
from sharq.identifiers import invalid

MAX_DEPTH = 500
"""How deep arrays and objects of a payload may nest."""

_decoder: Final = msgspec.json.Decoder()
_raw_decoder: Final = msgspec.json.Decoder(msgspec.Raw)

# Python reads integers of up to 4,300 digits, in time that grows with the square of their number.
_DIGITS_AT_ONCE: Final = 4000


def check_payload(text: bytes, max_bytes: int) -> bytes:
    """Return the JSON text without surrounding white space, or raise.

    Raises `PayloadTooLarge` over `max_bytes` and `BadArgumentException` for what is not strict
    JSON.
    """
    if type(text) is not bytes:
        if not isinstance(text, bytes):
            raise invalid("payload")
        text = bytes(text)
    if len(text) > max_bytes:
        raise PayloadTooLarge(f"`payload` is larger than {max_bytes} bytes.")
    value = json_value(text, MAX_DEPTH)
    if value is None:
        raise _refusal(text)
    return value


def is_too_deep(text: bytes) -> bool:
    """Tell whether a JSON text nests deeper than `MAX_DEPTH`."""
    return text.count(b"[") + text.count(b"{") > MAX_DEPTH and json_depth(text) > MAX_DEPTH


def encode_payload(value: Any, max_bytes: int) -> bytes:
    """Return a Python value as JSON text; raise for one that JSON cannot hold as it is."""
    try:
        encoded = json_dump(value, MAX_DEPTH)
    except OverflowError:
        raise _too_deep() from None
    except RecursionError:
        raise BadArgumentException("`payload` nests too deep to be looked through.") from None
    except ValueError as error:
        raise BadArgumentException(f"`payload` has an invalid value: {error}.") from None
    if len(encoded) > max_bytes:
        raise PayloadTooLarge(f"`payload` is larger than {max_bytes} bytes.")
    return encoded


def decode_payload(text: bytes) -> Any:
    """Return JSON text as a Python value; numbers may have any length and size."""
    try:
        return _decoder.decode(text)
    except msgspec.DecodeError:
        # It is JSON, so that what was refused is a number.
        return json.loads(text, parse_int=_read_integer)


def _too_deep() -> BadArgumentException:
    return BadArgumentException(f"`payload` nests deeper than {MAX_DEPTH} levels.")


def _refusal(text: bytes) -> BadArgumentException:
    """What is wrong with a text that is no payload."""
    if is_too_deep(text):
        return _too_deep()
    try:
        text.decode()
        _raw_decoder.decode(text)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        return BadArgumentException(f"`payload` is not valid JSON: {error}.")
    return BadArgumentException("`payload` is not valid JSON.")


def _read_integer(digits: str) -> int:
    if digits.startswith("-"):
        return -_read_integer(digits[1:])
    if len(digits) <= _DIGITS_AT_ONCE:
        return int(digits)
    half = len(digits) // 2
    power: int = 10**half
    return _read_integer(digits[:-half]) * power + _read_integer(digits[-half:])
