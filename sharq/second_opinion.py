"""Whether the store answers somebody else: what tells a dead connection from a busy store."""

from __future__ import annotations

import asyncio
from typing import Final

from hiredis import ReplyError

from sharq.call import Call
from sharq.config import StoreSettings
from sharq.connection import connect
from sharq.errors import StoreError
from sharq.script_loading import pack
from sharq.wire import Entry, Wire

# A script, and not a ping: a store that holds writes up for a failover holds scripts up with them.
_QUESTION: Final = Call(pack(b"EVAL", b"return 1", b"0"), b"", lambda reply: reply)


async def answers_others(settings: StoreSettings, timeout: float) -> bool:
    """Tell whether the store runs a script, sent over a new connection, within `timeout` seconds.

    A refusal is none: it may be busy with a script, or load its data.
    """
    try:
        async with asyncio.timeout(timeout):
            return await _ask(settings, timeout)
    except (StoreError, TimeoutError):
        return False


async def _ask(settings: StoreSettings, timeout: float) -> bool:
    opened = await connect(settings, timeout)
    answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def settle(is_answer: bool) -> None:
        if not answered.done():
            answered.set_result(is_answer)

    wire = Wire(
        lambda _entry, reply: settle(not isinstance(reply, ReplyError)),
        lambda *_: settle(False),
        lambda: None,
    )
    try:
        wire.take_over(opened, [Entry(_QUESTION, asyncio.get_running_loop().create_future())])
        return await answered
    finally:
        wire.abort(ConnectionAbortedError("it has answered"))
