"""Refusals of the server itself; each has the stable `code` of its answers."""

from __future__ import annotations

from typing import Final

from sharq.errors import SharqException


class NotSubscribed(SharqException):
    """There is no subscription to this type."""

    code = "not_found"


class Forbidden(SharqException):
    """The token does not allow this."""

    code = "forbidden"


class Stopping(SharqException):
    """The server is stopping."""

    code = "stopping"
    retry_after: Final = 1
