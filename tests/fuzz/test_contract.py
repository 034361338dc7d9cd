"""The server keeps to its own description of the API, whatever it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.server.threaded import PLAIN, Servers
from tests.support.stores import PrivateStore


@pytest.fixture(scope="module")
def servers(store: PrivateStore) -> Iterator[Servers]:
    with Servers(store, "contract", ways=(PLAIN,)) as servers:
        yield servers


def test_answers_are_as_described(servers: Servers) -> None:
    # It loads schemathesis: a second, in each process that collects the tests.
    from tests.fuzz.contract import Api

    api = Api(servers.ports[PLAIN])

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
