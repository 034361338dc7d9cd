"""Settings: read from an INI file, the environment and the command line, checked, frozen.

The fields of `QueueSettings`, `ServerSettings` and `StoreSettings` are the one table of all
options: name, type, default, allowed values and a line of description. Reading, error messages,
``sharq.conf`` and ``docs/configuration.md`` follow it.
"""

from __future__ import annotations

import configparser
import difflib
import io
import os
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final

from sharq.errors import ConfigError
from sharq.identifiers import MAX_COUNT
from sharq.settings import kinds as kinds

CONFIG_VARIABLE: Final = "SHARQ_CONFIG"
"""The environment variable that names the configuration file."""

TCP: Final = "tcp_sock"
UNIX: Final = "unix_sock"
EMBEDDED: Final = "embedded"

_LARGEST_FILE: Final = 1024 * 1024
_LONGEST_SOCKET_PATH: Final = 107  # sun_path of unix(7) without its closing NUL
_EMBEDDED_DATABASES: Final = 16
_DEFAULT_DATA_DIR: Final = "~/.local/share/sharq"
_NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})

_Key = tuple[str, str]
_CONN_TYPE: Final[_Key] = ("redis", "conn_type")
_DATA_DIR_KEY: Final[_Key] = ("redis", "data_dir")

_GONE: Final[Mapping[_Key, str]] = {
    ("sharq-server", "http"): "the server reads HTTP in one way only",
}


def _default_data_dir(environ: Mapping[str, str] = os.environ) -> str:
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
            "Time between two sweeps, which take jobs with ended leases back.",
        ),
    )
    default_job_requeue_limit: int = field(
        default=-1,
        metadata=_option(
            kinds.integer(-1, MAX_COUNT),
            "How often a job may go back when its enqueue does not say; -1 is for ever, 0 never.",
        ),
    )
    enable_requeue_script: bool = field(
        default=True,
        metadata=_option(
            kinds.BOOLEAN,
            "Whether jobs with ended leases are taken back from here: by a server's sweep, or by"
            " the library with its dequeues. Where it is off, somebody else on the same store has"
            " to.",
        ),
    )
    finished_retention: int = field(
        default=60_000,
        metadata=_option(
            kinds.milliseconds(0),
            "How long the state of an ended job can be asked for; 0 keeps none.",
        ),
    )
    interval_retention: int = field(
        default=3_600_000,
        metadata=_option(
            kinds.milliseconds(0),
            "How long a queue without jobs keeps an interval that was set through the API.",
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
            "Largest body of a request with many jobs; at least max_payload_bytes.",
        ),
    )


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The section ``[sharq-server]``: how the server is reached and run."""

    host: str = field(
        default="127.0.0.1", metadata=_option(kinds.ADDRESS, "Address that the server listens on.")
    )
    port: int = field(
        default=8080,
        metadata=_option(
            kinds.integer(0, 65_535), "Port that the server listens on; 0 takes any free one."
        ),
    )
    workers: int = field(
        default=1, metadata=_option(kinds.integer(1, 256), "Number of server processes.")
    )
    heartbeat: int = field(
        default=20_000,
        metadata=_option(
            kinds.milliseconds(100),
            "Time between two pings of a websocket; one that is silent for two of them is closed.",
        ),
    )
    accesslog: str | None = field(
        default=None,
        metadata=_option(
            kinds.optional(kinds.ACCESS_LOG),
            "File that gets a line for each request; nothing is none.",
        ),
    )
    max_connections: int | None = field(
        default=None,
        metadata=_option(
            kinds.optional(kinds.integer(1, 1_000_000)),
            "Connections of a server process at once; nothing is what the file limit leaves.",
        ),
    )
    max_connections_per_address: int | None = field(
        default=None,
        metadata=_option(
            kinds.optional(kinds.integer(1, 1_000_000)),
            "Those from one address; nothing is half of all, and no limit for the loopback.",
        ),
    )
    token_file: str | None = field(
        default=None,
        metadata=_option(
            kinds.optional(kinds.PATH),
            "File with the bearer tokens that requests need; nothing is no need.",
        ),
    )
    tokens: str | None = field(
        default=None,
        repr=False,
        metadata=_option(
            kinds.optional(kinds.TOKENS),
            "The same without a file, for the environment; both together add up.",
        ),
    )
    allowed_hosts: tuple[str, ...] = field(
        default=(),
        metadata=_option(
            kinds.words(kinds.HOST_PATTERN),
            "Names that requests may have in Host, besides those that the server knows by itself.",
        ),
    )
    allowed_origins: tuple[str, ...] = field(
        default=(),
        metadata=_option(
            kinds.words(kinds.ORIGIN),
            "Origins, besides its own, whose web pages may change something or open a websocket.",
        ),
    )
    tls_certificate: str | None = field(
        default=None,
        metadata=_option(
            kinds.optional(kinds.PATH),
            "Certificate of the server (PEM); with it the port speaks TLS alone.",
        ),
    )
    tls_key: str | None = field(
        default=None,
        metadata=_option(
            kinds.optional(kinds.PATH),
            "Key of tls_certificate (PEM), where that file does not hold it.",
        ),
    )


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The section ``[redis]``: where the data is. Paths are absolute."""

    conn_type: str = field(
        default=EMBEDDED,
        metadata=_option(
            kinds.one_of(TCP, UNIX, EMBEDDED),
            "How the store is reached; where it is not set, the other options tell.",
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
        metadata=_option(
            kinds.integer(0, 2**31 - 1), "Number of the database; a cluster has number 0 only."
        ),
    )
    key_prefix: str = field(
        default="sharq_server",
        metadata=_option(
            kinds.PREFIX, "Begins every key; servers that share it share their queues."
        ),
    )
    username: str | None = field(
        default=None,
        metadata=_option(
            kinds.optional(kinds.USERNAME),
            "ACL user of the store; nothing is the store's default user.",
        ),
    )
    password: str | None = field(
        default=None,
        repr=False,
        metadata=_option(kinds.optional(kinds.PASSWORD), "Password of the store; nothing is none."),
    )
    clustered: bool = field(
        default=False,
        metadata=_option(kinds.BOOLEAN, "Whether the store is a cluster (tcp_sock)."),
    )
    tls: bool = field(
        default=False, metadata=_option(kinds.BOOLEAN, "Whether to connect by TLS (tcp_sock).")
    )
    tls_ca: str | None = field(
        default=None,
        metadata=_option(
            kinds.optional(kinds.PATH),
            "Certificates that the store's is checked by; nothing is the system's.",
        ),
    )
    tls_certificate: str | None = field(
        default=None,
        metadata=_option(kinds.optional(kinds.PATH), "Certificate to show to the store (PEM)."),
    )
    tls_key: str | None = field(
        default=None,
        metadata=_option(
            kinds.optional(kinds.PATH),
            "Key of tls_certificate (PEM), where that file does not hold it.",
        ),
    )
    data_dir: str = field(
        default_factory=_default_data_dir,
        metadata=_option(
            kinds.PATH,
            "Folder of the embedded store; $XDG_DATA_HOME/sharq where that is set.",
            written=_DEFAULT_DATA_DIR,
        ),
    )
    appendfsync: str = field(
        default="always",
        metadata=_option(
            kinds.one_of("always", "everysec", "no"),
            "When the embedded store forces its log to the disk; only always outlives power loss.",
        ),
    )


_SECTIONS: Final[dict[str, type[QueueSettings | ServerSettings | StoreSettings]]] = {
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
    def environment(self) -> str:
        """The environment variable that sets it."""
        return _environment_prefix(self.section) + self.name.upper()


def _environment_prefix(section: str) -> str:
    return f"SHARQ_{section.upper().replace('-', '_')}_"


def _written(value: object) -> str:
    """The text of a value, as a file would have it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


def _options() -> Iterator[Option]:
    for section, settings in _SECTIONS.items():
        for each in fields(settings):
            written = each.metadata["written"]
            yield Option(
                section=section,
                name=each.name,
                kind=each.metadata["kind"],
                default=_written(each.default) if written is None else written,
                about=each.metadata["about"],
                secret=not each.repr,
            )


OPTIONS: Final[tuple[Option, ...]] = tuple(_options())
"""Every option, section by section."""

_BY_NAME: Final = {(option.section, option.name): option for option in OPTIONS}
_BY_ENVIRONMENT: Final = {option.environment: option for option in OPTIONS}
_ENVIRONMENT_PREFIXES: Final = tuple(map(_environment_prefix, _SECTIONS))


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. `Settings()` has the defaults."""

    sharq: QueueSettings = field(default_factory=QueueSettings)
    server: ServerSettings = field(default_factory=ServerSettings)
    redis: StoreSettings = field(default_factory=StoreSettings)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        environ: Mapping[str, str] = _NOTHING,
        overrides: Mapping[tuple[str, str], str] = _NOTHING,
    ) -> Settings:
        """Read the settings; `overrides` beat `environ`, which beats the file, then defaults.

        `path` is an INI file; without it ``SHARQ_CONFIG`` of `environ` names one, if any.
        `overrides` maps (section, option) to text. HOME and XDG_DATA_HOME are looked up in
        `environ` first, then in the environment of the process.

        Raises `ConfigError` with one line for each problem; a secret is never part of it.
        """
        reader = _Reader(environ)
        if path is not None:
            reader.take_file(os.fspath(path))
        elif environ.get(CONFIG_VARIABLE):
            reader.take_file(environ[CONFIG_VARIABLE], named_by=CONFIG_VARIABLE)
        reader.take_environment(environ)
        for (section, name), text in overrides.items():
            reader.take_section(section, [(name, text)], "command line: ")
        return reader.settings()

    @classmethod
    def from_mapping(cls, sections: Mapping[str, Mapping[str, object]]) -> Settings:
        """Settings from {section: {option: value}}, with the checks that a file gets.

        A value is text as in a file, or of the option's type. Raises `ConfigError`.
        """
        reader = _Reader(_NOTHING)
        for section, values in sections.items():
            reader.take_section(
                section, [(name, _written(value)) for name, value in values.items()]
            )
        return reader.settings()


class _Reader:
    """Takes what the sources give, the weakest first, and gathers what is wrong with it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = {**os.environ, **environ}
        self._values: dict[_Key, Any] = {}
        self._labels: dict[_Key, str] = {}
        self._problems: list[str] = []

    def take_file(self, path: str, *, named_by: str = "") -> None:
        origin = (_visible(path) or "''") + (f" (named by {named_by})" if named_by else "")
        parser = _parse(_read_text(path, origin), origin)
        for section in parser.sections():
            self.take_section(section, parser.items(section), f"{origin}: ")

    def take_environment(self, environ: Mapping[str, str]) -> None:
        for name in sorted(environ):
            option = _BY_ENVIRONMENT.get(name)
            if option is not None:
                label = f"environment: {name} ([{option.section}] {option.name})"
                text = environ[name]
                self._take(option, text if option.secret else text.strip(), label)
            elif name.startswith(_ENVIRONMENT_PREFIXES):
                # [sharq-server] begins as [sharq] does: the longest prefix is the section meant.
                prefix, section = max(
                    (_environment_prefix(each), each)
                    for each in _SECTIONS
                    if name.startswith(_environment_prefix(each))
                )
                reason = _no_such_option(section, name.removeprefix(prefix), variable=True)
                self._problems.append(f"environment: {_visible(name)}: {reason}")

    def take_section(
        self, section: str, values: Iterable[tuple[str, str]], origin: str = ""
    ) -> None:
        if section not in _SECTIONS:
            headers = {each: f"[{each}]" for each in _SECTIONS}
            self._problems.append(
                f"{origin}[{_visible(section)}]: no such section{_meant(section, headers)}; "
                f"the sections are {', '.join(headers.values())}"
            )
            return
        for name, text in values:
            label = f"{origin}[{section}] {_visible(name)}"
            option = _BY_NAME.get((section, name))
            if option is not None:
                self._take(option, text, label)
            else:
                # The value stays out: it may be a secret behind a misspelt name.
                self._problems.append(f"{label}: {_no_such_option(section, name)}")

    def _take(self, option: Option, text: str, label: str) -> None:
        try:
            if "\n" in text or "\r" in text:
                raise kinds.Refused(
                    "the value has several lines "
                    "(in a file, an indented line belongs to the value above it)"
                )
            value = option.kind.read(text, self._environ)
        except kinds.Refused as refused:
            reason = str(refused) or f"expected {option.kind.expected}{_slip(text)}"
            self._problems.append(_labelled(label, option, text) + reason)
            return
        self._values[option.section, option.name] = value
        self._labels[option.section, option.name] = label

    def settings(self) -> Settings:
        self._complain()
        inferred = _CONN_TYPE not in self._values
        if inferred:
            self._values[_CONN_TYPE] = self._infer_conn_type()
        self._values.setdefault(_DATA_DIR_KEY, _default_data_dir(self._environ))
        settings = Settings(
            QueueSettings(**self._section("sharq")),
            ServerSettings(**self._section("sharq-server")),
            StoreSettings(**self._section("redis")),
        )
        for key, reason in _contradictions(settings, self._values.keys(), inferred):
            option = _BY_NAME[key]
            label = self._labels.get(key, f"[{option.section}] {option.name}")
            text = _written(self._values.get(key, option.default))
            self._problems.append(_labelled(label, option, text) + reason)
        self._complain()
        return settings

    def _infer_conn_type(self) -> str:
        if ("redis", "host") in self._values or ("redis", "port") in self._values:
            return TCP
        return UNIX if self._values.get(("redis", "unix_socket_path")) else EMBEDDED

    def _section(self, section: str) -> dict[str, Any]:
        return {name: value for (owner, name), value in self._values.items() if owner == section}

    def _complain(self) -> None:
        if self._problems:
            raise ConfigError("\n".join(self._problems))


def _contradictions(
    settings: Settings, given: Container[_Key], inferred: bool
) -> Iterator[tuple[_Key, str]]:
    """Values that are right one by one and wrong together: the option to blame, and why.

    `given` has the options that a source sets, `inferred` tells that `conn_type` is not one.
    """
    queue, store = settings.sharq, settings.redis
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
        elif len(os.fsencode(store.unix_socket_path)) > _LONGEST_SOCKET_PATH:
            yield socket, f"the path of a socket has at most {_LONGEST_SOCKET_PATH} bytes"
    if store.clustered and not tcp:
        yield ("redis", "clustered"), needs_tcp
    if store.clustered and store.db != 0:
        yield ("redis", "db"), "a cluster (clustered = true) has the database 0 only"
    if embedded and store.db >= _EMBEDDED_DATABASES:
        last = _EMBEDDED_DATABASES - 1
        yield ("redis", "db"), f"the embedded store has the databases 0 to {last}"
    if embedded and not os.path.isabs(store.data_dir):
        yield _DATA_DIR_KEY, "no home folder is known for `~`; set data_dir to an absolute path"
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
    for section, owner in (("redis", store), ("sharq-server", settings.server)):
        if owner.tls_key is not None and owner.tls_certificate is None:
            yield (section, "tls_key"), "needs the tls_certificate that it is the key of"


def _read_text(path: str, origin: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{origin}: cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise ConfigError(f"{origin}: not a path") from None
    if len(data) > _LARGEST_FILE:
        raise ConfigError(f"{origin}: larger than {_LARGEST_FILE} bytes, so no configuration")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
    # Raised here and not above, so that no exception with the file's content hangs on to it.
    raise ConfigError(f"{origin}: line {line}: not UTF-8")


class _Parser(configparser.RawConfigParser):
    # The original pattern overlooks what follows the closing bracket.
    SECTCRE = re.compile(r"\[(?P<header>[^]]+)\]$")


def _parse(text: str, origin: str) -> configparser.RawConfigParser:
    """The sections of an INI file.

    Only ``;`` behind white space begins a comment within a line, as in the original. No message
    quotes a line, since it may hold a secret.
    """
    parser = _Parser(
        inline_comment_prefixes=(";",),
        empty_lines_in_values=False,
        default_section="",  # no header spells it: options that every section inherits are out
    )
    try:
        parser.read_file(io.StringIO(text, newline=None))
        return parser
    except configparser.DuplicateOptionError as error:
        section, option = _visible(error.section), _visible(error.option)
        problem = f"line {error.lineno}: [{section}] {option} is set a second time"
    except configparser.DuplicateSectionError as error:
        problem = f"line {error.lineno}: [{_visible(error.section)}] begins a second time"
    except configparser.MissingSectionHeaderError as error:
        problem = f"line {error.lineno}: no [section] begins before this line"
    except configparser.ParsingError as error:
        line, _ = error.errors[0]
        problem = f"line {line}: neither a [section] nor an option = value nor a comment"
    raise ConfigError(f"{origin}: {problem}")


def _visible(text: str) -> str:
    """`text` for a message: one line, not too long."""
    if len(text) > 200:
        text = f"{text[:200]}..."
    return text if text.isprintable() else ascii(text)


def _quoted(text: str) -> str:
    """The value `text` for a message, without what may be credentials in it."""
    text = text.splitlines()[0] if text else ""
    if "://" in text:
        text = f"{text.partition('://')[0]}://..."
    elif "@" in text:
        text = f"...@{text.rpartition('@')[2]}"
    return f"'{_visible(text)}'"


def _labelled(label: str, option: Option, text: str) -> str:
    return f"{label}: " if option.secret else f"{label} = {_quoted(text)}: "


def _slip(text: str) -> str:
    """A hint at two ways to write a value that INI files do not have."""
    if text.startswith("#") or " #" in text:
        return "; behind a value, only ; begins a comment"
    return "; quotes are part of a value" if kinds.is_quoted(text) else ""


def _meant(name: str, known: Mapping[str, str]) -> str:
    """The entry of `known` (name to what to show) that is like `name`, as a question."""
    near = difflib.get_close_matches(name.lower(), known, n=1)
    return f" (did you mean {known[near[0]]}?)" if near else ""


def _no_such_option(section: str, name: str, *, variable: bool = False) -> str:
    """What to say of an option that `section` has not; spelled as a variable if it was one."""
    if (section, name.lower()) in _GONE:
        return f"this option is gone: {_GONE[section, name.lower()]}"
    options = [option for option in OPTIONS if option.section == section]
    names = [option.environment if variable else option.name for option in options]
    homes = [f"[{each}]" for each in _SECTIONS if (each, name.lower()) in _BY_NAME]
    if homes and f"[{section}]" not in homes:
        hint = f" (it belongs to {' or '.join(homes)})"
    else:
        known = {option.name: spelled for option, spelled in zip(options, names, strict=True)}
        hint = _meant(name, known)
    return f"no such option{hint}; the options of [{section}] are {', '.join(names)}"
