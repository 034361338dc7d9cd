"""A server with its dashboard, and a browser that looks at it."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.server.command import Server
from tests.support.browser import PATIENCE, chromium
from tests.support.proxy import Proxy
from tests.support.stores import PrivateStore
from tests.ui.subscriber import Subscriber

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, WebSocket, WebSocketRoute

_numbers = itertools.count()
_BULK = 1000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for the tests of a module: each has a context of its own.

    As long as there is one, its event loop is the thread's: no test in it can have another.
    """
    with chromium() as browser:
        yield browser


class Stand:
    """A server process below `base_path`, and requests to it.

    `gate`: what browsers reach it through, where there is one. `store_gate`: what it reaches its
    store through.
    """

    def __init__(self, server: Server, store_gate: Proxy, gate: Proxy | None = None) -> None:
        self.server = server
        self.store_gate = store_gate
        self.gate = gate
        self.base_path = ""
        self.subscribers: list[Subscriber] = []

    @property
    def root(self) -> str:
        """Where the API is."""
        port = self.server.port if self.gate is None else self.gate.port
        return f"http://127.0.0.1:{port}{self.base_path}"

    @property
    def url(self) -> str:
        """Where the dashboard is."""
        return f"{self.root}/ui/"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """A request; fails where it is refused."""
        status, told = self.server.call(method, self.base_path + path, body)
        assert status < 400, told
        return told

    def state(self, place: str) -> Any:
        """The state of a job; None if it is not known."""
        return self.server.call("GET", f"/status/{place}/")[1].get("state")

    def enqueue(self, place: str, job_id: str = "j", payload: Any = 1, **more: Any) -> None:
        self.call(
            "POST",
            f"/enqueue/{place}/",
            {"job_id": job_id, "payload": payload, "interval": 0, **more},
        )

    def enqueue_text(self, place: str, payload: str) -> None:
        """The job `j`, whose payload is this JSON text."""
        connection = self.server.connect()
        body = f'{{"job_id": "j", "interval": 0, "payload": {payload}}}'
        connection.request("POST", f"/enqueue/{place}/", body)
        assert connection.getresponse().status == 201
        connection.close()

    def fill(self, *places: str, jobs: int = 1, **more: Any) -> None:
        """Enqueue the jobs `j0`, `j1`, … of each queue, given as type/queue."""
        entries = [
            {"queue_type": kind, "queue_id": queue, "job_id": f"j{at}", "payload": 1, **more}
            for kind, queue in (place.split("/") for place in places)
            for at in range(jobs)
        ]
        for at in range(0, len(entries), _BULK):
            jobs_of_call = [{"interval": 0, **each} for each in entries[at : at + _BULK]]
            told = self.call("POST", "/enqueue/", {"jobs": jobs_of_call})
            assert all(each["status"] == "queued" for each in told["results"])

    def take(self, queue_type: str) -> Any:
        return self.call("POST", f"/dequeue/{queue_type}/")

    def kill(self, queue_type: str, queue: str, job_id: str, **error: str) -> None:
        """Make a dead letter."""
        self.enqueue(f"{queue_type}/{queue}", job_id, {"to": job_id})
        taken = self.take(queue_type)
        assert taken["job_id"] == job_id
        body = {"error": error, "retry": False}
        self.call("POST", f"/fail/{queue_type}/{queue}/{job_id}/", body)

    def subscriber(self, token: str | None = None) -> Subscriber:
        """A connection of the push channel, closed with the test."""
        self.subscribers.append(Subscriber(self.server.port, token))
        return self.subscribers[-1]

    def close(self) -> None:
        """Close its subscribers."""
        while self.subscribers:
            self.subscribers.pop().close()


StandMaker = Callable[..., Stand]


@pytest.fixture(scope="module")
def make_stand(
    store: PrivateStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StandMaker]:
    """Makes servers with other settings (``SHARQ_SERVER_…`` in lower case).

    `gated`: with a gate between browsers and the server.
    """
    with ExitStack() as stack:

        def make(*, gated: bool = False, **options: str) -> Stand:
            home = tmp_path_factory.mktemp("dashboard")
            variables = {f"SHARQ_SERVER_{name.upper()}": value for name, value in options.items()}
            store_gate = stack.enter_context(Proxy(store.socket_path))
            server = stack.enter_context(
                Server(
                    home,
                    embedded=False,
                    SHARQ_REDIS_HOST=store_gate.host,
                    SHARQ_REDIS_PORT=str(store_gate.port),
                    SHARQ_REDIS_KEY_PREFIX=f"dashboard{next(_numbers)}",
                    **variables,
                )
            )
            gate = None
            if gated:
                gate = stack.enter_context(Proxy(("127.0.0.1", server.port)))
            stand = Stand(server, store_gate, gate)
            stand.base_path = options.get("base_path", "")
            return stand

        yield make


@pytest.fixture(scope="module")
def shared(make_stand: StandMaker) -> Stand:
    """One for the tests of a module."""
    return make_stand(environment="production")


@pytest.fixture
def stand(shared: Stand, store: PrivateStore) -> Iterator[Stand]:
    """The module's, without data."""
    # A server tells the store of a type once: the names stay.
    known: list[bytes] = store.command("KEYS", "*")
    forget(store, *(key for key in known if not key.endswith(b"}:types")))
    yield shared
    shared.close()


def forget(store: PrivateStore, *keys: bytes) -> None:
    """Delete keys, if there are any."""
    if keys:
        store.client.delete(*keys)


@pytest.fixture
def kind() -> str:
    """A queue type for one test alone."""
    return f"type{next(_numbers)}"


@pytest.fixture
def complaints() -> list[str]:
    """What a page may complain about in its console: regular expressions, for the test to add."""
    return []


def told(line: ConsoleMessage) -> str:
    return f"{line.text} {line.location['url']}"


@pytest.fixture
def open_page(browser: Browser, complaints: list[str]) -> Iterator[Callable[..., Page]]:
    """Opens pages; a page that complains in its console fails the test."""
    contexts, said = [], []

    def open_page(url: str, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda line: line.type == "error" and said.append(told(line)))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    unexpected = [text for text in said if not any(re.search(each, text) for each in complaints)]
    assert unexpected == []


@pytest.fixture
def page(open_page: Callable[..., Page], stand: Stand) -> Page:
    """The overview of the module's server."""
    return open_page(stand.url)


class Talk:
    """What a page says on the push channel from now on."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._sockets: list[WebSocket] = []
        self._watched: list[list[str]] = []
        page.on("websocket", self._on_socket)

    def open(self) -> int:
        """How many connections there are."""
        self._take_events()
        return sum(not socket.is_closed() for socket in self._sockets)

    def watched(self) -> list[list[str]]:
        """The topics of each frame `watch`."""
        self._take_events()
        return self._watched

    def _on_socket(self, socket: WebSocket) -> None:
        self._sockets.append(socket)
        socket.on("framesent", self._on_frame)

    def _on_frame(self, text: str | bytes) -> None:
        frame = json.loads(text)
        if frame["op"] == "watch":
            self._watched.append(frame["topics"])

    def _take_events(self) -> None:
        """The browser's events come while something is asked of it."""
        self._page.evaluate("0")


def retell(page: Page, change: Callable[[str, Any], None]) -> None:
    """Have a page told what a server in order cannot be made to tell.

    `change(topic, data)` changes what each event of `watch` has.
    """

    def on_socket(browser: WebSocketRoute) -> None:
        server = browser.connect_to_server()

        def pass_on(text: str | bytes) -> None:
            event = json.loads(text)
            if "data" in event:
                change(event["topic"], event["data"])
            browser.send(json.dumps(event))

        server.on_message(pass_on)

    page.route_web_socket("**/ws/", on_socket)
