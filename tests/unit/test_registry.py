"""The registry of types while its node is away and others are not, by an injected clock."""

from __future__ import annotations

from typing import Any

import pytest

from sharq.errors import StoreDenied, StoreError, StoreFull, StoreOutcomeUnknown, StoreUnavailable
from sharq.operations.call import Apart, Call, Flow
from sharq.operations.flows import Flows
from sharq.operations.operations import Operations
from sharq.operations.scripts import Scripts
from sharq.operations.sweeping import Sweeping
from sharq.results import QUEUED, Enqueued, NewJob, Swept
from sharq.settings.options import QueueSettings

SCRIPTS = Scripts()
NAMES = {digest.encode(): name for name, digest in SCRIPTS.digests.items()}
SETTINGS = QueueSettings()
OPERATIONS = Operations("p", SETTINGS, SCRIPTS)
AWAY = StoreUnavailable("away")


class Cluster:
    """Answers calls: a registry that may fail, and types, some of which may fail.

    `asked` are the calls since the last look: a script's name and what it was about.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.registry: StoreError | None = None
        self.places: set[int] = set()
        self.claimed = True
        self.registered: dict[str, int] = {}
        self.failing: dict[str, StoreError] = {}
        self._asked: list[tuple[str, str]] = []
        self.flows = self.make()

    def make(self, former: Flows | None = None) -> Flows:
        return Flows(OPERATIONS, SETTINGS, lambda: self.now, clustered=True, former=former)

    def asked(self, script: str = "") -> list[str]:
        """What was asked since the last look, with one script or all."""
        asked, self._asked = self._asked, []
        return [about for name, about in asked if script in ("", name)]

    def run(self, flow: Flow[Any]) -> Any:
        try:
            request = next(flow)
            while True:
                if isinstance(request, Apart):
                    for apart in (*request.loose, *request):
                        self.run(apart)
                    request = flow.send(None)
                elif isinstance(request, list):
                    request = flow.send([self.caught(call) for call in request])
                else:
                    request = flow.send(self.answer(request))
        except StopIteration as stop:
            return stop.value

    def enqueue(self, queue_type: str) -> Any:
        return self.run(self.flows.submit(NewJob(queue_type, "q", "j", b"1", 0, -1)))

    def caught(self, call: Call[Any]) -> Any:
        try:
            return self.answer(call)
        except StoreError as error:
            return error

    def answer(self, call: Call[Any]) -> Any:
        name = next(name for digest, name in NAMES.items() if digest in call.packed)
        words = [word.decode() for word in call.packed.split(b"\r\n")[2::2]]
        place = call.key.decode().removeprefix("{p").removesuffix(":").removesuffix("}")
        about = words[-1] if name in ("register", "unregister") else place.removeprefix(":")
        self._asked.append((name, about))
        if place == "}:types":
            if self.registry is not None:
                raise self.registry
        elif place.removeprefix(":.").isdigit():
            if int(place.removeprefix(":.")) not in self.places:
                raise AWAY
        elif about in self.failing:
            raise self.failing[about]
        if name == "register":
            self.registered[about] = 0
            return True
        if name == "unregister":
            return True
        if name == "claim_sweep":
            return self.claimed
        if name == "list_types":
            page: Any = call.parse([b"0"])
            return page._replace(types=list(self.registered.items()))
        if name == "enqueue":
            return [Enqueued(QUEUED, 1)] * words.count("j")
        return Swept(0, 0, False, None, False, False)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


# ---- enqueues ----


@pytest.mark.parametrize("failure", [AWAY, StoreOutcomeUnknown(), StoreFull()])
def test_a_type_is_used_that_cannot_be_registered_for_now(
    cluster: Cluster, failure: StoreError
) -> None:
    cluster.registry = failure
    assert cluster.enqueue("a").outcome == QUEUED
    assert cluster.asked() == ["a", "a"]
    for queue_type in ("a", "b", "c"):
        assert cluster.enqueue(queue_type).outcome == QUEUED
    assert cluster.asked() == ["a", "b", "c"], "nobody waits for the registry again"


def test_a_right_that_is_missing_is_no_reason_to_go_on(cluster: Cluster) -> None:
    cluster.registry = StoreDenied("not yours")
    with pytest.raises(StoreDenied):
        cluster.enqueue("a")


def test_what_is_owed_is_registered_with_a_later_call_at_a_bounded_pace(cluster: Cluster) -> None:
    cluster.registry = AWAY
    for queue_type in ("a", "b"):
        cluster.enqueue(queue_type)
    cluster.asked()
    for pause in (5, 10, 20, 40, 60, 60):
        cluster.now += pause - 0.001
        cluster.enqueue("a")
        assert cluster.asked("register") == []
        cluster.now += 0.001
        cluster.enqueue("a")
        assert set(cluster.asked("register")) == {"a", "b"}
    cluster.registry = None
    cluster.now += 60
    cluster.enqueue("z")
    assert set(cluster.registered) == {"a", "b", "z"}
    cluster.asked()
    cluster.enqueue("a")
    assert cluster.asked() == ["a"]


def test_many_jobs_go_on_like_one(cluster: Cluster) -> None:
    cluster.registry = AWAY
    jobs = [NewJob(name, "q", "j", b"1", 0, -1) for name in ("a", "b", "a")]
    for _ in range(2):
        assert [each.outcome for each in cluster.run(cluster.flows.submit_many(jobs))] == (
            [QUEUED] * 3
        )
    assert cluster.asked("register") == ["a", "b"]


def test_others_do_not_wait_for_a_registry_that_is_silent(cluster: Cluster) -> None:
    first = cluster.flows.submit(NewJob("a", "q", "j", b"1", 0, -1))
    next(first)
    cluster.now += 0.2
    second = cluster.flows.submit(NewJob("b", "q", "j", b"1", 0, -1))
    next(second)
    cluster.now += 0.2
    assert cluster.enqueue("c").outcome == QUEUED
    assert cluster.asked() == ["c"]
    # Whoever waits may be gone.
    first.close()
    second.close()
    cluster.enqueue("d")
    assert set(cluster.asked("register")) == {"c", "d"}


def test_a_new_deployment_still_owes_what_the_former_one_did(cluster: Cluster) -> None:
    cluster.registry = AWAY
    cluster.enqueue("a")
    cluster.flows = cluster.make(cluster.flows)
    cluster.registry = None
    cluster.enqueue("b")
    assert set(cluster.registered) == {"a", "b"}


# ---- the sweep ----


class Sweeper:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        registry = cluster.flows.registry
        self.sweeping = Sweeping(cluster.flows.spreading, 1.0, 60.0, lambda: cluster.now, registry)

    def round(self) -> tuple[list[str], StoreError | None]:
        """A second passes, and what is due is swept: the types, and the failure."""
        self._cluster.now += 1
        self._cluster.asked()
        failure = None
        try:
            self._cluster.run(self.sweeping.sweep())
        except StoreError as error:
            failure = error
        return sorted(self._cluster.asked("requeue")), failure


@pytest.fixture
def sweeper(cluster: Cluster) -> Sweeper:
    return Sweeper(cluster)


def test_without_the_registry_what_is_known_is_swept_under_a_claim_elsewhere(
    cluster: Cluster, sweeper: Sweeper
) -> None:
    cluster.registered = {"seen": 5}
    assert sweeper.round() == (["seen"], None)
    cluster.registry = AWAY
    cluster.places = {3, 4}
    cluster.enqueue("enqueued")
    cluster.flows.registry.use("used")
    assert sweeper.round() == (["enqueued", "seen", "used"], AWAY)
    cluster.registry = None
    assert sweeper.round() == (["enqueued", "seen"], None)
    assert "enqueued" in cluster.registered


def test_the_claim_goes_to_the_first_place_that_is_there(
    cluster: Cluster, sweeper: Sweeper
) -> None:
    cluster.registry, cluster.places = AWAY, {3, 4}
    cluster.now += 1
    with pytest.raises(StoreUnavailable):
        cluster.run(sweeper.sweeping.sweep())
    assert cluster.asked("claim_sweep") == ["}:types", ".1", ".2", ".3"]


def test_without_any_place_nothing_is_swept(cluster: Cluster, sweeper: Sweeper) -> None:
    cluster.registry = AWAY
    cluster.enqueue("a")
    assert sweeper.round() == ([], AWAY)


def test_who_has_not_claimed_makes_a_round_of_its_own_now_and_then(
    cluster: Cluster, sweeper: Sweeper
) -> None:
    cluster.registry, cluster.places, cluster.claimed = AWAY, {1}, False
    cluster.enqueue("a")
    assert sweeper.round() == (["a"], AWAY)
    assert [sweeper.round()[0] for _ in range(10)] == [[]] * 9 + [["a"]]


def test_nothing_is_unregistered_by_what_is_only_remembered(
    cluster: Cluster, sweeper: Sweeper
) -> None:
    cluster.registered = {"old": 5_000_000}
    sweeper.round()
    cluster.registry, cluster.places = AWAY, {1}
    vacant = Swept(0, 0, False, None, True, True)
    cluster.answer = lambda call, answer=cluster.answer: (  # type: ignore[method-assign]
        vacant if isinstance(found := answer(call), Swept) else found
    )
    cluster.now += 100
    cluster.asked()
    with pytest.raises(StoreUnavailable):
        cluster.run(sweeper.sweeping.sweep())
    assert cluster.asked("unregister") == []


def test_who_does_not_sweep_reads_the_registry_each_minute(
    cluster: Cluster, sweeper: Sweeper
) -> None:
    cluster.claimed = False
    reads = []
    for _ in range(130):
        sweeper.round()
        cluster.asked()
    cluster.registered = {"a": 0}
    cluster.now += 1
    for _ in range(62):
        cluster.now += 1
        cluster.run(sweeper.sweeping.sweep())
        reads += cluster.asked("list_types")
    assert len(reads) in (1, 2)
    assert "a" in cluster.flows.registry.known()


def test_a_type_that_was_used_and_is_in_no_registry_is_registered(
    cluster: Cluster, sweeper: Sweeper
) -> None:
    cluster.flows.registry.use("a")
    assert sweeper.round() == ([], None)
    assert sweeper.round() == (["a"], None)
    assert set(cluster.registered) == {"a"}
    cluster.registered.clear()
    sweeper.round()
    sweeper.round()
    assert cluster.registered == {}, "once for each use"


def test_a_bulk_of_dead_letters_goes_on_without_the_registry(
    cluster: Cluster, sweeper: Sweeper
) -> None:
    cluster.registered = {"a": 0}
    sweeper.round()
    cluster.registry, cluster.places = AWAY, {1}
    left = Swept(0, 0, False, None, False, False, True)
    cluster.answer = lambda call, answer=cluster.answer: (  # type: ignore[method-assign]
        (left if b"advance" not in _name(call) else False)
        if isinstance(found := answer(call), Swept)
        else found
    )
    cluster.now += 1
    cluster.asked()
    with pytest.raises(StoreUnavailable):
        cluster.run(sweeper.sweeping.sweep())
    assert cluster.asked("dead_advance") == ["a"]


def _name(call: Call[Any]) -> bytes:
    return next(name for digest, name in NAMES.items() if digest in call.packed).encode()


# ---- failures are told once ----


def test_a_failure_is_told_until_its_types_are_swept(cluster: Cluster, sweeper: Sweeper) -> None:
    cluster.registered = {"a": 0, "b": 0}
    cluster.failing["a"] = AWAY
    assert sweeper.round() == (["a", "b"], AWAY)
    # Another server has the claim: whether it can be swept is tried with one type.
    cluster.claimed = False
    assert sweeper.round() == (["a"], AWAY)
    cluster.failing["b"] = AWAY
    cluster.claimed = True
    assert sweeper.round() == (["a", "b"], AWAY)
    cluster.claimed = False
    assert [sweeper.round()[0] for _ in range(4)] == [["a"], ["b"], ["a"], ["b"]]
    cluster.failing.clear()
    assert sweeper.round() == (["a", "b"], None)
    assert sweeper.round() == ([], None)


def test_a_look_between_rounds_does_not_end_a_failure(cluster: Cluster, sweeper: Sweeper) -> None:
    cluster.registered = {"a": 0, "b": 0}
    cluster.failing["a"] = AWAY
    soon = Swept(0, 0, False, 300_000, False, False)
    cluster.answer = lambda call, answer=cluster.answer: (  # type: ignore[method-assign]
        soon if isinstance(found := answer(call), Swept) else found
    )
    cluster.now -= 1
    assert sweeper.round()[1] is AWAY
    cluster.now = sweeper.sweeping.due_at
    cluster.asked()
    with pytest.raises(StoreUnavailable):
        cluster.run(sweeper.sweeping.sweep())
    assert cluster.asked("requeue") == ["b"]
    cluster.failing.clear()
    cluster.now = sweeper.sweeping.due_at
    sweeper.round()
    assert sweeper.round()[1] is None


def test_types_that_are_registered_no_more_are_no_failure(
    cluster: Cluster, sweeper: Sweeper
) -> None:
    cluster.registered = {"a": 0}
    cluster.failing["a"] = AWAY
    assert sweeper.round()[1] is AWAY
    cluster.registered.clear()
    assert sweeper.round() == ([], None)
