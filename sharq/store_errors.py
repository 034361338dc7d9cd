"""What the store's error replies mean. Pure.

The store tells its errors by a first word (``OOM …``, ``MOVED …``). An error that a command met
inside a script comes wrapped, and each generation of the store wraps differently:

- Redis 6.2: ``ERR Error running script (call to f_<sha1>): @user_script:1: @user_script: 1: -OOM``
- Redis 7:   ``OOM … script: <sha1>, on @user_script:1.``
- Valkey 8, 9: ``OOM … script: on @user_script:1.``
"""

from __future__ import annotations

import re
from typing import Final

from sharq.errors import (
    StoreBug,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreOutcomeUnknown,
    StoreUnavailable,
)


class ScriptMissing(StoreUnavailable):
    """The store does not know the script."""


class Misdirected(StoreUnavailable):
    """This node of the store does not take writes to this key.

    `node` is the host and port that the store named instead, or None where it named none.
    """

    def __init__(self, message: str | None = None, node: tuple[str, int] | None = None) -> None:
        super().__init__(message or "This node of the store does not take writes to this key.")
        self.node = node


_BY_WORD: Final[dict[str, type[StoreError]]] = {
    "LOADING": StoreUnavailable,
    "BUSY": StoreUnavailable,
    "MASTERDOWN": StoreUnavailable,
    "NOREPLICAS": StoreUnavailable,
    "CLUSTERDOWN": StoreUnavailable,
    "ASK": StoreUnavailable,
    "TRYAGAIN": StoreUnavailable,
    "OOM": StoreFull,
    "MISCONF": StoreFull,
    "NOAUTH": StoreDenied,
    "WRONGPASS": StoreDenied,
    "NOPERM": StoreDenied,
    "DENIED": StoreDenied,
}

# A script that touched a key which is no longer here may have written others before.
_BY_PHRASE: Final[tuple[tuple[str, type[StoreError]], ...]] = (
    ("max number of clients", StoreUnavailable),
    ("while the cluster is down", StoreUnavailable),
    ("Script killed by user", StoreUnavailable),
    ("access a non local key in a cluster node", StoreOutcomeUnknown),
    ("ACL failure in script", StoreDenied),
    ("The user executing the script can't", StoreDenied),
    ("AUTH <password> called without any password", StoreDenied),
    ("invalid password", StoreDenied),
)

_WRAPPED = re.compile(
    r"ERR Error running script \(call to f_[0-9a-f]{40}\): (?:@user_script: ?\d+: )*-?(.*)",
    re.DOTALL,
)


def store_error(message: str) -> StoreError:
    """Return the error that an error reply stands for; `message` is the reply without its ``-``."""
    wrapped = _WRAPPED.fullmatch(message)
    inner = wrapped[1] if wrapped else message
    word, _, rest = inner.partition(" ")
    if word == "NOSCRIPT":
        return ScriptMissing()
    if word == "MOVED":
        return Misdirected(node=_address(rest))
    if word == "READONLY":
        return Misdirected()
    kind = _BY_WORD.get(word)
    if kind is not None:
        return _with_hint(kind, word)
    for phrase, kind in _BY_PHRASE:
        if phrase in inner:
            return _with_hint(kind, phrase)
    return StoreBug(message)


def _with_hint(kind: type[StoreError], hint: str) -> StoreError:
    """The class's own message with the store's word for it, which names no address and no key."""
    return kind(f"{str(kind()).removesuffix('.')} ({hint}).")


def _address(redirection: str) -> tuple[str, int] | None:
    """Read ``<slot> <host>:<port>``; a node that does not know its host writes none or ``?``."""
    host, colon, port = redirection.rpartition(" ")[2].rpartition(":")
    if not colon or host in ("", "?") or not port.isascii() or not port.isdigit():
        return None
    return host.removeprefix("[").removesuffix("]"), int(port)
