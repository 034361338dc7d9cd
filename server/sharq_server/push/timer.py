"""A timer with a precision of some microseconds, if the system has one.

An event loop rounds a delay up to its own resolution, a millisecond: that alone costs a twentieth
of a rate of 50 per second. Linux signals the time through a descriptor (timerfd_create(2)), which
any loop can watch; elsewhere the loop's own timer is used.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

_ABSOLUTE: Final = 1  # TFD_TIMER_ABSTIME
_BILLION: Final = 1_000_000_000

_Setter = Callable[[int, int], None]
"""Arms a descriptor for a time of the monotonic clock, in ns; 0 disarms it."""


class PreciseTimer:
    """Calls `callback` at the time that was set last; belongs to the running event loop."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None
        self._descriptor = -1
        if _open is not None:
            with suppress(OSError):
                self._descriptor = _open()
        if self._descriptor >= 0:
            self._loop.add_reader(self._descriptor, self._on_expiry)

    @property
    def precise(self) -> bool:
        """Whether the system has a precise timer."""
        return self._descriptor >= 0

    def set(self, delay: float | None) -> None:
        """Call back `delay` seconds from now, or, with None, never."""
        if self._descriptor >= 0:
            at = 0
            if delay is not None:
                at = time.monotonic_ns() + max(0, round(delay * _BILLION))
            assert _set is not None
            _set(self._descriptor, at)
            return
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if delay is not None:
            self._handle = self._loop.call_later(max(0.0, delay), self._callback)

    def close(self) -> None:
        """Never call back again."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
        elif self._handle is not None:
            self._handle.cancel()
        self._callback = _nothing

    def _on_expiry(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._descriptor, 8)
            self._callback()


def _nothing() -> None:
    """The callback of a closed timer."""


class _Moment(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Moment), ("value", _Moment))


def _system_calls() -> tuple[Callable[[], int] | None, _Setter | None]:
    """The functions that open and arm a timer, or nothing if the system has none."""
    if sys.version_info >= (3, 13) and hasattr(os, "timerfd_create"):
        flags = os.TFD_NONBLOCK | os.TFD_CLOEXEC
        return (
            lambda: os.timerfd_create(time.CLOCK_MONOTONIC, flags=flags),
            lambda fd, at: (
                os.timerfd_settime_ns(fd, flags=os.TFD_TIMER_ABSTIME, initial=at) and None
            ),
        )
    try:
        library: Any = ctypes.CDLL(None, use_errno=True)
        create, settime = library.timerfd_create, library.timerfd_settime
    except (OSError, AttributeError, TypeError):
        return None, None
    setting = _Setting()

    def open_timer() -> int:
        descriptor: int = create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        return descriptor

    def arm(descriptor: int, at: int) -> None:
        setting.value.seconds, setting.value.nanoseconds = divmod(at, _BILLION)
        if settime(descriptor, _ABSOLUTE, ctypes.byref(setting), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    return open_timer, arm


_open, _set = _system_calls()
