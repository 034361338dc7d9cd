"""The compiled codec against plain Python, and against readers that others wrote."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import hiredis
from hypothesis import strategies as st
from msgspec import Raw

from sharq import _fastpath
from sharq.codec import json_text
from sharq.engine import Engine
from sharq.errors import SharqException
from sharq.results import Enqueued, NewJob
from sharq_server.api import bodies, handlers
from tests.fuzz.exact import exact
from tests.fuzz.targets import Target

DEEPEST = 500
NAME = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
LEASE = re.compile(r"([A-Za-z0-9_-]{1,100})/" * 3 + "([0-9]{1,19})", re.ASCII)

ENGINE = Engine.for_server()

# ---- JSON ----

_PIECES = st.sampled_from(
    [
        *("[", "]", "{", "}", ",", ":", " ", "\t", "\r\n", "\x0b", "\x00", "\ufeff", "é", "\u2028"),
        *("😀", '"a"', '"a":', '""', '"', "\\", "\\n", "\\/", "\\u0041", "\\ud83d", "\\ude00"),
        *("\\uDBFF\\uDFFF", "\\u12", "0", "-", "1", "01", "1.5", ".", "e", "E+", "1e5", "-0"),
        *(
            "true",
            "false",
            "null",
            "tru",
            "NaN",
            "Infinity",
            "1e400",
            "-1e308",
            "9" * 4001,
            "1" * 309,
            "/**/",
            "'a'",
            "max_queued_length",
        ),
    ]
)
_LOOSE = st.lists(_PIECES, max_size=20).map(lambda parts: "".join(parts).encode())
_NESTED = st.integers(0, 520).map(lambda n: b"[" * n + b"1" + b"]" * n) | st.integers(0, 520).map(
    lambda n: b'{"a":' * n + b"1" + b"}" * n
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
_TEXTS = _VALUES.map(
    lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
)


@st.composite
def _changed(draw: st.DrawFn, texts: st.SearchStrategy[bytes]) -> bytes:
    """A text with a byte taken out, put in or replaced."""
    text = draw(texts)
    at = draw(st.integers(0, len(text)))
    put = draw(st.binary(max_size=2))
    return text[:at] + put + text[at + draw(st.integers(0, 2)) :]


def _depth(text: bytes) -> int:
    """How deep brackets nest outside of strings."""
    deepest = depth = 0
    for found in re.finditer(rb'"(?:[^"\\]|\\.)*(?:"|\Z)|[\[{]|[\]}]', text, re.DOTALL):
        if found[0] in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif found[0] in b"]}":
            depth -= 1
    return deepest


def _constant(_word: str) -> None:
    raise ValueError


def _number(text: str) -> float:
    if math.isinf(float(text)):
        raise ValueError
    return float(text)


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > 4000:
        raise ValueError
    return int(text)


def _python_reads(text: bytes) -> bool:
    """Whether Python's own reader takes the text, with the limits for numbers."""
    try:
        json.loads(text.decode(), parse_constant=_constant, parse_float=_number, parse_int=_integer)
    except (ValueError, RecursionError):
        return False
    return True


def check_json(text: bytes) -> None:
    """What is taken, Python's reader and ours read; and the other way round, but for the limits."""
    expected = None
    if _depth(text) <= DEEPEST and _python_reads(text):
        expected = text.strip(b" \t\r\n")
    assert _fastpath.json_value(text, DEEPEST) == expected
    fault = _fastpath.json_fault(text, DEEPEST)
    refused = json_text.refusal("It", text, DEEPEST)
    parts = _fastpath.json_parts(text, 1000)
    _as_payload(text, expected)
    if expected is None:
        assert fault is not None
        assert 0 <= fault[1] <= len(text)
        assert refused is not None
        return
    assert fault is None
    assert refused is None
    assert json_text.read(expected) == json.loads(expected)
    if len(expected) > 2:
        assert (parts is not None) == (expected[:1] in b"[{")
    for part in parts or ():
        assert _fastpath.json_value(part, DEEPEST) == part


def _as_payload(text: bytes, expected: bytes | None) -> None:
    """The text as the last that there is in memory, and with a little more behind it."""
    begun = b'{"queue_type":"t","queue_id":"q","job_id":"j","interval":0,"payload":' + text
    with exact(begun) as cut_off, exact(begun + b"}") as whole:
        first, second = ENGINE.flows.plain_jobs([cut_off, whole])
    assert first is None or b'"' in text or b"}" in text
    if expected is not None and b"max_queued_length" not in text:
        assert second is not None
        assert second.payload == expected


def _escaped(text: str) -> bytes:
    """The text in UTF-8, with an escape for each half of a surrogate pair."""
    return b"".join(
        b"\\u%04x" % ord(each) if "\ud800" <= each <= "\udfff" else each.encode() for each in text
    )


def check_dump(value: Any) -> None:
    try:
        expected = _escaped(
            json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        )
    except ValueError:
        expected = None
    try:
        written = _fastpath.json_dump(value, DEEPEST)
    except (ValueError, OverflowError):
        assert expected is None
        return
    assert expected is not None
    assert json.loads(written) == json.loads(expected)
    assert b"\\ud" in expected or written == expected
    assert _fastpath.json_value(written, DEEPEST) == written


# ---- jobs ----

_NAMES = st.sampled_from(
    [
        *('"t"', '"q"', '"T-_9"', '""', '"é"', '"t\\u0031"', "null", "1", '"a b"', '"j\\"', "[]"),
        *('"' + "x" * 100 + '"', '"' + "x" * 101 + '"'),
    ]
)
_NUMBERS = st.sampled_from(
    [
        *("0", "5", "31536000000", "31536000001", "-1", "-2", "-0", "00", "1.0", "1e2", "9" * 18),
        *("1.5", "0.001", "1.0005", "-0.0"),
        *("9" * 19, str(2**63 - 1), str(2**63), str(2**64), "-" + "9" * 19, "null", "true", '"1"'),
    ]
)
_FIELDS = st.one_of(
    st.tuples(st.sampled_from(["queue_type", "queue_id", "job_id", "job\\u005fid"]), _NAMES),
    st.tuples(st.sampled_from(["interval", "requeue_limit", "max_queued_length"]), _NUMBERS),
    st.tuples(st.sampled_from(["burst", "concurrency", "cost", "priority", "delay"]), _NUMBERS),
    st.tuples(st.just("group"), _NAMES),
    st.tuples(st.just("payload"), _TEXTS.map(lambda text: text.decode("utf-8", "replace"))),
    st.tuples(st.sampled_from(["else", "", "payloa", "payload "]), _NUMBERS),
)
_SPACES = st.sampled_from(["", "", "", " ", "\n", "\t \r"])


@st.composite
def _jobs(draw: st.DrawFn) -> bytes:
    """The text of a job that is right in most of its fields."""
    right = [("job_id", '"j"'), ("interval", "5"), ("payload", "1")]
    if draw(st.booleans()):
        right += [("queue_type", '"t"'), ("queue_id", '"q"')]
    fields = draw(st.permutations([*right, *draw(st.lists(_FIELDS, max_size=2))]))
    space = draw(_SPACES)
    pairs = (f'{space}"{name}"{space}:{space}{text}{space}' for name, text in fields)
    return (space + "{" + ",".join(pairs) + "}" + space).encode()


def _carefully(read: Any, *arguments: Any) -> Any:
    try:
        return read(ENGINE, *arguments)
    except SharqException as refused:
        return refused


def check_job(text: bytes) -> None:
    quick = ENGINE.flows.plain_job(text, "t", "q")
    if quick is not None:
        assert _carefully(handlers.job_of, "t", "q", text) == quick
    with exact(text) as view:
        first, second, third = ENGINE.flows.plain_jobs([view, text, Raw(text)])
    assert first == second == third
    careful = handlers._entry(ENGINE, Raw(text))
    if first is not None:
        assert careful == first
    # Between others, it fails or passes alone.
    if json_text.is_json(text):
        bulk = bodies.decode(bodies.Bulk, b'{"jobs":[0,%b,1]}' % text)
        assert [bytes(entry) for entry in bulk.jobs] == [b"0", text.strip(b" \t\r\n"), b"1"]


# ---- names and leases ----

_TOKENS = st.one_of(
    st.text(max_size=40),
    st.text("aZ09_-/\n\x00é", max_size=60),
    st.lists(st.text("aZ_-", max_size=101), min_size=3, max_size=5).map("/".join),
    st.tuples(
        st.from_regex(LEASE, fullmatch=True), st.sampled_from(["", "\n", "0", " ", "/", "é", "/1"])
    ).map("".join),
    st.none() | st.integers() | st.binary(max_size=10),
)


def check_token(token: Any) -> None:
    is_text = isinstance(token, str)
    found = LEASE.fullmatch(token) if is_text else None
    assert _fastpath.lease_parts(token) == (None if found is None else found.groups())
    for name in (token, *(token.split("/") if is_text else ())):
        is_name = isinstance(name, str) and NAME.fullmatch(name) is not None
        assert _fastpath.is_name(name) == is_name


# ---- replies ----

_NUMBER = st.integers(-(2**63), 2**63 - 1)
_NAME_BYTES = st.text("aZ09_-", min_size=1, max_size=100).map(str.encode)
_ROW = st.tuples(
    _NAME_BYTES,
    _NAME_BYTES,
    st.integers(1, 2**63 - 1).map(lambda n: b"%d" % n),
    _NUMBER,
    _NUMBER,
    _NUMBER,
    _VALUES.map(
        lambda value: json.dumps(value).replace("NaN", "0").replace("Infinity", "0").encode()
    ),
    _NUMBER
    | st.from_regex(rb"[0-9]{1,11}\.[0-9]{1,3}", fullmatch=True)
    | st.from_regex(rb"[0-9]{1,11}(\.[0-9]{1,3})?\*[1-9][0-9]{0,6}", fullmatch=True),
)
_REPLIES = st.tuples(_NUMBER, _NUMBER, _NUMBER, st.lists(_ROW, max_size=4)).map(
    lambda parts: [*parts[:3], *(value for row in parts[3] for value in row)]
)
_WORDS = st.sampled_from([b"queued", b"duplicate", b"conflict", b"full", b"other", b"", 0, None])
_ANYTHING = st.one_of(_NUMBER, st.binary(max_size=12), st.none(), st.text(max_size=3), st.just([]))


@st.composite
def _replies(draw: st.DrawFn) -> list[Any]:
    """The reply of a dequeue, with a value or two that it should not have."""
    reply = list(draw(_REPLIES))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(reply)))
        reply[at : at + draw(st.integers(0, 1))] = draw(st.lists(_ANYTHING, max_size=1))
    return reply


def check_reply(reply: list[Any]) -> None:
    try:
        batch = _fastpath.Batch("t", reply)
    except ValueError:
        return
    count = len(batch)
    assert len(reply) == 3 + 8 * count
    for at in range(count):
        n = reply[3 + 8 * at + 2]
        if not isinstance(n, bytes) or not n.isdigit():
            return
    try:
        jobs = batch.jobs
    except ValueError:
        return
    rows = [reply[3 + 8 * at : 11 + 8 * at] for at in range(count)]
    for job, row in zip(jobs, rows, strict=True):
        assert job.payload == row[6]
        interval, _, burst = row[7].partition(b"*") if isinstance(row[7], bytes) else (row[7], 0, 1)
        assert (job.interval, job.burst) == (float(interval), int(burst or 1))
    try:
        values = [json.loads(row[6]) for row in rows]
        [(row[0] + row[1]).decode("ascii") for row in rows]
    except ValueError:
        batch.to_json_list()
        return
    if not count:
        return
    if all(NAME.fullmatch((row[at]).decode()) for row in rows for at in (0, 1)):
        shown = json.loads(batch.to_json_list())["jobs"]
        assert [job["lease"] for job in shown] == batch.leases(0, count) == [j.lease for j in jobs]
        assert [job["payload"] for job in shown] == values
        assert json.loads(batch.to_json())["job_id"] == jobs[0].job_id
        assert len(json.loads(batch.part(count - 1, count).jobs_json(0, 1, 5))) == 1


def check_outcomes(reply: list[Any]) -> None:
    try:
        outcomes = _fastpath.enqueued(reply)
    except (KeyError, TypeError):
        return
    assert all(isinstance(each, Enqueued) for each in outcomes)
    assert len(outcomes) == len(reply) // 2


# ---- calls, and the payloads of frames ----

CODEC = _fastpath.Codec("p", dict.fromkeys(("enqueue", "finish"), "0" * 40))


def check_call(arguments: tuple[Any, ...]) -> None:
    """What is packed is read back, by hiredis, as it was."""
    queue_type, queue_id, job_id, payload, interval, limit, most = arguments
    try:
        packed = CODEC.enqueue(queue_type, [NewJob(*arguments)])
    except (UnicodeEncodeError, OverflowError):
        assert any(
            not name.isascii() or not -(2**63) <= number < 2**63
            for name in (queue_type, queue_id, job_id)
            for number in (interval, limit, most or 0)
        )
        return
    reader = hiredis.Reader()
    reader.feed(packed)
    words = reader.gets()
    assert words[0] == b"EVALSHA"
    assert payload in words
    assert b"%d" % interval in words
    assert job_id.encode() in b" ".join(words)
    assert reader.gets() is False


def check_mask(parts: tuple[bytes, bytes, int]) -> None:
    key, data, start = parts
    if len(key) != 4:
        try:
            _fastpath.mask(key, data)
        except ValueError:
            return
        raise AssertionError("a key of another length is taken")
    expected = bytes(byte ^ key[at % 4] for at, byte in enumerate(data))
    assert _fastpath.mask(key, data) == expected
    assert _fastpath.mask(key, bytearray(data)) == expected
    with exact(data) as view:
        assert _fastpath.mask(key, view) == expected
    # Where the data begins in memory makes no difference.
    part = memoryview(data)[start:]
    assert _fastpath.mask(key, part) == _fastpath.mask(key, bytes(part))
    assert _fastpath.mask(key, expected) == data


_CALLS = st.tuples(
    *[st.text("aZ09_-", max_size=100) | st.text(max_size=3)] * 3,
    st.binary(max_size=300),
    *[_NUMBER | st.integers()] * 2,
    st.none() | _NUMBER,
)

TARGETS = [
    Target(
        "json",
        st.one_of(_LOOSE, _TEXTS, _changed(_TEXTS), _NESTED, _changed(_NESTED), st.binary()),
        check_json,
    ),
    Target("dump", _VALUES, check_dump),
    Target("job", st.one_of(_jobs(), _changed(_jobs()), st.binary(max_size=80)), check_job),
    Target("token", _TOKENS, check_token),
    Target("reply", _replies(), check_reply),
    Target(
        "outcomes", st.lists(st.one_of(_WORDS, _NUMBER), max_size=8), check_outcomes, examples=100
    ),
    Target("call", _CALLS, check_call, examples=150),
    Target(
        "mask",
        st.tuples(
            st.binary(min_size=4, max_size=4) | st.binary(max_size=6),
            st.binary(max_size=300),
            st.integers(0, 20),
        ),
        check_mask,
        examples=150,
    ),
]
