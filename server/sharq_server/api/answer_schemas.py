"""JSON Schemas of the REST API's answers, for its description. Fields may be added. Pure."""

from __future__ import annotations

from typing import Final

from sharq_server.api import bodies
from sharq_server.api.dead_schemas import DEAD
from sharq_server.api.replies import STATUS_OF_CODE
from sharq_server.api.schemas import (
    COUNT,
    LEASE,
    NAME,
    SUCCESS,
    TEXT,
    Schema,
    integer,
    or_null,
    record,
    word,
)
from sharq_server.api.shown_schemas import SHOWN

_LEASED: Final[Schema] = {
    "queue_id": NAME,
    "job_id": NAME,
    "payload": {"description": "As it was enqueued."},
    "requeues_remaining": integer(-1),
    "current_queue_length": COUNT,
    "lease": LEASE,
}

_NAMES: Final[Schema] = {"type": "array", "items": TEXT, "uniqueItems": True}
_NODES: Final[Schema] = {
    **record({"up": _NAMES, "down": _NAMES}),
    "description": "The nodes of a cluster that take writes, and those that take none.",
}


ANSWERS: Final[dict[str, Schema]] = {
    "Failure": record(
        {"status": word("failure"), "message": TEXT, "code": word(*STATUS_OF_CODE)},
        {
            "outcome": word("unknown"),
            "expected": {**TEXT, "description": "What would be valid, for people."},
            "request_id": TEXT,
            "id": {**TEXT, "description": "Of the bulk that is running."},
            "nodes": _NODES,
            "current_queue_length": COUNT,
            "room_in": {
                **COUNT,
                "description": "ms until the rate has made room, at the earliest.",
            },
            "ready_in": {
                **or_null(COUNT),
                "description": "ms until the next job of the type is due; null: none is scheduled.",
            },
        },
    ),
    "Hello": record({"message": TEXT}),
    "Description": record(
        {"openapi": TEXT, "info": {"type": "object"}, "paths": {"type": "object"}}
    ),
    "Done": record({"status": SUCCESS}),
    "Works": record(
        {"status": SUCCESS},
        {"warnings": {"type": "array", "minItems": 1, "items": TEXT}, "nodes": _NODES},
    ),
    "Queued": record(
        {"status": word("queued")}, {"duplicate": {"const": True}, "current_queue_length": COUNT}
    ),
    "Results": record(
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
    "Job": record({"status": SUCCESS, **_LEASED}),
    "Jobs": record(
        {
            "status": SUCCESS,
            "jobs": {
                "type": "array",
                "minItems": 1,
                "maxItems": bodies.MAX_DEQUEUED,
                "items": record(_LEASED),
            },
        }
    ),
    "Released": record({"status": SUCCESS, "state": word("queued", "dead")}),
    "Extended": record({"status": SUCCESS, "lease_expires_in": COUNT}),
    "Cleared": record({"status": word("Success", "Failure"), "message": TEXT}),
    **DEAD,
    **SHOWN,
}
