"""What a client may send wrong, and what it is told: one table for each kind, by what is wrong.

The identity of tokens, Host names and origins has tests of its own.
"""

from __future__ import annotations

import base64
import gzip
from typing import Final, NamedTuple

from sharq.codec import websocket_frames as ws

INVALID: Final = "invalid_argument"
NOT_JSON: Final = "not_json"
TOO_LARGE: Final = "payload_too_large"
MALFORMED: Final = "bad_request"

MAX_PAYLOAD: Final = 1_048_576
MAX_BODY: Final = MAX_PAYLOAD + 64 * 1024
MAX_BULK: Final = 16 * MAX_PAYLOAD


class Refusal(NamedTuple):
    """What is sent, and the status, code and a part of the message of the answer to it.

    `stays` tells that the connection can be used after it.
    """

    sent: bytes
    status: int
    code: str
    message: str = ""
    stays: bool = False


# ---- HTTP framing ----

HOST: Final = b"Host: localhost\r\n"
GET: Final = b"GET / HTTP/1.1\r\n" + HOST
POST: Final = b"POST /finish/t/q/j/ HTTP/1.1\r\n" + HOST
CHUNKED: Final = b"Transfer-Encoding: chunked\r\n\r\n"
TLS_HELLO: Final = bytes.fromhex("16030100c4010000c00303") + bytes(range(128, 160)) + b"\x00\x2c"


def request(method: str, path: str, body: bytes | None = None, *fields: str) -> bytes:
    """A request that is well framed, whatever else it is."""
    length = [] if body is None else [f"Content-Length: {len(body)}"]
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *length, *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


NO_REQUESTS: Final[dict[str, bytes]] = {
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": GET + HOST + b"\r\n",
    "two Hosts in one": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "bad characters in Host: a slash": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "bad characters in Host: a space": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "bad characters in Host: an at sign": b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "bad characters in Host: no ASCII": b"GET / HTTP/1.1\r\nHost: \xe4\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n",
    "HTTP/0.9 with headers": b"GET /\r\n" + HOST + b"\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\n" + HOST + b"\r\n",
    "TLS bytes on the plain port": TLS_HELLO,
    "bare CR in a header": GET + b"A: b\rc\r\n\r\n",
    "bare CR ends a line": GET + b"A: b\rB: c\r\n\r\n",
    "bare CRs only": b"GET / HTTP/1.1\rHost: localhost\r\r",
    "space before the colon": GET + b"A : b\r\n\r\n",
    "folded header": GET + b"A: b\r\n c\r\n\r\n",
    "folded first header": b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "NUL in a header": GET + b"A: b\x00c\r\n\r\n",
    "NUL in the request line": b"GET /\x00 HTTP/1.1\r\n" + HOST + b"\r\n",
    "no colon": GET + b"A\r\n\r\n",
    "empty header name": GET + b": b\r\n\r\n",
    "two different Content-Lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "one Content-Length twice": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "one Content-Length twice in one": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "two different Content-Lengths in one": POST + b"Content-Length: 2, 3\r\n\r\n{}",
    "Content-Length with Transfer-Encoding": POST
    + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Content-Length -1": POST + b"Content-Length: -1\r\n\r\n",
    "Content-Length +7": POST + b"Content-Length: +7\r\n\r\n{     }",
    "Content-Length 1_0": POST + b"Content-Length: 1_0\r\n\r\n{        }",
    "Content-Length of 20 digits": POST + b"Content-Length: " + b"1" * 20 + b"\r\n\r\n",
    "Content-Length empty": POST + b"Content-Length: \r\n\r\n",
    "Content-Length hexadecimal": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "Transfer-Encoding gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "Transfer-Encoding xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding empty": POST + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding twice": POST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
    "Transfer-Encoding on HTTP/1.0": b"POST /finish/t/q/j/ HTTP/1.0\r\n" + CHUNKED + b"0\r\n\r\n",
    "chunk size 0x7": POST + CHUNKED + b"0x7\r\n1234567\r\n0\r\n\r\n",
    "chunk size +7": POST + CHUNKED + b"+7\r\n1234567\r\n0\r\n\r\n",
    "chunk size -1": POST + CHUNKED + b"-1\r\n\r\n",
    "chunk size of 17 F's": POST + CHUNKED + b"F" * 17 + b"\r\n",
    "chunk size without an end": POST + CHUNKED + b"0" * 20_000,
    "bad chunk end": POST + CHUNKED + b"2\r\n{}xx0\r\n\r\n",
    "bad end of the chunks": POST + CHUNKED + b"2\r\n{}\r\n0\r\nxx\r\n\r\n",
    "a field after the chunks": POST + CHUNKED + b"2\r\n{}\r\n0\r\nA: b\r\n\r\n",
    "bad method token": b"G@T / HTTP/1.1\r\n" + HOST + b"\r\n",
    "empty method": b" / HTTP/1.1\r\n" + HOST + b"\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n",
    "no version": b"GET / \r\n" + HOST + b"\r\n",
    "version HTTP/1.11": b"GET / HTTP/1.11\r\n" + HOST + b"\r\n",
    "no request at all": b"{}\r\n\r\n",
}

FORM: Final = "Content-Type: application/x-www-form-urlencoded"
MULTIPART: Final = "Content-Type: Multipart/Form-Data; boundary=x"

FRAMING: Final[dict[str, Refusal]] = {
    **{name: Refusal(sent, 400, MALFORMED) for name, sent in NO_REQUESTS.items()},
    "header block over its limit": Refusal(
        GET + b"X: " + b"x" * 17_000 + b"\r\n\r\n", 431, "headers_too_large"
    ),
    "many headers over the limit": Refusal(
        GET + b"X: y\r\n" * 3000 + b"\r\n", 431, "headers_too_large"
    ),
    "URL over its limit": Refusal(request("GET", "/" + "x" * 8192), 414, "uri_too_long"),
    "body over its limit, before reading it": Refusal(
        POST + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1), 413, TOO_LARGE, str(MAX_BODY)
    ),
    "body of a bulk over its limit, before reading it": Refusal(
        b"POST /enqueue/ HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (HOST, MAX_BULK + 1),
        413,
        TOO_LARGE,
        str(MAX_BULK),
    ),
    "body in chunks over its limit": Refusal(
        POST + CHUNKED + b"11000f\r\n" + b"x" * 0x11000F + b"\r\nf\r\n", 413, TOO_LARGE
    ),
    "Expect other than 100-continue": Refusal(
        request("GET", "/", None, "Expect: 200-ok"), 417, "expectation_failed", "100-continue"
    ),
    **{
        f"body with Content-Encoding {encoding}": Refusal(
            request("POST", "/finish/t/q/j/", b"{}", f"Content-Encoding: {encoding}"),
            415,
            "unsupported_media_type",
            "gzip only",
        )
        for encoding in ("deflate", "br", "zstd", "gzip, gzip", "gzip, identity", "compress")
    },
    **{
        f"gzip body that is {what}": Refusal(
            request("POST", "/enqueue/t/q/", body, "Content-Encoding: gzip"),
            400,
            MALFORMED,
            message,
        )
        for what, body, message in (
            ("plain", b"{}", "not valid gzip"),
            ("truncated", gzip.compress(b"{}")[:-1], "ends in the middle"),
            ("broken", gzip.compress(b"{}")[:-5] + b"xxxxx", "not valid gzip"),
            ("followed by something else", gzip.compress(b"{}") + b"{}", "not valid gzip"),
            ("made of too many members", gzip.compress(b"") * 1025, "more than 1024 gzip members"),
        )
    },
    "gzip bomb": Refusal(
        request(
            "POST",
            "/enqueue/t/q/",
            gzip.compress(b" " * (MAX_BODY + 1)),
            "Content-Encoding: gzip",
        ),
        413,
        TOO_LARGE,
        str(MAX_BODY),
    ),
    "gzip bomb in many members": Refusal(
        request(
            "POST", "/enqueue/t/q/", gzip.compress(b" " * 10_000) * 200, "Content-Encoding: gzip"
        ),
        413,
        TOO_LARGE,
        str(MAX_BODY),
    ),
    **{
        f"form body with an Origin: {field}": Refusal(
            request("POST", "/finish/t/q/j/", b"a=b", "Origin: null", field),
            415,
            "unsupported_media_type",
            "forms",
        )
        for field in (FORM, MULTIPART, "Content-Type: text/plain")
    },
    **{
        f"{method} on a route without it": Refusal(
            request(method, "/metrics/"), 405, "method_not_allowed", "GET, HEAD", stays=True
        )
        for method in ("PUT", "OPTIONS", "TRACE", "BREW", "get")
    },
}

# ---- paths ----

NO_NAMES: Final[dict[str, str]] = {
    "%2F": "a%2Fb",
    "%00": "a%00",
    "%0d%0a": "a%0d%0a",
    "%ff": "%ff",
    "%zz": "%zz",
    "a percent sign alone": "a%",
    "101 characters": "x" * 101,
    "a colon": "a:b",
    "{": "{",
    "}": "}",
    "braces, encoded": "%7Ba%7D",
    "look-alike Unicode: Cyrillic": "%D0%B0",
    "look-alike Unicode: fullwidth": "%EF%BD%81",
    "look-alike Unicode: Arabic digit": "%D9%A1",
    "look-alike Unicode: combining accent": "a%CC%81",
    "look-alike Unicode: zero-width space": "a%E2%80%8B",
    "a trailing newline": "a%0a",
    "a space": "a%20b",
    "a plus": "a+b",
    "encoded twice": "%2561",
    "a dot": "a.b",
    "a semicolon": "a;b=c",
    "an at sign": "a@b",
    "a question mark, encoded": "a%3Fb",
}

NO_TARGETS: Final[dict[str, bytes]] = {
    "raw bytes": b"/metrics/t/\xff/",
    "raw UTF-8": b"/metrics/t/\xc3\xa4/",
    "raw Latin-1": b"/metrics/t/a\xa0/",
    "no slash": b"metrics/",
    "an asterisk and more": b"*a",
}

NOWHERE: Final = (
    *("//", "///", "//metrics/", "/metrics//", "/metrics//q/", "/metrics/t//", "/metrics/t//q/"),
    *("/metrics/t/q//", "/metrics/..", "/metrics/t/../", "/metrics/t/.", "/metrics/%2e%2e/"),
    *("/../metrics/", "/./metrics/", "/metrics/t/q/j/", "/Metrics/", "/metrics%2Ft/"),
    *("/enqueue/t/", "/finish/t/q/", "*", "http://localhost/nowhere/"),
)

NAMES_THAT_WORK: Final = ("active", "payload", "interval", "ready", "time", "q", "aZ09_-" * 16)

# ---- bodies ----


def job(**fields: str) -> bytes:
    """The body of an enqueue, by the JSON text of each field; one without text is left out."""
    texts = {"job_id": '"j"', "interval": "0", "payload": "1", **fields}
    pairs = (f'"{name}":{text}' for name, text in texts.items() if text)
    return ("{" + ",".join(pairs) + "}").encode("utf-8", "surrogatepass")


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


class Bad(NamedTuple):
    """A body, and the code and a part of the message of the answer to it."""

    body: bytes
    code: str
    message: str = ""


NO_OBJECTS: Final[dict[str, Bad]] = {
    "empty": Bad(b"", NOT_JSON),
    "white space": Bad(b" \r\n", NOT_JSON),
    "not JSON": Bad(b"{job_id: 5}", NOT_JSON),
    "a form": Bad(b"job_id=j&interval=0", NOT_JSON, "is a form. A JSON object is expected"),
    "cut off": Bad(job()[:-1], NOT_JSON),
    "trailing garbage": Bad(job() + b" x", NOT_JSON),
    "two objects": Bad(job() + job(), NOT_JSON),
    "trailing comma": Bad(job()[:-1] + b",}", NOT_JSON),
    "single quotes": Bad(job().replace(b'"', b"'"), NOT_JSON),
    "a comment": Bad(b"/* */" + job(), NOT_JSON),
    "invalid UTF-8": Bad(b'{"interval":"\xff"}', NOT_JSON),
    "invalid UTF-8 that a later field replaces": Bad(
        b'{"payload":"\xff","payload":1,"job_id":"j","interval":0}', NOT_JSON
    ),
    "BOM": Bad(b"\xef\xbb\xbf" + job(), NOT_JSON),
    "UTF-16": Bad(job().decode().encode("utf-16"), NOT_JSON),
    "UTF-16 without a BOM": Bad(job().decode().encode("utf-16-le"), NOT_JSON),
    "Latin-1": Bad('{"interval":"ä"}'.encode("latin-1"), NOT_JSON),
    "NUL at the end": Bad(job() + b"\x00", NOT_JSON),
    "an array at the top": Bad(b"[]", INVALID, "a JSON object"),
    "a string at the top": Bad(b'"x"', INVALID, "a JSON object"),
    "null at the top": Bad(b"null", INVALID, "a JSON object"),
    "a number at the top": Bad(b"5", INVALID, "a JSON object"),
    "true at the top": Bad(b"true", INVALID, "a JSON object"),
    "nesting over the parser's depth": Bad(deep(100_000).encode(), INVALID),
}

NO_VALUES: Final[dict[str, Bad]] = {
    "NaN": Bad(job(payload="NaN"), NOT_JSON),
    "NaN inside": Bad(job(payload='{"a":[NaN]}'), NOT_JSON),
    "Infinity": Bad(job(payload="-Infinity"), NOT_JSON),
    "leading zero": Bad(job(payload="01"), NOT_JSON),
    "control character": Bad(job(payload='"\t"'), NOT_JSON),
    "bad escape": Bad(job(payload='"\\x41"'), NOT_JSON),
    "a number too large for a double": Bad(
        job(payload="1e400"), INVALID, "`payload` has a number that is too large."
    ),
    "an integer of 4,001 digits": Bad(
        job(payload="9" * 4001), INVALID, "`payload` has an integer of more than 4,000 digits."
    ),
    "encoded surrogate": Bad(job(payload='"\ud800"'), NOT_JSON),
    "invalid UTF-8 in a payload": Bad(
        b'{"job_id":"j","interval":0,"payload":"\xc3\x28"}', NOT_JSON
    ),
}

INTERVALS: Final = (
    *("true", "false", "1.0005", "1e3", "1E0", '"5"', "null", "-1", "-0.5", "[]", "{}", "[5]"),
    *("1.10000000000000001", "1.0000", "1.5e0", "31536000000.001", '"1.5"', "0.0001"),
    *("31536000001", str(2**63), str(2**64), "9" * 400, "9" * 5000),
)
LIMITS: Final = ("0", "-1", "1000001", "1.0", "true", '"1"', "[]", "9" * 400)
JOB_IDS: Final = (
    *('""', '"a b"', '"a/b"', '"a:b"', '"{a}"', '"a\\n"', '"\\u0000"', '"ä"', '"\\u0430"'),
    *('"' + "x" * 101 + '"', "5", "null", "true", "[]", '["j"]', "{}"),
)


def _invalid(name: str, texts: tuple[str, ...]) -> dict[str, Bad]:
    return {
        f"{name} {text[:30]}": Bad(job(**{name: text}), INVALID, f"`{name}` has an invalid value.")
        for text in texts
    }


BAD_JOBS: Final[dict[str, Bad]] = {
    "missing field: job_id": Bad(job(job_id=""), INVALID, "`job_id` is a mandatory parameter"),
    "missing field: interval": Bad(
        job(interval=""), INVALID, "`interval` is a mandatory parameter"
    ),
    "missing field: payload": Bad(job(payload=""), INVALID, "`payload` is a mandatory parameter"),
    "unknown field": Bad(job(colour="1"), INVALID, "`colour` is not a known parameter."),
    "unknown field with an empty name": Bad(job(**{"": "1"}), INVALID, "`` is not a known"),
    "unknown field with a long name": Bad(
        job(**{"x" * 5000: "1"}), INVALID, "`" + "x" * 100 + "…`"
    ),
    "unknown field with markup": Bad(
        job(**{"<b>": "1"}), INVALID, "`<b>` is not a known parameter."
    ),
    "unknown field: lease": Bad(job(lease='"x"'), INVALID, "`lease` is not a known parameter."),
    **_invalid("interval", INTERVALS),
    **_invalid("requeue_limit", ("-2", "true", "1.0", '"1"', "[]", str(2**63), "9" * 5000)),
    **_invalid("max_queued_length", ("-1", "true", "1.0", '"1"', "[]", str(2**63))),
    **_invalid("burst", LIMITS),
    **_invalid("concurrency", LIMITS),
    **_invalid("cost", LIMITS),
    **_invalid("group", ('""', '"a b"', "5", "true", "[]", '"' + "x" * 101 + '"', '"\\ud800"')),
    **_invalid("priority", ("-1", "10", "1.0", "true", '"1"', "[]")),
    **_invalid("delay", ("-1", "1.5", "1.0", "true", '"1"', "31536000001")),
    **_invalid("job_id", JOB_IDS),
    "half a surrogate pair in a name": Bad(
        job(job_id='"\\ud800"'), INVALID, "`job_id` has an invalid value."
    ),
    **_invalid("queue_id", ("null", "5", '""')),
    **_invalid("queue_type", ("null", "5", '""')),
    "nesting over the payload's depth": Bad(
        job(payload=deep(501)), INVALID, "`payload` nests deeper"
    ),
    "nesting of objects over the payload's depth": Bad(
        job(payload='{"a":' * 501 + "1" + "}" * 501), INVALID, "`payload` nests deeper"
    ),
    "nesting in a payload over the parser's depth": Bad(
        job(payload=deep(100_000)), INVALID, "nests"
    ),
    "nesting in a field over the parser's depth": Bad(job(job_id=deep(100_000)), INVALID, "nests"),
    "payload over the limit": Bad(
        job(payload='"' + "x" * (MAX_PAYLOAD - 1) + '"'), TOO_LARGE, "`payload`"
    ),
}

CONTRADICTIONS: Final[dict[str, Bad]] = {
    f"{name} in the body that contradicts the path": Bad(
        job(**{name: '"other"'}), INVALID, f"`{name}` has an invalid value."
    )
    for name in ("queue_id", "queue_type")
}


class BadField(NamedTuple):
    """A request to another route whose body has a field that cannot be."""

    method: str
    path: str
    body: bytes
    message: str


WRONG_LEASES: Final = (
    *('""', '"x"', "5", "true", "[]", "{}", '"t/q/j/"', '"t/q/j/5\\n"', '"t/q/j/-1"'),
    *('"t/q/other/5"', '"u/q/j/5"', '"t/q/j/' + "9" * 20 + '"'),
)


OTHER_FIELDS: Final[dict[str, BadField]] = {
    **{
        f"interval: interval {text[:30]}": BadField(
            "POST",
            "/interval/t/q/",
            b'{"interval":%b}' % text.encode(),
            "`interval` has an invalid value.",
        )
        for text in INTERVALS
    },
    "interval: missing field": BadField(
        "POST", "/interval/t/q/", b'{"INTERVAL":1}', "`interval` is a mandatory parameter"
    ),
    **{
        f"{verb}: lease {text[:30]}": BadField(
            "POST",
            f"/{verb}/t/q/j/",
            b'{"lease":%b%b}' % (text.encode(), b',"by":1' if verb == "extend" else b""),
            "`lease` has an invalid value.",
        )
        for verb in ("finish", "release", "extend")
        for text in WRONG_LEASES
    },
    **{
        f"cancel: lease {text[:30]}": BadField(
            "DELETE",
            "/job/t/q/j/",
            b'{"lease":%b}' % text.encode(),
            "`lease` has an invalid value.",
        )
        for text in WRONG_LEASES
    },
    **{
        f"{path}: {query}": BadField(
            "GET", f"{path}?{query}", b"", f"`{query.partition('=')[0]}` has an invalid value."
        )
        for path, queries in {
            "/jobs/t/q/": ("count=101", "cursor=w1", "cursor=n" + "9" * 16 + "-0", "cursor=n1"),
            "/metrics/t/": ("count=1001", "cursor=n1-0", "cursor=w" + "9" * 20, "cursor=w-1"),
        }.items()
        for query in (*queries, "count=0", "count=-1", "count=", "count=1.0", "count=x", "cursor=")
    },
    **{
        f"{path}: {name} twice": BadField(
            "GET", f"{path}?{name}=1&{name}=1", b"", f"`{name}` is given twice."
        )
        for path in ("/jobs/t/q/", "/metrics/t/")
        for name in ("cursor", "count")
    },
    "interval: a wrong name in the path": BadField(
        "POST", "/interval/t/a%20b/", b'{"interval":5}', "`queue_id` has an invalid value."
    ),
    "cancel: a lease in the query": BadField(
        "DELETE", "/job/t/q/j/?lease=t/q/j/1", b"", "`lease` is not a known parameter."
    ),
    "cancel: unknown field": BadField(
        "DELETE", "/job/t/q/j/", b'{"purge":1}', "`purge` is not a known parameter."
    ),
    **{
        f"release: delay {text[:30]}": BadField(
            "POST",
            "/release/t/q/j/",
            b'{"delay":%b}' % text.encode(),
            "`delay` has an invalid value.",
        )
        for text in ("-1", '"5"', "1.5", "true", "31536000001", "9" * 400, "[]")
    },
    **{
        f"release: count_requeue {text}": BadField(
            "POST",
            "/release/t/q/j/",
            b'{"count_requeue":%b}' % text.encode(),
            "`count_requeue` has an invalid value.",
        )
        for text in ("1", '"true"', "[]")
    },
    **{
        f"limits of {path}: {name} {text[:30]}": BadField(
            "POST",
            path,
            b'{"%b":%b}' % (name.encode(), text.encode()),
            f"`{name}` has an invalid value.",
        )
        for path in ("/limits/t/q/", "/limits/t/", "/limits/t/?group=g&dry_run=true")
        for name, texts in {
            "interval": tuple(text for text in INTERVALS if text != "null"),
            "burst": LIMITS,
            "concurrency": LIMITS,
            "reason": ("5", "true", "[]", '"' + "ä" * 101 + '"', '"\\ud800"'),
        }.items()
        for text in texts
    },
    **{
        f"limits: group {text[:30]}": BadField(
            "POST",
            "/limits/t/q/",
            b'{"group":%b}' % text.encode(),
            "`group` has an invalid value.",
        )
        for text in ('""', '"a b"', "5", "true", '"-"')
    },
    **{
        f"limits: no field of {path}": BadField("POST", path, body, message)
        for body in (b"{}", b"")
        for path, message in {
            "/limits/t/q/": "one or more of `interval`, `burst`, `concurrency`, `group`, `reason`.",
            "/limits/t/": "one or more of `interval`, `burst`, `concurrency`, `reason`.",
            "/limits/t/?group=g": "one or more of `interval`, `burst`, `concurrency`, `reason`.",
        }.items()
    },
    **{
        f"limits: group as a field of {path}": BadField(
            "POST", path, b'{"group":"g"}', "`group` is not a known parameter."
        )
        for path in ("/limits/t/", "/limits/t/?group=g")
    },
    "limits: unknown field": BadField(
        "POST", "/limits/t/q/", b'{"burst":1,"rate":5}', "`rate` is not a known parameter."
    ),
    **{
        f"{method} {path} with a group": BadField(
            method, f"{path}?group=g", b"", "`group` is not for a path that names a queue."
        )
        for method, path in (
            *(("GET", "/limits/t/q/"), ("POST", "/limits/t/q/"), ("DELETE", "/limits/t/q/")),
            *(("POST", "/pause/t/q/"), ("POST", "/resume/t/q/")),
        )
    },
    **{
        f"{method} {path} with {query}": BadField(method, f"{path}?{query}", b"", message)
        for method, path in (
            *(("GET", "/limits/t/"), ("DELETE", "/limits/t/")),
            *(("POST", "/pause/t/"), ("POST", "/resume/t/")),
        )
        for query, message in {
            "dry_run=true": "`dry_run` is not a known parameter.",
            "queue_id=q": "`queue_id` is not a known parameter.",
            "group=": "`group` has an invalid value.",
            "group=a%20b": "`group` has an invalid value.",
            "group=-": "`group` has an invalid value.",
            "group=a&group=a": "`group` is given twice.",
        }.items()
    },
    **{
        f"limits: dry_run {text}": BadField(
            "POST",
            f"/limits/t/q/?dry_run={text}",
            b'{"burst":1}',
            "`dry_run` has an invalid value.",
        )
        for text in ("", "yes", "2")
    },
    "limits: a parameter that is not known": BadField(
        "POST", "/limits/t/q/?dryrun=true", b'{"burst":1}', "`dryrun` is not a known parameter."
    ),
    **{
        f"pause: for {text[:30]}": BadField(
            "POST", "/pause/t/", b'{"for":%b}' % text.encode(), "`for` has an invalid value."
        )
        for text in ("0", "-1", '"5"', "1.5", "1.0", "true", "31536000001", "9" * 400, "[]")
    },
    **{
        f"pause: reason {text[:30]}": BadField(
            "POST",
            "/pause/t/q/",
            b'{"reason":%b}' % text.encode(),
            "`reason` has an invalid value.",
        )
        for text in ("5", "true", "[]", '"' + "x" * 201 + '"')
    },
    "pause: unknown field": BadField(
        "POST", "/pause/t/", b'{"duration":5}', "`duration` is not a known parameter."
    ),
    "resume: unknown field": BadField(
        "POST", "/resume/t/", b'{"for":5}', "`for` is not a known parameter."
    ),
    "limits: a field of a DELETE": BadField(
        "DELETE", "/limits/t/", b'{"burst":null}', "`burst` is not a known parameter."
    ),
    "release: unknown field": BadField(
        "POST", "/release/t/q/j/", b'{"by":1}', "`by` is not a known parameter."
    ),
    **{
        f"extend: by {text[:30]}": BadField(
            "POST", "/extend/t/q/j/", b'{"by":%b}' % text.encode(), "`by` has an invalid value."
        )
        for text in ("null", "0", "-1", '"1"', "1.0", "true", "31536000001", "9" * 400)
    },
    "extend: missing field": BadField(
        "POST", "/extend/t/q/j/", b"{}", "`by` is a mandatory parameter"
    ),
    "extend: unknown field": BadField(
        "POST", "/extend/t/q/j/", b'{"by":1,"delay":1}', "`delay` is not a known parameter."
    ),
    **{
        f"deletequeue: purge_all {text}": BadField(
            "DELETE",
            "/deletequeue/t/q/",
            b'{"purge_all":%b}' % text.encode(),
            "`purge_all` has an invalid value.",
        )
        for text in ('"yes"', '""', '"2"', "2", "-1", "1.0", "[]", "{}", "9" * 5000)
    },
    "deletequeue: purge_all as a parameter": BadField(
        "DELETE", "/deletequeue/t/q/?purge_all=", b"", "`purge_all` has an invalid value."
    ),
    "deletequeue: purge_all that contradicts the parameter": BadField(
        "DELETE",
        "/deletequeue/t/q/?purge_all=false",
        b'{"purge_all":true}',
        "`purge_all` is given twice, with different values.",
    ),
    **{
        f"finish: a lease in {body.decode()}": BadField(
            "POST", "/finish/t/q/j/", body, "`lease` has to"
        )
        for body in (
            *(b"lease=t/q/j/5", b"{'lease': 't/q/j/5'}", b'{"lease":"t/q/j/5"', b'["lease"]'),
            *(b'"lease"', b"<lease>t/q/j/5</lease>", b'[{"lease":"t/q/j/5"}]'),
        )
    },
    "dequeue: unknown field": BadField(
        "POST", "/dequeue/t/", b'{"count":1}', "`count` is not a known parameter."
    ),
    **{
        f"bulk: jobs {body[:20].decode()}": BadField("POST", "/enqueue/", body, "`jobs`")
        for body in (
            *(b"{}", b'{"jobs":[]}', b'{"jobs":null}', b'{"jobs":{}}', b'{"jobs":"x"}'),
            b'{"jobs":[' + b",".join([b"0"] * 1001) + b"]}",
        )
    },
    "bulk: nesting over the parser's depth": BadField(
        "POST",
        "/enqueue/",
        b'{"jobs":%b}' % (b'{"a":' * 100_000 + b"}" * 100_000),
        "nests too deep",
    ),
    "bulk: unknown field": BadField(
        "POST", "/enqueue/", b'{"jobs":[{}],"more":1}', "`more` is not a known parameter."
    ),
}

QUERIES: Final[dict[str, str]] = {
    **{
        f"count={text}": "`count` has an invalid value."
        for text in ("0", "101", "-1", "%2B1", "1.0", "1_0", "%D9%A1", "", "x", "9" * 400)
    },
    **{
        f"request_id={text}": "`request_id` has an invalid value."
        for text in ("", "a%20b", "x" * 101, "%ff", "a%0a")
    },
    **{
        f"wait={text}": "`wait` has an invalid value."
        for text in ("-1", "31", "30.1", "x", "", "1e1", "nan", "001")
    },
    "count": "`count` has an invalid value.",
    "count=1&count=1": "`count` is given twice.",
    "wait=1&wait=1": "`wait` is given twice.",
}

# ---- websocket ----

KEY: Final = base64.b64encode(bytes(16)).decode()


def handshake(method: str = "GET", **changed: str) -> bytes:
    """A handshake with fields changed, by their last words; one without text is left out."""
    fields = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
    }
    for name, value in changed.items():
        fields[next(each for each in fields if each.endswith(name))] = value
    lines = (f"{name}: {value}" for name, value in fields.items() if value)
    return request(method, "/ws/", None, *lines)


HANDSHAKES: Final[dict[str, Refusal]] = {
    "wrong version": Refusal(handshake(Version="8"), 426, "upgrade_required", "13"),
    "version that is no number": Refusal(handshake(Version="x"), 426, "upgrade_required", "13"),
    "no version": Refusal(handshake(Version=""), 426, "upgrade_required", "13"),
    "no key": Refusal(handshake(Key=""), 400, MALFORMED, "Sec-WebSocket-Key"),
    "malformed key": Refusal(handshake(Key="short"), 400, MALFORMED, "Sec-WebSocket-Key"),
    "malformed key: 15 bytes": Refusal(
        handshake(Key=base64.b64encode(bytes(15)).decode()), 400, MALFORMED, "Sec-WebSocket-Key"
    ),
    "malformed key: no ASCII": Refusal(handshake(Key="ä" * 24), 400, MALFORMED),
    "no Upgrade": Refusal(handshake(Upgrade=""), 400, MALFORMED, "upgrade"),
    "another Upgrade": Refusal(handshake(Upgrade="h2c"), 400, MALFORMED, "upgrade"),
    "no upgrade in Connection": Refusal(handshake(Connection="keep-alive"), 400, MALFORMED),
    "POST": Refusal(handshake("POST"), 405, "method_not_allowed", "GET"),
    "PUT": Refusal(handshake("PUT"), 405, "method_not_allowed", "GET"),
}

LEASE: Final = '"t/q/j/1"'

FRAMES: Final[dict[str, tuple[str, str, str]]] = {
    "not JSON": ("{", NOT_JSON, "The frame is not valid JSON"),
    "not JSON: empty": ("", NOT_JSON, "The frame is not valid JSON"),
    "not JSON: trailing garbage": ('{"op":"ping"}x', NOT_JSON, "The frame is not valid JSON"),
    "not JSON: NaN": ('{"op":"credit","credit":NaN}', NOT_JSON, "The frame is not valid JSON"),
    "half a surrogate pair in an id": (
        '{"op":"ping","id":"\\ud800"}',
        INVALID,
        "`id` has an invalid value.",
    ),
    "not an object": ("[]", INVALID, "The frame has to be a JSON object."),
    "not an object: null": ("null", INVALID, "The frame has to be a JSON object."),
    "not an object: a string": ('"ping"', INVALID, "The frame has to be a JSON object."),
    "nesting over the parser's depth": (
        '{"op":"ping","x":' + "[" * 100_000,
        INVALID,
        "nests too deep",
    ),
    "unknown op": ('{"op":"nonsense"}', INVALID, "`op` has an invalid value."),
    "op of a wrong type": ('{"op":1}', INVALID, "`op` has an invalid value."),
    "missing field: op": ("{}", INVALID, "`op` is a mandatory parameter"),
    "missing field: queue_type": (
        '{"op":"subscribe","credit":1}',
        INVALID,
        "`queue_type` is a mandatory parameter",
    ),
    "missing field: credit": (
        '{"op":"subscribe","queue_type":"t"}',
        INVALID,
        "`credit` is a mandatory parameter",
    ),
    **{
        f"missing field: leases of {op}": (
            f'{{"op":"{op}"{more}}}',
            INVALID,
            "`leases` is a mandatory parameter",
        )
        for op, more in {"finish": "", "release": "", "extend": ',"by":1'}.items()
    },
    "missing field: by": (
        f'{{"op":"extend","leases":[{LEASE}]}}',
        INVALID,
        "`by` is a mandatory parameter",
    ),
    "missing field: jobs": ('{"op":"enqueue"}', INVALID, "`jobs` is a mandatory parameter"),
    "missing field: jobs of cancel": (
        '{"op":"cancel"}',
        INVALID,
        "`jobs` is a mandatory parameter",
    ),
    "wrong field: jobs of cancel": (
        '{"op":"cancel","jobs":"x"}',
        INVALID,
        "`jobs` has an invalid value.",
    ),
    "wrong field: too many jobs of cancel": (
        '{"op":"cancel","jobs":[' + ",".join(["1"] * 1001) + "]}",
        INVALID,
        "`jobs` has more than 1000 entries.",
    ),
    "wrong field": ('{"op":"ping","x":1}', INVALID, "`x` is not a known parameter."),
    "wrong field: mode": (
        '{"op":"subscribe","queue_type":"t","credit":1,"mode":"x"}',
        INVALID,
        "`mode` has an invalid value.",
    ),
    "wrong field: queue_type": (
        '{"op":"subscribe","queue_type":"a:b","credit":1}',
        INVALID,
        "`queue_type` has an invalid value.",
    ),
    "wrong field: leases": ('{"op":"finish","leases":"x"}', INVALID, "`leases` has an invalid"),
    "wrong field: too many leases": (
        '{"op":"finish","leases":[' + ",".join([LEASE] * 1001) + "]}",
        INVALID,
        "`leases` has more than 1000 entries.",
    ),
    "wrong field: delay": (
        f'{{"op":"release","leases":[{LEASE}],"delay":-1}}',
        INVALID,
        "`delay` has an invalid value.",
    ),
    "wrong field: by": (
        f'{{"op":"extend","leases":[{LEASE}],"by":0}}',
        INVALID,
        "`by` has an invalid value.",
    ),
    "wrong field: count": (
        '{"op":"dequeue","queue_type":"t","count":101}',
        INVALID,
        "`count` has an invalid value.",
    ),
    "wrong field: request_id": (
        '{"op":"dequeue","queue_type":"t","request_id":"a b"}',
        INVALID,
        "`request_id` has an invalid value.",
    ),
    "wrong field: too many jobs": (
        '{"op":"enqueue","jobs":[' + ",".join(["0"] * 1001) + "]}",
        INVALID,
        "`jobs` has more than 1000 entries.",
    ),
    "wrong field: id": ('{"op":"ping","id":[1]}', INVALID, "`id` has an invalid value."),
    "wrong field: id of 129 bytes": (
        '{"op":"ping","id":"' + "x" * 127 + '"}',
        INVALID,
        "`id` has an invalid value.",
    ),
    **{
        f"credit {name}": (
            f'{{"op":"{op}","queue_type":"t","credit":{text}}}',
            INVALID,
            "`credit` has an invalid value.",
        )
        for name, text in {
            "negative": "-1",
            "huge": "9" * 400,
            "text": '"1"',
            "over its bound": "10001",
            "true": "true",
            "with decimals": "1.5",
        }.items()
        for op in ("subscribe",)
    },
    "credit for what is not subscribed to": (
        '{"op":"credit","queue_type":"never","credit":1}',
        "not_found",
        "",
    ),
}


def sent(opcode: int, data: bytes, *, first: int | None = None) -> bytes:
    """A client's frame; `first` is another first byte."""
    frame = ws.frame(opcode, data, masked=True)
    return frame if first is None else bytes([first]) + frame[1:]


CLOSES: Final[dict[str, tuple[bytes, int]]] = {
    "binary": (sent(ws.BINARY, b'{"op":"ping"}'), 1003),
    "a frame over the bound": (b"\x81\xff" + (MAX_BODY + 1).to_bytes(8, "big") + bytes(4), 1009),
    "a frame of 2^63 bytes": (b"\x81\xff\x80" + bytes(7) + bytes(4), 1009),
    "fragments over the bound": (
        sent(ws.TEXT, bytes(MAX_BODY), first=0x01) + sent(ws.CONTINUATION, b"x", first=0x80),
        1009,
    ),
    "bad UTF-8": (sent(ws.TEXT, b'{"op":"\xff"}'), 1007),
    "bad UTF-8: a surrogate": (sent(ws.TEXT, b"\xed\xa0\x80"), 1007),
    "bad UTF-8: cut off": (sent(ws.TEXT, b"\xc3"), 1007),
    "RSV1 bit": (sent(ws.TEXT, b"{}", first=0xC1), 1002),
    "RSV2 bit": (sent(ws.TEXT, b"{}", first=0xA1), 1002),
    "RSV3 bit": (sent(ws.TEXT, b"{}", first=0x91), 1002),
    **{
        f"reserved opcode {opcode:x}": (sent(ws.TEXT, b"", first=0x80 | opcode), 1002)
        for opcode in (*range(3, 8), *range(11, 16))
    },
    "no mask": (b"\x81\x02{}", 1002),
    "a continuation of nothing": (sent(ws.CONTINUATION, b"x"), 1002),
    "a message inside another": (sent(ws.TEXT, b"{", first=0x01) + sent(ws.TEXT, b"}"), 1002),
    "a ping in fragments": (sent(ws.PING, b"", first=0x09), 1002),
    "a ping of 126 bytes": (b"\x89\xfe\x00\x7e" + bytes(130), 1002),
    "a length longer than need be": (b"\x81\xfe\x00\x02" + bytes(6), 1002),
    "a close of one byte": (sent(ws.CLOSE, b"x"), 1002),
    "a close with a code that cannot be": (sent(ws.CLOSE, (1005).to_bytes(2, "big")), 1002),
    "a close with bad UTF-8": (sent(ws.CLOSE, b"\x03\xe8\xff"), 1007),
}
