"""How replicas confirm what a node of the store has answered: the commands. Pure.

A node answers before its replicas have a change. ``WAIT`` is answered when so many of them have
all that its own connection has written; ``WAITAOF`` when they, and the node itself, have it on
their disks. An answer may also tell of what others have written: that a job is there already, say.
So before it a touch is written. It comes after everything that the node has done until then, and
changes nothing; it goes to the replicas only, so that the node's log need not be forced to the disk
once more.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from hiredis import ReplyError

from sharq._fastpath import confirmation_key
from sharq.errors import StoreError, StoreOutcomeUnknown, StoreUnavailable
from sharq.operations.call import Call, no_promise
from sharq.settings.options import StoreSettings
from sharq.store.script_loading import pack

# A store without memory refuses what takes some, unless a script has written something before.
_TOUCH: Final = (
    b"redis.set_repl(redis.REPL_REPLICA) redis.call('DEL', KEYS[1]) "
    b"redis.call('SET', KEYS[1], '') redis.call('DEL', KEYS[1])"
)


_OF_A_REPLICA: Final = "cannot be used with replica instances"


class TooFewReplicas(StoreUnavailable):
    """Too few replicas confirm changes; the operation was not carried out."""


class NotInTime(TimeoutError):
    """The store has answered, and too few replicas have confirmed that in time."""


def unconfirmed() -> StoreOutcomeUnknown:
    """The error of a call that the store has answered, but too few replicas in time."""
    return StoreOutcomeUnknown(
        "Too few replicas confirmed it in time; the operation may have been carried out."
    )


class Terms(NamedTuple):
    """So many `replicas` have to have a change, with `durable` on their disks."""

    replicas: int
    durable: bool

    @classmethod
    def of(cls, settings: StoreSettings) -> Terms | None:
        """Those of the settings; None: no replica has to."""
        if not settings.replicas_acked:
            return None
        return cls(settings.replicas_acked, settings.replicas_durable)

    @property
    def command(self) -> str:
        """The command that waits for them."""
        return "WAITAOF" if self.durable else "WAIT"

    @property
    def as_tried(self) -> str:
        """The same with arguments, for the question whether the store's user may run it."""
        return "WAITAOF 0 0 0" if self.durable else "WAIT 0 0"

    def wait(self, ms: int) -> Call[bool]:
        """Whether they have all that was written before, after `ms` at most."""
        words = [b"1"] * self.durable
        packed = pack(self.command.encode(), *words, b"%d" % self.replicas, b"%d" % ms)
        return Call(packed, b"", self._are_enough)

    def trial(self) -> Call[bool]:
        """The same of no replica, at once: fails where the store cannot wait for any."""
        words = (b"WAITAOF", b"1", b"0", b"1") if self.durable else (b"WAIT", b"0", b"1")
        return Call(pack(*words), b"", lambda _reply: True)

    def unable(self, refusal: StoreError) -> StoreUnavailable | None:
        """The error where the store refused the trial.

        None for a replica, which has none to wait for: in a cluster it tells where the primary is,
        and it may become one.
        """
        if _OF_A_REPLICA in str(refusal):
            return None
        return StoreUnavailable(f"The store cannot wait for replicas by {self.command}: {refusal}")

    def _are_enough(self, reply: Any) -> bool:
        if self.durable:
            local, replicas = reply
            return bool(local >= 1 and replicas >= self.replicas)
        return bool(reply >= self.replicas)


def touch(key: bytes) -> Call[None]:
    """Write something behind all that the node has done, in the slot of `key`."""
    return Call(pack(b"EVAL", _TOUCH, b"1", confirmation_key(key)), key, lambda _reply: None)


def _run_id(reply: Any) -> bytes:
    for line in reply.splitlines():
        name, _, value = line.partition(b":")
        if name == b"run_id":
            return bytes(value)
    raise StoreUnavailable("The store does not tell its run_id.")


RUN_ID: Final[Call[bytes]] = Call(pack(b"INFO", b"server"), b"", _run_id)
"""Which process a connection leads to."""


def holds(call: Call[Any], reply: Any) -> bool:
    """Tell whether an answer has to wait until replicas have confirmed it."""
    if not call.key or isinstance(reply, ReplyError):
        return False
    return call.free is None or not call.free(reply)


def promises(call: Call[Any]) -> bool:
    """Tell whether a call may get an answer that has to be confirmed."""
    return bool(call.key) and call.free is not no_promise
