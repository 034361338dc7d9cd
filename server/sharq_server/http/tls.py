"""TLS on a connection of ours, between its transport and the reader of plain bytes.

OpenSSL works on memory here. So it is the same on every event loop, and written data is either in
the transport or in the kernel: nothing stays in between.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Final

HANDSHAKE_SECONDS: Final = 10.0
"""Seconds for a client's handshake."""

_RECORD: Final = 16 * 1024
"""Bytes of a record, at most, and of each call of OpenSSL: this keeps its buffers small, since they
never shrink.
"""

_FIRST_BYTES_OF_HTTP: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def is_plain_http(first: bytes) -> bool:
    """Whether the first bytes of a connection are a plain request, not a handshake."""
    return first[0] in _FIRST_BYTES_OF_HTTP


class TLS:
    """The server's end. `begun`: something has come in; `established`: the handshake is done;
    `ended`: the client has said that it sends no more.
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
        """Decrypt received bytes. Raises `ssl.SSLError`."""
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
            # Of the handshake, of later requests of the client, or an alert.
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
        """Tell the client that nothing more comes."""
        if not self.established:
            return
        # The client has not done the same yet, or never will.
        with suppress(ssl.SSLError):
            self._engine.unwrap()
        if self._outgoing.pending:
            self._transport.write(self._outgoing.read())
