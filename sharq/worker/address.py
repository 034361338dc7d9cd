"""The arguments of a worker that go into its handshake: checked before they are used. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from sharq.errors import BadArgumentException
from sharq.settings import tokens

Token = str | Callable[[], str] | None

_EXAMPLE: Final = "ws://127.0.0.1:8080/ws/"
_CHARACTERS: Final = re.compile(r"[\x21-\x7e]+")


def check_url(url: str) -> str:
    """The URL of a push channel. Raises `BadArgumentException`, which says what is wrong."""
    if not isinstance(url, str) or not _CHARACTERS.fullmatch(url):
        raise BadArgumentException(f"`url` has to be one like {_EXAMPLE}.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadArgumentException(f"`url` {url} is none: {error}.") from None
    if parts.scheme not in ("ws", "wss") or not parts.hostname or port == 0:
        raise BadArgumentException(f"`url` has to be one like {_EXAMPLE}.")
    if parts.path in ("", "/"):
        whole = parts._replace(path="/ws/").geturl()
        raise BadArgumentException(f"`url` {url} has no path: the push channel is {whole}.")
    return url


def check_token(token: Token) -> Token:
    """A token without what files leave around it; a function is called later.

    Raises `BadArgumentException`, which does not show it.
    """
    if token is None or callable(token):
        return token
    try:
        return tokens.clean(token)
    except (ValueError, TypeError, AttributeError) as error:
        reason = error if isinstance(error, ValueError) else "it is no text"
        raise BadArgumentException(f"`token` is no bearer token: {reason}.") from None
