"""Memory of exactly so many bytes, so that a sanitizer sees one that is read behind them.

A `bytes` object ends with a NUL that does not count, and a `bytearray` has one too.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_LIBC: Final = ctypes.CDLL(None)
_LIBC.malloc.restype = ctypes.c_void_p
_LIBC.malloc.argtypes = [ctypes.c_size_t]
_LIBC.free.argtypes = [ctypes.c_void_p]


@contextmanager
def exact(data: bytes) -> Iterator[memoryview]:
    """A copy of the data, with nothing behind it."""
    place = _LIBC.malloc(len(data))
    try:
        ctypes.memmove(place, data, len(data))
        with memoryview((ctypes.c_char * len(data)).from_address(place)) as view:
            yield view.cast("B")
    finally:
        _LIBC.free(place)
