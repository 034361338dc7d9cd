"""What all servers are asked through the store, and what they answer to the one that asks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")

Tell = Callable[[str | None, bytes], Awaitable[None]]
"""Sends a message to a server, or to all for None; may raise `StoreError`."""

_encode = msgspec.json.Encoder().encode


class Calling(ABC, Generic[T]):
    """Asks the other servers about words, and answers them, as the server `server_id`.

    A call begins with the first byte of `signs`, an answer, a `kind` in JSON, with the second one.
    """

    def __init__(self, server_id: str, tell: Tell, signs: bytes, kind: Any) -> None:
        self._server_id = server_id
        self._tell = tell
        self._call_sign, self._answer_sign = signs[:1], signs[1:]
        self._decode: Callable[[bytes], T] = msgspec.json.Decoder(kind).decode

    @abstractmethod
    def _answer(self, asker: str, words: Sequence[str]) -> T | None:
        """What a server that asks is told; nothing is sent if it is empty."""

    @abstractmethod
    def _take(self, answer: T) -> None:
        """A server has answered."""

    async def on_message(self, message: bytes) -> None:
        """A message of another server, or of this one, has come. Others than ours are ignored."""
        if message[:1] == self._call_sign:
            asker, *words = message[1:].decode("ascii", "replace").split(" ")
            if asker != self._server_id and (answer := self._answer(asker, words)):
                await self._tell(asker, self._answer_sign + _encode(answer))
        elif message[:1] == self._answer_sign:
            try:
                told = self._decode(message[1:])
            except (msgspec.DecodeError, UnicodeDecodeError):
                return
            self._take(told)

    async def _ask(self, words: Iterable[str]) -> None:
        """Ask all servers; what they answer comes in by itself."""
        await self._tell(None, self._call_sign + " ".join((self._server_id, *words)).encode())
