"""The metrics of the first queues: off by default, few, and never a walk over all queues."""

from __future__ import annotations

import asyncio
import http.client
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tornado.httpclient import AsyncHTTPClient

from sharq_server import SharQServer
from sharq_server.telemetry.top_queues import MOST_QUEUES, MOST_TYPES
from tests.server.command import Server
from tests.server.conftest import ExpectLog
from tests.server.support import Rest
from tests.support.stores import PrivateStore, wait_for

JOBS, READY = "sharq_queue_jobs", "sharq_queue_oldest_ready_seconds"
CALLS = "sharq_store_call_duration_seconds_count"

Samples = dict[tuple[str, ...], float]
"""By the name of the metric and its labels, the queue type first."""

ON = {"sharq-server": {"metrics_top_queues": "on"}}
wanted = pytest.mark.parametrize("options", [ON])


def read(text: str) -> Samples:
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items(), reverse=True))): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(samples: Samples, metric: str, queue_type: str) -> dict[str, float]:
    """The queues of a type in a metric."""
    return {key[2]: value for key, value in samples.items() if key[:2] == (metric, queue_type)}


@pytest.fixture
def fetch(http_client: AsyncHTTPClient, http_port: int, http_server: object) -> Any:
    async def fetch() -> str:
        answer = await http_client.fetch(f"http://127.0.0.1:{http_port}/prometheus/")
        return answer.body.decode()

    return fetch


@pytest.fixture
def scrape(fetch: Any) -> Any:
    async def scrape() -> Samples:
        return read(await fetch())

    return scrape


async def fill(rest: Rest, sizes: dict[tuple[str, str], int], interval: int = 0) -> None:
    """Enqueue so many jobs into each queue."""
    jobs = [
        {
            "queue_type": queue_type,
            "queue_id": queue_id,
            "job_id": f"j{number}",
            "interval": interval,
            "payload": 1,
        }
        for (queue_type, queue_id), size in sizes.items()
        for number in range(size)
    ]
    for at in range(0, len(jobs), 100):
        assert (await rest.post("/enqueue/", {"jobs": jobs[at : at + 100]})).status < 300


@pytest.mark.gen_test
async def test_they_are_off_by_default_and_cost_no_call(
    rest: Rest, scrape: Any, fetch: Any
) -> None:
    await fill(rest, {("t", "q"): 2})
    await scrape()
    told = await scrape()
    assert not {key for key in told if key[0] in (JOBS, READY)}
    assert not {key[1] for key in told if key[0] == CALLS} & {
        "share_sample",
        "sample_queues",
        "watch_queues",
        "tell_servers",
    }
    assert JOBS not in await fetch()


@wanted
@pytest.mark.gen_test
async def test_the_ten_longest_queues_are_told_by_name(rest: Rest, scrape: Any) -> None:
    await fill(rest, {("t", f"q{number}"): number for number in range(1, 14)})
    await fill(rest, {("u", "only"): 3})
    told = await scrape()
    assert of(told, JOBS, "t") == {f"q{number}": number for number in range(4, 14)}
    assert of(told, JOBS, "u") == {"only": 3}
    assert len(of(told, READY, "t")) == MOST_QUEUES
    assert all(0 <= value < 30 for value in of(told, READY, "t").values())


@wanted
@pytest.mark.gen_test
async def test_only_queues_that_may_go_are_ready_and_the_first_ones_are_told(
    rest: Rest, scrape: Any
) -> None:
    await fill(rest, {("t", "held"): 3}, interval=3_600_000)
    assert (await rest.get("/dequeue/t/")).status == 200
    await fill(rest, {("t", "first"): 1})
    await asyncio.sleep(0.02)
    await fill(rest, {("t", f"q{number}"): 1 for number in range(12)})
    told = await scrape()
    ready = of(told, READY, "t")
    assert "held" not in ready
    assert max(ready, key=lambda name: ready[name]) == "first"
    assert ready["first"] >= 0.02
    assert of(told, JOBS, "t")["held"] == 2
    # The type is held: none of its queues waits for a worker.
    assert (await rest.post("/pause/t/", {"for": 60_000})).status == 200
    while of(await scrape(), READY, "t"):
        await asyncio.sleep(0.05)


@wanted
@pytest.mark.gen_test
async def test_no_more_than_ten_types_are_told(rest: Rest, scrape: Any) -> None:
    await fill(rest, {(f"t{number:02}", "q"): number for number in range(1, 15)})
    told = await scrape()
    assert {key[1] for key in told if key[0] == JOBS} == {f"t{n:02}" for n in range(5, 15)}
    assert len({key[1] for key in told if key[0] == READY}) == MOST_TYPES


@wanted
@pytest.mark.gen_test(timeout=60)
async def test_a_scrape_never_walks_over_all_queues(
    rest: Rest, scrape: Any, server: SharQServer
) -> None:
    await fill(rest, {("t", f"q{number}"): 1 for number in range(10_500)})
    await fill(rest, {("t", "last"): 7})
    now = asyncio.get_running_loop().time
    begun = now()
    for _ in range(5):
        told = await scrape()
        # Ten pages of a thousand in a second, the first ones at once, however often somebody asks.
        assert told[CALLS, "sample_queues"] <= 10 * (2 + int(now() - begun))
    assert len(of(told, JOBS, "t")) == MOST_QUEUES
    while of(await scrape(), JOBS, "t").get("last") != 7:
        await asyncio.sleep(0.1)


class TestAway:
    @pytest.fixture
    def store(self) -> Any:
        with PrivateStore() as store:
            yield store

    @wanted
    @pytest.mark.gen_test(timeout=30)
    async def test_without_the_store_the_rest_is_told(
        self, rest: Rest, scrape: Any, store: PrivateStore, expect_log: ExpectLog
    ) -> None:
        expect_log("", certain=False)
        await fill(rest, {("t", "q"): 2})
        assert of(await scrape(), JOBS, "t") == {"q": 2}
        store.stop()
        while of(told := await scrape(), JOBS, "t"):
            await asyncio.sleep(0.05)
        assert told["sharq_jobs_enqueued_total", "t"] == 2


def test_each_of_several_processes_tells_them(tmp_path: Path) -> None:
    def scraped(server: Server) -> Samples:
        connection: http.client.HTTPConnection = server.connect()
        try:
            connection.request("GET", "/prometheus/")
            return read(connection.getresponse().read().decode())
        finally:
            connection.close()

    with Server(tmp_path, "--workers", "2", SHARQ_SERVER_METRICS_TOP_QUEUES="on") as server:
        wait_for("the workers run", lambda: len(server.children()) == 2)
        for number in range(6):
            for queue in range(number + 1):
                job = {"job_id": f"j{number}", "interval": 0, "payload": 1}
                assert server.call("POST", f"/enqueue/t/q{queue}/", job)[0] == 201
        expected = {f"q{queue}": 6 - queue for queue in range(6)}

        def all_tell() -> bool:
            return all(of(scraped(server), JOBS, "t") == expected for _ in range(12))

        wait_for("whoever is asked tells them", all_tell, 15)
        assert {*of(scraped(server), READY, "t")} == {*expected}
        assert server.stop() == 0
