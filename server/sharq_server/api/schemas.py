"""The terms in which the schemas of bodies and answers are written. Pure."""

from __future__ import annotations

from typing import Any, Final

from sharq.identifiers import MAX_COUNT, MAX_INTERVAL, MAX_LIMIT

Schema = dict[str, Any]

_NAME: Final = "[A-Za-z0-9_-]{1,100}"


def integer(least: int, most: int = MAX_COUNT) -> Schema:
    """An integer in these bounds, which are in it."""
    return {"type": "integer", "minimum": least, "maximum": most}


def or_null(schema: Schema) -> Schema:
    """The same, or null."""
    return {**schema, "type": [schema["type"], "null"]}


def record(required: Schema, optional: Schema | None = None, *, closed: bool = False) -> Schema:
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
TIME: Final = integer(0, MAX_INTERVAL)
INTERVAL: Final[Schema] = {"type": "number", "minimum": 0, "maximum": MAX_INTERVAL}
LIMIT: Final = integer(1, MAX_LIMIT)
COUNT: Final = integer(0)
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

ERROR: Final[Schema] = {"type": TEXT, "message": TEXT, "trace": TEXT}
SINCE: Final[Schema] = {**COUNT, "description": "Epoch, in ms, by the store's clock."}
LAST_ERROR: Final[Schema] = {
    **or_null(record({}, ERROR)),
    "description": "The last error that was told.",
}
WORKER: Final[Schema] = {**or_null(TEXT), "description": "Who told of the last failure."}
