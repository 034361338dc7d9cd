"""The exception tree.

Every class has a stable ``code``, the word that REST and push answers carry, and its
docstring is the message that is shown when none is given.
"""

from __future__ import annotations

import inspect


class SharqException(Exception):
    """Something went wrong inside SharQ."""

    code = "internal"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.cleandoc(type(self).__doc__ or type(self).__name__))

    @property
    def message(self) -> str:
        return str(self)


class BadArgumentException(SharqException):
    """An argument has an invalid value."""

    code = "invalid_argument"

    def __init__(self, message: str | None = None, expected: str | None = None) -> None:
        """`expected`: what would be valid, in words, where it is known."""
        super().__init__(message)
        self.expected = expected
        if expected is not None:
            # A traceback shows it; the message is the original's.
            self.add_note(f"It has to be {expected}.")


class NotJson(BadArgumentException):
    """The body is not valid JSON."""

    code = "not_json"


class PayloadTooLarge(BadArgumentException):
    """The payload is larger than this server accepts."""

    code = "payload_too_large"


class UnreadablePayload(SharqException):
    """The payload of a leased job cannot be read as JSON.

    The job is leased all the same, to be finished or given back: `lease` is its token, and
    `payload` what the store has of it.
    """

    code = "unreadable_payload"

    def __init__(self, message: str | None = None, lease: str = "", payload: bytes = b"") -> None:
        super().__init__(message)
        self.lease = lease
        self.payload = payload


class JobConflict(SharqException):
    """A job with this `job_id` and another payload is queued or active."""

    code = "job_conflict"


class Sharded(SharqException):
    """The type is spread over shards, and this needs one place that decides."""

    code = "sharded"


class NotEmpty(SharqException):
    """The number of shards can only be changed while nothing is there."""

    code = "not_empty"


class ConfigError(SharqException):
    """The configuration is not valid."""

    code = "invalid_configuration"


class EmbeddedStoreError(SharqException):
    """The embedded store could not be started."""

    code = "embedded_store"


class StoreError(SharqException):
    """The store could not answer.

    `retry_after` is the number of seconds after which another try makes sense, or None where
    a repetition does not help. `outcome_unknown` tells that the command was sent and may have
    been carried out.
    """

    code = "store_error"
    retry_after: int | None = None
    outcome_unknown = False


def reason_of(error: BaseException) -> str:
    """Why something failed, in a few words without a stop: what is at the bottom of an error."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = error.strerror if isinstance(error, OSError) else None
    text = (
        text or str(error.args[0] if error.args and error.args[0] else "") or type(error).__name__
    )
    return text.rstrip(".")


class StoreUnavailable(StoreError):
    """The store is not available."""

    code = "store_unavailable"
    retry_after = 1


class StoreOutcomeUnknown(StoreUnavailable):
    """The store did not answer; the operation may have been carried out."""

    outcome_unknown = True


class StoreOverloaded(StoreUnavailable):
    """Too many operations are waiting for the store."""

    code = "overloaded"


class StoreFull(StoreError):
    """The store cannot take more data."""

    code = "store_full"
    retry_after = 5


class StoreDenied(StoreError):
    """The store refused the server's user, or a right that it needs."""

    code = "store_auth"
    retry_after = 5


class UnexpectedReply(StoreError):
    """The store sent an unexpected answer."""

    code = "internal"


class TooFewReplicas(StoreUnavailable):
    """Too few replicas confirm changes; the operation was not carried out."""


class LayoutChanging(StoreUnavailable):
    """The number of shards of a type is being changed; soon it can be used again."""


class WrongKind(UnexpectedReply):
    """A key has a value of another kind: its type is spread otherwise by now, or it is damaged."""


StoreBug = UnexpectedReply
"""The name that it had before."""
