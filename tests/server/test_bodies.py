"""What a body and a path may not be: each is refused by name, and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.support import Raw, Rest

pytestmark = pytest.mark.gen_test

INVALID, NOT_JSON, TOO_LARGE = "invalid_argument", "not_json", "payload_too_large"


def job(**fields: str) -> bytes:
    """The body of an enqueue, by the JSON text of each field."""
    texts = {"job_id": '"j"', "interval": "0", "payload": "1", **fields}
    pairs = (f'"{name}":{text}' for name, text in texts.items() if text)
    return ("{" + ",".join(pairs) + "}").encode("utf-8", "surrogatepass")


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


NO_JSON_OBJECT: dict[str, tuple[bytes, str]] = {
    "empty": (b"", NOT_JSON),
    "white space": (b" \r\n", NOT_JSON),
    "no JSON": (b"job_id=j&interval=0", NOT_JSON),
    "cut off": (job()[:-1], NOT_JSON),
    "trailing garbage": (job() + b" x", NOT_JSON),
    "two objects": (job() + job(), NOT_JSON),
    "trailing comma": (job()[:-1] + b",}", NOT_JSON),
    "single quotes": (job().replace(b'"', b"'"), NOT_JSON),
    "comment": (b"/* */" + job(), NOT_JSON),
    "invalid UTF-8": (b'{"interval":"\xff"}', NOT_JSON),
    "invalid UTF-8 that a later field replaces": (
        b'{"payload":"\xff","payload":1,"job_id":"j","interval":0}',
        NOT_JSON,
    ),
    "BOM": (b"\xef\xbb\xbf" + job(), NOT_JSON),
    "UTF-16": (job().decode().encode("utf-16"), NOT_JSON),
    "UTF-16 without a BOM": (job().decode().encode("utf-16-le"), NOT_JSON),
    "Latin-1": ('{"interval":"ä"}'.encode("latin-1"), NOT_JSON),
    "NUL at the end": (job() + b"\x00", NOT_JSON),
    "an array": (b"[]", INVALID),
    "a string": (b'"x"', INVALID),
    "null": (b"null", INVALID),
    "a number": (b"5", INVALID),
    "true": (b"true", INVALID),
    "nested over the parser's depth": (deep(100_000).encode(), INVALID),
}

BAD_JOBS: dict[str, tuple[bytes, str, str]] = {
    "no job_id": (job(job_id=""), INVALID, "`job_id` is a mandatory parameter"),
    "no interval": (job(interval=""), INVALID, "`interval` is a mandatory parameter"),
    "no payload": (job(payload=""), INVALID, "`payload` is a mandatory parameter"),
    "unknown field": (job(colour="1"), INVALID, "`colour` is not a known parameter."),
    "unknown field with an empty name": (job(**{"": "1"}), INVALID, "`` is not a known"),
    "unknown field with a long name": (job(**{"x" * 5000: "1"}), INVALID, "`" + "x" * 100 + "…`"),
    "unknown field with markup": (job(**{"<b>": "1"}), INVALID, "`<b>` is not a known parameter."),
    "lease": (job(lease='"x"'), INVALID, "`lease` is not a known parameter."),
    **{
        f"interval {text[:30]}": (
            job(interval=text),
            INVALID,
            "`interval` has an invalid value.",
        )
        for text in (
            *("true", "false", "1.5", "1.0", "1e3", '"5"', "null", "-1", "[]", "{}", "[5]"),
            *("31536000001", str(2**63), str(2**64), "9" * 400, "9" * 5000),
        )
    },
    **{
        f"requeue_limit {text[:30]}": (
            job(requeue_limit=text),
            INVALID,
            "`requeue_limit` has an invalid value.",
        )
        for text in ("-2", "true", "1.0", '"1"', "[]", str(2**63), "9" * 5000)
    },
    **{
        f"max_queued_length {text}": (
            job(max_queued_length=text),
            INVALID,
            "`max_queued_length` has an invalid value.",
        )
        for text in ("-1", "true", "1.0", '"1"', "[]", str(2**63))
    },
    **{
        f"job_id {text[:30]}": (job(job_id=text), INVALID, "`job_id` has an invalid value.")
        for text in (
            *('""', '"a b"', '"a/b"', '"a:b"', '"{a}"', '"a\\n"', '"\\u0000"', '"ä"', '"\\u0430"'),
            *('"' + "x" * 101 + '"', "5", "null", "true", "[]", '["j"]', "{}"),
        )
    },
    **{
        f"{name} {text}": (job(**{name: text}), INVALID, f"`{name}` has an invalid value.")
        for name in ("queue_id", "queue_type")
        for text in ('"other"', "null", "5", '""')
    },
    "NaN": (job(payload="NaN"), NOT_JSON, ""),
    "NaN within": (job(payload='{"a":[NaN]}'), NOT_JSON, ""),
    "Infinity": (job(payload="-Infinity"), NOT_JSON, ""),
    "leading zero": (job(payload="01"), NOT_JSON, ""),
    "control character": (job(payload='"\t"'), NOT_JSON, ""),
    "bad escape": (job(payload='"\\x41"'), NOT_JSON, ""),
    "lone high surrogate": (job(payload='"\\ud800"'), NOT_JSON, ""),
    "lone low surrogate": (job(payload='["\\udc00"]'), NOT_JSON, ""),
    "surrogates the wrong way round": (job(payload='"\\udc00\\ud800"'), NOT_JSON, ""),
    "lone surrogate in a key": (job(payload='{"\\ud800":1}'), NOT_JSON, ""),
    "encoded surrogate": (job(payload='"\ud800"'), NOT_JSON, ""),
    "invalid UTF-8 in a payload": (
        b'{"job_id":"j","interval":0,"payload":"\xc3\x28"}',
        NOT_JSON,
        "",
    ),
    "nesting over the limit": (job(payload=deep(501)), INVALID, "`payload` nests deeper"),
    "nesting of objects over the limit": (
        job(payload='{"a":' * 501 + "1" + "}" * 501),
        INVALID,
        "`payload` nests deeper",
    ),
    "nesting over the parser's depth": (job(payload=deep(100_000)), INVALID, "nests"),
    "nesting in a field": (job(job_id=deep(100_000)), INVALID, "nests"),
    "payload over its size": (job(payload='"' + "x" * 1_048_575 + '"'), TOO_LARGE, "`payload`"),
}


@pytest.mark.parametrize(("body", "code"), NO_JSON_OBJECT.values(), ids=NO_JSON_OBJECT.keys())
@pytest.mark.parametrize("path", ["/enqueue/t/q/", "/interval/t/q/", "/extend/t/q/j/"])
async def test_a_body_that_is_no_json_object(rest: Rest, path: str, body: bytes, code: str) -> None:
    assert (await rest.post(path, body)).error == (400, code)


@pytest.mark.parametrize(
    ("body", "code"),
    [pair for name, pair in NO_JSON_OBJECT.items() if name != "empty"],
    ids=[name for name in NO_JSON_OBJECT if name != "empty"],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/finish/t/q/j/"),
        ("POST", "/release/t/q/j/"),
        ("POST", "/dequeue/t/"),
        ("DELETE", "/deletequeue/t/q/"),
    ],
)
async def test_an_optional_body_that_is_no_json_object(
    rest: Rest, method: str, path: str, body: bytes, code: str
) -> None:
    await rest.enqueue()
    assert (await rest.call(method, path, body)).error == (400, code)
    assert (await rest.get("/metrics/t/q/")).body["queue_length"] == 1


@pytest.mark.parametrize(("body", "code", "message"), BAD_JOBS.values(), ids=BAD_JOBS.keys())
async def test_a_job_that_cannot_be(rest: Rest, body: bytes, code: str, message: str) -> None:
    answer = await rest.post("/enqueue/t/q/", body)
    assert answer.error == (413 if code == TOO_LARGE else 400, code)
    assert message in answer.body["message"]
    assert len(answer.text) < 500
    assert (await rest.get("/metrics/")).body["queue_types"] == []


@pytest.mark.parametrize(
    "body",
    [
        job() + b" \r\n\t",
        b"\n" + job(),
        b'{"job_id":"x","payload":2,"interval":5,"job_id":"j","payload":1,"interval":0}',
        b'{"\\u006aob_id":"j","interval":0,"payload":1}',
        job(interval="-0"),
        job(interval="31536000000"),
        job(requeue_limit=str(2**63 - 1)),
        job(max_queued_length=str(2**63 - 1)),
    ],
    ids=lambda body: str(body)[:40],
)
async def test_an_unusual_job_that_can_be(rest: Rest, body: bytes) -> None:
    assert (await rest.post("/enqueue/t/q/", body)).status == 201
    taken = (await rest.get("/dequeue/t/")).body
    assert (taken["job_id"], taken["payload"]) == ("j", 1)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "`interval` is a mandatory parameter"),
        ({"INTERVAL": 1}, "`interval` is a mandatory parameter"),
        *(
            ({"interval": value}, "`interval` has an invalid value.")
            for value in (None, True, 1.5, "5", -1, 31_536_000_001, 2**70, [], {})
        ),
    ],
)
async def test_an_interval_that_cannot_be(rest: Rest, body: Any, message: str) -> None:
    await rest.enqueue(interval=7)
    answer = await rest.post("/interval/t/q/", body)
    assert answer.error == (400, INVALID)
    assert answer.body["message"] == message
    assert (await rest.get("/metrics/t/q/")).body["interval"] == 7


# ---- paths ----

NO_NAMES = {
    "encoded slash": "a%2Fb",
    "encoded NUL": "a%00",
    "encoded line end": "a%0d%0a",
    "encoded newline at the end": "a%0a",
    "no UTF-8": "%ff",
    "no percent-encoding": "%zz",
    "cut off percent-encoding": "a%",
    "101 characters": "x" * 101,
    "encoded space": "a%20b",
    "plus": "a+b",
    "colon": "a:b",
    "braces": "%7Ba%7D",
    "bare braces": "{a}",
    "Cyrillic look-alike": "%D0%B0",
    "fullwidth look-alike": "%EF%BD%81",
    "Arabic digit": "%D9%A1",
    "combining accent": "a%CC%81",
    "zero-width space": "a%E2%80%8B",
    "double encoding": "%2561",
    "dot": "a.b",
    "semicolon": "a;b=c",
    "at sign": "a@b",
    "percent-encoded question mark": "a%3Fb",
}
PATHS = [
    ("POST", "/enqueue/{}/q/", "queue_type"),
    ("POST", "/enqueue/t/{}/", "queue_id"),
    ("GET", "/dequeue/{}/", "queue_type"),
    ("POST", "/finish/t/q/{}/", "job_id"),
    ("POST", "/release/t/{}/j/", "queue_id"),
    ("POST", "/extend/{}/q/j/", "queue_type"),
    ("GET", "/status/t/q/{}/", "job_id"),
    ("POST", "/interval/t/{}/", "queue_id"),
    ("DELETE", "/interval/{}/q/", "queue_type"),
    ("GET", "/metrics/{}/", "queue_type"),
    ("GET", "/metrics/t/{}/", "queue_id"),
    ("DELETE", "/deletequeue/t/{}/", "queue_id"),
]


@pytest.mark.parametrize("name", NO_NAMES.values(), ids=NO_NAMES.keys())
@pytest.mark.parametrize(("method", "path", "field"), PATHS[:2])
async def test_a_name_that_cannot_be(
    rest: Rest, method: str, path: str, field: str, name: str
) -> None:
    answer = await rest.call(method, path.format(name), job())
    assert answer.error == (400, INVALID)
    assert answer.body["message"] == f"`{field}` has an invalid value."
    assert (await rest.get("/metrics/")).body["queue_types"] == []


@pytest.mark.parametrize(("method", "path", "field"), PATHS)
async def test_each_route_checks_its_names_before_its_body(
    rest: Rest, method: str, path: str, field: str
) -> None:
    answer = await rest.call(method, path.format("a%20b"), b"{" if method == "POST" else None)
    assert answer.error == (400, INVALID)
    assert answer.body["message"] == f"`{field}` has an invalid value."


@pytest.mark.parametrize(
    "target",
    [b"/metrics/t/\xff/", b"/metrics/t/\xc3\xa4/", b"/metrics/t/a\xa0/", b"metrics/", b"*a"],
)
async def test_what_is_no_target_is_refused(raw: Raw, target: bytes) -> None:
    answer = await raw.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
    assert answer.error == (400, "bad_request")


@pytest.mark.parametrize("origin", ["http://localhost", "https://localhost:1", "HTTP://a.b"])
async def test_a_target_may_be_a_whole_url(raw: Raw, origin: str) -> None:
    async with raw.connect() as connection:
        await connection.send(f"GET {origin}/metrics/t/ HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert (await connection.answer()).status == 200
        await connection.send(f"GET {origin} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert (await connection.answer()).body == {"message": "Hello, SharQ!"}


@pytest.mark.parametrize(
    "path",
    [
        "//",
        "///",
        "//metrics/",
        "/metrics//",
        "/metrics//q/",
        "/metrics/t//",
        "/metrics/t//q/",
        "/metrics/t/q//",
        "/metrics/..",
        "/metrics/t/../",
        "/metrics/t/.",
        "/metrics/%2e%2e/",
        "/../metrics/",
        "/./metrics/",
        "/metrics/t/q/j/",
        "/Metrics/",
        "/metrics%2Ft/",
        "/enqueue/t/",
        "/finish/t/q/",
        "*",
        "http://localhost/nowhere/",
    ],
)
async def test_a_path_that_leads_nowhere(raw: Raw, path: str) -> None:
    async with raw.connect() as connection:
        await connection.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert (await connection.answer()).error == (404, "not_found")


@pytest.mark.parametrize("path", ["/%6detrics/t/", "/metrics/%74/", "/metrics/%74"])
async def test_percent_encoding_of_what_needs_none_changes_nothing(rest: Rest, path: str) -> None:
    assert (await rest.get(path)).outcome == (200, {"status": "success", "queue_ids": []})


async def test_a_name_of_100_characters_can_be(rest: Rest) -> None:
    name = "aZ09_-" * 16 + "abcd"
    assert (await rest.enqueue(f"{name}/{name}", name)).status == 201
    assert (await rest.get(f"/status/{name}/{name}/{name}/")).body["state"] == "queued"
