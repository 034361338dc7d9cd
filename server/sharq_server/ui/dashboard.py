"""What the dashboard's URLs are answered with. Pure, but for the files, which are read once."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec

from sharq import __version__
from sharq.settings.options import ServerSettings
from sharq_server.api import replies
from sharq_server.api.replies import Reply
from sharq_server.ui import assets
from sharq_server.ui.assets import Asset

PATH: Final = r"/ui(?:/.*)?|/live/?"
"""The paths that are the dashboard's, as a regular expression."""

OFF: Final = "off"

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""The content security policy: nothing inline, nothing from elsewhere."""

_SAFE: Final = (
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)
_CHECKED: Final = (*_SAFE, ("Cache-Control", "no-cache"))
_NOT_KEPT: Final = (*_SAFE, ("Cache-Control", "no-store"))

_NAME: Final = "[A-Za-z0-9_-]{1,100}"
_PAGES: Final = re.compile(
    f"|type/{_NAME}/?|queue/{_NAME}/{_NAME}/?|job/{_NAME}/{_NAME}/{_NAME}/?"
    f"|dead/?|dead/{_NAME}/?|workers/?"
)
_NO_PAGE: Final = re.compile("[^./][^.]*")
"""What a person may have typed who wanted a page: no file, and nothing above the folder."""
_DEEPEST: Final = 5

_NOT_ALLOWED: Final = replies.method_not_allowed("GET, HEAD")


class Answer(NamedTuple):
    """An answer: status, header fields, body."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes = b""


class Dashboard:
    """The dashboard of a server with these settings, whose `ui` is not off.

    `tokens`: whether data and changes need a token. `live`: whether there is a push channel.
    """

    def __init__(self, server: ServerSettings, *, tokens: bool, live: bool) -> None:
        self._files = dict(assets.read())
        page = self._files.pop(assets.PAGE)
        self._pages = [assets.page_at(page, depth) for depth in range(_DEEPEST)]
        self._config = msgspec.json.encode(
            {
                "environment": server.environment,
                "read_only": server.ui == "read_only",
                "version": __version__,
                "tokens": tokens,
                "live": live,
            }
        )

    def answer(self, method: str, path: str, known: str | None) -> Answer | Reply:
        """The answer for a path that `PATH` matches; `known` is the value of If-None-Match."""
        if method not in ("GET", "HEAD"):
            return _NOT_ALLOWED
        if path in ("/ui", "/live"):
            return _redirect("ui/")
        if path == "/live/":
            return _redirect("../ui/")
        name = path.removeprefix("/ui/")
        if name == "config":
            return Answer(200, (("Content-Type", "application/json"), *_NOT_KEPT), self._config)
        found = self._files.get(name)
        if found is not None:
            return _sent(found, known)
        depth = name.count("/")
        if _PAGES.fullmatch(name):
            return _sent(self._pages[depth], known)
        if _NO_PAGE.fullmatch(name) and depth < _DEEPEST:
            # The page says so itself, and where to go on.
            return _sent(self._pages[depth], None)._replace(status=404)
        return replies.UNKNOWN_ROUTE


def _redirect(place: str) -> Answer:
    """To a place beside the one that was asked for, so that it is right below any prefix."""
    return Answer(301, (("Location", place), ("Content-Type", "text/plain"), *_CHECKED))


def _sent(found: Asset, known: str | None) -> Answer:
    fields = (("ETag", found.etag), *_CHECKED)
    if known is not None and _has(known, found.etag):
        return Answer(304, fields)
    return Answer(200, (("Content-Type", found.content_type), *fields), found.body)


def _has(known: str, etag: str) -> bool:
    """Whether one of the tags in an If-None-Match is this one (RFC 9110, 13.1.2: weakly)."""
    tags = (tag.strip().removeprefix("W/") for tag in known.split(","))
    return known.strip() == "*" or etag in tags
