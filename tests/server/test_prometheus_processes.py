"""The metrics of a server of several processes: any of them tells the sum, of dead ones, too."""

from __future__ import annotations

import http.client
import os
import signal
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.server.command import Server, call
from tests.server.test_command import gone
from tests.support.stores import wait_for

WORKERS = 4


def scrape(server: Server) -> dict[tuple[str, str], float]:
    """Samples by their name and their queue type or kind, summed up over other labels."""
    connection = server.connect()
    try:
        connection.request("GET", "/prometheus/")
        answer = connection.getresponse()
        assert answer.status == 200
        text = answer.read().decode()
    finally:
        connection.close()
    values: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            key = sample.name, labels.get("queue_type") or labels.get("kind") or ""
            values[key] = values.get(key, 0) + sample.value
    return values


def serving(server: Server) -> list[int]:
    """The workers, when all of them serve."""
    wait_for("the workers run", lambda: len(server.children()) == WORKERS)
    workers = server.children()
    wait_for("all serve", lambda: all(f" {pid} INFO" in server.log for pid in workers), 20)
    return workers


def enqueue(server: Server, first: int, count: int) -> None:
    """Enqueue jobs over many connections, so that each process gets some."""
    for number in range(first, first + count):
        job = {"job_id": f"j{number}", "interval": 0, "payload": 1}
        assert server.call("POST", f"/enqueue/t{number % 3}/q/", job)[0] == 201


def enqueued(server: Server) -> float:
    told = scrape(server)
    return sum(told["sharq_jobs_enqueued_total", f"t{number}"] for number in range(3))


def test_the_sum_is_exact_across_the_death_of_workers(tmp_path: Path) -> None:
    with Server(tmp_path, "--workers", str(WORKERS)) as server:
        serving(server)
        total = 0
        for round_ in range(3):
            enqueue(server, total, 60)
            total += 60
            # Whichever process is asked.
            assert {enqueued(server) for _ in range(8)} == {total}
            victims = server.children()[: round_ + 1]
            for victim in victims:
                os.kill(victim, signal.SIGKILL)
            wait_for("they are gone", lambda: all(map(gone, victims)))  # noqa: B023
            assert enqueued(server) == total
            wait_for(
                "others serve",
                lambda: len(server.children()) == WORKERS and not {*victims} & {*server.children()},  # noqa: B023
                20,
            )
            workers = server.children()
            wait_for(
                "all serve",
                lambda: all(f" {pid} INFO" in server.log for pid in workers),  # noqa: B023
                20,
            )
            assert enqueued(server) == total
        assert server.stop() == 0


@pytest.mark.timing
def test_connections_of_all_processes_are_told_and_those_of_dead_ones_are_not(
    tmp_path: Path,
) -> None:
    with Server(tmp_path, "--workers", "2") as server:
        wait_for("the workers run", lambda: len(server.children()) == 2)
        open_: list[http.client.HTTPConnection] = []
        for _ in range(24):
            connection = server.connect()
            assert call(connection, "GET", "/")[0] == 200
            open_.append(connection)

        def told() -> float:
            return scrape(server)["sharq_connections", "http"]

        # Those of the scrapes themselves are among them.
        wait_for("all are told", lambda: told() >= len(open_), 10)
        first, second = server.children()
        os.kill(first, signal.SIGKILL)
        wait_for("it is gone", lambda: gone(first))
        deadline = time.monotonic() + 10
        while told() >= len(open_):
            assert time.monotonic() < deadline
        for connection in open_:
            connection.close()
        assert not gone(second)
