"""Runs a test on an event loop of its own and looks for what it left behind."""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


def on_loop(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Make an ordinary test of a coroutine function.

    It fails, too, when it takes longer than 40 s, when a task is left over, or when the loop met
    an error that nobody looked at.
    """

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(supervised(test(*args, **kwargs)))

    return run


async def eventually(what: str, condition: Callable[[], Any], timeout: float = 10.0) -> None:
    """Let the loop run until `condition()` is true; fail after `timeout` seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while not condition():
        if loop.time() > deadline:
            raise AssertionError(f"Not within {timeout:g} s: {what}")
        await asyncio.sleep(0.002)


async def supervised(test: Awaitable[T]) -> T:
    """What `test` returns; fails as `on_loop` tells."""
    loop = asyncio.get_running_loop()
    complaints: list[str] = []

    def complain(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        complaints.append(f"{context['message']}: {context.get('exception')!r}")

    loop.set_exception_handler(complain)
    async with asyncio.timeout(40):
        result = await test
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks left over: {left}"
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
    return result
