"""The library over a store that sentinels watch, through all that makes them promote a replica.

One set of nodes and sentinels is shared: each test mends what it has harmed.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from sharq import Settings, SharQ
from sharq.errors import StoreDenied, StoreError, StoreUnavailable
from tests.support.faces import Blocking, Face, run
from tests.support.failovers import FACES, PRODUCERS, fail_over, mend, settings_of, stand
from tests.support.proxy import AUTHORITY, Proxy, server_context
from tests.support.sentinels import PrivateSentinel, PrivateSentinels
from tests.support.stores import PrivateStore, wait_for

OPEN: dict[str, Callable[..., Face]] = {"asyncio": Blocking, "blocking": SharQ}


@pytest.fixture(scope="module")
def shared() -> Iterator[PrivateSentinels]:
    with stand(min_replicas_to_write=1) as store:
        yield store


@pytest.fixture
def sentinels(shared: PrivateSentinels) -> Iterator[PrivateSentinels]:
    yield shared
    mend(shared)


@pytest.fixture(params=OPEN)
def open_face(request: pytest.FixtureRequest) -> Iterator[Callable[[Settings], Face]]:
    faces: list[Face] = []

    def opened(settings: Settings) -> Face:
        faces.append(OPEN[request.param](settings))
        return faces[-1]

    yield opened
    for face in faces:
        face.close()


def asking(sentinels: PrivateSentinels, *addresses: str, **more: Any) -> Settings:
    """Settings with other sentinels, or other options of `[redis]`."""
    redis = settings_of(sentinels).redis
    return Settings(redis=replace(redis, sentinels=addresses or redis.sentinels, **more))


def enqueue(queue: Face, job_id: str = "j") -> Any:
    return queue.enqueue({}, 0, job_id, "q", "t")


def trouble_of(queue: Face, job_id: str = "j") -> StoreError:
    with pytest.raises(StoreError) as caught:
        enqueue(queue, job_id)
    assert not caught.value.outcome_unknown
    return caught.value


def reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)


# ---- finding the primary ----


def test_the_primary_is_found(sentinels: PrivateSentinels, open_face: Any) -> None:
    queue = open_face(settings_of(sentinels))
    assert enqueue(queue) == {"status": "queued"}
    assert queue.deep_status()


@pytest.mark.timing
@pytest.mark.parametrize("harm", ["kill", "pause"])
def test_sentinels_that_are_away_hold_nobody_up(
    sentinels: PrivateSentinels, open_face: Any, harm: str
) -> None:
    for sentinel in sentinels.sentinels[:2]:
        getattr(sentinel, harm)()
    with _at_most(1.5):
        assert enqueue(open_face(settings_of(sentinels)), harm) == {"status": "queued"}


def test_a_wrong_service_is_named(sentinels: PrivateSentinels, open_face: Any) -> None:
    error = trouble_of(open_face(asking(sentinels, sentinel_service="mymain")))
    assert isinstance(error, StoreUnavailable)
    assert reason(error).count("it monitors no `mymain` (sentinel_service)") == 3


def test_a_node_in_the_place_of_a_sentinel_is_named(
    sentinels: PrivateSentinels, open_face: Any
) -> None:
    with PrivateStore(tcp=True) as other:
        error = trouble_of(open_face(asking(sentinels, f"127.0.0.1:{other.port}")))
        assert reason(error) == (
            f"no sentinel names a primary (127.0.0.1:{other.port}: it is no sentinel)"
        )


def test_the_store_begins_when_a_sentinel_answers(
    sentinels: PrivateSentinels, open_face: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for sentinel in sentinels.sentinels:
        sentinel.kill()
    queue = open_face(settings_of(sentinels))
    error = trouble_of(queue)
    assert isinstance(error, StoreUnavailable)
    assert reason(error).count("Connection refused") == 3
    sentinels.sentinels[2].start()
    wait_for("the primary is found", lambda: _works(queue))


def test_the_store_is_used_as_before_while_no_sentinel_answers(
    sentinels: PrivateSentinels, open_face: Any, caplog: pytest.LogCaptureFixture
) -> None:
    queue = open_face(settings_of(sentinels))
    enqueue(queue)
    for sentinel in sentinels.sentinels:
        sentinel.kill()
    # A second connection has to be opened.
    sentinels.primary_by_role().command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    wait_for("it works", lambda: _works(queue))
    said = [r.getMessage() for r in caplog.records if "is used as before" in r.getMessage()]
    assert len(said) == 1


def test_nothing_is_written_to_a_node_that_is_no_primary(
    sentinels: PrivateSentinels, open_face: Any
) -> None:
    replica = next(node for node in sentinels.nodes if node is not sentinels.primary)
    lines = "sentinel auth-user other peers\nsentinel auth-pass other p\n"
    liar = PrivateSentinel(replica.port, 5000, 2, lines, service="other")
    with closing(liar):
        settings = asking(sentinels, liar.address, sentinel_service="other")
        assert "it is no primary" in reason(trouble_of(open_face(settings)))


def test_the_sentinels_may_ask_for_credentials(sentinels: PrivateSentinels, open_face: Any) -> None:
    port = sentinels.primary.port
    lines = (
        "sentinel auth-user locked peers\nsentinel auth-pass locked p\nuser default off\n"
        "user sharq on >secret resetchannels &+failover-state-send-slaveof-noone &+promoted-slave"
        " &+switch-master +ping +subscribe +sentinel|master +sentinel|get-master-addr-by-name\n"
    )
    locked = PrivateSentinel(port, 5000, 2, lines, service="locked")
    with closing(locked):
        settings = asking(sentinels, locked.address, sentinel_service="locked")
        error = trouble_of(open_face(settings))
        assert isinstance(error, StoreDenied)
        assert "NOAUTH" in reason(error)
        wrong = replace(settings.redis, sentinel_username="sharq", sentinel_password="wrong")
        assert "WRONGPASS" in reason(trouble_of(open_face(Settings(redis=wrong))))
        right = replace(wrong, sentinel_password="secret")
        assert enqueue(open_face(Settings(redis=right)), "locked") == {"status": "queued"}


def test_a_redis_client_follows_the_primary(sentinels: PrivateSentinels, open_face: Any) -> None:
    queue = open_face(settings_of(sentinels))
    enqueue(queue)
    client = queue.redis_client()
    assert run(queue, client.ping())
    assert run(queue, client.info("server"))["tcp_port"] == sentinels.primary.port


def test_sentinels_are_asked_over_tls_where_the_store_has_it(sentinels: PrivateSentinels) -> None:
    sentinel = sentinels.sentinels[0]
    with Proxy((sentinel.host, sentinel.port), server_context()) as proxy:
        settings = asking(sentinels, f"localhost:{proxy.port}", tls=True, tls_ca=AUTHORITY)
        with closing(Blocking(settings)) as queue:
            # The sentinel has answered, and the node that it names has no TLS.
            assert "no sentinel names a primary" not in reason(trouble_of(queue))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_follows_the_primary_by_itself(sentinels: PrivateSentinels) -> None:
    with SharQ(settings_of(sentinels)) as queue:
        enqueue(queue, "parent")
        enqueue(queue, "listening")
        child = os.fork()
        if child == 0:
            os._exit(0 if enqueue(queue, "child") == {"status": "queued"} else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert enqueue(queue, "child") == {"status": "queued"}


# ---- failovers ----


def test_a_primary_that_was_made_a_replica_by_hand_gets_nothing(
    sentinels: PrivateSentinels, open_face: Any
) -> None:
    queue = open_face(settings_of(sentinels))
    enqueue(queue)
    former = sentinels.primary
    other = next(node for node in sentinels.nodes if node is not former)
    former.command("REPLICAOF", other.host, other.port)
    try:
        # A job that is known would be found without a write.
        assert "it is no primary" in reason(trouble_of(queue, "new"))
    finally:
        former.command("REPLICAOF", "NO", "ONE")
    wait_for("it works", lambda: _works(queue))


@pytest.mark.timing
@pytest.mark.parametrize("kind", ["hang", "partition", "return"])
def test_service_is_back_and_nothing_is_acknowledged_by_a_former_primary(
    sentinels: PrivateSentinels, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for result in fail_over(kind, FACES, sentinels, after=1.0 if kind == "return" else 0.3):
        # What the last moment before the fault has acknowledged may have reached no replica.
        assert (result.late, result.lost // (2 * PRODUCERS)) == (0, 0)
        # A promoted replica may wait for the other one, which sentinels try for ten seconds.
        assert result.outage < (13 if result.refused["NOREPLICAS"] else 1.5)
        # With one replica that has to be there, the next primary waits for the other one.
        assert set(result.refused) <= {"NOREPLICAS", "The store is not available"}
    said = [r.getMessage() for r in caplog.records if r.name in ("sharq.link", "sharq.sentinel")]
    # Of each of two links, and of another two that look for lost jobs.
    assert 2 <= len(said) <= 24, said


@pytest.mark.timing
def test_a_healthy_primary_that_is_left_gets_no_more_jobs(sentinels: PrivateSentinels) -> None:
    """It goes on to accept them for seconds, and loses them when it is made a replica."""
    for node in sentinels.nodes:
        node.client.config_set("min-replicas-to-write", 0)
    try:
        for result in fail_over("failover", FACES, sentinels, after=0.3):
            assert result.lost == 0
            assert not result.refused
            assert result.gap < 2
    finally:
        for node in sentinels.nodes:
            node.client.config_set("min-replicas-to-write", 1)


@pytest.mark.timing
def test_who_slept_through_two_failovers_goes_to_the_newest_primary(
    sentinels: PrivateSentinels,
) -> None:
    """What the sentinels have told meanwhile is read at once, the oldest first."""
    with ExitStack() as stack:
        queues = [
            stack.enter_context(closing(kind(settings_of(sentinels)))) for kind in OPEN.values()
        ]
        for queue in queues:
            for number in range(20):
                enqueue(queue, f"before-{number}")
                time.sleep(0.01)
        sentinels.fail_over()
        newest = sentinels.fail_over()
        mend(sentinels)  # or it would wait for a replica to follow it
        for queue in queues:
            with _at_most(1.0):
                enqueue(queue, "after")
            assert run(queue, queue.redis_client().info("server"))["tcp_port"] == newest.port
            assert queue.get_queue_length("t", "q") >= 1


# ---- others ----


def test_without_sentinels_nothing_of_them_is_loaded(clean_store: PrivateStore) -> None:
    code = (
        "import asyncio, sys\n"
        "from sharq import AsyncSharQ, Settings, SharQ\n"
        "settings = Settings.from_mapping({'redis': {'host': '127.0.0.1', 'port': sys.argv[1]}})\n"
        "with SharQ(settings) as queue: queue.enqueue({}, 0, 'j', 'q', 't')\n"
        "async def main():\n"
        "    async with AsyncSharQ(settings) as queue: await queue.dequeue('t')\n"
        "asyncio.run(main())\n"
        "print([name for name in sys.modules if 'sentinel' in name])\n"
    )
    command = [sys.executable, "-c", code, str(clean_store.port)]
    assert subprocess.run(command, capture_output=True, check=True, text=True).stdout == "[]\n"


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun <= seconds


def _works(queue: Face) -> bool:
    try:
        enqueue(queue, "works")
    except StoreUnavailable:
        return False
    return True
