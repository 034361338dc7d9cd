"""What values an option takes, and how they are read from text."""

from __future__ import annotations

import configparser
import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sharq.identifiers import MAX_INTERVAL, MAX_SHARDS, is_identifier

_INTEGER = re.compile(r"-?[0-9]{1,20}")
_HOST = re.compile(r"[\w.-]{1,253}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNSENDABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_HOST_PATTERN = re.compile(r"\*|(?:\*\.)?[\w.-]{1,253}")
_ORIGIN = re.compile(
    r"\*|[a-z][a-z0-9+.-]*://[\w.-]+(?::[0-9]{1,5})?|[a-z]+://\[[0-9a-f:.]+\](?::[0-9]{1,5})?"
)
_MODE = re.compile(r"0[0-7]{3}")
_BASE_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+/?")
_QUOTED = re.compile(r"""(["']).*\1""", re.DOTALL)


UNIX_PREFIX = "unix:"
"""How a place to listen on begins that is the path of a unix socket."""

SENTINEL_PORT = 26379
"""Where a sentinel listens if nothing else is said."""

LONGEST_SOCKET_PATH = 107
"""Bytes of a unix socket's path: sun_path of unix(7) without its closing NUL."""


class Refused(Exception):
    """A value is not valid; without a message, because it is not what is expected."""


@dataclass(frozen=True, slots=True)
class Kind:
    """The values that an option takes.

    `expected` completes the words "expected ...". `read` turns text, and the environment for what
    `~` means, into the value, or refuses it.
    """

    expected: str
    read: Callable[[str, Mapping[str, str]], Any]


def integer(low: int, high: int, unit: str = "") -> Kind:
    """A whole number in ASCII digits, low ≤ number ≤ high."""

    def read(text: str, _: Mapping[str, str]) -> int:
        if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
            raise Refused
        return int(text)

    return Kind(f"a whole number{unit and f' of {unit}'} from {low} to {high}", read)


def milliseconds(low: int) -> Kind:
    """A time span in milliseconds, `low` to 365 days."""
    return integer(low, MAX_INTERVAL, "milliseconds")


def one_of(*words: str) -> Kind:
    """One of two or more words, spelled exactly."""

    def read(text: str, _: Mapping[str, str]) -> str:
        if text not in words:
            raise Refused
        return text

    return Kind(f"{', '.join(words[:-1])} or {words[-1]}", read)


def optional(kind: Kind) -> Kind:
    """What `kind` takes, or empty text, which becomes None."""

    def read(text: str, environ: Mapping[str, str]) -> Any:
        return kind.read(text, environ) if text else None

    return Kind(f"{kind.expected}, or nothing", read)


def _read_boolean(text: str, _: Mapping[str, str]) -> bool:
    try:
        return configparser.ConfigParser.BOOLEAN_STATES[text.lower()]
    except KeyError:
        raise Refused from None


def _read_host(text: str, _: Mapping[str, str]) -> str:
    if ":" in text:
        try:
            ipaddress.IPv6Address(text)
        except ValueError:
            raise Refused from None
    elif not _HOST.fullmatch(text):
        raise Refused
    return text


def _read_prefix(text: str, _: Mapping[str, str]) -> str:
    if not 1 <= len(text) <= 100 or not text.isprintable() or re.search(r"[\s{}]", text):
        raise Refused
    if is_quoted(text):
        raise Refused
    return text


def _read_original_prefix(text: str, _: Mapping[str, str]) -> str:
    if not text or _UNSENDABLE.search(text):
        raise Refused
    return text


def _read_username(text: str, _: Mapping[str, str]) -> str:
    if not text.isprintable() or re.search(r"\s", text) or is_quoted(text):
        raise Refused
    return text


def _read_password(text: str, _: Mapping[str, str]) -> str:
    if _UNSENDABLE.search(text):
        raise Refused
    return text


def _read_path(text: str, environ: Mapping[str, str]) -> str:
    if not text or _CONTROL.search(text) or is_quoted(text):
        raise Refused
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise Refused from None
    if text == "~" or text.startswith("~/"):
        text = (environ.get("HOME") or os.path.expanduser("~")) + text[1:]
    else:
        text = os.path.expanduser(text)
    if text.startswith("~"):
        raise Refused("no home folder is known for `~`")
    try:
        return os.path.abspath(text)
    except OSError:
        raise Refused("a relative path, and the current folder does not exist") from None


def _read_access_log(text: str, environ: Mapping[str, str]) -> str:
    return text if text == "-" else _read_path(text, environ)


def _read_host_pattern(text: str, environ: Mapping[str, str]) -> str:
    if ":" in text:
        return _read_host(text, environ)
    if not _HOST_PATTERN.fullmatch(text):
        raise Refused
    return text


def _read_origin(text: str, _: Mapping[str, str]) -> str:
    if not _ORIGIN.fullmatch(text.lower()):
        raise Refused
    return text


def _read_place(text: str, environ: Mapping[str, str]) -> str:
    if not text.startswith(UNIX_PREFIX):
        return _read_host(text, environ)
    path = _read_path(text.removeprefix(UNIX_PREFIX), environ)
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise Refused(f"the path of a socket has at most {LONGEST_SOCKET_PATH} bytes")
    return UNIX_PREFIX + path


def _read_proxy(text: str, _: Mapping[str, str]) -> str:
    if text == "unix":
        return text
    if "%" in text:
        raise Refused
    try:
        network = ipaddress.ip_network(text, strict=False)
        first = ipaddress.ip_address(text.partition("/")[0])
    except ValueError:
        raise Refused from None
    if network.network_address != first:
        raise Refused(f"{text} is no network; did you mean {network}?")
    return text


def _read_mode(text: str, _: Mapping[str, str]) -> str:
    if not _MODE.fullmatch(text):
        raise Refused
    return text


def _read_base_path(text: str, _: Mapping[str, str]) -> str:
    path = text.removesuffix("/")
    if not _BASE_PATH.fullmatch(text) or {".", ".."} & set(path.split("/")):
        raise Refused
    return path


def _read_label(text: str, _: Mapping[str, str]) -> str:
    if not 1 <= len(text) <= 40 or not text.isprintable() or is_quoted(text):
        raise Refused
    return text


def _endpoint(usual: int) -> Kind:
    """`host` or `host:port`, an IPv6 address in brackets; the result has the port."""

    def read(text: str, _: Mapping[str, str]) -> str:
        host, colon, port = text.rpartition(":")
        if not colon or text.endswith("]"):
            host, port = text, str(usual)
        bracketed = host.startswith("[") and host.endswith("]")
        if bracketed != (":" in host):
            raise Refused
        _read_host(host[1:-1] if bracketed else host, {})
        if not _INTEGER.fullmatch(port) or not 1 <= int(port) <= 65_535:
            raise Refused
        return f"{host}:{int(port)}"

    return Kind(f"a host name or address and a port, such as 10.0.0.7:{usual}", read)


def several(kind: Kind) -> Kind:
    """One or more of what `kind` takes, with white space or commas between them, as a tuple."""

    def read(text: str, environ: Mapping[str, str]) -> tuple[Any, ...]:
        found = tuple(kind.read(word, environ) for word in text.replace(",", " ").split())
        if not found:
            raise Refused
        return found

    return Kind(f"{kind.expected}, or several with spaces between", read)


def words(kind: Kind) -> Kind:
    """Any number of what `kind` takes, with white space or commas between them, as a tuple."""
    some = several(kind)

    def read(text: str, environ: Mapping[str, str]) -> tuple[Any, ...]:
        return some.read(text, environ) if text.strip(" ,") else ()

    return Kind(f"{some.expected}, or nothing", read)


def _read_shards(text: str, _: Mapping[str, str]) -> str:
    queue_type, colon, count = text.partition(":")
    if not colon or not is_identifier(queue_type) or not _INTEGER.fullmatch(count):
        raise Refused
    if not 1 <= int(count) <= MAX_SHARDS:
        raise Refused
    return f"{queue_type}:{int(count)}"


BOOLEAN = Kind("true or false (or yes, no, on, off, 1, 0)", _read_boolean)
PATH = Kind("a path", _read_path)
ADDRESS = Kind("a host name, or an IPv4 or IPv6 address without brackets and port", _read_host)
SENTINEL = _endpoint(SENTINEL_PORT)
NODE = _endpoint(6379)
SHARDS = Kind("a queue type and its number of shards from 1 to 256, such as sms:16", _read_shards)
PLACE = Kind(
    "a host name, an IPv4 or IPv6 address without brackets and port, or unix: and a path",
    _read_place,
)
PROXY = Kind("an IP address, a network such as 10.0.0.0/8, or unix", _read_proxy)
MODE = Kind("four octal digits such as 0660", _read_mode)
HOST_PATTERN = Kind(
    "a host name or an IP address without port, or *.name for all below it, or * for any",
    _read_host_pattern,
)
ORIGIN = Kind("an origin such as https://jobs.example.com, or * for any", _read_origin)
ACCESS_LOG = Kind("a path, or - for the standard output", _read_access_log)
PREFIX = Kind("1 to 100 visible characters without braces and enclosing quotes", _read_prefix)
NAME = Kind("a name without white space and enclosing quotes", _read_username)
ORIGINAL_PREFIX = Kind("text without control characters", _read_original_prefix)
USERNAME = Kind("a name without white space and enclosing quotes", _read_username)
BASE_PATH = Kind("a path such as /queue: letters, digits and ._~-", _read_base_path)
LABEL = Kind("1 to 40 printable characters without enclosing quotes", _read_label)
TOKENS = Kind("lines of a token file with vertical bars between", _read_password)
PASSWORD = Kind("text without control characters", _read_password)


def is_quoted(text: str) -> bool:
    """Tell whether `text` is in quotes, which INI files do not have."""
    return _QUOTED.fullmatch(text) is not None
