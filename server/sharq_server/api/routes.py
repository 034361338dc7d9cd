"""The route table of the REST API."""

from __future__ import annotations

from typing import Final

from sharq_server.api import (
    dead_handlers,
    doctor_handlers,
    handlers,
    limit_handlers,
    openapi,
    shard_handlers,
)
from sharq_server.api.routing import OPEN, Route

ROUTES: Final = (
    Route("/", {"GET": handlers.index}, operation=OPEN),
    # What the original's nginx asks to see whether it is there.
    Route("/status/", {"GET": handlers.index}, operation=OPEN),
    Route(openapi.PATH, {"GET": handlers.description}, operation=OPEN),
    Route("/deepstatus/", {"GET": handlers.deepstatus}, operation=OPEN, tells_of_stop=True),
    Route("/enqueue/", {"POST": handlers.enqueue_many}, operation="enqueue", bulk=True),
    Route("/enqueue/<queue_type>/<queue_id>/", {"POST": handlers.enqueue}, operation="enqueue"),
    Route(
        "/dequeue/",
        {"GET": handlers.dequeue, "POST": handlers.dequeue_by_post},
        operation="dequeue",
        default_type="default",
        head=False,
    ),
    Route(
        "/dequeue/<queue_type>/",
        {"GET": handlers.dequeue, "POST": handlers.dequeue_by_post},
        operation="dequeue",
        head=False,
    ),
    Route(
        "/finish/<queue_type>/<queue_id>/<job_id>/", {"POST": handlers.finish}, operation="finish"
    ),
    Route(
        "/release/<queue_type>/<queue_id>/<job_id>/",
        {"POST": handlers.release},
        operation="release",
    ),
    Route("/fail/<queue_type>/<queue_id>/<job_id>/", {"POST": handlers.fail}, operation="release"),
    Route(
        "/extend/<queue_type>/<queue_id>/<job_id>/", {"POST": handlers.extend}, operation="extend"
    ),
    Route(
        "/job/<queue_type>/<queue_id>/<job_id>/", {"DELETE": handlers.cancel}, operation="cancel"
    ),
    Route(
        "/status/<queue_type>/<queue_id>/<job_id>/",
        {"GET": handlers.job_status},
        operation="status",
    ),
    Route("/jobs/<queue_type>/<queue_id>/", {"GET": handlers.jobs}, operation="jobs"),
    Route("/leases/<queue_type>/<queue_id>/", {"GET": handlers.leases}, operation="jobs"),
    Route("/recount/<queue_type>/", {"POST": handlers.recount}, operation="limits"),
    Route(
        "/interval/<queue_type>/<queue_id>/",
        {"POST": handlers.set_interval, "DELETE": handlers.reset_interval},
        operation="interval",
    ),
    Route(
        "/limits/<queue_type>/",
        {
            "GET": limit_handlers.show,
            "POST": limit_handlers.set_limits,
            "DELETE": limit_handlers.reset,
        },
        operation="limits",
        reading="metrics",
    ),
    Route(
        "/limits/<queue_type>/<queue_id>/",
        {
            "GET": limit_handlers.show,
            "POST": limit_handlers.set_limits,
            "DELETE": limit_handlers.reset,
        },
        operation="limits",
        reading="metrics",
    ),
    Route(
        "/shards/<queue_type>/",
        {"GET": shard_handlers.show, "POST": shard_handlers.set_shards},
        operation="limits",
        reading="metrics",
    ),
    Route("/pause/<queue_type>/", {"POST": limit_handlers.pause}, operation="pause"),
    Route("/pause/<queue_type>/<queue_id>/", {"POST": limit_handlers.pause}, operation="pause"),
    Route("/resume/<queue_type>/", {"POST": limit_handlers.resume}, operation="pause"),
    Route("/resume/<queue_type>/<queue_id>/", {"POST": limit_handlers.resume}, operation="pause"),
    Route(
        "/dead/<queue_type>/",
        {"GET": dead_handlers.page, "DELETE": dead_handlers.delete},
        operation="dead",
    ),
    Route(
        "/dead/<queue_type>/retry",
        {
            "GET": dead_handlers.progress,
            "POST": dead_handlers.retry,
            "DELETE": dead_handlers.cancel,
        },
        operation="dead",
    ),
    Route("/dead/<queue_type>/<queue_id>/<job_id>/", {"GET": dead_handlers.show}, operation="dead"),
    Route("/metrics/", {"GET": handlers.overview}, operation="metrics"),
    Route("/prometheus/", {"GET": handlers.prometheus}, operation="metrics"),
    Route("/metrics/<queue_type>/", {"GET": handlers.queue_ids}, operation="metrics"),
    Route(
        "/metrics/<queue_type>/<queue_id>/", {"GET": handlers.queue_metrics}, operation="metrics"
    ),
    Route("/doctor/", {"GET": doctor_handlers.findings}, operation="metrics"),
    Route(
        "/deletequeue/<queue_type>/<queue_id>/", {"DELETE": handlers.clear}, operation="deletequeue"
    ),
)

ALL_METHODS: Final = frozenset(method for route in ROUTES for method in route.methods)
"""The methods of all routes."""
