"""Numbers in memory that all processes of a server share, one slot for each process.

A slot has one writer at a time; everybody may read. There is no lock: an aligned cell is written in
one step. What a process wrote stays when it dies, and the next process in its place goes on from
there.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Final, NamedTuple

from sharq_server.telemetry import fields
from sharq_server.telemetry.fields import MOST_NAMED, OTHER

_CELL: Final = 8
_NAME: Final = 104
"""Bytes for a name: its length, and up to 103 characters."""

_MOST_TYPES: Final = 1024
_MOST_ROUTES: Final = 96
_MOST_SCRIPTS: Final = 128


class _Place(NamedTuple):
    """Where a table is in a slot: `most` names of `width` cells. In cells from its begin."""

    at: int
    most: int
    width: int

    @property
    def end(self) -> int:
        """The cell behind it: a count, the names, the blocks, and one more for other names."""
        return self.at + 1 + self.most * _NAME // _CELL + (self.most + 1) * self.width


_TYPES: Final = _Place(fields.PROCESS_WIDTH, _MOST_TYPES, fields.TYPE_WIDTH)
_ROUTES: Final = _Place(_TYPES.end, _MOST_ROUTES, fields.ROUTE_WIDTH)
_SCRIPTS: Final = _Place(_ROUTES.end, _MOST_SCRIPTS, fields.SCRIPT_WIDTH)
_SHOWN: Final = _Place(_SCRIPTS.end, MOST_NAMED, 0)
_SLOT: Final = _SHOWN.end


class Table:
    """Blocks of cells by name: names come as they are needed, and stay.

    A name for which there is no place any more shares the block `OTHER` with others. `known` has
    the first cell of each block by its name. The writer of the slot alone may call `block`.
    """

    def __init__(self, cells: memoryview, place: _Place) -> None:
        self._cells = cells
        self._bytes = cells.cast("B")
        self._place = place
        self._names_at = (place.at + 1) * _CELL
        self._blocks_at = place.at + 1 + place.most * _NAME // _CELL
        self.known: Final[dict[str, int]] = {name: self._block(i) for i, name in self._names()}

    def block(self, name: str) -> int:
        """The first cell of the block of a name, which is ASCII text of up to 100 characters."""
        at = self.known.get(name)
        return self._enter(name) if at is None else at

    def names(self) -> list[str]:
        """The names, in the order in which they came."""
        return [name for _, name in self._names()]

    def blocks(self) -> Iterator[tuple[str, list[int]]]:
        """Each block with its name, that for all other names first."""
        yield OTHER, self._values(self._blocks_at)
        for index, name in self._names():
            yield name, self._values(self._block(index))

    def starts(self) -> Iterator[int]:
        """The first cell of each block."""
        yield self._blocks_at
        for index, _ in self._names():
            yield self._block(index)

    def _enter(self, name: str) -> int:
        index = self._cells[self._place.at]
        text = name.encode("ascii", "replace")
        if index >= self._place.most or len(text) >= _NAME:
            return self._blocks_at
        at = self._names_at + index * _NAME
        self._bytes[at + 1 : at + 1 + len(text)] = text
        self._bytes[at] = len(text)
        # Last: a reader looks at as many names as this says.
        self._cells[self._place.at] = index + 1
        block = self.known[name] = self._block(index)
        return block

    def _names(self) -> Iterator[tuple[int, str]]:
        for index in range(self._cells[self._place.at]):
            at = self._names_at + index * _NAME
            size = self._bytes[at]
            yield index, bytes(self._bytes[at + 1 : at + 1 + size]).decode("ascii")

    def _block(self, index: int) -> int:
        return self._blocks_at + (index + 1) * self._place.width

    def _values(self, at: int) -> list[int]:
        return self._cells[at : at + self._place.width].tolist()


class Slot:
    """The cells of one process. `shown` are the queue types that it has told by name."""

    def __init__(self, cells: memoryview) -> None:
        self.cells: Final = cells
        self.types: Final = Table(cells, _TYPES)
        self.routes: Final = Table(cells, _ROUTES)
        self.scripts: Final = Table(cells, _SCRIPTS)
        self.shown: Final = Table(cells, _SHOWN)

    def clear_gauges(self) -> None:
        """Its process has ended: it holds nothing any more, what it counted stays."""
        for cell in fields.PROCESS_GAUGES:
            self.cells[cell] = 0
        for start in self.types.starts():
            for cell in fields.TYPE_GAUGES:
                self.cells[start + cell] = 0


class Memory:
    """The slots of a server with `processes` processes, to be made before they are forked.

    A slot takes about 600 KiB of address space, of which the system gives what is written to.
    """

    def __init__(self, processes: int = 1) -> None:
        self._cells = memoryview(mmap.mmap(-1, processes * _SLOT * _CELL)).cast("Q")
        self.processes: Final = processes

    def slot(self, index: int) -> Slot:
        """The slot of one process, as it is now: to be asked for again by the next process."""
        return Slot(self._cells[index * _SLOT : (index + 1) * _SLOT])

    def slots(self) -> list[Slot]:
        """All slots, to be read."""
        return [self.slot(index) for index in range(self.processes)]
