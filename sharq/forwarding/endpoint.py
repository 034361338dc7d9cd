"""Where jobs are sent, and with which headers: checked before the first one is. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from sharq.errors import BadArgumentException

_EXAMPLE: Final = "http://127.0.0.1:3000/jobs"
_PORTS: Final = {"http": 80, "https": 443}
_CHARACTERS: Final = re.compile(r"[\x21-\x7e]+")
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
_OURS: Final = frozenset(
    (
        *("host", "connection", "expect", "te", "trailer", "upgrade", "transfer-encoding"),
        *("content-type", "content-length", "content-encoding"),
    )
)
_OUR_PREFIXES: Final = ("sharq-", "webhook-")

Header = tuple[str, str]


class Endpoint(NamedTuple):
    """An HTTP endpoint. `target` is its path with the query, `authority` what Host says."""

    is_tls: bool
    host: str
    port: int
    authority: str
    target: str

    def __str__(self) -> str:
        """Its URL for the log: without the query, which may hold a secret."""
        scheme = "https" if self.is_tls else "http"
        return f"{scheme}://{self.authority}{self.target.partition('?')[0]}"


def check_endpoint(url: str) -> Endpoint:
    """The endpoint at a URL. Raises `BadArgumentException`, which says what is wrong."""
    expected = f"The endpoint has to be a URL like {_EXAMPLE}"
    if not _CHARACTERS.fullmatch(url):
        raise BadArgumentException(f"{expected}: ASCII without spaces, the rest percent-encoded.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError as error:
        raise BadArgumentException(f"{expected}: {error}.") from None
    if parts.scheme not in _PORTS:
        raise BadArgumentException(f"{expected}: http:// or https://, not {url}.")
    if not host or port == 0:
        raise BadArgumentException(f"{expected}: {url} has no valid host and port.")
    if "@" in parts.netloc:
        raise BadArgumentException(
            f"{expected}, without a user or a password: use --header 'Authorization: …'."
        )
    if "#" in url:
        raise BadArgumentException(f"{expected}: without a fragment (#).")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Endpoint(
        parts.scheme == "https", host, port or _PORTS[parts.scheme], parts.netloc, target
    )


def check_headers(given: Iterable[str]) -> list[Header]:
    """Headers from texts of the form ``NAME:VALUE``. Raises `BadArgumentException`."""
    return [_header(each) for each in given]


def _header(text: str) -> Header:
    name, colon, value = text.partition(":")
    value = value.strip()
    # The value may be a secret: it is not shown.
    if not colon or not _NAME.fullmatch(name):
        raise BadArgumentException("--header has to be NAME:VALUE, with a valid name.")
    if not _VALUE.fullmatch(value):
        raise BadArgumentException(f"--header {name}: the value has to be printable ASCII.")
    if name.lower() in _OURS or name.lower().startswith(_OUR_PREFIXES):
        raise BadArgumentException(f"--header {name}: this header is set by SharQ itself.")
    return name, value
