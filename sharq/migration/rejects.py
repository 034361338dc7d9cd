"""The file of the jobs that cannot come: a line of JSON for each."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable
from typing import Any, BinaryIO, Final

from sharq.migration.jobs import WAITING, WITH_JSON, Coming

DEFAULT: Final = "sharq-rejects.jsonl"
"""The file where no other is named."""


class CannotWrite(Exception):
    """The file cannot be written; nothing was removed because of it."""


class Rejects:
    """A file that is made with the first line, and added to if it is there.

    A line that it has already is not written again: a migration that was killed writes its last
    ones twice.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self._written: set[bytes] = set()

    def write(self, kind: bytes, jobs: Iterable[Coming]) -> None:
        """Write jobs of a type; they are on the disk when it returns. Raises `CannotWrite`."""
        lines = [line_of(kind, job) for job in jobs]
        if not lines:
            return
        try:
            file = self._file or self._open()
            for line in lines:
                digest = hashlib.sha1(line).digest()
                if digest not in self._written:
                    file.write(line)
                    self._written.add(digest)
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            raise CannotWrite(f"{self.path} cannot be written: {error.strerror}.") from error

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _open(self) -> BinaryIO:
        file = open(self.path, "a+b")  # noqa: SIM115 - closed by `close`
        file.seek(0)
        whole = 0
        for line in file:
            if not line.endswith(b"\n"):
                # Cut off when its writer was killed; the job is still where it was.
                file.truncate(whole)
                break
            whole += len(line)
            self._written.add(hashlib.sha1(line).digest())
        self._file = file
        return file


def line_of(kind: bytes, job: Coming) -> bytes:
    """A line with all that is known of a job; a payload that is no JSON is in base64."""
    told: dict[str, Any] = {
        "queue_type": _text(kind),
        "queue_id": _text(job.queue),
        "job_id": _text(job.job),
        "reason": job.reason,
        "state": "waiting" if job.how == WAITING else "leased",
        "interval": job.interval,
        "requeues_remaining": job.requeues,
    }
    if job.ends:
        told["lease_ends"] = job.ends
    if job.reason in WITH_JSON:
        told["payload"] = json.loads(job.payload)
    elif job.payload:
        told["payload_base64"] = base64.b64encode(job.payload).decode()
    return json.dumps(told).encode() + b"\n"


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
