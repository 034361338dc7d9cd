"""docs/command.md: its examples work, in their order."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from sharq.cli import dead, verbs
from tests.cli.command import Shell
from tests.support.watch_server import WatchServer, of_type, of_types, of_workers, type_entry

PAGE = (Path(__file__).parents[2] / "docs" / "command.md").read_text()
LINES = re.findall(r"^sharq (?!enqueue:).*$", PAGE, re.M)


def test_every_verb_has_an_example() -> None:
    shown = {line.split()[1] for line in LINES}
    assert shown == {verb.name for verb in verbs.VERBS} | {"dead", "completion"}
    below = {line.split()[2] for line in LINES if line.startswith("sharq dead")}
    assert below | {"progress", "cancel"} == {verb.name for verb in dead.VERBS}


def test_the_examples_work(sharq: Shell) -> None:
    topics = {"types": of_types(sms=type_entry()), "type_sms": of_type(), "workers": of_workers()}
    with WatchServer(**topics) as watch:
        _try_all(sharq, watch)


def _try_all(sharq: Shell, watch: WatchServer) -> None:
    sharq.put("sms", "user-1", "job-1", {"to": "Ada"}, interval=1000)
    inputs = {
        "payload.json": b'{"to": "Cyd"}',
        "jobs.jsonl": b'{"queue_id": "user-1", "job_id": "job-8", "interval": 1000, "payload": 1}',
    }
    for line in LINES:
        command, _, name = line.partition(" > ")[0].partition(" < ")
        if command.startswith("sharq dead "):
            # Each needs its dead letter.
            sharq.rest("POST", "/resume/sms/")
            sharq.rest("POST", "/limits/sms/user-1/", {"interval": 0})
            sharq.rest("DELETE", "/deletequeue/sms/user-1/")
            sharq.bury("sms", ["job-1"], "user-1", type="OSError")
        arguments = shlex.split(command)[1:]
        if arguments[0] == "tail":
            # It does not end by itself: test_tail.py.
            continue
        if arguments[0] == "top" or "--by" in arguments:
            arguments += ["--url", watch.url]
        said = sharq(*arguments, stdin=inputs.get(name, b""))
        if command == "sharq dead delete sms --queue user-1":
            assert (said.code, "--yes" in said.err) == (2, True)
        else:
            assert (said.code, said.err) == (0, ""), line
