"""JSON Schemas of what is answered about dead letters. Pure."""

from __future__ import annotations

from typing import Final

from sharq.identifiers import MAX_PRIORITY
from sharq_server.api import bodies
from sharq_server.api.schemas import (
    COUNT,
    CURSOR,
    DEATH,
    INTERVAL,
    LAST_ERROR,
    LIMIT,
    NAME,
    SINCE,
    SUCCESS,
    TEXT,
    WORKER,
    Schema,
    integer,
    or_null,
    record,
    word,
)

_LETTER: Final[Schema] = {
    "queue_id": NAME,
    "job_id": NAME,
    "payload": {"description": "As it was enqueued."},
    "reason": DEATH,
    "attempts": COUNT,
    "first_failed_at": SINCE,
    "died_at": SINCE,
    "error": LAST_ERROR,
    "worker": WORKER,
    "priority": integer(0, MAX_PRIORITY),
    "cost": LIMIT,
    "requeue_limit": integer(-1),
    "interval": INTERVAL,
    "burst": or_null(LIMIT),
    "concurrency": or_null(LIMIT),
    "group": or_null(NAME),
}


DEAD: Final[dict[str, Schema]] = {
    "DeadLetter": record({"status": SUCCESS, **_LETTER}),
    "DeadPage": record(
        {
            "status": SUCCESS,
            "jobs": {"type": "array", "maxItems": bodies.MAX_DEQUEUED, "items": record(_LETTER)},
            "cursor": CURSOR,
        }
    ),
    "DeadChanged": record(
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
    "BulkBegun": record({"status": SUCCESS, "id": TEXT}),
    "BulkProgress": record(
        {
            "status": SUCCESS,
            "bulk": {
                "oneOf": [
                    {"type": "null"},
                    record(
                        {
                            "id": TEXT,
                            "kind": word("retry", "delete"),
                            "filter": or_null(
                                record(
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
                            "started": SINCE,
                            "moved": COUNT,
                            "left": COUNT,
                            "conflicts": COUNT,
                            "limit": or_null(integer(1)),
                        }
                    ),
                ]
            },
        }
    ),
}
