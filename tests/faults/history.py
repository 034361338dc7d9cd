"""What clients saw: one JSON object a line, each written when it happened.

    t      µs of CLOCK_MONOTONIC, comparable between the processes of one machine
    p      who: "producer-1", "rest-3"; on a websocket "push-2#4", where #4 is its number
    i      the number of the operation among those of `p`; its invoke and its end share it
    e      invoke, ok, fail (it was not carried out), unknown (it may have been), note
    op     what, with its own fields:
      enqueue           invoke: type, queue, job, interval, limit, payload. ok: duplicate
      dequeue           invoke: type, count, request_id. ok: jobs, a list of queue, job, n, payload,
                        left. fail: code, `nothing_ready` where no job was ready
      finish, extend    invoke: type, queue, job, n (0: whoever holds the lease)
      release           the same, with delay and count_requeue
      fail              the same, with delay (ms; left out for the backoff) and retry
      retry_dead        invoke: type, queue, job. ok: it was there. delete_dead: the same
      bulk              invoke: type, kind (retry, delete); a bulk of dead letters is begun
      bulk_progress     invoke: type. ok: kind, bulk (its id, "" for none), moved
      interval          invoke: type, queue, interval. reset_interval: type, queue
      clear             invoke: type, queue, purge. ok: removed (false: there was nothing)
      cancel            invoke: type, queue, job, n (0: it is to wait)
      limits, pause     invoke: type, queue (`=` and the name of a group, `=` for the type); a
                        resume is a pause, too
      deliver           note of a websocket: type, queue, job, n, payload, left; in a worker, of
                        a handler that has begun: with started (µs as t: when the worker had it so)
      subscribe, credit note of a websocket: type, credit; written before it is sent, or where it
                        is less than before, when it was answered
      expired           note of a websocket: leases (tokens) that were said to be over
      unsubscribe       note of a websocket: type
      open, close       note of a websocket
      stall             note: the process was late by so many ms
    Notes of p "faults" tell of faults: op is its name, phase is "begin" or "end", target the server
    that it was done to, where it was one; `recovered` says after how many ms (of the return of the
    store) a server worked again. What is done to nodes of a store of several (`is_of_node`) has
    `types`, those that the nodes have, and so have `promoted` (a node is a primary now; kind is the
    fault during which that was, "" for none), `able` (one takes writes), `returned` and `demoted`
    (one that was replaced is there again, and a replica).

An operation on many jobs is written as as many operations. `payload` is the JSON value. What has no
end may have been carried out, and what is `unknown` may still be. The checker leaves other fields
and operations of other names alone.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec


class Delivered(msgspec.Struct):
    """A job in the answer of a dequeue."""

    queue: str
    job: str
    n: int
    left: int
    payload: msgspec.Raw = msgspec.Raw(b"")


class Event(msgspec.Struct):
    """A line of the history; fields that its `op` does not have are at their defaults."""

    t: int
    p: str
    e: str
    op: str
    i: int = 0
    type: str = ""
    queue: str = ""
    job: str = ""
    n: int = 0
    payload: msgspec.Raw = msgspec.Raw(b"")
    left: int = -1
    interval: int = 0
    limit: int = -1
    count: int = 1
    request_id: str | None = None
    jobs: list[Delivered] = []
    code: str = ""
    duplicate: bool = False
    count_requeue: bool = True
    retry: bool = True
    delay: int | None = None
    kind: str = ""
    bulk: str = ""
    moved: int = 0
    purge: bool = False
    removed: bool = True
    credit: int = 0
    mode: str = "deliver"
    leases: list[str] = []
    phase: str = ""
    target: str = ""
    server: str = ""
    ms: int = 0
    wall: int = 0
    started: int = 0
    types: list[str] = []


class _Time(msgspec.Struct):
    t: int


_decoder = msgspec.json.Decoder(Event, strict=False)
_time_decoder = msgspec.json.Decoder(_Time)
_encoder = msgspec.json.Encoder()


def now_us() -> int:
    """CLOCK_MONOTONIC in µs."""
    return time.monotonic_ns() // 1000


class Recorder:
    """Writes the history of one process into a file of its own; for any number of threads.

    What is `buffered` is lost where the process is killed. The first line says where the two clocks
    stand, CLOCK_MONOTONIC and, as `wall`, the time of day in µs.
    """

    def __init__(self, folder: Path, process: str, buffered: bool = True) -> None:
        path = folder / f"history-{process}.jsonl"
        self._file = path.open("ab", buffering=1 << 20 if buffered else 0)
        self._lock = threading.Lock()
        self.write({"p": process, "e": "note", "op": "clock"}, {"wall": time.time_ns() // 1000})

    def client(self, name: str) -> Log:
        """The history of one client or connection."""
        return Log(self, name)

    def write(self, head: dict[str, Any], fields: dict[str, Any]) -> None:
        """Write a line. The lines of a file are in the order of their times."""
        with self._lock:
            self._file.write(_encoder.encode({"t": now_us(), **head, **fields}) + b"\n")

    def flush(self) -> None:
        """Let the system have what has been written."""
        with self._lock:
            self._file.flush()

    def close(self) -> None:
        """Write no more."""
        with self._lock:
            self._file.close()


class Log:
    """The operations of one client. Each ends once, or not at all where nobody saw its end."""

    def __init__(self, recorder: Recorder, p: str) -> None:
        self._recorder = recorder
        self._p = p
        self._numbers = itertools.count(1)

    def invoke(self, op: str, **fields: Any) -> int:
        """An operation begins, and its request is not on its way yet: its number."""
        i = next(self._numbers)
        self._write(i, "invoke", op, fields)
        return i

    def ok(self, i: int, op: str, **fields: Any) -> None:
        """It was carried out, and this was the answer."""
        self._write(i, "ok", op, fields)

    def fail(self, i: int, op: str, **fields: Any) -> None:
        """It was refused, and has changed nothing."""
        self._write(i, "fail", op, fields)

    def unknown(self, i: int, op: str, **fields: Any) -> None:
        """The answer was lost: it may have been carried out."""
        self._write(i, "unknown", op, fields)

    def note(self, op: str, **fields: Any) -> None:
        """Something that has no end."""
        self._recorder.write({"p": self._p, "e": "note", "op": op}, fields)

    def _write(self, i: int, e: str, op: str, fields: dict[str, Any]) -> None:
        self._recorder.write({"p": self._p, "i": i, "e": e, "op": op}, fields)


def read_history(path: Path) -> Iterator[Event]:
    """The lines of a file, in their order; one that was cut off at the end is left out."""
    decode = _decoder.decode
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield decode(line)


def merge(paths: Iterable[Path], into: Path) -> None:
    """Put the histories of processes together, in the order of their times."""

    def timed(path: Path) -> Iterator[tuple[int, bytes]]:
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield _time_decoder.decode(line).t, line

    with into.open("wb") as out:
        for _, line in heapq.merge(*map(timed, paths), key=lambda pair: pair[0]):
            out.write(line)
