"""Which types a server sweeps, by an injected clock and answers in the test's hand."""

from __future__ import annotations

from typing import Any

import pytest

from sharq.errors import StoreError, StoreUnavailable, WrongKind
from sharq.operations.operations import Operations
from sharq.operations.scripts import Scripts
from sharq.operations.spreading import Spreading
from sharq.operations.sweeping import Sweeping
from sharq.results import Swept
from sharq.settings.options import QueueSettings

SCRIPTS = Scripts()
NAMES = {digest.encode(): name for name, digest in SCRIPTS.digests.items()}
OPERATIONS = Operations("p", QueueSettings(), SCRIPTS)

IDLE = Swept(0, 0, False, None, True, False)
BUSY = Swept(0, 0, False, None, False, False)


class Store:
    """Answers calls, and notes which types were looked at."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.claimed = True
        self.types: dict[str, int] = {"a": 0}
        self.answers: dict[str, Any] = {}
        self.looks: list[str] = []
        self.steps: list[Any] = []
        self.owners: list[bytes] = []
        self.layouts: list[Any] = []
        self.sweeping = Sweeping(Spreading(OPERATIONS), 1.0, 60.0, lambda: self.now)

    def sweep(self, after: float = 0.0) -> list[str]:
        """Let time pass, sweep, and return the types that were looked at."""
        self.now += after
        self.looks = []
        flow = self.sweeping.sweep()
        try:
            request = next(flow)
            while True:
                if isinstance(request, list):
                    request = flow.send([self._answer(call) for call in request])
                else:
                    answer = self._answer(request)
                    failed = isinstance(answer, StoreError)
                    request = flow.throw(answer) if failed else flow.send(answer)
        except StopIteration:
            return self.looks

    def _answer(self, call: Any) -> Any:
        name = next(name for digest, name in NAMES.items() if digest in call.packed)
        if name == "claim_sweep":
            return self.claimed
        if name == "list_types":
            page: Any = call.parse([b"0"])
            return page._replace(types=list(self.types.items()))
        if name == "shards":
            return self.layouts.pop(0)
        if name == "dead_advance":
            self.owners.append(call.packed.split()[-3])
            return self.steps.pop(0)
        queue_type = call.key.decode().rpartition(":")[2].rstrip("}")
        self.looks.append(queue_type)
        return self.answers.get(queue_type, BUSY)


def test_a_type_with_jobs_is_looked_at_once_a_round() -> None:
    store = Store()
    assert store.sweep() == ["a"]
    assert store.sweep(0.5) == []
    assert store.sweep(0.5) == ["a"]


def test_a_round_that_another_server_has_claimed_is_left_out() -> None:
    store = Store()
    store.claimed = False
    assert store.sweep() == []
    assert store.sweeping.due_at == 1001.0


def test_an_idle_type_is_left_alone_until_a_job_could_have_expired() -> None:
    store = Store()
    store.answers["a"] = IDLE
    assert store.sweep() == ["a"]
    looks = []
    for _ in range(61):
        store.types["a"] += 1000
        looks += store.sweep(1.0)
    assert looks == ["a"]


def test_an_idle_type_that_is_registered_again_is_looked_at() -> None:
    store = Store()
    store.answers["a"] = IDLE
    store.types["a"] = 50_000
    assert store.sweep() == ["a"]
    store.types["a"] = 51_000
    assert store.sweep(1.0) == []
    store.types["a"] = 200
    assert store.sweep(2.0) == ["a"]


def test_a_lease_is_looked_at_when_it_runs_out() -> None:
    store = Store()
    store.answers["a"] = Swept(0, 0, False, 300_000, False, False)
    assert store.sweep() == ["a"]
    assert store.sweeping.due_at == pytest.approx(1000.3)
    store.answers["a"] = Swept(1, 0, False, None, False, False)
    assert store.sweep(0.3) == ["a"]
    assert store.sweep(0.7) == ["a"]


def test_a_look_in_vain_is_enough_for_the_next_round() -> None:
    store = Store()
    store.answers["a"] = Swept(0, 0, False, 300_000, False, False)
    store.sweep()
    store.answers["a"] = BUSY
    assert store.sweep(0.3) == ["a"]
    assert store.sweep(0.7) == []
    assert store.sweep(1.0) == ["a"]


def test_a_failure_leaves_the_other_types_swept() -> None:
    store = Store()
    store.types = {"a": 0, "b": 0}
    store.answers["a"] = StoreUnavailable()
    with pytest.raises(StoreUnavailable):
        store.sweep()
    assert store.looks == ["a", "b"]
    assert store.sweeping.due_at == 1001.0


LEFT = Swept(0, 0, False, None, False, False, True)


def test_a_bulk_that_its_server_has_left_goes_on_until_it_is_done() -> None:
    store = Store()
    store.answers["a"] = LEFT
    store.steps = [True, True, False, True]
    store.sweep()
    assert store.steps == [True]
    assert set(store.owners) == {b"sweep"}


def test_a_long_bulk_leaves_time_for_other_types() -> None:
    store = Store()
    store.types = {"a": 0, "b": 0}
    store.answers["a"] = LEFT
    store.steps = [True] * 25
    assert store.sweep() == ["a", "b"]
    assert len(store.steps) == 15
    assert store.sweep(1.0) == ["a", "b"]
    assert len(store.steps) == 5


def test_a_bulk_that_fails_does_not_end_the_sweep_of_others() -> None:
    store = Store()
    store.types = {"a": 0, "b": 0}
    store.answers["a"] = LEFT
    store.steps = [StoreUnavailable("gone")]
    with pytest.raises(StoreUnavailable):
        store.sweep()
    assert store.looks == ["a", "b"]


def test_a_type_that_has_moved_and_is_not_found_fails_alone() -> None:
    store = Store()
    store.types = {"a": 0, "b": 0}
    store.answers["a"] = WrongKind("closed")
    store.layouts = [StoreUnavailable("gone")]
    with pytest.raises(StoreUnavailable, match="gone"):
        store.sweep()
    assert store.looks == ["a", "b"]
    # It is looked at again, also while another server sweeps.
    store.claimed = False
    del store.answers["a"]
    assert store.sweep(1.0) == ["a"]
    assert store.sweep(1.0) == []
