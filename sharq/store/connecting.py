"""Opens connections to the store: over a unix socket, TCP or TLS; for asyncio or blocking use."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Final, cast

from sharq.errors import StoreError, StoreUnavailable
from sharq.settings.options import SENTINEL, TCP, UNIX, StoreSettings
from sharq.store.handshake import Handshake

_READ_SIZE: Final = 4096


def address(settings: StoreSettings) -> str:
    """Return the store's address, for the log."""
    if settings.conn_type == UNIX:
        return f"{settings.unix_socket_path}"
    if settings.conn_type == SENTINEL:
        return f"{settings.sentinel_service} (Sentinel)"
    return f"{settings.host}:{settings.port}" + (" (TLS)" if settings.tls else "")


async def connect(settings: StoreSettings, protocol: asyncio.Protocol, timeout: float) -> None:
    """Connect `protocol` to the store within `timeout` seconds; by then the handshake is over.

    Raises StoreUnavailable, StoreDenied, or UnexpectedReply (a database that does not exist, say),
    with the underlying error as its cause. After an exception the caller closes the connection that
    `protocol` may have got at the last moment.
    """
    shaking = _Shaking(Handshake(settings), protocol)
    try:
        async with asyncio.timeout(timeout):
            await _open(settings, shaking)
            await shaking.done
    except TimeoutError as error:
        late = error if str(error) else TimeoutError(f"no connection within {timeout:g} s")
        raise StoreUnavailable from late
    except (OSError, ValueError) as error:
        raise StoreUnavailable from error
    finally:
        shaking.end()


def connect_blocking(settings: StoreSettings, timeout: float) -> socket.socket:
    """Open a connection for blocking use; raises as `connect`.

    `timeout` in seconds is for each step of it.
    """
    try:
        opened = _open_blocking(settings, timeout)
        try:
            _shake_hands(opened, Handshake(settings))
        except BaseException:
            opened.close()
            raise
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.filename is None:
            error.filename = address(settings)
        raise StoreUnavailable from error
    return opened


async def _open(settings: StoreSettings, protocol: asyncio.Protocol) -> None:
    loop = asyncio.get_running_loop()
    if settings.conn_type == UNIX:
        await loop.create_unix_connection(lambda: protocol, settings.unix_socket_path or "")
        return
    _check_tcp(settings)
    transport, _ = await loop.create_connection(
        lambda: protocol,
        settings.host,
        settings.port,
        ssl=_tls(settings) if settings.tls else None,
        server_hostname=_server_name(settings) if settings.tls else None,
    )
    if not transport.is_closing():
        _keep_alive(transport.get_extra_info("socket"))


def _open_blocking(settings: StoreSettings, timeout: float) -> socket.socket:
    if settings.conn_type == UNIX:
        opened = socket.socket(socket.AF_UNIX)
        try:
            opened.settimeout(timeout)
            opened.connect(settings.unix_socket_path or "")
        except BaseException:
            opened.close()
            raise
        return opened
    _check_tcp(settings)
    tls = _tls(settings) if settings.tls else None
    opened = socket.create_connection((settings.host, settings.port), timeout)
    try:
        _keep_alive(opened)
        # Event loops do this by themselves.
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return tls.wrap_socket(opened, server_hostname=_server_name(settings)) if tls else opened
    except BaseException:
        opened.close()
        raise


def _check_tcp(settings: StoreSettings) -> None:
    if settings.conn_type != TCP:
        raise RuntimeError("an embedded store is reached through its socket once it runs")


def _keep_alive(opened: socket.socket) -> None:
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def _server_name(settings: StoreSettings) -> str:
    """The name that the certificate has to have."""
    return settings.tls_server_name or settings.host


def _tls(settings: StoreSettings) -> ssl.SSLContext:
    """TLS with the present certificates of the files."""
    context = ssl.create_default_context(cafile=settings.tls_ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.tls_certificate is not None:
        # Nobody can be asked for the password of a key.
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, password="")
    return context


def _shake_hands(opened: socket.socket, handshake: Handshake) -> None:
    if not handshake.over:
        opened.sendall(handshake.request)
    while not handshake.over:
        data = opened.recv(_READ_SIZE)
        if not data:
            raise ConnectionResetError("the store closed the connection")
        handshake.feed(data)


class _Shaking(asyncio.Protocol):
    """A connection until its handshake is over; then it is the successor's.

    `done` has an exception if the handshake fails.
    """

    def __init__(self, handshake: Handshake, successor: asyncio.Protocol) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._handshake = handshake
        self._successor = successor
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Other loops have transports that are not subclasses of it.
        self._transport = cast(asyncio.Transport, transport)
        if self.done.done():
            self._transport.abort()
        elif self._handshake.over:
            self._hand_over(self._transport)
        else:
            self._transport.write(self._handshake.request)

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or self.done.done():
            return
        try:
            self._handshake.feed(data)
        except StoreError as error:
            self.done.set_exception(error)
            return
        if self._handshake.over:
            self._hand_over(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionResetError("the store closed the connection"))

    def end(self) -> None:
        """Close the connection, unless it is the successor's."""
        if self._transport is not None:
            self._transport.abort()
        if not self.done.cancel() and not self.done.cancelled():
            self.done.exception()

    def _hand_over(self, transport: asyncio.Transport) -> None:
        self._transport = None
        self.done.set_result(None)
        transport.set_protocol(self._successor)
        self._successor.connection_made(transport)
