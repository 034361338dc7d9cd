"""Queries to one node of the store, over a connection of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from sharq.errors import StoreError, StoreUnavailable
from sharq.operations.call import Call
from sharq.settings.options import StoreSettings
from sharq.store.blocking_connection import BlockingWire
from sharq.store.connecting import connect, connect_blocking
from sharq.store.reply_queue import ReplyProtocolError
from sharq.store.request import Request
from sharq.store.wire import Entry, Wire


async def ask(settings: StoreSettings, questions: Sequence[Call[Any]], timeout: float) -> list[Any]:
    """The store's replies as they are, a refusal as hiredis' `ReplyError`.

    `timeout` in seconds is for connecting; it waits for the answers until the caller gives up.
    Raises `StoreError` if the connection cannot be made or is lost.
    """
    loop = asyncio.get_running_loop()
    entries: list[Entry[Any]] = [Entry(each, loop.create_future()) for each in questions]

    def settle(entry: Entry[Any], reply: object) -> None:
        if not entry.future.done():
            entry.future.set_result(reply)

    def lose(_wire: Wire, reason: Exception, unanswered: list[Entry[Any]]) -> None:
        trouble = StoreUnavailable()
        trouble.__cause__ = reason
        for entry in unanswered:
            settle(entry, trouble)

    wire = Wire(settle, lose, lambda: None, entries)
    try:
        await connect(settings, wire, timeout)
        replies = [await entry.future for entry in entries]
    finally:
        wire.abort(ConnectionAbortedError("it has answered"))
        # A transport closes its socket in the next turn of the loop.
        await asyncio.sleep(0)
    for reply in replies:
        if isinstance(reply, StoreError):
            raise reply
    return replies


def ask_blocking(
    settings: StoreSettings, questions: Sequence[Call[Any]], timeout: float
) -> list[Any]:
    """The same, blocking, within `timeout` seconds."""
    wire = BlockingWire(connect_blocking(settings, timeout))
    try:
        exchanged = wire.exchange([Request(each) for each in questions], time.monotonic() + timeout)
        return [reply for _, reply in exchanged]
    except (OSError, ReplyProtocolError) as error:
        raise StoreUnavailable from error
    finally:
        wire.close()
