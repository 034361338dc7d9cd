"""The store's user needs the rights of the page, all of them, and no more.

Everything that servers, programs and the command do with a store is done by such a user, and
the store tells what it has run for it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient

import sharq
from sharq import AsyncSharQ, SharQ
from sharq.blocking_engine import SyncEngine
from sharq.deployment import Deployment
from sharq.migration.migration import Migration, Plan
from sharq.operations.scripts import Scripts
from sharq.results import NewJob
from sharq.settings.reading import Settings
from sharq_server import SharQServer
from tests.client.test_rights import RULES, Users, is_old
from tests.migration.old import PREFIX, Old, now_ms
from tests.migration.test_moving import put_example
from tests.server.conftest import ExpectLog
from tests.server.subscriber import Subscriber
from tests.server.support import Rest
from tests.server.viewer import Viewer
from tests.support.monitored import Ran, monitored
from tests.support.stores import PrivateCluster, PrivateStore

pytestmark = pytest.mark.gen_test(timeout=120)

# What may be refused: these are asked, and nothing depends on the answer.
MAY_BE_REFUSED = {"info", "config|get", "type"}

SCRIPTS = {digest: name for name, digest in Scripts().digests.items()}
OF_MIGRATION = {
    path.stem for path in (Path(sharq.__file__).parent / "migration" / "lua").glob("*.lua")
}
_MOVING = (Path(__file__).parents[2] / "docs" / "migrating.md").read_text("utf-8")
ORIGINALS = re.findall(r"^user original on >\S+ (.+?)^```$", _MOVING, re.M | re.S)[0].split()

SELDOM = [
    Ran(False, (b"ROLE",)),  # to a node that sentinels name
    Ran(False, (b"EVAL", b"return 1", b"1", b"{sharq_server:.0}:")),  # to one that is silent
    # In a type that a version before has put queues of into the schedule.
    Ran(True, (b"ZUNIONSTORE", b"{sharq_server:a}:limit:line", b"1", b"{sharq_server:a}:ready")),
    # Where a list of marks has become long.
    Ran(True, (b"LRANGE", b"{sharq_server:a}:f:1:1", b"0", b"-1")),
    Ran(True, (b"LTRIM", b"{sharq_server:a}:f:1:1", b"-1", b"-1")),
    Ran(True, (b"LPUSH", b"{sharq_server:a}:f:1:1", b"q/j")),
    Ran(True, (b"RPOP", b"{sharq_server:a}:f:1:1")),
]
"""What is not run here."""


@pytest.fixture(scope="module")
def one() -> Iterator[PrivateStore]:
    with PrivateStore(tcp=True) as store:
        yield store


@pytest.fixture(params=["one", "cluster"])
def stores(request: pytest.FixtureRequest) -> list[PrivateStore]:
    if request.param == "one":
        return [request.getfixturevalue("one")]
    cluster: PrivateCluster = request.getfixturevalue("cluster")
    return list(cluster.nodes)


@pytest.fixture
def users(stores: list[PrivateStore]) -> Iterator[Users]:
    if is_old(stores[0]):
        pytest.skip("It has no ACL DRYRUN")
    for store in stores:
        store.client.flushall()
    users = Users(*stores)
    for store in stores:
        store.command("ACL", "SETUSER", "original", "reset", "on", ">secret", *ORIGINALS)
    yield users
    for store in stores:
        store.command("ACL", "DELUSER", "sharq", "original")


@pytest.fixture
def settings(users: Users, stores: list[PrivateStore]) -> Settings:
    place = {"conn_type": "tcp_sock", "host": stores[0].host, "port": stores[0].port}
    user = {"username": "sharq", "password": "secret", "clustered": len(stores) > 1}
    # In a cluster there is no other database.
    user |= {"db": 0 if len(stores) > 1 else 3}
    return Settings.from_mapping(
        {
            "redis": place | user,
            "sharq": {
                "job_expire_interval": 1000,
                "job_requeue_interval": 100,
                "finished_retention": 300_000,
            },
            "sharq-server": {"metrics_top_queues": True},
        }
    )


async def by_rest(rest: Rest, port: int) -> None:
    """Each route of the REST API."""

    async def job(job_id: str, queue_id: str = "q", **more: Any) -> None:
        assert (await rest.enqueue(f"rest/{queue_id}", job_id, **more)).status == 201

    async def lease() -> tuple[str, dict[str, Any]]:
        answer = (await rest.post("/dequeue/rest/?request_id=r")).body
        return f"rest/{answer['queue_id']}/{answer['job_id']}", {"lease": answer["lease"]}

    async def well(method: str, path: str, body: Any = None) -> Any:
        answer = await rest.call(method, path, body if body is not None or method == "GET" else b"")
        assert answer.status in (200, 202), (method, path, answer)
        return answer.body

    await job("a", interval=1, max_queued_length=5)
    await job("b", group="g", priority=5, cost=2, burst=3, concurrency=2)
    await job("c", delay=1)
    await well("GET", "/metrics/rest/")
    await well("GET", "/status/rest/q/a/")
    await well("GET", "/jobs/rest/q/")
    path, body = await lease()
    await well("GET", "/leases/rest/q/")
    await well("POST", f"/extend/{path}/", body | {"by": 1500})
    await well("POST", f"/release/{path}/", body | {"delay": 1})
    await well("POST", "/interval/rest/q/", {"interval": 1})
    await well("DELETE", "/interval/rest/q/")
    await well("POST", "/limits/rest/", {"concurrency": 50})
    await well("POST", "/limits/rest/?group=g", {"interval": 1})
    await well("GET", "/limits/rest/")
    await well("POST", "/limits/rest/q/?dry_run=true", {"interval": 5})
    await well("DELETE", "/limits/rest/?group=g")
    await well("POST", "/pause/rest/q/", {"reason": "look"})
    await well("POST", "/resume/rest/q/")
    for job_id in ("d", "e", "f"):
        await job(job_id, "dead", requeue_limit=0)
        answer = (await rest.post("/dequeue/rest/")).body
        name = f"rest/{answer['queue_id']}/{answer['job_id']}"
        told = {"lease": answer["lease"], "error": {"type": "E", "message": "no"}, "retry": False}
        await well("POST", f"/fail/{name}/", told)
    page = await well("GET", "/dead/rest/")
    letter = page["jobs"][0]
    await well("GET", f"/dead/rest/{letter['queue_id']}/{letter['job_id']}/")
    named = [[letter["queue_id"], letter["job_id"]]]
    await well("DELETE", "/dead/rest/", {"jobs": named})
    await well("POST", "/dead/rest/retry", {"all": True})
    await well("GET", "/dead/rest/retry")
    await rest.delete("/dead/rest/retry")
    await job("g", "other")
    await well("DELETE", "/job/rest/other/g/")
    while (answer := await rest.post("/dequeue/rest/")).status == 200:
        taken = answer.body
        await well(
            "POST",
            f"/finish/rest/{taken['queue_id']}/{taken['job_id']}/",
            {"lease": taken["lease"]},
        )
    await job("w", "wait")
    assert (await rest.get("/dequeue/rest/?wait=1")).status == 200
    await well("POST", "/recount/rest/")
    for shown in ("", "rest/", "rest/q/"):
        await well("GET", f"/metrics/{shown}")
    for path in ("/prometheus/", "/doctor/", "/deepstatus/", "/status/"):
        assert (await rest.get(path)).status == 200
    await well("DELETE", "/deletequeue/rest/q/")


async def by_push(port: int, rest: Rest) -> None:
    """Each operation of a worker's connection, and all that viewers watch."""
    async with await Subscriber.connect(port) as worker, await Subscriber.connect(port) as other:
        viewer = Viewer(other)
        await viewer.watch("types", "type/push", "queue/push/q", "workers", "tail/push")
        await worker.subscribe("push", credit=3)
        jobs = [
            {
                "queue_type": "push",
                "queue_id": "q",
                "job_id": f"j{at}",
                "interval": 0,
                "payload": at,
            }
            for at in range(6)
        ]
        await worker.ask(op="enqueue", jobs=jobs)
        taken = await worker.jobs(3)
        assert (await rest.get("/status/push/q/j5/?payload=true")).status == 200
        leases = [job["lease"] for job in taken]
        await viewer.until("tail/push", lambda data: len(data["jobs"]) >= 1)
        await viewer.watch("types", "type/push", f"holder/{leases[0]}")
        await viewer.until(f"holder/{leases[0]}", lambda data: data)
        await viewer.until("type/push", lambda data: data)
        await worker.ask(op="extend", leases=leases, by=5000)
        await worker.ask(op="release", leases=leases[:1], delay=1)
        await worker.ask(
            op="fail", items=[{"lease": leases[1], "error": {"type": "E", "message": "no"}}]
        )
        items = [{"lease": leases[2], "cost": 2, "pause": 5}]
        await worker.ask(op="finish", items=items)
        await worker.ask(op="unsubscribe", queue_type="push")
        await worker.ask(
            op="cancel", jobs=[{"queue_type": "push", "queue_id": "q", "job_id": "j5"}]
        )
        await other.subscribe("push", credit=2, mode="notify")
        await other.event("ready")
        await other.ask(op="dequeue", queue_type="push", count=2)


async def by_library(settings: Settings) -> None:
    """What a program does over the library, and what only the server's engine has."""
    async with AsyncSharQ(settings) as queue:
        await everything(queue)


async def everything(queue: AsyncSharQ) -> None:
    names = "lib", "q"
    jobs = [NewJob(*names, f"j{at}", b"[%d]" % at, 0, -1) for at in range(9)]
    await queue.submit(jobs[0])
    await queue.submit_many(jobs)
    batch = await queue.take("lib", 6, request_id="r")
    leases = batch.leases(0, len(batch))
    await queue.extend_many(leases, 1000)
    await queue.finish_job(*names, "j0")
    await queue.finish_many(leases[1:2])
    await queue.release_many(leases[2:3], delay=50)
    await queue.fail_job(*names, "j3", retry=False)
    await queue.cancel_job(*names, "j8")
    assert (await queue.job_status(*names, "j0")).state == "finished"
    await queue.set_interval(*names, 10)
    await queue.reset_interval(*names)
    await queue.set_limits("lib", "q", burst=3, concurrency=4)
    await queue.limits("lib", "q")
    await queue.estimate("lib", "q", interval=5)
    await queue.reset_limits("lib", "q")
    await queue.pause("lib", "q", duration=5)
    await queue.resume("lib", "q")
    await queue.dead_page("lib")
    await queue.dead_letter(*names, "j3")
    await queue.retry_dead("lib", [("q", "j3")])
    await queue.delete_dead("lib", [("q", "j3")])
    await queue.begin_dead("lib", "retry")
    await queue.dead_bulk("lib")
    await queue.advance_dead("lib")
    await queue.cancel_dead("lib")
    await queue.queue_metrics(*names)
    assert await queue.queue_ids("lib")
    await queue.job_page(*names)
    assert "lib" in (await queue.overview()).queue_types
    await queue.queue_length(*names)
    # So often that the marks of its ends are tidied.
    for _ in range(600):
        await queue.submit(NewJob("often", "q", "j", b"1", 0, -1))
        taken = await queue.take("often", 1)
        await queue.finish_many(taken.leases(0, 1))
    # What is set for a type without jobs is looked at by the sweep.
    await queue.set_limits("often", concurrency=9)
    await asyncio.sleep(1.1)
    await queue.sweep()
    await queue.clear(*names, purge_all=True)
    await queue.sweep()
    await spread(queue)
    await queue.ping()


async def spread(queue: AsyncSharQ) -> None:
    """A type is spread over shards, paused in all of them, and spread otherwise."""
    await queue.set_shards("broad", 2)
    await queue.submit(NewJob("broad", "q", "j", b"1", 0, -1))
    await queue.pause("broad", duration=1000)
    await queue.resume("broad")
    taken = await queue.take("broad", 1)
    await queue.finish_many(taken.leases(0, 1))
    await queue.set_shards("broad", 3)
    assert await queue.shards("broad") == 3


def by_blocking_library(settings: Settings) -> None:
    queue = SharQ(settings)
    try:
        assert queue.dequeue("vacant")["status"] == "failure"
        queue.enqueue([1], 1, "j", "q", "blocking")
        taken = queue.dequeue("blocking")
        queue.finish("q", taken["job_id"], "blocking")
        queue.metrics()
        queue.requeue()
        assert queue.deep_status()
    finally:
        queue.close()


def by_migration(settings: Settings, folder: Path) -> None:
    """The original's jobs, by a user for the original's keys and the one of the page."""
    place = settings.redis
    config = folder / "old.conf"
    config.write_text(
        f"[redis]\nkey_prefix : {PREFIX}\nconn_type : tcp_sock\nhost : {place.host}\n"
        f"port : {place.port}\ndb : {place.db}\nusername : original\npassword : secret\n"
    )
    engine = SyncEngine(Deployment.read(settings), reclaims=False)
    migration = Migration(
        Settings.of_original(config).redis,
        60_000,
        engine,
        Plan(watch=0.0, pause=0.01),
        str(folder / "rejects"),
    )
    try:
        report = migration.run()
    finally:
        migration._source.close()
        engine.close()
    assert (report.jobs, report.leases, report.rejected) == (3, 1, 0)


class Recorded:
    """All that was run for the two users, and which commands were refused to them."""

    def __init__(self, ran: list[Ran], users: Users) -> None:
        self.ran = list({(each.name, *each.words[1:3]): each for each in ran}.values())
        self.scripts = {
            SCRIPTS.get(each.words[1].decode()) for each in ran if each.name == "evalsha"
        }
        self.without_key = [each for each in ran if each.keys_of_script == 0]
        entries = [dict(zip(e[::2], e[1::2], strict=True)) for e in users.refused()]
        self.refused = {entry[b"object"].decode() for entry in entries}


@pytest.fixture
def recorded(
    io_loop: Any,
    users: Users,
    stores: list[PrivateStore],
    settings: Settings,
    tmp_path: Path,
    http_client: AsyncHTTPClient,
) -> Recorded:
    async def run() -> None:
        server = SharQServer(settings)
        await server.start()
        listener = server.app.listen(0, "127.0.0.1")
        port = listener.addresses()[0][1]
        try:
            rest = Rest(http_client, port)
            await by_rest(rest, port)
            await by_push(port, rest)
            await by_library(settings)
            await asyncio.to_thread(by_blocking_library, settings)
            if len(stores) == 1:
                await asyncio.to_thread(by_migration, settings, tmp_path)
        finally:
            listener.stop()
            await listener.close_all_connections()
            await server.stop()

    if len(stores) == 1:
        client = stores[0].connect(db=3)
        put_example(Old(stores[0], client=client), now_ms())
        client.close()
    with monitored(stores) as ran:
        io_loop.run_sync(run, timeout=100)
    return Recorded(ran, users)


def may(store: PrivateStore, user: str, ran: Ran) -> bool:
    return bool(store.command("ACL", "DRYRUN", user, *ran.words) == b"OK")


def test_the_rights_of_the_page_are_enough_and_none_too_many(
    recorded: Recorded, stores: list[PrivateStore], expect_log: ExpectLog
) -> None:
    # A change of the number of shards asks them only with more rights than these.
    expect_log("Replicas are not waited for")
    assert recorded.refused <= MAY_BE_REFUSED
    assert recorded.without_key == []
    alone = len(stores) == 1
    assert recorded.scripts >= set(SCRIPTS.values()) - (set() if alone else {"chunk", "take_over"})
    ours = [each for each in recorded.ran if may(stores[0], "sharq", each)]
    not_needed = set()
    for rule in RULES:
        if rule[0] not in "+~&":
            continue
        rest = [each for each in RULES if each != rule]
        stores[0].command("ACL", "SETUSER", "sharq", "reset", "on", ">secret", *rest)
        if all(may(stores[0], "sharq", each) for each in [*ours, *SELDOM]):
            not_needed.add(rule)
    assert sorted(not_needed) == (["+cluster|info", "+cluster|slots"] if alone else ["+select"])
