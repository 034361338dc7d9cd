"""TLS on a connection of ours, between its transport and what reads plain bytes.

OpenSSL works on memory here, so that it is the same on every event loop, and what was written is
either with the transport or with the kernel: nothing of it stays in between.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Final

HANDSHAKE_SECONDS: Final = 10.0
"""Seconds that a client has for its handshake."""

_RECORD: Final = 16 * 1024
"""Bytes that a record carries at most, and that OpenSSL is given at once: its buffers stay small
then, since they never shrink.
"""

_FIRST_BYTES_OF_HTTP: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def is_plain_http(first: bytes) -> bool:
    """Whether the first bytes of a connection are a request's, and no handshake's."""
    return first[0] in _FIRST_BYTES_OF_HTTP


class TLS:
    """The server's end. `begun` tells that something has come in, `established` that the handshake
    is done, `ended` that the client has said that it sends no more.
    """

    def __init__(self, context: ssl.SSLContext, transport: asyncio.Transport) -> None:
        self.begun = False
        self.established = False
        self.ended = False
        self._transport = transport
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._engine = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def receive(self, data: bytes) -> bytes:
        """Take what came in; the plain bytes in it. Raises `ssl.SSLError`."""
        self.begun = True
        if self.ended:
            return b""
        if len(data) <= _RECORD:
            return self._receive(data)
        view = memoryview(data)
        return b"".join(
            [self._receive(view[at : at + _RECORD]) for at in range(0, len(data), _RECORD)]
        )

    def _receive(self, data: bytes | memoryview) -> bytes:
        incoming, read = self._incoming, self._engine.read
        incoming.write(data)
        plain = b""
        try:
            if not self.established:
                self._engine.do_handshake()
                self.established = True
            # OpenSSL reads record by record, and no further.
            while incoming.pending and not self.ended:
                part = read(_RECORD)
                if part:
                    plain = plain + part if plain else part
                else:
                    self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        finally:
            # Of the handshake, of what a client may ask for later, or why there is none.
            if self._outgoing.pending:
                self._transport.write(self._outgoing.read())
        return plain

    def write(self, data: bytes) -> None:
        """Encrypt and send."""
        written = self._engine.write(data)
        if written == len(data):
            self._transport.write(self._outgoing.read())
            return
        # A record at a time: it has 16 KiB, or what the client has asked for.
        view, parts = memoryview(data), [self._outgoing.read()]
        while written < len(data):
            written += self._engine.write(view[written:])
            parts.append(self._outgoing.read())
        self._transport.write(b"".join(parts))

    def close(self) -> None:
        """Tell the client that nothing more is sent."""
        if not self.established:
            return
        # The client has not said the same yet, or never will.
        with suppress(ssl.SSLError):
            self._engine.unwrap()
        if self._outgoing.pending:
            self._transport.write(self._outgoing.read())
