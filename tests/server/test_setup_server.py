"""`setup_server` and `SharQServer`, for those who bring an event loop of their own."""

from __future__ import annotations

import asyncio
import gzip
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.ioloop import IOLoop
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from sharq.errors import ConfigError, StoreUnavailable
from sharq.settings.reading import Settings
from sharq_server import SharQServer, __version__, setup_server
from sharq_server.security.certificates import Certificate
from tests.server.conftest import ExpectLog
from tests.server.support import Raw, Rest
from tests.support.stores import PrivateStore

TLS = Path(__file__).parent.parent / "support" / "tls"

# As the original ships it, comments included; the store is the test's.
ORIGINAL = """\
[sharq]
job_expire_interval       : 1000 ; in milliseconds
job_requeue_interval      : 20 ; in milliseconds
default_job_requeue_limit : -1 ; retries infinitely

[sharq-server]
host                      : 127.0.0.1
port                      : 8080
workers                   : 1 ; optional
accesslog                 : /tmp/sharq.log ; optional

[redis]
db                        : 0
key_prefix                : {key_prefix}
conn_type                 : unix_sock ; or tcp_sock
;; unix connection settings
unix_socket_path          : {socket} ; or another
;; tcp connection settings
port                      : 6379
host                      : 127.0.0.1
"""


@pytest.fixture
def conf(tmp_path: Path, store: PrivateStore, key_prefix: str) -> Path:
    path = tmp_path / "sharq.conf"
    path.write_text(ORIGINAL.format(key_prefix=key_prefix, socket=store.socket_path))
    return path


@pytest.mark.gen_test
async def test_a_running_loop_is_enough(conf: Path) -> None:
    server = setup_server(str(conf))
    listener = server.app.listen(0, "127.0.0.1")
    port = listener.addresses()[0][1]
    client = AsyncHTTPClient()
    try:
        rest = Rest(client, port)
        assert (await rest.enqueue()).status == 201
        assert (await rest.get("/dequeue/t/")).status == 200
    finally:
        client.close()
        listener.stop()
        await listener.close_all_connections()
        await server.stop()


@pytest.fixture
def short_leases(conf: Path) -> None:
    conf.write_text(conf.read_text().replace(": 1000 ;", ": 30 ;"))


@pytest.mark.gen_test
@pytest.mark.usefixtures("short_leases")
async def test_the_requeue_loop_begins_with_the_server(conf: Path) -> None:
    server = setup_server(str(conf))
    try:
        await server.start()
        await server.sq.submit(server.sq.new_job(b"1", 0, "j", "q", "t"))
        assert len(await server.sq.take("t")) == 1
        async with asyncio.timeout(5):
            while (await server.sq.job_status("t", "q", "j")).state != "queued":
                await asyncio.sleep(0.01)
    finally:
        await server.stop()


def test_a_server_has_what_the_original_has(settings: Settings) -> None:
    server = setup_server(settings)
    assert isinstance(server, SharQServer)
    assert isinstance(server.app, Application)
    assert server.config == settings
    assert server.sq.settings == settings
    assert __version__


def test_a_wrong_configuration_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.conf"):
        setup_server(tmp_path / "absent.conf")


def test_a_tornado_program_serves_it_without_another_word(conf: Path) -> None:
    program = """if True:
        import sys, json, logging, urllib.request
        from tornado.ioloop import IOLoop
        from sharq_server import setup_server

        # The tests' store keeps nothing.
        logging.getLogger("sharq_server.process.health").setLevel(logging.ERROR)
        server = setup_server(sys.argv[1])
        listener = server.app.listen(0, "127.0.0.1")
        port = listener.addresses()[0][1]
        loop = IOLoop.current()

        def ask():
            url = f"http://127.0.0.1:{port}/enqueue/t/q/"
            body = json.dumps({"job_id": "j", "interval": 0, "payload": 1}).encode()
            with urllib.request.urlopen(url, body) as answer:
                return answer.status, answer.read()

        async def main():
            print(await loop.run_in_executor(None, ask))
            listener.stop()
            await listener.close_all_connections()
            await server.stop()
            loop.stop()

        loop.add_callback(main)
        loop.start()
        """
    done = subprocess.run(
        [sys.executable, "-c", program, str(conf)],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.stdout, done.stderr) == ('(201, b\'{"status":"queued"}\')\n', "")


@pytest.mark.gen_test
async def test_handlers_of_a_program_serve_other_paths(
    server: SharQServer, rest: Rest, raw: Raw
) -> None:
    class Greeting(RequestHandler):
        def get(self, name: str) -> None:
            self.write({"hello": name})

        def post(self, name: str) -> None:
            self.write({name: len(self.request.body)})

    server.app.add_handlers(r".*", [(r"/greeting/(\w+)", Greeting)])
    assert (await rest.get("/greeting/Ada")).outcome == (200, {"hello": "Ada"})
    assert (await rest.post("/greeting/Ada", b"x" * 1000)).outcome == (200, {"Ada": 1000})
    body, head = gzip.compress(b"x" * 1000), {"Content-Encoding": "gzip"}
    compressed = await rest.call("POST", "/greeting/Ada", body, head)
    assert compressed.outcome == (200, {"Ada": 1000})
    assert (await rest.get("/")).outcome == (200, {"message": "Hello, SharQ!"})
    assert (await rest.get("/greetings")).error == (404, "not_found")
    query = b"&".join([b"a=1"] * 2000)
    answer = await raw.send(b"GET /greeting/Ada?%b HTTP/1.1\r\nHost: a\r\n\r\n" % query)
    assert answer.error == (400, "bad_request")


@pytest.mark.gen_test
async def test_to_listen_is_to_begin(settings: Settings) -> None:
    server = SharQServer(settings)
    listener = server.app.listen(0, "127.0.0.1")
    try:
        async with asyncio.timeout(5):
            while True:
                with suppress(StoreUnavailable):
                    await server.sq.ping()
                    break
                await asyncio.sleep(0.01)
    finally:
        listener.stop()
        await server.stop()


@pytest.mark.gen_test
async def test_it_can_be_served_by_tls(server: SharQServer) -> None:
    certificate = Certificate(str(TLS / "server.pem"), str(TLS / "server.key"))
    listener = server.app.listen(0, "127.0.0.1", certificate=certificate)
    client = AsyncHTTPClient()
    try:
        url = f"https://127.0.0.1:{listener.addresses()[0][1]}/deepstatus/"
        answer = await client.fetch(url, ca_certs=str(TLS / "authority.pem"))
        assert answer.body == b'{"status":"success"}'
    finally:
        client.close()
        listener.stop()
        await listener.close_all_connections()


@pytest.mark.gen_test
async def test_an_option_of_tornados_server_names_it(server: SharQServer) -> None:
    with pytest.raises(TypeError, match=r"no xheaders, ssl_options.*HTTPServer\(app, xheaders=…"):
        server.app.listen(0, "127.0.0.1", xheaders=True, ssl_options={})


@pytest.mark.gen_test
async def test_a_handler_that_wants_the_stream_is_told_what_serves_it(
    server: SharQServer, raw: Raw, rest: Rest, expect_log: ExpectLog
) -> None:
    expect_log("Uncaught exception")

    class Echo(WebSocketHandler):
        def on_message(self, message: str | bytes) -> None:
            self.write_message(message)

    server.app.add_handlers(r".*", [("/echo", Echo)])
    answer = await raw.send(
        b"GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: rSg7uRqebWB2f3l5A99MoA==\r\n\r\n"
    )
    assert answer.error == (500, "internal")
    assert "another server" in answer.body["message"]
    assert (await rest.get("/")).status == 200


class TestBeforeTheStart:
    @pytest.fixture
    def server(
        self, io_loop: IOLoop, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[SharQServer]:
        """A server that takes its time to start, and has not begun to."""
        server = SharQServer(settings)
        start = server.engine.start

        async def start_late() -> None:
            await asyncio.sleep(0.2)
            await start()

        monkeypatch.setattr(server.engine, "start", start_late)
        yield server
        io_loop.run_sync(server.stop)

    @pytest.mark.gen_test
    async def test_the_first_request_waits_for_the_start(self, rest: Rest) -> None:
        assert (await rest.enqueue()).status == 201


class TestAStoreThatCannotBe:
    @pytest.fixture
    def options(self, tmp_path: Path) -> dict[str, dict[str, Any]]:
        (tmp_path / "a file").touch()
        return {"redis": {"conn_type": "embedded", "data_dir": str(tmp_path / "a file")}}

    @pytest.fixture
    def server(self, settings: Settings) -> SharQServer:
        return SharQServer(settings)

    @pytest.mark.gen_test
    async def test_a_server_without_a_store_says_so(
        self, rest: Rest, expect_log: ExpectLog
    ) -> None:
        expect_log("The server could not start")
        assert (await rest.get("/dequeue/")).error == (503, "store_unavailable")
