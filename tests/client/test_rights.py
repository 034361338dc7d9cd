"""What the store's user has to be allowed: the line of the page is enough, and what lacks is named.

Rights are a node's own, so that each node of a cluster is told of.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import sharq
from sharq import AsyncSharQ, Batch, Settings
from sharq.engine import Engine
from sharq.errors import StoreDenied, StoreError, StoreOutcomeUnknown
from sharq.results import NewJob, Offer
from tests.support.loops import eventually, on_loop
from tests.support.lua_source import tokens
from tests.support.stores import PrivateCluster, PrivateStore

PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
LUA = Path(sharq.__file__).parent / "lua"
TRIED = LUA / "rights.lua"

# One command each; a pattern stands for those of its kind.
RULES = re.findall(r"^user sharq on >\S+ (.+?)^```$", PAGE, re.M | re.S)[0].split()
COMMANDS = [rule[1:] for rule in RULES if rule[0] == "+"]
ONLY_SOMETIMES = {"select", "cluster|slots", "cluster|info", "role"}


class Users:
    """A store with the user of the page. Its rights can be taken and given."""

    def __init__(self, *stores: PrivateStore) -> None:
        self.stores = stores
        self.reset()

    def rule(self, *rules: str) -> None:
        for store in self.stores:
            store.command("ACL", "SETUSER", "sharq", *rules)

    def reset(self) -> None:
        self.rule("reset", "on", ">secret", *RULES)
        for store in self.stores:
            store.command("ACL", "LOG", "RESET")

    def refused(self) -> list[Any]:
        return [entry for store in self.stores for entry in store.command("ACL", "LOG")]


@pytest.fixture(scope="module")
def one() -> Iterator[PrivateStore]:
    with PrivateStore(tcp=True) as store:
        yield store


@pytest.fixture
def users(one: PrivateStore) -> Users:
    one.client.flushall()
    return Users(one)


class Watcher:
    """Counts what a server is told."""

    def __init__(self) -> None:
        self.woken: list[str] = []
        self.listening = asyncio.Event()

    def on_wake(self, queue_type: str) -> None:
        self.woken.append(queue_type)

    def on_listening(self) -> None:
        self.listening.set()

    def on_deaf(self) -> None:
        self.listening.clear()


class ServerQueue(AsyncSharQ):
    """The library over a server's engine, with what servers alone do."""

    async def dispatch(self, queue_type: str, count: int, seq: int) -> Batch:
        engine = self._engine
        return await engine.run(
            engine.flows.dispatch(queue_type, count, engine.server_id, seq, None, False)
        )

    async def offer(self, queue_type: str, wanted: int, offered: int, offer_ms: int) -> Offer:
        engine = self._engine
        return await engine.run(
            engine.flows.offer(queue_type, engine.server_id, wanted, offered, offer_ms)
        )

    async def hand_on(self, offered: dict[str, int]) -> None:
        engine = self._engine
        await engine.run(engine.flows.hand_on(offered, engine.server_id))


@asynccontextmanager
async def server(store: PrivateStore, **more: Any) -> AsyncIterator[tuple[ServerQueue, Watcher]]:
    """A client of the store that listens, as a server does, under the user of the page."""
    redis = {"conn_type": "tcp_sock", "host": store.host, "port": store.port}
    user = {"username": "sharq", "password": "secret"}
    engine = Engine.for_server(
        Settings.from_mapping({"redis": redis | user | more, "sharq": {"job_expire_interval": 200}})
    )
    watcher = Watcher()
    engine.watch(watcher)
    async with ServerQueue.over(engine) as queue:
        yield queue, watcher


async def everything(queue: ServerQueue, watcher: Watcher) -> None:
    """Each operation of a server and of the library, with a wake-up."""
    async with asyncio.timeout(10):
        await watcher.listening.wait()
    for queue_type in ("a", "b", "c"):
        assert not await queue.dispatch(queue_type, 1, 1)
        names = queue_type, "q"
        jobs = [NewJob(*names, f"j{at}", b"[%d]" % at, 0, -1) for at in range(6)]
        assert (await queue.submit(jobs[0])).outcome == "queued"
        async with asyncio.timeout(10):
            while queue_type not in watcher.woken:
                await asyncio.sleep(0.01)
        await queue.submit_many(jobs)
        batch = await queue.dispatch(queue_type, 3, 2)
        leases = batch.leases(0, len(batch))
        assert len(leases) == 3
        await queue.extend_many(leases, 1000)
        await queue.finish_job(*names, "j0")
        await queue.finish_many(leases[1:2])
        await queue.release_many(leases[2:], delay=50)
        await queue.take(queue_type, 1, request_id="r")
        await queue.offer(queue_type, 5, 0, 250)
        await queue.hand_on({queue_type: 0})
        assert (await queue.job_status(*names, "j0")).state == "finished"
        await queue.set_interval(*names, 10)
        await queue.reset_interval(*names)
        await queue.queue_metrics(*names)
        await queue.get_queue_length(*names)
        assert await queue.queue_ids(queue_type)
    assert set((await queue.overview()).queue_types) >= {"a", "b", "c"}
    await asyncio.sleep(0.25)
    assert await queue.requeue() is None
    await queue.sweep()
    for queue_type in ("a", "b", "c"):
        await queue.clear(queue_type, "q", purge_all=True)
    await queue.ping()


class TestTheLineOfThePage:
    @on_loop
    async def test_is_enough_for_everything(
        self, users: Users, one: PrivateStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with server(one) as (queue, watcher):
            await everything(queue, watcher)
        assert users.refused() == []
        assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []

    @on_loop
    async def test_is_enough_on_a_cluster(
        self, cluster: PrivateCluster, caplog: pytest.LogCaptureFixture
    ) -> None:
        users = Users(*cluster.nodes)
        async with server(cluster.nodes[0], clustered=True) as (queue, watcher):
            await everything(queue, watcher)
        assert users.refused() == []
        assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []

    def test_has_all_that_the_scripts_call(self) -> None:
        called: set[str] = set()
        for path in LUA.rglob("*.lua"):
            found = tokens(path.read_text())
            for function, bracket, word in zip(found, found[1:], found[2:], strict=False):
                is_call = function.text in ("call", "pcall") and bracket.text == "("
                if is_call and word.kind == "string":
                    called.add(word.text.lower())
        of_the_connection = {"ping", "eval", "evalsha", "script|load", "subscribe"}
        assert called | of_the_connection | ONLY_SOMETIMES == set(COMMANDS)

    def test_has_all_that_is_tried(self) -> None:
        tried = set(re.findall(r"'([A-Z][A-Z ]*[A-Z])", TRIED.read_text()))
        rules = {name.lower().replace(" ", "|") for name in tried}
        # What waits for replicas is tried as well, where it is used: `INFO` and a command of two.
        assert rules == (set(COMMANDS) - {"select", "role"}) | {"info"}


def is_old(store: PrivateStore) -> bool:
    """Whether it is a Redis of before 7, where a script finds out by trying."""
    return bool(store.client.info("server")["redis_version"].startswith("6."))


async def complaints(store: PrivateStore, caplog: pytest.LogCaptureFixture, **more: Any) -> str:
    """What is logged when a server connects."""
    caplog.clear()
    async with server(store, **more) as (queue, watcher):
        with suppress(StoreError):
            await queue.ping()
        await eventually(
            "wake-ups arrive, or not",
            lambda: watcher.listening.is_set() or "No wake-ups" in caplog.text,
        )
    return "\n".join(r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR)


class TestAMissingRight:
    @pytest.mark.parametrize("command", [c for c in COMMANDS if c not in ONLY_SOMETIMES])
    def test_is_named(
        self,
        command: str,
        users: Users,
        one: PrivateStore,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        old = is_old(one)
        if old and command == "eval":
            pytest.skip("No script can try it, and it is sent to a store in doubt alone")
        # Old stores know no rule that takes a part of a command.
        users.rule(f"-{command.split('|')[0] if old else command}")
        said = asyncio.run(complaints(one, caplog))
        ours = f"The store user `sharq` may not run {command.replace('|', ' ').upper()}"
        if command in ("script|load", "evalsha") or (old and command == "subscribe"):
            # It cannot be asked: the store's own words.
            assert re.search(rf"NOPERM .*'{command.split('|')[0]}", said), said
        else:
            assert ours in said
            assert f"give it `+{command}" in said

    def test_of_a_cluster_is_named(
        self, cluster: PrivateCluster, caplog: pytest.LogCaptureFixture
    ) -> None:
        users = Users(*cluster.nodes)
        if is_old(cluster.nodes[0]):
            pytest.skip("No script can try it; the link tells in the store's words")
        users.rule("-cluster|slots", "-cluster|info")
        try:
            said = asyncio.run(complaints(cluster.nodes[0], caplog, clustered=True))
        finally:
            users.reset()
        for command in ("slots", "info"):
            assert f"may not run CLUSTER {command.upper()}; give it `+cluster|{command}`" in said

    @pytest.mark.parametrize(
        ("rules", "hint"),
        [
            (["resetchannels"], "use the channels `{sharq_server}:wake:*`"),
            (["resetkeys", "~{sharq_server}:*"], "use the keys `{sharq_server:*`"),
            (["resetkeys", "~{sharq_server:*"], "use the keys `{sharq_server}:*`"),
        ],
    )
    def test_to_keys_and_channels_is_named(
        self,
        rules: list[str],
        hint: str,
        users: Users,
        one: PrivateStore,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        users.rule(*rules)
        if is_old(one):
            hint = hint.replace("use the channels", "run PUBLISH on")
        said = asyncio.run(complaints(one, caplog))
        assert f"The store user `sharq` may not {hint}; give it" in said

    def test_on_one_node_of_a_cluster_is_named_with_it(
        self, cluster: PrivateCluster, caplog: pytest.LogCaptureFixture
    ) -> None:
        users = Users(*cluster.nodes)
        node = cluster.nodes[1]
        node.command("ACL", "SETUSER", "sharq", "resetchannels")
        try:
            said = asyncio.run(complaints(cluster.nodes[0], caplog, clustered=True))
        finally:
            users.reset()
        lines = [line for line in said.splitlines() if re.search("may not .*:wake:", line)]
        assert len(lines) == 1
        assert f":{node.port}:" in lines[0]

    def test_is_said_once_and_again_when_it_has_changed(
        self, users: Users, one: PrivateStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def reconnect(queue: ServerQueue, *rules: str) -> list[str]:
            caplog.clear()
            users.rule(*rules)
            one.command("CLIENT", "KILL", "USER", "sharq")
            async with asyncio.timeout(10):
                while True:
                    try:
                        await queue.ping()
                        break
                    except StoreError:
                        await asyncio.sleep(0.01)
            return [r.getMessage() for r in caplog.records if "may not" in r.getMessage()]

        async def live() -> None:
            users.rule("-lpos")
            async with server(one) as (queue, _):
                await queue.ping()
                assert await reconnect(queue) == []
                assert len(await reconnect(queue, "-ltrim")) == 2
                assert await reconnect(queue, "+lpos", "+ltrim") == []
                assert len(await reconnect(queue, "-lpos")) == 1

        asyncio.run(live())

    def test_leaves_the_store_as_it_is(self, users: Users, one: PrivateStore) -> None:
        users.rule("-lpos")

        async def live() -> None:
            async with server(one) as (queue, _):
                await queue.ping()

        asyncio.run(live())
        assert one.command("DBSIZE") == 0


class TestWithoutChannelRights:
    """Somebody waits, and may not be told."""

    @on_loop
    async def test_an_enqueue_is_carried_out_and_answered_so(
        self, users: Users, one: PrivateStore
    ) -> None:
        async with server(one) as (queue, watcher):
            async with asyncio.timeout(10):
                await watcher.listening.wait()
            assert not await queue.dispatch("a", 1, 1)
            users.rule("resetchannels")
            outcome = await queue.submit(NewJob("a", "q", "j", b"1", 0, -1))
            assert outcome.outcome == "queued"
            assert await queue.get_queue_length("a", "q") == 1
            assert len(await queue.dispatch("a", 1, 2)) == 1
        assert "SharQ: nobody is woken: " in one.log()

    @on_loop
    async def test_the_others_too(self, users: Users, one: PrivateStore) -> None:
        async with server(one) as (queue, watcher):
            async with asyncio.timeout(10):
                await watcher.listening.wait()
            jobs = [NewJob("a", "q", f"j{at}", b"1", 0, -1) for at in range(3)]
            await queue.submit_many(jobs)
            batch = await queue.take("a", 3)
            users.rule("resetchannels")
            leases = batch.leases(0, 3)
            for number, act in enumerate(
                (
                    lambda: queue.release_job("a", "q", "j0"),
                    lambda: queue.release_many(leases[1:2]),
                    lambda: queue.submit_many([NewJob("a", "q", "k", b"1", 0, -1)] * 2),
                    lambda: queue.set_interval("a", "q", 0),
                    lambda: queue.hand_on({"a": 0}),
                    queue.requeue,
                )
            ):
                # A server that has asked for more than there is waits.
                taken = await queue.dispatch("a", 64, 10 + number)
                assert taken.wait_us != 0
                await act()


class TestARefusalInTheMiddle:
    @on_loop
    async def test_leaves_the_outcome_unknown(self, users: Users, one: PrivateStore) -> None:
        async with server(one) as (queue, _):
            await queue.ping()
            # After the job was written its queue is put into the schedule.
            users.rule("-zadd")
            with pytest.raises(StoreOutcomeUnknown) as caught:
                await queue.submit(NewJob("a", "q", "j", b"1", 0, -1))
            assert isinstance(caught.value, StoreDenied)
            assert caught.value.code == "store_auth"
            users.rule("+zadd", "-evalsha")
            with pytest.raises(StoreDenied) as refused:
                await queue.get_queue_length("a", "q")
            assert not refused.value.outcome_unknown
