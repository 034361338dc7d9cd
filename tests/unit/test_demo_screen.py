"""The demo's screen where there is no terminal: the lines as they have always been."""

from __future__ import annotations

import io

import pytest

from sharq_server.demo.screen import Screen
from sharq_server.demo.tenants import Instant, Limit, Tenant

MEASURED = """\
  tenant    limit   jobs  interval    min  median    p99  early
  bakery      2/s      5       500    499     500    500      1
             10/s      3       100    100     100    100      0
  airline    20/s      0        50      -       -      -      0
"""


def tenants() -> list[Tenant]:
    bakery, airline = (Tenant(name, Limit(ms, Instant(0, 0))) for name, ms in RATES)
    bakery.limits.append(Limit(100, Instant(3000, 3001)))
    times = (100, 600, 1100, 1599, 2099, 3050, 3150, 3250)
    bakery.dispatches += [Instant(at, at) for at in times]
    return [bakery, airline]


RATES = (("bakery", 500), ("airline", 50))


@pytest.mark.parametrize("columns", ["20", "80", "200"])
def test_lines_are_plain_and_none_is_cut(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    for name, value in (("COLUMNS", columns), ("FORCE_COLOR", "1"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    out = io.StringIO()
    screen = Screen(out, {"TERM": "xterm"})
    assert not screen.live
    screen.print_measures(tenants())
    screen.print("[bold]x[/bold] :smile: " + "y" * 300, "bold red")
    screen.print()
    assert out.getvalue() == f"{MEASURED}[bold]x[/bold] :smile: {'y' * 300}\n\n"
