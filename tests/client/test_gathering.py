"""Callers whose leases share a call: the order of one's own, and calls that cannot be made."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sharq import AsyncSharQ, Settings
from sharq.engine import Engine
from sharq.gathering import Gathering
from sharq.results import ALREADY_FINISHED, INVALID, NOT_ACTIVE, SUCCESS, Ended, Lease
from tests.support.faces import settings_for
from tests.support.loops import on_loop
from tests.support.stores import PrivateCluster, PrivateStore


@pytest.fixture
def settings(clean_store: PrivateStore) -> Settings:
    return settings_for(clean_store)


@pytest.fixture(params=["one server", "cluster"])
def either(request: pytest.FixtureRequest) -> Settings:
    """Settings for either kind of store."""
    if request.param == "one server":
        chosen: Settings = request.getfixturevalue("settings")
        return chosen
    cluster: PrivateCluster = request.getfixturevalue("cluster")
    redis = {"port": cluster.ports[0], "clustered": True, "key_prefix": secrets.token_hex(4)}
    return Settings.from_mapping({"redis": redis, "sharq": {"enable_requeue_script": False}})


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Engine]:
    engine = Engine.for_server(settings)
    async with AsyncSharQ.over(engine):
        await engine.ping()
        yield engine


async def broken(_flow: Any) -> Any:
    raise ZeroDivisionError


@on_loop
async def test_what_one_says_next_comes_after_what_was_gathered(either: Settings) -> None:
    async with running(either) as engine:
        sq = AsyncSharQ.over(engine)
        await sq.submit_many([sq.new_job(b"1", 0, f"j{at}", f"q{at}", "t") for at in range(2)])
        first, second = (job.lease for job in (await sq.take("t", 2)).jobs)
        told = [engine.gathering.finish(one, [lease]) for one, lease in ((1, first), (2, second))]
        engine.gathering.send_those_of(2)
        cancelled = await engine.run(engine.flows.cancel_many([Lease("t", "q1", "j1", "")]))
        assert cancelled == [Ended(ALREADY_FINISHED)]
        assert [await each for each in told] == [[Ended(SUCCESS)]] * 2


@on_loop
async def test_leases_of_several_types_and_none_are_answered(either: Settings) -> None:
    async with running(either) as engine:
        leases = [*(f"t{at}/q/j/1" for at in range(20)), "", "t/q"]
        ended = await engine.gathering.finish("one", leases)
        assert [each.outcome for each in ended if isinstance(each, Ended)] == [
            *[NOT_ACTIVE] * 20,
            INVALID,
            INVALID,
        ]
        assert len(await engine.gathering.extend("one", leases, 5)) == 22
        assert await engine.gathering.finish("one", ["t/q"]) == [Ended(INVALID)]


@on_loop
async def test_an_error_of_our_own_is_told_to_all(settings: Settings) -> None:
    gathering = Gathering(Engine.for_server(settings).flows, broken)
    told = await asyncio.gather(
        gathering.finish("one", ["t/q/a/1"]),
        gathering.finish("two", ["t/q/b/1"]),
        gathering.extend("three", ["t/q/c/1"], 5),
        return_exceptions=True,
    )
    assert [type(each) for each in told] == [ZeroDivisionError] * 3


@on_loop
async def test_who_has_gone_does_not_keep_the_others_from_theirs(settings: Settings) -> None:
    async with running(settings) as engine:
        gone = asyncio.ensure_future(engine.gathering.finish("one", ["t/q/a/1"]))
        other = engine.gathering.finish("two", ["t/q/b/1", "t/q/c/1"])
        gone.cancel()
        assert await other == [Ended(NOT_ACTIVE)] * 2
