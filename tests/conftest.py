"""How the tests run, and stores that they share; a test that harms its store starts one of its own.

Tests may run in several processes side by side: what is "shared" is shared within a process.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
import signal
from collections.abc import Generator, Iterator

import pytest

from tests.support.stores import PrivateCluster, PrivateStore

# What a shell starts in the background ignores the one, what nohup does the other, and so would all
# that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Where all parts are installed, a skip has one of these reasons or is a failure (`--no-skips`).
RIGHT_REASONS = ("root may use every port",)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips", action="store_true", help="a test that is skipped for want of a part fails"
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two for each core, since tests wait half of their time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(2 * (cores or 1), 8)


def pytest_collection_finish() -> None:
    """Thousands of tests are no garbage: what collects it while they run need not look at them."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        if not any(shutil.which(part) or importlib.util.find_spec(part) for part in marker.args):
            pytest.skip(f"{marker.args[0]} is not installed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.config.getoption("no_skips"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if reason.removeprefix("Skipped: ") not in RIGHT_REASONS:
            report.outcome = "failed"
            report.longrepr = f"It was not run: {reason}"
    return report


@pytest.fixture(scope="module", autouse=True)
def garbage() -> Iterator[None]:
    """What a module leaves unclosed is collected, and complained of, in that module."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def store() -> Iterator[PrivateStore]:
    """A store for all tests of a process, with whatever former tests left in it."""
    with PrivateStore(tcp=True) as store:
        yield store


@pytest.fixture
def clean_store(store: PrivateStore) -> PrivateStore:
    """The store of all tests, empty."""
    store.client.flushall()
    return store


@pytest.fixture(scope="session")
def cluster() -> Iterator[PrivateCluster]:
    """A cluster of three primaries for all tests of a process."""
    with PrivateCluster() as cluster:
        yield cluster
