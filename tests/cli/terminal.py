"""A terminal with a program in it: its size, its keys, and what it shows."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tests.support.stores import wait_for

STYLE = re.compile(r"\x1b\[[0-9;]*m")
HOME = "\x1b[H"
ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"
_TAKE_TERMINAL = """\
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


class Terminal:
    """Runs a command as the foreground of a terminal of its own, until the context is left."""

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        *,
        columns: int = 80,
        lines: int = 24,
        cwd: Path | None = None,
    ) -> None:
        self._near, self._far = pty.openpty()
        self.resize(columns, lines)
        self.before = self.modes()
        self._written = bytearray()
        kept = {name: value for name, value in environ.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, "-IS", "-c", _TAKE_TERMINAL, *command],
            stdin=self._far,
            stdout=self._far,
            stderr=self._far,
            env={**kept, "TERM": "xterm-256color"},
            cwd=cwd,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        """All that was written."""
        return self._written.decode(errors="replace").replace("\r\n", "\n")

    @property
    def frames(self) -> list[str]:
        """Each screen that was drawn, without styles."""
        return [STYLE.sub("", frame) for frame in self.text.split(HOME)[1:]]

    @property
    def screen(self) -> str:
        """The last screen that is drawn by now. One that fills the terminal is drawn as a whole."""
        frames = self.frames
        if len(frames) > 1 and _height(frames[-1]) < _height(frames[-2]) == self._lines:
            return frames[-2]
        return frames[-1] if frames else ""

    def modes(self) -> list[Any]:
        """How the terminal is set: its echo, its keys."""
        return termios.tcgetattr(self._far)

    def wait_for(self, what: str) -> str:
        """Wait until the screen has some text (a regular expression): the screen."""

        def look() -> str | None:
            assert self.process.poll() is None, self.text
            screen = self.screen
            return screen if re.search(what, screen) else None

        found: str = wait_for(f"the screen has {what}", look, 15)
        return found

    def type(self, keys: bytes) -> None:
        os.write(self._near, keys)

    def resize(self, columns: int, lines: int) -> None:
        self._lines = lines
        fcntl.ioctl(self._near, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for the end of the program: its exit code."""
        code = self.process.wait(15)
        # All that it wrote is there to be read by now.
        wait_for("nothing more comes", lambda: not _waits(self._far), 5)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        os.close(self._far)
        self._reader.join(10)
        os.close(self._near)

    def _read(self) -> None:
        with suppress(OSError):  # Linux tells the end of a terminal by EIO
            while data := os.read(self._near, 65536):
                self._written += data


def _height(frame: str) -> int:
    return len(frame.splitlines())


def _waits(descriptor: int) -> int:
    """Bytes that were written to a terminal and not yet read from its other end."""
    (count,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0" * 4))
    return int(count)
