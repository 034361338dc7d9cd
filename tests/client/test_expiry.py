"""The library without a server takes back by itself what has run out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sharq import Settings
from tests.support.direct import CLOCKED_SCRIPTS
from tests.support.faces import (
    FACES,
    Face,
    HandClock,
    Opener,
    opener,
    settings_for,
)
from tests.support.stores import PrivateStore, wait_for

FAILED = {"status": "failure"}
LEASE, INTERVAL = 150, 20  # ms


@pytest.fixture(params=FACES)
def open_face(request: pytest.FixtureRequest) -> Iterator[Opener]:
    with opener(FACES[request.param]) as open_one:
        yield open_one


def brief(store: PrivateStore, **more: Any) -> Settings:
    return settings_for(store, job_expire_interval=LEASE, job_requeue_interval=INTERVAL, **more)


def next_job(queue: Face, queue_type: str = "mail") -> dict[str, Any]:
    """Poll as a worker does until there is a job."""

    def ask() -> Any:
        answer = queue.dequeue(queue_type)
        return answer if answer != FAILED else None

    job: dict[str, Any] = wait_for("a job comes", ask)
    return job


def test_a_job_whose_lease_has_run_out_comes_again(
    open_face: Opener, clean_store: PrivateStore
) -> None:
    queue = open_face(brief(clean_store))
    queue.enqueue("p", 0, "j1", "bob", "mail", 2)
    remaining = [next_job(queue)["requeues_remaining"] for _ in range(3)]
    assert remaining == [2, 1, 0]
    wait_for("its last lease is over", lambda: queue.dequeue("mail") or True)

    def dead() -> bool:
        queue.dequeue("mail")
        return bool(queue.job_status("mail", "bob", "j1").state == "dead")

    wait_for("the limit ends it", dead)


def test_it_comes_back_within_the_interval(open_face: Opener, clean_store: PrivateStore) -> None:
    queue = open_face(brief(clean_store))
    queue.enqueue("p", 0, "j1", "bob", "mail")
    leased = queue.take("mail").jobs[0]
    began = time.monotonic()
    assert next_job(queue)["job_id"] == leased.job_id
    assert (time.monotonic() - began) * 1000 >= LEASE - 5
    # The lease that went by is worth nothing any more.
    assert queue.finish_job("mail", "bob", "j1", lease=leased.lease).outcome == "stale_lease"


def test_the_jobs_of_a_killed_process_come_to_another(
    open_face: Opener, clean_store: PrivateStore
) -> None:
    queue = open_face(brief(clean_store))
    for at in range(250):  # more than one look takes back
        queue.enqueue(at, 0, f"j{at}", "bob", "mail")
    code = (
        "import sys, time\n"
        "from sharq import Settings, SharQ\n"
        "redis = {'conn_type': 'unix_sock', 'unix_socket_path': sys.argv[1],"
        " 'key_prefix': 'library'}\n"
        f"sharq = {{'job_expire_interval': {LEASE}}}\n"
        "sq = SharQ(Settings.from_mapping({'redis': redis, 'sharq': sharq}))\n"
        "taken = sum(len(sq.take('mail', 100)) for _ in range(3))\n"
        "print(taken, flush=True)\n"
        "time.sleep(60)\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, clean_store.socket_path],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "250\n"
    finally:
        other.send_signal(signal.SIGKILL)
        other.communicate()
    left = set(range(250))
    while left:
        job = next_job(queue)
        queue.finish(job["job_id"], "bob", "mail")
        left.discard(job["payload"])


def test_it_can_be_switched_off(open_face: Opener, clean_store: PrivateStore) -> None:
    queue = open_face(brief(clean_store, enable_requeue_script=False))
    queue.enqueue("p", 0, "j1", "bob", "mail")
    assert queue.dequeue("mail")["job_id"] == "j1"
    deadline = time.monotonic() + (LEASE + 5 * INTERVAL) / 1000
    while time.monotonic() < deadline:
        assert queue.dequeue("mail") == FAILED
    queue.requeue()
    assert queue.dequeue("mail")["job_id"] == "j1"


def test_who_does_not_dequeue_pays_nothing(open_face: Opener, clean_store: PrivateStore) -> None:
    queue = open_face(brief(clean_store))
    queue.enqueue("p", 0, "j0", "bob", "mail")  # registers the type
    before = clean_store.script_calls()
    for at in range(1, 51):
        queue.enqueue("p", 0, f"j{at}", "bob", "mail")
    time.sleep(3 * LEASE / 1000)  # nothing goes on beside
    assert clean_store.script_calls() - before == 50


def test_who_dequeues_pays_one_look_for_the_length_of_a_lease(
    open_face: Opener, clean_store: PrivateStore
) -> None:
    queue = open_face(settings_for(clean_store))  # leases of a minute
    for at in range(100):
        queue.enqueue("p", 0, f"j{at}", "bob", "mail")
    before = clean_store.script_calls()
    for _ in range(100):
        job = queue.dequeue("mail")
        queue.finish(job["job_id"], "bob", "mail")
    assert clean_store.script_calls() - before == 200 + 1


def test_a_type_that_nothing_is_left_of_leaves_the_registry(
    open_face: Opener, clean_store: PrivateStore
) -> None:
    clock = HandClock(clean_store)
    producer = open_face(settings_for(clean_store), scripts=CLOCKED_SCRIPTS)
    producer.enqueue("p", 0, "j1", "bob", "mail")
    producer.dequeue("mail")
    producer.finish("j1", "bob", "mail")
    clock.advance(20 * 60_000)
    for key in clean_store.client.scan_iter("*"):  # counters live by the store's clock
        if clean_store.client.pttl(key) > 0:
            clean_store.client.delete(key)
    registry = list(clean_store.client.scan_iter("*types*"))
    assert registry
    open_face(settings_for(clean_store), scripts=CLOCKED_SCRIPTS).dequeue("mail")
    assert not list(clean_store.client.scan_iter("*types*"))
