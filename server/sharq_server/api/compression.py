"""Compressed bodies: gzip (RFC 1952), decoded as they come, up to a limit. Pure."""

from __future__ import annotations

import zlib
from typing import Final

PLAIN: Final = frozenset(("", "identity"))
GZIP: Final = frozenset(("gzip", "x-gzip"))
"""The values of Content-Encoding, in lower case, that are understood."""

MOST_MEMBERS: Final = 1024
"""Members of one body, at most: each takes time, even if it is empty."""

_GZIP_WRAPPER: Final = 16 + zlib.MAX_WBITS
# The rest behind a member is copied: little at a time.
_SLICE: Final = 16 * 1024


class TooLarge(Exception):
    """The decoded body is over its limit."""


class BrokenGzip(Exception):
    """The body is no gzip, or not all of it has come. The text says which, in a sentence."""


class GzipDecoder:
    """Decodes one body of up to `limit` bytes, which also bounds the memory and time it takes."""

    def __init__(self, limit: int) -> None:
        self._room = limit
        self._members = 0
        self._member = zlib.decompressobj(_GZIP_WRAPPER)
        self._inside = False

    def feed(self, data: bytes) -> bytes:
        """What the next bytes of the body mean. Raises `TooLarge` and `BrokenGzip`."""
        pieces = []
        for at in range(0, len(data), _SLICE):
            rest = data[at : at + _SLICE]
            while rest:
                pieces.append(self._decode(rest))
                rest = self._rest()
        return b"".join(pieces)

    def end(self) -> None:
        """The body has come. Raises `BrokenGzip` if that was not all; no bytes are no body."""
        if self._inside:
            raise BrokenGzip("The body ends in the middle of its gzip.")

    def _decode(self, data: bytes) -> bytes:
        if not self._inside:
            self._members += 1
            if self._members > MOST_MEMBERS:
                raise BrokenGzip(f"The body has more than {MOST_MEMBERS} gzip members.")
            self._inside = True
        try:
            # One more than fits, and never 0, which would mean no limit.
            decoded = self._member.decompress(data, self._room + 1)
        except zlib.error:
            raise BrokenGzip("The body is not valid gzip.") from None
        self._room -= len(decoded)
        if self._room < 0:
            raise TooLarge
        return decoded

    def _rest(self) -> bytes:
        """What is behind the end of a member: the next one, if anything."""
        if not self._member.eof:
            return b""
        rest = self._member.unused_data
        self._member = zlib.decompressobj(_GZIP_WRAPPER)
        self._inside = False
        return rest
