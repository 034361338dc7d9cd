"""What may be a handler, and when it has run to its end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import inspect
from collections.abc import Callable
from typing import Any

from sharq.errors import BadArgumentException
from sharq.worker.job import LeasedJob

Handler = Callable[[LeasedJob], Any]


def check_handler(handler: Any) -> None:
    """Raise `BadArgumentException` for anything that could not run as a handler."""
    if not callable(handler):
        raise BadArgumentException(f"The handler {handler!r} is no function.")
    if _is(handler, inspect.isgeneratorfunction) or _is(handler, inspect.isasyncgenfunction):
        raise BadArgumentException(
            "The handler is a generator function, of which a call runs nothing: it has a `yield`."
        )
    try:
        inspect.signature(handler).bind(None)
    except TypeError as error:
        raise BadArgumentException(
            f"The handler cannot be called with a job alone: {error}."
        ) from None
    except ValueError:
        # Some that are written in C have no signature.
        return


def is_async(handler: Handler) -> bool:
    """Whether a call of the handler certainly returns a coroutine, so that it needs no thread."""
    return _is(handler, inspect.iscoroutinefunction)


def _is(handler: Any, kind: Callable[[Any], bool]) -> bool:
    while isinstance(handler, functools.partial):
        handler = handler.func
    return kind(handler) or kind(getattr(handler, "__call__", None))  # noqa: B004


async def run_out(result: Any) -> None:
    """Wait for a handler's result, if that does the work.

    A plain function may return a coroutine or a future: one that wraps an ``async def``, say.
    Raises TypeError for a result that shows that the work was not done and that cannot be waited
    for.
    """
    while True:
        if isinstance(result, concurrent.futures.Future):
            result = asyncio.wrap_future(result)
        if not inspect.isawaitable(result):
            break
        result = await result
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        result = "a generator, of which nothing has run"
    elif inspect.isroutine(result) or isinstance(result, functools.partial):
        result = "a function, which was not called; is a decorator without its arguments?"
    else:
        return
    raise TypeError(f"the handler has returned {result}")
