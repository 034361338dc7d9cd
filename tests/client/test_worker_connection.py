"""A worker and a server of the test's own, which does what a real one seldom does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sharq import LeasedJob, Worker
from sharq import websocket_frames as ws

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
            self.answer(frame, results=[result] * len(frame.get("leases", ())))

    def refuse(self, frame: dict[str, Any]) -> None:
        self.tell("error", id=frame["id"], code="store_unavailable", message="away")

    def give(self, *names: str) -> None:
        jobs = [
            {
                "queue_id": "q",
                "job_id": name,
                "payload": 1,
                "requeues_remaining": -1,
                "current_queue_length": 0,
                "lease": f"t/q/{name}/1",
                "attempt": 1,
                "lease_ms": 60_000,
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
    def __init__(self) -> None:
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
        peer.tell("welcome", server_time=1, heartbeat=20_000)
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
        handle: Callable[[LeasedJob], Any], **options: Any
    ) -> AsyncIterator[tuple[ScriptedServer, Worker]]:
        server = ScriptedServer()
        listening = await asyncio.start_server(server.on_connection, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        worker = Worker(f"ws://127.0.0.1:{port}/ws/", "t", grace=0.2, **options)
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


async def test_all_leases_are_counted_before_the_first_job_comes(scripted: Any) -> None:
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
