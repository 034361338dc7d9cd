"""Whether the store answers over another connection: is it busy, or the connection dead?"""

from __future__ import annotations

import asyncio
from typing import Any

from hiredis import ReplyError

from sharq.errors import StoreError
from sharq.operations.call import Call
from sharq.settings.options import StoreSettings
from sharq.store.query import ask
from sharq.store.script_loading import pack


def question(key: bytes | None) -> Call[Any]:
    """A script, not a ping: a store that pauses writes for a failover pauses scripts, too.

    `key` is one that the store serves; some stores run no script without.
    """
    keys = () if key is None else (key,)
    return Call(pack(b"EVAL", b"return 1", b"%d" % len(keys), *keys), b"", lambda reply: reply)


async def answers_others(settings: StoreSettings, asked: Call[Any], timeout: float) -> bool:
    """Tell whether the store answers `asked`, sent over a new connection, within `timeout` seconds.

    A refusal is no answer: the store may be busy with a script, or loading its data.
    """
    try:
        async with asyncio.timeout(timeout):
            (reply,) = await ask(settings, [asked], timeout)
    except (StoreError, TimeoutError):
        return False
    return not isinstance(reply, ReplyError)
