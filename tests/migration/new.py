"""Migrations in tests, and what they have brought."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from sharq.blocking_engine import SyncEngine
from sharq.deployment import Deployment
from sharq.migration.migration import Migration, Plan
from sharq.migration.report import Report
from sharq.settings.reading import Settings
from sharq.store.blocking_link import SyncLink
from tests.migration.old import LEASE, PREFIX, Old
from tests.support.stores import PrivateStore

Jobs = dict[tuple[str, str], list[tuple[str, Any, int]]]
"""Of each queue its jobs in order: name, payload, requeues that remain."""


def settings_for(store: PrivateStore, prefix: str = PREFIX, **sharq: Any) -> Settings:
    place = {"conn_type": "unix_sock", "unix_socket_path": store.socket_path}
    return Settings.from_mapping({"redis": place | {"key_prefix": prefix}, "sharq": sharq})


class New:
    """A deployment of ours, which jobs are moved to; `folder` is for its files."""

    def __init__(self, store: PrivateStore, folder: Path, prefix: str = PREFIX) -> None:
        self.store = store
        self.client = store.client
        self.prefix = prefix
        self.folder = folder
        self.rejects = folder / "rejects.jsonl"
        self.settings = settings_for(store, prefix)

    @contextmanager
    def migration(self, old: Old, *, lease: int = LEASE, **plan: Any) -> Iterator[Migration]:
        """A migration from `old`, which goes by a file of its configuration."""
        config = self.folder / "old.conf"
        config.write_text(
            f"[redis]\nkey_prefix : {old.prefix}\nconn_type : unix_sock\n"
            f"unix_socket_path : {old.store.socket_path}\n"
        )
        wanted = Plan(**({"watch": 0.0, "quiet": 0.3, "pause": 0.01} | plan))
        place = Settings.of_original(config).redis
        with self.engine() as engine:
            migration = Migration(place, lease, engine, wanted, str(self.rejects))
            try:
                yield migration
            finally:
                migration._source.close()

    def migrate(self, old: Old, **plan: Any) -> Report:
        with self.migration(old, **plan) as migration:
            return migration.run()

    @contextmanager
    def engine(self) -> Iterator[SyncEngine]:
        engine = SyncEngine(Deployment.read(self.settings), reclaims=False)
        try:
            yield engine
        finally:
            engine.close()

    def waiting(self) -> Jobs:
        """What waits, in its order."""
        jobs: Jobs = {}
        with self.engine() as engine:
            flows = engine.flows
            for kind in self.types():
                for queue in engine.run(flows.queue_ids(kind)):
                    cursor = None
                    while True:
                        page = engine.run(flows.job_page(kind, queue, cursor, 100))
                        for job in page.jobs:
                            told = (job.job_id, json.loads(job.payload), job.requeues_remaining)
                            jobs.setdefault((kind, queue), []).append(told)
                        cursor = page.cursor
                        if cursor is None:
                            break
        return jobs

    def leased(self) -> dict[str, int]:
        """The leases, `type/queue/job`, and for how many ms they last."""
        now = int(self.client.time()[0] * 1000 + self.client.time()[1] // 1000)
        return {
            f"{kind}/{member.decode()}": int(end) - now
            for kind in self.types()
            for member, end in self.client.zrange(self.key(kind, "leases"), 0, -1, withscores=True)
        }

    def types(self) -> list[str]:
        names = self.client.zrange("{" + self.prefix + "}:types", 0, -1)
        return sorted(name.decode() for name in names)

    def key(self, kind: str, name: str) -> str:
        return "{" + f"{self.prefix}:{kind}" + "}:" + name

    def lines(self) -> list[dict[str, Any]]:
        """What the file of rejects has."""
        if not self.rejects.exists():
            return []
        return [json.loads(line) for line in self.rejects.read_text().splitlines()]


def each(jobs: Jobs) -> Iterator[str]:
    """The names of jobs, `type/queue/job`."""
    for (kind, queue), some in jobs.items():
        for job, _, _ in some:
            yield f"{kind}/{queue}/{job}"


class Killed(BaseException):
    """The process was killed: nothing catches it."""


@contextmanager
def killed_at(number: int, *, before: bool) -> Iterator[list[int]]:
    """Have the process end with a call of a store, before or after it was carried out.

    Yields a list that has one item for each call.
    """
    calls: list[int] = []
    run = SyncLink.run

    def counted(link: SyncLink, call: Any) -> Any:
        calls.append(1)
        if len(calls) > number or (len(calls) == number and before):
            raise Killed
        answer = run(link, call)
        if len(calls) == number:
            raise Killed
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SyncLink, "run", counted)
        with suppress(Killed):
            yield calls
