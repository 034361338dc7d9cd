"""A deployment for all points of a proxy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.proxies.deployment import Deployment
from tests.support.stores import PrivateStore

_numbers = itertools.count()


@pytest.fixture(scope="class")
def deployment(
    request: pytest.FixtureRequest, store: PrivateStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    proxy = request.cls.proxy
    folder = tmp_path_factory.mktemp(proxy.name)
    with Deployment(proxy, folder, store, f"proxies{next(_numbers)}") as deployment:
        yield deployment
