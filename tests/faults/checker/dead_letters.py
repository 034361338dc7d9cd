"""Failures and dead letters. From the audit, and the state at the end.

- I7: a job dies with no requeue left at the end of a counted lease, as rejected, or where its queue
  was cleared, and the reason is the one that follows from that. A retry has the requeue limit of
  the enqueue, its priority and its cost, and begins with the first attempt.
- I5: a job whose lease ran out goes again at once, from the third time in a row on after the
  backoff: `backoff_min`, doubled with each attempt, at most `backoff_max`, less or more a fifth.
  One that failed waits for that or for what was asked for, see `replies`.
- I1: a death with a reason leaves a dead letter, unless the store refused it (what the store says
  it dropped is compared at the end). It is there until it falls out or is taken away: the oldest
  first, and only beyond the bounds or for a newer death of its job. So the dead letters of the last
  snapshot are those that the audit leaves.
- I2: what falls out, is retried or deleted was there; a retried job has the payload that died, and
  its dead letter goes in the same call.
- I8: a script that adds some leaves no more than the bound, unless it has removed `_AT_ONCE`; none
  is older than its age and the time between two sweeps of a type without jobs.
- I9: what the store counts as fallen out and dropped is what the audit has.
- I10: the parts of the dead letters in the store have the same members, and their bytes add up.
- I11: a retry does not change the limits of a queue that has jobs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from sharq.operations.sharding import shards_in
from tests.faults.audit import Entry
from tests.faults.checker.replay import RETRIES, Job, Queue, Replay, Type
from tests.faults.checker.report import Report

_REASONS: Final = {
    "fail": "exhausted",
    "release": "exhausted",
    "expiry": "expired",
    "reject": "rejected",
}
_IN_A_ROW: Final = 3
_DOUBLED: Final = 62
_AT_ONCE: Final = 100
_SWEPT_MS: Final = 60_000
"""After so many ms the sweep comes to a type without jobs again."""

Member = tuple[str, str]


class _Call:
    """What one call of a script, or several of a ms, did with the dead letters of a type."""

    __slots__ = ("added", "fallen", "now", "script")

    def __init__(self, entry: Entry) -> None:
        self.script, self.now = entry.script, entry.now
        self.added: Entry | None = None
        self.fallen = 0

    def has(self, entry: Entry) -> bool:
        return (self.script, self.now) == (entry.script, entry.now)


def backoff(settings: Mapping[str, Any], attempt: int) -> tuple[float, float]:
    """The shortest and the longest backoff (ms) after a delivery."""
    ms = min(settings["backoff_min"] * 2 ** min(attempt - 1, _DOUBLED), settings["backoff_max"])
    return 0.8 * ms - 1, 1.2 * ms + 1


class DeadLetters:
    """The checks of dead letters. `settings`: the options of `[sharq]` about them, `grace` (ms)."""

    def __init__(self, report: Report, replay: Replay, settings: Mapping[str, Any]) -> None:
        self._report = report
        self._replay = replay
        self._settings = settings
        self._again: defaultdict[str, dict[Member, Entry]] = defaultdict(dict)
        self._replaced: dict[str, Entry] = {}
        self._calls: dict[str, _Call] = {}

    def on_enqueue(self, entry: Entry, queue: Queue, _job: Job | None) -> None:
        """A job is put in, perhaps again."""
        if entry.script not in RETRIES:
            return
        member = entry.queue, entry.job
        letter = self._replay.types[entry.type].letters.get(member)
        self._again[entry.type][member] = entry
        self._report["I2"].expect(
            letter is not None and letter.job.sha == entry.sha,
            f"job {entry.job} is retried, and no such job is dead",
            entry,
        )
        if letter is not None:
            was = letter.job
            self._report["I7"].expect(
                (entry.left, entry.priority, entry.cost) == (was.limit, was.priority, was.cost),
                f"job {entry.job} is retried with {entry.left} requeues, priority"
                f" {entry.priority}, cost {entry.cost}; it had {was.limit}, {was.priority},"
                f" {was.cost}",
                entry,
            )
        if not queue.idle:
            now = (entry.interval, entry.burst, entry.concurrency, entry.group)
            group = queue.group.name if queue.group is not None else ""
            before = (queue.interval, queue.burst, queue.concurrency, group)
            self._report["I11"].expect(
                now == before, f"a retry changes {entry.queue} from {before} to {now}", entry
            )

    def on_return(self, entry: Entry, _queue: Queue, job: Job | None) -> None:
        """A job waits again."""
        self._report["I7"].expect(
            (entry.how == "expiry") == (entry.script == "requeue"),
            f"the script {entry.script} ends a lease as {entry.how}",
            entry,
        )
        if job is None or entry.how != "expiry":
            return
        expiries = job.expiries + 1
        low, high = (0.0, 0.0) if expiries < _IN_A_ROW else backoff(self._settings, entry.attempt)
        self._report["I5"].expect(
            low <= entry.due - entry.now <= high and entry.expiries == expiries,
            f"after {expiries} expiries in a row ({entry.expiries} are told) a job is to wait for"
            f" {entry.due - entry.now} ms, not {low:.0f} to {high:.0f}",
            entry,
        )

    def on_dead(self, entry: Entry, _queue: Queue, job: Job | None) -> None:
        """A job has died."""
        replaced = self._replaced.pop(entry.type, None)
        member = entry.queue, entry.job
        was_there = member in self._replay.types[entry.type].letters
        self._report["I1"].expect(
            (replaced is None or (replaced.queue, replaced.job) == member) and not was_there,
            "a dead letter is replaced by none of its job",
            replaced,
            entry,
        )
        if job is not None:
            reason = "" if job.doomed else _REASONS.get(entry.how, "?")
            self._report["I7"].expect(
                entry.reason == reason,
                f"a job that ended by {entry.how} is told to be {entry.reason or 'discarded'}",
                entry,
            )
        self._report["I1"].expect(
            not (entry.kept and not entry.reason), "a discarded job is kept as a dead letter", entry
        )

    def on_fallen(self, entry: Entry, _queue: Queue, _job: Job | None) -> None:
        """A dead letter is gone, and nobody has asked for it."""
        letters = self._replay.types[entry.type].letters
        letter = letters.get((entry.queue, entry.job))
        self._report["I2"].expect(letter is not None, "what falls out is not there", entry)
        if letter is None:
            return
        if entry.why == "replaced":
            self._replaced[entry.type] = entry
            return
        oldest = next(iter(letters.values()))
        self._report["I1"].expect(
            letter is oldest,
            f"{letter.job.id} falls out before the older {oldest.job.id}",
            entry,
        )
        if entry.why == "jobs":
            most = self._most(entry.type)
            self._report["I1"].expect(
                len(letters) > most, f"one of {len(letters)} falls out, {most} are kept", entry
            )
        elif entry.why == "age":
            age = entry.now - letter.died
            self._report["I1"].expect(
                age >= self._settings["dead_retention"] - 1, f"one falls out after {age} ms", entry
            )

    def on_unburied(self, entry: Entry, _queue: Queue, _job: Job | None) -> None:
        """A dead letter is taken away."""
        member = entry.queue, entry.job
        there = member in self._replay.types[entry.type].letters
        self._report["I2"].expect(there, f"no dead letter of {entry.job} to {entry.why}", entry)
        again = self._again[entry.type].pop(member, None)
        if entry.why == "retry":
            self._report["I1"].expect(
                again is not None and again.script == entry.script,
                f"a dead letter is gone, and {entry.job} was not put in again",
                entry,
            )

    def on_any(self, entry: Entry, _queue: Queue, _job: Job | None) -> None:
        """What was begun in the call before has come to its end there."""
        call = self._calls.get(entry.type)
        if call is None or not call.has(entry):
            if call is not None:
                self._expect_trimmed(entry.type, call)
            call = self._calls[entry.type] = _Call(entry)
        if entry.what == "dead" and entry.kept:
            call.added = entry
        elif entry.what == "fallen" and entry.why != "replaced":
            call.fallen += 1
        again = self._again.get(entry.type)
        if again:
            begun = next(iter(again.values()))
            if (begun.script, begun.now) != (entry.script, entry.now):
                again.clear()
                self._report["I2"].expect(
                    False, f"job {begun.job} was retried, and is dead all the same", begun
                )
        replaced = self._replaced.get(entry.type)
        if replaced is not None and (replaced.script, replaced.now) != (entry.script, entry.now):
            del self._replaced[entry.type]
            self._report["I1"].expect(False, "a dead letter is replaced by none", replaced)

    def _most(self, name: str) -> int:
        """How many are kept of a type; of a shard its part, rounded up."""
        return int(-(-self._settings["dead_max_jobs"] // shards_in(name)))

    def _expect_trimmed(self, name: str, call: _Call) -> None:
        if call.added is None:
            return
        number, most = len(self._replay.types[name].letters), self._most(name)
        self._report["I8"].expect(
            number <= most or call.fallen >= _AT_ONCE,
            f"{name}: {number} dead letters are left, {call.fallen} fell out",
            call.added,
        )

    def look_at(self, snapshot: Mapping[str, Any]) -> None:
        """Look at a snapshot by itself."""
        for there in snapshot.get("dead", ()):
            self._expect_whole(there)
            self._expect_bounds(there, snapshot.get("now"))

    def at_end(self, snapshot: Mapping[str, Any] | None) -> None:
        """Compare with the last snapshot."""
        for name in self._replay.types:
            self._report["I2"].expect(not self._again[name], f"{name}: a retry has not ended")
            self._report["I1"].expect(name not in self._replaced, f"{name}: replaced by none")
        if snapshot is None or "dead" not in snapshot:
            return
        stored = {each["type"]: each for each in snapshot["dead"]}
        for name, of_type in self._replay.types.items():
            self._compare(of_type, stored.pop(name, _NOTHING))
        for name in stored:
            self._report["I2"].expect(False, f"{name} has dead letters, and was never heard of")

    def _compare(self, of_type: Type, there: Mapping[str, Any]) -> None:
        name, members = of_type.name, {f"{queue}/{job}" for queue, job in of_type.letters}
        lost, invented = members.difference(there["order"]), set(there["order"]) - members
        self._report["I1"].expect(
            not lost, f"{name}: {len(lost)} dead letters are gone, {sorted(lost)[:5]}"
        )
        self._report["I2"].expect(
            not invented, f"{name}: {len(invented)} dead letters of nobody, {sorted(invented)[:5]}"
        )
        found = there["fallen"], there["dropped"]
        self._report["I9"].expect(
            found == (of_type.fallen, of_type.dropped),
            f"{name}: {found[0]} fell out and {found[1]} were dropped, by the audit"
            f" {of_type.fallen} and {of_type.dropped}",
        )

    def _expect_whole(self, there: Mapping[str, Any]) -> None:
        name, members = there["type"], there["order"].keys()
        for part in ("about", "jobs"):
            self._report["I10"].expect(
                there[part].keys() == members, f"{name}: {part} has other dead letters than order"
            )
        size = sum(
            len(member) + there["about"].get(member, 0) + there["jobs"].get(member, 0)
            for member in members
        )
        self._report["I10"].expect(
            there["bytes"] == size, f"{name}: {there['bytes']} bytes are told, there are {size}"
        )

    def _expect_bounds(self, there: Mapping[str, Any], now: int | None) -> None:
        name, number = there["type"], len(there["order"])
        most = self._most(name) + _AT_ONCE
        self._report["I8"].expect(number <= most, f"{name}: {number} dead letters are kept")
        if number and now is not None:
            age = now - min(there["order"].values()) / 1000
            late = age - self._settings["dead_retention"] - _SWEPT_MS - self._settings["grace"]
            self._report["I8"].expect(late <= 0, f"{name}: a dead letter is {age:.0f} ms old")


_NOTHING: Final[Mapping[str, Any]] = {"order": {}, "fallen": 0, "dropped": 0}
