"""What is in the store, as docs/keyspace.md describes it, held against the model."""

from __future__ import annotations

from fractions import Fraction
from math import inf
from typing import Any, NamedTuple

from tests.model.model import Model
from tests.model.names import GroupName, QueueName, expect
from tests.model.queues import ModelQueue
from tests.model.rates import Rates, Until, exact
from tests.support.direct import DirectStore

_READ = """
local limit, out = ARGV[1] .. ':limit', {}
local function schedule(key)
  out[#out + 1] = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
end

local last = redis.call('GET', ARGV[1] .. ':c:last')
out[#out + 1] = redis.call('HMGET', ARGV[1] .. ':c:' .. (last or ''), 'w', 'e', 'd', 'c', 'l', 'k')
schedule(ARGV[1] .. ':ready')
schedule(limit .. ':line')
schedule(limit .. ':kept')
out[#out + 1] = redis.call('ZRANGE', limit .. ':groups', 0, -1)
out[#out + 1] = redis.call('GET', limit)
for i = 3, 2 + ARGV[2] do
  schedule(limit .. ':s:' .. ARGV[i])
  out[#out + 1] = redis.call('GET', limit .. ':g:' .. ARGV[i])
end
for i = 3 + ARGV[2], #ARGV do
  out[#out + 1] = redis.call('GET', ARGV[1] .. ':q:' .. ARGV[i])
end
return out
"""

Schedule = dict[str, Until]


class Seen(NamedTuple):
    """What is in the store of one type; states are texts, None where there is none.

    `totals` of waiting jobs, and of the delayed ones among them.
    """

    totals: tuple[int, int]
    ready: Schedule
    line: Schedule
    kept: Schedule
    grouped: list[str]
    limit: str | None
    groups: dict[str, tuple[Schedule, str | None]]
    queues: dict[str, str | None]

    def entries(self) -> Schedule:
        """The schedule of the type."""
        return self.ready or self.line


def look(
    store: DirectStore, prefix: str, queue_type: str, groups: list[str], queues: list[str]
) -> Seen:
    """Read all of it at once."""
    tag = f"{{{prefix}:{queue_type}}}"
    reply = store.command("EVAL", _READ, 0, tag, len(groups), *groups, *queues)
    totals, ready, line, kept, grouped, limit = reply[:6]
    levels, states = reply[6 : 6 + 2 * len(groups)], reply[6 + 2 * len(groups) :]
    return Seen(
        _totals(*(int(number or 0) for number in totals)),
        _schedule(ready),
        _schedule(line),
        _schedule(kept),
        sorted(name.decode() for name in grouped),
        _text(limit),
        {
            group: (_schedule(levels[2 * at]), _text(levels[2 * at + 1]))
            for at, group in enumerate(groups)
        },
        {name: _text(state) for name, state in zip(queues, states, strict=True)},
    )


def _totals(
    began: int, enqueued: int, dequeued: int, changed: int, late: int, later: int
) -> tuple[int, int]:
    return began + enqueued - dequeued + changed, late + later


def check_inside(model: Model, queue_type: str, seen: Seen) -> None:
    """Check that each queue stands where it has to, and the states of all levels."""
    _check_type(model, queue_type, seen)
    _check_totals(model, queue_type, seen)
    for group, (schedule, state) in seen.groups.items():
        _check_group(model, GroupName(queue_type, group), schedule, state)
    for name, queue in model.levels.of_type(queue_type):
        if queue.has_jobs:
            state = seen.queues.get(name.queue_id)
            expect(f"{name} has a state", state is not None)
            _check_tat(f"the TAT of {name}", queue, _queue_tat(state or ""))
        _check_place(model, name, queue, seen)
    _check_line(model, queue_type, seen)
    _check_kept(model, queue_type, seen)


def _check_type(model: Model, queue_type: str, seen: Seen) -> None:
    """With limits or a pause it has a state, and its schedule is another one."""
    expect("a type with limits has no other schedule", seen.limit is None or not seen.ready)
    expect("a type without limits has no line", seen.limit is not None or not seen.line)
    level = model.levels.types[queue_type]
    if level.limited or level.paused > model.now:
        expect(f"{queue_type} has a state", seen.limit is not None)
    if seen.limit is not None:
        _check_tat(f"the TAT of {queue_type}", level, _level_tat(seen.limit))
        if level.concurrency is not None:
            active = model.levels.active(queue_type)
            expect(f"the leases of {queue_type}", _leased(seen.limit), active)


def _check_totals(model: Model, queue_type: str, seen: Seen) -> None:
    """Jobs that are due count as delayed until a dequeue looks at their queue, as in its state."""
    queues = dict(model.levels.of_type(queue_type))
    late = sum(
        _late(seen.queues.get(name.queue_id) or "")
        for name, queue in queues.items()
        if queue.length
    )
    wanted = sum(queue.length for queue in queues.values()), late
    expect(f"the totals of {queue_type}", seen.totals, wanted)


def check_counters(queue_type: str, ends: dict[str, int | None]) -> None:
    """Counters end, but for the newest ones and their name."""
    endless = {
        key.removeprefix("c:") for key, end in ends.items() if key[:2] == "c:" and end is None
    }
    minutes = endless - {"last"}
    expect(f"the endless counters of {queue_type}", len(endless), 2 * len(minutes))
    expect(f"the newest counters of {queue_type}", len(minutes) <= 1, True)


def _check_place(model: Model, name: QueueName, queue: ModelQueue, seen: Seen) -> None:
    """A queue with waiting jobs is in one schedule: that of its group, else that of its type."""
    schedules: dict[str | None, Schedule] = {None: seen.entries()}
    schedules |= {group: schedule for group, (schedule, _) in seen.groups.items()}
    stands = [group for group, schedule in schedules.items() if name.queue_id in schedule]
    expect(f"where {name} stands", stands, [queue.group] if queue.length else [])
    if stands:
        _check_turn(model, name, queue, schedules[queue.group][name.queue_id])


def _check_kept(model: Model, queue_type: str, seen: Seen) -> None:
    kept = {member for member, till in seen.kept.items() if till > model.now}
    wanted = model.kept(queue_type)
    if model.now < model.latest:
        # Pauses that have ended may seem to go on.
        kept &= wanted
    expect(f"what is kept of {queue_type}", kept, wanted)


def _check_line(model: Model, queue_type: str, seen: Seen) -> None:
    """The entries of groups: one for each that has waiting jobs."""
    waiting = {
        name.group
        for name in model.levels.groups
        if name.queue_type == queue_type and any(q.length for q in model.levels.of_group(name))
    }
    expect("the groups with waiting jobs", seen.grouped, sorted(waiting))
    entries = seen.entries()
    standing = {entry[1:] for entry in entries if entry.startswith("=")}
    expect("the groups in the line", standing, waiting)
    for group in waiting:
        turns = [
            model.levels.turn(name)
            for name, q in model.levels.of_type(queue_type)
            if q.group == group
        ]
        _expect_near(f"the turn of group {group}", entries[f"={group}"], min(turns), 0)


def _check_group(model: Model, name: GroupName, schedule: Schedule, state: str | None) -> None:
    """It has a state while it has limits, a pause or leases, and a schedule while jobs wait.

    Since when it allows is kept for as long as that is later than the turn of its first queue.
    """
    level = model.levels.groups[name]
    active = model.levels.active(name)
    if level.limited or active or level.paused > model.now:
        expect(f"{name} has a state", state is not None)
    elif not schedule and not model.linger:
        expect(f"{name} has no state", state, None)
    if state is None:
        since = max(level.free, level.paused)
        expect(f"{name} may be forgotten", since <= min(schedule.values(), default=inf), True)
        level.free = level.paused = 0
    if state is not None:
        expect(f"the leases of {name}", _leased(state), active)
        _check_tat(f"the TAT of {name}", level, _level_tat(state))


def _check_turn(model: Model, name: QueueName, queue: ModelQueue, got: Until) -> None:
    if got != queue.turn and model.now < model.latest:
        # After a step back of the clock work may wait longer.
        late = queue.own_time() <= got <= model.latest
        expect(f"{name} stands at {got} after a step back, not {queue.turn}", late)
    else:
        most = Fraction(1, 1000) if queue.rounded else 0
        _expect_near(f"the turn of {name}", got, queue.turn or 0, most)
    queue.turn = got


def _check_tat(what: str, rates: Rates, got: Until) -> None:
    _expect_near(what, got, rates.tat, Fraction(1, 1000) if rates.rounded else 0)
    if rates.rounded:
        rates.tat = exact(Fraction(got))


def _expect_near(what: str, got: Until, wanted: Until, most: Until) -> None:
    if got != wanted and (inf in (got, wanted) or abs(got - wanted) > most):
        raise AssertionError(f"{what}: {got!r}, expected {wanted!r}")


def _queue_tat(state: str) -> Until:
    return _time(state.rpartition("|")[2].split(":")[1] if state[0] == "~" else state.split(":")[1])


def _late(state: str) -> int:
    plain = state.rpartition("|")[2] if state[:1] == "~" else state
    numbers = plain.partition(" ")[0].split(":")
    return int(numbers[6]) if len(numbers) > 5 else 0


def _level_tat(state: str) -> Until:
    return _time(state.split(":")[4])


def _leased(state: str) -> int:
    return int(state.split(":")[7])


def _text(reply: bytes | None) -> str | None:
    return None if reply is None else reply.decode()


def _schedule(reply: list[Any]) -> Schedule:
    return {
        name.decode(): _time(score.decode())
        for name, score in zip(reply[::2], reply[1::2], strict=True)
    }


def _time(text: str) -> Until:
    """A time in ms, to the µs."""
    if text == "inf":
        return inf
    return exact(Fraction(round(Fraction(text) * 1000), 1000))
