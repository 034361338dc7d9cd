"""The server keeps to its own description of the API, whatever it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from sharq.settings.options import LANE, TORNADO
from tests.fuzz.contract import Api
from tests.server.both import Pair
from tests.support.stores import PrivateStore


@pytest.fixture(scope="module")
def pair(store: PrivateStore) -> Iterator[Pair]:
    with Pair(store, "contract") as pair:
        yield pair


@pytest.mark.parametrize("way", [LANE, TORNADO])
def test_answers_are_as_described(pair: Pair, way: str) -> None:
    api = Api(pair.ports[way])

    @settings(
        max_examples=50,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(api.cases())
    def run(case: Any) -> None:
        api.check(case)

    run()
    api.close()
