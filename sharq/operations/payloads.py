"""Payloads: strict JSON text on the way in, Python values on the way out of the library.

The stored text is put into answers as it is. So only strict JSON (RFC 8259, in UTF-8) that can be
read back is accepted, on every path.
"""

from __future__ import annotations

from typing import Any

from sharq._fastpath import json_dump, json_value
from sharq.codec import json_text
from sharq.codec.json_text import MAX_DEPTH
from sharq.errors import BadArgumentException, PayloadTooLarge, UnreadablePayload
from sharq.identifiers import invalid


def check_payload(text: bytes, max_bytes: int) -> bytes:
    """Return the JSON text without surrounding white space, or raise.

    Raises `PayloadTooLarge` over `max_bytes`, `NotJson` for text that is not strict JSON, and
    `BadArgumentException` for text that is nested too deep or has a number that cannot be read
    back.
    """
    if type(text) is not bytes:
        if not isinstance(text, bytes):
            raise invalid("payload")
        text = bytes(text)
    if len(text) > max_bytes:
        raise PayloadTooLarge(f"`payload` is larger than {max_bytes} bytes.")
    value = json_value(text, MAX_DEPTH)
    if value is None:
        raise json_text.refusal("`payload`", text, MAX_DEPTH) or invalid("payload")
    return value


def encode_payload(value: Any, max_bytes: int) -> bytes:
    """Return a Python value as JSON text; raise if JSON cannot hold it."""
    try:
        encoded = json_dump(value, MAX_DEPTH)
    except OverflowError as error:
        if str(error) not in json_text.FAULTS:
            raise
        raise json_text.refusal_of("`payload`", str(error)) from None
    except RecursionError:
        raise BadArgumentException("`payload` nests too deep to be looked through.") from None
    except ValueError as error:
        raise BadArgumentException(f"`payload` has an invalid value: {error}.") from None
    if len(encoded) > max_bytes:
        raise PayloadTooLarge(f"`payload` is larger than {max_bytes} bytes.")
    return encoded


def decode_payload(text: bytes, lease: str) -> Any:
    """Return the payload of a leased job as a Python value; numbers may have any length and size.

    Raises `UnreadablePayload` for text that no check would accept, or if no room is left on the
    stack.
    """
    try:
        return json_text.read(text)
    except (ValueError, RecursionError):
        message = f"The payload of the job under lease {lease} cannot be read as JSON."
        raise UnreadablePayload(message, lease, text) from None
