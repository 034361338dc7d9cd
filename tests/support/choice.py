"""Which tests run, and how many at once: a plugin of pytest's.

Tests run side by side in any order, except those that judge time: they run alone, afterwards.
Tests that need more than Python and a compiler say so by the marker `needs`.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from tests.support.parts import missing


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("SharQ")
    group.addoption("--alone", action="store_true", help="only the tests that judge time")
    group.addoption(
        "--needs",
        choices=("none", "found", "all"),
        default="found",
        help="of the tests that need more than Python: none, those that have it, or all, so that "
        "one without fails",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Most tests wait most of the time."""
    return min(3 * (os.cpu_count() or 1), 12)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose by what a test needs: other programs, or that nothing runs beside it."""
    side_by_side = hasattr(config, "workerinput")
    alone, needs = config.getoption("alone"), config.getoption("needs")
    chosen, left_out = [], []
    for item in items:
        judges_time = item.get_closest_marker("timing") is not None
        parts = [part for mark in item.iter_markers("needs") for part in mark.args]
        its_turn = not side_by_side if judges_time else not alone
        (chosen if its_turn and not (parts and needs == "none") else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = chosen


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Load no module whose tests are left out anyway."""
    if not config.getoption("alone") or collection_path.suffix != ".py":
        return None
    return True if "mark.timing" not in collection_path.read_text("utf-8") else None


def pytest_sessionstart() -> None:
    """Look for no garbage while tests are loaded: nearly all of it stays."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over all that was loaded: tests call it often."""
    gc.enable()
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        if absent := ", ".join(part for part in mark.args if missing(part)):
            tell = pytest.fail if item.config.getoption("needs") == "all" else pytest.skip
            tell(f"{absent}: not installed")
