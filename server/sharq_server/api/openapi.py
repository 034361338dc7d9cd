"""The description of the REST API, an OpenAPI 3.1 document.

This module describes what each route takes and answers. The route table says which routes there
are, and a test compares the two. Statuses and codes of errors are those of `replies`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from sharq import __version__
from sharq_server.api import bodies
from sharq_server.api import schemas as api_schemas
from sharq_server.api.answer_schemas import ANSWERS
from sharq_server.api.body_schemas import BODIES
from sharq_server.api.replies import STATUS_OF_CODE, Reply
from sharq_server.api.schemas import Schema
from sharq_server.telemetry.formats import Form

PATH: Final = "/openapi.json"

# Errors of some operations only; all others can occur with any request.
_OF_SOME: Final = frozenset({401, 404, 409, 426, 429})

_METRICS: Final = tuple(form.value.partition(";")[0] for form in Form)

_NOT_ENDED: Final = ("not_active", "stale_lease", "already_finished")


class _Operation(NamedTuple):
    """`answers`: schemas by status. `failures`: codes besides those of any request.

    `queries`: parameters; what follows a ":" tells those of one name apart. `body` is a schema's
    name, a body that is optional has a "?". `texts` are the media types of an answer that is no
    JSON. One that is `open` needs no token, even if the others do.
    """

    summary: str
    answers: dict[int, str]
    failures: tuple[str, ...] = ()
    body: str = ""
    queries: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    open: bool = False


_DEQUEUE: Final = _Operation(
    "Take the next job that is ready, or several",
    {200: "Job Jobs"},
    ("nothing_ready",),
    "Nothing?",
    ("count", "wait", "request_id"),
)

_OPERATIONS: Final = {
    "GET /": _Operation("Greet", {200: "Hello"}, open=True),
    "GET /status/": _Operation("Greet, as the original does", {200: "Hello"}, open=True),
    f"GET {PATH}": _Operation("Describe the API", {200: "Description"}, open=True),
    "GET /deepstatus/": _Operation(
        "Tell whether the server can write to its store",
        {200: "Works"},
        queries=("strict",),
        open=True,
    ),
    "POST /enqueue/": _Operation(
        "Put many jobs into many queues", {200: "Results"}, body="NewJobs"
    ),
    "POST /enqueue/<queue_type>/<queue_id>/": _Operation(
        "Put a job into a queue",
        {201: "Queued"},
        ("job_conflict", "queue_full", "sharded"),
        "NewJob",
    ),
    "GET /dequeue/": _DEQUEUE,
    "POST /dequeue/": _DEQUEUE,
    "GET /dequeue/<queue_type>/": _DEQUEUE,
    "POST /dequeue/<queue_type>/": _DEQUEUE,
    "POST /finish/<queue_type>/<queue_id>/<job_id>/": _Operation(
        "End a job", {200: "Done"}, _NOT_ENDED, "Finish?"
    ),
    "POST /release/<queue_type>/<queue_id>/<job_id>/": _Operation(
        "Give a job back", {200: "Released"}, _NOT_ENDED, "Release?"
    ),
    "POST /fail/<queue_type>/<queue_id>/<job_id>/": _Operation(
        "Give a job back that failed, and tell why", {200: "Released"}, _NOT_ENDED, "Fail?"
    ),
    "POST /extend/<queue_type>/<queue_id>/<job_id>/": _Operation(
        "Extend the lease of a job", {200: "Extended"}, _NOT_ENDED, "Extend"
    ),
    "DELETE /job/<queue_type>/<queue_id>/<job_id>/": _Operation(
        "Remove a job",
        {200: "Done"},
        ("not_found", "not_active", "already_finished", "job_active"),
        "Cancel?",
    ),
    "GET /status/<queue_type>/<queue_id>/<job_id>/": _Operation(
        "Tell the state of a job", {200: "JobStatus"}, ("not_found",), queries=("payload",)
    ),
    "GET /jobs/<queue_type>/<queue_id>/": _Operation(
        "List the waiting jobs of a queue", {200: "JobPage"}, queries=("cursor", "count:jobs")
    ),
    "POST /interval/<queue_type>/<queue_id>/": _Operation(
        "Set the rate of a queue", {200: "Done"}, ("not_found",), "Interval"
    ),
    "DELETE /interval/<queue_type>/<queue_id>/": _Operation(
        "Let enqueues set the rate of a queue again", {200: "Done"}, ("not_found",)
    ),
    "GET /limits/<queue_type>/": _Operation(
        "Tell the limits of a type or a group", {200: "Limits"}, queries=("group",)
    ),
    "POST /limits/<queue_type>/": _Operation(
        "Set the limits of a type or a group",
        {200: "LimitsSet"},
        ("sharded",),
        body="NewLimits",
        queries=("group", "dry_run"),
    ),
    "DELETE /limits/<queue_type>/": _Operation(
        "Give the limits of a type or a group back",
        {200: "Done"},
        ("sharded",),
        body="Nothing?",
        queries=("group",),
    ),
    "GET /limits/<queue_type>/<queue_id>/": _Operation(
        "Tell the limits of a queue", {200: "LimitsOfQueue"}
    ),
    "POST /limits/<queue_type>/<queue_id>/": _Operation(
        "Set the limits of a queue",
        {200: "LimitsSet"},
        ("sharded",),
        body="NewLimitsOfQueue",
        queries=("dry_run",),
    ),
    "DELETE /limits/<queue_type>/<queue_id>/": _Operation(
        "Give the limits of a queue back", {200: "Done"}, body="Nothing?"
    ),
    "GET /shards/<queue_type>/": _Operation(
        "Tell how many shards a type is spread over", {200: "Shards"}
    ),
    "POST /shards/<queue_type>/": _Operation(
        "Spread a type over shards, while nothing is there",
        {200: "ShardsSet"},
        ("not_empty",),
        "NewShards",
    ),
    "POST /pause/<queue_type>/": _Operation(
        "Pause a type or a group", {200: "Done"}, ("sharded",), "Pause?", ("group",)
    ),
    "POST /pause/<queue_type>/<queue_id>/": _Operation(
        "Pause a queue", {200: "Done"}, body="Pause?"
    ),
    "POST /resume/<queue_type>/": _Operation(
        "Resume a type or a group", {200: "Done"}, ("sharded",), "Nothing?", ("group",)
    ),
    "POST /resume/<queue_type>/<queue_id>/": _Operation(
        "Resume a queue", {200: "Done"}, body="Nothing?"
    ),
    "GET /dead/<queue_type>/": _Operation(
        "List the dead letters of a type, the newest first",
        {200: "DeadPage"},
        queries=("queue_id", "reason:letters", "error", "before", "count:letters", "cursor"),
    ),
    "DELETE /dead/<queue_type>/": _Operation(
        "Delete dead letters",
        {200: "DeadChanged", 202: "BulkBegun"},
        ("bulk_running",),
        "Selection",
    ),
    "GET /dead/<queue_type>/<queue_id>/<job_id>/": _Operation(
        "Show a dead letter", {200: "DeadLetter"}, ("not_found",)
    ),
    "POST /dead/<queue_type>/retry": _Operation(
        "Enqueue dead letters again",
        {200: "DeadChanged", 202: "BulkBegun"},
        ("bulk_running",),
        "Selection",
    ),
    "GET /dead/<queue_type>/retry": _Operation(
        "Tell how far the bulk of a type is", {200: "BulkProgress"}
    ),
    "DELETE /dead/<queue_type>/retry": _Operation(
        "Cancel the bulk of a type", {200: "Done"}, ("no_bulk",), "Nothing?"
    ),
    "GET /leases/<queue_type>/<queue_id>/": _Operation(
        "List the leased jobs of a queue",
        {200: "LeasePage"},
        queries=("cursor", "count:page"),
    ),
    "POST /recount/<queue_type>/": _Operation(
        "Count the waiting jobs of a type anew", {200: "Recounted"}, body="Nothing?"
    ),
    "GET /metrics/": _Operation(
        "Tell counts and types, or what GET /prometheus/ tells", {200: "Overview"}, texts=_METRICS
    ),
    "GET /prometheus/": _Operation("Tell the metrics for Prometheus", {200: ""}, texts=_METRICS),
    "GET /metrics/<queue_type>/": _Operation(
        "List the queues of a type", {200: "QueueIds"}, queries=("cursor", "count:queues", "prefix")
    ),
    "GET /metrics/<queue_type>/<queue_id>/": _Operation(
        "Tell lengths, rate and counts of a queue", {200: "QueueMetrics"}
    ),
    "GET /doctor/": _Operation(
        "Tell what is wrong with the server and its store", {200: "Findings"}
    ),
    "DELETE /deletequeue/<queue_type>/<queue_id>/": _Operation(
        "Remove the waiting jobs of a queue",
        {200: "Cleared"},
        body="Clear?",
        queries=("purge_all",),
    ),
    "GET /ws/": _Operation("Open the push channel, a websocket", {101: ""}, ("upgrade_required",)),
}

_QUERIES: Final[dict[str, Schema]] = {
    "count": {"type": "integer", "minimum": 1, "maximum": bodies.MAX_DEQUEUED},
    "count:jobs": {"type": "integer", "minimum": 1, "maximum": bodies.MAX_DEQUEUED},
    "count:queues": {"type": "integer", "minimum": 1, "maximum": bodies.MAX_QUEUES},
    "count:page": {"type": "integer", "minimum": 1, "maximum": bodies.MAX_LEASES},
    "prefix": api_schemas.NAME,
    "payload": {"enum": ["true", "false", "1", "0"]},
    "cursor": api_schemas.TEXT,
    "wait": {"type": "number", "minimum": 0, "maximum": bodies.MAX_WAIT},
    "request_id": api_schemas.NAME,
    "purge_all": {"enum": ["true", "false", "1", "0"]},
    "strict": {"enum": ["true", "false", "1", "0"]},
    "group": api_schemas.NAME,
    "dry_run": {"enum": ["true", "false", "1", "0"]},
    "queue_id": api_schemas.NAME,
    "reason:letters": api_schemas.DEATH,
    "error": api_schemas.TEXT,
    "before": api_schemas.COUNT,
    "count:letters": {"type": "integer", "minimum": 1, "maximum": bodies.MAX_DEQUEUED},
}
_ABOUT_QUERIES: Final = {
    "count": "Take up to this number of jobs; the answer is a list.",
    "count:jobs": "List up to this number of jobs.",
    "count:queues": "List about this number of queues; the answer is a page.",
    "count:page": "Look through about this number of leases of the type.",
    "prefix": "Only queues whose ids begin with this; the answer is a page.",
    "payload": "Answer the payload, too, and the lease; needs the operation `jobs`.",
    "cursor": "The cursor of the page before; without it, the first page.",
    "wait": "Wait up to this number of seconds for a job; up to six decimals.",
    "request_id": "A name for this request, which makes it safe to repeat.",
    "group": "The group that is meant; without it, the whole type.",
    "dry_run": "Change nothing, and tell how long the work that waits would take.",
    "queue_id": "Only those of this queue.",
    "reason:letters": "Only those that died for this reason.",
    "error": "Only those whose last error is of exactly this type.",
    "before": "Only those that died before this time, epoch in ms.",
    "count:letters": "List up to this number of dead letters.",
    "strict": "Every node of a cluster has to take writes, not one.",
    "purge_all": "End the leases of the queue, too, and drop its interval of the API.",
}

# A server may need no token: then a request without credentials is valid, too.
_LOCKED: Final[list[Schema]] = [{"token": []}, {}]

# The header of errors by status or code; a queue may have no rate that tells when.
_HEADERS: Final[dict[int | str, tuple[str, Schema]]] = {
    401: ("WWW-Authenticate", api_schemas.TEXT),
    405: ("Allow", api_schemas.TEXT),
    503: ("Retry-After", {"type": "integer", "minimum": 0}),
    "nothing_ready": ("Retry-After", {"type": "integer", "minimum": 1}),
    "queue_full": ("Retry-After", {"type": "integer", "minimum": 1}),
}
_HEADER_MAY_BE_ABSENT: Final = "queue_full"


@functools.lru_cache(maxsize=16)
def reply(prefix: str = "") -> Reply:
    """The answer that describes the API; its paths are below `prefix`."""
    described = document()
    if prefix:
        described["servers"] = [{"url": prefix}]
    return Reply(200, msgspec.json.encode(described))


def document() -> Schema:
    """The description as a value; `paths` are written as in the route table, but with braces."""
    paths: dict[str, Any] = {}
    for route, operation in _OPERATIONS.items():
        method, _, template = route.partition(" ")
        path = template.replace("<", "{").replace(">", "}")
        names = re.findall(r"<(\w+)>", template)
        item = paths.setdefault(path, _item(names))
        item[method.lower()] = _operation(method, template, operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "SharQ",
            "version": __version__,
            "summary": "A rate-limited job queue",
            "description": (
                "A trailing slash makes no difference. HEAD works where GET is free of effects, "
                "which is everywhere except on dequeue. Fields may be added to answers."
            ),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "components": {
            "schemas": {**BODIES, **ANSWERS},
            "responses": {
                _name(status): _failure(status, _codes(status))
                for status in _statuses()
                if status not in _OF_SOME
            },
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Needed if the server has tokens.",
                }
            },
        },
    }


def _statuses() -> list[int]:
    return sorted(set(STATUS_OF_CODE.values()))


def _codes(status: int) -> list[str]:
    return [code for code, its_status in STATUS_OF_CODE.items() if its_status == status]


def _name(status: int) -> str:
    return f"Failure{status}"


def _item(names: Iterable[str]) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": api_schemas.NAME} for name in names
    ]
    return {"parameters": parameters} if parameters else {}


def _operation(method: str, template: str, operation: _Operation) -> Schema:
    words = re.findall(r"\w+", template.removesuffix(".json")) or ["index"]
    described: Schema = {
        "operationId": "_".join([method.lower(), *words]),
        "summary": operation.summary,
        "security": [] if operation.open else _LOCKED,
        "responses": _responses(operation),
    }
    if operation.queries:
        described["parameters"] = [
            {
                "name": name.partition(":")[0],
                "in": "query",
                "description": _ABOUT_QUERIES[name],
                "schema": _QUERIES[name],
            }
            for name in operation.queries
        ]
    # A body of a GET is allowed but ignored.
    if operation.body and method != "GET":
        name = operation.body.removesuffix("?")
        described["requestBody"] = {
            "required": name == operation.body,
            "content": _json({"$ref": f"#/components/schemas/{name}"}),
        }
    return described


def _responses(operation: _Operation) -> Schema:
    described: Schema = {}
    for status, names in operation.answers.items():
        refs = [{"$ref": f"#/components/schemas/{name}"} for name in names.split()]
        described[str(status)] = {"description": operation.summary}
        if refs:
            schema = refs[0] if len(refs) == 1 else {"oneOf": refs}
            described[str(status)]["content"] = _json(schema)
    if operation.texts:
        content = described["200"].setdefault("content", {})
        content |= {media_type: {"schema": api_schemas.TEXT} for media_type in operation.texts}
    for status in _statuses():
        failures = operation.failures if operation.open else ("unauthorized", *operation.failures)
        own = [code for code in failures if STATUS_OF_CODE[code] == status]
        if own:
            described[str(status)] = _failure(status, own)
        elif status not in _OF_SOME:
            described[str(status)] = {"$ref": f"#/components/responses/{_name(status)}"}
    return described


def _failure(status: int, codes: Sequence[str]) -> Schema:
    described: Schema = {
        "description": ", ".join(codes),
        "content": _json(
            {
                "$ref": "#/components/schemas/Failure",
                "properties": {"code": api_schemas.word(*codes)},
            }
        ),
    }
    for case in (status, *codes):
        if case in _HEADERS:
            name, schema = _HEADERS[case]
            required = case != _HEADER_MAY_BE_ABSENT
            described["headers"] = {name: {"required": required, "schema": schema}}
    return described


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}
