"""Calls of the store, as bytes, and how to read their replies. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any, Final, Generic, NamedTuple, TypeVar

T = TypeVar("T")


Place = Callable[[int], bytes]
"""Makes a key for each number, all over the slots."""


class Anywhere(NamedTuple):
    """How a script that any node may run gets a key: there are stores that run none without.

    In a cluster it has to be a `key` of a slot that the node serves; `pack` makes the command with
    the key of a number.
    """

    key: Place
    pack: Callable[[int], bytes]


def no_promise(_reply: Any) -> bool:
    """The `free` of calls that only read, or arrange what servers do among themselves."""
    return True


class Call(NamedTuple, Generic[T]):
    """A packed command and its meaning.

    `packed` is one whole RESP2 command. `key` decides the node in a cluster (its hash tag
    counts); empty means any node. `parse` turns the reply (what a hiredis reader gives: bytes,
    int, list or None) into the result. `repeatable` tells that a second execution does no harm,
    so that a call whose answer was lost may be sent again. `free` matters where replicas have to
    confirm answers (`replicas_acked`): it tells of a reply whether it may be given before, since
    nothing in it can be lost. None: of no reply. A script that goes to any node tells `anywhere`
    how it is packed for one; `packed` is that with the number 0. One that the store's user need not
    be allowed is `optional`.
    """

    packed: bytes
    key: bytes
    parse: Callable[[Any], T]
    repeatable: bool = False
    free: Callable[[Any], bool] | None = None
    anywhere: Anywhere | None = None
    optional: bool = False


PATIENCE: Final = 1.0
"""Seconds that the calls of a `Brief` are waited for."""


class Brief(list[Call[Any]]):
    """Calls whose answers are good to have, but not worth a long wait.

    Those that have none after `patience` seconds have an unknown outcome; in a cluster, those of
    the nodes that are silent. With `insists` one answer at least is waited for, as long as for any
    call.
    """

    def __init__(
        self, calls: Iterable[Call[Any]], patience: float = PATIENCE, *, insists: bool = False
    ) -> None:
        super().__init__(calls)
        self.patience = patience
        self.insists = insists


class Apart(list[Generator[Any, Any, None]]):
    """Flows that are carried out beside each other, and go on by themselves.

    Those of the list are waited for, for `patience` seconds at most; those that are `loose` are
    not. No two of them, nor the flow that begins them, take a step at the same time. They return
    nothing, and raise no `StoreError`.
    """

    def __init__(
        self,
        flows: Iterable[Generator[Any, Any, None]],
        patience: float,
        loose: Iterable[Generator[Any, Any, None]] = (),
    ) -> None:
        super().__init__(flows)
        self.patience = patience
        self.loose = list(loose)


Flow = Generator[Call[Any] | list[Call[Any]] | Apart, Any, T]
"""Calls of the store, one after another: each call that is yielded, or list of calls that leave
together, comes back as its result or results. A single call that fails raises its error there; in
the place of one of a list comes the error. Other flows that are yielded `Apart` begin, and nothing
comes back.
"""
