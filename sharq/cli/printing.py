"""What a verb prints: tables for people, plain columns for a pipe, JSON for programs.

On a terminal tables are drawn by rich, which is loaded there only. Elsewhere a row is a line, with
tabs between its cells, nothing is cut, and there are no colours. Text of any origin is escaped.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sharq.cli.words import NOTHING, visible

CUT: Final = "~"
"""Before the name of a column that a narrow terminal may cut."""

_GAP: Final = 3
_LEAST: Final = 20
"""Characters that stay of what is cut."""


def document(text: bytes) -> None:
    """Print JSON text as it is; on a terminal with escapes for what that would act on."""
    if sys.stdout.isatty():
        # Such characters are only in texts, where an escape means the same.
        shown = text.decode("utf-8", "backslashreplace")
        print("".join(each if each in "\r\n\t" else _escaped(each) for each in shown))
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(text + b"\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under the names of their columns."""
    names = [name.removeprefix(CUT) for name in columns]
    if not sys.stdout.isatty():
        print("\t".join(names))
        for row in rows:
            print("\t".join(map(visible, row)))
        return
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    cells = [list(map(visible, row)) for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(names, *cells, strict=True)]
    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column, name, width in zip(columns, names, widths, strict=True):
        if column.startswith(CUT):
            # What the others leave: they are whole, if need be over several lines.
            left = console.width - (sum(widths) - width) - _GAP * len(widths)
            drawn.add_column(name, no_wrap=True, overflow="ellipsis", max_width=max(left, _LEAST))
        else:
            drawn.add_column(name, overflow="fold")
    for row in cells:
        drawn.add_row(*map(Text, row))
    console.print(drawn)


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """Print names with their values, one a line; on a terminal a value may have several lines."""
    if not sys.stdout.isatty():
        for name, value in pairs:
            print(f"{name}\t{visible(value)}")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table.grid(padding=(0, 2))
    drawn.add_column(no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in pairs:
        drawn.add_row(Text(name, "bold"), Text(visible(value, lines=True)))
    Console(highlight=False).print(drawn)


def findings(
    columns: Sequence[str], rows: Iterable[tuple[str, ...]], styles: Mapping[str, str]
) -> None:
    """Print rows of a check, its level, what was found and what to do (`-`: nothing).

    On a terminal what to do is below what was found, and `styles` are those of the levels.
    """
    if not sys.stdout.isatty():
        table(columns, rows)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table.grid(padding=(0, 2))
    drawn.add_column(no_wrap=True)
    drawn.add_column(no_wrap=True)
    drawn.add_column(overflow="fold")
    for check, level, found, do in rows:
        said = Text(visible(found))
        if do != NOTHING:
            said.append(f"\n{visible(do)}", "bold")
        level = visible(level)
        drawn.add_row(Text(visible(check)), Text(level, styles.get(level, "")), said)
    Console(highlight=False).print(drawn)


def line(text: str) -> None:
    """Print a sentence."""
    print(visible(text))


def note(text: str) -> None:
    """Print a sentence to the standard error, which is not a part of the result."""
    print(visible(text), file=sys.stderr)


def prepare() -> None:
    """Have every text printable, whatever the encoding of the terminal."""
    # What was closed by who started the command is None.
    sys.stdout = sys.stdout or io.TextIOWrapper(io.BytesIO())
    sys.stderr = sys.stderr or io.TextIOWrapper(io.BytesIO())
    sys.stdin = sys.stdin or io.TextIOWrapper(io.BytesIO())
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def abandon() -> None:
    """Print nothing more: nobody reads it. Python's own flush at its end is then quiet, too."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
