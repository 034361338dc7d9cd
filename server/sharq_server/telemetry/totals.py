"""The sums over all processes of a server, with a bounded number of names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sharq_server.telemetry import fields
from sharq_server.telemetry.cells import Memory, Slot, Table
from sharq_server.telemetry.fields import MOST_NAMED, OTHER

Sums = dict[str, list[int]]
"""The cells of a block, by name."""


class Totals(NamedTuple):
    """`process` are the cells of all processes, `swept_at` the latest sweep (epoch, ms; 0: none).

    In `types` what is not named is summed up under `OTHER`.
    """

    process: list[int]
    types: Sums
    routes: Sums
    scripts: Sums
    swept_at: int


def total(memory: Memory, own: Slot, registered: Iterable[str] = ()) -> Totals:
    """Sum up what all processes have counted. `own` is the slot of this process.

    A name, once told, is told for good, so that no counter goes back: the places that are free go
    to the types with the most jobs, then to `registered` ones, in their order.
    """
    slots = memory.slots()
    types = _sums(slot.types for slot in slots)
    shown = {name for slot in slots for name in slot.shown.names()}
    free = MOST_NAMED - len(shown)
    if free > 0:
        by_use = sorted(types.keys() - shown - {OTHER}, key=lambda name: (-_use(types[name]), name))
        wanted = dict.fromkeys((*by_use, *(name for name in registered if name not in shown)))
        for name in tuple(wanted)[:free]:
            own.shown.block(name)
            shown.add(name)
    named = {name: types.get(name) or [0] * fields.TYPE_WIDTH for name in sorted(shown)}
    rest = [values for name, values in types.items() if name not in shown]
    return Totals(
        process=_added([slot.cells[: fields.PROCESS_WIDTH].tolist() for slot in slots]),
        types={**named, OTHER: _added(rest)},
        routes=_sums(slot.routes for slot in slots),
        scripts=_sums(slot.scripts for slot in slots),
        swept_at=max(slot.cells[fields.SWEPT_AT] for slot in slots),
    )


def _use(values: list[int]) -> int:
    return values[fields.ENQUEUED] + values[fields.DISPATCHED] + values[fields.FINISHED]


def _sums(tables: Iterable[Table]) -> Sums:
    by_name: dict[str, list[list[int]]] = {}
    for table in tables:
        for name, values in table.blocks():
            by_name.setdefault(name, []).append(values)
    return {name: _added(blocks) for name, blocks in by_name.items()}


def _added(blocks: list[list[int]]) -> list[int]:
    return blocks[0] if len(blocks) == 1 else [sum(each) for each in zip(*blocks, strict=True)]
