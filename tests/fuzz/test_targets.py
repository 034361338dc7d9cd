"""A little of the fuzzing, the same inputs each time; `./build.sh fuzz` goes on for longer."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz import codec, frames, lane
from tests.fuzz.mutations import MAKERS
from tests.fuzz.targets import Target
from tests.support.stores import PrivateStore

TARGETS = [*codec.TARGETS, *frames.TARGETS, *lane.TARGETS]

_MUTATIONS = 1000


def run(target: Target) -> None:
    """Check the target with the inputs of an ordinary run."""

    @settings(
        max_examples=target.examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs)
    def check(data: Any) -> None:
        target.check(data)

    check()


@pytest.mark.parametrize(
    "target", [each for each in TARGETS if each.name in MAKERS], ids=lambda target: target.name
)
def test_a_target_by_mutations(target: Target) -> None:
    chance, make = Random(target.name), MAKERS[target.name]
    for _ in range(_MUTATIONS):
        data = make(chance)
        try:
            target.check(data)
        except Exception as error:
            error.add_note(f"by {data!r}")
            raise


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_target(target: Target) -> None:
    run(target)


def test_connections(store: PrivateStore) -> None:
    with lane.lanes(store, "fuzz") as targets:
        for target in targets:
            run(target)
