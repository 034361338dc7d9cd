"""Clients of redis-py for users, made when they are asked for: nothing else here needs redis-py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sharq.settings.options import UNIX, StoreSettings

if TYPE_CHECKING:
    import redis
    import redis.asyncio


def blocking_client(settings: StoreSettings) -> redis.Redis | redis.RedisCluster:
    """A client of the store."""
    import redis

    kind: Any = redis.RedisCluster if settings.clustered else redis.Redis
    client: redis.Redis | redis.RedisCluster = kind(**_arguments(settings))
    return client


def asyncio_client(settings: StoreSettings) -> redis.asyncio.Redis | redis.asyncio.RedisCluster:
    """A client of the store for asyncio; close it by `close`."""
    import redis.asyncio

    kind: Any = redis.asyncio.RedisCluster if settings.clustered else redis.asyncio.Redis
    client: redis.asyncio.Redis | redis.asyncio.RedisCluster = kind(**_arguments(settings))
    return client


async def close(client: redis.asyncio.Redis | redis.asyncio.RedisCluster) -> None:
    """Close a client; before redis-py 5.0.1 the method had another name."""
    await (client.aclose() if hasattr(client, "aclose") else client.close())


def _arguments(settings: StoreSettings) -> dict[str, Any]:
    """The arguments with which redis-py's clients reach the store."""
    arguments: dict[str, Any] = {
        "username": settings.username,
        "password": settings.password,
    }
    if settings.conn_type == UNIX:
        return arguments | {"db": settings.db, "unix_socket_path": settings.unix_socket_path}
    arguments |= {"host": settings.host, "port": settings.port}
    if settings.tls:
        arguments |= {
            "ssl": True,
            "ssl_ca_certs": settings.tls_ca,
            "ssl_certfile": settings.tls_certificate,
            "ssl_keyfile": settings.tls_key,
        }
    return arguments if settings.clustered else arguments | {"db": settings.db}
