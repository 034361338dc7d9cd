"""A primary and its replicas, without anybody who promotes one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Self

import pytest

from sharq import Settings
from tests.support.sentinels import follow
from tests.support.stores import Option, PrivateStore, wait_for


class PrivateReplicas:
    """A primary and so many replicas of a test's own; `options` are settings of every node."""

    def __init__(self, replicas: int = 1, **options: Option) -> None:
        self.nodes: list[PrivateStore] = []
        try:
            for _ in range(1 + replicas):
                node = PrivateStore(tcp=True, **{"repl_diskless_sync_delay": 0, **options})
                self.nodes.append(node)
            self.mend()
        except BaseException:
            self.close()
            raise

    @property
    def primary(self) -> PrivateStore:
        return self.nodes[0]

    @property
    def replica(self) -> PrivateStore:
        """The first replica."""
        return self.nodes[1]

    def settings(self, acked: int = 1, **redis: Any) -> Settings:
        """How SharQ reaches the primary."""
        place = {"host": self.primary.host, "port": self.primary.port}
        return Settings.from_mapping({"redis": {**place, "replicas_acked": acked, **redis}})

    def waits(self) -> int:
        """How often the primary was told to wait for replicas; trials are told of as well."""
        return sum(self.calls(name) for name in ("wait", "waitaof"))

    def calls(self, command: str) -> int:
        """How often the primary has run a command."""
        stats: Any = self.primary.client.info("commandstats")
        return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))

    def mend(self) -> None:
        """Start and resume what a test has harmed, and let all follow the primary, empty."""
        for node in self.nodes:
            if node._process is None:
                node.start()
            else:
                node.resume()
        for node in self.nodes[1:]:
            follow(node, self.primary)
        wait_for("replicas follow", self._all_follow, 30)
        self.primary.client.flushall()
        count = len(self.nodes) - 1
        # A replica that has just begun to follow tells nothing for a second.
        wait_for("replicas answer", lambda: self._acked() == count, 30)

    def close(self) -> None:
        for node in self.nodes:
            with suppress(AssertionError):
                node.resume()
            node.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _all_follow(self) -> bool:
        info: Any = self.primary.client.info("replication")
        states = [info.get(f"slave{at}", {}).get("state") for at in range(len(self.nodes) - 1)]
        return all(state == "online" for state in states)

    def _acked(self) -> int:
        return int(self.primary.command("WAIT", len(self.nodes) - 1, 100))


@pytest.fixture(scope="module")
def shared_replicas() -> Iterator[PrivateReplicas]:
    """The stores of a module; a test asks for `stores`."""
    with PrivateReplicas() as stores:
        yield stores


@pytest.fixture
def stores(shared_replicas: PrivateReplicas) -> Iterator[PrivateReplicas]:
    """A primary and its replica, empty, which a test may harm."""
    shared_replicas.mend()
    yield shared_replicas
    shared_replicas.mend()
