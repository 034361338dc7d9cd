"""The verbs that ask a server over REST."""

from __future__ import annotations

from typing import Final

from sharq.cli import (
    dead,
    doctor,
    enqueue,
    job,
    limit,
    pause,
    queue,
    queues,
    shards,
    tail,
    top,
    types,
)
from sharq.cli.verb import Parsers, add

VERBS: Final = (
    *(top.VERB, tail.VERB, types.VERB, queues.VERB, queue.VERB, job.VERB),
    *(enqueue.VERB, limit.VERB, pause.PAUSE, pause.RESUME, shards.VERB, doctor.VERB),
)
"""All but `dead`, which has verbs of its own."""


def add_to(commands: Parsers) -> None:
    """Add all of them to the command."""
    for verb in VERBS:
        add(commands, verb)
    dead.add_to(commands)
