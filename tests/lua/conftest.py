"""Queues on an empty store: by a clock in the test's hand, and by the store's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from sharq.operations.scripts import shipped
from sharq.settings.options import QueueSettings
from tests.support.expiring import ExpiringQueue
from tests.support.hands import Hands, PipelinedStore
from tests.support.stores import PrivateStore


@pytest.fixture
def connection(clean_store: PrivateStore) -> Iterator[PipelinedStore]:
    """A connection to an empty store."""
    store = PipelinedStore(clean_store.socket_path)
    yield store
    store.close()


@pytest.fixture
def make_queue(connection: PipelinedStore) -> Callable[..., ExpiringQueue]:
    """Makes queues by an injected clock, from options of the section ``[sharq]``."""
    return lambda **options: ExpiringQueue(connection, QueueSettings(**options))


@pytest.fixture
def queue(make_queue: Callable[..., ExpiringQueue]) -> ExpiringQueue:
    """Queues by an injected clock, with the default settings."""
    return make_queue()


@pytest.fixture
def live(connection: PipelinedStore) -> Hands:
    """Queues by the store's own clock, with the default settings."""
    return Hands(connection, shipped())
