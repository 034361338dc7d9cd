"""JSON Schemas of the REST API's bodies, for its description. Pure.

An optional field that is null is absent, unless its description tells otherwise.
"""

from __future__ import annotations

from typing import Final

from sharq.endings import PAUSE_SCOPES
from sharq.identifiers import MAX_INTERVAL, MAX_PAUSE, MAX_PRIORITY, MAX_REASON_BYTES, MAX_SHARDS
from sharq_server.api import bodies
from sharq_server.api.schemas import (
    COUNT,
    DEATH,
    ERROR,
    FLAG,
    INTERVAL,
    LEASE,
    LIMIT,
    NAME,
    PURGE_ALL,
    TEXT,
    TIME,
    Schema,
    integer,
    or_null,
    record,
)

_JOB: Final[Schema] = {
    "job_id": NAME,
    "interval": {
        **INTERVAL,
        "description": "ms between two dispatches of the queue, at least; up to three decimals.",
    },
    "payload": {"description": "Any JSON value."},
}
_JOB_OPTIONS: Final[Schema] = {
    "requeue_limit": or_null(integer(-1)),
    "max_queued_length": or_null(COUNT),
    "burst": {**or_null(LIMIT), "description": "Dispatches of the queue at once; null: unset."},
    "concurrency": {
        **or_null(LIMIT),
        "description": "Leases of the queue at a time; null: unset.",
    },
    "group": {**or_null(NAME), "description": "The group of the queue; null: unset."},
    "cost": {**or_null(LIMIT), "description": "Intervals that the dispatch uses."},
    "priority": or_null(integer(0, MAX_PRIORITY)),
    "delay": or_null({**TIME, "description": "ms before which it is not dispatched."}),
}
_QUEUE: Final[Schema] = {"queue_type": NAME, "queue_id": NAME}

_REASON: Final[Schema] = {
    "type": "string",
    "maxLength": MAX_REASON_BYTES,
    "description": "For people; as bytes in UTF-8 no longer either.",
}
_LIMITS: Final[Schema] = {
    "interval": {
        **or_null(INTERVAL),
        "description": "ms between two dispatches, at least; null gives it back.",
    },
    "burst": {
        **or_null(LIMIT),
        "description": "Dispatches that may come at once; null gives it back.",
    },
    "concurrency": {
        **or_null(LIMIT),
        "description": "Leases at a time; null gives it back.",
    },
    "reason": or_null(_REASON),
}

_REAL_COST: Final[Schema] = {
    **or_null(LIMIT),
    "description": "The real cost of the dispatch, in intervals.",
}

BODIES: Final[dict[str, Schema]] = {
    "NewJob": record(
        _JOB,
        {
            **_JOB_OPTIONS,
            **{
                name: {**schema, "description": "As in the path."}
                for name, schema in _QUEUE.items()
            },
        },
        closed=True,
    ),
    "NewJobs": record(
        {
            "jobs": {
                "type": "array",
                "minItems": 1,
                "maxItems": bodies.MAX_JOBS,
                "items": {
                    "description": "A `NewJob` that names its queue; a wrong one fails alone.",
                    "examples": [
                        {
                            "queue_type": "sms",
                            "queue_id": "user-1",
                            "job_id": "job-1",
                            "interval": 1000,
                            "payload": {"to": "Ada"},
                        }
                    ],
                },
            }
        },
        closed=True,
    ),
    "Nothing": record({}, closed=True),
    "Finish": record({}, {"lease": or_null(LEASE), "cost": _REAL_COST}),
    "Release": record(
        {},
        {
            "lease": or_null(LEASE),
            "delay": or_null({**TIME, "description": "ms until it may be delivered again."}),
            "count_requeue": {
                **or_null(FLAG),
                "description": "Whether it counts as a delivery: true, or false with a pause.",
            },
            "cost": _REAL_COST,
            "pause": {
                **or_null(integer(1, MAX_PAUSE)),
                "description": "ms for which nothing more is dispatched.",
            },
            "pause_scope": {
                "enum": [*PAUSE_SCOPES, None],
                "description": "What the pause is for, by default the queue.",
            },
        },
        closed=True,
    ),
    "Fail": record(
        {},
        {
            "lease": or_null(LEASE),
            "error": {
                **or_null(
                    record({}, {name: or_null(TEXT) for name in ERROR}, closed=True),
                ),
                "description": "What it failed with; longer texts are cut.",
            },
            "retry": {
                **or_null(FLAG),
                "description": "Whether it may come again; else it is dead.",
            },
            "delay": or_null(
                {**TIME, "description": "ms until it may be delivered again; null: the backoff."}
            ),
            "cost": _REAL_COST,
            "pause": {
                **or_null(integer(1, MAX_PAUSE)),
                "description": "ms for which nothing more is dispatched of the queue.",
            },
            "worker": {**or_null(TEXT), "description": "The name of who failed."},
        },
        closed=True,
    ),
    "Selection": record(
        {},
        {
            "jobs": {
                "type": ["array", "null"],
                "minItems": 1,
                "maxItems": bodies.MAX_JOBS,
                "items": {
                    "type": "array",
                    "prefixItems": [NAME, NAME],
                    "minItems": 2,
                    "items": False,
                    "description": "`queue_id` and `job_id`.",
                },
                "description": "Those that are meant, by name; or:",
            },
            "filter": {
                **or_null(
                    record(
                        {},
                        {
                            "queue_id": or_null(NAME),
                            "reason": {"enum": [*DEATH["enum"], None]},
                            "error": or_null(TEXT),
                            "before": or_null(COUNT),
                        },
                        closed=True,
                    )
                ),
                "minProperties": 1,
                "description": "All that are so; or:",
            },
            "all": {"enum": [True, None], "description": "All."},
            "limit": {**or_null(integer(1)), "description": "So many of them, at most."},
        },
        closed=True,
    ),
    "Cancel": record({}, {"lease": or_null(LEASE)}, closed=True),
    "Extend": record(
        {"by": {**integer(1, MAX_INTERVAL), "description": "ms from now."}},
        {"lease": or_null(LEASE)},
        closed=True,
    ),
    "Interval": record({"interval": INTERVAL}),
    "NewShards": record({"shards": integer(1, MAX_SHARDS)}, closed=True),
    "NewLimits": {**record({}, _LIMITS, closed=True), "minProperties": 1},
    "NewLimitsOfQueue": {
        **record({}, {**_LIMITS, "group": or_null(NAME)}, closed=True),
        "minProperties": 1,
    },
    "Pause": record(
        {},
        {
            "for": or_null({**integer(1, MAX_INTERVAL), "description": "ms; null: until resumed."}),
            "reason": or_null(_REASON),
        },
        closed=True,
    ),
    "Clear": record({}, {"purge_all": {"enum": [*PURGE_ALL, None]}}),
}
