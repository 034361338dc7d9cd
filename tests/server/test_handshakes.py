"""What HTTP and websocket clients of many languages send, byte for byte, is taken.

The heads were recorded from the clients that the names tell: those of standard libraries, and those
of usual ones where a language's own has no websocket. Of PHP it is its own HTTP client.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from sharq.codec import websocket_frames as ws
from sharq_server import SharQServer
from tests.server.support import Raw, Rest
from tests.support.http import Connection

pytestmark = pytest.mark.gen_test(timeout=20)

TLS = Path(__file__).parent.parent / "support" / "tls"

HANDSHAKES = {
    # java.net.http.WebSocket: with a length.
    "Java 17": b"GET /ws/ HTTP/1.1\r\nConnection: Upgrade\r\nContent-Length: 0\r\n"
    b"Host: 127.0.0.1:18080\r\nUpgrade: websocket\r\nUser-Agent: Java-http-client/17.0.15\r\n"
    b"Sec-WebSocket-Key: ngOROnCxHw5b6aGac84o6A==\r\nSec-WebSocket-Protocol: sharq.v1.json\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n",
    # The global WebSocket: names in lower case, extensions, Sec-Fetch-Mode.
    "Node 20": b"GET /ws/ HTTP/1.1\r\nhost: 127.0.0.1:18080\r\nconnection: upgrade\r\n"
    b"upgrade: websocket\r\nsec-websocket-key: B0gzTdb3sfQI39A3/P/2ng==\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-protocol: sharq.v1.json\r\n"
    b"sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\naccept: */*\r\n"
    b"accept-language: *\r\nsec-fetch-mode: websocket\r\nuser-agent: node\r\npragma: no-cache\r\n"
    b"cache-control: no-cache\r\naccept-encoding: gzip, deflate\r\n\r\n",
    "Python, websockets 17": b"GET /ws/ HTTP/1.1\r\nHost: 127.0.0.1:18080\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: w//X65F3zHtZqJl6CVw6BQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    b"Sec-WebSocket-Protocol: sharq.v1.json\r\nUser-Agent: Python/3.11 websockets/17.4\r\n\r\n",
    "Python, aiohttp 3.14": b"GET /ws/ HTTP/1.1\r\nHost: 127.0.0.1:18080\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: 6rI43i8p2zX+FDbjsG9ZXQ==\r\nSec-WebSocket-Protocol: sharq.v1.json\r\n"
    b"Accept: */*\r\nAccept-Encoding: gzip, deflate\r\n"
    b"User-Agent: Python/3.11 aiohttp/3.14.5\r\n\r\n",
    # Its own address as the origin.
    "Python, websocket-client": b"GET /ws/ HTTP/1.1\r\nUpgrade: websocket\r\n"
    b"Host: 127.0.0.1:18080\r\nOrigin: http://127.0.0.1:18080\r\n"
    b"Sec-WebSocket-Key: 4TiGMzwmjKgAVbIPZB0Zww==\r\nSec-WebSocket-Version: 13\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Protocol: sharq.v1.json\r\n\r\n",
    # An origin is mandatory there, and is written with a path.
    "Go, golang.org/x/net": b"GET /ws/ HTTP/1.1\r\nHost: 127.0.0.1:18080\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: 7w0OclvU9USrnPgHyaM7+A==\r\nOrigin: http://127.0.0.1:18080/\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sharq.v1.json\r\n\r\n",
    "Go, gorilla": b"GET /ws/ HTTP/1.1\r\nHost: 127.0.0.1:18080\r\n"
    b"User-Agent: Go-http-client/1.1\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: L/VMFHHwkcI772K4jL6eKQ==\r\nSec-WebSocket-Protocol: sharq.v1.json\r\n"
    b"Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n",
    # System.Net.WebSockets.ClientWebSocket, as Mono 6.8 has it.
    "C#": b"GET /ws/ HTTP/1.1\r\nHost: 127.0.0.1:18080\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: Uu8CRwh0+U6/uLCMSSc0wA==\r\n"
    b"Sec-WebSocket-Protocol: sharq.v1.json\r\n\r\n",
    "Ruby, websocket-driver": b"GET /ws/ HTTP/1.1\r\nHost: 127.0.0.1:18080\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: rSg7uRqebWB2f3l5A99MoA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: sharq.v1.json\r\n\r\n",
    "Perl, Mojolicious": b"GET /ws/ HTTP/1.1\r\nAccept-Encoding: gzip\r\nConnection: Upgrade\r\n"
    b"Host: 127.0.0.1:18080\r\nSec-WebSocket-Key: NzY4ODc1MDMyNTIwOTgxMA==\r\n"
    b"Sec-WebSocket-Protocol: sharq.v1.json\r\nSec-WebSocket-Version: 13\r\n"
    b"Upgrade: websocket\r\nUser-Agent: Mojolicious (Perl)\r\n\r\n",
}

PLAIN = (
    b"GET /ws/ HTTP/1.1\r\nHost: 127.0.0.1:18080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: rSg7uRqebWB2f3l5A99MoA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: sharq.v1.json\r\n\r\n"
)


def other(old: bytes, new: bytes) -> bytes:
    assert old in PLAIN
    return PLAIN.replace(old, new, 1)


def with_field(field: bytes, body: bytes = b"") -> bytes:
    return other(b"\r\n\r\n", b"\r\n" + field + b"\r\n\r\n") + body


# What no client above has, and others, browsers and proxies among them, may have.
FORMS = {
    "no body, in chunks": with_field(b"Transfer-Encoding: chunked", b"0\r\n\r\n"),
    "no body, by a long zero": with_field(b"content-length:000"),
    "words of other cases": other(b"Upgrade: websocket", b"UPGRADE: WebSocket"),
    "kept alive": other(b"Connection: Upgrade", b"Connection: keep-alive, Upgrade"),
    "two Connections": with_field(b"Connection: keep-alive"),
    "several things to upgrade to": other(b"Upgrade: websocket", b"Upgrade: websocket, h2c"),
    "several subprotocols": other(b": sharq.v1.json", b": other ,sharq.v1.json,sharq.v2.json"),
    "subprotocols in two fields": with_field(b"Sec-WebSocket-Protocol: other"),
    "spaces and tabs": other(b"Upgrade: websocket", b"Upgrade:\t websocket \t"),
    "no spaces": other(b"Upgrade: websocket", b"Upgrade:websocket"),
    "extensions": with_field(b"Sec-WebSocket-Extensions: permessage-deflate, x-webkit-frame"),
    "a whole URL": other(b"GET /ws/", b"GET http://127.0.0.1:18080/ws/"),
    "no slash": other(b"GET /ws/", b"GET /ws"),
    "a query": other(b"GET /ws/", b"GET /ws/?v=1"),
}


async def is_welcome(connection: Connection, handshake: bytes, *, sent: bool = False) -> None:
    """Shake hands, and meet the first frame."""
    if not sent:
        await connection.send(handshake)
    head = (await connection.until(b"\r\n\r\n")).decode().lower()
    assert head.startswith("http/1.1 101 "), head
    key = next(
        line.partition(b":")[2].strip().decode()
        for line in handshake.splitlines()
        if line.lower().startswith(b"sec-websocket-key")
    )
    assert f"sec-websocket-accept: {ws.accept_value(key).lower()}\r\n" in head
    assert "sec-websocket-protocol: sharq.v1.json\r\n" in head
    assert "sec-websocket-extensions" not in head
    assert b'"event":"welcome"' in await connection.until(b"sharq.v1.json")


@pytest.mark.parametrize("name", HANDSHAKES)
async def test_a_handshake_of_a_client_is_taken(raw: Raw, name: str) -> None:
    async with raw.connect() as connection:
        await is_welcome(connection, HANDSHAKES[name])


@pytest.mark.parametrize("name", FORMS)
async def test_a_handshake_of_another_form_is_taken(raw: Raw, name: str) -> None:
    async with raw.connect() as connection:
        await is_welcome(connection, FORMS[name])


@pytest.mark.parametrize("name", HANDSHAKES)
async def test_a_handshake_may_come_in_pieces(raw: Raw, name: str) -> None:
    async with raw.connect() as connection:
        whole = HANDSHAKES[name]
        for at in range(0, len(whole), 40):
            await connection.send(whole[at : at + 40])
            await asyncio.sleep(0.001)
        await is_welcome(connection, whole, sent=True)


@pytest.mark.parametrize(
    "handshake",
    [
        with_field(b"Content-Length: 2", b"{}"),
        with_field(b"Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n"),
    ],
)
async def test_a_handshake_with_a_body_is_none(raw: Raw, handshake: bytes) -> None:
    async with raw.connect() as connection:
        await connection.send(handshake)
        answer = await connection.answer()
        assert answer.error == (400, "bad_request")
        assert "no body" in answer.body["message"]


async def test_an_older_http_knows_no_upgrade(raw: Raw) -> None:
    answer = await raw.send(with_field(b"").replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n"))
    assert answer.error == (400, "bad_request")
    assert "upgrade" in answer.body["message"]


@pytest.mark.parametrize(
    "fields",
    [b"Content-Length: 0\r\nContent-Length: 1", b"Content-Length: -0", b"Content-Length: "],
)
async def test_a_length_that_is_none_is_refused_as_elsewhere(raw: Raw, fields: bytes) -> None:
    assert (await raw.send(with_field(fields))).error == (400, "bad_request")


async def test_the_frames_behind_a_handshake_with_a_length_reach_the_websocket(raw: Raw) -> None:
    ping = json.dumps({"op": "ping", "id": 7}).encode()
    frame = bytes([0x81, 0x80 | len(ping)]) + bytes(4) + ping
    async with raw.connect() as connection:
        await is_welcome(connection, HANDSHAKES["Java 17"] + frame)
        assert b'"pong"' in await connection.until(b'"id":7')


# A finish without a body, as clients send it.
REQUESTS = {
    "Java 17": b"POST /finish/t/q/j/ HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Content-Length: 0\r\nHost: 127.0.0.1:18080\r\n"
    b"HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA\r\nUpgrade: h2c\r\n"
    b"User-Agent: Java-http-client/17.0.15\r\n\r\n",
    "Go": b"POST /finish/t/q/j/ HTTP/1.1\r\nHost: 127.0.0.1:18080\r\n"
    b"User-Agent: Go-http-client/1.1\r\nContent-Length: 0\r\nContent-Type: \r\n"
    b"Accept-Encoding: gzip\r\n\r\n",
    "Ruby": b"POST /finish/t/q/j/ HTTP/1.1\r\n"
    b"Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3\r\nAccept: */*\r\n"
    b"User-Agent: Ruby\r\nHost: 127.0.0.1:18080\r\nContent-Length: 0\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\n",
    "PHP 8": b"POST /finish/t/q/j/ HTTP/1.1\r\nHost: 127.0.0.1:18080\r\nConnection: close\r\n\r\n",
    "who waits to be asked": b"POST /finish/t/q/j/ HTTP/1.1\r\nHost: 127.0.0.1:18080\r\n"
    b"Expect: 100-continue\r\nContent-Length: 0\r\n\r\n",
    "in chunks": b"POST /finish/t/q/j/ HTTP/1.1\r\nHost: 127.0.0.1:18080\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_without_a_body_is_taken(raw: Raw, rest: Rest, name: str) -> None:
    await rest.enqueue()
    assert (await rest.get("/dequeue/t/")).status == 200
    async with raw.connect() as connection:
        await connection.send(REQUESTS[name])
        head = await connection.until(b"\r\n\r\n")
        if b"Expect" in REQUESTS[name] and b" 100 " in head:
            head = await connection.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert await connection.until(b"}") == b'{"status":"success"}'


@pytest.mark.parametrize(
    "fields", [b"Content-Length: 0\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
)
async def test_a_get_with_no_body_that_says_so_is_a_get(
    raw: Raw, rest: Rest, fields: bytes
) -> None:
    await rest.enqueue()
    async with raw.connect() as connection:
        for path, status in (("/dequeue/t/", 200), ("/", 200), ("/status/t/q/j/", 200)):
            head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:18080\r\n".encode()
            await connection.send(head + fields)
            assert (await connection.answer()).status == status


class TestWithTLS:
    @pytest.fixture
    def options(self) -> dict[str, dict[str, Any]]:
        files = {"tls_certificate": str(TLS / "server.pem"), "tls_key": str(TLS / "server.key")}
        return {"sharq-server": files}

    async def test_the_handshake_with_a_length_is_taken(
        self, http_server: object, http_port: int
    ) -> None:
        context = ssl.create_default_context(cafile=TLS / "authority.pem")
        streams = await asyncio.open_connection("localhost", http_port, ssl=context)
        connection = Connection(*streams)
        await is_welcome(connection, HANDSHAKES["Java 17"])
        connection.close()


JAVA = r"""
import java.net.URI;
import java.net.http.*;
import java.util.concurrent.*;

public class Client {
  public static void main(String[] arguments) throws Exception {
    var texts = new LinkedBlockingQueue<String>();
    var listener = new WebSocket.Listener() {
      final StringBuilder text = new StringBuilder();
      public CompletionStage<?> onText(WebSocket socket, CharSequence data, boolean last) {
        text.append(data);
        if (last) { texts.add(text.toString()); text.setLength(0); }
        socket.request(1);
        return null;
      }
    };
    var socket = HttpClient.newHttpClient().newWebSocketBuilder().subprotocols("sharq.v1.json")
        .buildAsync(URI.create(arguments[0]), listener).join();
    System.out.println(socket.getSubprotocol());
    var subscribe = "{'op':'subscribe','queue_type':'t','credit':1}";
    socket.sendText(subscribe.replace('\'', '"'), true).join();
    while (true) {
      var text = texts.poll(10, TimeUnit.SECONDS);
      System.out.println(text);
      var at = text.indexOf("\"lease\":\"");
      if (at >= 0) {
        var lease = text.substring(at + 9, text.indexOf('"', at + 9));
        var finish = "{'op':'finish','id':9,'leases':['" + lease + "']}";
        socket.sendText(finish.replace('\'', '"'), true).join();
      }
      if (text.contains("\"id\":9")) System.exit(0);
    }
  }
}
"""


@pytest.mark.needs("java")
@pytest.mark.gen_test(timeout=60)
async def test_the_client_of_the_jdk_works(
    server: SharQServer, http_server: object, http_port: int, rest: Rest, tmp_path: Path
) -> None:
    (tmp_path / "Client.java").write_text(JAVA)
    await rest.enqueue(payload="for Java")
    process = await asyncio.create_subprocess_exec(
        *("java", "Client.java", f"ws://127.0.0.1:{http_port}/ws/"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert output.startswith(b"sharq.v1.json\n")
    assert b'"payload":"for Java"' in output
    assert b'"results":["success"]' in output
    assert (await rest.get("/status/t/q/j/")).body["state"] == "finished"
