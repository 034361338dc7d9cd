"""Options that are valid alone, but do not fit together."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator
from typing import Final

from sharq.settings.kinds import LONGEST_SOCKET_PATH
from sharq.settings.options import (
    EMBEDDED,
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
    needs_tcp = f"needs conn_type = {TCP}, and it is {store.conn_type}"
    if inferred and not tcp:
        needs_tcp += ", as neither host nor port is set"

    if queue.max_bulk_bytes < queue.max_payload_bytes:
        bulk, payload = ("sharq", "max_bulk_bytes"), ("sharq", "max_payload_bytes")
        yield (
            bulk if bulk in given else payload,
            f"max_bulk_bytes ({queue.max_bulk_bytes}) is smaller than "
            f"max_payload_bytes ({queue.max_payload_bytes})",
        )
    if store.conn_type == UNIX:
        socket = ("redis", "unix_socket_path")
        if store.unix_socket_path is None:
            yield socket, f"conn_type = {UNIX} needs the path of a socket"
        elif len(os.fsencode(store.unix_socket_path)) > LONGEST_SOCKET_PATH:
            yield socket, f"the path of a socket has at most {LONGEST_SOCKET_PATH} bytes"
    if store.clustered and not tcp:
        yield ("redis", "clustered"), needs_tcp
    if store.clustered and store.db != 0:
        yield ("redis", "db"), "a cluster (clustered = true) has the database 0 only"
    if embedded and store.db >= _EMBEDDED_DATABASES:
        last = _EMBEDDED_DATABASES - 1
        yield ("redis", "db"), f"the embedded store has the databases 0 to {last}"
    if embedded and not os.path.isabs(store.data_dir):
        yield DATA_DIR, "no home folder is known for `~`; set data_dir to an absolute path"
    if store.username is not None and store.password is None:
        yield ("redis", "username"), "a username needs a password"
    if embedded and store.password is not None:
        hint = "; for another store set host, unix_socket_path or conn_type" if inferred else ""
        yield ("redis", "password"), f"the embedded store has no password{hint}"
    if store.tls and not tcp:
        yield ("redis", "tls"), needs_tcp
    for name in ("tls_ca", "tls_certificate", "tls_key"):
        if getattr(store, name) is not None and not store.tls:
            yield ("redis", name), "needs tls = true"
    for section, owner in (("redis", store), ("sharq-server", server)):
        if owner.tls_key is not None and owner.tls_certificate is None:
            yield (section, "tls_key"), "needs tls_certificate, the certificate of this key"
