"""The application as a web server calls it, by PEP 3333, in the same thread."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from sharq.settings.reading import Settings
from sharq_server.gateway.application import WSGIServer
from sharq_server.gateway.incoming import path_of
from tests.support.stores import PrivateStore, wait_for


@pytest.fixture
def application(settings: Settings, expect_log: Any) -> Any:
    expect_log("keeps no log of its changes", certain=False)
    expect_log("drops keys when its memory is full", certain=False)
    server = WSGIServer(settings)
    yield server
    server.close()


class Call:
    """One request; `answer` is what the application returned, to be read and closed."""

    def __init__(
        self, application: Any, method: str, path: str, body: bytes = b"", **environ: Any
    ) -> None:
        self.environ: dict[str, Any] = {}
        setup_testing_defaults(self.environ)
        self.environ |= {
            "REQUEST_METHOD": method,
            "PATH_INFO": path.partition("?")[0],
            "QUERY_STRING": path.partition("?")[2],
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_HOST": "localhost",
            "wsgi.input": io.BytesIO(body),
            **environ,
        }
        self.status = 0
        self.fields: dict[str, str] = {}
        self.answer: Iterable[bytes] = application(self.environ, self._start)

    def _start(self, status: str, fields: list[tuple[str, str]], exc_info: Any = None) -> Any:
        self.status, self.fields = int(status.split()[0]), dict(fields)
        return lambda _: None

    def read(self) -> bytes:
        body = b"".join(self.answer)
        self.close()
        return body

    def close(self) -> None:
        if hasattr(self.answer, "close"):
            self.answer.close()


def enqueue(application: Any, job_id: str = "j") -> Call:
    body = json.dumps({"job_id": job_id, "interval": 0, "payload": 1}).encode()
    return Call(application, "POST", "/enqueue/t/q/", body)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "path", ["/", "/status/", "/deepstatus/", "/ui/", "/live/", "/ws/", "/nowhere/"]
)
def test_it_keeps_the_interface(application: Any, method: str, path: str) -> None:
    call = Call(validator(application), method, path)
    body = call.read()
    size = int(call.fields["Content-Length"])
    assert len(body) == (0 if method == "HEAD" else size)


def test_prometheus_is_told_what_the_store_tells_and_no_counters(
    application: Any, store: PrivateStore
) -> None:
    assert enqueue(application).status == 201
    for path, accept in (("/prometheus/", ""), ("/metrics/", "application/openmetrics-text")):
        call = Call(validator(application), "GET", path, HTTP_ACCEPT=accept)
        text = call.read().decode()
        assert call.fields["Content-Type"].startswith(accept or "text/plain")
        families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
        assert {family.removesuffix("_total") for family in families} == {
            "sharq_jobs",
            "sharq_queues",
            "sharq_oldest_ready_seconds",
            "sharq_early_dispatches",
            "sharq_store_up",
            "sharq_build_info",
        }
        assert 'sharq_jobs{queue_type="t",state="dead"} 0.0' in text
        assert f'sharq_store_up{{node="{store.socket_path}"}} 1.0' in text


def test_it_keeps_the_interface_with_jobs(application: Any) -> None:
    valid = validator(application)
    call = enqueue(valid)
    assert (call.read(), call.status) == (b'{"status":"queued"}', 201)
    call = Call(valid, "POST", "/dequeue/t/")
    assert json.loads(call.read())["job_id"] == "j"
    call = Call(valid, "POST", "/finish/t/q/j/")
    assert (call.read(), call.status) == (b'{"status":"success"}', 200)


def test_a_job_whose_answer_was_not_taken_is_given_back(application: Any) -> None:
    enqueue(application).read()
    lost = Call(application, "POST", "/dequeue/t/")
    assert lost.status == 200
    lost.close()
    again = Call(application, "POST", "/dequeue/t/")
    taken = json.loads(again.read())
    assert (taken["job_id"], taken["requeues_remaining"]) == ("j", -1)
    assert Call(application, "POST", "/dequeue/t/").status == 404


def test_a_job_whose_answer_was_read_is_not(application: Any) -> None:
    enqueue(application).read()
    assert json.loads(Call(application, "POST", "/dequeue/t/").read())["job_id"] == "j"
    assert Call(application, "POST", "/dequeue/t/").status == 404


def test_the_dashboard_knows_that_nothing_is_live(application: Any) -> None:
    assert json.loads(Call(validator(application), "GET", "/ui/config").read())["live"] is False
    page = Call(validator(application), "GET", "/ui/type/sms")
    assert b'src="../app.js"' in page.read()
    assert page.fields["Content-Security-Policy"].startswith("default-src 'none'")
    tag = page.fields["ETag"]
    again = Call(application, "GET", "/ui/type/sms", HTTP_IF_NONE_MATCH=tag)
    assert (again.status, again.read()) == (304, b"")
    moved = Call(application, "GET", "/live/")
    assert (moved.status, moved.fields["Location"]) == (301, "../ui/")
    assert Call(application, "POST", "/ui/").status == 405
    assert Call(application, "GET", "/ui/none.js").status == 404


class TestBelowABasePath:
    @pytest.fixture
    def options(self) -> dict[str, dict[str, Any]]:
        return {"sharq-server": {"base_path": "/queue"}}

    def test_everything_is_there_and_nowhere_else(self, application: Any) -> None:
        body = b'{"job_id": "j", "interval": 0, "payload": 1}'
        assert Call(application, "POST", "/queue/enqueue/t/q/", body).status == 201
        assert Call(application, "GET", "/queue/ui/app.js").status == 200
        assert Call(application, "GET", "/ui/app.js").status == 404
        assert Call(application, "POST", "/enqueue/t/q/", body).status == 404
        told = Call(application, "GET", "/queue/openapi.json", SCRIPT_NAME="/place").read()
        assert json.loads(told)["servers"] == [{"url": "/place/queue"}]


class TestWithoutADashboard:
    @pytest.fixture
    def options(self) -> dict[str, dict[str, Any]]:
        return {"sharq-server": {"ui": "off"}}

    def test_there_is_none(self, application: Any) -> None:
        for path in ("/ui/", "/ui/app.js", "/live/"):
            assert Call(application, "GET", path).status == 404


class Cut(io.BytesIO):
    """A body whose client goes before its end."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise OSError("the client is gone")
        return super().read(min(size or 0, 5))


@pytest.mark.parametrize("kind", [io.BytesIO, Cut])
def test_a_body_that_is_not_whole_changes_nothing(application: Any, kind: Any) -> None:
    body = b'{"job_id": "j", "interval": 0, "payload": 1}'
    stream = kind(body)
    call = Call(
        application,
        "POST",
        "/enqueue/t/q/",
        **{"CONTENT_LENGTH": str(len(body) + 5), "wsgi.input": stream},
    )
    assert (call.status, json.loads(call.read())["code"]) == (400, "bad_request")
    assert Call(application, "POST", "/dequeue/t/").status == 404


def test_a_body_that_comes_in_pieces(application: Any) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 5))

    body = b'{"job_id": "j", "interval": 0, "payload": 1}'
    stream = Slow(body)
    call = Call(
        application,
        "POST",
        "/enqueue/t/q/",
        **{"CONTENT_LENGTH": str(len(body)), "wsgi.input": stream},
    )
    assert call.status == 201


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"PATH_INFO": "/metrics/t/"}, "/metrics/t/"),
        ({"PATH_INFO": ""}, "/"),
        # a slash in a name is seen where the target is told as it came
        ({"PATH_INFO": "/metrics/a/b/", "REQUEST_URI": "/metrics/a%2Fb/?x=1"}, "/metrics/a%2Fb/"),
        ({"PATH_INFO": "/metrics/a/b/", "RAW_URI": "/metrics/a%2Fb/"}, "/metrics/a%2Fb/"),
        ({"PATH_INFO": "/a/b/", "RAW_URI": "http://host/a%2Fb/"}, "/a%2Fb/"),
        ({"PATH_INFO": "/metrics/a/b/"}, "/metrics/a/b/"),
        # what was rewritten counts
        ({"PATH_INFO": "/metrics/t/", "REQUEST_URI": "/other/metrics/t/"}, "/metrics/t/"),
        # below a place of its own
        (
            {"SCRIPT_NAME": "/q", "PATH_INFO": "/metrics/a/b/", "REQUEST_URI": "/q/metrics/a%2Fb/"},
            "/metrics/a%2Fb/",
        ),
        ({"SCRIPT_NAME": "/q", "PATH_INFO": "", "REQUEST_URI": "/q"}, "/"),
        ({"SCRIPT_NAME": "/q", "PATH_INFO": "/t/", "REQUEST_URI": "/%71/t/"}, "/t/"),
        # what looks encoded is decoded once
        ({"PATH_INFO": "/metrics/%41/"}, "/metrics/%2541/"),
        ({"PATH_INFO": "/metrics/\xff/"}, "/metrics/%FF/"),
    ],
)
def test_the_path(environ: dict[str, str], path: str) -> None:
    assert path_of(cast(Any, environ)) == path


def test_a_store_that_is_away_is_told_and_found_again(settings: Settings, expect_log: Any) -> None:
    away = Settings.from_mapping({"redis": {"conn_type": "tcp_sock", "port": 1}})
    server = WSGIServer(away)
    call = Call(server, "GET", "/deepstatus/")
    assert (call.status, json.loads(b"".join(call.answer))["code"]) == (503, "store_unavailable")
    assert call.fields["Retry-After"] == "1"
    expect_log(r"The store does not work: The store is not available\. \(Connection refused\)")
    call.close()
    call = Call(server, "GET", "/deepstatus/")
    call.close()  # said once
    server.close()


@pytest.mark.parametrize("options", [{"sharq-server": {"allowed_origins": "https://page.example"}}])
def test_a_page_of_an_allowed_origin_may_ask_and_read(application: Any) -> None:
    page = {"HTTP_ORIGIN": "https://page.example"}
    asks = {**page, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST"}
    for path, methods in (("/enqueue/t/q/", "POST"), ("/nowhere/", "DELETE, GET, HEAD, POST")):
        call = Call(application, "OPTIONS", path, **asks)
        assert (call.status, call.read()) == (204, b"")
        assert call.fields["Access-Control-Allow-Methods"] == methods
        assert "Content-Length" not in call.fields
    for path in ("/metrics/", "/nowhere/", "/status/t/q/j/", "/ws/"):
        fields = Call(application, "GET", path, **page).fields
        assert fields["Access-Control-Allow-Origin"] == "https://page.example", path
        assert fields["Vary"] == "Origin"
    other = Call(application, "GET", "/metrics/", HTTP_ORIGIN="https://other.example")
    assert "Access-Control-Allow-Origin" not in other.fields


def test_the_place_of_the_application_is_in_its_description(application: Any) -> None:
    call = Call(application, "GET", "/openapi.json", SCRIPT_NAME="/queue")
    assert json.loads(call.read())["servers"] == [{"url": "/queue"}]


def test_a_compressed_body(application: Any) -> None:
    packed = gzip.compress(b'{"job_id": "j", "interval": 0, "payload": 1}')
    encoding = {"HTTP_CONTENT_ENCODING": "gzip"}
    assert Call(application, "POST", "/enqueue/t/q/", packed, **encoding).status == 201
    cut = Call(application, "POST", "/enqueue/t/q/", packed[:-3], **encoding)
    assert (cut.status, json.loads(cut.read())["code"]) == (400, "bad_request")
    bomb = gzip.compress(bytes(10_000_000))
    assert Call(application, "POST", "/finish/t/q/j/", bomb, **encoding).status == 413
    other = Call(application, "POST", "/finish/t/q/j/", packed, HTTP_CONTENT_ENCODING="br")
    assert other.status == 415


def test_the_status_tells_of_a_store_that_drops_keys(application: Any, store: PrivateStore) -> None:
    store.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        told = json.loads(Call(application, "GET", "/deepstatus/").read())
    finally:
        store.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert "(maxmemory-policy allkeys-lru)" in told["warnings"][0]


@pytest.mark.parametrize("enabled", [True, False])
def test_the_sweep_is_done_where_the_settings_want_it(
    settings: Settings, store: PrivateStore, expect_log: Any, enabled: bool
) -> None:
    queue = replace(settings.sharq, enable_requeue_script=enabled, job_expire_interval=1)
    server = WSGIServer(replace(settings, sharq=queue))
    expect_log("keeps no log of its changes", certain=False)
    enqueue(server).read()
    Call(server, "POST", "/dequeue/t/").read()

    def is_back() -> bool:
        Call(server, "GET", "/deepstatus/").read()
        return server.sq.queue_length("t", "q") == 1

    if enabled:
        wait_for("the job is back", is_back)
    else:
        wait_for(
            "the lease is over",
            lambda: server.sq.job_status("t", "q", "j").lease_expires_in == 0,
        )
        assert not is_back()
    server.close()


def dead(server: WSGIServer, count: int) -> None:
    """Let so many jobs die."""
    for at in range(0, count, 100):
        names = [f"j{n}" for n in range(at, at + 100)]
        server.sq.submit_many([server.sq.new_job(b"1", 0, name, "q", "t") for name in names])
        leases = [job.lease for job in server.sq.take("t", 100).jobs]
        server.sq.fail_many(leases, retry=False)


def bulk(server: WSGIServer) -> dict[str, Any]:
    return dict(json.loads(Call(server, "GET", "/dead/t/retry").read())["bulk"])


def test_a_bulk_begins_after_its_answer_and_goes_on_with_the_sweeps(
    settings: Settings, expect_log: Any
) -> None:
    expect_log("keeps no log of its changes", certain=False)
    queue = replace(settings.sharq, enable_requeue_script=True, job_requeue_interval=50)
    server = WSGIServer(replace(settings, sharq=queue))
    try:
        dead(server, 2500)
        begun = Call(server, "POST", "/dead/t/retry", b'{"all": true}')
        assert begun.status == 202
        assert server.sq.dead_bulk("t").moved == 0  # type: ignore[union-attr]
        begun.read()
        now = bulk(server)
        assert (now["state"], now["moved"], now["left"]) == ("running", 2000, 500)
        # Whoever asks how far it is has the sweeps done, too, and these go on when nobody has for
        # a while.
        wait_for("it is done", lambda: bulk(server)["state"] == "done", timeout=30)
        assert bulk(server)["moved"] == 2500
        assert server.sq.queue_length("t", "q") == 2500
    finally:
        server.close()


def test_a_short_bulk_is_done_with_its_answer_where_nobody_sweeps(
    application: Any, settings: Settings
) -> None:
    assert not settings.sharq.enable_requeue_script
    dead(application, 300)
    Call(application, "DELETE", "/dead/t/", b'{"all": true}').read()
    assert bulk(application)["state"] == "done"
    assert json.loads(Call(application, "GET", "/dead/t/").read())["jobs"] == []


def test_a_client_that_has_gone_changes_nothing_for_its_bulk(application: Any) -> None:
    dead(application, 100)
    Call(application, "DELETE", "/dead/t/", b'{"all": true}').close()
    assert bulk(application)["state"] == "done"
