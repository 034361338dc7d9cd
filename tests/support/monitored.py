"""What a store is asked to run, as it tells by MONITOR, also by scripts."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final, NamedTuple

from tests.support.stores import PrivateStore

_LINE: Final = re.compile(rb"\+[\d.]+ \[\d+ (\S+)\] (.*)")
_WORD: Final = re.compile(rb'"(?:\\.|[^"\\])*"')

CONTAINERS: Final = {"ACL", "CLUSTER", "CONFIG", "SCRIPT", "SENTINEL"}


class Ran(NamedTuple):
    """A command that a store has run; `words` are its own, as they came."""

    by_script: bool
    words: tuple[bytes, ...]

    @property
    def name(self) -> str:
        """As in a rule of an ACL: ``get``, ``script|load``."""
        first = self.words[0].decode().upper()
        parts = self.words[:2] if first in CONTAINERS else self.words[:1]
        return b"|".join(parts).decode().lower()

    @property
    def keys_of_script(self) -> int | None:
        """How many keys a script was given; None if this is no call of one."""
        return int(self.words[2]) if self.name in ("eval", "evalsha") else None


@contextmanager
def monitored(stores: Sequence[PrivateStore]) -> Iterator[list[Ran]]:
    """Takes down what stores run while the context lasts; it is whole when that is left."""
    ran: list[Ran] = []
    with ExitStack() as stack:
        for store in stores:
            stack.enter_context(_listening(store, ran))
        yield ran


@contextmanager
def _listening(store: PrivateStore, ran: list[Ran]) -> Iterator[None]:
    end = b"end of monitor"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(store.socket_path)
        connection.sendall(b"MONITOR\r\n")
        lines = connection.makefile("rb")
        assert lines.readline() == b"+OK\r\n"

        def listen() -> None:
            for line in lines:
                match = _LINE.match(line)
                assert match is not None, line
                words = tuple(_plain(word) for word in _WORD.findall(match[2]))
                if words[-1] == end:
                    return
                ran.append(Ran(match[1] == b"lua", words))

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield
        finally:
            store.command("ECHO", end)
            thread.join()
            lines.close()


def _plain(word: bytes) -> bytes:
    return word[1:-1].decode("unicode_escape").encode("latin-1")
