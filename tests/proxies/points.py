"""What has to work through every proxy."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from tornado.httpclient import HTTPRequest
from tornado.netutil import BlockingResolver, OverrideResolver
from tornado.websocket import WebSocketClientConnection, websocket_connect

from bench.push_stand import disconnect
from tests.proxies.deployment import CLIENT, HOST, TLS, Client, Deployment, Proxy
from tests.server.subscriber import Subscriber
from tests.support.stores import wait_for

_numbers = itertools.count()

PREFIXES = pytest.mark.parametrize("prefix", ["", "/queue"])


def new_type() -> str:
    """A queue type for one test alone."""
    return f"type{next(_numbers)}"


def job(name: str = "j", **more: Any) -> dict[str, Any]:
    return {"job_id": name, "interval": 0, "payload": 1, **more}


class Points:
    """Subclassed for each proxy."""

    proxy: ClassVar[Proxy]
    polls: ClassVar[bool] = True
    """Whether dequeues may wait."""

    @PREFIXES
    def test_rest(self, deployment: Deployment, prefix: str) -> None:
        kind = new_type()
        with deployment.client("producer") as producer, deployment.client("worker") as worker:
            path = f"{prefix}/enqueue/{kind}/q/"
            assert producer.ask("POST", path, job()).status == 201
            assert producer.ask("POST", path, job(payload=2)).status == 409
            assert producer.ask("POST", path, b"{").body["code"] == "not_json"
            assert producer.ask("GET", f"{prefix}/dequeue/{kind}/").status == 403
            taken = worker.ask("GET", f"{prefix}/dequeue/{kind}/?count=2").body["jobs"]
            assert [each["job_id"] for each in taken] == ["j"]
            lease = {"lease": taken[0]["lease"]}
            assert worker.ask("POST", f"{prefix}/finish/{kind}/q/j/", lease).status == 200
            empty = worker.ask("GET", f"{prefix}/dequeue/{kind}/")
            assert (empty.status, empty.body["code"]) == (404, "nothing_ready")
            assert empty.headers["Retry-After"] == "1"
        with deployment.client() as nobody:
            answer = nobody.ask("GET", f"{prefix}/metrics/")
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")

    def test_the_log_has_the_client_and_its_token(self, deployment: Deployment) -> None:
        kind = new_type()
        forged = {"X_Forwarded_For": "6.6.6.6", "X_Forwarded_Prefix": "/evil"}
        with deployment.client("producer") as producer:
            # One on a hot route, and one that is not.
            assert producer.ask("POST", f"/enqueue/{kind}/q/", job(), **forged).status == 201
            assert producer.ask("GET", f"/status/{kind}/q/j/", **forged).status == 200
            assert producer.ask("GET", "/openapi.json", **forged).body.get("servers") is None
            assert producer.ask("GET", f"/dequeue/{kind}/", **forged).status == 403
        with deployment.client("unknown") as nobody:
            assert nobody.ask("POST", f"/enqueue/{kind}/q/", job()).status == 401
        wait_for("all is logged", lambda: len(deployment.lines(f"/{kind}/")) == 4)
        users = sorted(tuple(line.split()[:3]) for line in deployment.lines(f"/{kind}/"))
        assert users == [(CLIENT, "-", "-"), *[(CLIENT, "-", "producer")] * 3]

    def test_a_page_of_the_proxys_own_origin_is_none_of_others(
        self, deployment: Deployment
    ) -> None:
        own = f"https://{HOST}:{deployment.place.port}"
        with deployment.client("producer") as producer:
            path = f"/enqueue/{new_type()}/q/"
            assert producer.ask("POST", path, job(), Origin=own).status == 201
        with deployment.client("producer") as producer:
            answer = producer.ask("POST", path, job(), Origin="https://evil.example")
            assert answer.status == 403

    def test_the_prefix_is_known(self, deployment: Deployment) -> None:
        with deployment.client() as nobody:
            described = nobody.ask("GET", "/queue/openapi.json", X_Forwarded_Prefix="/evil").body
            assert described["servers"] == [{"url": "/queue"}]

    @PREFIXES
    def test_the_page(self, deployment: Deployment, prefix: str) -> None:
        with deployment.client() as nobody:
            for path in ("/ui/", "/ui/type/sms"):
                page = nobody.ask("GET", prefix + path)
                assert page.status == 200
                assert b"<title>SharQ</title>" in page.body
            # Relative, so that it is right below a prefix.
            for path, place in (("/live/", "../ui/"), ("/ui", "ui/")):
                answer = nobody.ask("GET", prefix + path)
                assert (answer.status, answer.headers["Location"]) == (301, place)

    @PREFIXES
    def test_a_long_poll(self, deployment: Deployment, prefix: str) -> None:
        kind = new_type()
        with deployment.client("producer") as producer, deployment.client("worker") as worker:
            since = time.monotonic()
            worker.put("GET", f"{prefix}/dequeue/{kind}/?wait=20&count=1")
            if self.polls:
                producer.ask("POST", f"/enqueue/{kind}/q/", job())
                assert json.loads(worker.getresponse().read())["jobs"][0]["job_id"] == "j"
            else:
                assert worker.getresponse().status == 404
            assert time.monotonic() - since < 15

    @PREFIXES
    def test_a_client_that_leaves_a_long_poll_gets_no_job(
        self, deployment: Deployment, prefix: str
    ) -> None:
        kind = new_type()
        worker = deployment.client("worker")
        worker.put("GET", f"{prefix}/dequeue/{kind}/?wait=30")
        wait_for(
            "it waits, or is answered",
            lambda: deployment.waits(kind) or deployment.lines(f"/dequeue/{kind}/"),
        )
        worker.close()
        # The end of the wait is in the log, long before its time.
        wait_for("the server has noticed", lambda: deployment.lines(f"/dequeue/{kind}/"))
        with deployment.client("producer") as producer, deployment.client("worker") as other:
            producer.ask("POST", f"/enqueue/{kind}/q/", job())
            assert producer.ask("GET", f"/status/{kind}/q/j/").body["state"] == "queued"
            assert other.ask("GET", f"/dequeue/{kind}/").body["job_id"] == "j"

    @PREFIXES
    def test_the_push_channel(self, deployment: Deployment, prefix: str) -> None:
        kind = new_type()
        path = f"/ws/?of={kind}"

        async def work() -> None:
            subscriber = Subscriber(await self._connect(deployment, prefix + path))
            await subscriber.event("welcome")
            await subscriber.subscribe(kind)
            with deployment.client("producer") as producer:
                await asyncio.to_thread(producer.ask, "POST", f"/enqueue/{kind}/q/", job())
            jobs = await subscriber.jobs(1)
            assert await subscriber.finish(*jobs) == ["success"]
            await disconnect(subscriber.socket)

        asyncio.run(asyncio.wait_for(work(), 20))
        wait_for("it is logged", lambda: deployment.lines(f"{path} HTTP/1.1"))
        (line,) = [line.split() for line in deployment.lines(f"{path} HTTP/1.1")]
        assert (line[0], line[2], line[8]) == (CLIENT, "worker", "101")

    @staticmethod
    async def _connect(deployment: Deployment, path: str) -> WebSocketClientConnection:
        port = deployment.place.port
        resolver = OverrideResolver(BlockingResolver(), {HOST: "127.0.0.1"})
        request = HTTPRequest(
            f"wss://{HOST}:{port}{path}",
            headers={"Authorization": "Bearer worker"},
            ca_certs=str(TLS / "jobs.pem"),
            network_interface=CLIENT,
        )
        return await websocket_connect(request, resolver=resolver)

    @pytest.mark.parametrize("headers", [{}, {"Expect": "100-continue"}], ids=["plain", "expect"])
    def test_a_large_body(self, deployment: Deployment, headers: dict[str, str]) -> None:
        kind = new_type()
        text = "x" * 900_000
        jobs = [
            job(f"j{at}", payload=text) | {"queue_type": kind, "queue_id": "q"} for at in range(5)
        ]
        with deployment.client("producer") as producer, deployment.client("worker") as worker:
            answer = producer.ask("POST", "/enqueue/", {"jobs": jobs}, **headers)
            assert answer.status == 200
            assert [each["status"] for each in answer.body["results"]] == ["queued"] * 5
            assert worker.ask("GET", f"/dequeue/{kind}/").body["payload"] == text
        with deployment.client("producer") as producer:
            body = json.dumps(job(payload="x" * 1_200_000)).encode()
            answer = producer.ask("POST", f"/enqueue/{kind}/q/", body)
            assert (answer.status, answer.body["code"]) == (413, "payload_too_large")

    def test_a_body_in_chunks(self, deployment: Deployment) -> None:
        kind = new_type()
        body = json.dumps(job(payload="x" * 200_000)).encode()
        with deployment.client("producer") as producer:
            producer.putrequest("POST", f"/enqueue/{kind}/q/")
            producer.putheader("Authorization", "Bearer producer")
            producer.putheader("Transfer-Encoding", "chunked")
            producer.endheaders()
            for at in range(0, len(body), 10_000):
                part = body[at : at + 10_000]
                producer.send(b"%x\r\n%b\r\n" % (len(part), part))
            producer.send(b"0\r\n\r\n")
            assert producer.getresponse().status == 201

    def test_a_restart_refuses_nobody(self, deployment: Deployment) -> None:
        load = Load(deployment, new_type())
        with load:
            wait_for("it runs", lambda: load.done > 50, 20)
            deployment.restart(0)
            load.check()
        load.check()
        assert load.done > 100
        for server in deployment.servers:
            assert "were not finished in time" not in server.log


class Load:
    """Producers, workers and long polls, each on connections of its own, until the context ends."""

    def __init__(self, deployment: Deployment, queue_type: str) -> None:
        self.done = 0
        self.problems: list[str] = []
        self._deployment = deployment
        self._type = queue_type
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._keep_on, args=(work, at))
            for at, work in enumerate([self._work] * 4 + [self._work_once] * 2 + [self._poll] * 2)
        ]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def check(self) -> None:
        assert self.problems == []

    def _keep_on(self, work: Callable[[Client, Client, str], None], at: int) -> None:
        numbers = itertools.count()
        clients: list[Client] = []
        while not self._over.is_set():
            if not clients or work == self._work_once:
                for each in clients:
                    each.close()
                clients = [self._deployment.client(token) for token in ("producer", "worker")]
            try:
                work(clients[0], clients[1], f"{at}-{next(numbers)}")
            except Exception as error:
                self.problems.append(f"{work.__name__}: {error!r}")
                for each in clients:
                    each.close()
                clients = []
        for each in clients:
            each.close()

    def _work_once(self, producer: Client, worker: Client, name: str) -> None:
        """The same on new connections."""
        self._work(producer, worker, name)

    def _work(self, producer: Client, worker: Client, name: str) -> None:
        """A job from end to end, in a queue of its own."""
        path = f"{self._type}/q{name}"
        self._expect(producer, (201,), "POST", f"/enqueue/{path}/", job(name))
        answer = self._expect(worker, (200, 404), "POST", f"/dequeue/{self._type}/")
        if answer.get("status") == "success":
            queue, taken = answer["queue_id"], answer["job_id"]
            lease = {"lease": answer["lease"]}
            self._expect(worker, (200,), "POST", f"/finish/{self._type}/{queue}/{taken}/", lease)
        self.done += 1

    def _poll(self, _producer: Client, worker: Client, _name: str) -> None:
        answer = self._expect(worker, (404,), "GET", f"/dequeue/{self._type}-idle/?wait=2")
        assert answer["code"] == "nothing_ready"
        # Where a proxy lets nobody wait, nobody asks again at once.
        self._over.wait(0.05)

    def _expect(
        self, client: Client, statuses: tuple[int, ...], method: str, path: str, body: Any = None
    ) -> dict[str, Any]:
        answer = client.ask(method, path, body)
        if answer.status not in statuses:
            raise AssertionError(f"{method} {path}: {answer.status} {answer.body}")
        assert isinstance(answer.body, dict)
        return answer.body
