"""The checker finds nothing in a healthy run, and each defect under its invariant.

The defects are guards taken out of the product itself, which then lives through the same scenario.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tornado.netutil import bind_sockets

from sharq import LeasedJob, Settings, SharQ, Worker
from sharq._fastpath import Batch
from sharq.blocking_engine import SyncEngine
from sharq.operations.scripts import Scripts
from sharq.results import ACTIVE, JobOptions
from sharq.worker import frames
from sharq_server import SharQServer
from sharq_server.push.credit import Credit
from tests.faults.audit import Drain, audited_scripts
from tests.faults.checker import check
from tests.faults.checker.__main__ import main
from tests.faults.checker.ready import WITHIN
from tests.faults.checker.report import INVARIANTS, Report
from tests.faults.history import Log, Recorder
from tests.faults.recording import Recorded
from tests.faults.scenario import Scenario
from tests.faults.worker import finish, note_start
from tests.server.subscriber import Subscriber
from tests.support.direct import DirectStore
from tests.support.stores import PrivateStore


@cache
def healthy() -> Scripts:
    return audited_scripts()


class Damaged(Scripts):
    """Audited scripts in which one text stands for another, wherever it occurs."""

    def __init__(self, changes: Mapping[str, str]) -> None:
        sound = healthy()
        texts = {name: sound.by_digest[digest] for name, digest in sound.digests.items()}
        for old, new in changes.items():
            assert any(old in text for text in texts.values()), f"nothing says {old!r}"
            texts = {name: text.replace(old, new) for name, text in texts.items()}
        self.digests = {
            name: hashlib.sha1(text.encode()).hexdigest() for name, text in texts.items()
        }
        self.by_digest = {self.digests[name]: text for name, text in texts.items()}


def live_through(store: PrivateStore, folder: Path, scripts: Scripts) -> Report:
    Scenario(store, folder, scripts).run()
    return check(folder)


def test_a_healthy_run_violates_nothing_and_checks_everything(
    clean_store: PrivateStore, tmp_path: Path
) -> None:
    report = live_through(clean_store, tmp_path, healthy())
    assert [violation for tally in report.tallies.values() for violation in tally.first] == []
    assert report.unchecked == set()


def test_the_command_says_a_line_for_each_invariant_and_what_is_wrong(
    clean_store: PrivateStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Scenario(clean_store, tmp_path, healthy()).run()
    monkeypatch.setattr("sys.argv", ["checker", str(tmp_path)])
    assert main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(INVARIANTS)

    audit = tmp_path / "audit.jsonl"
    audit.write_bytes(audit.read_bytes().partition(b"\n")[2])  # the first job was put in nowhere
    assert main() == 1
    lines = capsys.readouterr().out.splitlines()
    (at,) = (at for at, line in enumerate(lines) if line.startswith("I2 "))
    assert "was never put in" in lines[at + 1]
    assert '"what":"dispatch"' in lines[at + 2]


GIVE_BACK = """redis.call('HSET', k.jobs .. q.id, job_id,
    pack_waiting(job.place, left, ended, job.payload, job.cost, job.history))"""

DEAD_DEFECTS: dict[str, tuple[str, dict[str, str]]] = {
    "a rejected job lives": ("I7", {"told.how == 'reject' or (counted": "(counted"}),
    "a death has another reason": ("I7", {"expiry = EXPIRED": "expiry = EXHAUSTED"}),
    "what a clear discards is a dead letter": ("I7", {"not cleared and REASONS": "REASONS"}),
    "a retry has the requeues that were left": (
        "I7",
        {"give_more(job.left, job.attempt - 1)": "job.left"},
    ),
    "a job that kills its workers comes at once": (
        "I5",
        {"MOST_EXPIRIES = 2": "MOST_EXPIRIES = 9"},
    ),
    "a job waits after two expiries": ("I5", {"MOST_EXPIRIES = 2": "MOST_EXPIRIES = 1"}),
    "a backoff does not grow": ("I5", {"least * 2 ^": "least * 1 ^"}),
    "a backoff is not bounded": ("I5", {"MOST_DOUBLINGS), tonumber(most))": "MOST_DOUBLINGS))"}),
    "a delay that was told is not kept": ("I5", {"delay = tonumber(ARGV[i + 5])": "delay = nil"}),
    "a dead letter is not in the order": (
        "I1",
        {"redis.call('ZADD', order_key(dead), died, member)": ""},
    ),
    "the newest dead letter falls out": (
        "I1",
        {"redis.call('ZRANGE', order_key(k.": "redis.call('ZREVRANGE', order_key(k."},
    ),
    "one dead letter too few is kept": ("I1", {"> tonumber(most) and": ">= tonumber(most) and"}),
    "dead letters fall out too early": ("I1", {"died + age * 1000": "died + age * 500"}),
    "a dead letter is replaced and not counted": (
        "I1",
        {"drop_letter(dead, member, 'replaced')": "remove_letter(dead, member)"},
    ),
    "a retry that meets a job takes the dead letter": (
        "I1",
        {
            "if status == QUEUED then\n        moved": (
                "if status ~= QUEUED then remove_letter(k.dead, member) else moved"
            )
        },
    ),
    "dead letters do not fall out": ("I8", {"if k.buried then": "if false then"}),
    "dead letters that fell out are not counted": (
        "I9",
        {"redis.call('HINCRBY', dead, 'fallen', 1)": ""},
    ),
    "a payload stays behind": ("I10", {"redis.call('HDEL', payloads, member)": ""}),
    "the names count no bytes": ("I10", {"#member + #about + #payload": "#about + #payload"}),
    "the counts of dead letters never end": ("I10", {"expire(dead, COUNTS_TTL)": ""}),
    "a bulk never ends": ("I10", {"expire(bulk_key(dead), BULK_TTL)": ""}),
    "a retry leaves the dead letter": ("I2", {"    remove_letter(k.dead, member)\n": ""}),
    "a retry has another payload": (
        "I2",
        {"held[at], job_id, payload, interval": "held[at], job_id, '0', interval"},
    ),
    "a retry changes a queue that lives": (
        "I11",
        {"if has_interval(q) then\n    return": "if false then\n    return"},
    ),
    "a retry of nothing is a success": ("I12", {"out[at] = NOT_FOUND": "out[at] = SUCCESS"}),
    "a bulk tells of more than it has moved": (
        "I12",
        {"moved = moved + bulk.moved\n": "moved = moved + bulk.moved + 1\n"},
    ),
}

DEFECTS: dict[str, tuple[str, dict[str, str]]] = {
    "a job that is given back is not written": ("I1", {GIVE_BACK: ""}),
    "a full queue says that it took the job": (
        "I1",
        {"= status, length\n  if": "= status == FULL and QUEUED or status, length\n  if"},
    ),
    "a clear takes the leased jobs along": (
        "I1",
        {"if purge then\n  local AT_ONCE": "if true then\n  local AT_ONCE"},
    ),
    "a gap takes the next job along": (
        "I5",
        {"q.head, q.popped = last + 1": "q.head, q.popped = last + 2"},
    ),
    "a job that is cancelled stays": ("I6", {"    remove_waiting(k, q, job_id, record)\n": ""}),
    "a cancellation needs no lease": ("I12", {"if n ~= number_of(leased) then": "if false then"}),
    "a job that is given back has another payload": (
        "I2",
        {"left, ended, job.payload": "left, ended, '0'"},
    ),
    "a leased job is put in once more": (
        "I2",
        {"known = known or find_": "known = find_"},
    ),
    "the sweep takes leases that have not run out": (
        "I3",
        {"'-inf', now, 'LIMIT', 0, batch": "'-inf', '+inf', 'LIMIT', 0, batch"},
    ),
    "lease numbers come again": (
        "I3",
        {"math.max(now_us, (redis.call('GET', serial) or 0) + 1)": "5"},
    ),
    "a dispatch does not move the TAT": ("I4", {"turn = now + interval": "turn = now"}),
    "a dispatch among several does not move the TAT": (
        "I4",
        {"math.max(now, q.tat) + q.interval": "now"},
    ),
    "a longer interval leaves the TAT where it is": (
        "I4",
        {"q.tat - q.interval + interval": "q.tat"},
    ),
    "jobs that were given back go in the wrong order": (
        "I5",
        {"k.returned .. q.id, job.place,": "k.returned .. q.id, -job.place,"},
    ),
    "jobs that were given back go behind the others": (
        "I5",
        {"if q.back > 0 then": "if q.back > 0 and q.next == q.head then"},
    ),
    "a delay is not kept": ("I5", {"now + delay, delayed_member": "now, delayed_member"}),
    "a finish takes any lease": ("I6", {"if n ~= '' and n ~= own then": "if false then"}),
    "an expiry takes no requeue": (
        "I7",
        {"counted and spend(job.left) or job.left": "job.left"},
    ),
    "a give-back that does not count is an attempt": (
        "I7",
        {"counted and job.attempt or job.attempt - 1": "job.attempt"},
    ),
    "the last requeue is not the last": (
        "I7",
        {"(counted and job.left == '0')": "(counted and job.left == '-2')"},
    ),
    "a job that is given back is not scheduled": (
        "I8",
        {"save_queue(q)\n  take_turn(k, q)\n": "save_queue(q)\n"},
    ),
    "a queue's enqueues are not counted": (
        "I9",
        {"count_many(k, 'e', list, total)": "count_type(k, 'e', total)"},
    ),
    "the dispatches of a type are counted twice": (
        "I9",
        {"count_type(k, 'd', 1)": "count_type(k, 'd', 2)"},
    ),
    "counters never end": ("I10", {"expire(shard, COUNTERS_TTL)": ""}),
    "marks never end": ("I10", {"expire(shard, ttl)": ""}),
    "a purge ends leases of queues of like names": (
        "I1",
        {"beginning = {}, queue_id .. '/'": "beginning = {}, queue_id"},
    ),
    "a queue gets the interval of another one": (
        "I11",
        {
            "local function put(": "local was\nlocal function put(",
            "if changed then": "was, q.interval = q.interval, was or q.interval if changed then",
        },
    ),
    "a burst is one longer": (
        "I4",
        {"(level.burst - 1) * level.interval": "level.burst * level.interval"},
    ),
    "a cost is charged to the queue alone": (
        "I4",
        {"    charge(level, cost)": "    charge(level, 1)"},
    ),
    "a type is not charged": ("I4", {"charge_level(k.type, cost)": ""}),
    "a higher real cost is not charged": (
        "I4",
        {"(real - cost) * level.interval": "math.min(0, real - cost) * level.interval"},
    ),
    "what has served as idleness is given back": (
        "I4",
        {"math.max(0, (left or 0) - at)": "-change"},
    ),
    "a longer interval of a group leaves its TAT where it is": (
        "I4",
        {"grain(interval, last + units * interval)": "level.tat"},
    ),
    "a priority does not count": ("I5", {"tonumber(priority or 0) * PRIORITY": "0"}),
    "a job that is given back loses its priority": (
        "I5",
        {"k.returned .. q.id, job.place,": "k.returned .. q.id, seq_of(job.place),"},
    ),
    "a delay of an enqueue is not kept": (
        "I5",
        {"set[#set + 1], set[#set + 2] = now + delay": "set[#set + 1], set[#set + 2] = now"},
    ),
    "a lease more than the concurrency is given": (
        "I14",
        {
            "level.concurrency and level.leased >= level.concurrency then": (
                "level.concurrency and level.leased > level.concurrency then"
            )
        },
    ),
    "a queue leaves its leases in its former group": (
        "I14",
        {"add_leases(k.groups[q.group], q.leased)": ""},
    ),
    "the leases of a group are not counted": (
        "I14",
        {"freed = add_leases(k.groups[q.home], change) or freed": ""},
    ),
    "a pause is not looked at": (
        "I15",
        {"math.max(at, level.paused or 0, level.free or 0)": "math.max(at, level.free or 0)"},
    ),
    "a pause ends too early": (
        "I15",
        {"names.by, names.why = till,": "names.by, names.why = till and till - 2000,"},
    ),
}


@pytest.mark.parametrize(
    ("invariant", "changes"),
    [pytest.param(*defect, id=what) for what, defect in (DEFECTS | DEAD_DEFECTS).items()],
)
def test_a_defect_is_found(
    clean_store: PrivateStore, tmp_path: Path, invariant: str, changes: dict[str, str]
) -> None:
    report = live_through(clean_store, tmp_path, Damaged(changes))
    assert invariant in report.violated


def test_replies_that_are_swapped_are_found(
    clean_store: PrivateStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = SyncEngine._answers
    monkeypatch.setattr(SyncEngine, "_answers", lambda self, calls: answers(self, calls)[::-1])
    assert "I12" in live_through(clean_store, tmp_path, healthy()).violated


def test_a_job_that_is_given_to_two_is_found(
    clean_store: PrivateStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, given = SharQ.take, []

    def take_again(self: SharQ, *arguments: Any) -> Batch:
        given.append(take(self, *arguments))
        return given[0]

    monkeypatch.setattr(SharQ, "take", take_again)
    scenario = Scenario(clean_store, tmp_path, healthy())
    scenario.take_twice()
    assert check(tmp_path).violated == {"I13"}


# ---- the push channel of a server ----

CREDIT = 3


@asynccontextmanager
async def serving(store: PrivateStore, folder: Path) -> AsyncIterator[tuple[SharQServer, int]]:
    """A server and its port; what was audited is in the folder at the end."""
    redis = {
        "conn_type": "unix_sock",
        "unix_socket_path": store.socket_path,
        "key_prefix": "library",
    }
    server = SharQServer(
        Settings.from_mapping({"redis": redis, "sharq": {"enable_requeue_script": False}})
    )
    await server.start()
    (socket,) = bind_sockets(0, "127.0.0.1")
    listener = server.app.make_listener()
    listener.add_sockets([socket])
    try:
        yield server, socket.getsockname()[1]
    finally:
        listener.stop()
        await listener.close_all_connections()
        await server.stop()
    direct = DirectStore(store.socket_path)

    async def command(*words: str | bytes | int) -> Any:
        return direct.command(*words)

    with Drain(folder / "audit.jsonl") as drain:
        await drain.drain(command, "library")
    direct.close()


async def put(server: SharQServer, log: Log, queue: str, count: int, interval: int) -> None:
    """Put jobs into a queue, on the record."""
    for at in range(count):
        job = server.sq.new_job(b"1", interval, f"j{at}", queue, "t")
        i = log.invoke("enqueue", type="t", queue=queue, job=job.job_id, payload=1)
        await server.sq.submit(job)
        log.ok(i, "enqueue")


async def push(store: PrivateStore, folder: Path) -> None:
    """A subscriber with little credit takes and finishes what is more than that."""
    recorder = Recorder(folder, "client")
    log = recorder.client("ws#1")
    async with serving(store, folder) as (server, port):
        await put(server, log, "q", 12, 0)
        async with await Subscriber.connect(port) as subscriber:
            log.note("subscribe", type="t", credit=CREDIT)
            await subscriber.subscribe("t", CREDIT)
            done = 0
            while done < 12:
                jobs = (await subscriber.event("jobs"))["jobs"]
                named = [told(job) for job in jobs]
                for fields in named:
                    log.note("deliver", **fields)
                numbers = [log.invoke("finish", **fields) for fields in named]
                assert await subscriber.finish(*jobs) == ["success"] * len(jobs)
                for i in numbers:
                    log.ok(i, "finish")
                done += len(jobs)
    recorder.close()


def told(job: dict[str, Any]) -> dict[str, Any]:
    queue_type, queue, job_id, n = job["lease"].split("/")
    names = {"type": queue_type, "queue": queue, "job": job_id, "n": n}
    return names | {"payload": job["payload"], "left": job["requeues_remaining"]}


@pytest.fixture
def audited_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that are made have audited scripts."""
    monkeypatch.setattr("sharq.deployment.shipped", audited_scripts)


@pytest.mark.usefixtures("audited_server")
def test_a_healthy_push_channel_violates_nothing(clean_store: PrivateStore, tmp_path: Path) -> None:
    asyncio.run(push(clean_store, tmp_path))
    report = check(tmp_path)
    assert report.ok, list(report.lines())
    assert report["I13"].checked > 12


@pytest.mark.usefixtures("audited_server")
def test_credit_that_is_exceeded_is_found(
    clean_store: PrivateStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Credit, "room", lambda _self, _queue_type: CREDIT + 1)
    asyncio.run(push(clean_store, tmp_path))
    assert check(tmp_path).violated == {"I13"}


PARKED_FOR = 2 * WITHIN


async def park(store: PrivateStore, folder: Path, parked_for: int) -> None:
    """A queue has one lease at a time; it goes on after a finish, or `parked_for` ms later."""
    recorder = Recorder(folder, "client")
    log = recorder.client("ws#1")
    async with serving(store, folder) as (server, port):

        async def put_limited(job_id: str) -> None:
            i = log.invoke("enqueue", type="t", queue="q", job=job_id, payload=1)
            job = server.sq.new_job(b"1", 0, job_id, "q", "t")
            await server.sq.submit(job._replace(options=JobOptions(concurrency=1)))
            log.ok(i, "enqueue")

        for job_id in ("j1", "j2"):
            await put_limited(job_id)
        async with await Subscriber.connect(port) as subscriber:
            log.note("subscribe", type="t", credit=CREDIT)
            await subscriber.subscribe("t", CREDIT)
            for at in range(2):
                (job,) = (await subscriber.event("jobs"))["jobs"]
                fields = told(job)
                log.note("deliver", **fields)
                i = log.invoke("finish", **fields)
                await subscriber.finish(job)
                log.ok(i, "finish")
                if at == 0 and parked_for:
                    await asyncio.sleep(parked_for / 1000)
                    await put_limited("j3")
    recorder.close()


@pytest.mark.usefixtures("audited_server")
def test_a_queue_that_a_finish_has_freed_goes_on_at_once(
    clean_store: PrivateStore, tmp_path: Path
) -> None:
    asyncio.run(park(clean_store, tmp_path, 0))
    report = check(tmp_path)
    assert report.ok, list(report.lines())
    assert report["I16"].checked == 2


def test_a_queue_that_nobody_unparks_is_found(
    clean_store: PrivateStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parks = Damaged({"if q.waiting > 0 and (q.concurrency or q.settled) then": "if false then"})
    monkeypatch.setattr("sharq.deployment.shipped", lambda *_: parks)
    asyncio.run(park(clean_store, tmp_path, PARKED_FOR))
    assert check(tmp_path).violated == {"I16"}


# ---- a worker ----

INTERVAL = 100
BEHIND = 5


async def work(store: PrivateStore, folder: Path) -> None:
    """Jobs of a queue with a rate wait in a worker behind a slow one of another queue."""
    recorder = Recorder(folder, "worker")
    log = Recorded.of(recorder, "w1.1")
    with closing(recorder):
        async with serving(store, folder) as (server, port):
            worker = Worker(f"ws://127.0.0.1:{port}/ws/", "t", concurrency=1, prefetch=BEHIND)
            begun, full = asyncio.Event(), asyncio.Event()

            @worker.handler
            async def handle(job: LeasedJob) -> None:
                note_start(log, job)
                if job.queue_id == "slow":
                    begun.set()
                    await full.wait()
                finish(log, job)

            working = asyncio.ensure_future(worker.serve())
            async with asyncio.timeout(20):
                # Quick handlers have it take jobs ahead.
                await put(server, log.log, "quick", BEHIND, 0)
                while worker.counts["done"] < BEHIND:
                    await asyncio.sleep(0.01)
                await put(server, log.log, "slow", 1, 0)
                await begun.wait()
                await put(server, log.log, "limited", BEHIND, INTERVAL)
                last = f"j{BEHIND - 1}"
                while (await server.sq.job_status("t", "limited", last)).state != ACTIVE:
                    await asyncio.sleep(0.01)
                full.set()
                while worker.counts["done"] <= 2 * BEHIND:
                    await asyncio.sleep(0.01)
            worker.stop()
            await working


@pytest.mark.usefixtures("audited_server")
def test_a_healthy_worker_keeps_its_starts_apart(clean_store: PrivateStore, tmp_path: Path) -> None:
    asyncio.run(work(clean_store, tmp_path))
    report = check(tmp_path)
    assert report.ok, list(report.lines())
    assert report["I4"].checked >= 2 * (BEHIND - 1), "dispatches and starts"


@pytest.mark.usefixtures("audited_server")
def test_handlers_that_are_started_too_close_are_found(
    clean_store: PrivateStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = frames.decode

    def forget(text: bytes) -> frames.Event | None:
        event = decode(text)
        for job in event.jobs if isinstance(event, frames.Jobs) else ():
            job.interval = 0
        return event

    monkeypatch.setattr(frames, "decode", forget)
    asyncio.run(work(clean_store, tmp_path))
    report = check(tmp_path)
    assert report.violated == {"I4"}
    assert report["I4"].violated == BEHIND - 1
