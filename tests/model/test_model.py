"""The queue behaves as its model does, whatever the history.

The histories are the same in every run. ``SHARQ_TEST_MODEL_ROUNDS`` asks for that many rounds of
others, each by a seed that the name of its test shows; ``SHARQ_TEST_MODEL_SEED`` repeats one and
looks for the shortest history that fails, which takes minutes: ``-o faulthandler_timeout=3600``.
"""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import QueueMachine
from tests.support.stores import PrivateStore

HISTORIES = 16
STEPS = 50
NAMED = os.environ.get("SHARQ_TEST_MODEL_SEED")
PHASES = (Phase.generate, Phase.shrink) if NAMED else (Phase.generate,)


def seeds() -> list[int]:
    if NAMED:
        return [int(NAMED)]
    if rounds := os.environ.get("SHARQ_TEST_MODEL_ROUNDS"):
        chance = random.SystemRandom()
        return [chance.getrandbits(32) for _ in range(int(rounds))]
    return [1, 2, 3, 4, 5]


@pytest.fixture(autouse=True)
def the_same_in_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypothesis also draws constants of the modules that other tests happen to have loaded."""
    monkeypatch.setattr(providers, "_get_local_constants", Constants, raising=False)
    providers.CONSTANTS_CACHE.cache.clear()


@pytest.mark.parametrize("number", seeds(), ids="seed-{}".format)
def test_every_history_goes_as_in_the_model(store: PrivateStore, number: int) -> None:
    @seed(number)
    class Machine(QueueMachine):
        socket_path = store.socket_path

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=HISTORIES,
            stateful_step_count=STEPS,
            database=None,
            deadline=None,
            phases=PHASES,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
