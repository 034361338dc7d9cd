"""What a client learns of an error, and what the log gets of a bug."""

from __future__ import annotations

import logging
import secrets
from typing import Any

from sharq.errors import EmbeddedStoreError, SharqException, StoreUnavailable
from sharq_server.api import replies
from sharq_server.api.replies import Reply

_log = logging.getLogger(__name__)


class _Bug(SharqException):
    """Something went wrong inside the server."""


def told(error: Exception, what: str) -> tuple[SharqException, dict[str, str]]:
    """The error that a client gets, and further fields of its answer.

    A bug is logged with its traceback under an id, and the client gets only the id. `what` is a few
    words for the log.
    """
    if isinstance(error, SharqException) and not replies.is_internal(error):
        return error, replies.more_about(error)
    if isinstance(error, EmbeddedStoreError):
        # It names folders and processes, which a client should not see.
        _log.error("The embedded store does not start: %s", error)
        return StoreUnavailable(), {}
    request_id = secrets.token_hex(8)
    _log.error("%s failed, request id %s", what, request_id, exc_info=error)
    more = replies.more_about(error) if isinstance(error, SharqException) else {}
    return _Bug(), {"request_id": request_id, **more}


def reply_to(error: Exception, request: str, **further: Any) -> Reply:
    """The answer for an error; `request`, a few words, is for the log, `further` are fields."""
    shown, more = told(error, request)
    return replies.of_error(shown, {**more, **further})
