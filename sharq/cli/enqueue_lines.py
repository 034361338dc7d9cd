"""Jobs from JSON lines, enqueued by the bulk route."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, Final, NamedTuple

from sharq.cli import printing
from sharq.cli.problems import DONE, REFUSED, NoAnswer, Problem, Refused, WrongUsage
from sharq.cli.progress import Bar
from sharq.cli.rest import Server, object_of, text_of, value
from sharq.cli.words import visible
from sharq.codec import json_text
from sharq.errors import BadArgumentException, NotJson, SharqException

_MOST_JOBS: Final = 1000
_MOST_BYTES: Final = 4 * 1024 * 1024
"""Text of the jobs of a request, beyond which no further one is added."""

_TOO_LARGE: Final = 413
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class Job(NamedTuple):
    """A job's name and its text, from the line of that number."""

    number: int
    job_id: bytes
    text: bytes


class Counts:
    """What became of the lines; each that was refused is told at once."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self.queued = 0
        self.duplicates = 0
        self.refused = 0

    @property
    def lines(self) -> int:
        return self.queued + self.duplicates + self.refused

    def add(self, job: Job, result: bytes) -> None:
        """Count the result of a job, which is JSON text."""
        fields = json_text.fields_of(result) or {}
        if value(fields, "status") != "queued":
            told = f"{value(fields, 'message')}".rstrip(".")
            expected = value(fields, "expected")
            self._refuse(job.number, f"{told}; expected {expected}" if expected else told)
        elif value(fields, "duplicate"):
            self.duplicates += 1
        else:
            self.queued += 1
        if self._as_json:
            named = {"line": str(job.number).encode(), "job_id": job.job_id}
            printing.document(object_of({**named, **fields}))

    def skip(self, number: int, error: SharqException) -> None:
        """Count a line that was not sent."""
        self._refuse(number, str(error))
        if self._as_json:
            code = "not_json" if isinstance(error, NotJson) else "invalid_argument"
            failed = {"status": "failure", "message": str(error), "code": code}
            printing.document(text_of({"line": number, **failed}))

    def _refuse(self, number: int, reason: str) -> None:
        self.refused += 1
        printing.note(f"sharq enqueue: line {number}: {reason.rstrip('.')}.")


def run(server: Server, defaults: Mapping[str, bytes], lines: BinaryIO, *, as_json: bool) -> int:
    """Enqueue the job of each line; `defaults` are fields that a line may leave out.

    The exit code is `REFUSED` where a line was. Raises `Problem`, which says what is queued, and
    `WrongUsage` where there is no line.
    """
    counts = Counts(as_json)
    sent = 0
    try:
        with Bar("jobs") as bar:
            for jobs in _requests(_jobs(lines, defaults, counts)):
                _send(server, jobs, counts)
                sent += len(jobs)
                bar.show(*(_read_of(lines) or (counts.lines, None)))
    except Problem as problem:
        if sent:
            problem.args = (f"{problem} {_said(counts)} before it.",)
        raise
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Stopped. {_said(counts)} before it.") from None
    if not counts.lines:
        raise WrongUsage("The standard input has no job.")
    if not as_json:
        printing.line(f"{_said(counts)}.")
    return REFUSED if counts.refused else DONE


def check_json(noun: str, text: bytes) -> None:
    """Raise `WrongUsage` for what is not one JSON value.

    A number that is too large, or nesting that is too deep, is JSON: the server judges it.
    """
    refusal = json_text.refusal(noun, text, json_text.MAX_DEPTH)
    if refusal is None:
        return
    # One value by its quotes, brackets and commas, whatever else is wrong with it.
    parts = json_text.items_of(b"[%s]" % text, 2)
    if isinstance(refusal, NotJson) or parts is None or len(parts) != 1:
        raise WrongUsage(str(refusal))


def _jobs(lines: BinaryIO, defaults: Mapping[str, bytes], counts: Counts) -> Iterator[Job]:
    """The jobs of the lines; those that are none are told. Empty lines are left out."""
    for number, line in enumerate(lines, 1):
        text = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
        text = text.strip(b" \t\r\n")
        if text:
            try:
                yield _job(number, text, defaults)
            except SharqException as error:
                counts.skip(number, error)


def _job(number: int, text: bytes, defaults: Mapping[str, bytes]) -> Job:
    refusal = json_text.refusal("It", text)
    if refusal is not None:
        raise refusal
    fields = json_text.fields_of(text)
    if fields is None:
        raise BadArgumentException("It is no JSON object.")
    unknown = [name for name in fields if not name.isidentifier() or not name.isascii()]
    if unknown:
        raise BadArgumentException(f"`{visible(unknown[0][:100])}` is not a known parameter.")
    job = {**defaults, **fields}
    job_id = job.setdefault("job_id", text_of(uuid.uuid4().hex))
    return Job(number, job_id, object_of(job))


def _requests(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    some: list[Job] = []
    size = 0
    for job in jobs:
        if some and size + len(job.text) > _MOST_BYTES:
            yield some
            some, size = [], 0
        some.append(job)
        size += len(job.text)
        if len(some) == _MOST_JOBS:
            yield some
            some, size = [], 0
    if some:
        yield some


def _send(server: Server, jobs: list[Job], counts: Counts) -> None:
    body = b'{"jobs": [%s]}' % b", ".join(job.text for job in jobs)
    where = f"lines {jobs[0].number} to {jobs[-1].number}"
    try:
        answer = server.ask("POST", "enqueue", body=body)
    except Refused as refused:
        if refused.status != _TOO_LARGE:
            raise Refused(f"{where}: {refused}", refused.status, refused.word) from None
        if len(jobs) > 1:
            # A server may take less at a time than most do.
            half = len(jobs) // 2
            _send(server, jobs[:half], counts)
            _send(server, jobs[half:], counts)
        else:
            failed = {"status": "failure", "message": str(refused), "code": refused.word}
            counts.add(jobs[0], text_of(failed))
        return
    except NoAnswer as problem:
        raise NoAnswer(f"{where}: {problem}") from None
    results = answer.items("results")
    if len(results) != len(jobs):
        raise NoAnswer(f"{where}: the answer has {len(results)} results.")
    for job, result in zip(jobs, results, strict=True):
        counts.add(job, result)


def _said(counts: Counts) -> str:
    parts = [f"{counts.queued:,} queued"]
    if counts.duplicates:
        parts.append(f"{counts.duplicates:,} queued already")
    if counts.refused:
        parts.append(f"{counts.refused:,} refused")
    return ", ".join(parts)


def _read_of(lines: BinaryIO) -> tuple[int, int] | None:
    """How far a file is read, and how long it is, in bytes; None for what is no file."""
    try:
        about = os.fstat(lines.fileno())
        return (lines.tell(), about.st_size) if stat.S_ISREG(about.st_mode) else None
    except OSError:
        return None
