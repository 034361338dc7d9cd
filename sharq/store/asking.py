"""Asks several nodes at once, and does not wait for all: some may be silent."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any, TypeVar

N = TypeVar("N")
A = TypeVar("A")


async def ask_all(
    asking: Mapping[N, Coroutine[Any, Any, A]],
    counts: Callable[[A], bool],
    *,
    timeout: float,
    grace: float,
) -> dict[N, A]:
    """The answers that come in time, by who gives them; `asking` must not raise.

    They have `timeout` seconds, and `grace` from the first one on for which `counts` is true.
    """
    loop = asyncio.get_running_loop()
    tasks = {loop.create_task(answer): each for each, answer in asking.items()}
    answers: dict[N, A] = {}
    pending = set(tasks)
    until = loop.time() + timeout
    try:
        while pending:
            done, pending = await asyncio.wait(
                pending,
                timeout=max(0.0, until - loop.time()),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not done:
                break
            for task in done:
                answers[tasks[task]] = answer = task.result()
                if counts(answer):
                    until = min(until, loop.time() + grace)
    finally:
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending)
    return answers


def ask_all_blocking(
    whom: Collection[N],
    ask: Callable[[N], A],
    counts: Callable[[A], bool],
    *,
    timeout: float,
    grace: float,
) -> dict[N, A]:
    """The same, with a short thread for each; `ask` must not raise."""
    answered: queue.SimpleQueue[tuple[N, A]] = queue.SimpleQueue()

    def tell(each: N) -> None:
        answered.put((each, ask(each)))

    for each in whom:
        threading.Thread(target=tell, args=(each,), daemon=True).start()
    answers: dict[N, A] = {}
    until = time.monotonic() + timeout
    for _ in whom:
        try:
            each, answer = answered.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        answers[each] = answer
        if counts(answer):
            until = min(until, time.monotonic() + grace)
    return answers
