"""JSON Schemas of what operators are shown. Pure."""

from __future__ import annotations

from typing import Final

from sharq_server.api import bodies
from sharq_server.api.doctor import LEVELS
from sharq_server.api.schemas import (
    COUNT,
    COUNTS,
    CURSOR,
    DEATH,
    FLAG,
    HELD_BY,
    INTERVAL,
    LAST_ERROR,
    LIMIT,
    NAME,
    SINCE,
    STATE,
    SUCCESS,
    TEXT,
    WORKER,
    Schema,
    integer,
    or_null,
    record,
    word,
)


def _limits(values: Schema, more: Schema | None = None) -> Schema:
    """The limits in force at a level, by the fields that it has, and `more` of it."""
    setter: Schema = {"enum": ["enqueue", "api", None]}
    return record(
        {
            "status": SUCCESS,
            "limits": record({name: or_null(schema) for name, schema in values.items()}),
            "set_by": record(dict.fromkeys(values, setter)),
            "reason": or_null(TEXT),
            "tat": {"type": ["number", "null"], "description": "Epoch, in ms."},
            "active": COUNT,
            **(more or {}),
            "pause": {
                "oneOf": [
                    {"type": "null"},
                    record(
                        {
                            "until": {
                                "type": ["number", "null"],
                                "description": "Epoch, in ms; null: until resumed.",
                            },
                            "reason": or_null(TEXT),
                            "set_by": word("api", "worker"),
                        }
                    ),
                ]
            },
            "held_by": HELD_BY,
            "ready_in": {
                **or_null(COUNT),
                "description": "ms until the limits allow; null: a finish or a resume decides.",
            },
        }
    )


_VALUES: Final[Schema] = {"interval": INTERVAL, "burst": LIMIT, "concurrency": LIMIT}
_DRAINS: Final[Schema] = {**or_null(COUNT), "description": "ms; null: finishes decide."}


SHOWN: Final[dict[str, Schema]] = {
    "JobStatus": record(
        {"status": SUCCESS, "state": STATE},
        {
            "position": COUNT,
            "ready_in": or_null(COUNT),
            "eta": or_null(COUNT),
            "held_by": HELD_BY,
            "estimated": FLAG,
            "lease_expires_in": COUNT,
            "attempt": {**COUNT, "description": "Of the next delivery, or of this one."},
            "reason": DEATH,
            "attempts": COUNT,
            "error": LAST_ERROR,
            "worker": WORKER,
            "first_failed_at": SINCE,
            "died_at": SINCE,
            "payload": {"description": "As it was enqueued."},
            "lease": TEXT,
        },
    ),
    "LeasePage": record(
        {
            "status": SUCCESS,
            "leases": {
                "type": "array",
                "items": record(
                    {
                        "job_id": NAME,
                        "lease": TEXT,
                        "ends_in": {**COUNT, "description": "ms until the lease ends."},
                        "attempt": COUNT,
                    }
                ),
            },
            "cursor": CURSOR,
        }
    ),
    "Recounted": record(
        {
            "status": SUCCESS,
            "waiting": {"type": "integer", "description": "How many more wait than was counted."},
            "delayed": {"type": "integer"},
            "exact": FLAG,
        }
    ),
    "Overview": record(
        {
            "status": SUCCESS,
            "queue_types": {"type": "array", "items": NAME, "uniqueItems": True},
            "enqueue_counts": COUNTS,
            "dequeue_counts": COUNTS,
        },
        {
            "complete": {"const": False, "description": "Nodes of the cluster are away."},
            "unreached_types": {"type": "array", "items": NAME, "uniqueItems": True},
        },
    ),
    "QueueIds": record(
        {
            "status": SUCCESS,
            "queue_ids": {"type": "array", "items": NAME, "uniqueItems": True},
            "held_by": HELD_BY,
            "ready_in": or_null(COUNT),
            "waiting": COUNT,
            "delayed": COUNT,
            "active": COUNT,
            "ready": {**COUNT, "description": "Queues that may go now; a group counts as one."},
            "held": {**COUNT, "description": "Queues that have to wait."},
            "oldest_ready": {
                **or_null(COUNT),
                "description": "ms for which the first of the ready queues has waited.",
            },
            "early": {**COUNT, "description": "Jobs that went before their rate allowed it: 0."},
            "enqueue_counts": COUNTS,
            "dequeue_counts": COUNTS,
            "finish_counts": COUNTS,
            "dead": record(
                {
                    "jobs": COUNT,
                    "bytes": COUNT,
                    "oldest": {**or_null(COUNT), "description": "Its death: epoch, in ms."},
                    "fallen_out": COUNT,
                    "dropped": COUNT,
                }
            ),
        },
        {"cursor": CURSOR},
    ),
    "JobPage": record(
        {
            "status": SUCCESS,
            "jobs": {
                "type": "array",
                "maxItems": bodies.MAX_DEQUEUED,
                "items": record(
                    {
                        "job_id": NAME,
                        "payload": {"description": "As it was enqueued."},
                        "requeues_remaining": integer(-1),
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
    "QueueMetrics": record(
        {
            "status": SUCCESS,
            "queue_length": COUNT,
            "enqueue_counts": COUNTS,
            "dequeue_counts": COUNTS,
            "interval": or_null(INTERVAL),
            "interval_set_by": {"enum": ["enqueue", "api", None]},
            "active_count": COUNT,
            "next_ready_in": or_null(COUNT),
            "held_by": HELD_BY,
            "ready_in": or_null(COUNT),
            "early": {**COUNT, "description": "Jobs that went before their rate allowed it: 0."},
        }
    ),
    "Findings": record(
        {
            "status": SUCCESS,
            "version": TEXT,
            "at": {**COUNT, "description": "Epoch, in ms, by the server's clock."},
            "findings": {
                "type": "array",
                "items": record(
                    {
                        "check": TEXT,
                        "level": word(*LEVELS),
                        "found": {**TEXT, "description": "What is so, for people."},
                        "do": {**or_null(TEXT), "description": "What to do about it."},
                    }
                ),
            },
        }
    ),
    "Shards": record(
        {"status": SUCCESS, "shards": {**COUNT, "description": "1: the type is not spread."}}
    ),
    "ShardsSet": record({"status": SUCCESS, "shards": COUNT, "shards_before": COUNT}),
    "Limits": _limits(_VALUES),
    "LimitsOfQueue": _limits({**_VALUES, "group": NAME}, {"queue_length": COUNT}),
    "LimitsSet": record(
        {"status": SUCCESS},
        {"drains_in": _DRAINS, "drained_in_before": _DRAINS, "estimated": FLAG},
    ),
}
