"""The first process of a container: it reaps what others leave behind, and passes signals on.

The system gives it every process whose parent has ended, such as the embedded store, and keeps the
ended ones until it asks for them. A server that is started as process 1 therefore serves in a
child.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Final

_PASSED_ON: Final = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2),
)
_LAST_WORDS: Final = 10
"""Seconds that other processes may take to end, after the server has."""


def fork_if_first() -> int | None:
    """If this is process 1, fork: the child goes on with None, and this one waits for its end.

    Returns the child's exit code then, 128 and the number of the signal if one has killed it.
    """
    if os.getpid() != 1:
        return None
    # A signal that comes now is for the child.
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    child = os.fork()
    if child == 0:
        _take_terminal()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
        return None
    for number in _PASSED_ON:
        signal.signal(number, lambda number, _frame: _pass_on(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    code = _reap_until(child)
    _end_others()
    return code if code >= 0 else 128 - code


def _take_terminal() -> None:
    """Become the foreground of the terminal, if there is one, so that a Ctrl-C comes once."""
    with suppress(OSError):
        os.setpgid(0, 0)
        if os.isatty(0):
            # Else the terminal would stop a background process that does this.
            former = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            os.tcsetpgrp(0, os.getpgrp())
            signal.signal(signal.SIGTTOU, former)


def _pass_on(child: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, number)


def _reap_until(child: int) -> int:
    """Reap until the child has ended; its exit code, or the signal's number, negative."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def _end_others() -> None:
    """End what is left, such as the store of a server that was killed: the system would kill it."""
    signal.signal(signal.SIGALRM, _stop_waiting)
    with suppress(ChildProcessError, ProcessLookupError, TimeoutError):
        os.kill(-1, signal.SIGTERM)
        signal.alarm(_LAST_WORDS)
        while True:
            os.waitpid(-1, 0)


def _stop_waiting(_number: int, _frame: object) -> None:
    raise TimeoutError
