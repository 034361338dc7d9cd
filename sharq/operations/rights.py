"""The rights that the store's user needs, and the messages for missing ones. Pure.

``lua/rights.lua`` lists the commands that SharQ runs, and tries them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from sharq._fastpath import Keyspace
from sharq.operations.call import Anywhere, Call, no_promise

# The object of a command, by its name in the script.
NOTHING, KEYS, OWN_KEYS, CHANNELS = "", "keys", "own keys", "channels"

# Of Redis 6, and of later ones.
_NO_KEY: Final = re.compile("no permissions to access (one of the keys|a key)", re.IGNORECASE)

_SPECIAL = re.compile(r"[*?\[\]\\]")


class RightsCheck(NamedTuple):
    """How a node is asked for the rights of its user.

    `complaints` makes a line for each missing one, of the answer; `of_denial` makes them of the
    words in which the node refuses the call, None if it cannot.
    """

    anywhere: Anywhere
    complaints: Callable[[Any], list[str]]
    of_denial: Callable[[str], list[str] | None]

    def call(self, number: int) -> Call[list[str]]:
        """The call with the key of that number."""
        return Call(self.anywhere.pack(number), b"", self.complaints, True, no_promise)


class Rights:
    """The rights that the keys and the channels of one deployment need, for the messages to `user`.

    `keys`, `own_keys` and `channels` are patterns as ACL SETUSER takes them: the keys of the types,
    those of no type, the channels of the servers.
    """

    def __init__(self, prefix: str, user: str | None = None) -> None:
        self._user = user or "default"
        keys = Keyspace(_SPECIAL.sub(r"\\\g<0>", prefix))
        self.keys = "~" + keys.tag("*").decode().removesuffix("}")
        self.own_keys = "~" + keys.registry().decode().removesuffix("types") + "*"
        self.channels = "&" + keys.channel("*").decode()

    def complaints(self, reply: Any) -> list[str]:
        """A line for each right that the user lacks, by the answer of the script."""
        words = [word.decode() for word in reply]
        lacks = zip(words[::2], words[1::2], strict=True)
        return [self._complaint(command, place) for command, place in lacks]

    def of_denial(self, message: str) -> list[str] | None:
        """The same where the script was refused for its key; None where it was for another reason.

        Whatever else lacks is told once the user may use the keys.
        """
        return [self._complaint(NOTHING, KEYS)] if _NO_KEY.search(message) else None

    def _complaint(self, command: str, place: str) -> str:
        return f"The store user `{self._user}` may not {self._lack(command, place)}"

    def _lack(self, command: str, place: str) -> str:
        rule = "+" + command.lower().replace(" ", "|")
        if place == NOTHING:
            return f"run {command}; give it `{rule}`"
        pattern = {KEYS: self.keys, OWN_KEYS: self.own_keys, CHANNELS: self.channels}[place]
        if command:
            return f"run {command} on `{pattern[1:]}`; give it `{rule} {pattern}`"
        what = "channels" if place == CHANNELS else "keys"
        return f"use the {what} `{pattern[1:]}`; give it `{pattern}`"
