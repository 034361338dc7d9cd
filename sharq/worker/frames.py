"""The frames of push as a worker sees them: docs/push-protocol.md. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from sharq.codec import json_text

PROTOCOL: Final = "sharq.v1.json"
MOST_LEASES: Final = 1000
"""Leases that one frame names, at most."""

OPERATIONS: Final = ("dequeue", "finish", "release", "extend")
"""The operations that a worker's token should allow; subscribing needs dequeue."""

UNKNOWN: Final = "unknown"
"""The `outcome` of an error after which a frame may have been carried out."""

encode: Final = msgspec.json.Encoder().encode


class Welcome(msgspec.Struct, tag_field="event", tag="welcome"):
    server_time: int
    heartbeat: int
    operations: list[str] | None = None


class JobFields(msgspec.Struct):
    queue_id: str
    job_id: str
    payload: msgspec.Raw
    requeues_remaining: int
    attempt: int
    lease: str
    lease_ms: int
    interval: int | float = 0
    """In ms, with decimals if it is not whole; 0 also if the server does not send it."""
    burst: int = 1


class Jobs(msgspec.Struct, tag_field="event", tag="jobs"):
    queue_type: str
    server_time: int
    jobs: list[JobFields]


class Reply(msgspec.Struct, tag_field="event", tag="reply"):
    id: int | None = None
    results: list[Any] | None = None
    dead: list[int] = []


class Error(msgspec.Struct, tag_field="event", tag="error"):
    code: str
    message: str = ""
    id: int | None = None
    outcome: str = ""


class Expired(msgspec.Struct, tag_field="event", tag="expired"):
    leases: list[str]


class Paused(msgspec.Struct, tag_field="event", tag="paused"):
    code: str


class Resumed(msgspec.Struct, tag_field="event", tag="resumed"):
    pass


class TypesAway(msgspec.Struct, tag_field="event", tag="types_away"):
    code: str
    queue_types: list[str]


class TypesBack(msgspec.Struct, tag_field="event", tag="types_back"):
    queue_types: list[str]


class Draining(msgspec.Struct, tag_field="event", tag="draining"):
    after_ms: int


class Pong(msgspec.Struct, tag_field="event", tag="pong"):
    server_time: int
    id: int | None = None


Event = (
    Welcome
    | Jobs
    | Reply
    | Error
    | Expired
    | Paused
    | Resumed
    | TypesAway
    | TypesBack
    | Draining
    | Pong
)

_decoder: Final = msgspec.json.Decoder(Event)


def decode(text: str | bytes) -> Event | None:
    """The event of a frame, or None if this version does not know it."""
    try:
        event: Event = _decoder.decode(text)
    except msgspec.DecodeError:
        return _with_odd_payloads(text)
    return event


def _with_odd_payloads(text: str | bytes) -> Event | None:
    """The jobs of a frame with payloads that msgspec cannot even skip."""
    data = text.encode() if isinstance(text, str) else text
    fields = json_text.fields_of(data) or {}
    jobs = json_text.items_of(fields.pop("jobs", b""), len(data))
    if jobs is None:
        return None
    try:
        frame = {name: json_text.read(value) for name, value in fields.items()}
        frame["jobs"] = [_job_of(json_text.fields_of(job) or {}) for job in jobs]
        return msgspec.convert(frame, type=Jobs)
    except (ValueError, RecursionError):
        return None


def _job_of(fields: dict[str, bytes]) -> dict[str, Any]:
    return {
        name: msgspec.Raw(value) if name == "payload" else json_text.read(value)
        for name, value in fields.items()
    }


def chunks(leases: Sequence[str]) -> list[Sequence[str]]:
    """The leases in parts, one for each frame."""
    return [leases[at : at + MOST_LEASES] for at in range(0, len(leases), MOST_LEASES)]


class ServerClock:
    """The server's clock by this process' monotonic one, from the times in its frames.

    A time that came one way is late by the time of its transmission; of those in answers, the one
    with the shortest round trip is the best (as in RFC 5905, section 8). In seconds.
    """

    def __init__(self) -> None:
        self._offset: float | None = None
        self._round_trip = float("inf")

    def one_way(self, server_ms: int, now: float) -> None:
        """Note a time that the server has sent, if nothing better is known."""
        if self._offset is None:
            self._offset = server_ms / 1000 - now

    def there_and_back(self, server_ms: int, sent: float, now: float) -> None:
        """Note the server's time in the answer to what was `sent`."""
        round_trip = now - sent
        # The best one becomes outdated, since clocks drift.
        self._round_trip *= 1.1
        if round_trip <= self._round_trip:
            self._round_trip = round_trip
            self._offset = server_ms / 1000 - (sent + now) / 2

    def local(self, server_ms: int, now: float) -> float:
        """A time of the server by this process' clock; never later than `now`."""
        if self._offset is None:
            return now
        return min(now, server_ms / 1000 - self._offset)


def credits_of(weights: dict[str, int], capacity: int) -> dict[str, int]:
    """The credit of each type: `capacity` for the highest weight, a share of it for others."""
    heaviest = max(weights.values())
    return {
        queue_type: max(1, round(capacity * weight / heaviest))
        for queue_type, weight in weights.items()
    }
