"""One call on its way to the store: its history, and what follows from a reply. Pure."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, Generic, TypeVar

from hiredis import ReplyError

from sharq.errors import StoreError, StoreOutcomeUnknown, TooFewReplicas
from sharq.operations.call import Call
from sharq.store.confirming import unconfirmed
from sharq.store.errors import BugMidway, Misdirected, ScriptMissing, store_error

T = TypeVar("T")

_MOST_LOADS: Final = 5


class Again(Enum):
    """What must be done before a refused call is sent again."""

    LOAD = "load its script"
    ELSEWHERE = "find the node that takes it"


class Request(Generic[T]):
    """A call and its history.

    `sent` tells that the store may have carried the call out: it was handed to a connection
    and has not been refused each time. `unconfirmed`: an answer came, and too few replicas had it.
    """

    __slots__ = ("call", "loads", "redirected", "repeated", "sent", "unconfirmed")

    def __init__(self, call: Call[T]) -> None:
        self.call = call
        self.sent = False
        self.repeated = False
        self.redirected = False
        self.loads = 0
        self.unconfirmed = False

    def read(self, reply: Any) -> T | StoreError:
        """Return the call's result, or the error of the reply."""
        if isinstance(reply, ReplyError):
            return store_error(str(reply))
        try:
            return self.call.parse(reply)
        except StoreError as error:
            return error
        except Exception as error:
            bug = BugMidway(f"The store's answer has an unexpected shape: {error!r}")
            bug.__cause__ = error
            return bug

    def again(self, error: StoreError) -> Again | None:
        """Tell whether the call, refused with `error`, should be sent again, and note it.

        A missing script is loaded a few times, in case of several flushes in a row; another node is
        looked up once.
        """
        if isinstance(error, ScriptMissing) and self.loads < _MOST_LOADS:
            self.loads += 1
            self.sent = self.repeated
            return Again.LOAD
        if isinstance(error, Misdirected) and not self.redirected:
            self.redirected = True
            self.sent = self.repeated
            return Again.ELSEWHERE
        return None

    def repeat(self) -> bool:
        """Tell whether the call may be sent again after its answer was lost, and note it.

        Once at most, and only if it is safe to repeat.
        """
        if self.repeated or not self.call.repeatable:
            return False
        self.repeated = True
        return True

    def refusal(self, error: StoreError, *, leads_on: bool) -> StoreError:
        """Return the error of a call that was refused with `error`, finally.

        A call that is refused after it was sent again may have been carried out the first time.
        With `leads_on` the caller sends a `Misdirected` call to another node, and is told so.
        """
        if not self.repeated or error.outcome_unknown:
            return error
        if leads_on and isinstance(error, Misdirected):
            error.late = True
            return error
        return self.failure(error)

    def failure(self, trouble: StoreError) -> StoreError:
        """Return the error of a call that is given up because of `trouble`."""
        if self.sent:
            late = self.unconfirmed or isinstance(trouble, TooFewReplicas)
            error: StoreError = unconfirmed() if late else StoreOutcomeUnknown()
        else:
            error = type(trouble)(str(trouble))
        error.__cause__ = trouble
        return error
