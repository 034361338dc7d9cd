"""The original's payloads, MessagePack, as strict JSON text."""

from __future__ import annotations

from typing import Final

import msgspec

from sharq._fastpath import json_dump
from sharq.codec.json_text import MAX_DEPTH

BINARY: Final = "binary"
KEYS: Final = "key_not_string"
NOT_FINITE: Final = "not_finite"
NOT_UTF8: Final = "not_utf8"
NOT_MSGPACK: Final = "not_msgpack"
TOO_DEEP: Final = "too_deep"
TOO_LARGE: Final = "too_large"
"""Why a payload cannot come."""

_QUOTE: Final = b'"'


class CannotCome(Exception):
    """A payload that has no form in JSON; `reason` is one of the words above."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def to_json(stored: bytes, max_bytes: int) -> bytes:
    """Return the payload as compact JSON text of `max_bytes` at most, or raise `CannotCome`.

    The order of keys, integers and floats are kept. Under Python 2 the original put its payloads in
    quotes; no other one begins and ends with one.
    """
    if len(stored) >= 2 and stored[:1] == stored[-1:] == _QUOTE:
        stored = stored[1:-1]
    try:
        value = msgspec.msgpack.decode(stored)
    except RecursionError:
        raise CannotCome(TOO_DEEP) from None
    except UnicodeDecodeError:
        raise CannotCome(NOT_UTF8) from None
    except (ValueError, TypeError) as error:
        # msgspec has one class for all that is wrong.
        raise CannotCome(NOT_UTF8 if "UTF-8" in str(error) else NOT_MSGPACK) from None
    try:
        text = json_dump(value, MAX_DEPTH)
    except OverflowError as error:
        reasons = {"too deep": TOO_DEEP, "constant": NOT_FINITE}
        raise CannotCome(reasons.get(str(error), TOO_DEEP)) from None
    except RecursionError:
        raise CannotCome(TOO_DEEP) from None
    except ValueError as error:
        raise CannotCome(KEYS if "key" in str(error) else BINARY) from None
    if len(text) > max_bytes:
        raise CannotCome(TOO_LARGE)
    return text
