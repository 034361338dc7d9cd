"""I10: store keys, sockets, tasks and memory return to their baseline. From the drained state.

When every job has ended and the rate states have run out, the keys that are left are counters,
marks, what was remembered of requests, servers that wait, lease numbers, states of queues, and the
counts of dead letters that were all taken away and the bulk that did, each with a TTL, and the
registry of types; how many shards a type has, and what closes the keys that it had before; and the
newest counters of a type, which have none until a sweep finds them old, with the key that names
them. A key of jobs, leases, the schedule or dead letters, or one without a
TTL, has leaked; so has one of a name that docs/keyspace.md does not have.

`resources` of the snapshot has, for each server, what its processes held at the `start` and at the
`end`; their sums have not grown by more than the slack of each measure (`slack` of the settings).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tests.faults.checker.report import Report

_ENDING: Final = re.compile(
    r"\{[^{}]+\}:(?:\d+:)?(?:serial|waiting|sweep|sample|dead(?::bulk)?|q:[\w-]+|x:[.*\w-]+"
    r"|[cf]:\d+(?:(?::[ed])?:\d+)?|c:\d+:past|c:early"
    r"|paused|opened)"
)
_NEWEST: Final = re.compile(r"(\{[^{}]+\}(?::\d+)?):c:(?:last|\d+)")
_LASTING: Final = re.compile(
    r"\{[^{}:]+\}:types|\{[^{}]+\}:(?:\d+:)?(?:audit|drained|offset)|\{[^{}:]+:[^{}:]+\}:shards"
)
_CLOSED: Final = re.compile(
    r"(?:ready|leases|held|waiting|limit:groups|dead|dead:order|moving)=string|(?:limit|sample)=hash"
)
"""The keys by which all others of a type are closed, and what they are then."""

SLACK: Final = {"sockets": 8, "files": 16, "tasks": 16, "memory": 65_536}
"""By how much each measure may grow: sockets, files and tasks, and KiB of memory."""


class Leaks:
    """The checks of I10."""

    def __init__(self, report: Report) -> None:
        self._tally = report["I10"]

    def at_end(self, drained: Mapping[str, Any], slack: Mapping[str, int]) -> None:
        """Look at what is left."""
        lasting = [key["key"] for key in drained["keys"] if key["ttl"] == -1]
        spread = {name.removesuffix("shards") for name in lasting if name.endswith("}:shards")}
        newest = Counter(match[1] for name in lasting if (match := _NEWEST.fullmatch(name)))
        for key in drained["keys"]:
            name, ttl = key["key"], key["ttl"]
            if ttl == -1 and (match := _NEWEST.fullmatch(name)):
                whole = newest[match[1]] == 2 and f"{match[1]}:c:last" in lasting
                self._tally.expect(whole, f"the key {name} has no TTL, and is not the newest")
            elif any(
                name.startswith(tag) and _CLOSED.fullmatch(f"{name[len(tag) :]}={key['type']}")
                for tag in spread
            ):
                self._tally.expect(ttl == -1, f"the key {name} is not closed for good")
            elif _ENDING.fullmatch(name):
                self._tally.expect(ttl != -1, f"the key {name} has no TTL")
            else:
                self._tally.expect(
                    bool(_LASTING.fullmatch(name)), f"the key {name} ({key['type']}) is left"
                )
        resources = drained.get("resources", {"start": {}, "end": {}})
        for server, processes in resources["end"].items():
            before, after = _sums(resources["start"].get(server, ())), _sums(processes)
            for measure, held in after.items():
                allowed = before[measure] + slack.get(measure, 0)
                self._tally.expect(
                    held <= allowed,
                    f"{server}: {measure} {before[measure]} at first, {held} at last",
                )


def _sums(processes: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for process in processes:
        total.update(process)
    return total
