"""The commands of "More than one machine" in docs/operating.md, run on a cluster."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from sharq.operations.call import Call
from sharq.settings.options import StoreSettings
from sharq.store.query import ask_blocking
from sharq.store.script_loading import pack
from tests.support.clusters import ReplicatedCluster
from tests.support.parts import find
from tests.support.stores import PrivateStore, wait_for

PAGE: Final = (Path(__file__).parents[2] / "docs" / "operating.md").read_text("utf-8")
_CHAPTER: Final = PAGE.partition("\n### More than one machine\n")[2].partition("\n### ")[0]
_PROMPT: Final = re.compile(r"10\.0\.0\.(\d):7000> (.*)")


class Step(NamedTuple):
    """A command that the page has, at which node (0: in a shell), and what is answered."""

    node: int
    words: list[str]
    answer: list[str]


def steps() -> list[Step]:
    """All of them, in order."""
    found: list[Step] = []
    for block in re.findall(r"^```\n(.*?)^```$", _CHAPTER, re.M | re.S):
        for line in block.splitlines():
            if prompt := _PROMPT.fullmatch(line):
                found.append(Step(int(prompt[1]), prompt[2].split(), []))
            elif line.startswith("$ "):
                found.append(Step(0, shlex.split(line[2:]), []))
            else:
                found[-1].answer.append(line)
    return found


class Machines:
    """The nodes of the page: three primaries, their replicas, and two that are still empty."""

    def __init__(self, cluster: ReplicatedCluster) -> None:
        self.cluster = cluster
        primaries = cluster.nodes[:3]
        self.new = [cluster._node(cluster._settings) for _ in range(2)]
        self.nodes = [*primaries, *map(cluster.replica_of, primaries), *self.new]

    def node(self, number: int) -> PrivateStore:
        return self.nodes[number - 1]

    def own(self, words: list[str]) -> list[str]:
        """Words of the page with places and names of these nodes."""
        return [self._own(word) for word in words]

    def _own(self, word: str) -> str:
        if name := re.fullmatch(r"ID(\d)", word):
            return self.node(int(name[1])).command("CLUSTER", "MYID").decode()
        if place := re.fullmatch(r"10\.0\.0\.(\d)(:7000)?", word):
            node = self.node(int(place[1]))
            return f"{node.host}:{node.port}" if place[2] else node.host
        return word

    def run(self, step: Step) -> list[str]:
        """What a node answers, line by line."""
        words = self.own(step.words)
        if words[:2] == ["CLUSTER", "MEET"]:
            met = self.node(int(step.words[2][-1]))
            words = ["CLUSTER", "MEET", met.host, str(met.port), str(met.bus_port)]
        node = self.node(step.node)
        place = StoreSettings(conn_type="tcp_sock", host=node.host, port=node.port)
        call: Call[Any] = Call(pack(*(word.encode() for word in words)), b"", lambda reply: reply)
        (reply,) = ask_blocking(place, [call], 10)
        return list(lines(reply))

    def all_know(self, count: int) -> bool:
        known = [node.command("CLUSTER", "NODES") for node in self.nodes[:count]]
        return all(len(each.splitlines()) == count for each in known)


def lines(reply: Any) -> Iterator[str]:
    """An answer as the command line shows it, roughly."""
    if isinstance(reply, list):
        for each in reply:
            yield from lines(each)
    elif isinstance(reply, bytes):
        yield from reply.decode().splitlines()
    else:
        yield str(reply)


def fits(answer: list[str], wanted: list[str]) -> bool:
    """Whether an answer is as on the page, where `…` stands for any lines."""
    pattern = "".join("(?:.*\n)*" if each == "…" else re.escape(each) + "\n" for each in wanted)
    return re.fullmatch(pattern, "".join(f"{each}\n" for each in answer)) is not None


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    with ReplicatedCluster() as cluster:
        machines = Machines(cluster)
        try:
            yield machines
        finally:
            for node in machines.new:
                node.close()


def test_a_mistake_is_seen() -> None:
    assert fits(["a", "b", "c"], ["…", "b", "…"])
    assert not fits(["a", "c"], ["…", "b", "…"])
    assert not fits(["no"], ["OK"])


@pytest.mark.timing
def test_the_commands_of_the_page(machines: Machines) -> None:
    cluster = machines.cluster
    ran = 0
    for step in steps():
        if not step.node:
            continue
        name = " ".join(step.words[:2])
        if name == "CLUSTER REPLICATE":
            wait_for("all know the new ones", lambda: machines.all_know(8), 20)
        wait_for(
            f"{name} is answered so: {step.answer}",
            lambda step=step: fits(machines.run(step), step.answer),
            20 if name == "CLUSTER GETSLOTMIGRATIONS" else 5,
        )
        ran += 1
        if name == "CLUSTER FAILOVER":
            wait_for("it is a primary", lambda: is_primary(machines.node(4)), 20)
            wait_for("the former one follows", lambda: not is_primary(machines.node(1)), 20)
            machines.run(Step(1, ["CLUSTER", "FAILOVER"], []))
            wait_for("as before", lambda: is_primary(machines.node(1)), 20)
            wait_for("both know it", lambda: not is_primary(machines.node(4)), 20)
        elif name == "CLUSTER MIGRATESLOTS":
            target = machines.node(int(step.words[-1][-1]))
            wait_for("the slots are there", lambda t=target: owns(cluster, t), 20)
    assert ran == len([step for step in steps() if step.node]) >= 15
    for node in cluster.nodes:
        wait_for("they are forgotten", lambda n=node: not owns_any(n, machines), 20)


def is_primary(node: PrivateStore) -> bool:
    return bool(node.command("ROLE")[0] == b"master")


def owns(cluster: ReplicatedCluster, node: PrivateStore) -> bool:
    shown = node.command("CLUSTER", "SLOTS")
    return all(
        primary[1] == node.port for first, last, primary, *_ in shown if first <= 100 <= last
    )


def owns_any(node: PrivateStore, machines: Machines) -> bool:
    ports = {new.port for new in machines.new}
    return any(primary[1] in ports for _, _, primary, *_ in node.command("CLUSTER", "SLOTS"))


@pytest.mark.needs("redis-cli")
def test_the_move_key_by_key() -> None:
    (step,) = [step for step in steps() if not step.node]
    with ReplicatedCluster() as cluster:
        machines = Machines(cluster)
        try:
            machines.nodes[6] = cluster.nodes[1]
            words = [re.sub(r"(ID\d)", lambda m: machines._own(m[1]), w) for w in step.words]
            words = machines.own(words)
            words[0] = find(words[0]) or words[0]
            said = subprocess.run(words, check=False, capture_output=True, text=True, timeout=60)
            assert said.returncode == 0, said
            assert machines.node(7).command("CLUSTER", "SLOTS")
            wait_for("20 slots are there", lambda: slots_of(cluster.nodes[1]) == 5461 + 20, 20)
        finally:
            for node in machines.new:
                node.close()


def slots_of(node: PrivateStore) -> int:
    shown = node.command("CLUSTER", "SLOTS")
    return sum(last - first + 1 for first, last, primary, *_ in shown if primary[1] == node.port)
