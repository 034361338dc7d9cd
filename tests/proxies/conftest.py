"""A deployment for all points of a proxy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

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


_LEFT = (
    "ignore:unclosed <ssl.SSLSocket:ResourceWarning",
    "ignore:Exception ignored in. <ssl.SSLSocket",
)
"""A connection that a restarted proxy has cut may be left to the garbage collector."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let such connections fail no test here."""
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here:
            for warning in _LEFT:
                item.add_marker(pytest.mark.filterwarnings(warning))
