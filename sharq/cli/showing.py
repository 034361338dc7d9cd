"""What answers say of limits, jobs and dead letters, as names and values for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sharq.cli.rest import value
from sharq.cli.words import duration, json_line, moment, shown

Facts = Iterator[tuple[str, str]]

_NEVER = "when a finish or a resume lets it"


def facts_of_limits(fields: Mapping[str, bytes]) -> Facts:
    """The limits of a queue, a group or a type, from the answer of its route."""
    if "queue_length" in fields:
        yield "waiting", shown(value(fields, "queue_length"))
    yield "leased", shown(value(fields, "active"))
    held_by = value(fields, "held_by")
    yield "held by", shown(held_by)
    if held_by is not None:
        yield "may go in", _until(value(fields, "ready_in"))
    limits, set_by = value(fields, "limits"), value(fields, "set_by")
    for name, each in limits.items():
        told = duration(each) if name == "interval" else shown(each)
        by = set_by.get(name)
        yield name, told if by is None else f"{told} (set by {by})"
    if value(fields, "reason") is not None:
        yield "reason", value(fields, "reason")
    pause = value(fields, "pause")
    if pause is not None:
        until = "resumed" if pause["until"] is None else moment(pause["until"])
        why = f": {pause['reason']}" if pause["reason"] else ""
        yield "paused until", f"{until} (set by {pause['set_by']}){why}"


def facts_of_job(fields: Mapping[str, bytes]) -> Facts:
    """The state of a job, from the answer of its route."""
    yield "state", shown(value(fields, "state"))
    if "position" in fields:
        about = "about " if value(fields, "estimated") else ""
        yield "jobs before it", shown(value(fields, "position"))
        yield "queue's turn in", _until(value(fields, "ready_in"))
        yield "dispatched in", about + _until(value(fields, "eta"))
        yield "held by", shown(value(fields, "held_by"))
    if "lease_expires_in" in fields:
        yield "lease ends in", duration(value(fields, "lease_expires_in"))
    if "attempt" in fields:
        yield "attempt", shown(value(fields, "attempt"))
    yield from facts_of_failure(fields)


def facts_of_failure(fields: Mapping[str, bytes]) -> Facts:
    """Why and when a job has failed, as far as that is told."""
    for name in ("reason", "attempts"):
        if name in fields:
            yield name, shown(value(fields, name))
    for name, told in (("first_failed_at", "first failed"), ("died_at", "died")):
        if name in fields:
            yield told, moment(value(fields, name))
    if value(fields, "worker") is not None:
        yield "worker", shown(value(fields, "worker"))
    error: dict[str, Any] | None = value(fields, "error")
    if error:
        yield "error", error_of(error)
        if error.get("trace"):
            yield "trace", error["trace"]


def facts_of_letter(fields: Mapping[str, bytes]) -> Facts:
    """A dead letter, whole."""
    yield "queue", shown(value(fields, "queue_id"))
    yield "job", shown(value(fields, "job_id"))
    yield from facts_of_failure(fields)
    yield "payload", json_line(fields["payload"])
    for name in ("priority", "cost", "requeue_limit"):
        yield name.replace("_", " "), shown(value(fields, name))
    yield "interval", duration(value(fields, "interval"))
    for name in ("burst", "concurrency", "group"):
        if value(fields, name) is not None:
            yield name, shown(value(fields, name))


def error_of(error: Mapping[str, str] | None) -> str:
    """An error in a line, as Python writes it: its type and its message."""
    told = [error[name] for name in ("type", "message") if error.get(name)] if error else []
    return ": ".join(told) or "-"


def _until(milliseconds: float | None) -> str:
    return _NEVER if milliseconds is None else duration(milliseconds)
