"""What the harness and its processes tell each other: objects in JSON, a line each.

A process reads orders from its standard input and writes reports to its standard output.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import msgspec


async def orders() -> AsyncIterator[dict[str, Any]]:
    """The orders that come, until the harness closes the channel."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield msgspec.json.decode(line)


def report(**what: Any) -> None:
    """Tell the harness something."""
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()
