"""Which Host and which Origin a request may have. Pure.

A page that points its name to this server (DNS rebinding) is recognized by its Host; one that lets
a browser send requests across sites, by Origin and Sec-Fetch-Site. Headers are any mapping that
does not distinguish capitals.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from sharq.settings.kinds import UNIX_PREFIX
from sharq_server.security.cors import ANY, AllowedOrigins
from sharq_server.security.refusal import Refusal

FOREIGN_HOST: Final = Refusal("forbidden", "Host header not allowed. Add it to `allowed_hosts`.")
FOREIGN_ORIGIN: Final = Refusal("forbidden", "Origin not allowed. Add it to `allowed_origins`.")
FOREIGN_FORM: Final = Refusal(
    "unsupported_media_type", "A page of another origin cannot send forms here."
)

# What a browser sends across sites without a preflight request.
_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")

_MOST_KNOWN: Final = 1024


def exposed_places(places: Iterable[str]) -> list[str]:
    """Of the places where a server listens those that other machines can reach."""
    return [
        place
        for place in places
        if not place.startswith(UNIX_PREFIX) and not _is_loopback(_name_in(place))
    ]


class Origins:
    """The rules of one server.

    `places` is where it listens: on loopback addresses and unix sockets only loopback names are
    allowed, elsewhere also every IP address and `own_names`, and with `any_host` any name.
    `allowed_hosts` are further names, without ports; ``*.name`` stands for all names below it, and
    ``*`` for all. `allowed_origins` are those whose pages may use the API.

    `known_hosts` has raw values of Host that were found to be allowed.
    """

    def __init__(
        self,
        places: Collection[str],
        allowed_hosts: Collection[str],
        allowed_origins: Collection[str],
        *,
        own_names: Collection[str] = (),
        any_host: bool = False,
    ) -> None:
        hosts = [place for place in places if not place.startswith(UNIX_PREFIX)]
        exposed = bool(exposed_places(hosts))
        self.allowed: Final = AllowedOrigins(allowed_origins)
        self.known_hosts: set[bytes] = set()
        self._any_host = ANY in allowed_hosts or (exposed and any_host)
        self._any_address = exposed
        self._names = {_name_in(name) for name in (*hosts, *allowed_hosts)}
        if exposed:
            self._names.update(_name_in(name) for name in own_names)
        self._below = tuple(name[1:] for name in self._names if name.startswith("*."))

    def takes_host(self, value: str) -> bool:
        """Whether a request may have this Host."""
        if not self._takes(_name_in(value)):
            return False
        if len(self.known_hosts) >= _MOST_KNOWN:
            self.known_hosts.clear()
        self.known_hosts.add(value.encode("latin-1"))
        return True

    def _takes(self, name: str) -> bool:
        if self._any_host or name in self._names or _is_loopback(name):
            return True
        return name.endswith(self._below) or (self._any_address and _address(name) is not None)

    def is_foreign(self, headers: Mapping[str, str]) -> bool:
        """Whether a page of a forbidden origin has sent the request."""
        origin = headers.get("Origin")
        if self.allowed.has(origin):
            return False
        site = headers.get("Sec-Fetch-Site")
        if site is not None:
            return site not in ("same-origin", "none")
        if origin is None:
            return False
        # Some libraries write it as a URL, with a path.
        own = origin.partition("://")[2].removesuffix("/").lower()
        return own != headers.get("Host", "").lower()

    def problem(self, headers: Mapping[str, str], *, has_effects: bool) -> Refusal | None:
        """Why a request is refused for its Host or Origin; None if it is allowed."""
        host = headers.get("Host")
        if host is not None and not self.takes_host(host):
            return FOREIGN_HOST
        if self.is_foreign(headers):
            if _media_type(headers) in _FORMS:
                return FOREIGN_FORM
            if has_effects:
                return FOREIGN_ORIGIN
        return None


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _name_in(host: str) -> str:
    """The name or the address in a Host, without brackets and port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    if host.count(":") > 1:
        return host.lower()
    return host.partition(":")[0].rstrip(".").lower()


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and address.is_loopback
