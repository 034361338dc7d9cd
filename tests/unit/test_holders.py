"""Who holds a lease: servers that ask each other, with a clock of the test's."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from functools import partial
from typing import Any

import pytest

from sharq.errors import StoreUnavailable
from sharq_server.watch.holders import Holder, Holders

LEASE, OTHER = "t/q/j/1", "t/q/k/1"


class Servers:
    """Servers that reach each other; `held` has what each knows, `told` all messages."""

    def __init__(self, *names: str) -> None:
        self.now = 0.0
        self.failure: Exception | None = None
        self.held: dict[str, dict[str, Holder]] = {name: {} for name in names}
        self.told: list[tuple[str | None, bytes]] = []
        self.holders = {
            name: Holders(name, partial(self.own, name), self.tell, lambda: self.now)
            for name in names
        }

    def hold(self, name: str, lease: str = LEASE, since: int = 0, **more: str) -> None:
        self.held[name][lease] = Holder(name, f"host:{name}", since, **more)

    def own(self, name: str, leases: Collection[str]) -> dict[str, Holder]:
        return {lease: each for lease, each in self.held[name].items() if lease in leases}

    async def tell(self, server: str | None, message: bytes) -> None:
        if self.failure is not None:
            raise self.failure
        self.told.append((server, message))
        for name, each in self.holders.items():
            if server in (None, name):
                await each.on_message(message)

    def look(self, lease: str = LEASE) -> Any:
        return asyncio.run(self.holders["a"].look(lease))

    @property
    def calls(self) -> list[bytes]:
        return [message for server, message in self.told if server is None]


def test_the_server_that_knows_answers() -> None:
    servers = Servers("a", "b", "c")
    servers.hold("b", worker="w", mode="deliver", token="t")
    told = {"server": "b", "host": "host:b", "since": 0, "mode": "deliver"}
    assert servers.look()["holder"] == told | {"worker": "w", "token": "t"}
    assert [server for server, _ in servers.told] == [None, "a"], "the third says nothing"


def test_nobody_is_told_for_good_only_when_all_have_had_time() -> None:
    servers = Servers("a", "b")
    assert servers.look() == {"asked": False}
    servers.now = 1.0
    assert servers.look() == {"asked": True}


def test_a_lease_is_called_for_once_a_second() -> None:
    servers = Servers("a", "b")
    for _ in range(3):
        servers.look()
        # Who comes and goes all the time has no more calls.
        servers.holders["a"].forget(())
    assert servers.calls == [b"@a t/q/j/1"]
    servers.look(OTHER)
    servers.look()
    assert servers.calls[1:] == [b"@a t/q/k/1"]
    servers.now = 1.0
    servers.look()
    servers.look(OTHER)
    assert servers.calls[2:] == [b"@a t/q/j/1 t/q/k/1"], "one call for all that are due"


def test_what_is_forgotten_is_not_called_for() -> None:
    servers = Servers("a", "b")
    servers.look()
    servers.look(OTHER)
    servers.now = 1.0
    servers.holders["a"].forget({OTHER})
    servers.look(OTHER)
    assert servers.calls[2:] == [b"@a t/q/k/1"]


def test_a_holder_that_is_not_told_again_is_known_no_more() -> None:
    servers = Servers("a", "b")
    servers.hold("b")
    servers.look()
    servers.held["b"].clear()
    servers.now = 2.4
    assert "holder" in servers.look()
    servers.now = 2.6
    assert servers.look() == {"asked": True}


@pytest.mark.parametrize(("a", "b", "later"), [(1000, 2000, "b"), (2000, 1000, "a")])
def test_the_later_of_two_is_told(a: int, b: int, later: str) -> None:
    servers = Servers("a", "b")
    servers.hold("a", since=a)
    servers.hold("b", since=b)
    for _ in range(4):
        assert servers.look()["holder"]["server"] == later
        servers.now += 1.0
    servers.held[later].clear()
    servers.now += 3.0
    assert servers.look()["holder"]["server"] != later


def test_a_failure_of_the_store_is_told_and_the_next_look_calls() -> None:
    servers = Servers("a", "b")
    servers.hold("b")
    servers.failure = StoreUnavailable("away")
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            servers.look()
    servers.failure = None
    assert servers.look()["holder"]["server"] == "b"


@pytest.mark.parametrize("message", [b"", b":", b":{}", b':{"t/q/j/1": 5}', b":\xff", b"?", b"@"])
def test_other_messages_are_ignored(message: bytes) -> None:
    servers = Servers("a", "b")
    servers.look()
    asyncio.run(servers.holders["a"].on_message(message))
    assert servers.look() == {"asked": False}
