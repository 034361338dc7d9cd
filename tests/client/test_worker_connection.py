"""A worker and a server of the test's own, which does what a real one seldom does."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from sharq import LeasedJob, Retry, Worker
from sharq.codec import websocket_frames as ws
from sharq.worker import run

pytestmark = pytest.mark.gen_test(timeout=60)


class Peer:
    """One connection of a worker: its frames in, events out."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.frames: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.closed = asyncio.Event()
        self._writer = writer

    def tell(self, event: str, **fields: Any) -> None:
        text = json.dumps({"event": event, **fields}).encode()
        self._writer.write(ws.frame(ws.TEXT, text))

    def answer(self, frame: dict[str, Any], **fields: Any) -> None:
        self.tell("reply", id=frame["id"], status="success", **fields)

    def oblige(self, frame: dict[str, Any]) -> None:
        """Answer a frame as the worker would have it."""
        result: Any = "success"
        if frame["op"] in ("subscribe", "extend"):
            result = {"status": "success", "lease_ms": 60_000}
        if frame["op"] != "ping":
            told = frame.get("items") or frame.get("leases", ())
            self.answer(frame, results=[result] * len(told))

    def refuse(self, frame: dict[str, Any], code: str = "store_unavailable") -> None:
        self.tell("error", id=frame["id"], code=code, message="no")

    def give(
        self, *names: str, queue: str = "q", interval: int = 0, lease_ms: int = 60_000
    ) -> None:
        jobs = [
            {
                "queue_id": queue,
                "job_id": name,
                "payload": 1,
                "requeues_remaining": -1,
                "current_queue_length": 0,
                "lease": f"t/{queue}/{name}/1",
                "attempt": 1,
                "lease_ms": lease_ms,
                "interval": interval,
            }
            for name in names
        ]
        self.tell("jobs", queue_type="t", server_time=1, jobs=jobs)

    async def frame(self, *ops: str) -> dict[str, Any]:
        """The next frame that asks for one of `ops`; the others are answered."""
        while True:
            frame = await self.frames.get()
            if frame["op"] in ops:
                return frame
            self.oblige(frame)

    async def nothing_comes(self) -> bool:
        """Whether no frame comes for a moment, but for pings."""
        await asyncio.sleep(0.1)
        frames = [self.frames.get_nowait() for _ in range(self.frames.qsize())]
        return all(frame["op"] == "ping" for frame in frames)


class ScriptedServer:
    def __init__(self, welcome: dict[str, Any]) -> None:
        self._welcome = welcome
        self.peers: asyncio.Queue[Peer] = asyncio.Queue()
        self.all: list[Peer] = []

    async def on_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = head.partition("Sec-WebSocket-Key: ")[2].partition("\r\n")[0]
        writer.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {ws.accept_value(key)}\r\n\r\n".encode()
        )
        peer = Peer(writer)
        peer.tell("welcome", server_time=1, heartbeat=20_000, **self._welcome)
        self.peers.put_nowait(peer)
        self.all.append(peer)
        frames = ws.Reader(masked=True, max_bytes=1 << 20)
        while data := await reader.read(65_536):
            frames.feed(data)
            while (message := frames.next()) is not None:
                if message.opcode == ws.TEXT:
                    peer.frames.put_nowait(json.loads(message.data))
                elif message.opcode == ws.CLOSE:
                    peer.closed.set()
                    writer.close()


@pytest.fixture
def scripted() -> Any:
    """A server and a worker for it, which has stopped when the context is left."""

    @asynccontextmanager
    async def scripted(
        handle: Callable[[LeasedJob], Any],
        types: Any = "t",
        welcome: dict[str, Any] | None = None,
        **options: Any,
    ) -> AsyncIterator[tuple[ScriptedServer, Worker]]:
        server = ScriptedServer(welcome or {})
        listening = await asyncio.start_server(server.on_connection, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        worker = Worker(f"ws://127.0.0.1:{port}/ws/", types, grace=0.2, **options)
        worker.handler(handle)
        serving = asyncio.ensure_future(worker.serve())
        try:
            yield server, worker
        finally:
            worker.stop()
            listening.close()
            ends = [asyncio.ensure_future(peer.frame()) for peer in server.all]
            await serving
            for end in ends:
                end.cancel()

    return scripted


async def never_ends(job: LeasedJob) -> None:
    await asyncio.sleep(600)


async def test_what_was_refused_is_asked_for_again(scripted: Any) -> None:
    async with scripted(never_ends) as (server, _):
        peer = await server.peers.get()
        refused = await peer.frame("subscribe")
        peer.refuse(refused)
        again = await peer.frame("subscribe")
        assert {**again, "id": refused["id"]} == refused
        assert again["id"] != refused["id"]
        peer.answer(again)
        assert await peer.nothing_comes()


@pytest.mark.timing
async def test_all_leases_are_counted_before_the_first_job_comes(
    scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_LAST_WORDS", 0.1)  # its ends are not answered
    names = [f"j{at}" for at in range(1500)]
    begun: list[str] = []
    all_have_begun = asyncio.Event()

    async def handle(job: LeasedJob) -> None:
        begun.append(job.job_id)
        if len(begun) == len(names):
            all_have_begun.set()
        await never_ends(job)

    async with scripted(handle, concurrency=1500, prefetch=0) as (server, _):
        peer = await server.peers.get()
        peer.oblige(await peer.frame("subscribe"))
        peer.give(*names)
        await all_have_begun.wait()
        peer._writer.close()
        peer = await server.peers.get()
        frames = [await peer.frame("credit", "subscribe") for _ in range(4)]
        assert [frame["op"] for frame in frames] == ["credit", "subscribe", "subscribe", "credit"]
        assert [frames[0]["credit"], frames[-1]["credit"]] == [0, 1500]
        assert sorted(frames[1]["leases"] + frames[2]["leases"]) == sorted(
            f"t/q/{name}/1" for name in names
        )


async def test_a_draining_server_is_left_when_nothing_is_under_way_there(scripted: Any) -> None:
    go_on = asyncio.Event()

    async def handle(job: LeasedJob) -> None:
        if job.job_id == "k":
            await go_on.wait()

    async with scripted(handle) as (server, worker):
        old = await server.peers.get()
        old.answer(await old.frame("subscribe"))
        old.give("j", "k")
        finish = await old.frame("finish")
        assert finish["leases"] == ["t/q/j/1"]
        old.tell("draining", after_ms=60_000)
        new = await server.peers.get()
        subscribe = await new.frame("subscribe")
        assert subscribe["leases"] == ["t/q/k/1"]
        new.answer(subscribe, results=[{"status": "success", "lease_ms": 60_000}])
        go_on.set()
        last = await new.frame("finish")
        assert last["leases"] == ["t/q/k/1"], "what was sent to the old one is not sent again"
        new.answer(last, results=["success"])
        assert not old.closed.is_set()
        old.answer(finish, results=["success"])
        await asyncio.wait_for(old.closed.wait(), 5)
        while worker.counts["done"] < 2:
            await asyncio.sleep(0.005)


async def test_a_stop_gives_back_what_comes_before_the_answer_to_no_credit(scripted: Any) -> None:
    async with scripted(never_ends) as (server, worker):
        peer = await server.peers.get()
        peer.answer(await peer.frame("subscribe"))
        assert await peer.frame("ping")
        worker.stop()
        nothing = await peer.frame("credit")
        assert nothing["credit"] == 0
        assert await peer.nothing_comes()
        peer.give("j")
        release = await peer.frame("release")
        assert (release["leases"], release["count_requeue"]) == (["t/q/j/1"], False)
        peer.answer(release, results=["success"])
        assert not peer.closed.is_set()
        peer.answer(nothing)
        await asyncio.wait_for(peer.closed.wait(), 2)


async def credit_of(peer: Peer) -> int:
    """The last credit of the connection that was asked for, before anything else is."""
    peer.answer(await peer.frame("subscribe"))
    frame = await peer.frame("credit")
    peer.oblige(frame)
    credit: int = frame["credit"]
    return credit


# ---- what is leased, and when it begins ----


async def test_nothing_is_leased_that_cannot_begin_at_once(scripted: Any) -> None:
    async with scripted(never_ends) as (server, _):
        assert await credit_of(await server.peers.get()) == 16


async def test_more_is_taken_ahead_only_while_handlers_are_quick(scripted: Any) -> None:
    async def handle(job: LeasedJob) -> None:
        if job.job_id.startswith("slow"):
            await asyncio.sleep(1.2)

    async with scripted(handle, concurrency=2, prefetch=3) as (server, worker):
        peer = await server.peers.get()
        assert await credit_of(peer) == 2, "nothing is known of the handlers"
        for at in range(5):
            peer.give(f"j{at}")
        while (await peer.frame("credit"))["credit"] < 5:
            pass
        peer.give("slow1", "slow2")
        while (await peer.frame("credit"))["credit"] >= 5:
            pass
        assert worker.counts["lost"] == 0


@pytest.mark.timing
async def test_a_job_that_cannot_begin_soon_goes_back_and_no_more_is_taken(scripted: Any) -> None:
    begun: list[str] = []

    async def handle(job: LeasedJob) -> None:
        begun.append(job.job_id)
        await never_ends(job)

    async with scripted(handle, concurrency=1, prefetch=1) as (server, _):
        peer = await server.peers.get()
        assert await credit_of(peer) == 1
        # As a server may, that has not had the last credit yet.
        peer.give("a", "b", lease_ms=1000)
        since = time.monotonic()
        credit = await peer.frame("release", "credit")
        assert credit["credit"] == 0, "before it is given back, or it comes straight back"
        peer.oblige(credit)
        release = await peer.frame("release")
        assert time.monotonic() - since < 0.9, "in good time before its lease ends"
        assert (release["leases"], release["count_requeue"]) == (["t/q/b/1"], False)
        peer.oblige(release)
        assert begun == ["a"]


async def test_while_the_loop_is_held_up_no_more_is_taken() -> None:
    go_on = threading.Event()

    async def handle(job: LeasedJob) -> None:
        if job.job_id == "blocks":
            go_on.wait(20)

    server = ScriptedServer({})
    listening = await asyncio.start_server(server.on_connection, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    worker = Worker(f"ws://127.0.0.1:{port}/ws/", "t", concurrency=3)
    worker.handler(handle)
    running = asyncio.ensure_future(asyncio.to_thread(worker.run))
    try:
        peer = await server.peers.get()
        assert await credit_of(peer) == 3
        peer.give("blocks", "waits")
        credit = await peer.frame("credit")
        assert credit["credit"] == 0
        peer.oblige(credit)
        release = await peer.frame("release")
        assert (release["leases"], release["count_requeue"]) == (["t/q/waits/1"], False)
        peer.oblige(release)
        go_on.set()
        last = {}
        while last.keys() != {"credit", "finish"}:
            frame = await peer.frame("credit", "finish")
            peer.oblige(frame)
            last[frame["op"]] = frame
        assert last["credit"]["credit"] == 3
    finally:
        go_on.set()
        worker.stop()
        ends = asyncio.ensure_future(peer.frame())
        await running
        ends.cancel()
        listening.close()


async def test_the_starts_of_a_queue_are_spaced_by_its_interval(scripted: Any) -> None:
    begun: list[float] = []
    enough = asyncio.Event()

    async def handle(job: LeasedJob) -> None:
        begun.append(time.monotonic())
        if len(begun) == 4:
            enough.set()

    async with scripted(handle, prefetch=4) as (server, _):
        peer = await server.peers.get()
        await credit_of(peer)
        # A frame that was late, say.
        peer.give(*"abcd", interval=30)
        await enough.wait()
    gaps = [later - earlier for earlier, later in itertools.pairwise(begun)]
    assert min(gaps) >= 0.0289


# ---- what the server refuses ----


async def refused_frames(peer: Peer, seconds: float, *, code: str = "store_unavailable") -> int:
    """Refuse every frame but pings for some time; how many there were."""
    count = 0
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        with suppress(TimeoutError):
            frame = await asyncio.wait_for(peer.frames.get(), left)
            if frame["op"] != "ping":
                peer.refuse(frame, code)
                count += 1
    return count


@pytest.mark.timing
async def test_ends_that_are_refused_are_no_storm(
    scripted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = 300
    go_on = asyncio.Event()

    async def handle(job: LeasedJob) -> None:
        await go_on.wait()
        if int(job.job_id[1:]) % 2:
            raise Retry(int(job.job_id[1:]))

    async with scripted(handle, concurrency=jobs) as (server, worker):
        peer = await server.peers.get()
        await credit_of(peer)
        peer.give(*(f"j{at}" for at in range(jobs)))
        go_on.set()
        await refused_frames(peer, 0.4)
        caplog.clear()
        assert await refused_frames(peer, 2.2) <= 6
        assert len([each for each in caplog.messages if "refused" in each]) == 0
        obliging = asyncio.ensure_future(peer.frame())
        while sum(worker.counts.values()) < jobs:
            await asyncio.sleep(0.005)
        obliging.cancel()
        assert worker.counts == {"done": 150, "retried": 150, "discarded": 0, "lost": 0}


async def test_subscriptions_that_are_refused_are_no_storm(scripted: Any) -> None:
    types = [f"t{at}" for at in range(100)]
    async with scripted(never_ends, types) as (server, _):
        peer = await server.peers.get()
        assert await refused_frames(peer, 0.4) >= 100
        assert await refused_frames(peer, 2.2) <= 6
        agreed: set[str] = set()
        while len(agreed) < len(types):
            frame = await peer.frames.get()
            agreed |= {frame["queue_type"]} if frame["op"] == "subscribe" else set()
            peer.oblige(frame)


async def test_a_finish_that_is_forbidden_is_told_once_and_given_up(
    scripted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(job: LeasedJob) -> None:
        pass

    async with scripted(handle) as (server, worker):
        peer = await server.peers.get()
        await credit_of(peer)
        for name in "abc":
            peer.give(name)
            peer.refuse(await peer.frame("finish"), "forbidden")
        assert await peer.nothing_comes()
        while worker.counts["lost"] < 3:
            await asyncio.sleep(0.005)
    messages = [each for each in caplog.messages if "forbidden" in each]
    assert messages == ["refused op=finish code=forbidden message=no"]


async def test_an_extension_that_is_forbidden_is_not_tried_again(
    scripted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with scripted(never_ends) as (server, _):
        peer = await server.peers.get()
        await credit_of(peer)
        peer.give("a", lease_ms=400)
        peer.refuse(await peer.frame("extend"), "forbidden")
        assert await refused_frames(peer, 0.5) == 0
    assert len([each for each in caplog.messages if "refused op=extend" in each]) == 1


async def test_a_type_that_is_forbidden_is_told_once_and_others_go_on(
    scripted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with scripted(never_ends, ["no", "t"]) as (server, _):
        peer = await server.peers.get()
        peer.refuse(await peer.frame("subscribe"), "forbidden")
        assert await credit_of(peer) == 16
        assert await peer.nothing_comes()
    messages = [each for each in caplog.messages if "forbidden" in each]
    assert messages == ["refused op=subscribe code=forbidden message=no type=no"]


@pytest.mark.parametrize(
    ("operations", "said", "subscribes"),
    [
        (["dequeue", "release", "extend"], "not for finish; no jobs are taken", False),
        (["finish"], "not for dequeue and release and extend; no jobs are taken", False),
        (["dequeue", "finish"], "not for release and extend; leases run out instead", True),
        (["dequeue", "finish", "release", "extend"], None, True),
    ],
)
async def test_what_a_token_is_not_for_is_told_by_name(
    scripted: Any,
    caplog: pytest.LogCaptureFixture,
    operations: list[str],
    said: str | None,
    subscribes: bool,
) -> None:
    async with scripted(never_ends, welcome={"operations": operations}) as (server, _):
        peer = await server.peers.get()
        if subscribes:
            peer.oblige(await peer.frame("subscribe"))
        else:
            assert (await peer.frames.get())["op"] == "ping"
            assert await peer.nothing_comes()
    told = [each for each in caplog.messages if "the token is" in each]
    assert told == ([] if said is None else [f"the token is {said}"])
