"""JSON as it occurs: half a surrogate pair comes back byte for byte, what cannot be read back is
refused alike by every way in, and one odd job never refuses those beside it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sharq import AsyncSharQ, LeasedJob, Settings, SharQ, Worker
from sharq.codec import websocket_frames as ws
from sharq.errors import BadArgumentException, NotJson, UnreadablePayload
from sharq.results import NewJob
from tests.server import catalogue
from tests.server.catalogue import INVALID, NOT_JSON, request
from tests.server.test_catalogue import Client, Port, Push
from tests.server.threaded import PLAIN, Servers
from tests.support.faces import FACES, Face, opener
from tests.support.stores import PrivateStore

# What JavaScript makes of a text that was cut in the middle of a character, and more of the kind.
HALVES: dict[str, bytes] = {
    "high": b'"Hi \\ud83d"',
    "low": b'["\\udc00" , 1]',
    "the wrong way round": b'"\\ude00\\ud83d"',
    "in a key": b'{"\\ud83d": {"a":"\\uD83D\\u0041"}}',
    "beside a whole one": '"\\ud83d\\ude00 \\ud83d é😀"'.encode(),
}
VALUES = {name: json.loads(text) for name, text in HALVES.items()}


@pytest.fixture(scope="module")
def servers(store: PrivateStore) -> Iterator[Servers]:
    with Servers(store, "odd", ways=(PLAIN,)) as servers:
        yield servers


@pytest.fixture
def port(servers: Servers) -> Port:
    return Port(servers.ports[PLAIN], PLAIN)


@pytest.fixture
def settings(store: PrivateStore, servers: Servers) -> Settings:
    """Those of the library on the keys of the server."""
    return Settings.from_mapping(
        {
            "redis": {
                "conn_type": "unix_sock",
                "unix_socket_path": store.socket_path,
                "key_prefix": servers.prefixes[PLAIN],
            }
        }
    )


@pytest.fixture(params=FACES)
def queue(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Face]:
    with opener(FACES[request.param]) as open_face:
        yield open_face(settings)


def entry(queue_type: str, name: str, payload: bytes) -> bytes:
    return b'{"queue_type":"%b","queue_id":"q","job_id":"%b","interval":0,"payload":%b}' % (
        queue_type.encode(),
        name.encode(),
        payload,
    )


def single(client: Client, queue_type: str, name: str, payload: bytes) -> Any:
    body = catalogue.job(job_id=f'"{name}"', payload="@").replace(b"@", payload)
    return client.ask("POST", f"/enqueue/{queue_type}/q/", body).body


def text_of(push: Push) -> bytes:
    """The next event as it came."""
    message = push._message()
    assert message.opcode == ws.TEXT
    return message.data


def answer_of(client: Client, path: str) -> bytes:
    """The body of an answer as it came."""
    client.send(request("GET", path, None, "Connection: close"))
    return b"".join(iter(client.receive, b""))


# ---- in ----


def by_rest(port: Port, queue_type: str, name: str, payload: bytes) -> Any:
    with Client(port) as client:
        return single(client, queue_type, name, payload)


def by_rest_with_care(port: Port, queue_type: str, name: str, payload: bytes) -> Any:
    """A job that the quick reader does not take: its name has an escape."""
    with Client(port) as client:
        body = b'{"job_id":"\\u00%02x%b","interval":0,"payload":%b}' % (
            ord(name[0]),
            name[1:].encode(),
            payload,
        )
        return client.ask("POST", f"/enqueue/{queue_type}/q/", body).body


def by_bulk(port: Port, queue_type: str, name: str, payload: bytes) -> Any:
    with Client(port) as client:
        body = b'{"jobs":[%b]}' % entry(queue_type, name, payload)
        return client.ask("POST", "/enqueue/", body).body["results"][0]


def by_frame(port: Port, queue_type: str, name: str, payload: bytes) -> Any:
    with Push(port) as push:
        frame = b'{"op":"enqueue","id":1,"jobs":[%b]}' % entry(queue_type, name, payload)
        push.send(catalogue.sent(ws.TEXT, frame))
        return push.event()["results"][0]


WAYS_IN = [by_rest, by_rest_with_care, by_bulk, by_frame]
WayIn = Callable[[int, str, str, bytes], Any]


@pytest.mark.parametrize("put", WAYS_IN)
def test_half_a_pair_goes_in_and_comes_back_byte_for_byte(port: Port, put: WayIn) -> None:
    queue_type = f"half-{put.__name__}"
    for number, payload in enumerate(HALVES.values()):
        name = f"j{number}"
        assert put(port, queue_type, name, payload)["status"] == "queued"
        # Repeated, it is the same job.
        assert put(port, queue_type, name, payload)["duplicate"] is True
        with Client(port) as client:
            assert b'"payload":' + payload + b"," in answer_of(client, f"/dequeue/{queue_type}/")
    # Its bound is found beside it.
    bounded = b'{"max_queued_length":0,"a":"\\ud83d"}'
    assert put(port, queue_type, "bounded", bounded)["code"] == "queue_full"


@pytest.mark.parametrize("payload", HALVES.values(), ids=HALVES.keys())
def test_half_a_pair_comes_out_by_every_way(port: Port, payload: bytes) -> None:
    expected = b'"payload":' + payload + b","
    queue_type = f"out-{abs(hash(payload))}"
    with Client(port) as client, Push(port) as push:
        for name in "abcdef":
            single(client, queue_type, name, payload)
        for query in ("?count=1", "?request_id=r1", "?request_id=r1"):
            with Client(port) as other:
                assert expected in answer_of(other, f"/dequeue/{queue_type}/{query}")
        for _ in range(2):
            ask = {"op": "dequeue", "queue_type": queue_type, "request_id": "r2"}
            push.tell(json.dumps(ask))
            assert expected in text_of(push)
        push.say(op="subscribe", queue_type=queue_type, credit=3)
        delivered = b""
        while delivered.count(b'"job_id"') < 2:
            delivered += text_of(push)
        assert delivered.count(expected) == 2
        push.say(op="unsubscribe", queue_type=queue_type)
        client.ask("GET", f"/dequeue/{queue_type}/")
        # A long poll that waits for it.
        with Client(port) as waiting:
            path = f"/dequeue/{queue_type}/?wait=10"
            waiting.send(request("GET", path, None, "Connection: close"))
            single(client, queue_type, "late", payload)
            assert expected in b"".join(iter(waiting.receive, b""))


def test_half_a_pair_and_the_library(port: Port, queue: Face) -> None:
    for number, (name, payload) in enumerate(HALVES.items()):
        queue_type = f"lib-{type(queue).__name__}-{number}"
        with Client(port) as client:
            single(client, queue_type, "rest", payload)
        taken = queue.dequeue(queue_type)
        assert taken["payload"] == VALUES[name]
        queue.enqueue(VALUES[name], 0, "library", "q", queue_type)
        assert queue.dequeue(queue_type)["payload"] == VALUES[name]


def test_half_a_pair_reaches_a_handler(port: Port) -> None:
    worker = Worker(f"ws://127.0.0.1:{port.number}/ws/", "handled")
    seen: dict[str, Any] = {}

    @worker.handler
    async def handle(job: LeasedJob) -> None:
        seen[job.job_id] = job.payload
        if len(seen) == len(HALVES) + 1:
            worker.stop()

    with Client(port) as client:
        for number, payload in enumerate([*HALVES.values(), b'"whole"']):
            assert single(client, "handled", f"j{number}", payload)["status"] == "queued"

    async def serve() -> None:
        async with asyncio.timeout(15):
            await worker.serve()

    asyncio.run(serve())
    assert [seen[f"j{n}"] for n in range(len(seen))] == [*VALUES.values(), "whole"]
    assert worker.counts["done"] == len(seen)


@pytest.mark.parametrize("put", [by_bulk, by_frame])
def test_half_a_pair_in_a_name_stays_refused(port: Port, put: WayIn) -> None:
    with Client(port) as client:
        for field in ("job_id", "queue_id", "queue_type"):
            body = catalogue.job(**{field: '"\\ud83d"'})
            answer = client.ask("POST", "/enqueue/named/q/", body)
            assert answer.status == 400
            answer.check_refusal(INVALID, f"`{field}` has an invalid value.")
        unknown = client.ask("POST", "/enqueue/named/q/", catalogue.job(**{"\\ud83d": "1"}))
        unknown.check_refusal(INVALID, "is not a known parameter.")
        assert client.ask("GET", "/dequeue/named/").status == 404
    refused = put(port, "named", "\\ud83d", b"1")
    assert (refused["code"], refused["message"]) == (INVALID, "`job_id` has an invalid value.")


# ---- what cannot be read back ----

NUMBER = "`payload` has a number that is too large."
DIGITS = "`payload` has an integer of more than 4,000 digits."
DEPTH = "`payload` nests deeper than 500 levels."
UNREADABLE: dict[str, tuple[bytes, str, str]] = {
    "1e400": (b"1e400", INVALID, NUMBER),
    "a large one inside": (b'{"a":[-1.5E+309]}', INVALID, NUMBER),
    "4,001 digits": (b"9" * 4001, INVALID, DIGITS),
    "5,000 digits inside": (b"[-" + b"9" * 5000 + b"]", INVALID, DIGITS),
    "501 levels": (b"[" * 501 + b"]" * 501, INVALID, DEPTH),
    "NaN": (b"[NaN]", NOT_JSON, "`payload` is not valid JSON: it has NaN or an infinity."),
    "Infinity": (b"-Infinity", NOT_JSON, "`payload` is not valid JSON: it has NaN or an infinity."),
    "invalid UTF-8": (b'"\xff"', NOT_JSON, "`payload` is not valid JSON: byte 1 is not UTF-8."),
    "half a pair in UTF-8": (
        b'"\xed\xa0\xbd"',
        NOT_JSON,
        "`payload` is not valid JSON: byte 1 is not UTF-8.",
    ),
    "a control character": (
        b'"a\tb"',
        NOT_JSON,
        "`payload` is not valid JSON: a string has a control character, byte 2.",
    ),
}


@pytest.mark.parametrize("put", WAYS_IN)
@pytest.mark.parametrize("case", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_cannot_be_read_back_is_refused_alike(
    port: Port, put: WayIn, case: tuple[bytes, str, str]
) -> None:
    payload, code, message = case
    if put is by_frame and b"UTF-8" in message.encode():
        # A frame of text that is none closes the connection (RFC 6455, section 8.1).
        return
    refused = put(port, "refused", "j", payload)
    assert (refused["status"], refused["code"], refused["message"]) == ("failure", code, message)
    with Client(port) as client:
        assert client.ask("GET", "/dequeue/refused/").status == 404


@pytest.mark.parametrize("case", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_the_library_refuses_the_same_text(
    settings: Settings, case: tuple[bytes, str, str]
) -> None:
    payload, code, message = case

    async def check() -> None:
        with pytest.raises(BadArgumentException) as raised:
            AsyncSharQ(settings).new_job(payload, 0, "j", "q", "refused")
        assert (raised.value.code, raised.value.message) == (code, message)

    asyncio.run(check())


def test_the_library_refuses_such_values(queue: Face) -> None:
    for value, kind, message in (
        (float("inf"), NotJson, "it has NaN or an infinity"),
        (10**4000, BadArgumentException, "an integer of more than 4,000 digits"),
    ):
        with pytest.raises(kind, match=message):
            queue.enqueue(value, 0, "j", "q", "refused")
    queue_type = f"longest-{type(queue).__name__}"
    queue.enqueue(10**4000 - 1, 0, "j", "q", queue_type)
    assert queue.dequeue(queue_type)["payload"] == 10**4000 - 1


# ---- one among others ----


def odd_entries(queue_type: str) -> dict[str, tuple[bytes, str | None]]:
    """Entries of a bulk, and the code of the refusal of each."""

    def job(payload: bytes, name: str = "odd") -> bytes:
        return entry(queue_type, name, payload)

    return {
        "first": (job(b"1", "first"), None),
        "half a pair": (job(HALVES["high"], "half"), None),
        "half a pair in a name": (job(b"1", "\\ud83d"), INVALID),
        "1e400": (job(b"1e400"), INVALID),
        "5,000 digits": (job(b"9" * 5000), INVALID),
        "NaN": (job(b"NaN"), NOT_JSON),
        "a control character": (job(b'"\n"'), NOT_JSON),
        "an escape that is none": (job(b'"\\x"'), NOT_JSON),
        "a trailing comma": (job(b"[1,]"), NOT_JSON),
        "much too deep": (job(b"[" * 100_000 + b"]" * 100_000), INVALID),
        "too deep outside of its payload": (b'{"a":' * 5000 + b"1" + b"}" * 5000, INVALID),
        "nothing but NaN": (b"NaN", NOT_JSON),
        "no object": (b'"x"', INVALID),
        "twice the same field": (job(b'1,"payload":"\\ud83d"', "twice"), None),
        "last": (job(b"2", "last"), None),
    }


def check_results(results: list[dict[str, Any]], cases: dict[str, tuple[bytes, Any]]) -> None:
    for name, (_, code), result in zip(cases, cases.values(), results, strict=True):
        assert result.get("code") == code, (name, result)


def test_one_odd_job_does_not_refuse_a_bulk(port: Port) -> None:
    cases = odd_entries("bulk")
    cases["invalid UTF-8"] = entry("bulk", "odd", b'"\xff"'), NOT_JSON
    body = b' {"jobs" : [' + b" , ".join(text for text, _ in cases.values()) + b"] } "
    with Client(port) as client:
        answer = client.ask("POST", "/enqueue/", body)
        assert answer.status == 200
        check_results(answer.body["results"], cases)
        taken = client.ask("GET", "/dequeue/bulk/?count=9").body["jobs"]
        assert [job["job_id"] for job in taken] == ["first", "half", "twice", "last"]


def test_one_odd_job_does_not_refuse_a_frame(port: Port) -> None:
    cases = odd_entries("frame")
    text = b'{"op":"enqueue","jobs":[%b],"id":"x"}' % b",".join(text for text, _ in cases.values())
    with Push(port) as push, Client(port) as client:
        push.send(catalogue.sent(ws.TEXT, text))
        answer = push.event()
        assert (answer["event"], answer["id"]) == ("reply", "x")
        check_results(answer["results"], cases)
        taken = client.ask("GET", "/dequeue/frame/?count=9").body["jobs"]
        assert [job["job_id"] for job in taken] == ["first", "half", "twice", "last"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"jobs":[1,2}',
        b'{"jobs":[{"a":"x}]}',
        b'{"jobs":[1],}',
        b'{"jobs":[1]} x',
        b'{"jobs":[1,]}',
    ],
)
def test_a_bulk_whose_jobs_cannot_be_told_apart_is_refused(port: Port, body: bytes) -> None:
    with Client(port) as client:
        answer = client.ask("POST", "/enqueue/", body)
        assert answer.status == 400
        answer.check_refusal(NOT_JSON, "The body is not valid JSON: ")


def test_odd_bulks_of_many_entries_take_little_time(port: Port) -> None:
    with Client(port) as client:
        for body in (
            b'{"jobs":["\\ud83d"' + b",0" * 2_000_000 + b"]}",
            b'{"a":"\\ud83d"' + b',"b":0' * 500_000 + b"}",
            b'{"jobs":["\\ud83d"],' + b'"jobs":[0],' * 300_000 + b'"jobs":[1]}',
        ):
            began = time.monotonic()
            assert client.ask("POST", "/enqueue/", body).status == 400
            assert time.monotonic() - began < 5


# ---- what is there already ----


@pytest.mark.usefixtures("servers")
def test_what_an_older_version_has_stored_is_read_or_told_with_its_lease(
    settings: Settings,
) -> None:
    with SharQ(settings) as queue:
        for name, text, value in (
            ("large", b"1e400", float("inf")),
            ("long", b"9" * 5000, 10**5000 - 1),
            ("broken", b"{" + b"x" * 9, None),
        ):
            queue_type = f"old-{name}"
            queue.submit(NewJob(queue_type, "q", "j", text, 0, -1))
            if value is not None:
                assert queue.dequeue(queue_type)["payload"] == value
                continue
            with pytest.raises(UnreadablePayload) as raised:
                queue.dequeue(queue_type)
            assert raised.value.payload == text
            assert raised.value.lease in str(raised.value)
            _, queue_id, job_id, _ = raised.value.lease.split("/")
            assert queue.finish(job_id, queue_id, queue_type) == {"status": "success"}
