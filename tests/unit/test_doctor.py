"""What the doctor says of a store and a server, from values alone."""

from __future__ import annotations

from typing import Any

import pytest

from sharq.errors import StoreUnavailable
from sharq.results import Keeping, Watch
from sharq_server.api import doctor
from sharq_server.api.doctor import ERROR, OK, WARNING, Facts, Finding

GOOD = Keeping(
    "one:6379",
    appendfsync="always",
    product="Valkey 9.0.0",
    memory=64 * 2**20,
    max_memory=1024 * 2**20,
    ahead=0,
)
MINE = Facts(
    places=["127.0.0.1"],
    tokens=None,
    certificate=None,
    behind_proxy=False,
    files=30,
    most_files=65_536,
    connections=10,
    most_connections=1000,
)


def node(**other: Any) -> Keeping:
    fields = {name: getattr(GOOD, name) for name in Keeping.__dataclass_fields__}
    return Keeping(**(fields | other))


def of_node(check: str, **other: Any) -> list[Finding]:
    return [each for each in doctor.of_store([node(**other)]) if each.check == check]


def of_server(check: str, **other: Any) -> Finding:
    (found,) = [each for each in doctor.of_server(MINE._replace(**other)) if each.check == check]
    return found


def test_all_is_well() -> None:
    found = [*doctor.of_store([GOOD]), *doctor.of_server(MINE)]
    assert [(each.level, each.do) for each in found] == [(OK, None)] * 8
    assert doctor.of_sweep(True, False, MINE).level == OK


@pytest.mark.parametrize(
    ("product", "level"),
    [
        ("Redis 6.0.16", ERROR),
        ("Redis 6.2.0", OK),
        ("Redis 10.1.0", OK),
        ("Valkey 7.2.4", OK),
        ("Other 1.0", OK),
        (None, OK),
    ],
)
def test_the_version_of_a_store(product: str | None, level: str) -> None:
    (found,) = of_node("store", product=product)
    assert (found.level, found.do is None) == (level, level == OK)


def test_a_store_that_does_not_answer() -> None:
    trouble = StoreUnavailable()
    trouble.__cause__ = ConnectionRefusedError(111, "Connection refused")
    (found,) = doctor.of_store(trouble)
    assert found[:3] == ("store", ERROR, "The store does not answer: Connection refused.")
    assert found.do


def test_a_node_that_does_not_answer_hides_nothing_of_the_others() -> None:
    silent = Keeping(
        "b:1", trouble=StoreUnavailable("No answer in time."), watch=Watch("m", 3, 3, ())
    )
    found = list(doctor.of_store([silent, GOOD]))
    assert found[0][:3] == ("store", ERROR, "The store at b:1 does not answer: No answer in time.")
    assert [each.check for each in found[1:3]] == ["sentinels", "store"]
    assert {each.check: each.level for each in found[2:]} == dict.fromkeys(
        ("store", "durability", "memory", "store clock"), OK
    )
    assert not [each for each in doctor.of_store([silent]) if each.check == "durability"]


def test_replicas_that_are_waited_for_need_nothing_more() -> None:
    (found,) = of_node("durability", replicas=1, bounded=True)
    assert (found.level, found.do) == (OK, None)
    assert "min-replicas-to-write limits how many" in found.found
    (found,) = of_node("durability", replicas=1)
    assert (found.level, "replicas_acked" in (found.do or "")) == (WARNING, True)


@pytest.mark.parametrize(
    ("other", "words", "do"),
    [
        ({"logs": False}, "(appendonly no)", "Set appendonly yes and appendfsync always."),
        ({"appendfsync": "everysec"}, "(appendfsync everysec)", "Set appendfsync always."),
        (
            {"eviction": "allkeys-lru"},
            "(maxmemory-policy allkeys-lru)",
            "Set maxmemory-policy noeviction.",
        ),
        ({"refused": ("INFO", "no rights")}, "(INFO: no rights)", "Give its user +info"),
    ],
)
def test_what_a_store_does_not_keep(other: dict[str, Any], words: str, do: str) -> None:
    (found,) = of_node("durability", **other)
    assert found.level == WARNING
    assert words in found.found
    assert "{" not in found.found
    assert found.do is not None
    assert found.do.startswith(do)


def test_nodes_of_which_the_same_is_said_share_it() -> None:
    nodes = [node(where=where, logs=False) for where in ("a:1", "b:1")]
    found = list(doctor.of_store(nodes))
    (durability,) = [each for each in found if each.check == "durability"]
    assert "at a:1, b:1 keeps no log" in durability.found
    assert len([each for each in found if each.check == "memory"]) == 2


@pytest.mark.parametrize(
    ("memory", "most", "level"),
    [
        (74, 100, OK),
        (75, 100, WARNING),
        (89, 100, WARNING),
        (90, 100, ERROR),
        (100, 0, OK),
        (None, None, OK),
    ],
)
def test_memory(memory: int | None, most: int | None, level: str) -> None:
    (found,) = of_node("memory", memory=memory, max_memory=most)
    assert (found.level, found.do is None) == (level, level == OK)


@pytest.mark.parametrize(
    ("ahead", "level", "words"),
    [
        (999, OK, "agree"),
        (-999, OK, "agree"),
        (1000, WARNING, "1.0 s ahead of the server's"),
        (-90_000, WARNING, "90.0 s behind the server's"),
        (None, OK, "does not tell"),
    ],
)
def test_the_clock_of_a_store(ahead: int | None, level: str, words: str) -> None:
    (found,) = of_node("store clock", ahead=ahead)
    assert (found.level, words in found.found) == (level, True)


@pytest.mark.parametrize(
    ("swept", "enabled", "by_requests", "level", "words"),
    [
        (True, False, False, OK, ""),
        (True, True, True, OK, ""),
        (False, True, False, ERROR, "log"),
        (False, False, False, ERROR, "enable_requeue_script"),
        (False, False, True, ERROR, "enable_requeue_script"),
        (False, True, True, WARNING, "sharq sweep"),
    ],
)
def test_the_sweep(swept: bool, enabled: bool, by_requests: bool, level: str, words: str) -> None:
    facts = MINE._replace(sweeps_by_requests=by_requests)
    found = doctor.of_sweep(swept, enabled, facts)
    assert (found.level, words in (found.do or "")) == (level, True)


@pytest.mark.parametrize(
    ("places", "tokens", "proxy", "level"),
    [
        (["127.0.0.1", "::1", "localhost", "unix:/run/sharq"], None, False, OK),
        (["127.0.0.1", "0.0.0.0"], None, False, ERROR),
        (["example.com"], None, False, ERROR),
        (["0.0.0.0"], 2, False, OK),
        (["127.0.0.1"], None, True, WARNING),
        (None, None, False, WARNING),
        (None, 1, False, OK),
    ],
)
def test_tokens(places: list[str] | None, tokens: int | None, proxy: bool, level: str) -> None:
    found = of_server("tokens", places=places, tokens=tokens, behind_proxy=proxy)
    assert (found.level, found.do is None) == (level, level == OK)
    if level == ERROR:
        assert "127.0.0.1" not in found.found


@pytest.mark.parametrize(
    ("left", "level", "words"),
    [
        (14, OK, "ends in 14 days"),
        (13, WARNING, "ends in 13 days"),
        (1, WARNING, "ends in 1 day."),
        (-1, ERROR, "has ended"),
        (None, OK, "not known"),
    ],
)
def test_the_certificate(left: int | None, level: str, words: str) -> None:
    found = of_server("certificate", certificate=("/c.pem", left))
    assert (found.level, words in found.found) == (level, True)


def test_tokens_without_tls() -> None:
    over_network = {"places": ["0.0.0.0"], "tokens": 1}
    assert of_server("certificate", **over_network).level == WARNING
    assert of_server("certificate", **over_network, behind_proxy=True).level == OK
    assert of_server("certificate", places=["127.0.0.1"], tokens=1).level == OK
    assert not [e for e in doctor.of_server(MINE._replace(places=None)) if e.check == "certificate"]


@pytest.mark.parametrize(
    ("files", "most", "level"),
    [
        (10, 4096, OK),
        (10, 4095, WARNING),
        (7500, 10_000, WARNING),
        (9000, 10_000, ERROR),
        (10, None, OK),
        (None, 65_536, OK),
    ],
)
def test_open_files(files: int | None, most: int | None, level: str) -> None:
    assert of_server("open files", files=files, most_files=most).level == level


@pytest.mark.parametrize(("now", "level"), [(749, OK), (750, WARNING), (900, ERROR)])
def test_connections(now: int, level: str) -> None:
    assert of_server("connections", connections=now).level == level


def test_a_replica_takes_no_writes() -> None:
    (found,) = of_node("durability", follows=True)
    assert (found.level, found.found) == (
        ERROR,
        "The store at one:6379 is a replica, and takes no writes.",
    )
