"""Waiting for something to come true."""

from __future__ import annotations

import time
from collections.abc import Callable

_STEP = 0.005


def wait_until(condition: Callable[[], object], timeout: float) -> bool:
    """Look every few milliseconds until `condition()` is true; False after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_STEP)
    return True
