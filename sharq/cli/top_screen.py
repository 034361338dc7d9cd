"""The screen of `sharq top`, drawn by rich: it fits any terminal, and never scrolls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sharq.cli import top_view
from sharq.cli.queue_tops import ABOUT
from sharq.cli.top_view import Column, Part
from sharq.cli.watched import Data
from sharq.cli.words import visible

Drawn = Text | Table

_NAME: Final = 12
"""Characters that the first column has, at least, as far as columns can be left out for it."""

_LONGEST_NAME: Final = 40
"""Characters that it has at most: further to the right a row is hard to follow."""

_GAP: Final = 1
_FEWEST_TYPES: Final = 3
_FEWEST_WORKERS: Final = 2
_HELP: Final = "q quit   up/down, tab type   left/right order   p pause"


class State(NamedTuple):
    """What is shown: the data of the topics, the chosen type and order, and what is the matter."""

    place: str
    data: dict[str, Data]
    chosen: str | None
    order: str
    paused: bool = False
    trouble: str | None = None
    problems: tuple[str, ...] = ()


def draw(state: State, width: int, height: int) -> RenderableType:
    """The screen, of exactly so many lines; what does not fit a very low one is not there."""
    lines: list[Drawn] = [_head(state, width), Text()]
    if state.chosen is None or not top_view.names(state.data):
        said = "No type has jobs, limits or a pause." if top_view.TYPES in state.data else "…"
        return _fitted([*lines, Text(said)], height)
    remarks = [_line(each, width, "yellow") for each in top_view.remarks(state.data, state.chosen)]
    types = top_view.types(state.data, state.chosen)
    queues = top_view.queues(state.data, state.chosen, state.order)
    workers = top_view.workers(state.data, state.chosen)
    # What is not a row: head and foot with a line between, two titles, the names of the columns of
    # three parts, and a line after two of them.
    left = height - 3 - 2 - 3 - 2 - len(remarks)
    type_rows = min(len(types.rows), max(_FEWEST_TYPES, left * 2 // 5))
    worker_rows = min(len(workers.rows), max(_FEWEST_WORKERS, left // 4))
    queue_rows = max(0, left - type_rows - worker_rows)
    more = len(workers.rows) - worker_rows
    lines += [_table(_window(types, type_rows), width), Text(), *remarks]
    lines += [_line(f"{state.chosen}: queues {ABOUT[state.order]}", width, "bold")]
    lines += [_table(_window(queues, queue_rows), width), Text()]
    lines += [_line(f"{state.chosen}: workers" + (f", {more:,} more" * bool(more)), width, "bold")]
    lines += [_table(_window(workers, worker_rows), width)]
    return _fitted(lines, height)


def _head(state: State, width: int) -> Text:
    head = Text(no_wrap=True)
    head.append("sharq top  ", "bold")
    if state.trouble is not None:
        head.append(f"no connection, trying again: {visible(state.trouble)}", "bold red")
    elif state.problems:
        head.append(visible(state.problems[0]), "bold red")
    else:
        head.append(f"{state.place}  ")
        if state.paused:
            head.append("paused", "reverse")
        else:
            head.append(top_view.totals(state.data))
    head.truncate(width, overflow="ellipsis")
    return head


def _foot() -> Text:
    return Text(_HELP, "dim", no_wrap=True, overflow="ellipsis")


def _line(text: str, width: int, style: str) -> Text:
    line = Text(visible(text), style, no_wrap=True, overflow="ellipsis")
    line.truncate(width, overflow="ellipsis")
    return line


def _window(part: Part, rows: int) -> Part:
    """So many rows of a part, among them the chosen one."""
    begin = 0 if part.chosen is None else max(0, part.chosen - rows + 1)
    chosen = None if part.chosen is None else part.chosen - begin
    return Part(part.columns, part.rows[begin : begin + rows], chosen)


def _table(part: Part, width: int) -> Table:
    fitting = _fitting(part.columns, width)
    left = width - sum(part.columns[at].width + _GAP for at in fitting if part.columns[at].width)
    table = Table(
        box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim", show_edge=False
    )
    for at in fitting:
        column = part.columns[at]
        table.add_column(
            column.name,
            width=column.width or max(1, min(left, _LONGEST_NAME)),
            justify="left" if column.left else "right",
            no_wrap=True,
            overflow="ellipsis",
        )
    for number, row in enumerate(part.rows):
        style = "reverse" if number == part.chosen else ""
        table.add_row(*(Text(visible(row[at])) for at in fitting), style=style)
    return table


def _fitting(columns: Sequence[Column], width: int) -> list[int]:
    """The numbers of the columns that there is room for."""
    kept = list(range(len(columns)))
    for at in sorted(kept, key=lambda at: -columns[at].rank):
        needed = _NAME + sum(columns[each].width + _GAP for each in kept if columns[each].width)
        if needed <= width or not columns[at].rank:
            break
        kept.remove(at)
    return kept


def _fitted(lines: Sequence[Drawn], height: int) -> RenderableType:
    """Lines from the top, as far as there is room, and the foot at the bottom."""
    kept: list[Drawn] = []
    used = 0
    for each in lines:
        tall = each.row_count + 1 if isinstance(each, Table) else 1
        if used + tall > height - 1:
            break
        kept.append(each)
        used += tall
    return Group(*kept, *[Text()] * (height - used - 1), _foot())
