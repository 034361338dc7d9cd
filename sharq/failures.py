"""What a job failed with: checked and cut on its way in, and as a word in the store. Pure.

The word is compact JSON in which 0x1f stands for each space: JSON text has no such byte of its own,
so the word has no white space, and its length is that of the text. Only this module reads it.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from sharq.identifiers import ascii_word, invalid, unknown
from sharq.results import JobError

MAX_TYPE: Final = 100
"""Characters of an error's type, at most."""

MAX_MESSAGE: Final = 1_000
"""Bytes of an error's message in UTF-8, at most."""

MAX_TRACE: Final = 8_192
"""Bytes of an error's trace in UTF-8, at most."""

MAX_WORKER: Final = 100
"""Characters of a worker's name, at most."""

_SPACE: Final = " "
_STAND_IN: Final = "\x1f"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, str]).decode


def check_error(value: Any) -> JobError | None:
    """An error that was told: an exception, a `JobError`, or a mapping with some of its fields.

    None is none. What is too long is cut at the end of a character. Raises `BadArgumentException`
    for anything that is no text, and for other fields.
    """
    if value is None:
        return None
    if isinstance(value, BaseException):
        value = error_of(value)
    if isinstance(value, JobError):
        value = value._asdict()
    if not isinstance(value, Mapping):
        raise invalid("error")
    for name in value:
        if name not in JobError._fields:
            raise unknown(f"error.{name}")
    texts = [value.get(name) for name in JobError._fields]
    if any(text is not None and not isinstance(text, str) for text in texts):
        raise invalid("error")
    error_type, message, trace = texts
    told = JobError(
        None if error_type is None else _well_formed(error_type)[:MAX_TYPE],
        _cut(message, MAX_MESSAGE),
        _cut(trace, MAX_TRACE),
    )
    return None if told == JobError() else told


def error_of(failure: BaseException) -> JobError:
    """What an exception tells of itself; of a long trace the end, where it was raised.

    It may be a strange one: nothing that its own methods raise gets out of here.
    """
    kind = type(failure)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    message = trace = ""
    with suppress(BaseException):
        message = str(failure)
    with suppress(BaseException):
        trace = "".join(traceback.format_exception(failure))
    data = _well_formed(trace).encode()
    if len(data) > MAX_TRACE:
        trace = "…" + data[len("…".encode()) - MAX_TRACE :].decode("utf-8", "ignore")
    return JobError(f"{module}{kind.__qualname__}", message, trace)


def check_worker(value: Any) -> str | None:
    """The name of a worker: a text of 1 to 100 printable characters; None is none.

    Raises `BadArgumentException`.
    """
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_WORKER or not value.isprintable():
        raise invalid("worker", f"a text of 1 to {MAX_WORKER} printable characters")
    return str.__str__(value)


def worker_word(worker: str | None) -> str:
    """A name as a word of ASCII; empty for none."""
    return "" if worker is None else ascii_word(worker)


def fields_of(error: JobError) -> dict[str, str]:
    """What an error tells, without what it does not."""
    return {name: text for name, text in error._asdict().items() if text is not None}


def error_word(error: JobError | None) -> str:
    """An error as the store keeps it; empty for none."""
    if error is None:
        return ""
    return _encode(fields_of(error)).decode().replace(_SPACE, _STAND_IN)


def type_word(error_type: str) -> str:
    """How the words of all errors of a type begin: up to the quotation mark behind it."""
    return error_word(JobError(error_type)).removesuffix("}")


def worker_of(word: bytes) -> str | None:
    """The name in a reply."""
    return unquote(word.decode()) or None


def error_in(word: bytes) -> JobError | None:
    """The error in a reply."""
    if not word:
        return None
    return JobError(**_decode(word.replace(_STAND_IN.encode(), _SPACE.encode())))


def _cut(text: str | None, most: int) -> str | None:
    if text is None:
        return None
    data = _well_formed(text).encode()
    return data[:most].decode("utf-8", "ignore")


def _well_formed(text: str) -> str:
    """The text with a question mark for each half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode()
