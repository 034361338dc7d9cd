"""CORS: what a page of another origin may send, and which answers it may read. Pure.

There are no cookies, so there is no mode with credentials: a page sends its token itself. Headers
are any mapping that does not distinguish capitals.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

ANY: Final = "*"

Fields = tuple[tuple[str, str], ...]
"""Header fields of an answer."""

_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
_EXPOSED: Final = "Retry-After"
_ALLOWED_HEADERS: Final = "Authorization, Content-Type"
_SECONDS: Final = 600
"""How long a browser may remember the answer to a preflight."""


class AllowedOrigins:
    """The origins whose pages may use the API; ``*`` stands for all."""

    def __init__(self, origins: Collection[str]) -> None:
        self._any = ANY in origins
        self._origins = {_as_sent(origin) for origin in origins}

    def has(self, origin: str | None) -> bool:
        """Whether pages of an origin may use the API; None: the request names none."""
        return origin is not None and (self._any or origin.lower() in self._origins)

    def fields(self, headers: Mapping[str, str]) -> Fields:
        """What any answer to a request has for its page, errors included."""
        origin = headers.get("Origin")
        if origin is None or not self.has(origin):
            return ()
        return (
            ("Access-Control-Allow-Origin", ANY if self._any else origin),
            ("Access-Control-Expose-Headers", _EXPOSED),
            ("Vary", "Origin"),
        )

    def preflight(
        self, method: str, headers: Mapping[str, str], methods: Iterable[str]
    ) -> Fields | None:
        """What the answer to a browser that asks before a request has, besides `fields`.

        `methods` are those of the route. None if the request is no preflight, or of an origin that
        is not allowed.
        """
        if (
            method != "OPTIONS"
            or "Access-Control-Request-Method" not in headers
            or not self.has(headers.get("Origin"))
        ):
            return None
        fields = [
            ("Access-Control-Allow-Methods", ", ".join(sorted(methods))),
            ("Access-Control-Allow-Headers", _ALLOWED_HEADERS),
            ("Access-Control-Max-Age", str(_SECONDS)),
        ]
        if headers.get("Access-Control-Request-Private-Network") == "true":
            fields.append(("Access-Control-Allow-Private-Network", "true"))
        return tuple(fields)


def _as_sent(origin: str) -> str:
    """An origin as browsers send it: in lower case, without the default port."""
    origin = origin.lower()
    return origin.removesuffix(_DEFAULT_PORTS.get(origin.partition(":")[0], ""))
