"""Signatures of Standard Webhooks (https://www.standardwebhooks.com), symmetric. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from sharq.errors import BadArgumentException
from sharq.forwarding.endpoint import Header

_PREFIX: Final = "whsec_"
_LEAST_BYTES: Final = 24
_MOST_BYTES: Final = 64
_EXAMPLE: Final = 'echo "whsec_$(openssl rand -base64 32)"'


def read_secrets(text: str, origin: str) -> list[bytes]:
    """The keys in the words of a text: one or, while a secret is exchanged, several.

    Raises `BadArgumentException`, which names `origin` and does not show a secret.
    """
    words = text.split()
    if not words:
        raise BadArgumentException(f"{origin} has no secret. This makes one: {_EXAMPLE}")
    return [_key(word, origin) for word in words]


def _key(word: str, origin: str) -> bytes:
    expected = (
        f"{origin} has an invalid secret: {_PREFIX} and {_LEAST_BYTES} to {_MOST_BYTES} bytes in "
        f"base64. This makes one: {_EXAMPLE}"
    )
    if not word.startswith(_PREFIX):
        raise BadArgumentException(expected)
    try:
        key = base64.b64decode(word.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise BadArgumentException(expected) from None
    if not _LEAST_BYTES <= len(key) <= _MOST_BYTES:
        raise BadArgumentException(expected)
    return key


def signature_headers(
    keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes
) -> list[Header]:
    """The headers that sign a body, with a signature by each key; none without keys.

    `timestamp` is in seconds since 1970. A full stop in the id would make the signed text
    ambiguous; the token of a lease has none.
    """
    if not keys:
        return []
    signed = b"%s.%d.%s" % (message_id.encode("ascii"), timestamp, body)
    signatures = (
        "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys
    )
    return [
        ("webhook-id", message_id),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", " ".join(signatures)),
    ]
