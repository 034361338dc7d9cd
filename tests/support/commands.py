"""Calls for tests of the links: plain commands and scripts of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from sharq.operations.call import Call
from sharq.store.script_loading import pack


def command(
    *words: str | bytes | int,
    key: bytes = b"",
    parse: Callable[[Any], Any] = lambda reply: reply,
    repeatable: bool = False,
) -> Call[Any]:
    """A call of a plain command; its result is the reply."""
    packed = pack(*(word if isinstance(word, bytes) else str(word).encode() for word in words))
    return Call(packed, key, parse, repeatable)


class Script:
    """A script with its digest; `scripts` is what a link takes."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.digest = hashlib.sha1(source.encode()).hexdigest()
        self.scripts = {self.digest: source}

    def call(self, *arguments: str | bytes | int, keys: tuple[bytes, ...] = ()) -> Call[Any]:
        """A call of the script; the first key decides its node."""
        key = keys[0] if keys else b""
        return command("EVALSHA", self.digest, len(keys), *keys, *arguments, key=key)


ECHO = Script("return ARGV[1]")
"""Answers its argument."""

LONGER = Script("return ARGV[1] .. 'longer'")
"""Answers its argument, and is longer than ECHO."""

PING = command("PING")
