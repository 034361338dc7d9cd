"""Opens connections to the store with redis-py, which is left behind once they are open.

redis-py resolves the name, connects, verifies TLS, authenticates and selects the database; what
it opened (an asyncio transport, or a socket) is then taken out of its hands. The attributes of
redis-py that this needs are not public ones, and all of them are named in this module.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import Any

import redis
from redis.asyncio import connection as aio
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    RedisError,
    ResponseError,
)

from sharq.errors import StoreBug, StoreDenied, StoreError, StoreUnavailable
from sharq.settings.options import StoreSettings
from sharq.store.errors import store_error


@dataclass(frozen=True, slots=True)
class Opened:
    """An open, authenticated asyncio connection.

    `received` is what came in meanwhile, and `ended` tells that nothing more will. `owner` is
    the object that closes the transport when it is let go, so that one has to hold it.
    """

    transport: asyncio.Transport
    received: bytes
    ended: bool
    owner: object


def address(settings: StoreSettings) -> str:
    """Return the store's address, for the log."""
    if settings.conn_type == "unix_sock":
        return f"{settings.unix_socket_path}"
    return f"{settings.host}:{settings.port}" + (" (TLS)" if settings.tls else "")


async def connect(settings: StoreSettings, timeout: float) -> Opened:
    """Open a connection for asyncio; `timeout` in seconds is for each step of it.

    Raises StoreUnavailable, StoreDenied, or StoreBug (a database that does not exist, say), with
    the underlying error as its cause.
    """
    kind: Any
    if settings.conn_type == "unix_sock":
        kind = aio.UnixDomainSocketConnection
    else:
        kind = aio.SSLConnection if settings.tls else aio.Connection
    connection = kind(**_options(settings, timeout))
    try:
        await connection.connect()
        return _detach(connection)
    except (RedisError, OSError, ValueError) as error:
        raise _connect_error(error) from error
    finally:
        # Does nothing to what was detached; closes what a failure or a cancellation left.
        await connection.disconnect(nowait=True)


def connect_blocking(settings: StoreSettings, timeout: float) -> socket.socket:
    """Open a connection for blocking use; otherwise like `connect`."""
    kind: Any
    if settings.conn_type == "unix_sock":
        kind = redis.UnixDomainSocketConnection
    else:
        kind = redis.SSLConnection if settings.tls else redis.Connection
    connection = kind(**_options(settings, timeout))
    try:
        connection.connect()
        return _detach_blocking(connection)
    except (RedisError, OSError, ValueError) as error:
        raise _connect_error(error) from error
    finally:
        connection.disconnect()


def _options(settings: StoreSettings, timeout: float) -> dict[str, Any]:
    options: dict[str, Any] = {
        "db": settings.db,
        "username": settings.username,
        "password": settings.password,
        "protocol": 2,
        "driver_info": None,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": None,
    }
    if settings.conn_type == "unix_sock":
        return options | {"path": settings.unix_socket_path or ""}
    if settings.conn_type != "tcp_sock":
        raise ValueError("an embedded store is reached through its socket once it runs")
    options |= {"host": settings.host, "port": settings.port, "socket_keepalive": True}
    if settings.tls:
        options |= {
            "ssl_ca_certs": settings.tls_ca,
            "ssl_certfile": settings.tls_certificate,
            "ssl_keyfile": settings.tls_key,
            "ssl_cert_reqs": "required",
            "ssl_check_hostname": True,
            "ssl_min_version": ssl.TLSVersion.TLSv1_2,
        }
    return options


def _detach(connection: Any) -> Opened:
    try:
        reader, writer = connection._reader, connection._writer
        received, ended = bytes(reader._buffer), bool(reader._eof)
        transport = writer.transport
        connection._reader = connection._writer = None
    except AttributeError as error:
        raise _unfit(error) from error
    return Opened(transport, received, ended, writer)


def _detach_blocking(connection: Any) -> socket.socket:
    try:
        opened = connection._sock
        connection._sock = None
    except AttributeError as error:
        raise _unfit(error) from error
    if not isinstance(opened, socket.socket):
        raise _unfit(TypeError(f"no socket but {opened!r}"))
    return opened


def _unfit(error: Exception) -> StoreBug:
    return StoreBug(
        f"redis-py {redis.__version__} keeps its connection in a way that SharQ does not know"
        f" ({error}); install the version that SharQ was released with."
    )


def _connect_error(error: BaseException) -> StoreError:
    # Over a unix socket redis-py wraps an error reply into a ConnectionError.
    while isinstance(error.__cause__, RedisError):
        error = error.__cause__
    if isinstance(error, AuthenticationError | AuthorizationError | NoPermissionError):
        return StoreDenied()
    if isinstance(error, ResponseError):
        # redis-py cuts the first word off where it knows it.
        word = getattr(error, "status_code", None)
        return store_error(f"{word} {error}" if word else str(error))
    return StoreUnavailable()
