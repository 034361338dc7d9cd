"""What every failure of the store gets, by REST and by push, and that the service comes back.

A row puts a real store into a state; while it lasts every operation must be answered as the row
says, and when it is over all goes on by itself, over the same socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from threading import Thread
from typing import Any, NamedTuple

import pytest
import redis

from sharq.errors import StoreError
from sharq.settings.reading import Settings
from sharq.store import connections
from sharq.store.cluster import open_link
from sharq_server import SharQServer
from tests.server.conftest import ExpectLog
from tests.server.subscriber import Subscriber
from tests.server.support import Answer, Rest
from tests.support.proxy import Proxy
from tests.support.stores import PrivateCluster, PrivateStore, wait_for

pytestmark = pytest.mark.gen_test(timeout=20)

COMES_BACK_WITHIN = 5.0


class Ground(NamedTuple):
    """The store, whoever may do anything to it, and the way that the server takes to it."""

    store: PrivateStore
    admin: redis.Redis
    proxy: Proxy
    key_prefix: str
    cluster: PrivateCluster
    slot: int

    def command(self, *words: str | int) -> Any:
        return self.admin.execute_command(*words)  # type: ignore[no-untyped-call]

    def config(self, **options: str | int) -> None:
        for name, value in options.items():
            self.command("CONFIG", "SET", name.replace("_", "-"), value)

    def cut(self) -> None:
        self.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


# ---- the states ----

State = Callable[[Ground], AbstractContextManager[object]]


@contextmanager
def refused(ground: Ground) -> Iterator[None]:
    ground.proxy.refuse()
    yield
    ground.proxy.accept()


@contextmanager
def too_many_clients(ground: Ground) -> Iterator[None]:
    ground.config(maxclients=1)
    ground.cut()
    yield
    ground.config(maxclients=1000)


@contextmanager
def loading(ground: Ground) -> Iterator[None]:
    """The store reads its data, which takes it long."""
    ballast = {f"ballast{number}": "x" * 1000 for number in range(1000)}
    ground.admin.mset(ballast)
    ground.config(key_load_delay=5000)
    reload = Thread(target=lambda: ground.store.command("DEBUG", "RELOAD"))
    reload.start()
    wait_for("the store loads", lambda: ground.admin.info("persistence")["loading"])
    yield
    ground.config(key_load_delay=0)
    reload.join()
    ground.admin.delete(*ballast)


@contextmanager
def cluster_down(ground: Ground) -> Iterator[None]:
    """A slot is nobody's, and the cluster serves nothing then."""
    free = 0 if ground.slot else 1
    owner = ground.cluster.owner_of(free)
    for node in ground.cluster.nodes:
        node.command("CLUSTER", "DELSLOTS", free)
    wait_for(
        "the cluster is down",
        lambda: all(
            b"state:fail" in node.command("CLUSTER", "INFO") for node in ground.cluster.nodes
        ),
    )
    yield
    owner.command("CLUSTER", "ADDSLOTS", free)


@contextmanager
def silent(ground: Ground) -> Iterator[None]:
    ground.proxy.drop_replies()
    yield
    ground.proxy.drop_replies(False)
    # Or an attempt to connect waits for its own time-out.
    ground.proxy.cut()


@contextmanager
def resetting(ground: Ground) -> Iterator[None]:
    """Each connection is reset when the store has carried out what came over it."""
    ground.proxy.lose_replies_to(f"{{{ground.key_prefix}:t}}".encode(), 1000)
    yield
    ground.proxy.lose_nothing()


@contextmanager
def replica(ground: Ground) -> Iterator[None]:
    ground.command("REPLICAOF", "127.0.0.1", 1)
    yield
    ground.command("REPLICAOF", "NO", "ONE")


@contextmanager
def without_replicas(ground: Ground) -> Iterator[None]:
    if int(str(ground.admin.info("server")["redis_version"]).split(".")[0]) < 7:
        pytest.skip("this store lets scripts write without replicas")
    ground.config(min_replicas_to_write=1)
    yield
    ground.config(min_replicas_to_write=0)


@contextmanager
def moved(ground: Ground) -> Iterator[None]:
    source = ground.cluster.owner_of(ground.slot)
    target = next(node for node in ground.cluster.nodes if node is not source)
    ground.cluster.begin_move(ground.slot, target)
    ground.cluster.finish_move(ground.slot, target)
    yield


@contextmanager
def moving(ground: Ground) -> Iterator[None]:
    source = ground.cluster.owner_of(ground.slot)
    target = next(node for node in ground.cluster.nodes if node is not source)
    ground.cluster.begin_move(ground.slot, target)
    yield
    ground.cluster.cancel_move(ground.slot)


@contextmanager
def without_scripts(ground: Ground) -> Iterator[None]:
    ground.command("SCRIPT", "FLUSH")
    yield


@contextmanager
def full(ground: Ground) -> Iterator[None]:
    ground.config(maxmemory=1)
    yield
    ground.config(maxmemory=0)


@contextmanager
def unable_to_save(ground: Ground) -> Iterator[None]:
    """The folder of the snapshots is gone."""
    folder = ground.store.folder / "snapshots"
    folder.mkdir()
    ground.config(dir=str(folder), save="3600 1")
    folder.rmdir()
    ground.command("BGSAVE")
    wait_for(
        "the snapshot fails",
        lambda: ground.admin.info("persistence")["rdb_last_bgsave_status"] == "err",
    )
    yield
    ground.config(dir=str(ground.store.folder), save="")


@contextmanager
def locked(ground: Ground) -> Iterator[None]:
    """Every user has to authenticate now, and the server has no password."""
    ground.config(requirepass="secret")
    ground.cut()
    yield
    ground.config(requirepass="")


@contextmanager
def other_password(ground: Ground) -> Iterator[None]:
    ground.command("ACL", "SETUSER", "app", "resetpass", ">other")
    ground.command("CLIENT", "KILL", "USER", "app")
    yield
    ground.command("ACL", "SETUSER", "app", ">right")


@contextmanager
def without_permission(ground: Ground) -> Iterator[None]:
    ground.command("ACL", "SETUSER", "default", "-@scripting")
    yield
    ground.command("ACL", "SETUSER", "default", "+@all")


@contextmanager
def without_a_command(ground: Ground) -> Iterator[None]:
    """Scripts begin, and are refused something."""
    ground.command("ACL", "SETUSER", "default", "-time")
    yield
    ground.command("ACL", "SETUSER", "default", "+@all")


@contextmanager
def damaged(ground: Ground) -> Iterator[None]:
    """Keys of the type are of another kind."""
    keys = [f"{{{ground.key_prefix}:t}}:{name}" for name in ("ready", "leases", "held")]
    for key in keys:
        ground.command("RENAME", key, f"{key}-away")
        ground.command("SET", key, "not what it was")
    yield
    for key in keys:
        ground.command("RENAME", f"{key}-away", key)


# ---- the table ----


class Row(NamedTuple):
    """A state and its answers: the code of what cannot be done, or None where all is done.

    `enqueue` and `others`: the code of an enqueue, and of all other operations. `unknown`: it is
    not known whether they were carried out. `paused`: the code that subscribers are told, and with
    `tells` those who ask for the deep status.
    `with_jobs`: whether there are jobs before. `timeout`: of a call, in seconds.
    """

    state: State
    enqueue: str | None
    others: str | None
    paused: str | None
    status: int = 503
    retry_after: str | None = "1"
    unknown: bool = False
    on_cluster: bool = False
    with_jobs: bool = True
    timeout: float = 5.0
    user: Mapping[str, str] = {}
    log: str = ""
    tells: bool = True


AWAY = "store_unavailable"
FULL = "store_full"
DENIED = "store_auth"
LOST = "Lost the store"

away = partial(Row, enqueue=AWAY, others=AWAY, paused=AWAY)
all_goes_on = partial(Row, enqueue=None, others=None, paused=None)
denied = partial(Row, enqueue=DENIED, others=DENIED, paused=DENIED, retry_after="5")

TABLE = {
    "refused": away(refused, log=LOST),
    "too many clients": away(too_many_clients, log=LOST),
    "LOADING": away(loading),
    "CLUSTERDOWN": away(cluster_down, on_cluster=True),
    "time-out": away(silent, unknown=True, timeout=0.5, log=LOST),
    "reset": away(resetting, unknown=True, log=LOST, tells=False),
    "NOREPLICAS": away(without_replicas),
    "READONLY": away(replica, log="takes no writes; reconnecting"),
    "MOVED": all_goes_on(moved, on_cluster=True),
    # Only where it was, and another slot of the node is tried then.
    "ASK": away(moving, on_cluster=True, with_jobs=False, tells=False),
    "TRYAGAIN": away(moving, on_cluster=True, tells=False),
    "NOSCRIPT": all_goes_on(without_scripts),
    "OOM": Row(full, enqueue=FULL, others=None, paused=None, retry_after="5"),
    # The store refuses whatever would change its data, and a dequeue does.
    "MISCONF": Row(unable_to_save, enqueue=FULL, others=FULL, paused=FULL, retry_after="5"),
    "NOAUTH": denied(locked, log="(No connection to|Lost) the store"),
    "WRONGPASS": denied(
        other_password,
        user={"username": "app", "password": "right"},
        log="(No connection to|Lost) the store",
    ),
    "NOPERM": denied(without_permission, log="refuses a command: NOPERM"),
    "NOPERM in the middle": denied(
        without_a_command, unknown=True, log="refuses a command: .*(no permissions to|can't) run"
    ),
    "WRONGTYPE": Row(
        damaged,
        enqueue="internal",
        others="internal",
        paused=None,
        status=500,
        retry_after=None,
        unknown=True,
        log="failed, request id [0-9a-f]{16}",
    ),
}


# ---- the server ----


@pytest.fixture(params=TABLE)
def row(request: pytest.FixtureRequest) -> Row:
    return TABLE[request.param]


@pytest.fixture(scope="module")
def own_store() -> Iterator[PrivateStore]:
    options: dict[str, Any] = {
        "enable_debug_command": True,
        "enable_protected_configs": True,
        "loading_process_events_interval_bytes": "1024",
        "user": ["app", "on", ">right", "~*", "&*", "+@all"],
    }
    with PrivateStore(tcp=True, **options) as store:
        store.command("ACL", "SETUSER", "admin", "on", "nopass", "~*", "&*", "+@all")
        yield store


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[PrivateCluster]:
    with PrivateCluster(2) as cluster:
        yield cluster


@pytest.fixture
def store(row: Row, request: pytest.FixtureRequest) -> PrivateStore:
    """The one that the settings name."""
    if not row.on_cluster:
        store: PrivateStore = request.getfixturevalue("own_store")
        return store
    cluster: PrivateCluster = request.getfixturevalue("own_cluster")
    cluster.wait_until_ok()
    return cluster.nodes[0]


@pytest.fixture
def ground(
    row: Row, store: PrivateStore, key_prefix: str, request: pytest.FixtureRequest
) -> Iterator[Ground]:
    with Proxy((store.host, store.port)) as proxy:
        admin = store.connect(username=None if row.on_cluster else "admin", password="")
        store.load_scripts(admin)
        cluster, slot = None, 0
        if row.on_cluster:
            cluster = request.getfixturevalue("own_cluster")
            slot = cluster.slot_of(f"{{{key_prefix}:t}}")
            for node in cluster.nodes:
                node.load_scripts()
        yield Ground(store, admin, proxy, key_prefix, cluster, slot)  # type: ignore[arg-type]
        admin.close()


@pytest.fixture
def settings(
    row: Row, ground: Ground, key_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    monkeypatch.setattr(connections, "open_link", partial(open_link, timeout=row.timeout))
    port = ground.store.port if row.on_cluster else ground.proxy.port
    redis = {"conn_type": "tcp_sock", "port": port, "key_prefix": key_prefix, **row.user}
    return Settings.from_mapping(
        {
            "sharq": {"enable_requeue_script": False},
            "redis": redis | {"clustered": row.on_cluster},
        }
    )


# ---- what is asked ----


def body(job_id: str) -> dict[str, Any]:
    return {"job_id": job_id, "payload": 1, "interval": 0}


def job(job_id: str, queue_type: str = "t") -> dict[str, Any]:
    return {"queue_type": queue_type, "queue_id": "q", **body(job_id)}


async def lease_jobs(rest: Rest, row: Row) -> list[str]:
    """Leases of jobs, and as many jobs wait."""
    names = [f"before{number}" for number in range(6)]
    if not row.with_jobs:
        return [f"t/q/{name}/1" for name in names]
    jobs = [job(name) for name in names + list("abcdef")] + [{**job("a"), "queue_id": "old"}]
    answer = await rest.post("/enqueue/", {"jobs": jobs})
    assert {each["status"] for each in answer.body["results"]} == {"queued"}
    taken = await rest.get("/dequeue/t/?count=6")
    return [each["lease"] for each in taken.body["jobs"]]


async def ask_rest(rest: Rest, leases: list[str]) -> tuple[Answer, dict[str, Answer]]:
    """An enqueue, and all else that goes to the store, at once."""
    first, second, third = leases
    enqueue = rest.post("/enqueue/t/q/", body("rest"))
    others = {
        "dequeue": rest.get("/dequeue/t/"),
        "finish": rest.post(f"/finish/{job_of(first)}/", {"lease": first}),
        "release": rest.post(f"/release/{job_of(second)}/", {"lease": second}),
        "extend": rest.post(f"/extend/{job_of(third)}/", {"lease": third, "by": 90_000}),
        "clear": rest.delete("/deletequeue/t/old/"),
    }
    enqueued, *answers = await asyncio.gather(enqueue, *others.values())
    return enqueued, dict(zip(others, answers, strict=True))


def job_of(lease: str) -> str:
    return lease.rpartition("/")[0]


async def ask_push(
    socket: Subscriber, leases: list[str]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The same, by frames."""
    first, second, third = leases
    enqueue = socket.send(op="enqueue", jobs=[job("push")])
    others = {
        "dequeue": socket.send(op="dequeue", queue_type="t"),
        "finish": socket.send(op="finish", leases=[first]),
        "release": socket.send(op="release", leases=[second]),
        "extend": socket.send(op="extend", leases=[third], by=90_000),
    }
    return await socket.answer(enqueue), {
        name: await socket.answer(frame_id) for name, frame_id in others.items()
    }


async def code_of(work: Awaitable[object]) -> str | None:
    """The code that `work` fails with, if it does."""
    try:
        await work
    except StoreError as error:
        return error.code
    return None


def check_rest(name: str, answer: Answer, code: str | None, row: Row) -> None:
    if code is None:
        assert answer.status in (200, 201), (name, answer)
        return
    assert answer.error == (row.status, code), name
    assert answer.headers.get("Retry-After") == row.retry_after, name
    assert answer.body.get("outcome") == ("unknown" if row.unknown else None), name


def check_frame(name: str, answer: dict[str, Any], code: str | None, row: Row) -> None:
    if code is None:
        assert answer["event"] == "reply", (name, answer)
        return
    assert (answer["event"], answer["code"]) == ("error", code), name
    assert answer.get("outcome") == ("unknown" if row.unknown else None), name


async def test_a_failure_of_the_store_gets_what_the_table_says(
    row: Row,
    rest: Rest,
    ground: Ground,
    server: SharQServer,
    http_port: int,
    expect_log: ExpectLog,
) -> None:
    if row.log:
        expect_log(row.log)
    leases = await lease_jobs(rest, row)
    async with await Subscriber.connect(http_port) as socket:
        state = row.state(ground)
        await asyncio.to_thread(state.__enter__)
        try:
            if row.others == DENIED:
                # The server is told so when it connects anew, and until then it knows of a loss.
                while await code_of(server.sq.ping()) == AWAY:
                    await asyncio.sleep(0.005)
            elif row.log == LOST and not row.unknown:
                # Until the server knows, what it sends may have been carried out.
                while await code_of(server.sq.ping()) is None:
                    await asyncio.sleep(0.005)
            # At once: where the store is silent, it is only what was sent that may be done.
            (enqueued, answers), (frame, frames) = await asyncio.gather(
                ask_rest(rest, leases[:3]), ask_push(socket, leases[3:])
            )
            check_rest("enqueue", enqueued, row.enqueue, row)
            for name, answer in answers.items():
                check_rest(name, answer, row.others, row)
            check_frame("enqueue", frame, row.enqueue, row)
            for name, frame in frames.items():
                check_frame(name, frame, row.others, row)

            deep = await rest.get("/deepstatus/")
            if row.paused and row.tells:
                assert deep.error == (row.status, row.paused)
            elif row.tells or row.state is moving:
                assert (deep.status, deep.body["status"]) == (200, "success")
            if row.on_cluster:
                assert set(deep.body["nodes"]) == {"up", "down"}

            # One that finds nothing to take back changes nothing, which more stores allow.
            assert await code_of(server.sq.sweep()) in (row.others, None)

            await socket.subscribe(credit=100)
            if row.paused:
                assert (await socket.event("paused"))["code"] == row.paused
        finally:
            began = asyncio.get_running_loop().time()
            await asyncio.to_thread(state.__exit__, None, None, None)

        if row.paused:
            await socket.event("resumed", COMES_BACK_WITHIN)
        async with asyncio.timeout_at(began + COMES_BACK_WITHIN):
            while (await rest.enqueue(job_id="after")).status not in (200, 201):
                await asyncio.sleep(0.02)
            got: list[dict[str, Any]] = []
            while not got or got[-1]["job_id"] != "after":
                got += (await socket.event("jobs"))["jobs"]
            assert set(await socket.finish(*got)) == {"success"}


class TestAStoreThatAnswersAndGivesNothing:
    @pytest.fixture
    def row(self) -> Row:
        return TABLE["READONLY"]

    async def test_subscribers_are_told_once(
        self,
        rest: Rest,
        ground: Ground,
        server: SharQServer,
        http_port: int,
        monkeypatch: pytest.MonkeyPatch,
        expect_log: ExpectLog,
    ) -> None:
        expect_log("takes no writes; reconnecting")
        tries = 0
        try_writes = server.engine.try_writes

        async def counted() -> Mapping[str, StoreError | None]:
            nonlocal tries
            told = await try_writes()
            tries += 1
            return told

        monkeypatch.setattr(server.engine, "try_writes", counted)
        await rest.enqueue()
        async with await Subscriber.connect(http_port) as socket:
            with replica(ground):
                await socket.subscribe()
                await socket.event("paused")
                while tries < 4:
                    await asyncio.sleep(0.01)
                await socket.ask(op="ping")
            await socket.jobs(1)
            await socket.event("resumed")
            told = [each["event"] for each in socket.seen]
            assert told.count("paused") == told.count("resumed") == 1
