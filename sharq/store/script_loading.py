"""The commands that make scripts known to the store. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sharq.errors import UnexpectedReply
from sharq.operations.call import Call


class ScriptLoading:
    """Builds SCRIPT LOAD commands; `scripts` maps the SHA-1 of a script (hex) to its text."""

    __slots__ = ("_scripts",)

    def __init__(self, scripts: Mapping[str, str]) -> None:
        self._scripts = scripts

    def opening(self, *calls: Call[Any]) -> list[Call[object]]:
        """Return what a new connection begins with: the loads of the scripts that `calls` run.

        Before them comes that of the shortest script. It shows whether the store takes calls; the
        others are loaded when they are first needed. If there are no scripts, it is empty.
        """
        if not self._scripts:
            return []
        trial = min(self._scripts, key=lambda digest: len(self._scripts[digest]))
        digests = [trial, *(self.missing(call) for call in calls)]
        return [self.load(digest) for digest in digests]

    def load(self, digest: str) -> Call[object]:
        """Return the call that loads one script."""
        return Call(pack(b"SCRIPT", b"LOAD", self._scripts[digest].encode()), b"", _as_it_is)

    def missing(self, call: Call[object]) -> str:
        """Return the digest of the script that `call`, a packed EVALSHA, runs.

        Raises UnexpectedReply if it is not a known script.
        """
        # *<n> $7 EVALSHA $40 <digest> …, each in a line of its own
        lines = call.packed.split(b"\r\n", 5)
        digest = lines[4].decode("ascii", "replace") if len(lines) > 5 else ""
        if digest not in self._scripts:
            raise UnexpectedReply(
                f"The store was asked for a script that nobody has: {digest!r:.80}"
            )
        return digest


def pack(*words: bytes) -> bytes:
    """Return the RESP2 command of `words`."""
    bulks = [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
    return b"*%d\r\n%b" % (len(words), b"".join(bulks))


def _as_it_is(reply: object) -> object:
    return reply
