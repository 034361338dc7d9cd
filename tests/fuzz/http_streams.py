"""Streams of HTTP requests, most of them nearly right, and the answers to them taken apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from hypothesis import strategies as st

PATHS = [
    "/",
    "/enqueue/t/q/",
    "/enqueue/t/q",
    "/enqueue/t/q/?a=b",
    "/enqueue/t/%71/",
    "/enqueue/t/q%2F/",
    "/enqueue/t//q/",
    "/enqueue/",
    "/dequeue/",
    "/dequeue/t/",
    "/dequeue/t?count=2",
    "/dequeue/t/?count=0",
    "/dequeue/t/?request_id=r1",
    "/dequeue/t/?count=2&count=3",
    "/dequeue/t/x/",
    "/finish/t/q/j1/",
    "/finish/t/q/j2",
    "/finish/t/q/" + "j" * 101 + "/",
    "/finish/t/q/",
    "/interval/t/q/",
    "/metrics/t/",
    "/status/t/q/j1/",
    "/live/",
    "/ui/app.js",
    "/ws/",
    "/nowhere",
    "http://a/metrics/t/",
    "*",
]
METHODS = ["GET", "POST", "POST", "POST", "HEAD", "DELETE", "PUT", "OPTIONS", "FOO", "get"]
BODIES = [
    b"",
    b"{}",
    b'{"job_id":"j1","interval":0,"payload":1}',
    b'{"job_id":"j2","interval":0,"payload":{"a":[1,2,{"max_queued_length":1}]}}',
    b'{"job_id":"j2","interval":0,"payload":"\\ud800"}',
    b'{"job_id":"j3","interval":0,"payload":"\xff"}',
    b'{"job_id":"j3","interval":true,"payload":null}',
    b'{"job_id":"j3","interval":0,"payload":1e999,"requeue_limit":3}',
    b'{"job_id":"j3","job_id":"j4","interval":00,"payload":1}',
    b'{"job_id":"j3","interval":0,"payload":1,"queue_id":"q"}',
    b'{"job_id":"j3","interval":0,"payload":1,"queue_id":"other"}',
    b'{"job_id":"j3","interval":0,"payload":1,"max_queued_length":1}',
    b'{"job_id":"j3","interval":0,"payload":1,"more":1}',
    b'{"lease":"t/q/j1/1"}',
    b'{"lease":null}',
    b'{"lease":7}',
    b"[1]",
    b"{",
]
FIELDS = [
    b"Content-Type: application/json",
    b"Content-Type: text/plain",
    b"Origin: http://evil.example",
    b"Origin: http://a",
    b"Sec-Fetch-Site: cross-site",
    b"Sec-Fetch-Site: same-origin",
    b"Expect: 100-continue",
    b"Expect: more",
    b"Content-Encoding: gzip",
    b"Content-Encoding: identity",
    b"Accept: */*",
    b"User-Agent: \xff\xfe",
    b"X-Long: " + b"x" * 3000,
    b"Host: b",
    b"Content-Length: 3",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: identity",
    b"Upgrade: h2c",
    b"X :y",
    b"\x00: a",
]


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request that is right in most of its parts."""
    method, path = draw(st.sampled_from(METHODS)), draw(st.sampled_from(PATHS))
    body = draw(st.sampled_from(BODIES)) if method != "GET" or draw(st.booleans()) else b""
    version = draw(st.sampled_from(["HTTP/1.1"] * 12 + ["HTTP/1.0", "HTTP/1.2", "HTTP/2.0"]))
    fields = [b"Host: a", *draw(st.lists(st.sampled_from(FIELDS), max_size=2, unique=True))]
    if draw(st.booleans()):
        fields.append(draw(st.sampled_from([b"Connection: keep-alive", b"Connection: close"])))
    if body and draw(st.integers(0, 9)) == 0:
        fields.append(b"Transfer-Encoding: chunked")
        half = len(body) // 2
        parts = [part for part in (body[:half], body[half:]) if part]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    elif body or method == "POST":
        fields.append(b"Content-Length: %d" % len(body))
    line = f"{method} {path} {version}".encode()
    return b"\r\n".join([line, *fields]) + b"\r\n\r\n" + body


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A request with a byte or two changed."""
    data = draw(requests())
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(data) - 1))
        byte = bytes([draw(st.sampled_from(b'\x00\t \r\n:/%0aZ{"\x7f\xff'))])
        data = (
            data[:at]
            + draw(st.sampled_from([b"", byte, byte + data[at : at + 1]]))
            + data[at + 1 :]
        )
    return data


STREAMS = st.lists(requests() | mutated(), min_size=1, max_size=4).map(b"".join)


class Answer(NamedTuple):
    head: str
    fields: dict[str, str]
    body: bytes


def parse(data: bytes) -> Iterator[Answer]:
    """The answers that came over a connection, without what differs from time to time."""
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        fields = {
            name.lower(): value.strip()
            for name, _, value in (each.partition(":") for each in lines)
        }
        # The length of a HEAD's answer is that of a body which does not come.
        size = int(fields.pop("content-length", 0))
        body = b"" if data.startswith(b"HTTP/1.1 ") else data[:size]
        data = data[len(body) :]
        if line.startswith("HTTP/1.1 100"):
            # Whether a body is waited for depends on how much of it has come.
            continue
        yield Answer(line, {k: fields[k] for k in sorted(fields) if k in _COMPARED}, _plain(body))


_COMPARED = {"connection", "content-type", "allow", "retry-after", "cache-control"}


def _plain(body: bytes) -> bytes:
    """A body without what is another one with each server, or said in other words."""
    if body.endswith(b'"code":"bad_request"}'):
        return b"bad_request"
    body = re.sub(rb'("lease":"[^"]*/)[0-9]+"', rb'\1n"', body)
    body = re.sub(rb'("(?:lease_expires|ready|next_ready)_in":)[0-9]+', rb"\1ms", body)
    return re.sub(rb'"[0-9]{13}":', b'"minute":', body)
