"""What all tests share: stores, signals, the event loop; which of them run is in `choice`."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.stores import PrivateCluster, PrivateStore

pytest_plugins = ["tests.support.choice", "tests.support.replicas"]

# What a shell starts in the background ignores the one, what nohup does the other, and so would all
# that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Or asyncio makes a loop when Tornado first asks which one is current, and nobody closes it.
asyncio.set_event_loop(None)

# How long something takes is judged by tests with the marker `timing` alone: others may be slow.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_left_to_the_next_module() -> Iterator[None]:
    """Have a module's own tests blamed for what they do not close."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def store() -> Iterator[PrivateStore]:
    """A store for the whole run, with whatever former tests left in it."""
    with PrivateStore(tcp=True) as store:
        yield store


@pytest.fixture
def clean_store(store: PrivateStore) -> PrivateStore:
    """The store of the whole run, empty."""
    store.client.flushall()
    return store


@pytest.fixture(scope="session")
def cluster() -> Iterator[PrivateCluster]:
    """A cluster of three primaries for the whole run."""
    with PrivateCluster() as cluster:
        yield cluster
