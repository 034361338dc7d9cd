"""Keys of a terminal, as they are pressed: no line is waited for, and nothing is echoed."""

from __future__ import annotations

import asyncio
import os
import re
import termios
import tty
from collections.abc import Callable
from typing import Any, Final, TextIO

_NAMES: Final = {
    b"\t": "tab",
    b"\x1b[Z": "shift-tab",
    **{
        start + letter: name
        for start in (b"\x1b[", b"\x1bO")
        for letter, name in ((b"A", "up"), (b"B", "down"), (b"C", "right"), (b"D", "left"))
    },
}
_PARTS: Final = re.compile(rb"\x1b[\[O][0-9;]*[A-Za-z~]|\x1b?[^\x1b]", re.DOTALL)
_LONGEST: Final = 16


class KeyReader:
    """From bytes to the names of keys; a letter is its own name. Pure."""

    def __init__(self) -> None:
        self._rest = b""

    def read(self, data: bytes) -> list[str]:
        """The keys that are complete by now; those without a name here are left out."""
        data = self._rest + data
        keys, end = [], 0
        for match in _PARTS.finditer(data):
            if match[0] in (b"\x1b[", b"\x1bO") and match.end() == len(data):
                # The rest of the key is still on its way.
                break
            end = match.end()
            text = match[0]
            if text in _NAMES:
                keys.append(_NAMES[text])
            elif len(text) == 1 and text.isalnum():
                keys.append(text.decode().lower())
        self._rest = data[end:][:_LONGEST]
        return keys


class Keys:
    """The keys of the terminal of `stream`, in the running event loop; none where it has none.

    `close` gives the terminal back as it was.
    """

    def __init__(self, stream: TextIO, on_key: Callable[[str], None]) -> None:
        self._descriptor = stream.fileno() if stream.isatty() else None
        self._on_key = on_key
        self._reader = KeyReader()
        self._before: list[Any] | None = None

    def open(self) -> None:
        """Begin to read; Ctrl-C and Ctrl-Z are signals, as ever."""
        if self._descriptor is not None and self._before is None:
            self._before = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor, termios.TCSANOW)
            asyncio.get_running_loop().add_reader(self._descriptor, self._read)

    def close(self) -> None:
        """Read no more."""
        if self._descriptor is not None and self._before is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            termios.tcsetattr(self._descriptor, termios.TCSANOW, self._before)
            self._before = None

    def _read(self) -> None:
        assert self._descriptor is not None
        try:
            data = os.read(self._descriptor, 1024)
        except OSError:
            data = b""
        if not data:
            # The terminal is gone: there are no more keys.
            asyncio.get_running_loop().remove_reader(self._descriptor)
            return
        for key in self._reader.read(data):
            self._on_key(key)
