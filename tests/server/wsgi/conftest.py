"""The REST API behind a web server of others, in the place of the server's own."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient

from sharq.settings.reading import Settings
from tests.server.support import Answer, Rest
from tests.server.wsgi.stage import HEADER
from tests.server.wsgi.web_servers import WebServer

STAGE = "tests.server.wsgi.stage:application"
IN_PROCESS = {"server", "app", "raw", "working", "monkeypatch", "proxy", "http_port"}
"""Arguments of tests that look into the server's own process, or use its push channel."""

DIFFERENT = (
    "test_14_a_long_poll_tells_of_the_schedule_at_its_end*",  # `wait` is answered at once
    "test_a_method_in_small_letters_is_another_one*",  # methods are made upper-case, or refused
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of the tests that are run here a second time, leave out those of the other server itself."""
    here = Path(__file__).parent
    items[:] = [item for item in items if item.path.parent != here or _is_for_any_server(item)]


def _is_for_any_server(item: pytest.Item) -> bool:
    assert isinstance(item, pytest.Function)
    if item.path.name == "test_web_servers.py":
        return True
    arguments = inspect.signature(item.function).parameters
    return IN_PROCESS.isdisjoint(arguments) and not any(
        fnmatch(item.name, name) for name in DIFFERENT
    )


class RestOfWSGI(Rest):
    """The REST API with the settings of a test."""

    def __init__(self, client: AsyncHTTPClient, port: int, settings: Settings) -> None:
        super().__init__(client, port)
        self._settings = {
            HEADER: json.dumps(
                {
                    "sharq": asdict(settings.sharq),
                    "sharq-server": asdict(settings.server),
                    "redis": asdict(settings.redis),
                }
            )
        }

    async def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        return await super().call(method, path, body, {**self._settings, **(headers or {})})


@pytest.fixture(scope="session", params=["gunicorn, threads", "waitress"])
def web_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebServer]:
    with WebServer(request.param, STAGE, tmp_path_factory.mktemp("web-server")) as web_server:
        yield web_server


@pytest.fixture
def http_server(web_server: WebServer) -> WebServer:
    return web_server


@pytest.fixture
def http_port(web_server: WebServer) -> int:
    return web_server.port


@pytest.fixture
def rest(
    http_client: AsyncHTTPClient, http_port: int, settings: Settings, web_server: WebServer
) -> Iterator[Rest]:
    yield RestOfWSGI(http_client, http_port, settings)
    connection = web_server.connect()
    connection.request("GET", "/", headers={HEADER: ""})
    assert connection.getresponse().status == 204
    connection.close()
