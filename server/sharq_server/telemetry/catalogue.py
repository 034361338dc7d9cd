"""THE table of metrics: their names, types, texts and labels. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"


class Metric(NamedTuple):
    """`name` is as Prometheus has it: that of a counter ends in ``_total``."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str


def _metric(name: str, kind: str, labels: str, text: str) -> Metric:
    return Metric(name, kind, tuple(labels.split()), text)


JOBS_ENQUEUED: Final = _metric(
    "sharq_jobs_enqueued_total", COUNTER, "queue_type", "Jobs put into queues."
)
JOBS_DISPATCHED: Final = _metric(
    "sharq_jobs_dispatched_total", COUNTER, "queue_type", "Jobs leased to workers."
)
JOBS_FINISHED: Final = _metric(
    "sharq_jobs_finished_total", COUNTER, "queue_type", "Jobs ended with success."
)
JOBS_REQUEUED: Final = _metric(
    "sharq_jobs_requeued_total",
    COUNTER,
    "queue_type reason",
    "Leased jobs that went back to their queues.",
)
JOBS_DEAD: Final = _metric(
    "sharq_jobs_dead_total", COUNTER, "queue_type reason", "Jobs ended without success."
)
ENQUEUES_REFUSED: Final = _metric(
    "sharq_enqueues_refused_total", COUNTER, "queue_type code", "Jobs that their queues refused."
)
JOBS: Final = _metric("sharq_jobs", GAUGE, "queue_type state", "Jobs in the store now.")
QUEUES: Final = _metric(
    "sharq_queues", GAUGE, "queue_type state", "Queues with waiting jobs; a group counts as one."
)
OLDEST_READY: Final = _metric(
    "sharq_oldest_ready_seconds",
    GAUGE,
    "queue_type",
    "Seconds for which the longest-ready queue has waited for a worker.",
)
QUEUE_JOBS: Final = _metric(
    "sharq_queue_jobs",
    GAUGE,
    "queue_type queue_id",
    "Waiting jobs of the ten longest queues of the ten types with the most waiting jobs.",
)
QUEUE_OLDEST_READY: Final = _metric(
    "sharq_queue_oldest_ready_seconds",
    GAUGE,
    "queue_type queue_id",
    "Seconds for which the ten longest-ready queues of these types have waited for a worker.",
)
DISPATCH_DELAY: Final = _metric(
    "sharq_dispatch_delay_seconds",
    HISTOGRAM,
    "queue_type",
    "Seconds for which the longest-ready queue of a dispatch had waited for a worker.",
)
LEASE_DURATION: Final = _metric(
    "sharq_lease_duration_seconds",
    HISTOGRAM,
    "queue_type",
    "Seconds for which connections of the push channel have held leases that have ended.",
)
EARLY_DISPATCHES: Final = _metric(
    "sharq_early_dispatches_total",
    COUNTER,
    "queue_type",
    "Jobs dispatched before their limits allowed it. Has to stay 0.",
)
WAKEUPS: Final = _metric(
    "sharq_wakeups_total", COUNTER, "result", "Messages of the store that jobs are ready."
)
SUBSCRIBERS: Final = _metric(
    "sharq_subscribers", GAUGE, "queue_type mode", "Who waits for jobs now."
)
CREDIT: Final = _metric(
    "sharq_credit", GAUGE, "queue_type use", "Leases that subscribers hold, and have room for."
)
CONNECTIONS: Final = _metric("sharq_connections", GAUGE, "kind", "Open connections of clients.")
HTTP_REQUESTS: Final = _metric(
    "sharq_http_requests_total", COUNTER, "route code", "Requests answered, by status."
)
HTTP_DURATION: Final = _metric(
    "sharq_http_request_duration_seconds",
    HISTOGRAM,
    "route",
    "Seconds from a request to its answer; a long poll's include its wait.",
)
STORE_DURATION: Final = _metric(
    "sharq_store_call_duration_seconds",
    HISTOGRAM,
    "script",
    "Seconds from sending a call to the store until its answer.",
)
STORE_ERRORS: Final = _metric(
    "sharq_store_errors_total", COUNTER, "code", "Calls of the store that have failed."
)
STORE_UP: Final = _metric(
    "sharq_store_up", GAUGE, "node", "Whether the server is connected to a node of the store."
)
SWEEP_LAST: Final = _metric(
    "sharq_sweep_last_timestamp_seconds",
    GAUGE,
    "",
    "When this server has last made a round of the sweep.",
)
BUILD_INFO: Final = _metric("sharq_build_info", GAUGE, "version", "The version of the server.")

OF_TOP_QUEUES: Final = frozenset((QUEUE_JOBS, QUEUE_OLDEST_READY))
"""Those that are told only where that is wanted."""

METRICS: Final = tuple(value for value in tuple(globals().values()) if isinstance(value, Metric))
"""All of them, in the order in which they are told."""
