"""How the demo looks in a terminal, and in a file: lines of text, made from the tenants."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Final, TextIO

from sharq_server.demo.tenants import Period, Tenant

COLUMN: Final = 25
"""Milliseconds that one column of a strip stands for."""

_WINDOW: Final = 3000
"""Milliseconds over which a rate is taken."""

_NAME: Final = 9
_BESIDES_STRIP: Final = 37
_SHORTEST_STRIP: Final = 20
_LONGEST_STRIP: Final = 120
_FEWEST_ROWS: Final = 15

_COLOURS: Final = (36, 33, 35, 32, 34, 37)
_BOLD: Final = 1
_DIM: Final = 2
_RED: Final = 31


class Screen:
    """Shows lines that change, in place; `live` is False where `out` cannot.

    `colour` adds colours.
    """

    def __init__(self, out: TextIO, environ: Mapping[str, str]) -> None:
        self._out = out
        self._height = 0
        size = shutil.get_terminal_size()
        terminal = out.isatty() and environ.get("TERM", "dumb") != "dumb"
        room = size.columns >= _BESIDES_STRIP + _SHORTEST_STRIP and size.lines >= _FEWEST_ROWS
        self.live = terminal and room
        self.colour = terminal and not environ.get("NO_COLOR")
        fine = (out.encoding or "").lower().replace("-", "") == "utf8"
        self._nothing, self._job = ("·", "▌") if fine else (".", "|")

    def show(self, lines: Sequence[str]) -> None:
        """Put `lines` in the place of the ones that were shown before."""
        if not self._height:
            self._out.write("\x1b[?25l")
        up = f"\x1b[{self._height}F" if self._height else ""
        self._out.write(up + "".join(f"{line}\x1b[K\n" for line in lines))
        self._out.flush()
        self._height = len(lines)

    def leave(self) -> None:
        """Leave the lines as they are and give the cursor back."""
        if self._height:
            self._out.write("\x1b[?25h")
            self._height = 0

    def print(self, line: str = "") -> None:
        """Write a line below all others."""
        self._out.write(line + "\n")
        self._out.flush()

    def painted(self, text: str, *codes: int) -> str:
        """`text` in a colour or a weight, where there are such."""
        if not self.colour or not codes:
            return text
        return f"\x1b[{';'.join(map(str, codes))}m{text}\x1b[0m"

    def live_lines(self, tenants: Sequence[Tenant], tick: int) -> list[str]:
        """The table of the tenants as it is at `tick`."""
        columns = shutil.get_terminal_size().columns - _BESIDES_STRIP
        width = max(1, min(columns, _LONGEST_STRIP))
        span = f"the last {width * COLUMN / 1000:.1f} s"[:width]
        head = f"  {'tenant':{_NAME}}{'limit':>6}  {span:{width}}{'rate':>8}{'waiting':>9}"
        rows = [self.painted(head, _DIM)]
        for index, tenant in enumerate(tenants):
            colour = _COLOURS[index % len(_COLOURS)]
            limit = self.painted(f"{tenant.limits[-1].rate:>6}", _BOLD)
            strip = self.painted(self._strip(tenant, tick, width), colour)
            rate = rate_of(tenant, tick)
            rows.append(f"  {tenant.name:{_NAME}}{limit}  {strip}{rate:>8}{tenant.waiting:9}")
        return rows

    def plain_line(self, tenants: Sequence[Tenant], tick: int) -> str:
        """The rates in one line."""
        cells = (
            f"{tenant.name} {rate_of(tenant, tick).removesuffix('/s'):>4}" for tenant in tenants
        )
        return "  ".join(cells)

    def table(self, tenants: Iterable[Tenant]) -> list[str]:
        """What was measured, one line a tenant and limit."""
        head = (
            f"  {'tenant':{_NAME}}{'limit':>6}{'jobs':>7}{'interval':>10}"
            f"{'min':>7}{'median':>8}{'p99':>7}{'early':>7}"
        )
        rows = [self.painted(head, _DIM)]
        for tenant in tenants:
            for number, period in enumerate(tenant.periods()):
                name = "" if number else tenant.name
                early = self.painted(f"{period.early:7}", *((_BOLD, _RED) if period.early else ()))
                rows.append(
                    f"  {name:{_NAME}}{period.limit.rate:>6}{period.jobs:7}"
                    f"{period.limit.interval:10}{_spacing(period)}{early}"
                )
        return rows

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


def _spacing(period: Period) -> str:
    if not period.gaps:
        return f"{'-':>7}{'-':>8}{'-':>7}"
    return f"{min(period.gaps):7}{median(period.gaps):8g}{period.quantile(0.99):7}"
