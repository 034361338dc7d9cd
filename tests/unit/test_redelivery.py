"""Leases on their way back: what fails for now keeps nothing else back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sharq.engine import Engine
from sharq.errors import StoreUnavailable
from sharq.results import SUCCESS, Ended
from sharq_server.push import redelivery as module
from sharq_server.push.redelivery import Redelivery
from tests.support.loops import on_loop


class Store:
    """Stands in the place of an engine: takes leases back, but for those of `away` types."""

    flows: Any = SimpleNamespace(give_back_many=lambda leases, counted: (leases, counted))

    def __init__(self) -> None:
        self.away: set[str] = set()
        self.silent: set[str] = set()
        self.answer = asyncio.Event()
        self.asked: list[tuple[list[str], bool]] = []

    async def run(self, flow: tuple[Sequence[str], bool]) -> list[Any]:
        leases, counted = flow
        self.asked.append((list(leases), counted))
        if any(lease.partition("/")[0] in self.silent for lease in leases):
            await self.answer.wait()
        await asyncio.sleep(0)
        away = [lease.partition("/")[0] in self.away for lease in leases]
        return [StoreUnavailable() if is_away else Ended(SUCCESS) for is_away in away]


@on_loop
async def test_what_fails_for_now_keeps_nothing_else_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE", 3600.0)
    store = Store()
    store.away = {"gone"}
    redelivery = Redelivery(cast(Engine, store))
    redelivery.add(["gone/1", "here/1"])
    while len(store.asked) < 1:
        await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
    redelivery.add(["here/2"], count_requeue=True)
    while len(store.asked) < 2:
        await asyncio.sleep(0)
    assert store.asked == [(["gone/1", "here/1"], False), (["here/2"], True)]
    for _ in range(10):
        await asyncio.sleep(0)
    store.away.clear()
    await redelivery.close()
    assert store.asked[2:] == [(["gone/1"], False)]
    assert not redelivery.busy


@on_loop
async def test_what_fails_is_tried_again_until_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.001)
    store = Store()
    store.away = {"gone"}
    redelivery = Redelivery(cast(Engine, store))
    redelivery.add(["gone/1"])
    while len(store.asked) < 5:
        await asyncio.sleep(0)
    store.away.clear()
    while redelivery.busy:
        await asyncio.sleep(0)
    assert store.asked == [(["gone/1"], False)] * len(store.asked)


@on_loop
async def test_at_the_end_it_is_tried_once_more(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.away = {"gone"}
    redelivery = Redelivery(cast(Engine, store))
    redelivery.add(["gone/1", "gone/2"])
    while len(store.asked) < 1:
        await asyncio.sleep(0)
    await redelivery.close()
    assert len(store.asked) <= 3
    assert "2 jobs stay leased until their leases end" in caplog.text


@on_loop
async def test_a_node_that_hangs_keeps_back_nothing_of_others() -> None:
    store = Store()
    store.silent = {"hung"}
    redelivery = Redelivery(cast(Engine, store), lambda lease: lease.partition("/")[0])
    redelivery.add(["hung/1", "here/1", "hung/2"])
    for _ in range(10):
        await asyncio.sleep(0)
    redelivery.add(["hung/3", "here/2"])
    for _ in range(10):
        await asyncio.sleep(0)
    assert [leases for leases, _ in store.asked] == [["hung/1", "hung/2"], ["here/1"], ["here/2"]]
    assert redelivery.busy
    store.answer.set()
    await redelivery.close()
    assert [leases for leases, _ in store.asked[3:]] == [["hung/3"]]
    assert not redelivery.busy
