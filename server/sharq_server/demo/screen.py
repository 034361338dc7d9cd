"""How the demo looks in a terminal, drawn by rich, and in a file: lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Final, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sharq_server.demo.tenants import Period, Tenant

COLUMN: Final = 25
"""Milliseconds that one column of a strip stands for."""

_WINDOW: Final = 3000
"""Milliseconds over which a rate is taken."""

_INDENT: Final = (0, 0, 0, 2)
_NAME: Final = 9
_BESIDES_STRIP: Final = 37
_SHORTEST_STRIP: Final = 20
_LONGEST_STRIP: Final = 120
_FEWEST_ROWS: Final = 15
_NO_TERMINAL: Final = 80
"""Characters of a line where there is no terminal, at least."""

_COLOURS: Final = ("cyan", "yellow", "magenta", "green", "blue", "white")
_MEASURES: Final = {
    "limit": 6,
    "jobs": 7,
    "interval": 10,
    "min": 7,
    "median": 8,
    "p99": 7,
    "early": 7,
}


class Screen:
    """Shows the tenants as they are, in place; `live` is False where `out` cannot."""

    def __init__(self, out: TextIO, environ: Mapping[str, str]) -> None:
        terminal = out.isatty() and environ.get("TERM", "dumb") != "dumb"
        self._console = Console(
            file=out,
            force_terminal=terminal,
            width=None if terminal else _NO_TERMINAL,
            highlight=False,
            markup=False,
            emoji=False,
        )
        size = self._console.size
        room = size.width >= _BESIDES_STRIP + _SHORTEST_STRIP and size.height >= _FEWEST_ROWS
        self.live: Final = terminal and room
        self._shown: Live | None = None
        fine = (out.encoding or "").lower().replace("-", "") == "utf8"
        self._nothing, self._job = ("·", "▌") if fine else (".", "|")

    def show(self, tenants: Sequence[Tenant], tick: int, below: str) -> None:
        """Show the tenants as they are at `tick`, in the place of what was shown before."""
        drawn = Group(Padding(self._strips(tenants, tick), _INDENT), Text(), Text(below))
        if self._shown is None:
            self._shown = Live(console=self._console, auto_refresh=False)
            self._shown.start()
        self._shown.update(drawn, refresh=True)

    def leave(self) -> None:
        """Leave what is shown as it is and give the cursor back."""
        if self._shown is not None:
            self._shown.stop()
            self._shown = None

    def print(self, line: str = "", style: str = "") -> None:
        """Write a line below all others."""
        self._console.print(Text(line), style=style, soft_wrap=True)
        self._console.file.flush()

    def plain_line(self, tenants: Sequence[Tenant], tick: int) -> str:
        """The rates in one line."""
        cells = (
            f"{tenant.name} {rate_of(tenant, tick).removesuffix('/s'):>4}" for tenant in tenants
        )
        return "  ".join(cells)

    def print_measures(self, tenants: Iterable[Tenant]) -> None:
        """Write what was measured, one line a tenant and limit."""
        table = _table()
        table.add_column("tenant", width=_NAME)
        for name, width in _MEASURES.items():
            table.add_column(name, width=width, justify="right")
        for tenant in tenants:
            for number, period in enumerate(tenant.periods()):
                early = Text(str(period.early), "bold red" if period.early else "")
                table.add_row(
                    "" if number else tenant.name,
                    *(period.limit.rate, str(period.jobs), str(period.limit.interval)),
                    *_spacing(period),
                    early,
                )
        self._console.print(Padding(table, _INDENT, expand=False))

    def _strips(self, tenants: Sequence[Tenant], tick: int) -> Table:
        width = max(1, min(self._console.width - _BESIDES_STRIP, _LONGEST_STRIP))
        span = f"the last {width * COLUMN / 1000:.1f} s"
        table = _table()
        table.add_column("tenant", width=_NAME)
        table.add_column("limit", width=6, justify="right", style="bold")
        table.add_column("", width=2)
        table.add_column(span, width=width, no_wrap=True)
        table.add_column("rate", width=8, justify="right")
        table.add_column("waiting", width=9, justify="right")
        for index, tenant in enumerate(tenants):
            table.add_row(
                *(tenant.name, tenant.limits[-1].rate, ""),
                Text(self._strip(tenant, tick, width), _COLOURS[index % len(_COLOURS)]),
                *(rate_of(tenant, tick), str(tenant.waiting)),
            )
        return table

    def _strip(self, tenant: Tenant, tick: int, width: int) -> str:
        # Columns are counted from the clock's zero, so that a job stays in its column.
        last = tick // COLUMN
        filled = {at // COLUMN for at in tenant.since((last - width) * COLUMN)}
        columns = range(last - width + 1, last + 1)
        return "".join(self._job if column in filled else self._nothing for column in columns)


def rate_of(tenant: Tenant, tick: int) -> str:
    """The measured rate, as text."""
    rate = tenant.rate(tick - _WINDOW)
    return "-" if rate is None else f"{rate:.1f}/s"


def _table() -> Table:
    return Table(box=None, padding=0, header_style="dim")


def _spacing(period: Period) -> tuple[str, str, str]:
    if not period.gaps:
        return "-", "-", "-"
    return str(min(period.gaps)), f"{median(period.gaps):g}", str(period.quantile(0.99))
