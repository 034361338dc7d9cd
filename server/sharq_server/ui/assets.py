"""The files of the dashboard, read when the first is made: their types and entity tags."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import PurePath
from typing import Final, NamedTuple

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}

_ROOT: Final = b"{root}"
"""In the page: the way from its URL to the folder of the files."""

PAGE: Final = "index.html"
"""The one page; the others are files that it loads."""


class Asset(NamedTuple):
    """A file as it is sent."""

    content_type: str
    body: bytes
    etag: str


def asset(name: str, body: bytes) -> Asset:
    """A file of this name. Raises KeyError: its type is not known."""
    etag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
    return Asset(_TYPES[PurePath(name).suffix], body, etag)


@cache
def read() -> Mapping[str, Asset]:
    """All files by their names, the page included; read once in a process."""
    folder = files("sharq_server.ui").joinpath("static")
    return {each.name: asset(each.name, each.read_bytes()) for each in folder.iterdir()}


def page_at(page: Asset, depth: int) -> Asset:
    """The page for a URL that is `depth` folders below that of the files."""
    return asset(PAGE, page.body.replace(_ROOT, b"../" * depth or b"./"))
