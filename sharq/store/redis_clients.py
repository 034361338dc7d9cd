"""Clients of redis-py for users, made when they are asked for: nothing else here needs redis-py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sharq.settings.options import SENTINEL, UNIX, StoreSettings
from sharq.store.slots import seeds

if TYPE_CHECKING:
    import redis
    import redis.asyncio


def blocking_client(settings: StoreSettings) -> redis.Redis | redis.RedisCluster:
    """A client of the store, of the primary that sentinels name; close it by `close_blocking`."""
    import redis

    if settings.conn_type == SENTINEL:
        from redis.sentinel import Sentinel

        found: redis.Redis = _primary_by(Sentinel, settings)
        return found
    kind: Any = redis.Redis
    arguments = _arguments(settings)
    if settings.clustered:
        from redis.cluster import ClusterNode

        kind = redis.RedisCluster
        arguments = _without_place(arguments) | {"startup_nodes": _seeds(ClusterNode, settings)}
    client: redis.Redis | redis.RedisCluster = kind(**arguments)
    return client


def asyncio_client(settings: StoreSettings) -> redis.asyncio.Redis | redis.asyncio.RedisCluster:
    """A client of the store for asyncio; close it by `close`."""
    import redis.asyncio

    if settings.conn_type == SENTINEL:
        from redis.asyncio.sentinel import Sentinel

        found: redis.asyncio.Redis = _primary_by(Sentinel, settings)
        return found
    kind: Any = redis.asyncio.Redis
    arguments = _arguments(settings)
    if settings.clustered:
        from redis.asyncio.cluster import ClusterNode

        kind = redis.asyncio.RedisCluster
        arguments = _without_place(arguments) | {"startup_nodes": _seeds(ClusterNode, settings)}
    client: redis.asyncio.Redis | redis.asyncio.RedisCluster = kind(**arguments)
    return client


def close_blocking(client: redis.Redis | redis.RedisCluster) -> None:
    """Close a client, and what asks the sentinels for it."""
    client.close()
    for sentinel in _sentinels_of(client):
        sentinel.close()


async def close(client: redis.asyncio.Redis | redis.asyncio.RedisCluster) -> None:
    """Close a client, and what asks the sentinels for it."""
    for each in (client, *_sentinels_of(client)):
        # Before redis-py 5.0.1 the method had another name.
        await (each.aclose() if hasattr(each, "aclose") else each.close())


def _primary_by(kind: Any, settings: StoreSettings) -> Any:
    """A client that follows the primary; `kind` is one of redis-py's two `Sentinel`."""
    from sharq.store.sentinel import at_sentinel, node_of

    places = [at_sentinel(settings, each) for each in settings.sentinels]
    asking = _without_place(_arguments(places[0])) if places else {}
    manager = kind([node_of(place) for place in places], sentinel_kwargs=asking)
    return manager.master_for(settings.sentinel_service, **_without_place(_arguments(settings)))


def _seeds(kind: Any, settings: StoreSettings) -> list[Any]:
    return [kind(node.host, node.port) for node in seeds(settings)]


def _sentinels_of(client: Any) -> list[Any]:
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    return manager.sentinels if manager is not None else []


def _without_place(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name not in ("host", "port")}


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
