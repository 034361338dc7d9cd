"""A client of the push channel, small and whole; and such that do one thing wrong."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from typing import Any, ClassVar

from tornado.httpclient import AsyncHTTPClient, HTTPError
from tornado.websocket import (
    WebSocketClientConnection,
    WebSocketClosedError,
    websocket_connect,
)

CONCURRENCY = 3
AGAIN = 0.3
STORE = ("store_unavailable", "store_full", "store_auth", "overloaded")


class Client:
    """Does what docs/push-protocol.md says. What others do wrong is a method each."""

    first_delay: ClassVar[float] = 0.05

    def __init__(self, url: str) -> None:
        self.url = url
        self.ids = itertools.count(1)
        self.credit = CONCURRENCY
        self.connection: WebSocketClientConnection | None = None
        self.old: WebSocketClientConnection | None = None
        self.held: dict[str, asyncio.Task[None]] = {}
        self.ends: dict[str, dict[str, Any]] = {}
        """What has to be said of leases, until it is answered."""
        self.sent: dict[int, tuple[WebSocketClientConnection, list[str]]] = {}
        self.tasks: set[asyncio.Task[Any]] = set()
        self.heartbeat = 20.0
        self.paused = False

    # What broken ones override

    def is_new(self, lease: str) -> bool:
        return lease not in self.held

    def repeat_lost(self) -> None:
        self.send_ends(list(self.ends))

    def on_result(self, lease: str, result: str) -> None:
        if result in STORE:
            self.later(AGAIN, self.send_ends, [lease])
        else:
            self.ended(lease)

    def on_refused(self, leases: list[str]) -> None:
        if not self.paused:
            self.later(AGAIN, self.send_ends, leases)

    def on_unknown(self, event: dict[str, Any]) -> None:
        pass

    def on_expired(self, leases: list[str]) -> None:
        for lease in leases:
            self.ended(lease)

    def on_paused(self) -> None:
        self.paused = True

    def on_ended(self) -> None:
        pass

    def goes_on(self, code: int | None) -> bool:
        return True

    def on_lost(self) -> None:
        pass

    def failure(self, lease: str, error: Exception) -> dict[str, Any]:
        told = {"type": type(error).__name__, "message": str(error)}
        return {"op": "fail", "leases": [lease], "error": told}

    def on_connected(self) -> None:
        pass

    def to_extend(self) -> list[str]:
        return [lease for lease in self.held if lease not in self.ends]

    def may_be_silent(self) -> float:
        return 2 * self.heartbeat

    # The rest

    async def run(self) -> None:
        delay = self.first_delay
        beat = asyncio.create_task(self.extend())
        try:
            while True:
                await asyncio.sleep(random.uniform(0, delay))
                try:
                    connection = await websocket_connect(
                        self.url, subprotocols=["sharq.v1.json"], ping_interval=None
                    )
                except (OSError, HTTPError):
                    delay = min(2 * delay, 5.0)
                    continue
                delay = self.first_delay
                code = await self.serve(connection)
                if not self.goes_on(code):
                    return
        finally:
            beat.cancel()
            for task in (*self.held.values(), *self.tasks):
                task.cancel()
            for each in (self.connection, self.old):
                if each is not None:
                    each.close()

    async def serve(self, connection: WebSocketClientConnection) -> int | None:
        """Talk on a connection until it ends or the next one is wanted; its close code."""
        while True:
            read = asyncio.ensure_future(connection.read_message())
            done, _ = await asyncio.wait([read], timeout=self.may_be_silent())
            if not done:
                read.cancel()
                connection.close()
                return None
            text = read.result()
            if text is None:
                connection.close()
                if connection is self.connection:
                    self.on_lost()
                return connection.close_code
            event = json.loads(text)
            if event["event"] == "draining":
                self.old = connection
                self.keep(self.drain(connection))
                return 0
            self.on_event(connection, event)

    async def drain(self, connection: WebSocketClientConnection) -> None:
        while (text := await connection.read_message()) is not None:
            self.on_event(connection, json.loads(text))
        connection.close()

    def on_event(self, connection: WebSocketClientConnection, event: dict[str, Any]) -> None:
        match event["event"]:
            case "welcome":
                self.heartbeat = event["heartbeat"] / 1000
                self.connection = connection
                self.paused = False
                leases = {"leases": list(self.held)} if self.held else {}
                self.send(op="subscribe", queue_type="sms", credit=self.credit, **leases)
                self.on_connected()
                if self.ends:
                    self.repeat_lost()
            case "jobs":
                for job in event["jobs"]:
                    if self.is_new(job["lease"]):
                        self.held[job["lease"]] = self.keep(self.work(job))
            case "reply" | "error" if event.get("id") in self.sent:
                _, leases = self.sent.pop(event["id"])
                if event["event"] == "error":
                    self.on_refused(leases)
                else:
                    for lease, result in zip(leases, event["results"], strict=True):
                        self.on_result(lease, result)
            case "reply" | "error" | "pong":
                pass
            case "expired":
                self.on_expired(event["leases"])
            case "paused":
                self.on_paused()
            case "resumed":
                self.paused = False
                self.send_ends(list(self.ends))
            case _:
                self.on_unknown(event)

    async def work(self, job: dict[str, Any]) -> None:
        payload, lease = job["payload"], job["lease"]
        await AsyncHTTPClient().fetch(payload["report"])
        await asyncio.sleep(payload["work_ms"] / 1000)
        end = {"op": "finish", "leases": [lease]}
        if payload["fail"]:
            end = self.failure(lease, ValueError("asked to"))
        if lease in self.held:
            self.ends[lease] = end
            self.send_ends([lease])

    def ended(self, lease: str) -> None:
        self.ends.pop(lease, None)
        if self.held.pop(lease, None) is not None:
            self.on_ended()

    async def extend(self) -> None:
        while True:
            await asyncio.sleep(0.3)
            if leases := self.to_extend():
                self.send(op="extend", leases=leases, by=1200)

    def send_ends(self, leases: list[str]) -> None:
        for lease in leases:
            if lease in self.ends:
                number = self.send(**self.ends[lease])
                if self.connection is not None:
                    self.sent[number] = (self.connection, [lease])

    def send(self, **frame: Any) -> int:
        number = next(self.ids)
        if self.connection is not None and self.connection.protocol is not None:
            self.keep(self.write(json.dumps({"id": number, **frame})))
        return number

    async def write(self, text: str) -> None:
        assert self.connection is not None
        try:
            await self.connection.write_message(text)
        except WebSocketClosedError:
            return

    def later(self, seconds: float, what: Any, *arguments: Any) -> None:
        asyncio.get_running_loop().call_later(seconds, what, *arguments)

    def keep(self, coroutine: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task


class RunsTwice(Client):
    def is_new(self, lease: str) -> bool:
        return True


class ForgetsLost(Client):
    def repeat_lost(self) -> None:
        self.ends.clear()


class TakesEveryResult(Client):
    def on_result(self, lease: str, result: str) -> None:
        self.ended(lease)


class Insists(Client):
    def on_result(self, lease: str, result: str) -> None:
        if result == "stale_lease":
            self.later(AGAIN, self.send_ends, [lease])
        else:
            super().on_result(lease, result)


class ForgetsRefused(Client):
    def on_refused(self, leases: list[str]) -> None:
        if not self.paused:
            for lease in leases:
                self.ended(lease)


class Hammers(Client):
    def on_refused(self, leases: list[str]) -> None:
        if not self.paused:
            self.send_ends(leases)


class KnowsAll(Client):
    def on_unknown(self, event: dict[str, Any]) -> None:
        assert self.connection is not None
        self.connection.close(1002)


class LeavesWhenPaused(Client):
    def on_paused(self) -> None:
        assert self.connection is not None
        self.connection.close()


class Increments(Client):
    def on_ended(self) -> None:
        self.credit += 1
        self.send(op="credit", queue_type="sms", credit=self.credit)


class AsksForTooMuch(Client):
    def on_connected(self) -> None:
        self.send(op="credit", credit=20_000)


class StopsAtExpired(Client):
    def on_expired(self, leases: list[str]) -> None:
        self.send(op="credit", credit=0)


class NeverReconnects(Client):
    def goes_on(self, code: int | None) -> bool:
        return False


class ReconnectsAtOnce(Client):
    first_delay = 0.0


class EndsAtDraining(Client):
    def goes_on(self, code: int | None) -> bool:
        return code != 0


class WritesMore(Client):
    def on_connected(self) -> None:
        self.send(op="ping", colour="blue")


class NeverExtends(Client):
    def to_extend(self) -> list[str]:
        return []


class ReleasesFailures(Client):
    def failure(self, lease: str, error: Exception) -> dict[str, Any]:
        return {"op": "release", "leases": [lease]}


class DropsHandlers(Client):
    def on_lost(self) -> None:
        for lease, task in list(self.held.items()):
            if lease not in self.ends:
                task.cancel()
                del self.held[lease]


class Trusts(Client):
    def may_be_silent(self) -> float:
        return 3600
