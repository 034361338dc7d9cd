"""Some hundred requests for the routes of the original, well formed and odd, and what comes before.

They are asked of the original (`bench.peers.answers`), which makes the table of its answers, and of
our server (`test_beside_the_original.py`). Each one finds an empty store.
"""

from __future__ import annotations

import http.client
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

TABLE: Final = Path(__file__).parent / "original_answers.json"
"""What the original has answered: status and normalised body by the name of the request."""

_TIMEOUT: Final = 10.0


class Ask(NamedTuple):
    """A request, and those that go before it; `name` tells it from all others."""

    name: str
    method: str
    target: str
    body: bytes | None = None
    fields: Mapping[str, str] = {}
    before: Sequence[Ask] = ()
    chunked: bool = False


class Answer(NamedTuple):
    """Status, and the JSON body without what differs from one time to another; None for others."""

    status: int
    body: Any

    @property
    def is_yes(self) -> bool:
        return 200 <= self.status < 300


def job(**fields: Any) -> bytes:
    """A job's body; a field of bytes is JSON text, one that is None is left out."""
    fields = {"job_id": "j", "interval": 0, "payload": {"a": 1}, **fields}
    texts = (
        f"{json.dumps(name)}: ".encode() + (v if isinstance(v, bytes) else json.dumps(v).encode())
        for name, v in fields.items()
        if v is not None
    )
    return b"{" + b", ".join(texts) + b"}"


def enqueue(body: bytes | None = None, path: str = "t/q") -> Ask:
    return Ask("enqueue", "POST", f"/enqueue/{path}/", job() if body is None else body)


def dequeue(queue_type: str = "t") -> Ask:
    return Ask("dequeue", "GET", f"/dequeue/{queue_type}/")


FINISH: Final = Ask("finish", "POST", "/finish/t/q/j/", b"")
WAITING: Final = (enqueue(),)
ACTIVE: Final = (enqueue(), dequeue())
FINISHED: Final = (*ACTIVE, FINISH)
BOTH: Final = (enqueue(), dequeue(), enqueue(job(job_id="k")))
LIMITED: Final = (
    enqueue(job(interval=60_000)),
    dequeue(),
    enqueue(job(job_id="k", interval=60_000)),
)

# ---- what is sent ----

_ROUTES: Final = {
    "/": (),
    "/enqueue/t/q/": (),
    "/dequeue/": (enqueue(path="default/q"),),
    "/dequeue/t/": WAITING,
    "/finish/t/q/j/": ACTIVE,
    "/interval/t/q/": WAITING,
    "/metrics/": BOTH,
    "/metrics/t/": BOTH,
    "/metrics/t/q/": BOTH,
}
_OWN_BODIES: Final = {"/enqueue/t/q/": job(), "/interval/t/q/": b'{"interval": 5}'}
_METHODS: Final = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH")

_JSON_TYPE: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"
_TYPES: Final = (
    _JSON_TYPE,
    "application/json; charset=utf-8",
    "text/json",
    _FORM,
    "multipart/form-data; boundary=x",
    "text/plain",
    "application/xml",
    "application/octet-stream",
    "",
    "nonsense",
)
_NO_OBJECTS: Final = {
    "empty": b"",
    "white space": b" \r\n",
    "[]": b"[]",
    "[1]": b"[1]",
    "null": b"null",
    "true": b"true",
    "5": b"5",
    "a string": b'"x"',
    "a form": b"a=b&c=d",
    "text": b"some text",
    "XML": b"<finish/>",
    "PHP's serialize": b"a:0:{}",
    "cut off": b'{"job_id": "j"',
    "single quotes": b"{'a': 'b'}",
    "two objects": b"{}{}",
    "bytes": b"\xff\xfe\x00",
    "BOM": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "100 kB": b"x" * 100_000,
    "2 MB": b"x" * 2_000_000,
    "deep": b"[" * 5000,
}
_OBJECTS: Final = {
    "{}": b"{}",
    "another field": b'{"a": 1}',
    "the names": b'{"queue_type": "t", "queue_id": "q", "job_id": "j"}',
    "other names": b'{"queue_type": "u", "queue_id": "r", "job_id": "k"}',
    "null fields": b'{"a": null, "lease": null}',
    "a field twice": b'{"a": 1, "a": 2}',
    "a job": job(),
    "an interval": b'{"interval": 5}',
    "count": b'{"count": 5}',
    "malformed lease": b'{"lease": "x"}',
    "lease that is a number": b'{"lease": 5}',
    "lease of another job": b'{"lease": "t/q/k/5"}',
    "stale lease": b'{"lease": "t/q/j/5"}',
}
_BODIES: Final = {**_NO_OBJECTS, **_OBJECTS}
_QUERIES: Final = (
    *("", "_=123", "_=1&_=2", "a", "a=b&c=d", "count", "count=", "count=x", "count=0", "count=1"),
    *("count=5", "count=101", "count=1&count=2", "Count=1", "wait", "wait=0", "wait=x", "wait=-1"),
    *("wait=31", "request_id=r", "request_id=", "request_id=a%20b", "request_id=r&request_id=s"),
    *("queue_type=u", "lease=x", "%ff", "%zz", "&&&", "=", "a=%00", "a[]=1", "a=1;b=2"),
    "x" * 2000,
)
_INTERVALS: Final = (
    *("0", "1", "-0", "31536000000", "31536000001", "1" + "0" * 18, "1" + "0" * 30, "-1", "1.0"),
    *("1.5", "1e3", "true", "false", "null", '""', '"5"', '"x"', "[]", "[5]", "{}", "NaN"),
    *("Infinity", "-Infinity", "01", "+1", "1_000", "0x10"),
)
_LIMITS: Final = (
    *("-1", "0", "1", "null", "-2", "true", "false", "1.0", '"1"', "[]", "9" * 18, "9" * 19),
    "9" * 30,
)
_JOB_IDS: Final = {
    **{f"{len(text)} characters": text for text in ("", "j", "x" * 100, "x" * 101)},
    **{
        text: text
        for text in (
            *("a b", "a.b", "a:b", "a/b", "{a}", "a\n", "ä", "\u0430", "\u212a", "\u0131", "a\x00"),
            *("-", "_", "active", "0", "A-Z_9"),
        )
    },
    **{f"no text: {value}": value for value in (5, True, [], {}, 1.5)},
}
_PAYLOADS: Final = {
    **{
        text: text.encode()
        for text in (
            *("null", "true", "0", "-1", "1.5", "1e400", "-1e400", "1e-400", '""', '"x"', "[]"),
            *("{}", "[1, [2]]", '{"a": {"b": []}}', "NaN", "[Infinity]", '{"": 1}', '"\\u0000"'),
            *('{"a": 1, "a": 2}', '"\\ud83d\\ude00"', '"\\ud83d"', '"\\ude00"', '{"\\ud83d": 1}'),
            *("9" * 18, "9" * 19, str(2**64 - 1), str(2**64), "-" + "9" * 19, "1." + "1" * 40),
            *("[1,]", "'x'", "undefined", '"\\x41"', '"tab\there"', "// x", "True"),
        )
    },
    "Unicode": '"Grüße 🙂"'.encode(),
    "Latin-1": '"Grüße"'.encode("latin-1"),
    "not UTF-8": b'"\xff"',
    "5,000 digits": b"9" * 5000,
    "100 kB": b'"' + b"x" * 100_000 + b'"',
    "2 MB": b'"' + b"x" * 2_000_000 + b'"',
    **{f"{depth} deep": b"[" * depth + b"]" * depth for depth in (100, 500, 505, 600, 1100)},
    **{
        f"max_queued_length {value}": json.dumps({"max_queued_length": value}).encode()
        for value in (0, 1, "1", None)
    },
}
_NAMES: Final = {
    **{
        name: name
        for name in (
            *("active", "payload", "interval", "ready", "time", "q", "A-Z_9", "-", "_", "0"),
            *("%71", "a%2Fb", "a%00", "a%0a", "a%20b", "%ff", "%zz", "a%", "a+b", "a.b", ".", ".."),
            *("a:b", "%7Ba%7D", "a;b", "a@b", "a,b", "~a", "%C3%A4", "%E2%84%AA", "%D0%B0", "a!"),
        )
    },
    "100 characters": "x" * 100,
    "101 characters": "x" * 101,
    "nothing": "",
}
_FIELDS: Final[dict[str, Mapping[str, str]]] = {
    "Accept XML": {"Accept": "application/xml"},
    "Accept nothing": {"Accept": ""},
    "Expect 100": {"Expect": "100-continue"},
    "Expect another": {"Expect": "200-ok"},
    "gzip": {"Content-Encoding": "gzip"},
    "identity": {"Content-Encoding": "identity"},
    "foreign Host": {"Host": "queue.example.com"},
    "Host with another port": {"Host": "localhost:1"},
    "Host that is an address": {"Host": "192.0.2.1"},
    "own Origin": {"Origin": "http://localhost", "Host": "localhost"},
    "foreign Origin": {"Origin": "http://evil.example"},
    "foreign Origin and a form": {"Origin": "http://evil.example", "Content-Type": _FORM},
    "own Origin and a form": {
        "Origin": "http://localhost",
        "Host": "localhost",
        "Content-Type": _FORM,
    },
    "Referer": {"Referer": "http://evil.example/"},
    "cross-site": {"Sec-Fetch-Site": "cross-site"},
    "Cookie": {"Cookie": "a=b"},
    "Authorization": {"Authorization": "Basic YTpi"},
    "keep-alive": {"Connection": "keep-alive"},
    "close": {"Connection": "close"},
    "override": {"X-HTTP-Method-Override": "DELETE"},
    "forwarded": {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https"},
    "If-Modified-Since": {"If-Modified-Since": "Thu, 01 Jan 2037 00:00:00 GMT"},
    "Range": {"Range": "bytes=0-1"},
    "Upgrade": {"Connection": "Upgrade", "Upgrade": "h2c"},
    "large": {"X-Large": "x" * 7000},
}


def requests() -> list[Ask]:
    """All of them."""
    found = list(
        itertools.chain(
            _methods(), _enqueues(), _dequeues(), _finishes(), _intervals(), _metrics(), _others()
        )
    )
    names = {each.name for each in found}
    assert len(names) == len(found), "two requests have the same name"
    return found


def _methods() -> Iterator[Ask]:
    for method, (path, before) in itertools.product(_METHODS, _ROUTES.items()):
        body = _OWN_BODIES.get(path) if method in ("POST", "PUT", "PATCH") else None
        for target in dict.fromkeys((path, path.rstrip("/") or "/")):
            yield Ask(f"{method} {target}", method, target, body, before=before)
    for target in ("//", "/metrics//", "//metrics/", "/metrics/t//", "/metrics/./", "/METRICS/"):
        yield Ask(f"GET {target}", "GET", target)
    for target in (
        "/nothing/",
        "/enqueue/t/q/j/",
        "/finish/t/q/",
        "/interval/t/",
        "/metrics/a/b/c/",
    ):
        for method in ("GET", "POST"):
            yield Ask(f"{method} {target}", method, target)


def _enqueues() -> Iterator[Ask]:
    def ask(name: str, body: bytes, **more: Any) -> Ask:
        return Ask(f"enqueue: {name}", "POST", "/enqueue/t/q/", body, **more)

    for name, body in _NO_OBJECTS.items():
        yield ask(f"body {name}", body)
    yield ask("body {}", b"{}")
    for field in ("job_id", "interval", "payload"):
        yield ask(f"without {field}", job(**{field: None}))
    for text in _INTERVALS:
        yield ask(f"interval {text}", job(interval=text.encode()))
    for text in _LIMITS:
        yield ask(f"requeue_limit {text}", job(requeue_limit=text.encode()))
    for name, value in _JOB_IDS.items():
        yield ask(f"job_id {name!r}", job(job_id=value))
    for name, payload in _PAYLOADS.items():
        yield ask(f"payload {name}", job(payload=payload))
        yield Ask(
            f"what is dequeued after payload {name}",
            "GET",
            "/dequeue/t/",
            before=(enqueue(job(payload=payload)),),
        )
    for field in ("queue_type", "queue_id"):
        for value in ("t", "q", "other", "", 5, None):
            body = job(**{field: b"null" if value is None else value})
            yield ask(f"{field} {value!r} in the body", body)
    for field in ("a", "lease", "priority", "max_queued_length"):
        yield ask(f"field {field}", job(**{field: 1}))
    yield ask("a field twice", b'{"interval": 5, "interval": 0, "job_id": "j", "payload": 1}')
    yield ask("white space around", b" \n" + job() + b"\r\n ")
    yield ask("garbage behind", job() + b" x")
    yield ask("BOM before a job", b"\xef\xbb\xbf" + job())
    yield ask("UTF-16", job().decode().encode("utf-16"))
    for kind in _TYPES:
        yield ask(f"Content-Type {kind!r}", job(), fields={"Content-Type": kind})
    for query in _QUERIES:
        yield Ask(f"enqueue: ?{query[:30]}", "POST", f"/enqueue/t/q/?{query}", job())
    yield ask("in chunks", job(), chunked=True)
    again = {
        "the same job": job(),
        "the same job, another interval": job(interval=5000),
        "the same job, another requeue_limit": job(requeue_limit=3),
        "the same job, white space in its payload": job(payload=b'{ "a":1 }'),
        "the same job_id, another payload": job(payload=2),
        "another job_id": job(job_id="l"),
        "another job_id and interval": job(job_id="l", interval=5000),
    }
    states = {"waiting": WAITING, "active": ACTIVE, "finished": FINISHED, "limited": LIMITED}
    for (state, before), (name, body) in itertools.product(states.items(), again.items()):
        yield ask(f"{name}, when {state}", body, before=before)
        yield Ask(
            f"metrics after {name}, when {state}",
            "GET",
            "/metrics/t/q/",
            before=(*before, enqueue(body)),
        )


def _dequeues() -> Iterator[Ask]:
    for query in _QUERIES:
        target = f"/dequeue/t/?{query}"
        yield Ask(f"dequeue: ?{query[:30]}", "GET", target, before=WAITING)
        yield Ask(f"dequeue of nothing: ?{query[:30]}", "GET", target)
    for name, body in _BODIES.items():
        yield Ask(f"dequeue: body {name}", "GET", "/dequeue/t/", body, before=WAITING)
    for kind in _TYPES:
        fields = {"Content-Type": kind}
        yield Ask(f"dequeue: Content-Type {kind!r}", "GET", "/dequeue/t/", None, fields, WAITING)
        yield Ask(
            f"dequeue: a body of Content-Type {kind!r}",
            "GET",
            "/dequeue/t/",
            b"a=b",
            fields,
            WAITING,
        )
    states = {
        "nothing": (),
        "active": ACTIVE,
        "finished": FINISHED,
        "limited": LIMITED,
        "both": BOTH,
        "of another type": (enqueue(path="u/q"),),
        "of two queues": (enqueue(), enqueue(path="t/r")),
        "after an interval of its queue": (
            enqueue(job(interval=60_000)),
            Ask("interval", "POST", "/interval/t/q/", b'{"interval": 5}'),
        ),
    }
    for state, before in states.items():
        yield Ask(f"dequeue: {state}", "GET", "/dequeue/t/", before=before)


def _finishes() -> Iterator[Ask]:
    states = {"active": ACTIVE, "waiting": WAITING, "finished": FINISHED, "unknown": ()}
    for name, body in _BODIES.items():
        yield Ask(f"finish: body {name}", "POST", "/finish/t/q/j/", body, before=ACTIVE)
    for kind, (name, body) in itertools.product(
        _TYPES, {"nothing": b"", "a form": b"a=b", "{}": b"{}", "[]": b"[]"}.items()
    ):
        yield Ask(
            f"finish: {name} as {kind!r}",
            "POST",
            "/finish/t/q/j/",
            body,
            {"Content-Type": kind},
            ACTIVE,
        )
    for query in _QUERIES:
        yield Ask(f"finish: ?{query[:30]}", "POST", f"/finish/t/q/j/?{query}", before=ACTIVE)
    for state, before in states.items():
        yield Ask(f"finish: when {state}", "POST", "/finish/t/q/j/", b"", before=before)
        for other in ("u/q/j", "t/r/j", "t/q/k"):
            yield Ask(f"finish: {other} when {state}", "POST", f"/finish/{other}/", before=before)
    yield Ask("finish: in chunks", "POST", "/finish/t/q/j/", b"a=b", {}, ACTIVE, True)


def _intervals() -> Iterator[Ask]:
    states = {
        "waiting": WAITING,
        "active": ACTIVE,
        "finished": FINISHED,
        "both": BOTH,
        "limited": LIMITED,
        "unknown": (),
    }
    for (state, before), text in itertools.product(states.items(), ("0", "5", "60000")):
        body = b'{"interval": %b}' % text.encode()
        yield Ask(f"interval: {text} when {state}", "POST", "/interval/t/q/", body, before=before)
    for text in _INTERVALS:
        body = b'{"interval": %b}' % text.encode()
        yield Ask(f"interval: {text}", "POST", "/interval/t/q/", body, before=WAITING)
    for name, body in _BODIES.items():
        yield Ask(f"interval: body {name}", "POST", "/interval/t/q/", body, before=WAITING)
    own = b'{"interval": 5, "a": 1, "queue_id": "other"}'
    yield Ask("interval: and more", "POST", "/interval/t/q/", own, before=WAITING)
    for kind in _TYPES:
        yield Ask(
            f"interval: Content-Type {kind!r}",
            "POST",
            "/interval/t/q/",
            b'{"interval": 5}',
            {"Content-Type": kind},
            WAITING,
        )
    for query in ("", "_=1", "interval=7", "a"):
        yield Ask(
            f"interval: ?{query}",
            "POST",
            f"/interval/t/q/?{query}",
            b'{"interval": 5}',
            before=WAITING,
        )


def _metrics() -> Iterator[Ask]:
    states = {"nothing": (), "waiting": WAITING, "active": ACTIVE, "finished": FINISHED}
    for path in ("/metrics/", "/metrics/t/", "/metrics/t/q/"):
        for state, before in states.items():
            yield Ask(f"GET {path} when {state}", "GET", path, before=before)
        for query in ("", "_=1", "a=b&a=c", "queue_type=u", "%zz"):
            yield Ask(f"GET {path}?{query}", "GET", f"{path}?{query}", before=BOTH)
        for name in ("[]", "null", "a form", "{}", "cut off", "2 MB"):
            yield Ask(f"GET {path}: body {name}", "GET", path, _BODIES[name], before=BOTH)


def _others() -> Iterator[Ask]:
    for name, text in _NAMES.items():
        yield Ask(f"type {name} in enqueue", "POST", f"/enqueue/{text}/q/", job())
        yield Ask(f"queue {name} in enqueue", "POST", f"/enqueue/t/{text}/", job())
        yield Ask(
            f"type {name} in dequeue", "GET", f"/dequeue/{text}/", before=(enqueue(path="q/q"),)
        )
        yield Ask(f"job {name} in finish", "POST", f"/finish/t/q/{text}/", before=ACTIVE)
        yield Ask(f"queue {name} in metrics", "GET", f"/metrics/t/{text}/", before=BOTH)
        yield Ask(f"type {name} in metrics", "GET", f"/metrics/{text}/", before=BOTH)
        yield Ask(f"queue {name} in interval", "POST", f"/interval/t/{text}/", b'{"interval": 1}')
    for name, fields in _FIELDS.items():
        yield Ask(f"{name}: index", "GET", "/", None, fields)
        yield Ask(f"{name}: enqueue", "POST", "/enqueue/t/q/", job(), fields)
        yield Ask(f"{name}: dequeue", "GET", "/dequeue/t/", None, fields, WAITING)
        yield Ask(f"{name}: finish", "POST", "/finish/t/q/j/", b"a=b", fields, ACTIVE)
        yield Ask(f"{name}: metrics", "GET", "/metrics/", None, fields)


# ---- asking ----


def ask(port: int, request: Ask) -> Answer:
    """Ask a server on loopback all that goes before, and then what is meant."""
    for each in request.before:
        _send(port, each)
    return _send(port, request)


def _send(port: int, request: Ask) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
    # The target goes out as it is.
    connection._validate_path = lambda _: None  # type: ignore[attr-defined]
    body: Any = iter([request.body]) if request.chunked else request.body
    fields = dict(request.fields)
    if request.chunked:
        fields["Transfer-Encoding"] = "chunked"
    try:
        connection.request(
            request.method, request.target, body, fields, encode_chunked=request.chunked
        )
        response = connection.getresponse()
        return Answer(response.status, _normalised(response.read()))
    finally:
        connection.close()


def _normalised(text: bytes) -> Any:
    try:
        body = json.loads(text)
    except ValueError:
        return None
    if not isinstance(body, dict):
        return body
    for name in ("enqueue_counts", "dequeue_counts"):
        if name in body:
            assert all(re.fullmatch(r"\d+", minute) for minute in body[name])
            body[name] = sum(body[name].values())
    for name in ("queue_types", "queue_ids"):
        if name in body:
            body[name] = sorted(body[name])
    if isinstance(body.get("payload"), str) and len(body["payload"]) > 1000:
        body["payload"] = f"{len(body['payload'])} characters"
    return body
