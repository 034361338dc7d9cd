"""A stream that is given up when its client takes nothing of what was sent."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, Final

from tornado.iostream import IOStream

_LOOKS: Final = 4
_DISCARD: Final = struct.pack("ii", 1, 0)


def discard_unsent(connection: socket.socket) -> None:
    """Have the kernel forget what it could not send when the connection is closed.

    For a client that takes nothing it would keep that, and try again, for minutes.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD)


class PatientStream(IOStream):
    """Closes itself where the kernel takes nothing of what there is to send for `patience`
    seconds; None is for ever. `taken` counts the bytes that the kernel has taken.
    """

    def __init__(self, *arguments: Any, patience: float | None = None, **limits: Any) -> None:
        self.patience = patience
        self.taken = 0
        self._seen_taken = 0
        self._looks = 0
        self._looking: object | None = None
        super().__init__(*arguments, **limits)

    def write(self, data: bytes | memoryview) -> asyncio.Future[None]:
        written = super().write(data)
        if self._looking is None and self.patience is not None and self.writing():
            self._looks = 0
            self._look_later()
        return written

    def write_to_fd(self, data: memoryview) -> int:
        count = super().write_to_fd(data)
        self.taken += count
        return count

    def close(self, exc_info: Any = False) -> None:
        if self._looking is not None:
            self.io_loop.remove_timeout(self._looking)
            self._looking = None
        super().close(exc_info)

    def _look_later(self) -> None:
        assert self.patience is not None
        self._seen_taken = self.taken
        self._looking = self.io_loop.call_later(self.patience / _LOOKS, self._look)

    def _look(self) -> None:
        self._looking = None
        if self.patience is None or not self.writing():
            return
        self._looks = self._looks + 1 if self.taken == self._seen_taken else 0
        if self._looks == _LOOKS:
            discard_unsent(self.socket)
            self.close()
        else:
            self._look_later()
