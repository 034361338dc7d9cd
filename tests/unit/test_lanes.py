"""Lanes of work, and a sweep by nodes, some of which are silent until the test lets them answer."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pytest

from sharq.errors import StoreError, StoreUnavailable
from sharq.operations.call import Apart, Call, Flow
from sharq.operations.lanes import Lanes, Things
from sharq.operations.operations import Operations
from sharq.operations.scripts import Scripts
from sharq.operations.sharding import Shards
from sharq.operations.spreading import Spreading
from sharq.operations.sweeping import Sweeping
from sharq.results import Swept
from sharq.settings.options import QueueSettings

SCRIPTS = Scripts()
NAMES = {digest.encode(): name for name, digest in SCRIPTS.digests.items()}
OPERATIONS = Operations("p", QueueSettings(), SCRIPTS)
BUSY = Swept(0, 0, False, None, False, False)


class Nodes:
    """Carries flows out as an engine does; calls to nodes that are silent stand until `let_go`.

    A type's node is the first letter of its name; the registry's is `r`. `calls` are the script
    and the type of each call.
    """

    def __init__(self) -> None:
        self.silent: set[str] = set()
        self.calls: list[tuple[str, str]] = []
        self.waited: list[tuple[int, int]] = []
        self._standing: list[tuple[Flow[Any], list[Call[Any]]]] = []
        self.types: dict[str, int] = {}
        self.answers: dict[str, Any] = {}

    def run(self, flow: Flow[Any]) -> Any:
        """Its result; None if it stands at the end."""
        return self._go_on(flow, None)

    def let_go(self, answer: Any = None) -> None:
        """Silent nodes answer, what they would or with a failure."""
        standing, self._standing = self._standing, []
        self.silent.clear()
        for flow, calls in standing:
            self._go_on(flow, [answer or self._answer(call) for call in calls])

    @property
    def under_way(self) -> list[str]:
        return [_type(call) for _, calls in self._standing for call in calls]

    def taken(self, script: str = "requeue") -> list[str]:
        """The types of the calls of a script since the last look."""
        calls, self.calls = self.calls, []
        return sorted(name for each, name in calls if each == script)

    def _go_on(self, flow: Flow[Any], result: Any) -> Any:
        try:
            request = flow.send(result)
            while True:
                if isinstance(request, Apart):
                    self.waited.append((len(request), len(request.loose)))
                    for each in (*request.loose, *request):
                        self.run(each)
                    request = flow.send(None)
                    continue
                calls = request if isinstance(request, list) else [request]
                self.calls += [(_script(call), _type(call)) for call in calls]
                if self.silent & {_type(call)[:1] for call in calls}:
                    self._standing.append((flow, calls))
                    return None
                answers = [self._answer(call) for call in calls]
                request = flow.send(answers if isinstance(request, list) else answers[0])
        except StopIteration as stop:
            return stop.value

    def _answer(self, call: Call[Any]) -> Any:
        script = _script(call)
        if script == "claim_sweep":
            return True
        if script == "list_types":
            page: Any = call.parse([b"0"])
            return page._replace(types=list(self.types.items()))
        if script == "pausing":
            return None
        return self.answers.get(_type(call), BUSY)


def _script(call: Call[Any]) -> str:
    return next(name for digest, name in NAMES.items() if digest in call.packed)


def _type(call: Call[Any]) -> str:
    return call.key.decode().removeprefix("{p").partition("}")[0].removeprefix(":") or "r"


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


# ---- lanes ----


def test_a_lane_that_stands_gathers_what_comes_and_does_it_once(nodes: Nodes) -> None:
    lanes = Lanes()

    def work(things: Things) -> Flow[bool]:
        answers = yield [OPERATIONS.requeue(name) for name in things]
        return not any(isinstance(each, StoreError) for each in answers)

    def do(**things_of: str) -> None:
        things: dict[Hashable, Things] = {
            lane: dict.fromkeys(text.split(), 0.0) for lane, text in things_of.items()
        }
        nodes.run(lanes.do(work, things))

    nodes.silent = {"a"}
    do(a="a1 a2", b="b1")
    assert nodes.taken() == ["a1", "a2", "b1"]
    do(a="a1 a3", b="b1")
    do(a="a1", b="b1")
    assert nodes.taken() == ["b1", "b1"], "no second call to a node that is silent"
    nodes.let_go(StoreUnavailable())
    assert nodes.taken() == ["a1", "a3"], "what came meanwhile, each once"
    assert nodes.under_way == []
    # Of lanes: those that were waited for, and those that were not, since they had stood.
    assert nodes.waited == [(2, 0), (1, 0), (1, 0)]


def test_a_lane_whose_node_fails_is_not_waited_for_until_it_answers(nodes: Nodes) -> None:
    lanes = Lanes()
    answers = [False, True, True]

    def work(things: Things) -> Flow[bool]:
        yield [OPERATIONS.requeue(name) for name in things]
        return answers.pop(0)

    for _ in range(3):
        nodes.run(lanes.do(work, {"a": {"a1": 0.0}}))
    assert nodes.waited == [(1, 0), (0, 1), (1, 0)]


# ---- the sweep ----


class Sweeper:
    def __init__(self, nodes: Nodes, shards: Shards | None = None) -> None:
        self.now = 1000.0
        self.nodes = nodes
        self.sweeping = Sweeping(
            Spreading(OPERATIONS, shards),
            1.0,
            60.0,
            lambda: self.now,
            place_of=lambda name: name[:1],
        )

    def round(self, after: float = 1.0) -> list[str]:
        self.now += after
        self.nodes.taken()
        self.nodes.run(self.sweeping.sweep())
        return self.nodes.taken()


def test_types_of_others_are_swept_while_a_node_is_silent(nodes: Nodes) -> None:
    sweeper = Sweeper(nodes)
    nodes.types = {"a1": 0, "a2": 0, "b1": 0, "c1": 0}
    assert sweeper.round(0.0) == ["a1", "a2", "b1", "c1"]
    nodes.silent = {"a"}
    nodes.answers["b1"] = Swept(1, 0, False, 300_000, False, False)
    assert sweeper.round() == ["a1", "a2", "b1", "c1"]
    assert sweeper.sweeping.due_at == pytest.approx(1001.3), "a lease of b1 runs out"
    assert sweeper.round(0.3) == ["b1"]
    nodes.answers["b1"] = BUSY
    assert [sweeper.round() for _ in range(3)] == [["b1", "c1"]] * 3
    assert nodes.under_way == ["a1", "a2"]
    nodes.let_go()
    assert nodes.taken() == ["a1", "a2"]
    assert sweeper.round() == ["a1", "a2", "b1", "c1"]


def test_a_node_that_is_silent_and_fails_then_is_told(nodes: Nodes) -> None:
    sweeper = Sweeper(nodes)
    nodes.types = {"a1": 0, "b1": 0}
    nodes.silent = {"a"}
    assert sweeper.round() == ["a1", "b1"]
    nodes.let_go(StoreUnavailable("silent"))
    nodes.silent = {"a"}
    with pytest.raises(StoreUnavailable, match="silent"):
        sweeper.round()
    nodes.let_go()
    assert sweeper.round() == ["a1", "b1"]


def test_who_leaves_the_registry_waits_for_it_by_itself(nodes: Nodes) -> None:
    sweeper = Sweeper(nodes)
    nodes.types = {"a1": 900_000, "b1": 0}
    nodes.answers["a1"] = Swept(0, 0, False, None, False, True)
    answer = nodes._answer

    def fall_silent(call: Call[Any]) -> Any:
        if _type(call) == "a1":
            nodes.silent = {"r"}
        return answer(call)

    nodes._answer = fall_silent  # type: ignore[method-assign]
    assert sweeper.round() == ["a1", "b1"]
    assert nodes.under_way == ["r"]
    assert sweeper.sweeping.due_at == 1001.0, "the round has ended"


def test_a_pause_is_completed_by_rounds_alone_and_by_itself(nodes: Nodes) -> None:
    shards = Shards("p")
    shards.learn("mail", 3)
    sweeper = Sweeper(nodes, shards)
    nodes.types = {"mail": 0}
    due = Swept(0, 0, False, 300_000, False, False)
    nodes.answers = {name.rpartition(":")[0]: due for name in shards.homes("mail")}
    nodes.run(sweeper.sweeping.sweep())
    assert [script for script, _ in nodes.calls[2:]] == ["requeue"] * 3 + ["pausing"]
    nodes.silent = {"m"}
    nodes.calls.clear()
    sweeper.now += 0.3
    nodes.run(sweeper.sweeping.sweep())
    assert [script for script, _ in nodes.calls] == ["requeue"] * 3
    for _ in range(2):
        sweeper.now += 1
        nodes.run(sweeper.sweeping.sweep())
    assert len(nodes.taken("pausing")) == 1, "no second one while the first is under way"
