"""What the store's error replies mean. Pure.

The store names its errors by a first word (``OOM …``, ``MOVED …``). An error of a command inside a
script comes wrapped, in a different form in each generation of the store:

- Redis 6.2: ``ERR Error running script (call to f_<sha1>): @user_script:1: @user_script: 1: -OOM``
- Redis 7:   ``OOM … script: <sha1>, on @user_script:1.``
- Valkey 8, 9: ``OOM … script: on @user_script:1.``
"""

from __future__ import annotations

import re
from typing import Final

from hiredis import ReplyError

from sharq.errors import (
    StoreDenied,
    StoreError,
    StoreFull,
    StoreOutcomeUnknown,
    StoreUnavailable,
    UnexpectedReply,
    WrongKind,
)


class ScriptMissing(StoreUnavailable):
    """The store does not have the script."""


class DeniedMidway(StoreDenied, StoreOutcomeUnknown):
    """The store refused a part of the operation; the rest may have been carried out."""


class BugMidway(UnexpectedReply):
    """A script has a bug, and may have changed something before."""

    outcome_unknown = True


class CutOff(StoreUnavailable):
    """This node says that the cluster is down, which may be true only of where it is."""


class OnTheMove(StoreUnavailable):
    """The slot of this key is moving from one node to another."""


class Misdirected(StoreUnavailable):
    """This node of the store does not take writes to this key.

    `node` is the host and port that the store named instead, or None if it named none. `late`: the
    call had been sent before, its answer was lost, and it may have been carried out then.
    """

    late = False

    def __init__(self, message: str | None = None, node: tuple[str, int] | None = None) -> None:
        super().__init__(message or "This node of the store does not take writes to this key.")
        self.node = node


_BY_WORD: Final[dict[str, type[StoreError]]] = {
    "LOADING": StoreUnavailable,
    "BUSY": StoreUnavailable,
    "MASTERDOWN": StoreUnavailable,
    "NOREPLICAS": StoreUnavailable,
    "CLUSTERDOWN": CutOff,
    "ASK": OnTheMove,
    "TRYAGAIN": OnTheMove,
    "OOM": StoreFull,
    "MISCONF": StoreFull,
    "NOAUTH": StoreDenied,
    "WRONGPASS": StoreDenied,
    "NOPERM": StoreDenied,
    "DENIED": StoreDenied,
}

# A script that used a key which is no longer here may have written others before. If the store
# refuses something because of its own state, it does so before a script's first write.
_BY_PHRASE: Final[tuple[tuple[str, type[StoreError]], ...]] = (
    ("max number of clients", StoreUnavailable),
    ("while the cluster is down", CutOff),
    ("Script killed by user", StoreUnavailable),
    ("access a non local key in a cluster node", StoreOutcomeUnknown),
    ("ACL failure in script", DeniedMidway),
    ("The user executing the script can't", DeniedMidway),
    ("AUTH <password> called without any password", StoreDenied),
    ("invalid password", StoreDenied),
)

_WRAPPED = re.compile(
    r"ERR Error running script \(call to f_[0-9a-f]{40}\): (?:@user_script: ?\d+: )*-?(.*)",
    re.DOTALL,
)
_IN_SCRIPT = re.compile(r" script: (?:[0-9a-f]{40}, )?on @user_script:\d+\.$")


def store_error(message: str) -> StoreError:
    """Return the error for an error reply; `message` is the reply without its ``-``.

    The cause of a `StoreDenied` is the reply, which may name the user: for logs.
    """
    wrapped = _WRAPPED.fullmatch(message)
    inner = wrapped[1] if wrapped else message
    in_script = wrapped is not None or _IN_SCRIPT.search(message) is not None
    word, _, rest = inner.partition(" ")
    if word == "NOSCRIPT":
        return ScriptMissing()
    if word == "MOVED":
        return Misdirected(node=_address(rest))
    if word == "READONLY":
        return Misdirected()
    if word == "WRONGTYPE":
        wrong = WrongKind(message)
        wrong.outcome_unknown = in_script
        return wrong
    kind, hint = _BY_WORD.get(word), word
    for phrase, meant in _BY_PHRASE:
        if kind is None and phrase in inner:
            kind, hint = meant, phrase
    if kind is None:
        return BugMidway(message) if in_script else UnexpectedReply(message)
    if in_script and kind is StoreDenied:
        kind = DeniedMidway
    error = _with_hint(kind, hint)
    if isinstance(error, StoreDenied):
        error.__cause__ = ReplyError(message)
    return error


def _with_hint(kind: type[StoreError], hint: str) -> StoreError:
    """The class's own message with the store's error word, which names no address and no key."""
    return kind(f"{str(kind()).removesuffix('.')} ({hint}).")


def _address(redirection: str) -> tuple[str, int] | None:
    """Read ``<slot> <host>:<port>``; a node that does not know its host writes none or ``?``."""
    host, colon, port = redirection.rpartition(" ")[2].rpartition(":")
    if not colon or host in ("", "?") or not port.isascii() or not port.isdigit():
        return None
    return host.removeprefix("[").removesuffix("]"), int(port)
