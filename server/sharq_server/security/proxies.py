"""Proxies whose word about their clients counts. Pure.

`X-Forwarded-For`, `-Proto` and `-Prefix` are taken from a peer that is trusted, and ignored from
all others; so is a value that is not valid.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from typing import Final, NamedTuple

UNIX: Final = "unix:"
"""The address of a peer on a unix socket, which has none."""

_TRUSTED_UNIX: Final = "unix"

# An address, with or without a port; IPv6 in brackets where there is one.
_HOP: Final = re.compile(
    r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+)(?::[0-9]{1,5})?|([0-9A-Fa-f:.]+)"
)
_PREFIX: Final = re.compile(r"/[A-Za-z0-9._~/-]*")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Client(NamedTuple):
    """Who sent a request: its address, ``http`` or ``https``, and the path before ours.

    `prefix` is what a proxy has taken off the path, without a slash at its end.
    """

    address: str
    scheme: str
    prefix: str = ""


class Proxies:
    """The trusted ones: addresses, networks, and ``unix`` for all on unix sockets."""

    def __init__(self, trusted: Collection[str] = ()) -> None:
        self._unix = _TRUSTED_UNIX in trusted
        self._networks = tuple(
            ipaddress.ip_network(each) for each in trusted if each != _TRUSTED_UNIX
        )
        self._any = bool(trusted)

    def __bool__(self) -> bool:
        return self._any

    def trusts(self, address: str) -> bool:
        """Whether a peer, by its address or `UNIX`, is a trusted proxy."""
        if address == UNIX:
            return self._unix
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def client(
        self,
        peer: str,
        scheme: str,
        forwarded_for: str | None,
        proto: str | None,
        prefix: str | None,
    ) -> Client:
        """The client behind a `peer` that speaks `scheme`; the rest are the values of the fields.

        A field that came several times is one value, with commas between.
        """
        if not self.trusts(peer):
            return Client(peer, scheme)
        return Client(
            peer if forwarded_for is None else self._client_in(forwarded_for) or peer,
            _scheme_in(proto) or scheme,
            _prefix_in(prefix),
        )

    def _client_in(self, forwarded_for: str) -> str | None:
        """The last hop that is not trusted; the first one if all are; None if one is invalid."""
        found = None
        for hop in reversed(forwarded_for.split(",")):
            hop = hop.strip(" \t")
            if not hop:
                continue
            found = _address_in(hop)
            if found is None or not self.trusts(found):
                break
        return found


def _address_in(hop: str) -> str | None:
    if hop == UNIX:
        return UNIX
    match = _HOP.fullmatch(hop)
    parsed = None if match is None else _parsed(match[1] or match[2] or match[3])
    return None if parsed is None else str(parsed)


def _parsed(address: str) -> _Address | None:
    """An address without its zone; one of IPv4 as such, also where it is written as IPv6."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed


def _scheme_in(proto: str | None) -> str | None:
    """The scheme that the nearest proxy names."""
    last = "" if proto is None else proto.rpartition(",")[2].strip(" \t").lower()
    return last if last in ("http", "https") else None


def _prefix_in(prefix: str | None) -> str:
    if prefix is None or not _PREFIX.fullmatch(prefix):
        return ""
    prefix = prefix.removesuffix("/")
    # What begins with // is another server's URL, and a browser resolves dots.
    segments = prefix.split("/")[1:]
    return "" if any(segment in ("", ".", "..") for segment in segments) else prefix
