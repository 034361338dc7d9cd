"""The address of a store as one URL: what it says about the options of ``[redis]``. Pure.

``redis://[user:password@]host[:port][/db]``, ``rediss://`` for TLS, and
``unix://[user:password@]/path[?db=N]``. No message quotes a part of the URL: any may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

from sharq.settings import kinds

_PORT: Final = kinds.integer(1, 65_535)
_DB: Final = kinds.integer(0, 2**31 - 1)
_SCHEMES: Final = ("redis", "rediss", "unix")
_ESCAPE: Final = re.compile("%(?![0-9A-Fa-f]{2})")

SAYS: Final = ("conn_type", "host", "port", "unix_socket_path", "tls")
"""The options that every URL decides; one that it leaves out has its default."""


def options_of(text: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """The options that a URL sets, and their values. Raises `kinds.Refused`."""
    scheme, colon, rest = text.partition("://")
    if not colon or scheme.lower() not in _SCHEMES:
        raise kinds.Refused
    if "#" in rest:
        raise kinds.Refused("it has a `#`, which is %23 in a user or a password")
    address, question_mark, query = rest.partition("?")
    address, slash, path = address.partition("/")
    who, at, where = address.rpartition("@")
    options: dict[str, Any] = {}
    if at:
        user, colon, password = who.partition(":")
        options |= {"username": _part("user", user, kinds.USERNAME)} if user else {}
        options |= {"password": _part("password", password, kinds.PASSWORD)} if colon else {}
    if scheme.lower() == "unix":
        if where or not path:
            raise kinds.Refused("after unix:// comes an absolute path: unix:///path")
        socket = _part("path", slash + path, kinds.PATH, environ)
        if query and not query.startswith("db="):
            raise kinds.Refused("db is the only parameter of a unix:// URL")
        return options | _database(query.removeprefix("db=")) | {
            "conn_type": "unix_sock", "unix_socket_path": socket, "tls": False
        }  # fmt: skip
    if question_mark:
        raise kinds.Refused("only a unix:// URL has a parameter; a database is /N after the host")
    return options | _database(path) | _host_and_port(where) | {
        "conn_type": "tcp_sock", "tls": scheme.lower() == "rediss"
    }  # fmt: skip


def _host_and_port(where: str) -> dict[str, Any]:
    host, colon, port = where.rpartition(":")
    if not colon or where.endswith("]"):
        host, port = where, "6379"
    if host.startswith("[") and host.endswith("]") and ":" in host:
        host = host[1:-1]
    elif ":" in host:
        raise kinds.Refused("an IPv6 address is written in brackets: redis://[::1]:6379")
    if not host:
        raise kinds.Refused("it has no host")
    return {"host": _part("host", host, kinds.ADDRESS), "port": _part("port", port, _PORT)}


def _database(text: str) -> dict[str, Any]:
    return {"db": _part("database", text, _DB)} if text else {}


def _part(name: str, text: str, kind: kinds.Kind, environ: Mapping[str, str] | None = None) -> Any:
    if _ESCAPE.search(text):
        raise kinds.Refused(f"its {name} has a % that two hexadecimal digits do not follow")
    try:
        decoded = unquote(text, errors="strict")
        if "\n" in decoded or "\r" in decoded:
            raise kinds.Refused
        return kind.read(decoded, environ or {})
    except (UnicodeDecodeError, kinds.Refused):
        raise kinds.Refused(f"its {name} is not valid: expected {kind.expected}") from None


def _read(text: str, environ: Mapping[str, str]) -> str:
    options_of(text, environ)
    return text


URL: Final = kinds.Kind(
    "redis://[user:password@]host[:port][/db], rediss:// for TLS, or unix:///path[?db=N]", _read
)
