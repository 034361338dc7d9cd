"""The catalogue of bad input, by every way in: what is answered, and that nothing is changed.

The tables are in `catalogue.py`. No answer is a 5xx or anything but JSON, the connection ends or
can be used as the table says, and the store has the same keys with the same values afterwards.
"""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple, Self

import pytest

from sharq import Settings
from sharq.codec import websocket_frames as ws
from sharq.errors import BadArgumentException, PayloadTooLarge
from sharq_server.api.routes import ROUTES
from sharq_server.api.routing import Route
from tests.server import catalogue
from tests.server.catalogue import INVALID, MALFORMED, NOT_JSON, Bad, BadField, Refusal, request
from tests.server.threaded import PLAIN, TLS, Servers, secured
from tests.support.cases import cases
from tests.support.faces import FACES, Face, Opener, opener
from tests.support.stores import PrivateStore

PREFIX = "catalogue"
SECONDS = 10.0


class Answer:
    """One answer of a server, which has to be JSON by its head and its body."""

    def __init__(self, status: int, fields: dict[str, str], body: bytes) -> None:
        self.status = status
        self.fields = fields
        self.body: Any = json.loads(body) if body else None
        assert fields.get("content-type") == "application/json"
        assert status < 500

    def check_refusal(self, code: str, message: str) -> None:
        assert self.body.keys() >= {"status", "message", "code"}
        assert (self.body["status"], self.body["code"]) == ("failure", code)
        assert message in self.body["message"]


class Port(NamedTuple):
    """Where a server listens, and in which way."""

    number: int
    way: str


class Client:
    """A connection to one of the servers, for any bytes."""

    def __init__(self, port: Port) -> None:
        plain = socket.create_connection(("127.0.0.1", port.number), timeout=SECONDS)
        self._socket = secured(plain) if port.way == TLS else plain
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        # Where the server reads no more, its answer may be there all the same.
        with suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(data)

    def answer(self, *, head: bool = False) -> Answer:
        """The next answer; `head` where it has no body."""
        line, *lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        pairs = (each.partition(":") for each in lines if each)
        fields = {name.lower(): value.strip() for name, _, value in pairs}
        body = b"" if head else self._exactly(int(fields["content-length"]))
        return Answer(int(line.split()[1]), fields, body)

    def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        self.send(request(method, path, body))
        return self.answer()

    def ended(self) -> bool:
        """Wait for the end of the connection; False where something else comes."""
        try:
            return self._received == b"" and self._socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def usable(self) -> bool:
        return bool(self.ask("GET", "/").body == {"message": "Hello, SharQ!"})

    def receive(self) -> bytes:
        if self._received:
            received, self._received = self._received, b""
            return received
        return self._socket.recv(65536)

    def _until(self, end: bytes) -> bytes:
        while end not in self._received:
            self._receive_more()
        found, _, self._received = self._received.partition(end)
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._received) < size:
            self._receive_more()
        found, self._received = self._received[:size], self._received[size:]
        return found

    def _receive_more(self) -> None:
        chunk = self._socket.recv(65536)
        assert chunk, f"the connection ended after {self._received!r}"
        self._received += chunk


class Push(Client):
    """A websocket to one of the servers, after its welcome."""

    def __init__(self, port: Port) -> None:
        super().__init__(port)
        self._reader = ws.Reader(masked=False, max_bytes=1 << 26)
        self.send(catalogue.handshake())
        assert self._until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        assert self.event()["event"] == "welcome"

    def tell(self, text: str) -> None:
        self.send(catalogue.sent(ws.TEXT, text.encode("utf-8", "surrogatepass")))

    def say(self, **frame: Any) -> dict[str, Any]:
        """Send a frame and return its answer."""
        self.tell(json.dumps(frame))
        return self.event()

    def event(self) -> dict[str, Any]:
        message = self._message()
        assert message.opcode == ws.TEXT, message
        event: dict[str, Any] = json.loads(message.data)
        return event

    def flood(self, frame: bytes, most: int) -> None:
        """Send a frame again and again, until the server reads no more; fail at `most` bytes."""
        self._socket.settimeout(0.5)
        with suppress(TimeoutError):
            while most > 0:
                most -= self._socket.send(frame)
        assert most > 0

    def close_code(self) -> int:
        """The code of the close frame, the next one but for other events."""
        while (message := self._message()).opcode != ws.CLOSE:
            assert message.opcode == ws.TEXT
        return ws.closing(message.data).code

    def _message(self) -> ws.Message:
        while (message := self._reader.next()) is None or message.opcode == ws.PING:
            if message is None:
                chunk = self.receive()
                assert chunk, "the connection ended without a close frame"
                self._reader.feed(chunk)
        return message


@pytest.fixture(scope="module")
def servers(store: PrivateStore) -> Iterator[Servers]:
    with Servers(store, PREFIX, job_expire_interval=3_600_000) as servers:
        yield servers


@pytest.fixture(params=[PLAIN, TLS])
def way(request: pytest.FixtureRequest) -> str:
    """What is between HTTP and the wire."""
    way: str = request.param
    return way


@pytest.fixture
def port(servers: Servers, way: str) -> Port:
    return Port(servers.ports[way], way)


Keys = dict[bytes, bytes]


# One call for all keys: a round trip for each would be most of what these tests take.
DUMP = """
local found = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  found[#found + 1] = key
  found[#found + 1] = redis.call('DUMP', key)
end
return found
"""


def keys(store: PrivateStore, prefix: str) -> Keys:
    """What the store has under a prefix: each key and its value, but for those of a second."""
    found = store.command("EVAL", DUMP, 0, f"{{{prefix}[:}}]*")
    values = dict(zip(found[::2], found[1::2], strict=True))
    return {key: value for key, value in values.items() if not key.endswith(b":serial")}


@pytest.fixture
def unchanged(
    store: PrivateStore, servers: Servers, way: str, port: Port
) -> Iterator[Callable[[], None]]:
    """A store with a leased job, a waiting one and an interval; a test has to leave it so.

    Its value checks that, as is done at the end of the test.
    """
    prefix = servers.prefixes[way]
    if not keys(store, prefix):
        with Client(port) as client:
            for body in (catalogue.job(), catalogue.job(job_id='"k"')):
                assert client.ask("POST", "/enqueue/t/q/", body).status == 201
            assert client.ask("GET", "/dequeue/t/").body["job_id"] == "j"
            interval = client.ask("POST", "/interval/t/q/", b'{"interval":3600000}')
            assert interval.status == 200
    before = keys(store, prefix)

    def check() -> None:
        assert keys(store, prefix) == before

    yield check
    check()


@pytest.fixture(autouse=True)
def renewed(store: PrivateStore, servers: Servers, way: str) -> Iterator[None]:
    """Tests that put something into the store leave nothing behind for the others."""
    yield
    if found := store.command("KEYS", f"{{{servers.prefixes[way]}[:}}]*own-*"):
        store.client.delete(*found)


def table(named: dict[str, Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test with each case of a table of the catalogue; none may change the store."""

    def decorate(test: Callable[[Port, Any], None]) -> Callable[..., None]:
        def tried(port: Port, unchanged: Callable[[], None], case: Any) -> None:
            test(port, case)
            unchanged()

        tried.__name__ = test.__name__
        return cases("case", named.values(), ids=named)(tried)

    return decorate


def refused(client: Client, case: Refusal) -> None:
    client.send(case.sent)
    answer = client.answer()
    assert answer.status == case.status
    answer.check_refusal(case.code, case.message)
    if case.status == 405:
        assert answer.fields["allow"] == case.message
    if case.stays:
        assert client.usable()
    else:
        assert answer.fields["connection"] == "close"
        assert client.ended()


# ---- HTTP framing ----


@table(catalogue.FRAMING)
def test_framing(port: Port, case: Refusal) -> None:
    with Client(port) as client:
        refused(client, case)


@pytest.mark.usefixtures("unchanged")
def test_what_follows_a_refused_request_is_not_begun(port: Port) -> None:
    enqueue = request("POST", "/enqueue/t/q/", catalogue.job(job_id='"smuggled"'))
    for name, data in catalogue.NO_REQUESTS.items():
        with Client(port) as client:
            client.send(data + enqueue)
            assert client.answer().status in {400, 408}, name
            assert client.ended(), name


@pytest.fixture(scope="module")
def hasty(store: PrivateStore) -> Iterator[Servers]:
    """Servers that wait a fifth of a second for the rest of a request."""
    limits = {"idle_connection_timeout": 0.2, "body_timeout": 0.2}
    with Servers(store, f"{PREFIX}-hasty", limits) as servers:
        yield servers


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(b"GET / HT", id="slow header"),
        pytest.param(catalogue.GET, id="slow header, after a line"),
        pytest.param(catalogue.POST + b"Content-Length: 2\r\n\r\n{", id="slow body"),
        pytest.param(catalogue.POST + catalogue.CHUNKED + b"2\r\n{", id="slow chunk"),
    ],
)
def test_a_request_that_is_not_whole_in_time(hasty: Servers, way: str, case: bytes) -> None:
    with Client(Port(hasty.ports[way], way)) as client:
        refused(client, Refusal(case, 408, "request_timeout"))


def test_head_works_where_get_is_free_of_effects(port: Port) -> None:
    with Client(port) as client:
        for route in ROUTES:
            # What is no JSON has tests of its own.
            if "HEAD" in route.methods and route.template != "/prometheus/":
                client.send(request("HEAD", path_of(route)))
                assert client.answer(head=True).status in {200, 404}


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("path", ["/dequeue/", "/dequeue/t/"])
def test_head_is_refused_on_dequeue(port: Port, path: str) -> None:
    with Client(port) as client:
        client.send(request("HEAD", path))
        answer = client.answer(head=True)
        assert (answer.status, answer.fields["allow"]) == (405, "GET, POST")
        assert client.usable()


@pytest.mark.usefixtures("unchanged")
def test_pipelined_requests_are_answered_in_order_good_and_bad(port: Port) -> None:
    good, bad = request("GET", "/"), request("GET", "/metrics/a%20b/")
    nowhere, last = request("GET", "/nowhere/"), catalogue.GET + b"A : b\r\n\r\n"
    with Client(port) as client:
        client.send((good + bad + nowhere) * 20 + last)
        answers = [client.answer().status for _ in range(61)]
        assert answers == [200, 400, 404] * 20 + [400]
        assert client.ended()


# ---- paths ----


def path_of(route: Route, **names: str) -> str:
    """A path of the route, with other names where they are given."""
    segments = (names.get(name, name[-2:]) for name in route.names)
    return "/" + "".join(f"{each}/" for each in (route.first, *segments, route.last) if each)


@table(catalogue.NO_NAMES)
def test_a_name_in_the_path_of_any_route(port: Port, case: str) -> None:
    asked = [
        (name, request(method, path_of(route, **{name: case}), body))
        for route in ROUTES
        for name in route.names
        for method, body in (("GET", None), ("POST", b"{"), ("DELETE", None))
        if method in route.methods
    ]
    assert len(asked) > 20
    with Client(port) as client:
        client.send(b"".join(data for _, data in asked))
        for name, _ in asked:
            answer = client.answer()
            assert answer.status == 400
            answer.check_refusal(INVALID, f"`{name}` has an invalid value.")
        assert client.usable()


@table(catalogue.NO_TARGETS)
def test_a_target(port: Port, case: bytes) -> None:
    data = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % case
    with Client(port) as client:
        refused(client, Refusal(data, 400, MALFORMED))


@table({path: path for path in catalogue.NOWHERE})
def test_a_path_that_leads_nowhere(port: Port, case: str) -> None:
    with Client(port) as client:
        refused(client, Refusal(request("GET", case), 404, "not_found", stays=True))


@cases("name", catalogue.NAMES_THAT_WORK)
def test_a_name_that_works(port: Port, name: str) -> None:
    queue_type = f"own-{name}"[:100]
    with Client(port) as client:
        body = json.dumps({"job_id": name, "interval": 0, "payload": name}).encode()
        assert client.ask("POST", f"/enqueue/{queue_type}/{name}/", body).status == 201
        taken = client.ask("GET", f"/dequeue/{queue_type}/").body
        assert (taken["queue_id"], taken["job_id"], taken["payload"]) == (name, name, name)
        assert client.ask("POST", f"/finish/{queue_type}/{name}/{name}/", b"").status == 200


# ---- bodies ----

MANDATORY = [
    ("POST", "/enqueue/t/q/"),
    ("POST", "/enqueue/"),
    ("POST", "/interval/t/q/"),
    ("POST", "/extend/t/q/j/"),
]
OPTIONAL = [
    ("POST", "/release/t/q/j/"),
    ("POST", "/dequeue/t/"),
    ("POST", "/limits/t/q/"),
    ("DELETE", "/limits/t/"),
    ("POST", "/pause/t/q/"),
    ("POST", "/resume/t/"),
    ("DELETE", "/deletequeue/t/q/"),
]


def refuse_body(client: Client, method: str, path: str, case: Bad) -> None:
    answer = client.ask(method, path, case.body)
    assert answer.status == (413 if case.code == catalogue.TOO_LARGE else 400)
    answer.check_refusal(case.code, case.message)
    assert len(answer.body["message"]) < 300
    check_expected(answer.body)


def check_expected(body: dict[str, Any]) -> None:
    """Where a field is wrong or missing, the answer says what would be valid."""
    names_a_field = body["message"].endswith(("` has an invalid value.", "a mandatory parameter"))
    if names_a_field and body["code"] == INVALID:
        assert len(body["expected"]) > 3, body
    else:
        assert "expected" not in body


@table(catalogue.NO_OBJECTS)
def test_a_body_of_any_route(port: Port, case: Bad) -> None:
    with Client(port) as client:
        for method, path in MANDATORY + (OPTIONAL if case.body else []):
            refuse_body(client, method, path, case)
        assert client.usable()


@table({**catalogue.NO_VALUES, **catalogue.BAD_JOBS, **catalogue.CONTRADICTIONS})
def test_a_job(port: Port, case: Bad) -> None:
    with Client(port) as client:
        refuse_body(client, "POST", "/enqueue/t/q/", case)
        assert client.usable()


def in_a_bulk(body: bytes) -> bytes:
    """The job of a body as an entry of a bulk, which names its queue."""
    queue = [b'"%b":"%b"' % pair for pair in ((b"queue_type", b"t"), (b"queue_id", b"q"))]
    missing = [each for each in queue if each.partition(b":")[0] not in body]
    return b"{" + b"".join(each + b"," for each in missing) + body.removeprefix(b"{")


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@table({**catalogue.NO_VALUES, **catalogue.BAD_JOBS})
def test_a_job_of_a_bulk_and_of_a_frame(port: Port, case: Bad) -> None:
    entry = in_a_bulk(case.body)
    with Client(port) as client:
        answer = client.ask("POST", "/enqueue/", b'{"jobs":[%b]}' % entry).body
        assert client.usable()
    results = answer.get("results", [answer])
    # As a frame, the one would be too big, and the other no text.
    if len(entry) < catalogue.MAX_PAYLOAD and is_utf8(entry):
        with Push(port) as push:
            push.send(catalogue.sent(ws.TEXT, b'{"op":"enqueue","jobs":[%b]}' % entry))
            event = push.event()
            results += event.get("results", [event])
            assert push.say(op="ping")["event"] == "pong"
    for result in results:
        check_expected(result)
        assert result["code"] == case.code
        assert case.message in result["message"] or case.code == NOT_JSON


@table(catalogue.OTHER_FIELDS)
def test_a_field_of_another_route(port: Port, case: BadField) -> None:
    with Client(port) as client:
        refuse_body(client, case.method, case.path, Bad(case.body, INVALID, case.message))
        assert client.usable()


@table({query: (query, message) for query, message in catalogue.QUERIES.items()})
def test_a_parameter_of_a_dequeue(port: Port, case: tuple[str, str]) -> None:
    query, message = case
    with Client(port) as client:
        for method in ("GET", "POST"):
            answer = client.ask(method, f"/dequeue/t/?{query}")
            assert answer.status == 400
            answer.check_refusal(INVALID, message)
        assert client.usable()


def test_integers_over_64_bits_in_a_payload_survive(port: Port) -> None:
    payload = b'[18446744073709551617,-99999999999999999999999999,{"n":%b}]' % (b"9" * 4000)
    with Client(port) as client:
        body = catalogue.job(payload=payload.decode())
        assert client.ask("POST", "/enqueue/own-int/q/", body).status == 201
        client.send(request("GET", "/dequeue/own-int/", None, "Connection: close"))
        received = b"".join(iter(client.receive, b""))
        assert b'"payload":' + payload + b"," in received


def test_of_duplicate_keys_the_last_wins(port: Port) -> None:
    body = b'{"job_id":"x","payload":2,"interval":true,"job_id":"j","payload":1,"interval":0}'
    with Client(port) as client:
        assert client.ask("POST", "/enqueue/own-twice/q/", body).status == 201
        taken = client.ask("GET", "/dequeue/own-twice/").body
        assert (taken["job_id"], taken["payload"]) == ("j", 1)


# ---- the library ----


@pytest.fixture(params=FACES)
def queue(request: pytest.FixtureRequest, store: PrivateStore, servers: Servers, way: str) -> Face:
    """The library on the keys of one of the servers."""
    redis = {
        "conn_type": "unix_sock",
        "unix_socket_path": store.socket_path,
        "key_prefix": servers.prefixes[way],
    }
    with opener(FACES[request.param]) as open_face:
        open_it: Opener = open_face
        yield open_it(Settings.from_mapping({"redis": redis}))


JOB: dict[str, Any] = {"payload": 1, "interval": 0, "job_id": "x", "queue_id": "q"}
NO_NUMBERS: list[Any] = [True, 1.5, "5", -2, [], {}, 2**63, 2**400, math.nan]
NO_IDENTIFIERS: list[Any] = [
    *("", "a b", "a/b", "a:b", "{a}", "a\n", "a\0", "ä", "\u0430", "x" * 101, "\ud800"),
    *(5, None, True, ["j"], {}, b"j"),
]
NO_INTERVALS: list[Any] = [1.0005 if value == 1.5 else value for value in NO_NUMBERS]
LIBRARY: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"interval {value!r:.20}": ("interval", {"interval": value}) for value in NO_INTERVALS},
    "interval over the bound": ("interval", {"interval": 31_536_000_001}),
    **{
        f"requeue_limit {value!r:.20}": ("requeue_limit", {"requeue_limit": value})
        for value in NO_NUMBERS
    },
    **{
        f"{name} {value!r:.20}": (name, {name: value})
        for name in ("job_id", "queue_id", "queue_type")
        for value in NO_IDENTIFIERS
    },
    **{
        f"payload {value!r:.20}": ("payload", {"payload": value})
        for value in (math.nan, math.inf, 10**4000, {1: 2}, {1, 2}, b"x", object())
    },
}


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("way", [PLAIN], indirect=True)
def test_a_job_by_the_library(queue: Face) -> None:
    for name, (field, changed) in LIBRARY.items():
        with pytest.raises(BadArgumentException) as raised:
            queue.enqueue(**{**JOB, **changed})
        assert f"`{field}`" in str(raised.value), name
    with pytest.raises(PayloadTooLarge):
        queue.enqueue(**{**JOB, "payload": "x" * catalogue.MAX_PAYLOAD})
    deep: Any = 1
    for _ in range(501):
        deep = [deep]
    with pytest.raises(BadArgumentException, match="nests"):
        queue.enqueue(**{**JOB, "payload": deep})


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("way", [PLAIN], indirect=True)
def test_a_lease_by_the_library(queue: Face) -> None:
    for lease in ("", "x", 5, True, "t/q/j/", "t/q/j/-1", "t/q/j/5\n", "\ud800"):
        with pytest.raises(BadArgumentException, match="`lease`"):
            queue.finish_job("t", "q", "j", lease)


# ---- the websocket: its handshake ----


@table(catalogue.HANDSHAKES)
def test_a_handshake(port: Port, case: Refusal) -> None:
    with Client(port) as client:
        client.send(case.sent)
        answer = client.answer()
        assert answer.status == case.status
        answer.check_refusal(case.code, case.message)
        if case.status == 426:
            assert answer.fields["sec-websocket-version"] == "13"
        assert client.usable()


# ---- the websocket: frames and messages ----


@table(catalogue.FRAMES)
def test_a_message(port: Port, case: tuple[str, str, str]) -> None:
    text, code, message = case
    with Push(port) as push:
        push.tell(text)
        error = push.event()
        assert (error["event"], error["code"]) == ("error", code)
        assert message in error["message"]
        check_expected(error)
        assert push.say(op="ping")["event"] == "pong"


@table(catalogue.CLOSES)
def test_a_frame(port: Port, case: tuple[bytes, int]) -> None:
    data, code = case
    with Push(port) as push:
        push.send(data)
        assert push.close_code() == code
        push.send(catalogue.sent(ws.CLOSE, code.to_bytes(2, "big")))
        assert push.ended()


def test_a_lease_that_is_not_ones_own(
    store: PrivateStore, servers: Servers, way: str, port: Port
) -> None:
    with Client(port) as client, Push(port) as push:
        client.ask("POST", "/enqueue/own-lease/q/", catalogue.job())
        stale = client.ask("GET", "/dequeue/own-lease/").body["lease"]
        assert client.ask("POST", "/release/own-lease/q/j/", b"").status == 200
        assert client.ask("GET", "/dequeue/own-lease/").body["lease"] != stale
        before = keys(store, servers.prefixes[way])
        leases = {
            "another's, since it ran out": (stale, "stale_lease"),
            "stale": ("own-lease/q/j/1", "stale_lease"),
            "made up": ("own-lease/q/none/1", "not_active"),
            "made up, of a type that is not": ("own-never/q/none/1", "not_active"),
            "malformed": ("own-lease/q/j", "invalid_argument"),
            "malformed: a newline": (f"{stale}\n", "invalid_argument"),
            "malformed: no text": (7, "invalid_argument"),
        }
        tokens = [token for token, _ in leases.values()]
        expected = [code for _, code in leases.values()]
        for op, more in (("finish", {}), ("release", {}), ("extend", {"by": 1000})):
            results = push.say(op=op, leases=tokens, **more)["results"]
            assert [each["status"] if op == "extend" else each for each in results] == expected
        assert keys(store, servers.prefixes[way]) == before


def test_subscribe_twice_the_second_replaces(port: Port) -> None:
    with Push(port) as push, Client(port) as client:
        for credit in (1, 0):
            reply = push.say(op="subscribe", queue_type="own-twice", credit=credit)
            assert reply["event"] == "reply"
        client.ask("POST", "/enqueue/own-twice/q/", catalogue.job())
        # What it would be given comes before the answer to a frame that is sent later.
        assert push.say(op="ping")["event"] == "pong"
        assert client.ask("GET", "/status/own-twice/q/j/").body["state"] == "queued"
        client.ask("DELETE", "/deletequeue/own-twice/q/", b'{"purge_all":true}')


@pytest.mark.usefixtures("unchanged")
def test_subscriptions_are_bounded(port: Port) -> None:
    with Push(port) as push:
        for at in range(1050):
            push.tell(f'{{"op":"subscribe","queue_type":"t{at}","credit":0}}')
        events = [push.event() for _ in range(1050)]
        assert [each["event"] for each in events] == ["reply"] * 1000 + ["error"] * 50
        assert {each["code"] for each in events[1000:]} == {INVALID}
        assert push.say(op="ping")["event"] == "pong"


@pytest.mark.usefixtures("unchanged")
def test_a_flood_of_frames_is_answered_frame_by_frame(port: Port) -> None:
    with Push(port) as push:
        ping = catalogue.sent(ws.TEXT, b'{"op":"ping"}')
        finish = catalogue.sent(ws.TEXT, b'{"op":"finish","leases":["t/q/none/1"]}')
        push.send((ping + finish) * 1000)
        events = [push.event() for _ in range(2000)]
        assert [each["event"] for each in events].count("pong") == 1000
        results = [each["results"] for each in events if each["event"] == "reply"]
        assert results == [["not_active"]] * 1000


@pytest.mark.usefixtures("unchanged")
def test_a_flood_of_bad_frames_ends_the_connection(port: Port) -> None:
    with Push(port) as push:
        push.send(catalogue.sent(ws.TEXT, b"nonsense") * 100)
        assert push.close_code() == 1008


@pytest.mark.usefixtures("unchanged")
def test_a_reader_that_never_reads_is_read_from_no_more(port: Port) -> None:
    with Push(port) as push, Client(port) as client:
        leases = b",".join([b'"x"'] * 900)
        push.flood(catalogue.sent(ws.TEXT, b'{"op":"finish","leases":[%b]}' % leases), 64 << 20)
        assert client.usable()
