"""Dead letters and wake-ups: a retry wakes a server that waits, as an enqueue does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sharq.operations.targets import Target
from sharq.results import DeadFilter, LimitValues, Told
from tests.support.servers import Servers
from tests.support.stores import PrivateStore


@pytest.fixture
def servers(store: PrivateStore) -> Iterator[Servers]:
    servers = Servers(store)
    servers.listen(".a", ".b")
    yield servers
    servers.close()


def settle(servers: Servers, how: str, **told: str) -> None:
    (lease,) = servers.take()
    ends = [Told(*lease[1:], how, **told)]
    servers.queue.run(servers.operations.settle("t", ends))


def retry(servers: Servers) -> None:
    servers.queue.run(servers.operations.retry_dead("t", [("q", "j1")]))


def retry_all(servers: Servers) -> None:
    operations = servers.operations
    servers.queue.run(operations.begin_dead("t", "b", "retry", DeadFilter(), None))
    servers.queue.run(operations.advance_dead("t", ".b"))


RETRIES: list[Callable[[Servers], Any]] = [retry, retry_all]


@pytest.mark.parametrize("again", RETRIES)
def test_a_retry_wakes_a_server_that_waits(servers: Servers, again: Any) -> None:
    servers.put()
    settle(servers, "reject")
    assert servers.ask(".a").wait_us is None
    again(servers)
    assert servers.woken() == [".a"]
    assert len(servers.ask(".a")) == 1


@pytest.mark.parametrize("again", RETRIES)
def test_a_retry_under_a_paused_type_wakes_nobody(servers: Servers, again: Any) -> None:
    servers.put()
    settle(servers, "reject")
    servers.queue.run(servers.operations.pause("t", Target("type"), None, "", "api"))
    assert servers.ask(".a").wait_us is None
    again(servers)
    assert servers.woken() == []


def test_a_failed_job_that_comes_back_later_tells_when(servers: Servers) -> None:
    servers.put()
    (lease,) = servers.take()
    assert servers.ask(".a").wait_us is None
    ends = [Told(*lease[1:], "fail", delay="5000")]
    servers.queue.run(servers.operations.settle("t", ends))
    assert servers.woken() == [".a"]
    assert servers.ask(".a").wait_us == 5_000_000


def test_a_death_that_frees_a_concurrency_wakes_a_server(servers: Servers) -> None:
    limits = LimitValues(concurrency=1)
    servers.queue.run(servers.operations.set_limits("t", Target("type"), limits))
    servers.put()
    servers.put()
    (lease,) = servers.take()
    assert servers.ask(".a").wait_us is None
    servers.queue.run(servers.operations.settle("t", [Told(*lease[1:], "reject")]))
    assert servers.woken() == [".a"]
    assert len(servers.ask(".a")) == 1
