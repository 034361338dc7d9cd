"""What the service manager is told (sd_notify): that the server is ready, reloads, stops.

It gives the address of its socket in ``NOTIFY_SOCKET``; without one nothing is told.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, MutableMapping
from typing import Final

_log = logging.getLogger(__name__)

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"

Tell = Callable[[str], None]
"""Tells a state; never fails."""


def reloading() -> str:
    """The state of a server that begins to reload; it ends with READY."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def to_nobody(_state: str) -> None:
    """Tell nothing."""


def to_manager(environ: MutableMapping[str, str]) -> Tell:
    """How to tell the service manager that `environ` names, if it does.

    The name is removed, since children of the server are not to speak for it.
    """
    address = environ.pop("NOTIFY_SOCKET", "")
    if not address:
        return to_nobody
    # An @ stands for the NUL with which an abstract address begins.
    path = f"\0{address[1:]}" if address.startswith("@") else address

    def tell(state: str) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto(state.encode(), path)
        except OSError as error:
            _log.warning("The service manager at %s was not told %r: %s", address, state, error)

    return tell
