"""`GET /prometheus/`: what is told, to whom, and in which form."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.ioloop import IOLoop

from sharq import __version__
from sharq_server import SharQServer
from sharq_server.telemetry import catalogue
from sharq_server.telemetry.fields import OTHER
from sharq_server.telemetry.formats import Form
from tests.server.conftest import ExpectLog
from tests.server.subscriber import Subscriber
from tests.server.support import Rest, until, write_tokens
from tests.support.stores import PrivateStore

pytestmark = pytest.mark.gen_test

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
TEXT = "text/plain;version=0.0.4"

Labels = dict[str, str]


class Scrape:
    """The samples of a scrape."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self.families = {family.name: family for family in families}

    def samples(self, name: str, **labels: str) -> list[Any]:
        return [
            sample
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def value(self, name: str, **labels: str) -> float:
        """The only sample that has these labels."""
        (sample,) = self.samples(name, **labels)
        return float(sample.value)

    def sum(self, name: str, **labels: str) -> float:
        return sum(sample.value for sample in self.samples(name, **labels))


@pytest.fixture
def fetch(http_client: AsyncHTTPClient, http_port: int, http_server: object) -> Any:
    async def fetch(path: str, **headers: str) -> HTTPResponse:
        request = HTTPRequest(f"http://127.0.0.1:{http_port}{path}", headers=headers)
        return await http_client.fetch(request, raise_error=False)

    return fetch


@pytest.fixture
def scrape(fetch: Any) -> Any:
    async def scrape() -> Scrape:
        answer = await fetch("/prometheus/")
        assert answer.code == 200
        return Scrape(text_string_to_metric_families(answer.body.decode()))

    return scrape


# ---- names, types and forms ----

TABLE = {
    "sharq_jobs_enqueued_total": ("counter", "queue_type"),
    "sharq_jobs_dispatched_total": ("counter", "queue_type"),
    "sharq_jobs_finished_total": ("counter", "queue_type"),
    "sharq_jobs_requeued_total": ("counter", "queue_type reason"),
    "sharq_jobs_dead_total": ("counter", "queue_type reason"),
    "sharq_enqueues_refused_total": ("counter", "queue_type code"),
    "sharq_jobs": ("gauge", "queue_type state"),
    "sharq_queues": ("gauge", "queue_type state"),
    "sharq_oldest_ready_seconds": ("gauge", "queue_type"),
    "sharq_queue_jobs": ("gauge", "queue_type queue_id"),
    "sharq_queue_oldest_ready_seconds": ("gauge", "queue_type queue_id"),
    "sharq_dispatch_delay_seconds": ("histogram", "queue_type"),
    "sharq_lease_duration_seconds": ("histogram", "queue_type"),
    "sharq_early_dispatches_total": ("counter", "queue_type"),
    "sharq_wakeups_total": ("counter", "result"),
    "sharq_subscribers": ("gauge", "queue_type mode"),
    "sharq_credit": ("gauge", "queue_type use"),
    "sharq_connections": ("gauge", "kind"),
    "sharq_http_requests_total": ("counter", "route code"),
    "sharq_http_request_duration_seconds": ("histogram", "route"),
    "sharq_store_call_duration_seconds": ("histogram", "script"),
    "sharq_store_errors_total": ("counter", "code"),
    "sharq_store_up": ("gauge", "node"),
    "sharq_sweep_last_timestamp_seconds": ("gauge", ""),
    "sharq_build_info": ("gauge", "version"),
}


def test_the_catalogue_is_the_table() -> None:
    assert {m.name: (m.kind, " ".join(m.labels)) for m in catalogue.METRICS} == TABLE


@pytest.mark.parametrize("form", Form)
async def test_each_form_can_be_read_and_has_all_metrics(
    fetch: Any, rest: Rest, form: Form
) -> None:
    await rest.enqueue()
    await rest.get("/dequeue/t/")
    answer = await fetch("/prometheus/", Accept=form.value)
    assert answer.code == 200
    assert answer.headers["Content-Type"] == form.value
    text = answer.body.decode()
    parse: Any = text_string_to_metric_families
    if form is Form.OPENMETRICS:
        parse = openmetrics_parser.text_string_to_metric_families
    read = {family.name: family for family in parse(text)}
    told = {metric.name for metric in catalogue.METRICS if metric not in catalogue.OF_TOP_QUEUES}
    for name in told:
        kind, labels = TABLE[name]
        family = read[name.removesuffix("_total")]
        assert family.type == kind
        assert family.documentation
        for sample in family.samples:
            assert {*sample.labels} - {"le"} == {*labels.split()}


@pytest.mark.parametrize(
    ("path", "accept", "content_type"),
    [
        ("/prometheus/", None, Form.TEXT.value),
        ("/prometheus/", "*/*", Form.TEXT.value),
        ("/prometheus", "application/json", Form.TEXT.value),
        ("/prometheus/", OPENMETRICS, Form.OPENMETRICS.value),
        ("/metrics/", OPENMETRICS, Form.OPENMETRICS.value),
        ("/metrics", TEXT, Form.TEXT.value),
        ("/metrics/", None, "application/json"),
        ("/metrics/", "text/plain", "application/json"),
        ("/metrics/", "*/*", "application/json"),
    ],
)
async def test_the_form_depends_on_the_path_and_on_accept(
    fetch: Any, path: str, accept: str | None, content_type: str
) -> None:
    headers = {} if accept is None else {"Accept": accept}
    answer = await fetch(path, **headers)
    assert (answer.code, answer.headers["Content-Type"]) == (200, content_type)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.body.startswith(b"{" if content_type == "application/json" else b"# HELP sharq_")


async def test_metrics_of_a_type_are_json_whatever_is_accepted(fetch: Any) -> None:
    answer = await fetch("/metrics/t/", Accept=OPENMETRICS)
    assert answer.headers["Content-Type"] == "application/json"


async def test_a_head_has_no_body(
    http_client: AsyncHTTPClient, http_port: int, app: Any, http_server: object
) -> None:
    request = HTTPRequest(f"http://127.0.0.1:{http_port}/prometheus/", method="HEAD")
    answer = await http_client.fetch(request)
    assert answer.headers["Content-Type"] == Form.TEXT.value
    assert int(answer.headers["Content-Length"]) > 1000


async def test_the_library_that_writes_the_text_is_loaded_by_the_first_scrape() -> None:
    check = "import sys, sharq_server.wsgi, sharq_server.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True)
    assert "sharq_server.telemetry.telemetry" in done.stdout.split()
    assert "prometheus_client" not in done.stdout.split()


# ---- tokens ----


class TestTokens:
    @pytest.fixture
    def options(self, tmp_path: Path) -> dict[str, dict[str, Any]]:
        path = tmp_path / "tokens"
        tokens = {
            "watcher": (["metrics"], ["*"]),
            "clerk": (["metrics"], ["sms"]),
            "worker": (["dequeue"], ["*"]),
        }
        write_tokens(path, tokens)
        return {"sharq-server": {"token_file": str(path)}}

    @pytest.mark.parametrize("path", ["/prometheus/", "/metrics/"])
    async def test_a_token_for_metrics_of_all_types_is_needed(self, fetch: Any, path: str) -> None:
        statuses = [
            (await fetch(path, Accept=OPENMETRICS, Authorization=f"Bearer {secret}")).code
            for secret in ("watcher", "clerk", "worker", "nobody")
        ]
        assert statuses == [200, 403, 403, 401]
        assert (await fetch(path, Accept=OPENMETRICS)).code == 401


# ---- what is counted ----


async def test_jobs_are_counted_over_rest(rest: Rest, scrape: Any) -> None:
    bulk = [
        {"queue_type": "t", "queue_id": "q", "job_id": f"b{n}", "interval": 0, "payload": 1}
        for n in range(5)
    ]
    await rest.post("/enqueue/", {"jobs": bulk})
    for job_id in ("j", "j", "k"):
        await rest.enqueue(job_id=job_id)
    assert (await rest.enqueue(job_id="k", payload=2)).status == 409
    assert (await rest.enqueue(job_id="l", max_queued_length=1)).status == 429
    leases = [job["lease"] for job in (await rest.get("/dequeue/t/?count=6")).body["jobs"]]
    leases.append((await rest.get("/dequeue/t/")).body["lease"])
    assert (await rest.get("/dequeue/t/")).status == 404
    ends = [
        ("finish", {}),
        ("finish", {"cost": 2}),
        ("release", {}),
        ("fail", {"delay": 0}),
        ("fail", {"retry": False}),
    ]
    for lease, (verb, body) in zip(leases, ends, strict=False):
        job = lease.rpartition("/")[0]
        for expected in (200, 404):
            answer = await rest.post(f"/{verb}/{job}/", {"lease": lease, **body})
            assert answer.status == expected
    told = await scrape()
    assert told.value("sharq_jobs_enqueued_total", queue_type="t") == 7
    assert told.value("sharq_jobs_dispatched_total", queue_type="t") == 7
    assert told.value("sharq_jobs_finished_total", queue_type="t") == 2
    assert told.value("sharq_jobs_requeued_total", queue_type="t", reason="released") == 1
    assert told.value("sharq_jobs_requeued_total", queue_type="t", reason="failed") == 1
    assert told.sum("sharq_jobs_requeued_total") == 2
    assert told.value("sharq_jobs_dead_total", queue_type="t", reason="rejected") == 1
    assert told.sum("sharq_jobs_dead_total") == 1
    assert told.value("sharq_enqueues_refused_total", queue_type="t", code="job_conflict") == 1
    assert told.value("sharq_enqueues_refused_total", queue_type="t", code="queue_full") == 1
    assert told.value("sharq_jobs", queue_type="t", state="dead") == 1


async def test_requests_are_counted_by_route_and_code(rest: Rest, scrape: Any, fetch: Any) -> None:
    await rest.enqueue()
    await rest.enqueue("t/q%20x")
    await rest.get("/dequeue/")
    await rest.get("/dequeue/t/")
    await rest.get("/dequeue/t/?wait=0.01")
    await rest.get("/metrics/t/")
    await fetch("/nowhere/")
    told = await scrape()
    counts = {
        (sample.labels["route"], sample.labels["code"]): sample.value
        for sample in told.samples("sharq_http_requests_total")
    }
    assert counts == {
        ("/enqueue/<queue_type>/<queue_id>/", "201"): 1,
        ("/enqueue/<queue_type>/<queue_id>/", "400"): 1,
        ("/dequeue/", "404"): 1,
        ("/dequeue/<queue_type>/", "200"): 1,
        ("/dequeue/<queue_type>/", "404"): 1,
        ("/metrics/<queue_type>/", "200"): 1,
        (OTHER, "404"): 1,
    }
    durations = "sharq_http_request_duration_seconds"
    assert told.value(f"{durations}_count", route="/dequeue/<queue_type>/") == 2
    assert 0.01 < told.value(f"{durations}_sum", route="/dequeue/<queue_type>/") < 5
    again = await scrape()
    assert again.value("sharq_http_requests_total", route="/prometheus/", code="200") == 1


async def test_calls_of_the_store_are_timed_by_script(rest: Rest, scrape: Any) -> None:
    await rest.enqueue()
    await rest.get("/dequeue/t/")
    told = await scrape()
    name = "sharq_store_call_duration_seconds"
    assert told.value(f"{name}_count", script="enqueue") == 1
    assert 0 < told.value(f"{name}_sum", script="enqueue") < 5
    assert told.value(f"{name}_bucket", script="enqueue", le="+Inf") == 1
    scripts = {sample.labels["script"] for sample in told.samples(f"{name}_count")}
    assert {"enqueue", "dequeue", "register", "list_types", "type_metrics"} <= scripts
    assert OTHER not in scripts


async def test_a_plain_dequeue_tells_how_long_its_queue_was_ready(
    rest: Rest, scrape: Any, io_loop: IOLoop
) -> None:
    await rest.enqueue()
    enqueued_at = io_loop.time()
    await asyncio.sleep(0.03)
    assert (await rest.get("/dequeue/t/?request_id=r")).status == 200
    longest = io_loop.time() - enqueued_at + 1
    # The same jobs again: they were dispatched once.
    assert (await rest.get("/dequeue/t/?request_id=r")).status == 200
    assert (await rest.get("/dequeue/t/")).status == 404
    told = await scrape()
    assert told.value("sharq_dispatch_delay_seconds_count", queue_type="t") == 1
    assert 0.03 <= told.value("sharq_dispatch_delay_seconds_sum", queue_type="t") < longest


async def test_subscribers_wakeups_and_leases_are_told(
    rest: Rest, scrape: Any, server: SharQServer, http_port: int, http_server: object
) -> None:
    wakeups = server.engine.connections.wakeups
    assert wakeups is not None
    await until(lambda: wakeups.subscribed)
    async with await Subscriber.connect(http_port) as subscriber:
        await subscriber.subscribe(credit=5)
        await subscriber.subscribe("u", credit=2, mode="notify")
        for number in range(3):
            await rest.enqueue(job_id=f"j{number}")
        jobs = await subscriber.jobs(3)
        await subscriber.finish(jobs[0])
        poll = asyncio.ensure_future(rest.get("/dequeue/v/?wait=5"))
        await until(lambda: "v" in server.push.count())
        told = await scrape()
        assert told.value("sharq_subscribers", queue_type="t", mode="deliver") == 1
        assert told.value("sharq_subscribers", queue_type="u", mode="notify") == 1
        assert told.value("sharq_subscribers", queue_type="v", mode="poll") == 1
        assert told.sum("sharq_subscribers") == 3
        assert told.value("sharq_credit", queue_type="t", use="held") == 2
        assert told.value("sharq_credit", queue_type="t", use="free") == 3
        assert told.value("sharq_connections", kind="websocket") == 1
        assert told.value("sharq_connections", kind="http") >= 1
        assert told.value("sharq_jobs_dispatched_total", queue_type="t") == 3
        assert told.value("sharq_jobs_finished_total", queue_type="t") == 1
        assert told.value("sharq_lease_duration_seconds_count", queue_type="t") == 1
        assert told.value("sharq_wakeups_total", result="taken") >= 1
        assert told.value("sharq_dispatch_delay_seconds_count", queue_type="t") >= 1
        assert told.value("sharq_dispatch_delay_seconds_sum", queue_type="t") < 5
        await rest.enqueue("v/q", "w")
        assert (await poll).status == 200
    await until(lambda: not server.push.sessions)
    told = await scrape()
    assert told.sum("sharq_subscribers") == told.sum("sharq_credit") == 0
    assert told.value("sharq_connections", kind="websocket") == 0


async def test_jobs_of_a_lost_connection_are_told_apart(
    rest: Rest, scrape: Any, server: SharQServer, http_port: int, http_server: object
) -> None:
    await rest.enqueue()
    async with await Subscriber.connect(http_port) as subscriber:
        await subscriber.subscribe(on_disconnect="release")
        await subscriber.jobs(1)
    while (await rest.get("/dequeue/t/")).status != 200:
        await asyncio.sleep(0.005)
    told = await scrape()
    assert told.value("sharq_jobs_requeued_total", queue_type="t", reason="disconnected") == 1
    assert told.sum("sharq_jobs_requeued_total") == 1


class TestSweep:
    @pytest.fixture
    def options(self) -> dict[str, dict[str, Any]]:
        return {
            "sharq": {
                "enable_requeue_script": True,
                "job_expire_interval": 30,
                "job_requeue_interval": 20,
            }
        }

    async def test_expired_leases_and_the_sweep_are_told(self, rest: Rest, scrape: Any) -> None:
        await rest.enqueue(job_id="once", requeue_limit=0)
        await rest.enqueue(job_id="again", requeue_limit=1)
        assert len((await rest.get("/dequeue/t/?count=2")).body["jobs"]) == 2
        while (await rest.get("/status/t/q/again/")).body["state"] != "queued":
            await asyncio.sleep(0.005)
        while (await rest.get("/status/t/q/once/")).body["state"] != "dead":
            await asyncio.sleep(0.005)
        told = await scrape()
        assert told.value("sharq_jobs_requeued_total", queue_type="t", reason="expired") == 1
        assert told.value("sharq_jobs_dead_total", queue_type="t", reason="expired") == 1
        assert told.value("sharq_sweep_last_timestamp_seconds") > 1_600_000_000


# ---- bounds ----


async def test_the_names_of_types_are_bounded(rest: Rest, scrape: Any) -> None:
    for number in range(150):
        jobs = [
            {
                "queue_type": f"t{number}",
                "queue_id": "q",
                "job_id": f"j{n}",
                "interval": 0,
                "payload": 1,
            }
            for n in range(2 if number >= 50 else 1)
        ]
        await rest.post("/enqueue/", {"jobs": jobs})
    for _ in range(2):
        told = await scrape()
        name = "sharq_jobs_enqueued_total"
        types = {sample.labels["queue_type"] for sample in told.samples(name)}
        assert types == {*(f"t{number}" for number in range(50, 150)), OTHER}
        assert told.sum(name) == 250
        assert told.value(name, queue_type=OTHER) == 50
        assert len(told.samples("sharq_jobs", state="dead")) == 100
    for family in told.families.values():
        if family.name != "sharq_store_call_duration_seconds":
            assert len({sample.labels.get("queue_type") for sample in family.samples}) <= 101


async def test_types_of_the_store_are_told_that_this_server_has_not_met(
    server: SharQServer, rest: Rest, scrape: Any
) -> None:
    flows = server.engine.flows
    job = flows.new_job(b"1", 0, "j", "q", "elsewhere", None, None)
    other = SharQServer(server.config)
    await other.start(upkeep=False)
    await other.engine.run(other.engine.flows.submit(job))
    await other.stop()
    told = await scrape()
    assert told.value("sharq_jobs", queue_type="elsewhere", state="dead") == 0
    assert told.value("sharq_jobs_enqueued_total", queue_type="elsewhere") == 0


async def test_the_store_is_asked_once_a_second_whoever_asks(
    fetch: Any, rest: Rest, store: PrivateStore
) -> None:
    await rest.enqueue()
    before = store.script_calls()
    answers = await asyncio.gather(*(fetch("/prometheus/") for _ in range(8)))
    assert {answer.code for answer in answers} == {200}
    # The registry twice, and the one type.
    assert store.script_calls() - before <= 3


# ---- without the store ----


class TestAway:
    @pytest.fixture
    def store(self) -> Any:
        with PrivateStore() as store:
            yield store

    @pytest.mark.timing
    async def test_counters_are_told_while_the_store_is_away(
        self, rest: Rest, scrape: Any, store: PrivateStore, expect_log: ExpectLog
    ) -> None:
        expect_log("", certain=False)
        await rest.enqueue()
        before = await scrape()
        assert before.value("sharq_store_up", node=store.socket_path) == 1
        store.stop()
        while (await rest.enqueue(job_id="k")).status != 503:
            await asyncio.sleep(0.01)
        told = await scrape()
        await asyncio.sleep(0)
        assert told.value("sharq_jobs_enqueued_total", queue_type="t") == 1
        assert told.value("sharq_store_up", node=store.socket_path) == 0
        assert told.sum("sharq_store_errors_total") >= 1
        assert told.value("sharq_build_info", version=__version__) == 1
