"""What a worker tells of itself, and of what its handlers have raised."""

from __future__ import annotations

import os
import socket

from sharq.failures import MAX_WORKER, check_error, error_of
from sharq.results import JobError
from sharq.worker.job import Failed

# Of concurrent.futures and multiprocessing.
_REMOTE_TRACES = ("_RemoteTraceback", "RemoteTraceback")


def what_failed(failure: BaseException) -> JobError:
    """What is told of an exception."""
    if isinstance(failure, Failed):
        return check_error(failure.error) or failure.error
    return check_error(error_of(failure)) or JobError(type(failure).__name__)


def cause_of(wish: BaseException) -> BaseException:
    """Why a handler has raised a wish: what it was raised from, or the wish itself.

    An exception that comes from another process has its trace there for a cause.
    """
    cause = wish.__cause__
    return wish if cause is None or type(cause).__name__ in _REMOTE_TRACES else cause


def default_name() -> str:
    """The name of a worker that was given none: its host and its process."""
    host = socket.gethostname()
    process = f":{os.getpid()}"
    plain = "".join(each for each in host if each.isprintable())
    return plain[: MAX_WORKER - len(process)] + process
