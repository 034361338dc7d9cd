"""What is acknowledged only when replicas have it (`replicas_acked`): the library, both faces.

One primary with a replica is shared: each test mends what it has harmed.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import hiredis
import pytest

from sharq import AsyncSharQ, Settings, SharQ
from sharq.deployment import Deployment
from sharq.errors import (
    StoreDenied,
    StoreError,
    StoreFull,
    StoreOutcomeUnknown,
    StoreUnavailable,
    TooFewReplicas,
)
from sharq.identifiers import find_lease
from sharq.operations.call import Call, no_promise
from sharq.operations.operations import Operations
from sharq.operations.targets import Target
from sharq.results import ACTIVE, DUPLICATE, QUEUED, SUCCESS, NewJob
from sharq.settings.options import StoreSettings
from sharq.store.blocking_link import SyncLink
from sharq.store.cluster import open_link
from sharq.store.confirming import PROCESS, Terms, touch_by_script
from sharq.store.link import Link
from sharq.store.script_loading import pack
from tests.client.test_cluster_link import open_kind
from tests.client.test_rights import RULES
from tests.support.clusters import ReplicatedCluster
from tests.support.faces import Blocking, Face
from tests.support.failovers import settings_of, stand
from tests.support.loops import eventually, on_loop
from tests.support.replicas import PrivateReplicas
from tests.support.sentinels import follow
from tests.support.stores import PrivateStore, wait_for

OPEN: dict[str, Callable[..., Face]] = {"asyncio": Blocking, "blocking": SharQ}


@contextmanager
def opened(kind: str, settings: Settings) -> Iterator[Face]:
    face = OPEN[kind](settings)
    try:
        yield face
    finally:
        face.close()


@pytest.fixture(params=OPEN)
def queue(request: pytest.FixtureRequest, stores: PrivateReplicas) -> Iterator[Face]:
    with opened(request.param, stores.settings()) as face:
        yield face


def job(job_id: str, queue_id: str = "q", queue_type: str = "t") -> NewJob:
    return NewJob(queue_type, queue_id, job_id, b"{}", 0, -1)


def operations_of(settings: Settings) -> Operations:
    return Deployment.read(settings).operations()


def link_of(stores: PrivateReplicas, timeout: float = 5.0, **redis: Any) -> Link:
    settings = stores.settings(**redis)
    scripts = Deployment.read(settings).scripts
    link = open_link(settings.redis, scripts.by_digest, timeout=timeout)
    assert isinstance(link, Link)
    return link


def reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)


# ---- as long as replicas answer ----


def test_what_is_acknowledged_is_on_the_replica(queue: Face, stores: PrivateReplicas) -> None:
    for number in range(200):
        assert queue.submit(job(f"j{number}")).outcome == QUEUED
        assert f"j{number} ".encode() in written(stores.replica, "q")
    taken = queue.take("t", 10)
    assert len(taken) == 10
    assert stores.replica.client.zcard("{sharq_server:t}:leases") == 10
    for number, token in enumerate(taken.leases(0, 10)):
        (ended,) = queue.finish_many([token])
        assert ended.outcome == SUCCESS
        assert stores.replica.client.zcard("{sharq_server:t}:leases") == 9 - number


def test_it_leaves_no_key(queue: Face, stores: PrivateReplicas) -> None:
    queue.submit(job("j"))
    for node in stores.nodes:
        assert node.client.keys("*acked*") == []


def written(store: PrivateStore, queue_id: str) -> bytes:
    """The names of the waiting jobs of a queue, as they are in a store."""
    jobs: Any = store.client.hgetall(f"{{sharq_server:t}}:j:{queue_id}")
    state: Any = store.client.get(f"{{sharq_server:t}}:q:{queue_id}")
    return b" ".join([*jobs, *jobs.values(), state or b"", b""])


@pytest.mark.parametrize("kind", OPEN)
def test_without_it_no_replica_is_asked(kind: str, stores: PrivateReplicas) -> None:
    waits = stores.waits()
    infos, scripts = stores.calls("info"), stores.calls("eval")
    with opened(kind, stores.settings(0)) as queue:
        queue.submit(job("j"))
        queue.finish_many(queue.take("t", 1).leases(0, 1))
        queue.ping()
        scripts_run = stores.calls("evalsha")
        queue.ping()
        assert stores.calls("evalsha") == scripts_run + 1
    assert stores.waits() == waits
    assert stores.calls("eval") == scripts
    # These are of this test.
    assert stores.calls("info") - infos == 7


def test_the_touch_is_a_message_where_replicas_get_those(
    queue: Face, stores: PrivateReplicas
) -> None:
    queue.submit(job("before"))
    messages, scripts = stores.calls("publish"), stores.calls("eval")
    for number in range(5):
        queue.submit(job(f"j{number}"))
    assert (stores.calls("publish") - messages, stores.calls("eval") - scripts) == (5, 0)


@pytest.mark.parametrize("kind", OPEN)
def test_a_user_who_may_not_publish_touches_by_a_script(kind: str, stores: PrivateReplicas) -> None:
    stores.primary.command("ACL", "SETUSER", "mute", "on", ">pw", "~*", "&*", "+@all", "-publish")
    try:
        with opened(kind, stores.settings(username="mute", password="pw")) as queue:
            queue.submit(job("before"))
            scripts = stores.calls("eval")
            stores.replica.pause()
            with SharQ(stores.settings(0)) as other:
                assert other.submit(job("theirs")).outcome == QUEUED
            with ThreadPoolExecutor(1) as pool:
                again = pool.submit(queue.submit, job("theirs"))
                wait_for("it is asked", lambda: blocked(stores.primary) == 1)
                stores.replica.resume()
                assert again.result().outcome == DUPLICATE
            assert stores.calls("eval") - scripts == 1
    finally:
        stores.primary.command("ACL", "DELUSER", "mute")


@pytest.mark.parametrize(
    ("shown", "by_message"),
    [
        ([7, None, 9], True),
        ([7, None, 7], False),
        ([7, StoreDenied("NOPERM"), 9], False),
        ([StoreDenied("NOPERM"), None, 9], False),
        ([7, None, StoreUnavailable()], False),
        ([], False),
    ],
    ids=str,
)
def test_only_what_moves_the_position_is_a_touch(shown: list[Any], by_message: bool) -> None:
    terms = Terms(1, False, b"{p}:wake:.acked")
    assert (terms.touch(shown) is not touch_by_script) == by_message


@pytest.mark.parametrize(
    ("durable", "mode", "asked"),
    [
        (False, b"server_mode:standalone", True),
        (False, b"redis_mode:standalone", True),
        (False, b"redis_mode:cluster", False),
        (False, b"server_mode:cluster", False),
        (False, b"", False),
        (True, b"server_mode:standalone", False),
    ],
)
def test_a_message_is_tried_where_it_may_be_a_touch(
    durable: bool, mode: bytes, asked: bool
) -> None:
    process = PROCESS.parse(b"# Server\r\n" + mode + b"\r\nrun_id:abc\r\n")
    assert process.run_id == b"abc"
    assert bool(Terms(1, durable, b"{p}:wake:.acked").proof(process)) == asked


def test_reading_asks_no_replica(queue: Face, stores: PrivateReplicas) -> None:
    queue.submit(job("j"))
    waits = stores.waits()
    assert queue.queue_length("t", "q") == 1
    assert queue.job_status("t", "q", "j").state == "queued"
    queue.overview()
    queue.queue_page("t")
    queue.job_page("t", "q")
    queue.limits("t", "q")
    queue.dead_page("t")
    assert stores.waits() == waits


def test_whether_the_store_takes_writes_is_asked_of_the_replicas_too(
    queue: Face, stores: PrivateReplicas
) -> None:
    queue.submit(job("j"))
    waits = stores.waits()
    queue.ping()
    assert stores.waits() == waits + 1


def test_a_write_that_no_replica_confirms_is_told_of_in_a_second(
    queue: Face, stores: PrivateReplicas
) -> None:
    queue.ping()
    stores.replica.pause()
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(TooFewReplicas):
            queue.ping()
        assert time.monotonic() - began < 1.5
    stores.replica.resume()
    wait_for("it takes writes", lambda: _takes_writes(queue))


def _takes_writes(queue: Face) -> bool:
    with suppress(TooFewReplicas):
        queue.ping()
        return True
    return False


@on_loop
async def test_calls_of_one_turn_are_confirmed_together(stores: PrivateReplicas) -> None:
    async with AsyncSharQ(stores.settings()) as queue:
        await queue.submit(job("first", queue_type="together"))
        waits = stores.waits()
        jobs = [job(f"j{at}", f"q{at}", "together") for at in range(300)]
        outcomes = await asyncio.gather(*map(queue.submit, jobs))
        assert {each.outcome for each in outcomes} == {QUEUED}
        assert 1 <= stores.waits() - waits <= 6
        waits = stores.waits()
        await asyncio.gather(*[queue.queue_length("together", f"q{at}") for at in range(20)])
        # A dequeue without a job promises nothing.
        assert len(await queue.take("empty", 1)) == 0
        assert stores.waits() == waits


def test_calls_that_leave_together_have_one_wait(queue: Face, stores: PrivateReplicas) -> None:
    jobs = [job(f"j{at}", f"q{at}", f"t{at % 3}") for at in range(600)]
    queue.submit_many(jobs[:3])
    waits = stores.waits()
    assert {each.outcome for each in queue.submit_many(jobs[3:])} == {QUEUED}
    assert stores.waits() - waits <= 3


def test_threads_share_a_blocking_link(stores: PrivateReplicas) -> None:
    with SharQ(stores.settings()) as queue, ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda at: queue.submit(job(f"j{at}", f"q{at % 5}")), range(200)))
    assert {each.outcome for each in outcomes} == {QUEUED}
    assert all(f"j{at}".encode() in written(stores.replica, f"q{at % 5}") for at in range(200))


# ---- a replica that hangs ----


def changes(queue: SharQ) -> dict[str, Callable[[], Any]]:
    """An operation of each kind that has something to change, once."""
    queue.submit_many([job(f"j{at}", f"q{at}") for at in range(9)])
    queue.fail_many(queue.take("t", 1).leases(0, 1), retry=False)
    (dead,) = queue.dead_page("t").letters
    tokens = queue.take("t", 5).leases(0, 5)
    return {
        "enqueue": lambda: queue.submit(job("new", "new")),
        "enqueue, many": lambda: _first(queue.submit_many([job("many", "many")])),
        "enqueue, again": lambda: queue.submit(job("j8", "q8")),
        "finish": lambda: _first(queue.finish_many([tokens[0]])),
        "release": lambda: _first(queue.release_many([tokens[1]], delay=60_000)),
        "fail": lambda: _first(queue.fail_many([tokens[2]], delay=60_000)),
        "extend": lambda: _first(queue.extend_many([tokens[3]], 90_000)),
        "interval": lambda: queue.set_interval("t", "q8", 5),
        "limits": lambda: queue.set_limits("t", "q8", burst=2),
        "pause": lambda: queue.pause("t", "q8"),
        "clear": lambda: queue.clear("t", "q7"),
        "cancel": lambda: queue.cancel_job("t", "q6", "j6", None),
        "retry": lambda: _first(queue.retry_dead("t", [(dead.queue_id, dead.job_id)])),
        "dequeue": lambda: queue.take("t", 1),
    }


def _is_there(queue: Face, name: str) -> bool:
    return queue.job_status("t", name, name).state in (QUEUED, ACTIVE)


def _first(results: list[Any]) -> Any:
    if isinstance(results[0], StoreError):
        raise results[0]
    return results[0]


def test_nothing_is_acknowledged_while_the_replica_hangs(stores: PrivateReplicas) -> None:
    with SharQ(stores.settings()) as queue, SharQ(stores.settings(0)) as plain:
        stores.primary.load_scripts()
        work = changes(queue)
        stores.replica.pause()
        with ThreadPoolExecutor(len(work)) as pool:
            began = time.monotonic()
            futures: dict[str, Future[Any]] = {
                name: pool.submit(each) for name, each in work.items()
            }
            # The primary has carried it out, and readers see it, with and without the option.
            for reader in (plain, queue):
                wait_for("it is done", partial(_is_there, reader, "new"))
            read_in = time.monotonic() - began
            told = {name: type(future.exception()) for name, future in futures.items()}
        took = time.monotonic() - began
    assert told == dict.fromkeys(work, StoreOutcomeUnknown)
    for future in futures.values():
        assert str(future.exception()).startswith("Too few replicas confirmed it in time;")
    assert (read_in < 4, took < 7) == (True, True)


@on_loop
async def test_nothing_is_acknowledged_in_a_loop_while_the_replica_hangs(
    stores: PrivateReplicas,
) -> None:
    operations = operations_of(stores.settings())
    link = link_of(stores, timeout=2.0)
    await link.start()
    try:
        await link.run(operations.enqueue("t", [job(f"j{at}") for at in range(7)]))
        taken = await link.run(operations.dequeue("t", 5))
        meant = [lease for token in taken.leases(0, 5) if (lease := find_lease(token))]
        stores.replica.pause()
        calls: list[Any] = [
            operations.enqueue("t", [job("new", "new")]),
            operations.enqueue("t", [job("j6")]),
            operations.dequeue("t", 1),
            operations.dispatch("t", 1, ".s", 1, None, False),
            operations.finish_many("t", [meant[0]]),
            operations.finish(*meant[1]),
            operations.release("t", [meant[2]], 0, True),
            operations.extend("t", [meant[3]], 5_000),
            operations.pause("t", Target("type"), None, "", "api"),
            operations.register("new"),
        ]
        results = asyncio.gather(*(link.run_many([each]) for each in calls))
        await asyncio.sleep(0)
        async with asyncio.timeout(1):
            assert (await link.run(operations.status("t", "new", "new"))).state in (QUEUED, ACTIVE)
            nothing = await link.run(operations.dequeue("empty", 1))
            assert len(nothing) == 0
        assert [type(each) for (each,) in await results] == [StoreOutcomeUnknown] * len(calls)
        # By now it is known, and nothing more is carried out.
        with pytest.raises(TooFewReplicas) as caught:
            await link.run(operations.enqueue("t", [job("later", "later")]))
        assert not caught.value.outcome_unknown
        assert await link.run(operations.queue_length("t", "later")) == 0
        stores.replica.resume()
        await until_taken(lambda: link.run(operations.enqueue("t", [job("later", "later")])))
    finally:
        stores.replica.resume()
        await link.aclose()


async def until_taken(work: Callable[[], Any]) -> Any:
    """What it gives when replicas confirm again."""
    async with asyncio.timeout(10):
        while True:
            with suppress(TooFewReplicas):
                return await work()
            await asyncio.sleep(0.01)


def test_a_replica_that_is_back_is_waited_for(queue: Face, stores: PrivateReplicas) -> None:
    assert queue.submit(job("before")).outcome == QUEUED
    stores.replica.pause()
    timer = threading.Timer(0.7, stores.replica.resume)
    timer.start()
    began = time.monotonic()
    assert queue.submit(job("meanwhile")).outcome == QUEUED
    assert 0.6 < time.monotonic() - began < 4
    timer.join()


def test_what_is_refused_while_replicas_are_away_changes_nothing(
    queue: Face, stores: PrivateReplicas
) -> None:
    assert queue.submit(job("before")).outcome == QUEUED
    stores.replica.pause()
    with pytest.raises(StoreOutcomeUnknown):
        queue.submit(job("unknown"))
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(TooFewReplicas) as caught:
            queue.take("t", 1)
        assert not caught.value.outcome_unknown
        assert time.monotonic() - began < 2
    assert stores.primary.client.zcard("{sharq_server:t}:leases") == 0
    assert queue.queue_length("t", "q") == 2
    stores.replica.resume()
    # A repetition of what is there already tells that it is accepted, and now replicas have it.
    wait_for("it is taken again", lambda: _accepted(queue, job("unknown")))
    assert b"unknown" in written(stores.replica, "q")


def _accepted(queue: Face, wanted: NewJob) -> bool:
    with suppress(TooFewReplicas):
        return str(queue.submit(wanted).outcome) in (QUEUED, DUPLICATE)
    return False


def test_what_others_have_written_is_confirmed_too(queue: Face, stores: PrivateReplicas) -> None:
    """That a job is there already is no news of the one who hears it."""
    queue.submit(job("before"))
    with SharQ(stores.settings(0)) as other:
        stores.replica.pause()
        assert other.submit(job("theirs")).outcome == QUEUED
    waits = stores.waits()
    with ThreadPoolExecutor(1) as pool:
        again = pool.submit(queue.submit, job("theirs"))
        wait_for("it is asked", lambda: blocked(stores.primary) == 1)
        assert not again.done()
        stores.replica.resume()
        assert again.result().outcome == DUPLICATE
    assert stores.waits() > waits
    assert b"theirs" in written(stores.replica, "q")


def blocked(store: PrivateStore) -> int:
    clients: Any = store.client.info("clients")
    return int(clients["blocked_clients"])


# ---- connections and primaries that are lost ----


@pytest.mark.parametrize("kind", OPEN)
def test_no_acknowledged_job_is_lost_with_the_primary(kind: str, stores: PrivateReplicas) -> None:
    for number in range(8):
        acked: list[str] = []
        with opened(kind, stores.settings()) as queue:
            killing = threading.Timer(0.03 * (1 + number % 4), stores.primary.kill)
            with suppress(StoreError):
                for at in range(100_000):
                    if at == 2:
                        assert len(acked) == 2
                        killing.start()
                    name = f"j{at}"
                    if queue.submit(job(name, f"{number}")).outcome in (QUEUED, DUPLICATE):
                        acked.append(name)
            killing.join()
        wait_for("it is dead", lambda: not alive(stores.primary))
        former = stores.nodes.pop(0)
        stores.nodes.append(former)
        stores.primary.command("REPLICAOF", "NO", "ONE")
        with SharQ(stores.settings(0)) as reader:
            lost = [
                each for each in acked if reader.job_status("t", f"{number}", each).state != QUEUED
            ]
        assert lost == []
        stores.mend()


def alive(store: PrivateStore) -> bool:
    return store._process is not None


@on_loop
async def test_many_callers_lose_no_acknowledged_job_with_the_primary(
    stores: PrivateReplicas,
) -> None:
    acked: list[str] = []

    async def produce(queue: AsyncSharQ, producer: int) -> None:
        with suppress(StoreError):
            for at in range(100_000):
                await queue.submit(job(f"{producer}-{at}", f"q{producer}"))
                acked.append(f"{producer}-{at}")

    async with AsyncSharQ(stores.settings()) as queue:
        producing = asyncio.gather(*(produce(queue, each) for each in range(20)))
        await eventually("jobs are acknowledged", lambda: len(acked) > 300)
        await asyncio.to_thread(stores.primary.kill)
        await producing
    stores.nodes.append(stores.nodes.pop(0))
    stores.primary.command("REPLICAOF", "NO", "ONE")
    operations = operations_of(stores.settings(0))
    link = link_of(stores, acked=0)
    await link.start()
    calls = [operations.status("t", f"q{each.partition('-')[0]}", each) for each in acked]
    states = [
        each.state if not isinstance(each, StoreError) else each
        for each in await link.run_many(calls)
    ]
    await link.aclose()
    assert [each for each in states if each != QUEUED] == []


@on_loop
async def test_answers_are_not_confirmed_over_another_connection(stores: PrivateReplicas) -> None:
    """When the one that confirms is lost, what is repeatable is sent again."""
    operations = operations_of(stores.settings())
    link = link_of(stores)
    await link.start()
    try:
        await link.run(operations.enqueue("t", [job("j")]))
        (lease,) = map(find_lease, (await link.run(operations.dequeue("t"))).leases(0, 1))
        assert lease is not None
        stores.replica.pause()
        finish = asyncio.ensure_future(link.run_many([operations.finish(*lease)]))
        enqueue = asyncio.ensure_future(link.run(operations.enqueue("t", [job("k")])))
        await eventually("the primary waits", lambda: blocked(stores.primary) == 1)
        (waiting,) = [
            each
            for each in stores.primary.client.client_list()
            if each["cmd"] == "wait" and "b" in each["flags"]
        ]
        stores.primary.command("CLIENT", "KILL", "ID", waiting["id"])
        ((ended,),) = [await finish]
        assert type(ended) is StoreOutcomeUnknown
        assert not enqueue.done()
        stores.replica.resume()
        assert [each.outcome for each in await enqueue] == [DUPLICATE]
    finally:
        stores.replica.resume()
        await link.aclose()


@on_loop
async def test_both_connections_lead_to_one_store(stores: PrivateReplicas) -> None:
    """A name may lead to one node now and to another one a moment later."""
    with PrivateStore(tcp=True) as other:
        places = [stores.primary.port, other.port]
        carrying: list[Any] = []

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            port = places[len(carrying) % 2]
            carrying.append(asyncio.current_task())
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(pour(reader, far_writer), pour(far_reader, writer))

        server = await asyncio.start_server(carry, "127.0.0.1")
        port = server.sockets[0].getsockname()[1]
        link = link_of(stores, port=port)
        await link.start()
        with pytest.raises(StoreUnavailable) as caught:
            await link.run(operations_of(stores.settings()).enqueue("t", [job("j")]))
        assert "lead to different stores" in str(caught.value) + reason(caught.value)
        await link.aclose()
        server.close()
        await asyncio.wait(carrying)
    assert stores.primary.client.dbsize() == 0


async def pour(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    drops: Callable[[], bool] = lambda: False,
) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            if not drops():
                writer.write(data)
    writer.close()


class SlowReplicas:
    """A store that answers at once, and is asked for its replicas until `confirm`, or told how many
    `replicas` have everything.
    """

    def __init__(self) -> None:
        self.asked: list[asyncio.StreamWriter] = []
        self.refusal = ""
        self.replicas: int | None = None
        self.ended: set[asyncio.Task[Any]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.ended.add(task)
        commands = hiredis.Reader()
        with suppress(OSError):
            while data := await reader.read(65536):
                commands.feed(data)
                while (words := commands.gets()) is not False:
                    if words[:2] == [b"WAIT", b"1"] and self.replicas is None:
                        self.asked.append(writer)
                    elif words[0] == b"WAIT":
                        writer.write(b":%d\r\n" % (self.replicas or 0))
                    else:
                        writer.write(self._answer(words[0]))
        writer.close()

    def confirm(self) -> None:
        """Answer the one question that is open."""
        (writer,) = self.asked
        self.asked.clear()
        writer.write(b":1\r\n")

    def _answer(self, command: bytes) -> bytes:
        if self.refusal:
            return f"-{self.refusal}\r\n".encode()
        return b"$8\r\nrun_id:1\r\n" if command == b"INFO" else b"+OK\r\n"


@asynccontextmanager
async def slow_replicas() -> AsyncIterator[tuple[SlowReplicas, StoreSettings]]:
    store = SlowReplicas()
    server = await asyncio.start_server(store.serve, "127.0.0.1")
    place = {"host": "127.0.0.1", "port": server.sockets[0].getsockname()[1]}
    yield store, Settings.from_mapping({"redis": {**place, "replicas_acked": 1}}).redis
    server.close()
    await asyncio.wait(store.ended)


@pytest.mark.parametrize("refusal", ["MOVED 1 127.0.0.1:1", "READONLY", "CLUSTERDOWN"])
@pytest.mark.parametrize("blocking", [False, True])
@on_loop
async def test_callers_hear_themselves_that_another_node_is_the_primary(
    blocking: bool, refusal: str
) -> None:
    """A map of the slots is asked for when they do, so that nobody may be kept from it."""
    change: Call[bytes] = Call(pack(b"SET", b"{t}", b"1"), b"{t}", lambda reply: reply)
    async with slow_replicas() as (store, settings):
        store.replicas = 0
        link = Link(settings, {})
        await link.start()
        blocking_link = SyncLink(settings, {})

        async def told() -> Any:
            if blocking:
                (answer,) = await asyncio.to_thread(blocking_link.run_many, [change], 1.5)
                return answer
            return (await link.run_many([change]))[0]

        first = asyncio.ensure_future(told())
        async with asyncio.timeout(20):
            while not isinstance(await told(), TooFewReplicas):
                await asyncio.sleep(0.01)
            store.refusal = refusal
            while isinstance(error := await told(), TooFewReplicas):
                await asyncio.sleep(0.01)
        assert isinstance(error, StoreUnavailable)
        assert not error.outcome_unknown
        await link.aclose()
        blocking_link.close()
        assert isinstance(await first, StoreError)


@on_loop
async def test_an_answer_that_comes_after_the_question_waits_for_the_next_one() -> None:
    change: Call[bytes] = Call(pack(b"SET", b"{t}", b"1"), b"{t}", lambda reply: reply)
    read: Call[bytes] = change._replace(free=no_promise)
    async with slow_replicas() as (store, settings):
        link = Link(settings, {})
        await link.start()
        first = asyncio.ensure_future(link.run(change))
        await eventually("replicas are asked", lambda: store.asked)
        second = asyncio.ensure_future(link.run(change))
        # What reads comes behind it, and is answered.
        assert await link.run(read) == b"OK"
        assert (first.done(), second.done(), len(store.asked)) == (False, False, 1)
        store.confirm()
        assert await first == b"OK"
        await eventually("replicas are asked again", lambda: store.asked)
        assert not second.done()
        store.confirm()
        assert await second == b"OK"
        await link.aclose()


@on_loop
async def test_a_link_that_is_closed_confirms_what_it_can(stores: PrivateReplicas) -> None:
    operations = operations_of(stores.settings())
    for hangs in (False, True):
        link = link_of(stores)
        await link.start()
        await link.run(operations.enqueue("t", [job("first", "first")]))
        if hangs:
            stores.replica.pause()
        done = asyncio.ensure_future(link.run_many([operations.enqueue("t", [job(f"j{hangs}")])]))
        await asyncio.sleep(0)
        async with asyncio.timeout(4):
            await link.aclose()
        await asyncio.sleep(0)
        assert done.done()
        (result,) = await done
        assert isinstance(result, StoreOutcomeUnknown if hangs else list)


# ---- what else a store may be ----


def test_a_full_store_still_confirms_what_makes_room(queue: Face, stores: PrivateReplicas) -> None:
    queue.submit(job("j"))
    (lease,) = queue.take("t", 1).leases(0, 1)
    stores.primary.client.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreFull):
            queue.submit(job("k"))
        (ended,) = queue.finish_many([lease])
        assert ended.outcome == SUCCESS
    finally:
        stores.primary.client.config_set("maxmemory", 0)


def test_a_primary_without_enough_replicas_refuses(queue: Face, stores: PrivateReplicas) -> None:
    queue.submit(job("j"))
    stores.primary.client.config_set("min-replicas-to-write", 2)
    try:
        with pytest.raises(StoreUnavailable, match="NOREPLICAS") as caught:
            queue.submit(job("k"))
        assert not caught.value.outcome_unknown
    finally:
        stores.primary.client.config_set("min-replicas-to-write", 0)


@contextmanager
def alone(stores: PrivateReplicas) -> Iterator[None]:
    """The primary has lost its replica, and refuses changes without one."""
    stores.primary.client.config_set("min-replicas-to-write", 1)
    try:
        stores.replica.kill()
        wait_for("the primary knows", lambda: _good_replicas(stores) == 0)
        yield
    finally:
        stores.primary.client.config_set("min-replicas-to-write", 0)


def _good_replicas(stores: PrivateReplicas) -> int:
    info: Any = stores.primary.client.info("replication")
    return int(info.get("min_slaves_good_slaves", 0))


def test_what_is_refused_for_want_of_replicas_is_told_at_once(
    queue: Face, stores: PrivateReplicas
) -> None:
    queue.submit(job("j"))
    with alone(stores):
        began = time.monotonic()
        for number in range(3):
            with pytest.raises(StoreUnavailable, match="NOREPLICAS") as caught:
                queue.submit(job(f"k{number}"))
            assert not caught.value.outcome_unknown
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("by_script", [False, True])
@on_loop
async def test_callers_wait_once_for_replicas_that_are_gone(
    stores: PrivateReplicas, monkeypatch: pytest.MonkeyPatch, by_script: bool
) -> None:
    if by_script:  # as in a cluster: the primary refuses even to ask
        monkeypatch.setattr(Terms, "proof", lambda *_: [])
    async with AsyncSharQ(stores.settings()) as queue:
        await queue.submit(job("j"))
        with alone(stores):
            # That it is there already would have to be confirmed.
            with pytest.raises(StoreOutcomeUnknown, match="Too few replicas"):
                await queue.submit(job("j"))
            began = time.monotonic()
            for _ in range(3):
                with pytest.raises(TooFewReplicas):
                    await queue.submit(job("j"))
            assert time.monotonic() - began < 2
            await asyncio.to_thread(stores.replica.start)
            await asyncio.to_thread(follow, stores.replica, stores.primary)

            async def accepted() -> bool:
                with suppress(StoreUnavailable):
                    return (await queue.submit(job("j"))).outcome == DUPLICATE
                return False

            async with asyncio.timeout(20):
                while not await accepted():
                    await asyncio.sleep(0.05)


def test_a_blocking_caller_waits_once_for_replicas_that_are_gone(stores: PrivateReplicas) -> None:
    with SharQ(stores.settings()) as queue:
        queue.submit(job("j"))
        with alone(stores):
            # That it is there already would have to be confirmed.
            with pytest.raises(StoreOutcomeUnknown, match="Too few replicas"):
                queue.submit(job("j"))
            began = time.monotonic()
            for _ in range(5):
                with pytest.raises(TooFewReplicas):
                    queue.submit(job("j"))
            assert time.monotonic() - began < 2.5
            stores.replica.start()
            follow(stores.replica, stores.primary)
            wait_for("replicas confirm", lambda: _accepts(queue, job("j")), 20)


def test_replicas_that_hang_are_asked_by_one_blocking_caller_a_second(
    stores: PrivateReplicas,
) -> None:
    with SharQ(stores.settings()) as queue:
        queue.submit(job("j"))
        stores.replica.pause()
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(queue.submit, job("k"))
            wait_for("it is known", lambda: _is_refused(queue), 4)
            assert not first.done()
            assert isinstance(first.exception(), StoreOutcomeUnknown)
        began = time.monotonic()
        for _ in range(5):
            with pytest.raises(TooFewReplicas):
                queue.submit(job("l"))
        assert time.monotonic() - began < 2.5
        stores.replica.resume()
        wait_for("replicas confirm", lambda: _accepts(queue, job("k")), 20)


def _is_refused(queue: Face) -> bool:
    """Whether changes are refused before they are carried out; this one takes a second else."""
    try:
        queue.ping()
    except TooFewReplicas:
        return True
    return False


def test_a_node_whose_replicas_do_not_confirm_may_have_been_replaced(
    stores: PrivateReplicas,
) -> None:
    settings = stores.settings()
    operations, scripts = operations_of(settings), Deployment.read(settings).scripts.by_digest
    link = SyncLink(settings.redis, scripts, replaced=lambda: True)
    try:
        link.run(operations.enqueue("t", [job("j")]))
        (lease,) = link.run(operations.dequeue("t", 1)).leases(0, 1)
        meant = find_lease(lease)
        assert meant is not None
        stores.replica.pause()
        began = time.monotonic()
        with pytest.raises(StoreOutcomeUnknown):
            link.run(operations.finish(*meant))
        assert time.monotonic() - began < 3
    finally:
        link.close()


def test_scripts_that_were_flushed_are_no_hindrance(queue: Face, stores: PrivateReplicas) -> None:
    queue.submit(job("j"))
    stores.primary.client.script_flush()
    assert queue.submit(job("k")).outcome == QUEUED


@pytest.mark.parametrize("kind", OPEN)
def test_durable_replicas_are_asked_by_waitaof(kind: str) -> None:
    kept: dict[str, Any] = {"appendonly": True, "appendfsync": "always"}
    with PrivateReplicas(**kept) as stores:
        with opened(kind, stores.settings(replicas_durable="on")) as queue:
            before = stores.calls("wait")
            assert queue.submit(job("j")).outcome == QUEUED
            assert stores.calls("waitaof") >= 2
            assert stores.calls("wait") == before
            assert stores.calls("publish") == 0
        stores.replica.kill()
        stores.replica.start()
        assert stores.replica.client.exists("{sharq_server:t}:q:q")


@pytest.mark.parametrize("kind", OPEN)
@pytest.mark.parametrize("options", [{}, {"rename_command": ["WAITAOF", ""]}], ids=str)
def test_a_store_that_cannot_wait_for_disks_says_so(kind: str, options: dict[str, Any]) -> None:
    with PrivateStore(tcp=True, **options) as store:
        place = {"host": store.host, "port": store.port}
        acked = {"replicas_acked": 1, "replicas_durable": "on"}
        with (
            opened(kind, Settings.from_mapping({"redis": place | acked})) as queue,
            pytest.raises(StoreUnavailable, match="cannot wait for replicas by WAITAOF") as caught,
        ):
            queue.submit(job("j"))
        assert not caught.value.outcome_unknown
        assert store.client.dbsize() == 0


@pytest.mark.parametrize("kind", OPEN)
def test_two_rights_more_are_enough(kind: str, stores: PrivateReplicas) -> None:
    users = stores.primary.command
    users("ACL", "SETUSER", "sharq", "reset", "on", ">secret", *RULES, "+wait", "+info")
    users("ACL", "LOG", "RESET")
    try:
        user = {"username": "sharq", "password": "secret"}
        with opened(kind, stores.settings(**user)) as queue:
            assert queue.submit(job("j")).outcome == QUEUED
            (ended,) = queue.finish_many(queue.take("t", 1).leases(0, 1))
            assert ended.outcome == SUCCESS
            queue.pause("t", "q")
        assert users("ACL", "LOG") == []
    finally:
        users("ACL", "DELUSER", "sharq")


@on_loop
async def test_a_connection_that_confirms_and_falls_silent_is_left(
    stores: PrivateReplicas,
) -> None:
    """As a firewall makes it that drops one connection without a word."""
    frozen: set[int] = set()
    carrying: list[Any] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carrying.append(asyncio.current_task())
        number = len(carrying)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", stores.primary.port)
        await asyncio.gather(
            pour(reader, far_writer, lambda: number in frozen), pour(far_reader, writer)
        )

    server = await asyncio.start_server(carry, "127.0.0.1")
    operations = operations_of(stores.settings())
    link = link_of(stores, port=server.sockets[0].getsockname()[1])
    await link.start()
    await link.run(operations.enqueue("t", [job("j")]))
    frozen.add(2)
    # What reads is answered all the time: so the store is there, and the connection is not.
    enqueue = asyncio.ensure_future(link.run(operations.enqueue("t", [job("k")])))
    async with asyncio.timeout(4.5):
        while not enqueue.done():
            await link.run(operations.queue_length("t", "q"))
            await asyncio.sleep(0.01)
    assert [each.outcome for each in enqueue.result()] == [DUPLICATE]
    await link.aclose()
    server.close()
    # Both ends of each are closed now.
    await asyncio.wait(carrying)


@pytest.mark.parametrize("kind", OPEN)
def test_a_cluster_confirms_at_each_primary(kind: str) -> None:
    with ReplicatedCluster() as cluster:
        place = {"host": "127.0.0.1", "port": cluster.nodes[0].port, "clustered": "on"}
        settings = Settings.from_mapping({"redis": {**place, "replicas_acked": 1}})
        names = [f"type{at}" for at in range(12)]
        with opened(kind, settings) as queue:
            outcomes = queue.submit_many([job(name, "q", name) for name in names])
            assert {each.outcome for each in outcomes} == {QUEUED}
            for node in cluster.nodes:
                assert node.client.keys("*acked*") == []
                assert "cmdstat_publish" not in node.client.info("commandstats")
            victim = cluster.primary_of("{sharq_server:type0}")
            victim.kill()
            for name in names:
                wait_for(f"{name} is served", partial(_has_one, queue, name), 20)
            # Its only replica is the primary now: nobody is left who could confirm.
            with pytest.raises(StoreError):
                queue.submit(job("j", "q", "type0"))
            victim.start()
            wait_for("it is accepted", lambda: _accepts(queue, job("j", "q", "type0")), 20)


def _has_one(queue: Face, name: str) -> bool:
    with suppress(StoreError):
        return bool(queue.queue_length(name, "q") == 1)
    return False


def _accepts(queue: Face, wanted: NewJob) -> bool:
    with suppress(StoreError):
        return str(queue.submit(wanted).outcome) == DUPLICATE
    return False


def test_of_a_cluster_the_node_is_named_whose_replicas_do_not_confirm() -> None:
    with ReplicatedCluster() as cluster:
        place = {"host": "127.0.0.1", "port": cluster.nodes[0].port, "clustered": "on"}
        settings = Settings.from_mapping({"redis": {**place, "replicas_acked": 1}})
        attempt = operations_of(settings).try_write()
        scripts = Deployment.read(settings).scripts.by_digest
        primary = cluster.primary_of("{sharq_server:type0}")
        replica = cluster.replica_of(primary)
        for kind in OPEN:
            link = open_kind(kind, settings.redis, scripts)
            try:
                assert list(link.try_each(attempt).values()) == [None] * 3
                replica.pause()
                for _ in range(2):
                    told = link.try_each(attempt)
                    assert isinstance(told.pop(f"127.0.0.1:{primary.port}"), TooFewReplicas)
                    assert list(told.values()) == [None] * 2
            finally:
                replica.resume()
                link.close()


@pytest.mark.parametrize("kind", OPEN)
def test_a_failover_of_sentinels_loses_nothing(kind: str) -> None:
    with stand() as sentinels:
        redis = replace(settings_of(sentinels).redis, replicas_acked=2)
        with opened(kind, Settings(redis=redis)) as queue:
            for number in range(50):
                assert queue.submit(job(f"j{number}")).outcome == QUEUED
            sentinels.fail_over()
            wait_for("it is taken", lambda: _accepts(queue, job("j0")), 20)
            assert queue.queue_length("t", "q") == 50


def test_a_user_without_the_right_to_wait_is_told_of(
    stores: PrivateReplicas, caplog: pytest.LogCaptureFixture
) -> None:
    stores.primary.command("ACL", "SETUSER", "few", "on", ">pw", "~*", "&*", "+@all", "-wait")
    try:
        few = stores.settings(username="few", password="pw")
        with opened("asyncio", few) as queue, pytest.raises(StoreError):
            queue.submit(job("j"))
        assert "may not run WAIT; give it `+wait`" in caplog.text
    finally:
        stores.primary.command("ACL", "DELUSER", "few")
    assert stores.primary.client.dbsize() == 0


@pytest.mark.parametrize("kind", OPEN)
def test_a_cluster_may_be_named_by_a_replica(kind: str) -> None:
    """It can wait for no replica itself, and says where the primaries are."""
    with ReplicatedCluster() as cluster:
        replica = cluster.replica_of(cluster.nodes[0])
        place = {"host": "127.0.0.1", "port": replica.port, "clustered": "on"}
        settings = Settings.from_mapping({"redis": {**place, "replicas_acked": 1}})
        with opened(kind, settings) as face:
            assert face.submit(job("a", queue_type="type0")).outcome == QUEUED
