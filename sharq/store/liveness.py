"""Whether the store answers over another connection: is it busy, or the connection dead?"""

from __future__ import annotations

import asyncio
from typing import Final

from hiredis import ReplyError

from sharq.errors import StoreError
from sharq.operations.call import Call
from sharq.settings.options import StoreSettings
from sharq.store.query import ask
from sharq.store.script_loading import pack

# A script, not a ping: a store that pauses writes for a failover pauses scripts, too.
_QUESTION: Final = Call(pack(b"EVAL", b"return 1", b"0"), b"", lambda reply: reply)


async def answers_others(settings: StoreSettings, timeout: float) -> bool:
    """Tell whether the store runs a script, sent over a new connection, within `timeout` seconds.

    A refusal is no answer: the store may be busy with a script, or loading its data.
    """
    try:
        async with asyncio.timeout(timeout):
            (reply,) = await ask(settings, [_QUESTION], timeout)
    except (StoreError, TimeoutError):
        return False
    return not isinstance(reply, ReplyError)
