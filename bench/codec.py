"""What each function of the codec takes, beside plain Python that gives the same."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

import hiredis
import msgspec

from bench.progress import Progress
from bench.report import Column, Table
from bench.series import median
from bench.store import PAYLOAD, PREFIX
from bench.subject import Findings, Options, Subject
from sharq._fastpath import (
    Batch,
    Codec,
    JobReader,
    confirmation_key,
    enqueued,
    is_name,
    joined,
    json_dump,
    json_fault,
    json_parts,
    json_value,
    lease_parts,
    mask,
)
from sharq.operations.arrival_calls import TAIL, Arriving
from sharq.operations.scripts import Scripts
from sharq.results import Enqueued, Lease, NewJob, Told
from sharq.store.script_loading import pack

_BATCH: Final = 32
_DEEPEST: Final = 500

_SAMPLE: Final = 0.004
"""Seconds for which a function is called to take one sample."""

_NAMES = ("mail", "tenant-1", "96c82500-9f88-11e3-bb98-22000ac6964a")
_N = "1800000000000000"
_FAILING = "10000:67108864:2592000000:1000:3600000:5eed5eed"
_JOBS = [
    NewJob("mail", f"tenant-{n}", f"96c82500-{n}", PAYLOAD, 1000, 3, 5000) for n in range(_BATCH)
]
_LEASES = [Lease("mail", job.queue_id, job.job_id, _N) for job in _JOBS]
_REPLY: list[int | bytes] = [0, 3, 7]
for _job in _JOBS:
    _REPLY += [
        _job.queue_id.encode(),
        _job.job_id.encode(),
        _N.encode(),
        b"-1",
        1,
        4,
        PAYLOAD,
        1000,
    ]
_VALUE = {"to": "+15550100", "text": "Your code is 1234", "tags": ["a", "b"], "n": 3, "ok": True}
_TEXT = json.dumps([_VALUE] * 50).encode()


class _Named(NamedTuple):
    queue_id: str
    job_id: str


_NAMED: Final = [_Named(f"tenant-{at}", f"job-{at}") for at in range(32)]
_TOLD: Final = [
    Told("tenant-1", f"job-{at}", f"18000000000000{at:02}", "finish", f"{100 + at}")
    for at in range(32)
]

# Arguments for each call, all different, so that it shows where each of them goes.
_CALLS: Final[dict[str, tuple[Any, ...]]] = {
    "cancel": ("mail", _LEASES, 3_600_000, 86_400_000),
    "chunk": ("mail", "5eed5eed", "feed5eed", PAYLOAD),
    "claim_sweep": (900,),
    "close_shard": ("mail", 7),
    "correct_totals": ("mail", 2, 1),
    "clear": ("mail", "tenant-1", 86_400_000, False),
    "dead_advance": ("mail", ".s1", 10_000),
    "dead_begin": ("mail", "b1", "retry", "tenant-1", "expired", "E", 1700, 50),
    "dead_cancel": ("mail",),
    "dead_delete": ("mail", _NAMED),
    "dead_list": ("mail", "tenant-1", "expired", "E", 1700, "42", 100, 262_144),
    "dead_progress": ("mail",),
    "dead_retry": ("mail", _NAMED),
    "dead_show": _NAMES,
    "dequeue": ("mail", 32, 60_000, 262_144, "r-1", ".s1", 7, False),
    "dry_run": ("mail", "queue", "tenant-1", 2000, 5, 3, "account-1"),
    "enqueue": ("mail", _JOBS),
    "extend": ("mail", _LEASES, 500, 3_600_000),
    "finish": (*_NAMES, _N, 3_600_000, 86_400_000),
    "finish_many": ("mail", _LEASES, 3_600_000, 86_400_000),
    "hand_on": ("mail", ".s1", 0),
    "interval": ("mail", "tenant-1", 250, 86_400_000),
    "interval_reset": ("mail", "tenant-1", 86_400_000),
    "limits": ("mail", "queue", "tenant-1", 2000, 5, 3, "account-1", "contract", 86_400_000),
    "list_leases": ("mail", "tenant-1", "42", 1000),
    "list_jobs": ("mail", "tenant-1", "new", 42, 0, 100, 262_144),
    "list_queues": ("mail", "type", "", "42", 1000, "ten"),
    "list_types": ("42", 1000),
    "offer": ("mail", ".s1", 50, 20, 250),
    "open_shard": ("mail", 7),
    "pause": ("mail", "group", "account-1", 30_000, "busy", "api", 86_400_000, None),
    "pausing": ("mail", 0, 30_000, "busy", "api"),
    "ping": (9,),
    "queue_length": ("mail", "tenant-1"),
    "queue_metrics": ("mail", "tenant-1"),
    "rate_states": ("mail", "42", 1000),
    "recount": ("mail", "type", "", "42", 1000),
    "register": ("mail",),
    "release": ("mail", _LEASES, 250, True, 3_600_000, 86_400_000, _FAILING),
    "requeue": ("mail", 100, 3_600_000, 86_400_000, _FAILING),
    "rights": (".s1", 9),
    "sample_queues": ("mail", "type", "", "42", 1000),
    "settle": ("mail", _TOLD, 3_600_000, 86_400_000, _FAILING),
    "shards": ("mail", "1 0", "1 1 16 5eed", True),
    "share_sample": ("mail", ".s1", b"[]"),
    "show_job": _NAMES,
    "show_limits": ("mail", "queue", "tenant-1"),
    "status": (*_NAMES, 3_600_000),
    "tell_servers": (".s1", b"?.s2", 9),
    "try_write": (7,),
    "type_metrics": ("mail",),
    "take_over": (
        "mail",
        "5eed5eed",
        [Arriving(job.queue_id, job.job_id, PAYLOAD, 1000, 3, 20, TAIL) for job in _JOBS],
    ),
    "unregister": ("mail", 900_000),
    "watch_queues": ("mail", 50, ["tenant-1", "tenant-2"]),
}


class Case(NamedTuple):
    """A function of the codec, and Python that gives the same; neither takes arguments."""

    name: str
    compiled: Callable[[], Any]
    plain: Callable[[], Any]


def cases() -> Iterator[Case]:
    """Every function of the codec that does more than to show what it holds."""
    codec = Codec(PREFIX, Scripts().digests)
    for name, arguments in _CALLS.items():
        yield _case(f"Codec.{name}", getattr(codec, name), _plain_call(codec, name), *arguments)
    prefix = f"{{{PREFIX}:"
    keys = codec.keys
    yield _case("Keyspace.tag", keys.tag, lambda name: f"{prefix}{name}}}".encode(), "mail")
    yield _case("Keyspace.place", keys.place, lambda n: f"{prefix}.{n}}}:".encode(), 9)
    yield _case("Keyspace.registry", keys.registry, _template(keys.registry(), {}))
    yield _case(
        "Keyspace.channel", keys.channel, _template(keys.channel(".s1"), {"a": ".s1"}), ".s1"
    )
    names = ["tenant-1", "tenant-2"]
    yield _case(
        "Codec.queue_states",
        codec.queue_states,
        lambda name, rows: _pack(b"MGET", *(f"{prefix}{name}}}:q:{row}".encode() for row in rows)),
        *("mail", names),
    )
    yield _case(
        "Codec.group_states",
        codec.group_states,
        lambda name, rows: _pack(
            b"MGET", *(f"{prefix}{name}}}:limit:g:{row}".encode() for row in rows)
        ),
        *("mail", names),
    )
    common = keys.common_channel
    yield _case("Keyspace.common_channel", common, _template(common(), {}))
    silent = keys.silent_channel
    yield _case("Keyspace.silent_channel", silent, _template(silent(), {}))
    waiting = _words(codec.hand_on("mail", ".s1", 0))[5]
    tag = keys.tag("mail")
    yield _case("confirmation_key", confirmation_key, _plain_confirmation_key, tag)
    yield _case("Keyspace.woken_type", keys.woken_type, _plain_woken_type(waiting), waiting)
    yield from _reply_cases()
    yield from _text_cases()
    yield from _client_cases()


def run(progress: Progress, options: Options) -> Findings:
    each = list(cases())
    progress.begin("codec", options.rounds * len(each))
    samples: dict[str, list[tuple[float, float]]] = {case.name: [] for case in each}
    for case in each:
        if case.compiled() != case.plain():
            raise RuntimeError(f"The plain Python for {case.name} gives something else.")
    for _ in range(options.rounds):
        for case in each:
            progress.step(case.name)
            samples[case.name].append((_nanoseconds(case.compiled), _nanoseconds(case.plain)))
    progress.end()
    rows = [
        (
            name,
            median([compiled for compiled, _ in taken]),
            median([plain for _, plain in taken]),
            median([plain / compiled for compiled, plain in taken]),
        )
        for name, taken in samples.items()
    ]
    table = Table(
        "The codec beside plain Python",
        (Column("function"), Column("codec ns"), Column("Python ns"), Column("ratio", 1)),
        rows,
        (
            f"Nanoseconds a call, medians of {options.rounds} rounds.",
            f"Calls of many and batches have {_BATCH} jobs, JSON text {len(_TEXT):,} bytes.",
            "Python uses f-strings, re, json and msgspec.",
        ),
    )
    return Findings([table], [])


def _case(
    name: str, compiled: Callable[..., Any], plain: Callable[..., Any], *arguments: Any
) -> Case:
    return Case(name, partial(compiled, *arguments), partial(plain, *arguments))


def _nanoseconds(call: Callable[[], Any]) -> float:
    calls = 0
    began = time.perf_counter()
    end = began + _SAMPLE
    while (now := time.perf_counter()) < end:
        for _ in range(10):
            call()
        calls += 10
    return (now - began) * 1e9 / calls


# ---- calls of the store ----


def _plain_call(codec: Codec, name: str) -> Callable[..., bytes]:
    """Python that packs the same call, with an f-string for each word that depends on something.

    It is made from what the codec packs: no key is spelled here, and nothing here has to change
    when a script takes other keys.
    """
    arguments = _CALLS[name]
    places = {f"a{n}": value for n, value in enumerate(arguments)}
    rows = next((value for value in arguments if isinstance(value, list)), None)
    if rows is None:
        words = [_expression(word, places) for word in _words(getattr(codec, name)(*arguments))]
    else:
        without, with_one = (
            _words(getattr(codec, name)(*(part if each is rows else each for each in arguments)))
            for part in ([], rows[:1])
        )
        of_row = {"row": rows[0]}
        if not isinstance(rows[0], str):
            of_row = {f"row.{field}": value for field, value in rows[0]._asdict().items()}
        looped = [_expression(word, of_row) for word in with_one[len(without) :]]
        at = arguments.index(rows)
        words = [_expression(word, places) for word in without]
        words.append(f"*[word for row in a{at} for word in ({', '.join(looped)},)]")
    return _function(places, f"pack({', '.join(words)})")


def _template(text: bytes, places: dict[str, str]) -> Callable[..., bytes]:
    return _function(places, f"{_expression(text, places)}.encode()")


def _function(places: dict[str, Any], source: str) -> Callable[..., bytes]:
    function: Callable[..., bytes] = eval(f"lambda {', '.join(places)}: {source}", {"pack": _pack})
    return function


def _expression(word: bytes, places: dict[str, Any]) -> str:
    """A word of a call as an expression of the arguments."""
    text = word.decode()
    for place, value in places.items():
        if value == word or (str(value) == text and not isinstance(value, bool)):
            return place
    if not text.startswith("{"):
        return repr(text)
    text = text.replace("{", "{{").replace("}", "}}")
    for place, value in places.items():
        if isinstance(value, str):
            text = re.sub(rf":{re.escape(value)}(?=$|}})", f":{{{place}}}", text)
    return f"f{text!r}"


def _pack(*words: str | bytes | int) -> bytes:
    return pack(*[word if isinstance(word, bytes) else str(word).encode() for word in words])


def _words(packed: bytes) -> list[bytes]:
    reader = hiredis.Reader()
    reader.feed(packed)
    words: list[bytes] = reader.gets()
    return words


def _plain_confirmation_key(key: bytes) -> bytes:
    return key.partition(b"}")[0] + b"}:acked"


def _plain_woken_type(waiting: bytes) -> Callable[[bytes], str | None]:
    pattern = re.compile(re.escape(waiting).replace(b"mail", b"(.*)"))

    def woken_type(message: bytes) -> str | None:
        match = pattern.fullmatch(message)
        return match[1].decode("ascii", "replace") if match else None

    return woken_type


# ---- replies ----


class _PlainBatch:
    """A batch as it would be written in Python."""

    def __init__(self, queue_type: str, reply: list[Any]) -> None:
        kinds = (bytes, bytes, bytes, bytes, int, int, bytes, int)
        rows = [reply[at : at + 8] for at in range(3, len(reply), 8)]
        for row in rows:
            for value, kind in zip(row, kinds, strict=True):
                if type(value) is not kind:
                    raise ValueError("this is no answer of a dequeue")
        self.queue_type = queue_type
        self.rows = rows

    def lease(self, row: list[Any]) -> str:
        return f"{self.queue_type}/{row[0].decode()}/{row[1].decode()}/{row[2].decode()}"

    def leases(self, start: int, stop: int) -> list[str]:
        return [self.lease(row) for row in self.rows[start:stop]]

    def jobs(self) -> list[tuple[Any, ...]]:
        return [
            (row[0].decode(), row[1].decode(), self.lease(row), int(row[3]), *row[4:])
            for row in self.rows
        ]

    def job_json(self, row: list[Any]) -> bytes:
        return (
            b'"queue_id":"%b","job_id":"%b","payload":%b,"requeues_remaining":%b,'
            b'"current_queue_length":%d,"lease":"%b"'
            % (row[0], row[1], row[6], row[3], row[5], self.lease(row).encode())
        )

    def to_json(self) -> bytes:
        return b'{"status":"success",%b}' % self.job_json(self.rows[0])

    def to_json_list(self) -> bytes:
        jobs = b",".join([b"{%b}" % self.job_json(row) for row in self.rows])
        return b'{"status":"success","jobs":[%b]}' % jobs

    def jobs_json(self, start: int, stop: int, lease_ms: int) -> bytes:
        jobs = [
            b'{%b,"attempt":%d,"lease_ms":%d,"interval":%d}'
            % (self.job_json(row), row[4], lease_ms, row[7])
            for row in self.rows[start:stop]
        ]
        return b"[%b]" % b",".join(jobs)


def _reply_cases() -> Iterator[Case]:
    batch, plain = Batch("mail", _REPLY), _PlainBatch("mail", _REPLY)

    def jobs() -> list[tuple[Any, ...]]:
        return [
            (
                *(job.queue_id, job.job_id, job.lease, job.requeues_remaining),
                *(job.attempt, job.current_queue_length, job.payload, job.interval),
            )
            for job in Batch("mail", _REPLY).jobs
        ]

    yield Case(
        "Batch", lambda: len(Batch("mail", _REPLY)), lambda: len(_PlainBatch("mail", _REPLY).rows)
    )
    yield Case("Batch.jobs", jobs, lambda: _PlainBatch("mail", _REPLY).jobs())
    yield Case(
        "Batch.part",
        lambda: len(batch.part(8, 24)),
        lambda: len(_PlainBatch("mail", _REPLY[:3] + _REPLY[3 + 8 * 8 : 3 + 24 * 8]).rows),
    )
    yield Case(
        "joined",
        lambda: len(joined("mail", [batch, batch], 0)),
        lambda: len(_PlainBatch("mail", _REPLY + _REPLY[3:]).rows),
    )
    yield _case("Batch.leases", batch.leases, plain.leases, 0, _BATCH)
    yield _case("Batch.to_json", batch.to_json, plain.to_json)
    yield _case("Batch.to_json_list", batch.to_json_list, plain.to_json_list)
    yield _case("Batch.jobs_json", batch.jobs_json, plain.jobs_json, 0, _BATCH, 60_000)


# ---- names and JSON ----

_NAME = r"[A-Za-z0-9_-]{1,100}"
_name = re.compile(_NAME)
_lease = re.compile(rf"({_NAME})/({_NAME})/({_NAME})/([0-9]{{1,19}})")
_raw_decoder = msgspec.json.Decoder(msgspec.Raw)
_raws_decoder = msgspec.json.Decoder(list[msgspec.Raw])


def _plain_is_name(value: object) -> bool:
    return isinstance(value, str) and _name.fullmatch(value) is not None


def _plain_lease_parts(value: object) -> tuple[str | Any, ...] | None:
    match = _lease.fullmatch(value) if isinstance(value, str) else None
    return match.groups() if match else None


def _plain_depth(text: bytes) -> int:
    depth = deepest = 0
    for token in re.findall(rb'"(?:[^"\\\\]|\\\\.)*"|[\[\]{}]', text):
        if token in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
        elif token in (b"]", b"}"):
            depth -= 1
    return deepest


def _plain_value(text: bytes, deepest: int) -> bytes | None:
    if text.count(b"[") + text.count(b"{") > deepest and _plain_depth(text) > deepest:
        return None
    try:
        text.decode()
        return bytes(_raw_decoder.decode(text))
    except (UnicodeDecodeError, msgspec.DecodeError):
        return None


def _plain_fault(text: bytes, deepest: int) -> tuple[str, int] | None:
    return None if _plain_value(text, deepest) is not None else ("cut off", len(text))


def _plain_parts(text: bytes, most: int) -> list[bytes]:
    return [bytes(part) for part in _raws_decoder.decode(text)[:most]]


def _plain_dump(value: Any, deepest: int) -> bytes:
    _look_through(value, deepest)
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _look_through(value: Any, deepest: int) -> None:
    if value is None or isinstance(value, str | int | float):
        return
    if not isinstance(value, dict | list | tuple):
        raise ValueError(type(value).__name__)
    if deepest == 0:
        raise OverflowError
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        raise ValueError
    for item in value.values() if isinstance(value, dict) else value:
        _look_through(item, deepest - 1)


def _text_cases() -> Iterator[Case]:
    token = "/".join((*_NAMES, _N))
    yield _case("is_name", is_name, _plain_is_name, _NAMES[2])
    yield _case("lease_parts", lease_parts, _plain_lease_parts, token)
    yield _case("json_fault", json_fault, _plain_fault, _TEXT[:-1], _DEEPEST)
    yield _case("json_parts", json_parts, _plain_parts, _TEXT, 1000)
    yield _case("json_value, 45 bytes", json_value, _plain_value, PAYLOAD, _DEEPEST)
    yield _case("json_value", json_value, _plain_value, _TEXT, _DEEPEST)
    yield _case("json_dump, one object", json_dump, _plain_dump, _VALUE, _DEEPEST)
    yield _case("json_dump", json_dump, _plain_dump, [_VALUE] * 50, _DEEPEST)


class _Posted(msgspec.Struct, forbid_unknown_fields=True):
    """A job as it stands in the body of a bulk enqueue."""

    queue_type: str
    queue_id: str
    job_id: str
    payload: msgspec.Raw
    interval: int
    requeue_limit: int | None = None


_posted_decoder = msgspec.json.Decoder(_Posted)
_LARGEST: Final = 1 << 20
_FOR_EVER: Final = -1


def _entry(job: NewJob) -> bytes:
    fields = {"queue_type": job.queue_type, "queue_id": job.queue_id, "job_id": job.job_id}
    text = json.dumps(fields | {"interval": job.interval})
    return b'%b, "payload": %b}' % (text[:-1].encode(), job.payload)


def _plain_job(text: bytes, queue_type: str, queue_id: str) -> NewJob | None:
    queue = b'{"queue_type":"%b","queue_id":"%b",' % (queue_type.encode(), queue_id.encode())
    return _plain_posted(queue + text[1:])


def _plain_posted(text: bytes) -> NewJob | None:
    job = _posted_decoder.decode(text)
    payload = bytes(job.payload)
    names = (job.queue_type, job.queue_id, job.job_id)
    if not all(map(_plain_is_name, names)) or len(payload) > _LARGEST:
        return None
    if payload.count(b"[") + payload.count(b"{") > _DEEPEST and _plain_depth(payload) > _DEEPEST:
        return None
    limit = _FOR_EVER if job.requeue_limit is None else job.requeue_limit
    return NewJob(*names, payload, job.interval, limit)


def _plain_jobs(entries: list[bytes]) -> list[NewJob | None]:
    return [_plain_posted(entry) for entry in entries]


def _plain_enqueued(reply: list[Any]) -> list[Enqueued]:
    return [Enqueued(reply[i].decode(), reply[i + 1]) for i in range(0, len(reply), 2)]


def _plain_mask(key: bytes, data: bytes) -> bytes:
    whole = key * (len(data) // len(key) + 1)
    number = int.from_bytes(whole[: len(data)]) ^ int.from_bytes(data)
    return number.to_bytes(len(data))


def _client_cases() -> Iterator[Case]:
    fields = json.dumps({"job_id": _NAMES[2], "interval": 1000})
    body = b'%b, "payload": %b}' % (fields[:-1].encode(), PAYLOAD)
    reader = JobReader(_LARGEST, _FOR_EVER)
    yield _case("JobReader.one", reader.one, _plain_job, body, *_NAMES[:2])
    entries = [_entry(job) for job in _JOBS]
    yield _case("JobReader.many", reader.many, _plain_jobs, entries)
    yield _case("enqueued", enqueued, _plain_enqueued, [b"queued", 3] * _BATCH)
    yield _case("mask", mask, _plain_mask, b"\x01\x80\xff\x2a", _TEXT)


SUBJECT = Subject("codec", "each function of the codec beside plain Python", run)
