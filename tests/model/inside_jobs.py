"""The records of jobs in the store, held against the model: what is left, attempts, failures."""

from __future__ import annotations

import re

from tests.model.letters import error_word, worker_word
from tests.model.model import Model
from tests.model.names import QueueName, expect
from tests.model.queues import ModelJob
from tests.support.direct import DirectStore

_READ = """
local out = {redis.call('HGETALL', ARGV[1] .. ':held')}
for i = 2, #ARGV do
  out[#out + 1] = redis.call('GET', ARGV[1] .. ':q:' .. ARGV[i]) or ''
  out[#out + 1] = redis.call('HGETALL', ARGV[1] .. ':j:' .. ARGV[i])
end
return out
"""

_WAITING = re.compile(rb"(-?\d+):(-?\d+):(\d+)((?::\d+)?)((?:![^ ]*)?) (.*)", re.DOTALL)
_LEASED = re.compile(
    rb"(\d+):[^:]*:(-?\d+):(-?\d+):(\d+)((?::[^! ]*)?)((?:![^ ]*)?) (.*)", re.DOTALL
)

Records = dict[str, bytes]


def look_at_jobs(
    store: DirectStore, prefix: str, queue_type: str, queues: list[str]
) -> tuple[Records, Records]:
    """The records of waiting and of leased jobs, by `queue_id/job_id`."""
    tag = f"{{{prefix}:{queue_type}}}"
    held, *rest = store.command("EVAL", _READ, 0, tag, *queues)
    waiting: Records = {}
    for queue_id, state, jobs in zip(queues, rest[::2], rest[1::2], strict=True):
        first = state.partition(b"|")[2] if state[:1] == b"~" else state
        job_id, _, record = first.partition(b" ")[2].partition(b" ")
        if job_id:
            waiting[f"{queue_id}/{job_id.decode()}"] = record
        for name, value in zip(jobs[::2], jobs[1::2], strict=True):
            if not name.startswith(b":"):
                waiting[f"{queue_id}/{name.decode()}"] = value
    leased = {name.decode(): value for name, value in zip(held[::2], held[1::2], strict=True)}
    return waiting, leased


def check_jobs_inside(model: Model, queue_type: str, waiting: Records, leased: Records) -> None:
    """Check that there is a record for each job, and no other."""
    jobs_waiting: dict[str, ModelJob] = {}
    jobs_leased: dict[str, ModelJob] = {}
    for name, queue in model.levels.of_type(queue_type):
        jobs_waiting |= {_member(name, job): job for job in queue.queued()}
        jobs_leased |= {_member(name, job): job for job in queue.leased.values()}
    expect(f"the waiting jobs of {queue_type}", sorted(waiting), sorted(jobs_waiting))
    expect(f"the leased jobs of {queue_type}", sorted(leased), sorted(jobs_leased))
    for member, job in jobs_waiting.items():
        place, *record = _parts(_WAITING, waiting[member])
        _check(member, job, job.attempts, place, record)
        expect(f"the cost of {member}", record[2], f":{job.cost}".encode() if job.cost > 1 else b"")
    for member, job in jobs_leased.items():
        n, place, *record = _parts(_LEASED, leased[member])
        expect(f"the lease of {member}", n.decode(), job.n)
        _check(member, job, job.attempts - 1, place, record)


def _check(member: str, job: ModelJob, attempts: int, place: bytes, record: list[bytes]) -> None:
    left, ended, _, history, payload = record
    expect(f"what is left to {member}", (int(left), int(ended)), (job.left, attempts))
    expect(f"the failures of {member}", history.decode(), _history(job))
    expect(f"the payload of {member}", payload, job.payload)
    priority = -(int(place) // 10**14)
    expect(f"the priority of {member}", priority, job.priority)


def _history(job: ModelJob) -> str:
    if job.history is None:
        return ""
    first, expiries, worker, error = (
        job.history.first, job.history.expiries, job.history.worker, job.history.error,
    )  # fmt: skip
    return f"!{first},{expiries},{worker_word(worker)},{error_word(error)}"


def _parts(pattern: re.Pattern[bytes], record: bytes) -> tuple[bytes, ...]:
    found = pattern.fullmatch(record)
    if found is None:
        raise AssertionError(f"{record!r} is no record")
    return found.groups()


def _member(name: QueueName, job: ModelJob) -> str:
    return f"{name.queue_id}/{job.job_id}"
