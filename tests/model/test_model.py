"""The queue behaves as its model does, whatever the history.

The histories are the same in every run. ``SHARQ_TEST_MODEL_ROUNDS`` asks for that many rounds of
others, each by a seed that the name of its test shows; ``SHARQ_TEST_MODEL_SEED`` repeats one.
"""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import QueueMachine
from tests.support.stores import PrivateStore

HISTORIES = 16
STEPS = 50


def seeds() -> list[int]:
    if named := os.environ.get("SHARQ_TEST_MODEL_SEED"):
        return [int(named)]
    if rounds := os.environ.get("SHARQ_TEST_MODEL_ROUNDS"):
        chance = random.SystemRandom()
        return [chance.getrandbits(32) for _ in range(int(rounds))]
    return [1, 2, 3, 4, 5]


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
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
