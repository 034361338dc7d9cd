"""The one table of all options.

The fields of `QueueSettings`, `ServerSettings` and `StoreSettings` have the name of each option,
its type, default, allowed values and a line of description. Reading, error messages, ``sharq.conf``
and ``docs/configuration.md`` follow it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from sharq.identifiers import MAX_COUNT
from sharq.settings import kinds, store_url

TCP: Final = "tcp_sock"
UNIX: Final = "unix_sock"
EMBEDDED: Final = "embedded"
SENTINEL: Final = "sentinel"

_DEFAULT_DATA_DIR: Final = "~/.local/share/sharq"

Key = tuple[str, str]
"""The section and the name of an option."""

GONE: Final[Mapping[Key, str]] = {
    ("sharq-server", "http"): "the server reads HTTP in one way only",
}
"""Former options, and the message for each if it is still set."""


def default_data_dir(environ: Mapping[str, str] = os.environ) -> str:
    # A relative XDG_DATA_HOME is ignored, as the XDG Base Directory Specification has it.
    base = environ.get("XDG_DATA_HOME", "")
    if os.path.isabs(base):
        return os.path.abspath(os.path.join(base, "sharq"))
    try:
        return str(kinds.PATH.read(_DEFAULT_DATA_DIR, environ))
    except kinds.Refused:
        # Only the embedded store needs the folder, and the check for it names the problem.
        return _DEFAULT_DATA_DIR


def _option(kind: kinds.Kind, about: str, *, written: str | None = None) -> dict[str, Any]:
    return {"kind": kind, "about": about, "written": written}


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """The section ``[sharq]``: what holds for every queue."""

    job_expire_interval: int = field(
        default=60_000,
        metadata=_option(
            kinds.milliseconds(1),
            "Length of a lease: a job that is not finished by its end goes back to its queue.",
        ),
    )
    job_requeue_interval: int = field(
        default=1_000,
        metadata=_option(
            kinds.milliseconds(1),
            "Time between two sweeps, which take back expired leases.",
        ),
    )
    default_job_requeue_limit: int = field(
        default=-1,
        metadata=_option(
            kinds.integer(-1, MAX_COUNT),
            "Requeue limit of jobs enqueued without one. -1: unlimited, 0: none.",
        ),
    )
    enable_requeue_script: bool = field(
        default=True,
        metadata=_option(
            kinds.BOOLEAN,
            "Take expired leases back: a server by its sweep, the library with its dequeues."
            " If off, another process on the same store has to.",
        ),
    )
    finished_retention: int = field(
        default=60_000,
        metadata=_option(
            kinds.milliseconds(0),
            "How long the status of an ended job is kept. 0: not kept.",
        ),
    )
    interval_retention: int = field(
        default=3_600_000,
        metadata=_option(
            kinds.milliseconds(0),
            "How long an empty queue keeps an interval that was set through the API.",
        ),
    )
    backoff_min: int = field(
        default=1_000,
        metadata=_option(
            kinds.milliseconds(0),
            "Time after which a failed job comes back, doubled with each attempt. 0: at once.",
        ),
    )
    backoff_max: int = field(
        default=3_600_000,
        metadata=_option(
            kinds.milliseconds(0), "Longest of these times; each varies by up to 20 %."
        ),
    )
    dead_max_jobs: int = field(
        default=10_000,
        metadata=_option(
            kinds.integer(0, 1_000_000_000),
            "Dead letters that a type keeps, at most. 0: none.",
        ),
    )
    dead_retention: int = field(
        default=2_592_000_000,
        metadata=_option(kinds.milliseconds(1), "How long a dead letter is kept."),
    )
    dead_max_bytes: int = field(
        default=67_108_864,
        metadata=_option(
            kinds.integer(1, 2**53, "bytes"), "Size of a type's dead letters, at most."
        ),
    )
    max_payload_bytes: int = field(
        default=1_048_576,
        metadata=_option(
            kinds.integer(2, 268_435_456, "bytes"), "Largest payload of a job, as JSON text."
        ),
    )
    max_bulk_bytes: int = field(
        default=16_777_216,
        metadata=_option(
            kinds.integer(2, 1_073_741_824, "bytes"),
            "Largest body of a bulk request. At least `max_payload_bytes`.",
        ),
    )
    shards: tuple[str, ...] = field(
        default=(),
        metadata=_option(
            kinds.words(kinds.SHARDS),
            "Queue types that are spread over shards, from their first job on.",
        ),
    )
    payload_max_queued_length: bool = field(
        default=True,
        metadata=_option(
            kinds.BOOLEAN,
            "Whether `max_queued_length` in the payload of a job bounds its queue, as in the"
            " original. If off, only the field beside the payload does.",
        ),
    )


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The section ``[sharq-server]``: how the server is reached and run."""

    host: tuple[str, ...] = field(
        default=("127.0.0.1",),
        metadata=_option(
            kinds.several(kinds.PLACE),
            "Where to listen: addresses, names, unix sockets. `::` serves IPv4, too.",
        ),
    )
    port: int = field(
        default=8080,
        metadata=_option(kinds.integer(0, 65_535), "Port to listen on. 0: any free port."),
    )
    socket_mode: str = field(
        default="0660",
        metadata=_option(kinds.MODE, "Who may connect to a unix socket: its file's mode."),
    )
    trusted_proxies: tuple[str, ...] = field(
        default=(),
        metadata=_option(
            kinds.words(kinds.PROXY),
            "Proxies whose X-Forwarded-For, -Proto and -Prefix count. unix: all that connect"
            " to a unix socket.",
        ),
    )
    base_path: str | None = field(
        default=None,
        metadata=_option(
            kinds.optional(kinds.BASE_PATH),
            "Path below which everything is served, for a proxy that passes it on.",
        ),
    )
    ui: str = field(
        default="on",
        metadata=_option(
            kinds.one_of("on", "read_only", "off"),
            "The dashboard, `/ui/`. read_only: it offers no changes.",
        ),
    )
    environment: str | None = field(
        default=None,
        metadata=_option(
            kinds.optional(kinds.LABEL),
            "Name that the dashboard shows beside its own, such as production.",
        ),
    )
    metrics_top_queues: bool = field(
        default=False,
        metadata=_option(
            kinds.BOOLEAN,
            "Tell Prometheus the ten longest queues, and the ten longest-ready ones, by name.",
        ),
    )
    stop_delay: int = field(
        default=0,
        metadata=_option(
            kinds.milliseconds(0),
            "How long a server that was told to stop goes on serving, while `/deepstatus/`"
            " says `stopping`.",
        ),
    )
    workers: int = field(
        default=1, metadata=_option(kinds.integer(1, 256), "Number of server processes.")
    )
    heartbeat: int = field(
        default=20_000,
        metadata=_option(
            kinds.milliseconds(100),
            "Time between two pings of a websocket. After two without an answer it is closed.",
        ),
    )
    accesslog: str | None = field(
        default=None,
        metadata=_option(
            kinds.optional(kinds.ACCESS_LOG),
            "Access log path. Empty: disabled.",
        ),
    )
    max_connections: int | None = field(
        default=None,
        metadata=_option(
            kinds.optional(kinds.integer(1, 1_000_000)),
            "Open connections of a server process. Empty: what the limit of open files allows.",
        ),
    )
    max_connections_per_address: int | None = field(
        default=None,
        metadata=_option(
            kinds.optional(kinds.integer(1, 1_000_000)),
            "Connections from one address. Empty: half of `max_connections`; unlimited on"
            " loopback.",
        ),
    )
    token_file: str | None = field(
        default=None,
        metadata=_option(
            kinds.optional(kinds.PATH),
            "Token file. Empty: no authentication.",
        ),
    )
    tokens: str | None = field(
        default=None,
        repr=False,
        metadata=_option(
            kinds.optional(kinds.TOKENS),
            "Tokens without a file, for the environment. Added to those of `token_file`.",
        ),
    )
    allowed_hosts: tuple[str, ...] = field(
        default=(),
        metadata=_option(
            kinds.words(kinds.HOST_PATTERN),
            "Host names that requests may use, besides the server's own.",
        ),
    )
    allowed_origins: tuple[str, ...] = field(
        default=(),
        metadata=_option(
            kinds.words(kinds.ORIGIN),
            "Origins whose web pages may use the API, besides the server's own.",
        ),
    )
    tls_certificate: str | None = field(
        default=None,
        metadata=_option(
            kinds.optional(kinds.PATH),
            "Certificate of the server (PEM). If set, the port speaks TLS only.",
        ),
    )
    tls_key: str | None = field(
        default=None,
        metadata=_option(
            kinds.optional(kinds.PATH),
            "Key of `tls_certificate` (PEM), if it is in another file.",
        ),
    )


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The section ``[redis]``: where the data is. Paths are absolute."""

    conn_type: str = field(
        default=EMBEDDED,
        metadata=_option(
            kinds.one_of(TCP, UNIX, EMBEDDED, SENTINEL),
            "How to connect to the store. Empty: chosen by the other options.",
        ),
    )
    url: str | None = field(
        default=None,
        repr=False,
        metadata=_option(
            kinds.optional(store_url.URL),
            "Address of the store in one text, in place of the options that it sets.",
        ),
    )
    host: str = field(
        default="127.0.0.1",
        metadata=_option(
            kinds.ADDRESS, "Host of the store, or of any node of its cluster (tcp_sock)."
        ),
    )
    port: int = field(
        default=6379, metadata=_option(kinds.integer(1, 65_535), "Port of the store (tcp_sock).")
    )
    unix_socket_path: str | None = field(
        default=None,
        metadata=_option(kinds.optional(kinds.PATH), "Socket of the store (unix_sock)."),
    )
    db: int = field(
        default=0,
        metadata=_option(kinds.integer(0, 2**31 - 1), "Database number. A cluster has 0 only."),
    )
    key_prefix: str = field(
        default="sharq_server",
        metadata=_option(
            kinds.PREFIX, "Prefix of all keys. Servers with the same prefix share their queues."
        ),
    )
    username: str | None = field(
        default=None,
        metadata=_option(
            kinds.optional(kinds.USERNAME),
            "ACL user of the store. Empty: the default user.",
        ),
    )
    password: str | None = field(
        default=None,
        repr=False,
        metadata=_option(kinds.optional(kinds.PASSWORD), "Password of the store. Empty: none."),
    )
    sentinels: tuple[str, ...] = field(
        default=(),
        metadata=_option(
            kinds.words(kinds.SENTINEL),
            "Sentinels that know which node is the primary (sentinel).",
        ),
    )
    sentinel_service: str | None = field(
        default=None,
        metadata=_option(
            kinds.optional(kinds.NAME),
            "Name under which the sentinels monitor the store, such as mymaster.",
        ),
    )
    sentinel_username: str | None = field(
        default=None,
        metadata=_option(
            kinds.optional(kinds.USERNAME), "ACL user of the sentinels. Empty: the default user."
        ),
    )
    sentinel_password: str | None = field(
        default=None,
        repr=False,
        metadata=_option(kinds.optional(kinds.PASSWORD), "Password of the sentinels. Empty: none."),
    )
    clustered: bool = field(
        default=False,
        metadata=_option(kinds.BOOLEAN, "Whether the store is a cluster (tcp_sock)."),
    )
    cluster_nodes: tuple[str, ...] = field(
        default=(),
        metadata=_option(
            kinds.words(kinds.NODE),
            "More nodes of the cluster, for when the one at `host` is away.",
        ),
    )
    replicas_acked: int = field(
        default=0,
        metadata=_option(
            kinds.integer(0, 16),
            "Replicas that have a change before it is answered. 0: none is waited for.",
        ),
    )
    replicas_durable: bool = field(
        default=False,
        metadata=_option(
            kinds.BOOLEAN,
            "Whether these replicas, and the primary, have it on their disks by then (WAITAOF).",
        ),
    )
    tls: bool = field(
        default=False, metadata=_option(kinds.BOOLEAN, "Whether to use TLS (tcp_sock, sentinel).")
    )
    tls_ca: str | None = field(
        default=None,
        metadata=_option(
            kinds.optional(kinds.PATH),
            "CA certificates (PEM) for the store. Empty: those of the system.",
        ),
    )
    tls_server_name: str | None = field(
        default=None,
        metadata=_option(
            kinds.optional(kinds.ADDRESS),
            "Name in the certificate of every node of the store. Empty: the host of each.",
        ),
    )
    tls_certificate: str | None = field(
        default=None,
        metadata=_option(kinds.optional(kinds.PATH), "Client certificate for the store (PEM)."),
    )
    tls_key: str | None = field(
        default=None,
        metadata=_option(
            kinds.optional(kinds.PATH),
            "Key of `tls_certificate` (PEM), if it is in another file.",
        ),
    )
    data_dir: str = field(
        default_factory=default_data_dir,
        metadata=_option(
            kinds.PATH,
            "Folder of the embedded store. Default with $XDG_DATA_HOME: a folder `sharq` in it.",
            written=_DEFAULT_DATA_DIR,
        ),
    )
    appendfsync: str = field(
        default="always",
        metadata=_option(
            kinds.one_of("always", "everysec", "no"),
            "When the embedded store writes to disk. Only `always` survives a power failure.",
        ),
    )

    @property
    def place(self) -> str:
        """Where the store is, as an operator knows it: host:port, a path, or "embedded".

        With Sentinel it is the name of the service.
        """
        if self.conn_type == EMBEDDED:
            return EMBEDDED
        if self.conn_type == SENTINEL:
            return str(self.sentinel_service)
        return f"{self.host}:{self.port}" if self.conn_type == TCP else str(self.unix_socket_path)

    @property
    def described(self) -> str:
        """Where the store is, in a sentence; not of the embedded one."""
        if self.conn_type == UNIX:
            return str(self.unix_socket_path)
        if self.conn_type == SENTINEL:
            return f"{self.sentinel_service}, by the sentinels at {', '.join(self.sentinels)}"
        return f"{self.host}, port {self.port}"


SECTIONS: Final[dict[str, type[QueueSettings | ServerSettings | StoreSettings]]] = {
    "sharq": QueueSettings,
    "sharq-server": ServerSettings,
    "redis": StoreSettings,
}


@dataclass(frozen=True, slots=True)
class Option:
    """One option. `default` is the text to write in a file for it, empty for none."""

    section: str
    name: str
    kind: kinds.Kind
    default: str
    about: str
    secret: bool

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return variable_prefix(self.section) + self.name.upper()

    @property
    def older_variable(self) -> str:
        """The one that sets it as well; the same for ``[redis]``."""
        return older_prefix(self.section) + self.name.upper()


def variable_prefix(section: str) -> str:
    """How the environment variables of a section's options begin."""
    return {"sharq": "SHARQ_", "sharq-server": "SHARQ_SERVER_", "redis": "SHARQ_REDIS_"}[section]


def older_prefix(section: str) -> str:
    """How they began when each had the name of its section in it."""
    return f"SHARQ_{section.upper().replace('-', '_')}_"


def as_written(value: object) -> str:
    """The text of a value, as a file would have it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


def _options() -> Iterator[Option]:
    for section, settings in SECTIONS.items():
        for each in fields(settings):
            written = each.metadata["written"]
            yield Option(
                section=section,
                name=each.name,
                kind=each.metadata["kind"],
                default=as_written(each.default) if written is None else written,
                about=each.metadata["about"],
                secret=not each.repr,
            )


OPTIONS: Final[tuple[Option, ...]] = tuple(_options())
"""Every option, section by section."""

BY_NAME: Final = {(option.section, option.name): option for option in OPTIONS}
