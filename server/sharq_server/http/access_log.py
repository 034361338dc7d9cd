"""The access log: a line for each request, in the combined format with the seconds it took."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from functools import lru_cache

_log = logging.getLogger(__name__)

_UNSAFE = re.compile(r'["\\\x00-\x1f\x7f-\U0010ffff]')


class AccessLog:
    """An open access log; `path` may be "-", the standard output.

    The lines of one turn of the loop go out in one write, and a file is only appended to, so
    several processes can share it. Raises OSError if the file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = _open(path)
        self._lines: list[str] = []
        self._failing = False

    def write(
        self,
        *,
        remote: str,
        user: str | None,
        request: str,
        status: int,
        size: int | None,
        referrer: str | None,
        agent: str | None,
        seconds: float,
    ) -> None:
        """Add the line of a request; its answer has a body of `size` bytes (None: unknown).

        `user` is the name of its token, if it has a valid one.
        """
        if not self._lines:
            asyncio.get_running_loop().call_soon(self.flush)
        length = "-" if size is None else size
        self._lines.append(
            f'{remote} - {_quoted(user)} [{_moment(int(time.time()))}] "{_quoted(request)}"'
            f' {status} {length} "{_quoted(referrer)}" "{_quoted(agent)}" {seconds:.6f}\n'
        )

    def flush(self) -> None:
        """Write waiting lines. If the log cannot be written, the service goes on."""
        data = "".join(self._lines).encode()
        self._lines.clear()
        if not data:
            return
        try:
            os.write(self._descriptor, data)
        except OSError as error:
            if not self._failing:
                _log.error("The access log %s cannot be written: %s", self._path, error)
            self._failing = True
        else:
            self._failing = False

    def reopen(self) -> None:
        """Reopen the file by its name, for log rotation."""
        self.flush()
        try:
            descriptor = _open(self._path)
        except OSError as error:
            _log.error("The access log %s cannot be opened again: %s", self._path, error)
            return
        self._close()
        self._descriptor = descriptor

    def close(self) -> None:
        """Write waiting lines, and close the file."""
        self.flush()
        self._close()

    def _close(self) -> None:
        if self._path != "-":
            os.close(self._descriptor)


def _open(path: str) -> int:
    if path == "-":
        return 1
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


@lru_cache(maxsize=1)
def _moment(second: int) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(second))


def _quoted(text: str | None) -> str:
    if not text:
        return "-"
    return _UNSAFE.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
