"""JSON Schemas of the REST API's bodies and answers, for its description. Pure."""

from __future__ import annotations

from typing import Any, Final

from sharq.endings import PAUSE_SCOPES
from sharq.identifiers import (
    MAX_COUNT,
    MAX_INTERVAL,
    MAX_LIMIT,
    MAX_PAUSE,
    MAX_PRIORITY,
    MAX_REASON_BYTES,
)
from sharq_server.api import bodies
from sharq_server.api.replies import STATUS_OF_CODE

Schema = dict[str, Any]

_NAME: Final = "[A-Za-z0-9_-]{1,100}"


def _integer(least: int, most: int = MAX_COUNT) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _object(required: Schema, optional: Schema | None = None, *, closed: bool = False) -> Schema:
    """An object by its fields; a `closed` one has no others."""
    schema: Schema = {"type": "object", "properties": {**required, **(optional or {})}}
    if required:
        schema["required"] = list(required)
    if closed:
        schema["additionalProperties"] = False
    return schema


def word(*words: str) -> Schema:
    """One of the words."""
    return {"const": words[0]} if len(words) == 1 else {"enum": list(words)}


SUCCESS: Final = word("success")
STATE: Final = word("queued", "active", "finished", "dead")
DEATH: Final = word("exhausted", "expired", "rejected")
TEXT: Final[Schema] = {"type": "string"}
FLAG: Final[Schema] = {"type": "boolean"}
PURGE_ALL: Final = (True, False, 1, 0, "true", "false", "1", "0")
NAME: Final[Schema] = {"type": "string", "pattern": f"^{_NAME}$"}
TIME: Final = _integer(0, MAX_INTERVAL)
INTERVAL: Final[Schema] = {"type": "number", "minimum": 0, "maximum": MAX_INTERVAL}
LIMIT: Final = _integer(1, MAX_LIMIT)
COUNT: Final = _integer(0)
LEASE: Final[Schema] = {
    "type": "string",
    "pattern": f"^{_NAME}/{_NAME}/{_NAME}/[0-9]{{1,19}}$",
    "description": "The token of a lease, of this job.",
}
COUNTS: Final[Schema] = {
    "type": "object",
    "patternProperties": {"^[0-9]+$": COUNT},
    "additionalProperties": False,
    "description": "Counts by the minute's epoch in ms.",
}
CURSOR: Final[Schema] = {
    "type": ["string", "null"],
    "description": "For the next page; null after the last.",
}

_HELD_BY: Final = (
    *("interval", "concurrency", "paused"),
    *(
        f"{level}_{what}"
        for level in ("group", "type")
        for what in ("interval", "concurrency", "paused")
    ),
)
HELD_BY: Final[Schema] = {
    "enum": [None, "nothing", "delay", *_HELD_BY],
    "description": "What holds back what waits; null: nothing waits.",
}

# What comes in. An optional field that is null is absent, unless its description tells otherwise.

_JOB: Final[Schema] = {
    "job_id": NAME,
    "interval": {
        **INTERVAL,
        "description": "ms between two dispatches of the queue, at least; up to three decimals.",
    },
    "payload": {"description": "Any JSON value."},
}
_JOB_OPTIONS: Final[Schema] = {
    "requeue_limit": _or_null(_integer(-1)),
    "max_queued_length": _or_null(COUNT),
    "burst": {**_or_null(LIMIT), "description": "Dispatches of the queue at once; null: unset."},
    "concurrency": {
        **_or_null(LIMIT),
        "description": "Leases of the queue at a time; null: unset.",
    },
    "group": {**_or_null(NAME), "description": "The group of the queue; null: unset."},
    "cost": {**_or_null(LIMIT), "description": "Intervals that the dispatch uses."},
    "priority": _or_null(_integer(0, MAX_PRIORITY)),
    "delay": _or_null({**TIME, "description": "ms before which it is not dispatched."}),
}
_QUEUE: Final[Schema] = {"queue_type": NAME, "queue_id": NAME}

_REASON: Final[Schema] = {
    "type": "string",
    "maxLength": MAX_REASON_BYTES,
    "description": "For people; as bytes in UTF-8 no longer either.",
}
_LIMITS: Final[Schema] = {
    "interval": {
        **_or_null(INTERVAL),
        "description": "ms between two dispatches, at least; null gives it back.",
    },
    "burst": {
        **_or_null(LIMIT),
        "description": "Dispatches that may come at once; null gives it back.",
    },
    "concurrency": {
        **_or_null(LIMIT),
        "description": "Leases at a time; null gives it back.",
    },
    "reason": _or_null(_REASON),
}

_REAL_COST: Final[Schema] = {
    **_or_null(LIMIT),
    "description": "The real cost of the dispatch, in intervals.",
}

_ERROR: Final[Schema] = {"type": TEXT, "message": TEXT, "trace": TEXT}

BODIES: Final[dict[str, Schema]] = {
    "NewJob": _object(
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
    "NewJobs": _object(
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
    "Nothing": _object({}, closed=True),
    "Finish": _object({}, {"lease": _or_null(LEASE), "cost": _REAL_COST}),
    "Release": _object(
        {},
        {
            "lease": _or_null(LEASE),
            "delay": _or_null({**TIME, "description": "ms until it may be delivered again."}),
            "count_requeue": {
                **_or_null(FLAG),
                "description": "Whether it counts as a delivery: true, or false with a pause.",
            },
            "cost": _REAL_COST,
            "pause": {
                **_or_null(_integer(1, MAX_PAUSE)),
                "description": "ms for which nothing more is dispatched.",
            },
            "pause_scope": {
                "enum": [*PAUSE_SCOPES, None],
                "description": "What the pause is for, by default the queue.",
            },
        },
        closed=True,
    ),
    "Fail": _object(
        {},
        {
            "lease": _or_null(LEASE),
            "error": {
                **_or_null(
                    _object({}, {name: _or_null(TEXT) for name in _ERROR}, closed=True),
                ),
                "description": "What it failed with; longer texts are cut.",
            },
            "retry": {
                **_or_null(FLAG),
                "description": "Whether it may come again; else it is dead.",
            },
            "delay": _or_null(
                {**TIME, "description": "ms until it may be delivered again; null: the backoff."}
            ),
            "cost": _REAL_COST,
            "pause": {
                **_or_null(_integer(1, MAX_PAUSE)),
                "description": "ms for which nothing more is dispatched of the queue.",
            },
            "worker": {**_or_null(TEXT), "description": "The name of who failed."},
        },
        closed=True,
    ),
    "Selection": _object(
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
                **_or_null(
                    _object(
                        {},
                        {
                            "queue_id": _or_null(NAME),
                            "reason": {"enum": [*DEATH["enum"], None]},
                            "error": _or_null(TEXT),
                            "before": _or_null(COUNT),
                        },
                        closed=True,
                    )
                ),
                "minProperties": 1,
                "description": "All that are so; or:",
            },
            "all": {"enum": [True, None], "description": "All."},
            "limit": {**_or_null(_integer(1)), "description": "So many of them, at most."},
        },
        closed=True,
    ),
    "Cancel": _object({}, {"lease": _or_null(LEASE)}, closed=True),
    "Extend": _object(
        {"by": {**_integer(1, MAX_INTERVAL), "description": "ms from now."}},
        {"lease": _or_null(LEASE)},
        closed=True,
    ),
    "Interval": _object({"interval": INTERVAL}),
    "NewLimits": {**_object({}, _LIMITS, closed=True), "minProperties": 1},
    "NewLimitsOfQueue": {
        **_object({}, {**_LIMITS, "group": _or_null(NAME)}, closed=True),
        "minProperties": 1,
    },
    "Pause": _object(
        {},
        {
            "for": _or_null(
                {**_integer(1, MAX_INTERVAL), "description": "ms; null: until resumed."}
            ),
            "reason": _or_null(_REASON),
        },
        closed=True,
    ),
    "Clear": _object({}, {"purge_all": {"enum": [*PURGE_ALL, None]}}),
}

# Outgoing frames. Fields may be added.


def _limits(values: Schema, more: Schema | None = None) -> Schema:
    """The limits in force at a level, by the fields that it has, and `more` of it."""
    setter: Schema = {"enum": ["enqueue", "api", None]}
    return _object(
        {
            "status": SUCCESS,
            "limits": _object({name: _or_null(schema) for name, schema in values.items()}),
            "set_by": _object(dict.fromkeys(values, setter)),
            "reason": _or_null(TEXT),
            "tat": {"type": ["number", "null"], "description": "Epoch, in ms."},
            "active": COUNT,
            **(more or {}),
            "pause": {
                "oneOf": [
                    {"type": "null"},
                    _object(
                        {
                            "until": {
                                "type": ["number", "null"],
                                "description": "Epoch, in ms; null: until resumed.",
                            },
                            "reason": _or_null(TEXT),
                            "set_by": word("api", "worker"),
                        }
                    ),
                ]
            },
            "held_by": HELD_BY,
            "ready_in": {
                **_or_null(COUNT),
                "description": "ms until the limits allow; null: a finish or a resume decides.",
            },
        }
    )


_VALUES: Final[Schema] = {"interval": INTERVAL, "burst": LIMIT, "concurrency": LIMIT}
_DRAINS: Final[Schema] = {**_or_null(COUNT), "description": "ms; null: finishes decide."}

_SINCE: Final[Schema] = {**COUNT, "description": "Epoch, in ms, by the store's clock."}
_LAST_ERROR: Final[Schema] = {
    **_or_null(_object({}, _ERROR)),
    "description": "The last error that was told.",
}
_WORKER: Final[Schema] = {**_or_null(TEXT), "description": "Who told of the last failure."}
_LETTER: Final[Schema] = {
    "queue_id": NAME,
    "job_id": NAME,
    "payload": {"description": "As it was enqueued."},
    "reason": DEATH,
    "attempts": COUNT,
    "first_failed_at": _SINCE,
    "died_at": _SINCE,
    "error": _LAST_ERROR,
    "worker": _WORKER,
    "priority": _integer(0, MAX_PRIORITY),
    "cost": LIMIT,
    "requeue_limit": _integer(-1),
    "interval": INTERVAL,
    "burst": _or_null(LIMIT),
    "concurrency": _or_null(LIMIT),
    "group": _or_null(NAME),
}

_LEASED: Final[Schema] = {
    "queue_id": NAME,
    "job_id": NAME,
    "payload": {"description": "As it was enqueued."},
    "requeues_remaining": _integer(-1),
    "current_queue_length": COUNT,
    "lease": LEASE,
}

ANSWERS: Final[dict[str, Schema]] = {
    "Failure": _object(
        {"status": word("failure"), "message": TEXT, "code": word(*STATUS_OF_CODE)},
        {
            "outcome": word("unknown"),
            "expected": {**TEXT, "description": "What would be valid, for people."},
            "request_id": TEXT,
            "id": {**TEXT, "description": "Of the bulk that is running."},
            "current_queue_length": COUNT,
            "room_in": {
                **COUNT,
                "description": "ms until the rate has made room, at the earliest.",
            },
            "ready_in": {
                **_or_null(COUNT),
                "description": "ms until the next job of the type is due; null: none is scheduled.",
            },
        },
    ),
    "Hello": _object({"message": TEXT}),
    "Description": _object(
        {"openapi": TEXT, "info": {"type": "object"}, "paths": {"type": "object"}}
    ),
    "Done": _object({"status": SUCCESS}),
    "Works": _object(
        {"status": SUCCESS}, {"warnings": {"type": "array", "minItems": 1, "items": TEXT}}
    ),
    "Queued": _object(
        {"status": word("queued")}, {"duplicate": {"const": True}, "current_queue_length": COUNT}
    ),
    "Results": _object(
        {
            "status": SUCCESS,
            "results": {
                "type": "array",
                "maxItems": bodies.MAX_JOBS,
                "items": {
                    "oneOf": [
                        {"$ref": "#/components/schemas/Queued"},
                        {"$ref": "#/components/schemas/Failure"},
                    ]
                },
            },
        }
    ),
    "Job": _object({"status": SUCCESS, **_LEASED}),
    "Jobs": _object(
        {
            "status": SUCCESS,
            "jobs": {
                "type": "array",
                "minItems": 1,
                "maxItems": bodies.MAX_DEQUEUED,
                "items": _object(_LEASED),
            },
        }
    ),
    "Released": _object({"status": SUCCESS, "state": word("queued", "dead")}),
    "Extended": _object({"status": SUCCESS, "lease_expires_in": COUNT}),
    "JobStatus": _object(
        {"status": SUCCESS, "state": STATE},
        {
            "position": COUNT,
            "ready_in": _or_null(COUNT),
            "eta": _or_null(COUNT),
            "held_by": HELD_BY,
            "estimated": FLAG,
            "lease_expires_in": COUNT,
            "attempt": {**COUNT, "description": "Of the next delivery, or of this one."},
            "reason": DEATH,
            "attempts": COUNT,
            "error": _LAST_ERROR,
            "worker": _WORKER,
            "first_failed_at": _SINCE,
            "died_at": _SINCE,
        },
    ),
    "DeadLetter": _object({"status": SUCCESS, **_LETTER}),
    "DeadPage": _object(
        {
            "status": SUCCESS,
            "jobs": {"type": "array", "maxItems": bodies.MAX_DEQUEUED, "items": _object(_LETTER)},
            "cursor": CURSOR,
        }
    ),
    "DeadChanged": _object(
        {
            "status": SUCCESS,
            "results": {
                "type": "array",
                "minItems": 1,
                "maxItems": bodies.MAX_JOBS,
                "items": word("success", "not_found", "conflict"),
            },
        }
    ),
    "BulkBegun": _object({"status": SUCCESS, "id": TEXT}),
    "BulkProgress": _object(
        {
            "status": SUCCESS,
            "bulk": {
                "oneOf": [
                    {"type": "null"},
                    _object(
                        {
                            "id": TEXT,
                            "kind": word("retry", "delete"),
                            "filter": _or_null(
                                _object(
                                    {},
                                    {
                                        "queue_id": NAME,
                                        "reason": DEATH,
                                        "error": TEXT,
                                        "before": COUNT,
                                    },
                                )
                            ),
                            "state": word("running", "done", "cancelled"),
                            "started": _SINCE,
                            "moved": COUNT,
                            "left": COUNT,
                            "conflicts": COUNT,
                            "limit": _or_null(_integer(1)),
                        }
                    ),
                ]
            },
        }
    ),
    "Overview": _object(
        {
            "status": SUCCESS,
            "queue_types": {"type": "array", "items": NAME, "uniqueItems": True},
            "enqueue_counts": COUNTS,
            "dequeue_counts": COUNTS,
        }
    ),
    "QueueIds": _object(
        {
            "status": SUCCESS,
            "queue_ids": {"type": "array", "items": NAME, "uniqueItems": True},
            "held_by": HELD_BY,
            "ready_in": _or_null(COUNT),
            "dead": _object(
                {
                    "jobs": COUNT,
                    "bytes": COUNT,
                    "oldest": {**_or_null(COUNT), "description": "Its death: epoch, in ms."},
                    "fallen_out": COUNT,
                    "dropped": COUNT,
                }
            ),
        },
        {"cursor": CURSOR},
    ),
    "JobPage": _object(
        {
            "status": SUCCESS,
            "jobs": {
                "type": "array",
                "maxItems": bodies.MAX_DEQUEUED,
                "items": _object(
                    {
                        "job_id": NAME,
                        "payload": {"description": "As it was enqueued."},
                        "requeues_remaining": _integer(-1),
                        "position": COUNT,
                    },
                    {
                        "estimated": {"const": True},
                        "due_in": {**COUNT, "description": "ms until a delayed job is due."},
                    },
                ),
            },
            "cursor": CURSOR,
        }
    ),
    "QueueMetrics": _object(
        {
            "status": SUCCESS,
            "queue_length": COUNT,
            "enqueue_counts": COUNTS,
            "dequeue_counts": COUNTS,
            "interval": _or_null(INTERVAL),
            "interval_set_by": {"enum": ["enqueue", "api", None]},
            "active_count": COUNT,
            "next_ready_in": _or_null(COUNT),
            "held_by": HELD_BY,
            "ready_in": _or_null(COUNT),
        }
    ),
    "Limits": _limits(_VALUES),
    "LimitsOfQueue": _limits({**_VALUES, "group": NAME}, {"queue_length": COUNT}),
    "LimitsSet": _object(
        {"status": SUCCESS},
        {"drains_in": _DRAINS, "drained_in_before": _DRAINS, "estimated": FLAG},
    ),
    "Cleared": _object({"status": word("Success", "Failure"), "message": TEXT}),
}
