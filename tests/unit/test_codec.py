"""The codec, byte by byte: calls as they go to the store, answers as they go to a client."""

from __future__ import annotations

import ast
import json
import math
import pickle
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, overload

import hiredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sharq
from sharq._fastpath import (
    Batch,
    Codec,
    Job,
    JobReader,
    Keyspace,
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
from sharq.operations.scripts import Scripts
from sharq.results import REMOVE, JobOptions, Lease, NewJob
from tests.support.cases import cases

STUB = ast.parse((Path(sharq.__file__).parent / "_fastpath.pyi").read_text("utf-8"))

DIGESTS = {name: f"<{name}>" for name in Scripts().digests}
CODEC = Codec("p", DIGESTS)

# What each method packs: its arguments, then the words of the command after `EVALSHA <digest>`.
# T stands for the tag of the type "mail", '' for an empty word.
QUEUE_KEYS = "T:q:bob T:j:bob T:r:bob T:d:bob"
QUEUE_PREFIXES = "T:q: T:j: T:r: T:d:"
DEQUEUE_KEYS = "T:void T:ready T:leases T:held T:serial T:waiting T:limit"
ENDING_KEYS = "T:void T:ready T:leases T:held T:waiting T:limit"
CLEAR_KEYS = f"T:void T:ready T:leases T:held {QUEUE_KEYS} T:waiting T:limit"
# A dot in the middle stands for a space inside of a word.
ENQUEUE_KEYS = "T:void T:ready T:held T:waiting T:limit T:q: T:j: T:c: T:r:·T:d:"
SELDOM = "T:ready·T:waiting·T:d:"
RETRY_KEYS = "T:void T:ready T:held T:waiting T:limit T:dead T:q: T:j: T:c: T:r: T:d:"
CLOSING_KEYS = "T:void T:ready T:leases T:held T:waiting T:limit T:dead T:sample T:moving"
PAUSE_KEYS = "T:void T:ready T:leases T:waiting T:limit T:paused T:q: T:d:"
LEVEL_KEYS = "T:void T:ready T:leases T:waiting T:limit T:q: T:d:"
ALL_REMOVED = JobOptions(REMOVE, REMOVE, REMOVE)
LEASES = [Lease("mail", "bob", "j1", "17"), Lease("mail", "eve", "j2", "18")]
CALLS: dict[str, list[tuple[tuple[Any, ...], str]]] = {
    "cancel": [
        (
            ("mail", LEASES, 60000, 7),
            f"6 {ENDING_KEYS} {QUEUE_PREFIXES} T:c: T:f: 60000 7 bob j1 17 eve j2 18",
        ),
        (
            ("mail", [Lease("mail", "bob", "j1", "")], 0, 0),
            f"6 {ENDING_KEYS} {QUEUE_PREFIXES} T:c: T:f: 0 0 bob j1 ''",
        ),
    ],
    "chunk": [
        (("mail", "t1", "t2", b"[]"), "2 T:void T:moving t1 t2 []"),
        (("mail", "?", "", b""), "2 T:void T:moving ? '' ''"),
    ],
    "close_shard": [(("mail", 7), f"9 {CLOSING_KEYS} 7")],
    "open_shard": [(("mail", 7), f"10 {CLOSING_KEYS} T:opened 7")],
    "rate_states": [(("mail", "42", 9), "1 T:void T:q: 42 9")],
    "shards": [
        (("mail", "1 0", "1 1 4", True), "2 T:void T:shards 1·0 1·1·4 1"),
        (("mail", "", "", False), "2 T:void T:shards '' '' 0"),
    ],
    "claim_sweep": [
        ((900,), "1 {p}:sweep 900"),
        ((900, 0), "1 {p}:sweep 900"),
        ((900, 12), "1 {p:.12}:sweep 900"),
    ],
    "correct_totals": [(("mail", 3, -2), "2 T:void T:held T:c: 3 -2")],
    "list_leases": [(("mail", "bob", "42", 9), "3 T:void T:leases T:held bob 42 9")],
    "recount": [
        (
            ("mail", "group", "g", "42", 9),
            "4 T:void T:ready T:leases T:limit T:q: T:c: group g 42 9",
        )
    ],
    "sample_queues": [
        (("mail", "group", "g", "42", 9), "4 T:void T:ready T:leases T:limit group g 42 9")
    ],
    "share_sample": [(("mail", ".ab", b"[1]"), "2 T:void T:sample .ab [1]")],
    "show_job": [(("mail", "bob", "j1"), "5 T:void T:held T:q:bob T:j:bob T:dead bob j1")],
    "tell_servers": [
        ((".ab", b"?", 7), "1 {p:.7}: {p}:wake:.ab ?"),
        ((None, b"?", 0), "1 {p:.0}: {p}:wake:.all ?"),
    ],
    "watch_queues": [(("mail", 9, ["bob", "eve"]), "3 T:void T:ready T:limit T:q: T:d: 9 bob eve")],
    "clear": [
        (("mail", "bob", 7, False), f"10 {CLEAR_KEYS} T:c: 7 bob 0"),
        (("mail", "bob", 7, True), f"10 {CLEAR_KEYS} T:c: 7 bob 1"),
    ],
    "dead_advance": [(("mail", ".s1", 9000), f"6 {RETRY_KEYS} .s1 9000")],
    "dead_begin": [
        (
            ("mail", "b1", "retry", "bob", "expired", "E", 7, 8),
            "2 T:void T:dead b1 retry bob expired E 7 8",
        ),
        (
            ("mail", "b1", "delete", "", "", "", None, None),
            "2 T:void T:dead b1 delete '' '' '' '' ''",
        ),
    ],
    "dead_cancel": [(("mail",), "2 T:void T:dead")],
    "dead_delete": [
        (("mail", [("bob", "j1"), ("eve", "j2")]), "2 T:void T:dead bob j1 eve j2"),
    ],
    "dead_list": [
        (
            ("mail", "bob", "expired", "E", 7, "9", 100, 262144),
            "2 T:void T:dead bob expired E 7 9 100 262144",
        ),
        (
            ("mail", "", "", "", None, "", 1, 9),
            "2 T:void T:dead '' '' '' '' '' 1 9",
        ),
    ],
    "dead_progress": [(("mail",), "2 T:void T:dead")],
    "dead_retry": [
        (("mail", [("bob", "j1"), ("eve", "j2")]), f"6 {RETRY_KEYS} bob j1 eve j2"),
    ],
    "dead_show": [(("mail", "bob", "j1"), "2 T:void T:dead bob j1")],
    "dequeue": [
        (
            ("mail", 3, 60000, 262144),
            f"7 {DEQUEUE_KEYS} {QUEUE_PREFIXES} T:c: 3 60000 262144 '' '' '' 0",
        ),
        (
            ("mail", 3, 60000, 262144, "r-1"),
            f"8 {DEQUEUE_KEYS} T:x:r-1 {QUEUE_PREFIXES} T:c: 3 60000 262144 r-1 '' '' 0",
        ),
        (
            ("mail", 3, 60000, 262144, None, ".ab", 7),
            f"8 {DEQUEUE_KEYS} T:x:.ab {QUEUE_PREFIXES} T:c: 3 60000 262144 '' {{p}}:wake:.ab 7 0",
        ),
        (
            ("mail", 3, 60000, 262144, "r-1", ".ab", 7, True),
            f"8 {DEQUEUE_KEYS} T:x:r-1 {QUEUE_PREFIXES} T:c: "
            "3 60000 262144 r-1 {p}:wake:.ab '' 1",
        ),
        (
            ("mail", 3, 60000, 262144, "r-1", ".ab", 7, True, 250),
            f"8 {DEQUEUE_KEYS} T:x:r-1 {QUEUE_PREFIXES} T:c: "
            "3 60000 262144 r-1 {p}:wake:.ab '' 1 250",
        ),
        (
            ("mail", 3, 60000, 262144, "r-1", None, 0, False, 250, 7),
            f"8 {DEQUEUE_KEYS} T:x:r-1 {QUEUE_PREFIXES} T:c: 3 60000 262144 r-1 '' '' 0 250 7",
        ),
    ],
    "dry_run": [
        (
            ("mail", "queue", "bob", 1.5, 3, REMOVE, "g"),
            "4 T:void T:ready T:leases T:limit T:q: T:d: T:j: queue bob 1.5 3 - g",
        ),
        (
            ("mail", "type", "", None, None, None, None),
            "4 T:void T:ready T:leases T:limit T:q: T:d: T:j: type '' '' '' '' ''",
        ),
    ],
    "enqueue": [
        (("mail", []), f"5 {ENQUEUE_KEYS}"),
        (
            (
                "mail",
                [
                    NewJob("mail", "bob", "j1", b"[]", 1000, -1),
                    NewJob("mail", "eve", "j2", b"2", 0, 3, 9),
                ],
            ),
            f"5 {ENQUEUE_KEYS} bob j1 [] 1000 -1 '' eve j2 2 0 3 9",
        ),
        (
            (
                "mail",
                [
                    NewJob("mail", "bob", "j1", b'{"a":1}', 1000, -1),
                    NewJob("mail", "bob", "j2", b"null", 0, 2, 50),
                    NewJob("mail", "bob", "j3", b"null", 0, 2, 0),
                ],
            ),
            f"""5 {ENQUEUE_KEYS} bob j1 {{"a":1}} 1000 -1 '' """
            "bob j2 null 0 2 50 bob j3 null 0 2 0",
        ),
        (
            (
                "mail",
                [
                    NewJob("mail", "bob", "j1", b"1", 1.5, -1, None, JobOptions(priority=9)),
                    NewJob("mail", "bob", "j2", b"1", 0.001, -1, 7, None),
                    NewJob(
                        "mail", "eve", "j3", b"1", 1000.0, -1, 7, JobOptions(2, 3, "g", 4, 5, 6)
                    ),
                    NewJob("mail", "eve", "j4", b"1", 31_535_999_999.999, -1, None, ALL_REMOVED),
                ],
            ),
            f"5 {ENQUEUE_KEYS} bob j1 1 1.5 -1 ::::1:9:0 "
            "bob j2 1 0.001 -1 7::::1:0:0 eve j3 1 1000 -1 7:2:3:g:4:5:6 "
            "eve j4 1 31535999999.999 -1 :-:-:-:1:0:0",
        ),
    ],
    "extend": [
        (("mail", [], 0, 60000), "3 T:void T:leases T:held T:f: 60000 T:x: 0"),
        (
            ("mail", LEASES, 500, 60000),
            "3 T:void T:leases T:held T:f: 60000 T:x: 500 bob j1 17 eve j2 18",
        ),
    ],
    "finish_many": [
        (
            ("mail", LEASES, 60000, 7),
            f"4 T:void T:leases T:held T:limit T:q: T:f: 60000 7 {SELDOM} bob j1 17 eve j2 18",
        ),
    ],
    "hand_on": [(("mail", ".ab", 2), "4 T:void T:ready T:waiting T:limit {p}:wake:.ab 2")],
    "offer": [
        (
            ("mail", "*ab", 5, 2, 250),
            "4 T:void T:ready T:waiting T:limit T:q: {p}:wake:*ab 5 2 250",
        ),
    ],
    "release": [
        (
            ("mail", LEASES, 250, True, 60000, 7, "1:2:3:4:5:0"),
            f"7 {ENDING_KEYS} T:dead {QUEUE_PREFIXES} T:c: T:f: 60000 7 1:2:3:4:5:0 250 1 "
            "bob j1 17 eve j2 18",
        ),
    ],
    "finish": [
        (
            ("mail", "bob", "j1", "17", 60000, 7),
            f"5 T:void T:leases T:held T:q:bob T:limit T:f: 60000 7 bob/j1 17 {SELDOM}",
        ),
        (
            ("mail", "bob", "j1", "", 60000, 7),
            f"5 T:void T:leases T:held T:q:bob T:limit T:f: 60000 7 bob/j1 '' {SELDOM}",
        ),
    ],
    "interval": [
        (("mail", "bob", 0.25, 7), "5 T:void T:ready T:waiting T:limit T:q:bob T:d: 7 bob 0.25"),
        (("mail", "bob", 250, 7), "5 T:void T:ready T:waiting T:limit T:q:bob T:d: 7 bob 250"),
    ],
    "interval_reset": [(("mail", "bob", 7), "3 T:void T:held T:q:bob 7")],
    "limits": [
        (
            ("mail", "queue", "bob", 1000, None, 2, REMOVE, "two%20words", 7),
            f"5 {LEVEL_KEYS} 7 queue bob 1000 '' 2 - two%20words",
        ),
        (
            ("mail", "group", "g", 0.25, 1, None, None, REMOVE, 7),
            f"5 {LEVEL_KEYS} 7 group g 0.25 1 '' '' -",
        ),
        (
            ("mail", "type", "", REMOVE, REMOVE, REMOVE, None, None, 7),
            f"5 {LEVEL_KEYS} 7 type '' - - - '' ''",
        ),
    ],
    "list_jobs": [
        (
            ("mail", "bob", "new", 42, 3, 100, 262144),
            f"6 T:void T:held {QUEUE_KEYS} new 42 3 100 262144",
        )
    ],
    "list_queues": [
        (
            ("mail", "type", "", "0", 1000, ""),
            "4 T:void T:ready T:leases T:limit type '' 0 1000 ''",
        ),
        (
            ("mail", "group", "g", "42", 1000, "ab"),
            "4 T:void T:ready T:leases T:limit group g 42 1000 ab",
        ),
    ],
    "list_types": [(("42", 1000), "1 {p}:types 42 1000")],
    "pause": [
        (
            ("mail", "type", "", None, "", "api", 7, None),
            f"6 {PAUSE_KEYS} 7 type '' '' '' api ''",
        ),
        (
            ("mail", "queue", "bob", REMOVE, "", "api", 7, None),
            f"6 {PAUSE_KEYS} 7 queue bob - '' api ''",
        ),
        (
            ("mail", "group", "g", 30_000, "x%2Fy", "worker", 7, 42),
            f"6 {PAUSE_KEYS} 7 group g 30000 x%2Fy worker 42",
        ),
    ],
    "ping": [((12,), "1 {p:.12}:")],
    "queue_length": [(("mail", "bob"), "3 T:void T:held T:q:bob")],
    "pausing": [
        (("mail", 0, REMOVE, "", "api"), "2 T:void T:paused 0 - '' api"),
        (("mail", 7, None, "x%2Fy", "worker"), "2 T:void T:paused 7 '' x%2Fy worker"),
    ],
    "queue_metrics": [(("mail", "bob"), "5 T:void T:ready T:q:bob T:d:bob T:limit T:c: bob")],
    "register": [(("mail",), "1 {p}:types mail")],
    "rights": [
        ((".ab", 3), "1 {p:.3}: {p}: {p}:wake:.ab"),
        ((".ab", 3, "WAIT"), "1 {p:.3}: {p}: {p}:wake:.ab WAIT"),
    ],
    "requeue": [
        (
            ("mail", 100, 60000, 7, "1:2:3:4:5:0"),
            f"7 {ENDING_KEYS} T:dead {QUEUE_PREFIXES} T:c: T:f: 60000 7 1:2:3:4:5:0 100",
        ),
    ],
    "settle": [
        (
            ("mail", [], 60000, 7, "f"),
            f"7 {ENDING_KEYS} T:dead {QUEUE_PREFIXES} T:c: T:f: 60000 7 f",
        ),
        (
            ("mail", [("bob", "j1", "17", "finish", "3", "0", "", "", "", "")], 60000, 7, "f"),
            f"7 {ENDING_KEYS} T:dead {QUEUE_PREFIXES} T:c: T:f: 60000 7 f "
            "bob j1 17 finish 3 0 '' '' '' ''",
        ),
        (
            ("mail", [("bob", "j1", "", "fail", "", "", "9", "queue", "w1", '{"é":1}')], 0, 0, "f"),
            f"7 {ENDING_KEYS} T:dead {QUEUE_PREFIXES} T:c: T:f: 0 0 f "
            "bob j1 '' fail '' '' 9 queue w1 {\"é\":1}",
        ),
    ],
    "show_limits": [
        (
            ("mail", "group", "g"),
            "4 T:void T:ready T:leases T:limit T:q: T:d: group g",
        ),
        (
            ("mail", "queue", "bob"),
            "4 T:void T:ready T:leases T:limit T:q: T:d: queue bob",
        ),
    ],
    "status": [
        (
            ("mail", "bob", "j1", 60000),
            f"10 T:void T:ready T:leases T:held {QUEUE_KEYS} T:limit T:dead T:f: 60000 bob j1",
        ),
    ],
    "take_over": [
        (
            ("mail", "t1", [("bob", "j1", b"{}", 1000, -1, 20, "tail")]),
            f"8 {DEQUEUE_KEYS} T:moving {QUEUE_PREFIXES} T:c: t1 bob j1 {{}} 1000 -1 20 tail",
        ),
        (
            ("mail", "", [("bob", "j1", b"1", 0, 2, 0, "900"), ("eve", "j2", b"2", 0, 3, 0, "0")]),
            f"8 {DEQUEUE_KEYS} T:moving {QUEUE_PREFIXES} T:c: '' bob j1 1 0 2 0 900 "
            "eve j2 2 0 3 0 0",
        ),
    ],
    "try_write": [((0,), "1 {p:.0}:write"), ((16383,), "1 {p:.16383}:write")],
    "type_metrics": [(("mail",), "6 T:void T:ready T:leases T:held T:limit T:dead T:c:")],
    "unregister": [(("mail", 900000), "1 {p}:types mail 900000")],
}

ONE: list[int | bytes] = [
    *(0, 3, 7),
    *(b"bob", b"j1", b"1800000000000000", b"-1", 1, 4, b'{"a": [1,\t2]}', 31_536_000_000),
]
TWO: list[int | bytes] = [
    0,
    3,
    7,
    *ONE[3:],
    b"eve",
    b"j-2",
    b"1800000000000001",
    b"9223372036854775807",
    3,
    0,
    b'"\xc3\xa9"',
    0,
]
ONE_TEXT = (
    b'"queue_id":"bob","job_id":"j1","payload":{"a": [1,\t2]},"requeues_remaining":-1,'
    b'"current_queue_length":4,"lease":"mail/bob/j1/1800000000000000"}'
)
TWO_TEXT = (
    b'"queue_id":"eve","job_id":"j-2","payload":"\xc3\xa9",'
    b'"requeues_remaining":9223372036854775807,'
    b'"current_queue_length":0,"lease":"mail/eve/j-2/1800000000000001"}'
)


def job() -> Job:
    return Batch("mail", TWO).jobs[1]


# Everything else that the stub shows: how it is had, and what it is.
def plain(text: bytes) -> NewJob | None:
    return JobReader(3, -1).one(text, "t", "q")


VALUES: dict[str, list[tuple[Callable[[], object], object]]] = {
    "Codec.keys": [(lambda: CODEC.keys.prefix, "p")],
    "Keyspace.prefix": [(lambda: CODEC.keys.prefix, "p")],
    "Keyspace.tag": [(lambda: CODEC.keys.tag("mail"), b"{p:mail}")],
    "Codec.group_states": [
        (
            lambda: CODEC.group_states("mail", ["a-1", "b"]),
            b"*3\r\n$4\r\nMGET\r\n$20\r\n{p:mail}:limit:g:a-1\r\n$18\r\n{p:mail}:limit:g:b\r\n",
        ),
    ],
    "Codec.queue_states": [
        (
            lambda: CODEC.queue_states("mail", ["bob", "eve"]),
            b"*3\r\n$4\r\nMGET\r\n$14\r\n{p:mail}:q:bob\r\n$14\r\n{p:mail}:q:eve\r\n",
        ),
    ],
    "Keyspace.common_channel": [(CODEC.keys.common_channel, b"{p}:wake:.all")],
    "Keyspace.silent_channel": [(CODEC.keys.silent_channel, b"{p}:wake:.acked")],
    "Keyspace.channel": [(lambda: CODEC.keys.channel(".ab"), b"{p}:wake:.ab")],
    "confirmation_key": [
        (lambda: confirmation_key(b"{p:mail}"), b"{p:mail}:acked"),
        (lambda: confirmation_key(b"{p}:types"), b"{p}:acked"),
    ],
    "Keyspace.woken_type": [
        (lambda: CODEC.keys.woken_type(b"{p:mail}:waiting"), "mail"),
        (lambda: CODEC.keys.woken_type(b"{q:mail}:waiting"), None),
        (lambda: CODEC.keys.woken_type(b"{p:mail}:ready"), None),
        (lambda: CODEC.keys.woken_type(b"{p:"), None),
        (lambda: CODEC.keys.woken_type(b""), None),
    ],
    "Keyspace.place": [(lambda: CODEC.keys.place(16383), b"{p:.16383}:")],
    "joined": [
        (lambda: joined("mail", [], None).__reduce__()[1], ("mail", [-1, 0, -1])),
        (
            lambda: joined(
                "mail",
                [
                    Batch("mail", [-1, 0, -1]),
                    Batch("mail", [500, 3, 8, *ONE[3:]]),
                    Batch("mail", [400, 1, 9, *ONE[3:]]),
                ],
                400,
            ).__reduce__()[1],
            ("mail", [400, 0, 8, *ONE[3:], *ONE[3:]]),
        ),
    ],
    "Keyspace.registry": [(CODEC.keys.registry, b"{p}:types")],
    "Job.queue_type": [(lambda: job().queue_type, "mail")],
    "Job.queue_id": [(lambda: job().queue_id, "eve")],
    "Job.job_id": [(lambda: job().job_id, "j-2")],
    "Job.payload": [(lambda: job().payload, b'"\xc3\xa9"')],
    "Job.requeues_remaining": [(lambda: job().requeues_remaining, 2**63 - 1)],
    "Job.attempt": [(lambda: job().attempt, 3)],
    "Job.current_queue_length": [(lambda: job().current_queue_length, 0)],
    "Job.burst": [
        (lambda: job().burst, 1),
        (lambda: Batch("mail", [*ONE[:-1], b"0.125"]).jobs[0].burst, 1),
        (lambda: Batch("mail", [*ONE[:-1], b"1000*5"]).jobs[0].burst, 5),
        (lambda: Batch("mail", [*ONE[:-1], b"1.500*1000000"]).jobs[0].burst, 1_000_000),
    ],
    "Job.interval": [
        (lambda: job().interval, 0),
        (lambda: Batch("mail", ONE).jobs[0].interval, 31_536_000_000),
        (lambda: Batch("mail", [*ONE[:-1], b"0.125"]).jobs[0].interval, 0.125),
        (lambda: Batch("mail", [*ONE[:-1], b"1000*5"]).jobs[0].interval, 1000),
        (lambda: Batch("mail", [*ONE[:-1], b"1.500*5"]).jobs[0].interval, 1.5),
    ],
    "Job.lease": [(lambda: job().lease, "mail/eve/j-2/1800000000000001")],
    "Batch.queue_type": [(lambda: Batch("mail", [0, 0, -1]).queue_type, "mail")],
    "Batch.jobs": [
        (lambda: [job.job_id for job in Batch("mail", [-1, 0, -1]).jobs], []),
        (lambda: [job.job_id for job in Batch("mail", ONE).jobs], ["j1"]),
        (lambda: [job.job_id for job in Batch("mail", TWO).jobs], ["j1", "j-2"]),
    ],
    "Batch.wait_us": [
        (lambda: Batch("mail", [-1, 0, -1]).wait_us, None),
        (lambda: Batch("mail", [0, 0, -1]).wait_us, 0),
        (lambda: Batch("mail", [31_536_000_000_000, 1, -1]).wait_us, 31_536_000_000_000),
    ],
    "Batch.head_ms": [
        (lambda: Batch("mail", [0, 8, -1]).head_ms, 7),
        (lambda: Batch("mail", [0, 1, -1]).head_ms, 0),
        (lambda: Batch("mail", [0, -1, -1]).head_ms, None),
        (lambda: Batch("mail", [0, 0, -1]).head_ms, None),
        (lambda: Batch("mail", [5, 8, -1]).head_ms, None),
    ],
    "Batch.repeats": [
        (lambda: Batch("mail", [0, 0, -1]).repeats, True),
        (lambda: Batch("mail", [0, -1, -1]).repeats, False),
        (lambda: Batch("mail", [0, 1, -1]).repeats, False),
        (lambda: Batch("mail", [-1, 0, -1]).repeats, False),
    ],
    "Batch.rank": [(lambda: Batch("mail", ONE).rank, 3)],
    "Batch.ready_ms": [
        (lambda: Batch("mail", ONE).ready_ms, 7),
        (lambda: Batch("mail", [-1, 0, -1]).ready_ms, None),
    ],
    "Batch.part": [
        (lambda: [job.job_id for job in Batch("mail", TWO).part(1, 2).jobs], ["j-2"]),
        (lambda: len(Batch("mail", TWO).part(1, 1)), 0),
        (lambda: Batch("mail", TWO).part(0, 1).to_json(), b'{"status":"success",' + ONE_TEXT),
    ],
    "Batch.leases": [
        (
            lambda: Batch("mail", TWO).leases(0, 2),
            ["mail/bob/j1/1800000000000000", "mail/eve/j-2/1800000000000001"],
        ),
        (lambda: Batch("mail", TWO).leases(1, 2), ["mail/eve/j-2/1800000000000001"]),
        (lambda: Batch("mail", TWO).leases(2, 2), []),
    ],
    "Batch.jobs_json": [
        (lambda: Batch("mail", TWO).jobs_json(0, 0, 5), b"[]"),
        (
            lambda: Batch("mail", TWO).jobs_json(0, 2, 59_000),
            b"[{"
            + ONE_TEXT[:-1]
            + b',"attempt":1,"lease_ms":59000,"interval":31536000000},{'
            + TWO_TEXT[:-1]
            + b',"attempt":3,"lease_ms":59000,"interval":0}]',
        ),
        (
            lambda: Batch("mail", TWO).jobs_json(1, 2, 0),
            b"[{" + TWO_TEXT[:-1] + b',"attempt":3,"lease_ms":0,"interval":0}]',
        ),
        (
            lambda: Batch("mail", [*TWO[:-1], b"1.5"]).jobs_json(1, 2, 0),
            b"[{" + TWO_TEXT[:-1] + b',"attempt":3,"lease_ms":0,"interval":1.5}]',
        ),
        (
            lambda: Batch("mail", [*TWO[:-1], b"1000*5"]).jobs_json(1, 2, 0),
            b"[{" + TWO_TEXT[:-1] + b',"attempt":3,"lease_ms":0,"interval":1000,"burst":5}]',
        ),
        (
            lambda: Batch("mail", [*TWO[:-1], b"1.500*20"]).jobs_json(1, 2, 0),
            b"[{" + TWO_TEXT[:-1] + b',"attempt":3,"lease_ms":0,"interval":1.500,"burst":20}]',
        ),
    ],
    "Batch.to_json": [
        (lambda: Batch("mail", ONE).to_json(), b'{"status":"success",' + ONE_TEXT),
        (lambda: Batch("mail", TWO).to_json(), b'{"status":"success",' + ONE_TEXT),
    ],
    "Batch.to_json_list": [
        (lambda: Batch("mail", [-1, 0, -1]).to_json_list(), b'{"status":"success","jobs":[]}'),
        (
            lambda: Batch("mail", ONE).to_json_list(),
            b'{"status":"success","jobs":[{' + ONE_TEXT + b"]}",
        ),
        (
            lambda: Batch("mail", TWO).to_json_list(),
            b'{"status":"success","jobs":[{' + ONE_TEXT + b",{" + TWO_TEXT + b"]}",
        ),
    ],
    "json_fault": [
        (lambda: json_fault(b'{"a":[1,"x"]}', 2), None),
        (lambda: json_fault(b"", 2), ("empty", 0)),
        (lambda: json_fault(b" \n", 2), ("empty", 2)),
        (lambda: json_fault(b'{"a":[1', 2), ("cut off", 7)),
        (lambda: json_fault(b'"\\u12', 2), ("cut off", 5)),
        (lambda: json_fault(b"[1,]", 2), ("misplaced", 3)),
        (lambda: json_fault(b'{"a":1]', 2), ("misplaced", 6)),
        (lambda: json_fault(b"nulx", 2), ("misplaced", 3)),
        (lambda: json_fault(b'"\xc3"', 2), ("no utf-8", 1)),
        (lambda: json_fault(b'"a\n"', 2), ("control", 2)),
        (lambda: json_fault(b'"\\x"', 2), ("escape", 1)),
        (lambda: json_fault(b"[NaN]", 2), ("constant", 1)),
        (lambda: json_fault(b"-Infinity", 2), ("constant", 0)),
        (lambda: json_fault(b"[1e400]", 2), ("too large", 1)),
        (lambda: json_fault(b"9" * 4001, 2), ("too long", 0)),
        (lambda: json_fault(b"[[[]]]", 2), ("too deep", 2)),
        (lambda: json_fault(b"1 2", 2), ("more", 2)),
    ],
    "json_parts": [
        (lambda: json_parts(b"[]", 9), []),
        (lambda: json_parts(b" { } ", 9), []),
        (lambda: json_parts(b'[1, "a,]" ,{"b":[2]}]', 9), [b"1", b'"a,]"', b'{"b":[2]}']),
        (
            lambda: json_parts(b'{"a":"\\"}" , "b" : NaN}', 9),
            [b'"a"', b'"\\"}"', b'"b"', b"NaN"],
        ),
        (lambda: json_parts(b"[1,2,3", 2), [b"1", b"2"]),
        (lambda: json_parts(b"[1,2", 9), None),
        (lambda: json_parts(b"[1,]", 9), None),
        (lambda: json_parts(b"[1]]", 9), None),
        (lambda: json_parts(b"[1 2]", 9), None),
        (lambda: json_parts(b'{"a"}', 9), None),
        (lambda: json_parts(b'{"a":1,"b"}', 9), None),
        (lambda: json_parts(b'["a]', 9), None),
        (lambda: json_parts(b"1", 9), None),
        (lambda: json_parts(b"", 9), None),
    ],
    "json_value": [
        (lambda: json_value(b"null", 0), b"null"),
        (lambda: json_value(b" \r\n\t[1, 2] ", 1), b"[1, 2]"),
        (lambda: json_value(b"[1, 2]", 0), None),
        (lambda: json_value(b'{"a":[{}],"b":[]}', 3), b'{"a":[{}],"b":[]}'),
        (lambda: json_value(b'{"a":[{}],"b":[]}', 2), None),
        (lambda: json_value(b"[" * 512 + b"]" * 512, 512), b"[" * 512 + b"]" * 512),
        (lambda: json_value(b"[" * 513 + b"]" * 513, 512), None),
        (lambda: json_value(b"", 9), None),
        (lambda: json_value(b"1 2", 9), None),
        (lambda: json_value(b"1\x00", 9), None),
        (lambda: json_value(b'{"a":1]', 9), None),
        (lambda: json_value(b'"\\ud83d\\ude00"', 0), b'"\\ud83d\\ude00"'),
        (lambda: json_value(b'"\\ud83d"', 0), b'"\\ud83d"'),
        (lambda: json_value(b"1e308", 0), b"1e308"),
        (lambda: json_value(b"-1e309", 0), None),
        (lambda: json_value(b"9" * 4000, 0), b"9" * 4000),
        (lambda: json_value(b"9" * 4001, 0), None),
    ],
    "json_dump": [
        (lambda: json_dump(None, 0), b"null"),
        (lambda: json_dump([True, False], 1), b"[true,false]"),
        (lambda: json_dump({"b": 1, "a": (1.5, -7)}, 2), b'{"b":1,"a":[1.5,-7]}'),
        (lambda: json_dump({}, 1) + json_dump([], 1) + json_dump("", 0), b'{}[]""'),
        (
            lambda: json_dump('\x00\x1f\b\t\n\f\r"\\/\x7f', 0),
            b'"\\u0000\\u001f\\b\\t\\n\\f\\r\\"\\\\/\x7f"',
        ),
        (lambda: json_dump("\u00e9\U0001f600", 0), b'"\xc3\xa9\xf0\x9f\x98\x80"'),
        (
            lambda: json_dump([2**63 - 1, -(2**63), 2**63], 1),
            b"[9223372036854775807,-9223372036854775808,9223372036854775808]",
        ),
    ],
    "is_name": [
        (lambda: is_name("a"), True),
        (lambda: is_name("AZaz09_-" * 12 + "1234"), True),
        (lambda: is_name("AZaz09_-" * 12 + "12345"), False),
        (lambda: is_name(""), False),
        (lambda: is_name("a b"), False),
        (lambda: is_name("\u00e9"), False),
        (lambda: is_name("\ud800"), False),
        (lambda: is_name(b"a"), False),
        (lambda: is_name(None), False),
    ],
    "lease_parts": [
        (lambda: lease_parts("mail/bob/j-1/0180"), ("mail", "bob", "j-1", "0180")),
        (lambda: lease_parts("a/b/c/" + "9" * 19), ("a", "b", "c", "9" * 19)),
        (lambda: lease_parts("a/b/c/" + "9" * 20), None),
        (lambda: lease_parts("a/b/c/"), None),
        (lambda: lease_parts("a/b/c"), None),
        (lambda: lease_parts("a//c/1"), None),
        (lambda: lease_parts("a/b/c/1/2"), None),
        (lambda: lease_parts("a/b/c/1x"), None),
        (lambda: lease_parts(b"a/b/c/1"), None),
    ],
    "JobReader.many": [
        (lambda: JobReader(10, 3).many([]), []),
        (
            lambda: JobReader(15, 3).many(
                [
                    b'{"queue_type":"mail","queue_id":"bob","job_id":"j-1","interval":50,'
                    b'"payload":{"a":[1,"}"]}}',
                    b' { "payload" : [ 1 ] , "interval" : 0 , "requeue_limit" : -1 ,'
                    b' "job_id" : "J_2" , "queue_id" : "q" , "queue_type" : "t" } ',
                    b'{"queue_type":"mail"}',
                ]
            ),
            [
                ("mail", "bob", "j-1", b'{"a":[1,"}"]}', 50, 3, None, None),
                ("t", "q", "J_2", b"[ 1 ]", 0, -1, None, None),
                None,
            ],
        ),
    ],
    "enqueued": [
        (lambda: enqueued([]), []),
        (
            lambda: enqueued([b"queued", 0, b"full", 7, b"full:1500", 8]),
            [("queued", 0, None), ("full", 7, None), ("full", 8, 1500)],
        ),
    ],
    "JobReader.one": [
        (
            lambda: plain(b'{"job_id":"j","interval":1,"payload":"x"}'),
            ("t", "q", "j", b'"x"', 1, -1, None, None),
        ),
        (
            lambda: plain(b'{"job_id":"j","interval":1,"payload":"xx"}'),
            None,
        ),
        (
            lambda: plain(b'{"job_id":"j","interval":1,"payload":"\xff"}'),
            None,
        ),
        (lambda: plain(b'{"job_id":"j","interval":01,"payload":1}'), None),
        (
            lambda: plain(b'{"job_id":"j","interval":1.0,"payload":1}'),
            None,
        ),
        (lambda: plain(b'{"job_id":"j","interval":1,"payload":1}x'), None),
        (lambda: plain(b'{"job_id":"j","interval":1,"payload":1'), None),
        (
            lambda: plain(b'{"queue_id":"q","job_id":"j","interval":1}'),
            None,
        ),
        (lambda: plain(b""), None),
    ],
    # RFC 6455, section 5.7, and the lengths around a block.
    "mask": [
        (lambda: mask(bytes.fromhex("37fa213d"), b"Hello"), bytes.fromhex("7f9f4d5158")),
        (lambda: mask(b"abcd", b""), b""),
        (lambda: mask(b"\x01\x02\x03\x04", bytes(19)), b"\x01\x02\x03\x04" * 4 + b"\x01\x02\x03"),
        (lambda: mask(b"\xff\0\xff\0", bytearray(b"\xff" * 9)), b"\0\xff" * 4 + b"\0"),
        (lambda: mask(b"abcd", memoryview(b"xabcdx")[1:5]), bytes(4)),
    ],
}


def command(*words: str | bytes) -> bytes:
    """A RESP2 command, by https://redis.io/docs/latest/develop/reference/protocol-spec/."""
    parts = [word.encode() if isinstance(word, str) else word for word in words]
    return b"".join([b"*%d\r\n" % len(parts), *(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts)])


def words_of(packed: bytes) -> list[bytes]:
    """The words of a command, which has to be all that there is."""
    reader = hiredis.Reader()
    reader.feed(packed)
    words = reader.gets()
    assert isinstance(words, list)
    assert reader.gets() is False
    assert not reader.has_data()
    return words


def public_names() -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in STUB.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield f"{node.name}.{inner.name}", inner


def test_every_public_function_has_a_vector() -> None:
    vectors = {f"Codec.{name}" for name in CALLS} | set(VALUES)
    assert {name for name, _ in public_names()} == vectors


def test_every_public_function_has_a_docstring() -> None:
    assert [name for name, node in public_names() if not ast.get_docstring(node)] == []


def test_every_script_has_a_method_of_its_name() -> None:
    assert set(DIGESTS) == set(CALLS)


@cases(
    ("name", "arguments", "expected"),
    [(name, *vector) for name, vectors in CALLS.items() for vector in vectors],
)
def test_a_call_is_packed_as(name: str, arguments: tuple[Any, ...], expected: str) -> None:
    words = [word.replace("T:", "{p:mail}:") for word in expected.split()]
    words = ["" if word == "''" else word.replace("·", " ") for word in words]
    assert getattr(CODEC, name)(*arguments) == command("EVALSHA", f"<{name}>", *words)


@cases(
    ("name", "value", "expected"),
    [(name, *vector) for name, vectors in VALUES.items() for vector in vectors],
)
def test_a_value_is(name: str, value: Callable[[], object], expected: object) -> None:
    assert value() == expected


def test_a_call_to_the_last_byte() -> None:
    codec = Codec("p", {"enqueue": 40 * "5"})
    assert codec.enqueue("mail", [NewJob("mail", "bob", "j1", b"[1]", 1000, -1, 50)]) == (
        b"*18\r\n$7\r\nEVALSHA\r\n$40\r\n5555555555555555555555555555555555555555\r\n"
        b"$1\r\n5\r\n"
        b"$13\r\n{p:mail}:void\r\n"
        b"$14\r\n{p:mail}:ready\r\n"
        b"$13\r\n{p:mail}:held\r\n"
        b"$16\r\n{p:mail}:waiting\r\n"
        b"$14\r\n{p:mail}:limit\r\n"
        b"$11\r\n{p:mail}:q:\r\n"
        b"$11\r\n{p:mail}:j:\r\n"
        b"$11\r\n{p:mail}:c:\r\n"
        b"$23\r\n{p:mail}:r: {p:mail}:d:\r\n"
        b"$3\r\nbob\r\n$2\r\nj1\r\n$3\r\n[1]\r\n$4\r\n1000\r\n$2\r\n-1\r\n$2\r\n50\r\n"
    )


# ---- numbers ----

POWERS = [10**digits for digits in range(19)]


@cases(
    "number",
    [0, 2**63 - 1, -(2**63), *POWERS, *[-n for n in POWERS], *[n - 1 for n in POWERS]],
)
def test_a_number_is_packed_in_digits(number: int) -> None:
    assert words_of(CODEC.unregister("mail", number))[-1] == b"%d" % number
    job = NewJob("mail", "q", "j", b"1", 0, -1, number)
    assert words_of(CODEC.enqueue("mail", [job]))[-1] == b"%d" % number


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
def test_a_number_of_more_than_64_bits_is_refused(number: int) -> None:
    with pytest.raises(OverflowError):
        CODEC.unregister("mail", number)


@pytest.mark.parametrize("length", [0, 1, 9, 10, 2**63 - 1])
def test_a_length_in_an_answer_is_written_in_digits(length: int) -> None:
    reply = [*ONE[:8], length, *ONE[9:]]
    assert json.loads(Batch("mail", reply).to_json())["current_queue_length"] == length


# ---- names ----


def test_lengths_are_counted_in_bytes() -> None:
    codec = Codec("é:ü ß", DIGESTS)
    assert codec.keys.tag("mail") == "{é:ü ß:mail}".encode()
    assert codec.keys.registry() == "{é:ü ß}:types".encode()
    assert codec.queue_length("mail", "bob") == command(
        *("EVALSHA", "<queue_length>", "3", "{é:ü ß:mail}:void"),
        *("{é:ü ß:mail}:held", "{é:ü ß:mail}:q:bob"),
    )


def test_a_prefix_may_be_empty() -> None:
    assert Codec("", DIGESTS).keys.tag("mail") == b"{:mail}"


def test_long_names_fit() -> None:
    queue_type, queue_id, job_id = "t" * 100, "q" * 100, "j" * 100
    packed = Codec("p" * 300, DIGESTS).status(queue_type, queue_id, job_id, 0)
    tag = f"{{{'p' * 300}:{queue_type}}}"
    assert words_of(packed)[7] == f"{tag}:q:{queue_id}".encode()
    assert words_of(packed)[-2:] == [queue_id.encode(), job_id.encode()]


def test_two_codecs_do_not_meet() -> None:
    one, other = Codec("one", DIGESTS), Codec("other", DIGESTS)
    assert b"{one:mail}" in one.queue_length("mail", "bob")
    assert b"{other:mail}" in other.queue_length("mail", "bob")
    assert b"{one:mail}" in one.queue_length("mail", "bob")


def test_a_call_and_a_question_for_a_tag_do_not_meet() -> None:
    expected = CODEC.queue_length("mail", "bob")
    assert CODEC.keys.tag("post") == b"{p:post}"
    assert CODEC.queue_length("mail", "bob") == expected
    assert CODEC.keys.tag("mail") == b"{p:mail}"
    assert CODEC.keys.tag("") == b"{p:}"
    with pytest.raises(UnicodeEncodeError):
        CODEC.queue_length("\ud800", "bob")
    assert CODEC.queue_length("mail", "bob") == expected


@cases("call", [Keyspace, CODEC.keys.tag, CODEC.keys.channel, CODEC.keys.woken_type])
@cases("wrong", [None, 1])
def test_what_is_no_name_has_no_key(call: Callable[[Any], object], wrong: Any) -> None:
    with pytest.raises(TypeError):
        call(wrong)


def test_a_script_without_a_digest_is_refused() -> None:
    with pytest.raises(KeyError, match="ping"):
        Codec("p", {}).ping(0)


# ---- what cannot be packed, and what comes after ----


# The places of arguments that may be None.
LEFT_OUT = {
    "dead_begin": range(6, 8),
    "dead_list": range(4, 5),
    "dequeue": range(4, 9),
    "dry_run": range(3, 7),
    "limits": range(3, 8),
    "pause": (3, 7),
    "pausing": range(2, 3),
    "rights": range(2, 3),
    "tell_servers": range(1),
}


def refused_arguments() -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Each call with each of its texts and numbers in turn replaced by what does not fit."""
    for name, vectors in CALLS.items():
        arguments, _ = vectors[-1]
        for at, value in enumerate(arguments):
            if isinstance(value, bool):
                continue
            may_be_left_out = at in LEFT_OUT.get(name, ())
            wrong = [object()] if may_be_left_out else [object(), None]
            for each in wrong:
                yield name, (*arguments[:at], each, *arguments[at + 1 :])


@cases(("name", "arguments"), list(refused_arguments()))
def test_an_argument_that_does_not_fit_is_refused(name: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        getattr(CODEC, name)(*arguments)


@cases(
    "change",
    [
        {"queue_id": None},
        {"job_id": b"j1"},
        {"payload": None},
        {"payload": "[]"},
        {"interval": "5"},
        {"interval": math.nan},
        {"interval": 1e16},
        {"options": 5},
        {"options": ("", "", "", 1, 0, 0)},
        {"options": JobOptions(group="\ud800")},
        {"requeue_limit": 2**63},
        {"max_queued_length": "5"},
        {"job_id": "\ud800"},
    ],
)
def test_a_call_that_fails_half_way_leaves_nothing_behind(change: dict[str, Any]) -> None:
    sound = NewJob("mail", "bob", "j1", b"[]", 0, -1)
    expected = CODEC.enqueue("mail", [sound])
    with pytest.raises((TypeError, OverflowError, UnicodeEncodeError)):
        CODEC.enqueue("mail", [sound, sound._replace(**change)])
    assert CODEC.enqueue("mail", [sound]) == expected


def test_a_sequence_may_use_the_codec_while_it_is_read() -> None:
    jobs = [NewJob("mail", "bob", f"j{i}", b"[]", 0, -1) for i in range(3)]

    class Meddling(Sequence[NewJob]):
        def __len__(self) -> int:
            return len(jobs)

        @overload
        def __getitem__(self, at: int) -> NewJob: ...
        @overload
        def __getitem__(self, at: slice) -> Sequence[NewJob]: ...
        def __getitem__(self, at: int | slice) -> NewJob | Sequence[NewJob]:
            CODEC.ping(0)
            return jobs[at]

    assert CODEC.enqueue("mail", Meddling()) == CODEC.enqueue("mail", jobs)


def test_room_for_a_large_payload_is_given_back() -> None:
    payload = b'"' + b"x" * 1_048_574 + b'"'
    codec = Codec("p", DIGESTS)
    expected = codec.ping(0)
    tracemalloc.start()
    try:
        packed = codec.enqueue("mail", [NewJob("mail", "bob", "j1", payload, 0, -1)])
        assert words_of(packed)[-4] == payload
        del packed
        assert tracemalloc.get_traced_memory()[0] < 128 * 1024
    finally:
        tracemalloc.stop()
    assert codec.ping(0) == expected


# ---- there and back ----

at_any_speed = settings(deadline=None)
names = st.text("abcXYZ019_-", min_size=1, max_size=100)
numbers = st.integers(-(2**63), 2**63 - 1)
payloads = st.binary(max_size=300) | st.binary(min_size=5000, max_size=9000)
bounds = st.none() | numbers
removed = st.just(REMOVE)
options = st.builds(
    JobOptions,
    burst=bounds | removed,
    concurrency=bounds | removed,
    group=st.none() | removed | names,
    cost=numbers,
    priority=numbers,
    delay=numbers,
)
decimals = st.integers(0, 31_536_000_000_000).map(lambda thousandths: thousandths / 1000)


def word(value: str | bytes | float | None) -> bytes:
    if value is None:
        return b""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, bytes) else str(value).encode()


@given(
    st.lists(
        st.builds(
            NewJob,
            queue_type=st.just("mail"),
            queue_id=names,
            job_id=names,
            payload=payloads,
            interval=numbers | decimals,
            requeue_limit=numbers,
            max_queued_length=bounds,
            options=st.none() | options,
        ),
        max_size=20,
    )
)
@at_any_speed
def test_many_enqueues_can_be_read_back(jobs: list[NewJob]) -> None:
    words = words_of(CODEC.enqueue("mail", jobs))
    assert len(words) == 12 + 6 * len(jobs)
    for at, job in enumerate(jobs):
        own = words[12 + 6 * at : 18 + 6 * at]
        assert own[:5] == [word(field) for field in job[1:6]]
        bound, *rest = own[5].split(b":")
        assert bound == word(job.max_queued_length)
        assert rest == [
            b"-" if field is REMOVE else word(field)  # type: ignore[arg-type]
            for field in job.options or (JobOptions() if isinstance(job.interval, float) else ())
        ]


@given(
    names,
    st.lists(st.builds(Lease, st.just("mail"), names, names, names), max_size=20),
    st.tuples(numbers, st.booleans(), numbers, numbers),
)
@at_any_speed
def test_a_release_can_be_read_back(
    queue_type: str, leases: list[Lease], settings: tuple[Any, ...]
) -> None:
    delay, counted, retention, interval_retention = settings
    words = words_of(CODEC.release(queue_type, leases, *settings, "1:2:3:4:5:0"))
    assert words[10] == word(f"{{p:{queue_type}}}:q:")
    assert words[16:] == [
        word(value)
        for value in (
            *(retention, interval_retention, "1:2:3:4:5:0", delay, int(counted)),
            *(part for lease in leases for part in lease[1:]),
        )
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    names,
    st.lists(
        st.tuples(
            names,
            names,
            st.integers(1, 2**63 - 1),
            st.integers(-1, 2**63 - 1),
            st.integers(1, 2**53),
            st.integers(0, 2**53),
            json_values.map(lambda value: json.dumps(value, allow_nan=True).encode()),
            st.integers(0, 31_536_000_000) | decimals.filter(lambda value: value % 1),
            st.just(1) | st.integers(2, 1_000_000),
        ),
        max_size=8,
    ),
)
@at_any_speed
def test_a_batch_says_the_same_in_json_and_in_objects(queue_type: str, rows: list[Any]) -> None:
    reply: list[int | bytes] = [0, 0, 0]
    for queue_id, job_id, n, left, *rest, interval, burst in rows:
        reply += [word(queue_id), word(job_id), word(n), word(left), *rest]
        text = word(interval) if isinstance(interval, float) or burst > 1 else interval
        reply.append(text + b"*%d" % burst if burst > 1 else text)
    batch = Batch(queue_type, reply)

    assert len(batch) == len(rows)
    assert json.loads(batch.to_json_list()) == {
        "status": "success",
        "jobs": [
            {
                "queue_id": job.queue_id,
                "job_id": job.job_id,
                "payload": json.loads(job.payload),
                "requeues_remaining": job.requeues_remaining,
                "current_queue_length": job.current_queue_length,
                "lease": job.lease,
            }
            for job in batch.jobs
        ],
    }
    assert [
        (
            *(job.queue_id, job.job_id, job.lease, job.requeues_remaining, job.attempt),
            *(job.current_queue_length, job.payload, job.interval, job.burst),
        )
        for job in batch.jobs
    ] == [
        (queue_id, job_id, f"{queue_type}/{queue_id}/{job_id}/{n}", left, *rest)
        for queue_id, job_id, n, left, *rest in rows
    ]
    assert [
        (job["lease"], job["attempt"], job["lease_ms"], job["interval"], job.get("burst", 1))
        for job in json.loads(batch.jobs_json(0, len(rows), 7))
    ] == [(job.lease, job.attempt, 7, job.interval, job.burst) for job in batch.jobs]
    for job in batch.jobs:
        copied = pickle.loads(pickle.dumps(job))
        told = (copied.lease, copied.interval, copied.burst)
        assert told == (job.lease, job.interval, job.burst)


# ---- answers ----


def test_a_large_payload_is_spliced_untouched() -> None:
    payload = b'"' + bytes(range(32, 34)) + b"\xf0\x9f\x98\x80" * 300_000 + b'"'
    text = Batch("mail", [*ONE[:9], payload, *ONE[10:]]).to_json()
    assert text.count(payload) == 1


def test_an_empty_batch_has_no_first_job() -> None:
    with pytest.raises(ValueError, match="empty"):
        Batch("mail", [-1, 0, -1]).to_json()


@pytest.mark.parametrize(
    ("reply", "truth"), [([-1, 0, -1], False), ([0, 0, -1], False), (ONE, True)]
)
def test_a_batch_is_true_where_it_has_jobs(reply: list[int | bytes], truth: bool) -> None:
    assert bool(Batch("mail", reply)) is truth


def test_the_jobs_are_made_once() -> None:
    batch = Batch("mail", ONE)
    assert batch.jobs is batch.jobs


def test_a_job_shows_its_lease() -> None:
    assert repr(job()) == "<Job mail/eve/j-2/1800000000000001 attempt=3>"


@cases(
    "reply",
    [
        [],
        [0],
        [0, 0],
        [0, 0, b"bob"],
        ONE[:-1],
        [*ONE, None],
        [b"0", *ONE[1:]],
        [None],
        *[[*ONE[:at], None, *ONE[at + 1 :]] for at in range(11)],
        *[[*ONE[:at], 5, *ONE[at + 1 :]] for at in (3, 4, 5, 6, 9)],
        *[[*ONE[:at], b"5", *ONE[at + 1 :]] for at in (1, 2, 7, 8, 10)],
        [*TWO[:-2], 5, 0],
        [*TWO[:-1], b"5"],
    ],
)
def test_what_is_no_answer_of_a_dequeue_is_refused(reply: list[Any]) -> None:
    with pytest.raises(ValueError, match="no answer"):
        Batch("mail", reply)


@pytest.mark.parametrize("reply", [None, (0,), b"0", 0])
def test_what_is_no_list_is_refused(reply: Any) -> None:
    with pytest.raises(TypeError):
        Batch("mail", reply)


@pytest.mark.parametrize(("start", "stop"), [(-1, 1), (0, 3), (2, 1)])
def test_jobs_that_a_batch_does_not_have_are_refused(start: int, stop: int) -> None:
    batch = Batch("mail", TWO)
    for method in (batch.part, batch.leases, lambda a, b: batch.jobs_json(a, b, 1)):
        with pytest.raises(IndexError):
            method(start, stop)


def test_a_name_that_no_store_should_send_gives_no_part_of_a_batch() -> None:
    batch = Batch("mail", [*TWO[:11], b"\xff", *TWO[12:]])
    for _ in range(2):
        with pytest.raises(UnicodeDecodeError):
            _ = batch.jobs


@pytest.mark.parametrize("call", [json_fault, json_parts, json_value])
def test_text_that_is_no_bytes_is_refused(call: Any) -> None:
    for wrong in (None, "1", bytearray(b"1")):
        with pytest.raises(TypeError):
            call(wrong, 1)


def test_a_number_that_is_no_int_runs_no_code_inside_a_call() -> None:
    """Another call in the middle of one would take its place in the buffer."""

    class Meddling:
        def __index__(self) -> int:
            CODEC.ping(0)
            return 1

    job = NewJob("mail", "bob", "j1", b"1", 0, -1)
    for field in ("interval", "requeue_limit", "max_queued_length"):
        row = job._replace(**{field: Meddling()})
        with pytest.raises(TypeError):
            CODEC.enqueue("mail", [row])
    assert CODEC.enqueue("mail", [job]) == Codec("p", DIGESTS).enqueue("mail", [job])


@pytest.mark.parametrize("change", [lambda reply: reply.clear(), lambda reply: reply.append(1)])
@pytest.mark.parametrize("value", [None, 7, "x"])
def test_a_reply_that_changes_after_it_was_looked_at_does_no_harm(change: Any, value: Any) -> None:
    # Not from the last one, the interval, on: not every answer tells it.
    for at in range(3, len(ONE) - 1):
        reply = list(ONE)
        batch = Batch("mail", reply)
        reply[at:] = [value] * (len(reply) - at)
        for act in (
            batch.to_json,
            lambda batch=batch: batch.jobs,
            lambda batch=batch: batch.jobs_json(0, 1, 1),
            lambda batch=batch: batch.part(0, 1),
        ):
            with pytest.raises(ValueError, match=r"reply|answer"):
                act()
        change(reply)
        with suppress(ValueError):
            batch.to_json_list()


@cases(
    "text",
    [
        *(b"", b".", b"1", b"1.", b".5", b"-1.5", b"1.5.5", b"1,5", b"1e5", b"1.5 ", b"nan"),
        *(b"*", b"1*", b"*5", b"1*5*5", b"1*5.5", b"1.*5", b"1*-5", b"1*5 ", b"1**5"),
    ],
)
def test_an_interval_that_no_script_tells_makes_no_batch(text: bytes) -> None:
    with pytest.raises(ValueError, match="no answer of a dequeue"):
        Batch("mail", [*ONE[:-1], text])


@pytest.mark.parametrize("value", [None, b"x", "1.5"])
def test_an_interval_that_changes_after_it_was_looked_at_does_no_harm(value: Any) -> None:
    for first in (5, b"1.5", b"1*5"):
        reply = [*ONE[:-1], first]
        batch = Batch("mail", reply)
        reply[-1] = value
        with pytest.raises(ValueError, match="changed"):
            batch.jobs_json(0, 1, 1)
        with pytest.raises(ValueError, match="changed"):
            _ = batch.jobs


@pytest.mark.parametrize("deepest", [-1, 513])
def test_a_depth_that_cannot_be_looked_for_is_refused(deepest: int) -> None:
    with pytest.raises(ValueError, match="0 to 512"):
        json_value(b"1", deepest)
    with pytest.raises(ValueError, match="0 to 512"):
        json_fault(b"1", deepest)


def test_a_list_that_changes_while_it_is_written_ends() -> None:
    growing: list[Any] = []

    class Pushing(dict[str, Any]):
        def items(self) -> Any:
            if len(growing) < 100:
                growing.append(Pushing())
            return super().items()

    growing.append(Pushing())
    assert json_dump(growing, 2) == b"[" + b",".join([b"{}"] * 100) + b"]"


def test_a_value_may_be_written_while_another_one_is() -> None:
    class Meddling(dict[str, Any]):
        def items(self) -> Any:
            json_dump(["other"], 1)
            Batch("mail", ONE).to_json()
            return super().items()

    assert json_dump(["a", Meddling(b=1)], 2) == b'["a",{"b":1}]'


def test_what_a_value_raises_comes_through() -> None:
    class Failing(dict[str, Any]):
        def items(self) -> Any:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        json_dump([Failing()], 2)


def test_types_beyond_number_are_told_apart() -> None:
    codec = Codec("p", DIGESTS)
    for _ in range(2):
        for number in range(10_000):
            assert codec.keys.tag(f"t{number}") == b"{p:t%d}" % number
    assert codec.queue_length("t9", "q") == Codec("p", DIGESTS).queue_length("t9", "q")


@pytest.mark.parametrize(
    "row", [(), ("mail", "bob", "j1"), (*NewJob("mail", "bob", "j1", b"1", 0, -1), 9), ["mail"] * 8]
)
def test_a_row_of_another_size_is_refused(row: Any) -> None:
    for call in (
        lambda: CODEC.enqueue("mail", [row]),
        lambda: CODEC.finish_many("mail", [row], 1, 1),
    ):
        with pytest.raises(TypeError, match="expected a tuple of"):
            call()


@cases("lead", range(0x80, 0x100))
def test_utf_8_is_told_as_python_tells_it(lead: int) -> None:
    """Each lead byte with the second bytes at the edges, and one byte more or less."""
    for second in (0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0):
        for more in range(4):
            text = bytes([0x22, lead, second, *[0x80] * more, 0x22])
            try:
                text.decode()
            except UnicodeDecodeError:
                assert json_value(text, 0) is None
            else:
                assert json_value(text, 0) == text
