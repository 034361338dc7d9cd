"""The server under test: on a port of its own, over a real store, by a real HTTP client."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.ioloop import IOLoop

from sharq import LeasedJob, Worker
from sharq.settings.reading import Settings
from sharq_server import SharQServer
from sharq_server.app import SharQApplication
from sharq_server.http.listener import Listener
from sharq_server.process.event_loop import loop_factory
from tests.server.support import Raw, Rest
from tests.support.stores import PrivateStore

_numbers = itertools.count()


class ExpectLog(Protocol):
    """Declares a log message; one that is not `certain` may be missing."""

    def __call__(self, pattern: str, *, certain: bool = True) -> None: ...


@pytest.fixture(autouse=True)
def expect_log(caplog: pytest.LogCaptureFixture) -> Iterator[ExpectLog]:
    """Declares, by a regular expression, what a test has the server log; all else fails it."""
    expected: dict[str, bool] = {}

    def declare(pattern: str, *, certain: bool = True) -> None:
        expected[pattern] = certain

    yield declare
    records = [
        record
        for phase in ("setup", "call")
        for record in caplog.get_records(phase)
        # The tests' stores keep nothing; what is said of that is in test_durability.py.
        if record.levelno >= logging.WARNING and record.name != "sharq_server.process.health"
    ]
    messages = [record.getMessage() for record in records]
    unexpected = [m for m in messages if not any(re.search(e, m) for e in expected)]
    missing = [e for e in expected if expected[e] and not any(re.search(e, m) for m in messages)]
    assert (unexpected, missing) == ([], []), "unexpected and missing log messages"


@pytest.fixture
def key_prefix() -> str:
    """The keys of one test; none other meets them."""
    return f"test{next(_numbers)}"


@pytest.fixture
def options() -> dict[str, dict[str, Any]]:
    """Settings that a test wants otherwise, by section."""
    return {}


class _Policy(asyncio.DefaultEventLoopPolicy):
    """Makes event loops as the test that runs wants them."""

    make: Callable[[], asyncio.AbstractEventLoop] = asyncio.SelectorEventLoop

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return self.make()


# One for all tests: a policy keeps a loop of its own, which nobody closes.
_POLICY = _Policy()


def _loop_of(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the loop of a test: a server process's, if it does not choose."""
    # Not an argument: the plugin asks for the loop when it is too late for parameters.
    if "new_loop" in request.fixturenames:
        chosen: Callable[[], asyncio.AbstractEventLoop] = request.getfixturevalue("new_loop")
        return chosen
    return loop_factory() or asyncio.SelectorEventLoop


@pytest.fixture
def io_loop(request: pytest.FixtureRequest) -> Iterator[IOLoop]:
    """The event loop of a test, as Tornado has it."""
    new_loop = _loop_of(request)
    before = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(_POLICY)
    _POLICY.make = new_loop
    try:
        loop = IOLoop()
        loop.make_current()
        yield loop
        loop.clear_current()
        loop.close(all_fds=True)
    finally:
        _POLICY.make = asyncio.SelectorEventLoop
        asyncio.set_event_loop_policy(before)


@pytest.fixture
def settings(store: PrivateStore, key_prefix: str, options: dict[str, dict[str, Any]]) -> Settings:
    """The server's settings: the shared store, and nobody who sweeps."""
    redis = {
        "conn_type": "unix_sock",
        "unix_socket_path": store.socket_path,
        "key_prefix": key_prefix,
    }
    return Settings.from_mapping(
        {
            "sharq": {"enable_requeue_script": False} | options.get("sharq", {}),
            "sharq-server": {"allowed_hosts": "a x"} | options.get("sharq-server", {}),
            "redis": redis | options.get("redis", {}),
        }
    )


@pytest.fixture
def server(io_loop: IOLoop, settings: Settings) -> Iterator[SharQServer]:
    server = SharQServer(settings)
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)


@pytest.fixture
def second_server(io_loop: IOLoop, settings: Settings) -> Iterator[SharQServer]:
    """Another server on the same store."""
    server = SharQServer(settings)
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)


@pytest.fixture
def another_server(io_loop: IOLoop, second_server: SharQServer) -> Iterator[int]:
    """The port of the other server."""
    listener = second_server.app.listen(0, "127.0.0.1")
    yield listener.addresses()[0][1]
    listener.stop()
    io_loop.run_sync(listener.close_all_connections)


@pytest.fixture
def app(server: SharQServer) -> SharQApplication:
    return server.app


@pytest.fixture
def limits() -> dict[str, Any]:
    """Options of the listener that a test wants otherwise."""
    return {}


@pytest.fixture
def http_server(
    io_loop: IOLoop,
    app: SharQApplication,
    _unused_port: tuple[socket.socket, int],
    limits: dict[str, Any],
) -> Iterator[Listener]:
    listener = app.make_listener(**limits)
    listener.add_sockets([_unused_port[0]])
    yield listener
    listener.stop()
    io_loop.run_sync(listener.close_all_connections)


@pytest.fixture
def rest(http_client: AsyncHTTPClient, http_port: int) -> Rest:
    """The REST API."""
    return Rest(http_client, http_port)


@pytest.fixture
def raw(http_server: Listener, http_port: int) -> Raw:
    """The server's port, for bytes that no HTTP client sends."""
    return Raw(http_port)


@pytest.fixture
def working(http_port: int, http_server: object) -> Any:
    """Runs a worker while the context lasts; it has stopped when that is left."""

    @asynccontextmanager
    async def working(
        handler: Callable[[LeasedJob], Any], types: Any = "t", **options: Any
    ) -> AsyncIterator[Worker]:
        worker = Worker(f"ws://127.0.0.1:{http_port}/ws/", types, **options)
        worker.handler(handler)
        serving = asyncio.ensure_future(worker.serve())
        try:
            yield worker
        finally:
            worker.stop()
            await serving

    return working
