"""Pages of other origins: what they may send, which answers they may read; also in a browser."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from sharq_server import SharQServer
from sharq_server.api.routes import ROUTES
from tests.server.support import Answer, Raw, Rest, write_tokens
from tests.support import http
from tests.support.browser import chromium

pytestmark = pytest.mark.gen_test(timeout=60)

FRIEND = "https://friend.example"
FOE = "https://evil.example"
JOB = {"job_id": "j", "interval": 0, "payload": 1}
BEARER = {"Authorization": "Bearer page"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def origins() -> str:
    return FRIEND


@pytest.fixture
def options(tmp_path: Path, origins: str) -> dict[str, dict[str, Any]]:
    write_tokens(tmp_path / "tokens", {"page": (["*"], ["*"])})
    return {
        "sharq-server": {"allowed_origins": origins, "token_file": str(tmp_path / "tokens")},
        "sharq": {"max_payload_bytes": 1000},
    }


def assert_readable(answer: Answer | http.Answer, origin: str = FRIEND) -> None:
    """The page may read the answer."""
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert answer.headers["Access-Control-Expose-Headers"] == "Retry-After"
    assert answer.headers["Vary"] == "Origin"  # once
    assert "Access-Control-Allow-Credentials" not in answer.headers


def assert_unreadable(answer: Answer | http.Answer) -> None:
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


async def ask_first(rest: Rest, path: str, method: str = "POST", **more: str) -> Answer:
    """A preflight, which has no token."""
    headers = {"Origin": FRIEND, "Access-Control-Request-Method": method}
    return await rest.call("OPTIONS", path, headers=headers | more)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.template)
async def test_a_browser_may_ask_first_on_every_route(rest: Rest, route: Any) -> None:
    path = re.sub("<.*?>", "x", route.template)
    answer = await ask_first(rest, path)
    assert (answer.status, answer.text) == (204, b"")
    assert_readable(answer)
    assert answer.headers["Access-Control-Allow-Methods"] == ", ".join(sorted(route.methods))
    assert answer.headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type"
    assert answer.headers["Access-Control-Max-Age"] == "600"
    assert "Access-Control-Allow-Private-Network" not in answer.headers
    assert not {"Content-Length", "Content-Type"} & set(answer.headers)


async def test_the_connection_stays_after_a_preflight(raw: Raw) -> None:
    async with raw.connect() as connection:
        for _ in range(2):
            await connection.send(
                b"OPTIONS /enqueue/t/q/ HTTP/1.1\r\nHost: localhost\r\n"
                b"Origin: https://friend.example\r\nAccess-Control-Request-Method: POST\r\n"
                b"Access-Control-Request-Private-Network: true\r\n\r\n"
            )
            head = await connection.until(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 204 ")
            assert b"Access-Control-Allow-Private-Network: true\r\n" in head


async def test_a_page_may_then_read_every_answer(rest: Rest) -> None:
    origin = {"Origin": FRIEND}
    asked: list[tuple[str, str, Any, int]] = [
        ("POST", "/enqueue/t/q/", JOB, 201),
        ("POST", "/enqueue/t/q/", {**JOB, "payload": 2}, 409),
        ("POST", "/enqueue/u/full/", {**JOB, "max_queued_length": 0}, 429),
        ("POST", "/enqueue/t/q/", b"{", 400),
        ("POST", "/enqueue/t/q/", b"x" * 70_000, 413),
        ("GET", "/dequeue/t/", None, 200),
        ("POST", "/dequeue/t/?count=1", b"", 404),
        ("DELETE", "/dequeue/t/", None, 405),
        ("GET", "/nowhere", None, 404),
        ("OPTIONS", "/metrics/", None, 405),
        ("POST", "/ui/", b"", 405),
        ("GET", "/ws/", None, 400),
    ]
    for method, path, body, status in asked:
        if path == "/enqueue/u/full/":
            await rest.call("POST", path, {**JOB, "job_id": "k"}, BEARER)
            body = {**JOB, "max_queued_length": 1}
        answer = await rest.call(method, path, body, BEARER | origin)
        assert answer.status == status, (method, path)
        assert_readable(answer)
    answer = await rest.call("GET", "/metrics/", headers=origin)
    assert answer.error == (401, "unauthorized")
    assert_readable(answer)
    # A form, too, which others may not send.
    form = {"Content-Type": "text/plain"}
    answer = await rest.call("POST", "/enqueue/t/q2/", JOB, BEARER | origin | form)
    assert answer.status == 201


class _Own(RequestHandler):
    """A handler of a program's own, which knows CORS itself."""

    def get(self) -> None:
        self.set_header("Access-Control-Allow-Origin", "https://other.example")
        self.set_header("Vary", "Accept")
        self.write({})


async def test_a_handler_of_ones_own_has_the_last_word(rest: Rest, server: SharQServer) -> None:
    server.app.add_handlers(".*", [("/own", _Own)])
    answer = await rest.call("GET", "/own", headers={"Origin": FRIEND})
    assert answer.headers.get_list("Access-Control-Allow-Origin") == ["https://other.example"]
    assert answer.headers.get_list("Vary") == ["Accept", "Origin"]


async def test_a_stopping_server_tells_a_page_so(rest: Rest, server: SharQServer) -> None:
    server.app.draining = True
    answer = await rest.call("GET", "/deepstatus/", headers={"Origin": FRIEND})
    assert answer.error == (503, "stopping")
    assert answer.headers["Retry-After"] == "1"
    assert_readable(answer)


async def test_an_unknown_route_can_be_seen_to_be_unknown(rest: Rest) -> None:
    answer = await ask_first(rest, "/nowhere", "DELETE")
    assert answer.status == 204
    assert_readable(answer)
    assert answer.headers["Access-Control-Allow-Methods"] == "DELETE, GET, HEAD, POST"


@pytest.mark.parametrize("origin", [FOE, "null", "http://friend.example", f"{FRIEND}, {FRIEND}"])
async def test_others_are_refused_as_ever(rest: Rest, origin: str) -> None:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    answer = await rest.call("OPTIONS", "/enqueue/t/q/", headers=asked)
    assert answer.error == (403, "forbidden")
    assert_unreadable(answer)
    answer = await rest.call("POST", "/enqueue/t/q/", JOB, BEARER | JSON | {"Origin": origin})
    assert answer.error == (403, "forbidden")
    assert_unreadable(answer)
    form = {"Origin": origin, "Content-Type": "text/plain"}
    answer = await rest.call("POST", "/enqueue/t/q/", JOB, BEARER | form)
    assert answer.error == (415, "unsupported_media_type")
    assert_unreadable(answer)
    # What has no effect may be asked, and is not shown to the page.
    answer = await rest.call("GET", "/metrics/", headers=BEARER | {"Origin": origin})
    assert answer.status == 200
    assert_unreadable(answer)
    assert_unreadable(await rest.call("GET", "/nowhere", headers={"Origin": origin}))
    assert not (await rest.call("GET", "/metrics/", headers=BEARER)).body["queue_types"]


async def test_who_names_no_origin_sees_no_difference(rest: Rest) -> None:
    for method, path in (("GET", "/"), ("GET", "/nowhere"), ("OPTIONS", "/metrics/")):
        answer = await rest.call(method, path, headers=BEARER)
        assert_unreadable(answer)
        assert "Vary" not in answer.headers
    assert answer.error == (405, "method_not_allowed")


async def test_a_foreign_host_is_foreign_also_to_who_asks_first(raw: Raw) -> None:
    answer = await raw.send(
        b"OPTIONS /enqueue/t/q/ HTTP/1.1\r\nHost: evil.example\r\n"
        b"Origin: https://friend.example\r\nAccess-Control-Request-Method: POST\r\n\r\n"
    )
    assert answer.error == (403, "forbidden")


class TestSlowly:
    @pytest.fixture
    def limits(self) -> dict[str, Any]:
        return {"idle_connection_timeout": 0.2, "body_timeout": 0.2}

    async def test_a_page_learns_that_its_request_came_too_slowly(self, raw: Raw) -> None:
        answer = await raw.send(
            b"POST /enqueue/t/q/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
            b"Authorization: Bearer page\r\nOrigin: https://friend.example\r\n\r\n{"
        )
        assert answer.error == (408, "request_timeout")
        assert_readable(answer)


class TestAll:
    @pytest.fixture
    def origins(self) -> str:
        return "*"

    @pytest.mark.parametrize("origin", [FRIEND, FOE, "null"])
    async def test_every_page_may_ask_with_its_token(self, rest: Rest, origin: str) -> None:
        answer = await ask_first(rest, "/enqueue/t/q/", Origin=origin)
        assert answer.status == 204
        assert_readable(answer, "*")
        answer = await rest.call("POST", "/enqueue/t/q/", JOB, {"Origin": origin})
        assert answer.status == 401
        assert_readable(answer, "*")
        answer = await rest.call("POST", "/enqueue/t/q/", JOB, BEARER | {"Origin": origin})
        assert answer.status == 201


class TestUnderTornadosServer:
    @pytest.fixture
    def rest(self, io_loop: IOLoop, server: SharQServer) -> Iterator[Rest]:
        sockets = bind_sockets(0, "127.0.0.1")
        stock = HTTPServer(server.app)
        stock.add_sockets(sockets)
        client = AsyncHTTPClient(force_instance=True)
        yield Rest(client, sockets[0].getsockname()[1])
        client.close()
        stock.stop()
        io_loop.run_sync(stock.close_all_connections)

    async def test_it_is_the_same(self, rest: Rest) -> None:
        for path in ("/enqueue/t/q/", "/nowhere"):
            answer = await ask_first(rest, path)
            assert answer.status == 204
            assert_readable(answer)
        origin = {"Origin": FRIEND}
        for path, headers, status in (
            ("/enqueue/t/q/", BEARER, 201),
            ("/enqueue/t/q/", {}, 401),
            ("/nowhere", {}, 404),
        ):
            answer = await rest.call("POST", path, JOB, headers | origin)
            assert answer.status == status
            assert_readable(answer)
        assert (await ask_first(rest, "/enqueue/t/q/", Origin=FOE)).status == 403


# ---- in a browser ----


class _Page(RequestHandler):
    """A page of another origin."""

    def get(self) -> None:
        self.finish("<title>elsewhere</title>")


# Enqueues, takes, and asks for what is refused; what the page sees of each answer.
VISIT = """
(async () => {
  const ask = async (method, path, body, token = "page") => {
    try {
      const answer = await fetch("%s" + path, {
        method, body: body && JSON.stringify(body),
        headers: { Authorization: "Bearer " + token, "Content-Type": "application/json" },
      });
      const told = await answer.json();
      return [answer.status, told.code || told.status, answer.headers.get("Retry-After")];
    } catch (error) {
      return "unreadable";
    }
  };
  const job = { job_id: "j", interval: 0, payload: { from: "a page" } };
  return [
    await ask("POST", "/enqueue/t/q/", job),
    await ask("GET", "/dequeue/t/"),
    await ask("GET", "/dequeue/t/"),
    await ask("POST", "/finish/t/q/j/"),
    await ask("DELETE", "/deletequeue/t/q/"),
    await ask("GET", "/nowhere"),
    await ask("GET", "/metrics/", undefined, "unknown"),
  ];
})()
"""


@pytest.fixture
def elsewhere() -> Iterator[int]:
    """The port of a server with a page."""
    sockets = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(Application([("/.*", _Page)]))
    server.add_sockets(sockets)
    yield sockets[0].getsockname()[1]
    server.stop()


def look(port: int, elsewhere: int) -> Any:
    with chromium() as browser:
        page = browser.new_page()
        page.goto(f"http://localhost:{elsewhere}/")
        assert page.title() == "elsewhere"
        return page.evaluate(VISIT % f"http://127.0.0.1:{port}")


async def visit(port: int, elsewhere: int) -> Any:
    """What a page of another origin sees of the server."""
    return await asyncio.to_thread(look, port, elsewhere)


@pytest.mark.needs("chromium", "playwright")
class TestInABrowser:
    @pytest.fixture
    def origins(self, elsewhere: int) -> str:
        return f"http://localhost:{elsewhere}"

    async def test_an_allowed_page_can_use_the_api(
        self, rest: Rest, http_port: int, elsewhere: int
    ) -> None:
        assert await visit(http_port, elsewhere) == [
            [201, "queued", None],
            [200, "success", None],
            [404, "nothing_ready", "1"],
            [200, "success", None],
            [200, "Failure", None],
            [404, "not_found", None],
            [401, "unauthorized", None],
        ]


@pytest.mark.needs("chromium", "playwright")
class TestInABrowserThatIsElsewhere:
    async def test_another_page_cannot(self, rest: Rest, http_port: int, elsewhere: int) -> None:
        assert await visit(http_port, elsewhere) == ["unreadable"] * 7
        assert not (await rest.call("GET", "/metrics/", headers=BEARER)).body["queue_types"]
