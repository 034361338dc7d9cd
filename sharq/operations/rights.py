"""The rights that the store's user needs, and the messages for missing ones. Pure.

``lua/rights.lua`` lists the commands that SharQ runs, and tries them.
"""

from __future__ import annotations

import re
from typing import Any

from sharq._fastpath import Keyspace

# The object of a command, by its name in the script.
NOTHING, KEYS, OWN_KEYS, CHANNELS = "", "keys", "own keys", "channels"

_SPECIAL = re.compile(r"[*?\[\]\\]")


class Rights:
    """The rights that the keys and the channels of one deployment need.

    `keys`, `own_keys` and `channels` are patterns as ACL SETUSER takes them: the keys of the types,
    those of no type, the channels of the servers.
    """

    def __init__(self, prefix: str) -> None:
        keys = Keyspace(_SPECIAL.sub(r"\\\g<0>", prefix))
        self.keys = "~" + keys.tag("*").decode().removesuffix("}")
        self.own_keys = "~" + keys.registry().decode().removesuffix("types") + "*"
        self.channels = "&" + keys.channel("*").decode()

    def complaints(self, user: str | None, reply: Any) -> list[str]:
        """A line for each right that `user` lacks, by the answer of the script."""
        words = [word.decode() for word in reply]
        lacks = zip(words[::2], words[1::2], strict=True)
        return [
            f"The store user `{user or 'default'}` may not {self._lack(command, place)}"
            for command, place in lacks
        ]

    def _lack(self, command: str, place: str) -> str:
        rule = "+" + command.lower().replace(" ", "|")
        if place == NOTHING:
            return f"run {command}; give it `{rule}`"
        pattern = {KEYS: self.keys, OWN_KEYS: self.own_keys, CHANNELS: self.channels}[place]
        if command:
            return f"run {command} on `{pattern[1:]}`; give it `{rule} {pattern}`"
        what = "channels" if place == CHANNELS else "keys"
        return f"use the {what} `{pattern[1:]}`; give it `{pattern}`"
