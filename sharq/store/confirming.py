"""How replicas confirm what a node of the store has answered: the commands. Pure.

A node answers before its replicas have a change. ``WAIT`` is answered when so many of them have
all that its own connection has written; ``WAITAOF`` when they, and the node itself, have it on
their disks. An answer may also tell of what others have written: that a job is there already, say.
So before it a touch is written. It comes after everything that the node has done until then, and
changes nothing; it goes to the replicas only, so that the node's log need not be forced to the disk
once more. A message to nobody is the cheapest one. A node of a cluster does not replicate messages;
there, and wherever a message is not seen to move the node's position in the stream of changes, the
touch is a script.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from hiredis import ReplyError

from sharq._fastpath import Keyspace, confirmation_key
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


class NotInTime(TimeoutError):
    """The store has answered, and too few replicas have confirmed that in time."""


def lacks_replicas(refusal: StoreError) -> bool:
    """Whether a store that refuses the touch says no more than that it takes no writes for now.

    Any other refusal callers have to hear themselves: that another node is the primary now, say.
    """
    return type(refusal) is StoreUnavailable


def unconfirmed() -> StoreOutcomeUnknown:
    """The error of a call that the store has answered, but too few replicas in time."""
    return StoreOutcomeUnknown(
        "Too few replicas confirmed it in time; the operation may have been carried out."
    )


class Terms(NamedTuple):
    """So many `replicas` have to have a change, with `durable` on their disks.

    Nobody listens on `channel`.
    """

    replicas: int
    durable: bool
    channel: bytes

    @classmethod
    def of(cls, settings: StoreSettings) -> Terms | None:
        """Those of the settings; None: no replica has to."""
        if not settings.replicas_acked:
            return None
        channel = Keyspace(settings.key_prefix).silent_channel()
        return cls(settings.replicas_acked, settings.replicas_durable, channel)

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

    def proof(self, process: Process) -> list[Call[Any]]:
        """Calls that show, when they leave in one write, whether a message is a touch there.

        None if it cannot be one: in a cluster, and where it has to be on disks, since a log that
        gets nothing new need not be written.
        """
        if self.durable or not process.alone:
            return []
        return [_POSITION, self._message(), _POSITION]

    def touch(self, shown: Sequence[Any]) -> Touch:
        """How to touch where the calls of `proof` had these results or errors."""
        match shown:
            case (int(before), None, int(after)) if after > before:
                message = self._message()
                return lambda _key: message
        return touch_by_script

    def _message(self) -> Call[None]:
        return Call(pack(b"PUBLISH", self.channel, b""), b"", lambda _reply: None)

    def _are_enough(self, reply: Any) -> bool:
        if self.durable:
            local, replicas = reply
            return bool(local >= 1 and replicas >= self.replicas)
        return bool(reply >= self.replicas)


Touch = Callable[[bytes], Call[None]]
"""Writes something behind all that the node has done; it serves the slot of the key."""


def touch_by_script(key: bytes) -> Call[None]:
    """The `Touch` of any store."""
    return Call(pack(b"EVAL", _TOUCH, b"1", confirmation_key(key)), key, lambda _reply: None)


class Process(NamedTuple):
    """A process of the store; `alone` tells that it surely is no node of a cluster."""

    run_id: bytes
    alone: bool


def _facts(reply: Any) -> dict[bytes, bytes]:
    pairs = (line.partition(b":") for line in reply.splitlines())
    return {name: value for name, _, value in pairs}


def _process(reply: Any) -> Process:
    facts = _facts(reply)
    if b"run_id" not in facts:
        raise StoreUnavailable("The store does not tell its run_id.")
    mode = facts.get(b"server_mode") or facts.get(b"redis_mode")
    return Process(facts[b"run_id"], mode == b"standalone")


PROCESS: Final[Call[Process]] = Call(pack(b"INFO", b"server"), b"", _process)
"""Which process a connection leads to."""

_POSITION: Final[Call[int]] = Call(
    pack(b"INFO", b"replication"), b"", lambda reply: int(_facts(reply)[b"master_repl_offset"])
)


def holds(call: Call[Any], reply: Any) -> bool:
    """Tell whether an answer has to wait until replicas have confirmed it."""
    if not call.key or isinstance(reply, ReplyError):
        return False
    return call.free is None or not call.free(reply)


def promises(call: Call[Any]) -> bool:
    """Tell whether a call may get an answer that has to be confirmed."""
    return bool(call.key) and call.free is not no_promise
