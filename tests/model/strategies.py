"""What the histories draw from: names, jobs, limits."""

from __future__ import annotations

from hypothesis import strategies as st

from sharq.operations.targets import Target as Level
from sharq.results import REMOVE, DeadFilter, JobError, JobOptions, NewJob
from tests.model.changes import LimitChanges
from tests.model.failures import End
from tests.model.names import JobName, QueueName

# Names that have a meaning of their own somewhere inside.
QUEUES = [
    QueueName("active", "ready"),
    QueueName("active", "interval"),
    QueueName("active", "active"),
    QueueName("payload", "ready"),
]
TYPES = ["active", "payload"]
GROUPS = ["ready", "line"]
JOBS = ["time", "leases", "1", "q", "e"]

LEASE = 1_000
LONGEST_LEASE = 3_000
YEAR = 31_536_000_000

queue_names = st.sampled_from(QUEUES)
queue_types = st.sampled_from(["active", "active", "payload"])
job_names = st.sampled_from([JobName(*queue, job_id) for queue in QUEUES for job_id in JOBS])
payloads = st.sampled_from([b"1", b"1", b'{"a": [1, " "]}', b'"\xc3\xa9\\n"'])
intervals = st.sampled_from([0, 0, 1, 10, 10, 700, 1_500, 90_000, YEAR])
decimals = st.sampled_from([0, 1, 10, 10, 700, 1_500, 0.25, 1.5, 10.001, 333.333])
limits = st.sampled_from([-1, -1, 0, 1, 2, 1_000_000_000, 2**63 - 1])
bounds = st.sampled_from([None, None, None, None, None, 0, 1, 2**63 - 1])
delays = st.sampled_from([0, 0, 1, 400, LEASE, 5_000])
WORKERS = ["w", "-", "b c:1,%!", "ä"]
ERRORS = [
    JobError("ValueError", "no such tenant"),
    JobError("ValueError"),
    JobError("Value", " \n!,;\x1f| ", "File 1\n  line 2"),
    JobError(message="ä\u2028 ö"),
    JobError("a type", ""),
    JobError(""),
]
REASONS = ["exhausted", "expired", "rejected"]

errors = st.sampled_from([None, None, *ERRORS])
workers = st.sampled_from([None, None, *WORKERS])
ends = st.builds(
    End,
    how=st.sampled_from(
        ["fail", "fail", "fail", "reject", "reject", "release", "return", "finish"]
    ),
    delay=st.sampled_from([None, None, None, 0, 400]),
    error=errors,
    worker=workers,
).map(lambda end: end if end.how in ("fail", "reject") else End(end.how, end.delay or 0))
some_filters = st.just(DeadFilter()) | st.builds(
    DeadFilter,
    queue_id=st.sampled_from([None, None, None, "ready", "interval", "nowhere"]),
    reason=st.sampled_from([None, None, None, *REASONS]),
    error=st.sampled_from([None, None, None, None, "ValueError", "Value", "a type"]),
    before=st.none(),
)

picks = st.integers(min_value=0, max_value=11)
tokens = st.sampled_from(["current", "current", "current", "none", "old", "made-up"])

options = st.builds(
    JobOptions,
    burst=st.sampled_from([None, None, None, 1, 2, 5, 1_000_000, REMOVE]),
    concurrency=st.sampled_from([None, None, None, 1, 2, REMOVE]),
    group=st.sampled_from([None, None, *GROUPS, *GROUPS, REMOVE]),
    cost=st.sampled_from([1, 1, 1, 2, 3]),
    priority=st.sampled_from([0, 0, 0, 1, 9]),
    delay=st.sampled_from([0, 0, 0, 1, 400, 5_000]),
)

changes = st.builds(
    LimitChanges,
    interval=st.sampled_from(["", "", "", "", "-", "0", "10", "700", "1500", "0.25", "10.001"]),
    burst=st.sampled_from(["", "", "-", "1", "2", "3", "1000000"]),
    concurrency=st.sampled_from(["", "", "-", "1", "2"]),
    group=st.just(""),
    reason=st.sampled_from(["", "-", "quota"]),
)

pauses = st.sampled_from(["", "-", "-", "1", "400", "1000", "5000"])


@st.composite
def new_jobs(draw: st.DrawFn) -> NewJob:
    queue_type, queue_id, job_id = draw(job_names)
    return NewJob(
        queue_type,
        queue_id,
        job_id,
        draw(payloads),
        draw(intervals),
        draw(limits),
        draw(bounds),
    )


@st.composite
def levels(draw: st.DrawFn) -> tuple[str, Level]:
    """A type, and a level of it."""
    kind = draw(st.sampled_from(["queue", "queue", "group", "group", "type", "type"]))
    if kind == "queue":
        name = draw(queue_names)
        return name.queue_type, Level(kind, name.queue_id)
    name = draw(st.sampled_from(GROUPS)) if kind == "group" else ""
    return draw(queue_types), Level(kind, name)
