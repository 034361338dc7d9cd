"""Where the commands begin: Ctrl-C ends them quietly, also while they are still being imported.

This is no part of `sharq`: whoever imports from there imports the whole library first.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from types import FrameType
from typing import Final

_INTERRUPTED: Final = 128 + signal.SIGINT


def sharq() -> int:
    """The command `sharq`; its exit code."""
    return _run("sharq.__main__")


def sharq_server() -> int:
    """The command `sharq-server`; its exit code."""
    # Without what the server needs the command says so.
    return _run("sharq.cli.server", "sharq_server.__main__")


def _run(module: str, *more: str) -> int:
    """Run `main` of a module; what it imports later by itself are `more`."""
    # What a shell starts in the background ignores it.
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeded:
        signal.signal(signal.SIGINT, _end)
    main: Callable[[], int] = import_module(module).main
    for each in more:
        with suppress(ImportError):
            import_module(each)
    try:
        if heeded:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return main()
    except KeyboardInterrupt:
        return _INTERRUPTED


def _end(number: int, _frame: FrameType | None) -> None:
    """End by the signal, as who handles none; process 1 is not ended by it."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(_INTERRUPTED)
