"""Options that are valid alone, but do not fit together."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator
from typing import Final

from sharq.settings.kinds import LONGEST_SOCKET_PATH
from sharq.settings.options import (
    EMBEDDED,
    SENTINEL,
    TCP,
    UNIX,
    Key,
    QueueSettings,
    ServerSettings,
    StoreSettings,
)

DATA_DIR: Final[Key] = ("redis", "data_dir")

_EMBEDDED_DATABASES: Final = 16


def contradictions(
    queue: QueueSettings,
    server: ServerSettings,
    store: StoreSettings,
    given: Container[Key],
    inferred: bool,
) -> Iterator[tuple[Key, str]]:
    """The options that do not fit, and why.

    `given` has the options that a source sets, `inferred` tells that `conn_type` is not one.
    """
    embedded, tcp = store.conn_type == EMBEDDED, store.conn_type == TCP
    it_is = f"and it is {store.conn_type}"
    hint = "; for another store set host, unix_socket_path or conn_type" if inferred else ""
    if inferred and store.conn_type in (EMBEDDED, UNIX):
        it_is += ", as neither host nor port is set"

    if queue.max_bulk_bytes < queue.max_payload_bytes:
        bulk, payload = ("sharq", "max_bulk_bytes"), ("sharq", "max_payload_bytes")
        yield (
            bulk if bulk in given else payload,
            f"max_bulk_bytes ({queue.max_bulk_bytes}) is smaller than "
            f"max_payload_bytes ({queue.max_payload_bytes})",
        )
    spread = [each.partition(":")[0] for each in queue.shards]
    twice = next((name for name in spread if spread.count(name) > 1), None)
    if twice is not None:
        yield ("sharq", "shards"), f"names {twice} twice"
    if store.conn_type == UNIX:
        socket = ("redis", "unix_socket_path")
        if store.unix_socket_path is None:
            yield socket, f"conn_type = {UNIX} needs the path of a socket"
        elif len(os.fsencode(store.unix_socket_path)) > LONGEST_SOCKET_PATH:
            yield socket, f"the path of a socket has at most {LONGEST_SOCKET_PATH} bytes"
    if store.clustered and not tcp:
        yield ("redis", "clustered"), f"needs conn_type = {TCP}, {it_is}"
    if store.cluster_nodes and not store.clustered:
        yield ("redis", "cluster_nodes"), "needs clustered = true"
    if store.clustered and store.db != 0:
        yield ("redis", "db"), "a cluster (clustered = true) has the database 0 only"
    if embedded and store.db >= _EMBEDDED_DATABASES:
        last = _EMBEDDED_DATABASES - 1
        yield ("redis", "db"), f"the embedded store has the databases 0 to {last}"
    if embedded and not os.path.isabs(store.data_dir):
        yield DATA_DIR, "no home folder is known for `~`; set data_dir to an absolute path"
    if store.username is not None and store.password is None:
        yield ("redis", "username"), "a username needs a password"
    if embedded and store.replicas_acked:
        yield ("redis", "replicas_acked"), f"the embedded store has no replicas{hint}"
    if store.replicas_durable and not store.replicas_acked:
        yield ("redis", "replicas_durable"), "needs replicas_acked, the number of the replicas"
    if embedded and store.password is not None:
        yield ("redis", "password"), f"the embedded store has no password{hint}"
    if store.tls and store.conn_type not in (TCP, SENTINEL):
        yield ("redis", "tls"), f"needs conn_type = {TCP} or {SENTINEL}, {it_is}"
    yield from _of_sentinel(store)
    for name in ("tls_ca", "tls_server_name", "tls_certificate", "tls_key"):
        if getattr(store, name) is not None and not store.tls:
            yield ("redis", name), "needs tls = true"
    for section, owner in (("redis", store), ("sharq-server", server)):
        if owner.tls_key is not None and owner.tls_certificate is None:
            yield (section, "tls_key"), "needs tls_certificate, the certificate of this key"


def _of_sentinel(store: StoreSettings) -> Iterator[tuple[Key, str]]:
    if store.conn_type != SENTINEL:
        needs = f"needs conn_type = {SENTINEL}, and it is {store.conn_type}"
        if store.url is not None:
            needs = (
                "it finds the store, and url names one: remove one of the two (what url tells of"
                " user and TLS goes into username, password and tls)"
            )
        for name in ("sentinels", "sentinel_service", "sentinel_username", "sentinel_password"):
            if getattr(store, name):
                yield ("redis", name), needs
        return
    if not store.sentinels:
        example = "such as 10.0.0.7:26379 10.0.0.8:26379"
        yield ("redis", "sentinels"), f"conn_type = {SENTINEL} needs sentinels, {example}"
    if store.sentinel_service is None:
        example = "the name that they monitor the store under, such as mymaster"
        yield ("redis", "sentinel_service"), f"conn_type = {SENTINEL} needs it: {example}"
    if store.sentinel_username is not None and store.sentinel_password is None:
        yield ("redis", "sentinel_username"), "a username needs a password"
