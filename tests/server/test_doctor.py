"""`GET /doctor/` over real stores."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from sharq import Settings
from sharq.store.durability import look_at
from sharq_server import SharQServer, __version__
from tests.server.conftest import ExpectLog
from tests.server.support import Rest
from tests.support.stores import PrivateStore

pytestmark = pytest.mark.gen_test(timeout=15)


@pytest.fixture
def store_options() -> dict[str, Any]:
    return {"appendonly": True, "appendfsync": "always", "maxmemory": "500mb"}


@pytest.fixture
def store(store_options: dict[str, Any]) -> Iterator[PrivateStore]:
    """A store of the test's own."""
    with PrivateStore(**store_options) as store:
        yield store


async def examined(rest: Rest) -> dict[str, dict[str, Any]]:
    """The findings, by their checks."""
    before = time.time_ns() // 1_000_000
    answer = await rest.get("/doctor/")
    assert answer.status == 200
    assert (answer.body["status"], answer.body["version"]) == ("success", __version__)
    assert before <= answer.body["at"] <= time.time_ns() // 1_000_000
    found = answer.body["findings"]
    assert len({each["check"] for each in found}) == len(found)
    return {each["check"]: each for each in found}


async def test_a_store_that_keeps_all(rest: Rest) -> None:
    found = await examined(rest)
    assert {check: each["level"] for check, each in found.items()} == {
        **dict.fromkeys(("store", "durability", "memory", "store clock"), "ok"),
        "sweep": "error",  # the tests have none
        **dict.fromkeys(("tokens", "certificate", "connections"), "ok"),
        "open files": found["open files"]["level"],
    }
    assert "of 500 MiB" in found["memory"]["found"]
    assert found["sweep"]["do"].startswith("Set enable_requeue_script")


@pytest.mark.parametrize("options", [{"sharq": {"enable_requeue_script": True}}])
async def test_a_sweep_that_runs(rest: Rest, options: dict[str, Any]) -> None:
    # At whatever moment of a round, in a tenth of which nobody has claimed it.
    end = time.monotonic() + 1.2
    while time.monotonic() < end:
        assert (await examined(rest))["sweep"]["level"] == "ok"


async def test_a_sweep_of_another_server(rest: Rest, settings: Settings) -> None:
    sweeping = replace(settings.sharq, enable_requeue_script=True)
    others = SharQServer(replace(settings, sharq=sweeping))
    await others.start()
    try:
        while (await examined(rest))["sweep"]["level"] != "ok":
            await asyncio.sleep(0.01)
    finally:
        await others.stop()


@pytest.mark.parametrize("store_options", [{"maxmemory-policy": "allkeys-lru"}])
async def test_a_store_that_loses_data(rest: Rest, store_options: dict[str, Any]) -> None:
    answer = await rest.get("/doctor/")
    said = [each for each in answer.body["findings"] if each["check"] == "durability"]
    assert [each["level"] for each in said] == ["warning", "warning"]
    assert [each["do"] for each in said] == [
        "Set appendonly yes and appendfsync always.",
        "Set maxmemory-policy noeviction.",
    ]


async def test_a_store_that_is_away(rest: Rest, store: PrivateStore, expect_log: ExpectLog) -> None:
    expect_log("(Lost|No connection to) the store", certain=False)
    await asyncio.to_thread(store.kill)
    found = await examined(rest)
    assert found["store"]["level"] == "error"
    assert found["store"]["found"].startswith(f"The store at {store.socket_path} does not answer: ")
    assert found["store"]["do"]
    assert found.keys() == {"store", "tokens", "certificate", "open files", "connections"}


async def test_a_parameter_is_refused(rest: Rest) -> None:
    assert (await rest.get("/doctor/?fix=true")).error == (400, "invalid_argument")


async def test_a_clock_that_is_apart(
    settings: Settings, store: PrivateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns
    for shift in (-7_000, 0, 7_000):
        monkeypatch.setattr("time.time_ns", lambda shift=shift: now() + shift * 1_000_000)
        seen = await look_at(settings.redis, 3.0)
        assert seen.ahead is not None
        assert -100 < seen.ahead + shift < 100
        assert (seen.ahead == 0) == (shift == 0)


@pytest.mark.parametrize(
    "store_options", [{"user": ["bob", "on", ">pw", "~*", "&*", "+@all", "-time", "-info"]}]
)
async def test_a_store_that_tells_nothing(
    settings: Settings, store_options: dict[str, Any]
) -> None:
    seen = await look_at(replace(settings.redis, username="bob", password="pw"), 3.0)
    assert (seen.product, seen.memory, seen.ahead) == (None, None, None)
    assert seen.refused is not None
