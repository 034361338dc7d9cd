"""Operations that know how they are recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from tests.faults.history import Log, Recorder


@dataclass(frozen=True, slots=True)
class Recorded:
    """The history of one client."""

    log: Log

    @classmethod
    def of(cls, recorder: Recorder, name: str) -> Self:
        """That of the client `name`, in the file of its process."""
        return cls(recorder.client(name))

    def invoke(self, op: str, **fields: Any) -> Operation:
        """An operation begins, and its request is not on its way yet."""
        return Operation(self.log, self.log.invoke(op, **fields), op)

    def note(self, op: str, **fields: Any) -> None:
        """Something that has no end."""
        self.log.note(op, **fields)


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation under way. It ends once, or not at all where nobody saw its end."""

    log: Log
    number: int
    op: str

    def ok(self, **fields: Any) -> None:
        """It was carried out, and this was the answer."""
        self.log.ok(self.number, self.op, **fields)

    def fail(self, code: str) -> None:
        """It was refused, and has changed nothing."""
        self.log.fail(self.number, self.op, code=code)

    def unknown(self, code: str = "") -> None:
        """The answer was lost: it may have been carried out."""
        self.log.unknown(self.number, self.op, code=code)
