"""Two stores, with the original on one of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.migration.new import New
from tests.migration.old import Old
from tests.support.stores import PrivateStore


@pytest.fixture(scope="session")
def old_store() -> Iterator[PrivateStore]:
    with PrivateStore() as store:
        yield store


@pytest.fixture
def old(old_store: PrivateStore) -> Old:
    old_store.client.flushall()
    return Old(old_store)


@pytest.fixture
def new(clean_store: PrivateStore, tmp_path: Path) -> New:
    return New(clean_store, tmp_path)
