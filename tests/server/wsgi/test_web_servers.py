"""The WSGI application on its own: under each web server, beside a real server, with its store."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from sharq import Settings, SharQ
from sharq.settings.tokens import line_for
from tests.server import catalogue
from tests.server.command import Server, call, environment
from tests.server.original_requests import ask, requests
from tests.server.test_beside_the_original import ORIGINAL, clear, differs, rows_of
from tests.server.test_catalogue import MANDATORY, OPTIONAL, keys
from tests.server.wsgi.web_servers import COMMANDS, WebServer
from tests.support.stores import PrivateStore, wait_for

APPLICATION = "sharq_server.wsgi:application"

EVERY = [
    pytest.param(name, marks=pytest.mark.needs(part))
    if (part := next((each for each in ("uwsgi", "gevent") if each in name), None))
    else name
    for name in COMMANDS
]
ONE_OF_EACH = [each for each in EVERY if "," not in str(getattr(each, "values", each))]


@pytest.fixture(autouse=True)
def expect_log() -> None:
    """The log is another process's."""


@pytest.fixture
def variables(store: PrivateStore, key_prefix: str) -> dict[str, str]:
    """The environment of a web server on the shared store."""
    return {
        "SHARQ_REDIS_CONN_TYPE": "unix_sock",
        "SHARQ_REDIS_UNIX_SOCKET_PATH": store.socket_path,
        "SHARQ_REDIS_KEY_PREFIX": key_prefix,
    }


def job(number: int, interval: int = 0) -> dict[str, Any]:
    return {"job_id": f"j{number}", "interval": interval, "payload": {"number": number}}


# ---- under each of them ----


@pytest.mark.parametrize("name", EVERY)
def test_jobs_go_through_it_once_each(name: str, tmp_path: Path, variables: dict[str, str]) -> None:
    def cycle(number: int) -> str:
        connection = web_server.connect()
        try:
            path = f"/enqueue/t/q{number % 7}/"
            assert call(connection, "POST", path, job(number)) == (201, {"status": "queued"})
            connection.close()
            status, taken = call(connection, "POST", "/dequeue/t/")
            assert status == 200
            assert taken["payload"] == {"number": int(taken["job_id"][1:])}
            connection.close()
            path = f"/finish/t/{taken['queue_id']}/{taken['job_id']}/"
            body = {"lease": taken["lease"]}
            assert call(connection, "POST", path, body) == (200, {"status": "success"})
            return str(taken["job_id"])
        finally:
            connection.close()

    with WebServer(name, APPLICATION, tmp_path, variables) as web_server:
        with ThreadPoolExecutor(8) as clients:
            done = Counter(clients.map(cycle, range(60)))
        assert done == Counter(f"j{number}" for number in range(60))
        connection = web_server.connect()
        assert call(connection, "GET", "/deepstatus/") == (200, {"status": "success"})
        connection.close()
        web_server.stop()
    assert "Traceback" not in web_server.log.read_text()


def test_the_file_in_the_checkout_is_the_same(tmp_path: Path, variables: dict[str, str]) -> None:
    with WebServer("gunicorn", "wsgi:app", tmp_path, variables) as web_server:
        connection = web_server.connect()
        assert call(connection, "GET", "/") == (200, {"message": "Hello, SharQ!"})
        connection.close()
    ran = subprocess.run(
        [sys.executable, "wsgi.py"],
        cwd=Path(__file__).parents[3],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert "uwsgi --http :8080 --wsgi-file wsgi.py" in ran.stderr


@pytest.mark.needs("uwsgi")
def test_uwsgi_takes_the_file(tmp_path: Path, variables: dict[str, str]) -> None:
    place = str(Path(__file__).parents[3] / "wsgi.py")
    with WebServer("uwsgi", place, tmp_path, variables) as web_server:
        connection = web_server.connect()
        assert call(connection, "GET", "/status/") == (200, {"message": "Hello, SharQ!"})
        connection.close()


# ---- the tables of the server's own ----


@pytest.fixture(params=ONE_OF_EACH)
def web_server(
    request: pytest.FixtureRequest, tmp_path: Path, variables: dict[str, str]
) -> Iterator[WebServer]:
    # A sweep would change the keys.
    variables |= {"SHARQ_ENABLE_REQUEUE_SCRIPT": "false"}
    with WebServer(request.param, APPLICATION, tmp_path, variables) as web_server:
        yield web_server


def refusal(
    port: int, method: str, path: str, body: bytes | None = None
) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection._validate_path = lambda _: None  # type: ignore[attr-defined] # as it is
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        assert answer.headers["Content-Type"] == "application/json", (method, path)
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_the_catalogue_of_bad_input(
    web_server: WebServer, store: PrivateStore, key_prefix: str
) -> None:
    port = web_server.port
    assert refusal(port, "POST", "/enqueue/t/q/", catalogue.job())[0] == 201
    assert refusal(port, "GET", "/dequeue/t/")[0] == 200
    before = keys(store, key_prefix)
    for name, text in catalogue.NO_NAMES.items():
        told = refusal(port, "GET", f"/metrics/{text}/")
        assert (told[0], told[1]["code"]) == (400, catalogue.INVALID), name
    for path in catalogue.NOWHERE:
        if path == "*" or path.startswith("//"):
            continue  # some web servers answer by themselves, or make one slash of two
        assert refusal(port, "GET", path)[0] == 404, path
    for name, case in catalogue.NO_OBJECTS.items():
        for method, path in MANDATORY + (OPTIONAL if case.body else []):
            told = refusal(port, method, path, case.body)
            assert told[1]["code"] == case.code, (name, path)
            assert case.message in told[1]["message"]
    jobs = {**catalogue.NO_VALUES, **catalogue.BAD_JOBS, **catalogue.CONTRADICTIONS}
    for name, case in jobs.items():
        told = refusal(port, "POST", "/enqueue/t/q/", case.body)
        assert told[0] == (413 if case.code == catalogue.TOO_LARGE else 400), name
        assert case.message in told[1]["message"], name
    for name, field in catalogue.OTHER_FIELDS.items():
        told = refusal(port, field.method, field.path, field.body)
        assert (told[0], told[1]["code"]) == (400, catalogue.INVALID), name
    for query, message in catalogue.QUERIES.items():
        told = refusal(port, "POST", f"/dequeue/t/?{query}")
        assert told[0] == 400, query
        assert message in told[1]["message"], query
    assert keys(store, key_prefix) == before


def test_names_that_work(web_server: WebServer) -> None:
    for name in catalogue.NAMES_THAT_WORK:
        path = "".join(f"%{byte:02x}" for byte in name[:3].encode()) + name[3:]
        status, _ = refusal(web_server.port, "POST", f"/enqueue/own/{path}/", catalogue.job())
        assert status == 201, name
        told = refusal(web_server.port, "GET", "/dequeue/own/")
        assert told[1]["queue_id"] == name
        path = f"/finish/own/{quote(name)}/j/"
        assert refusal(web_server.port, "POST", path, b"{}")[0] == 200


def test_it_answers_as_the_original_where_the_server_does(
    web_server: WebServer, store: PrivateStore, key_prefix: str
) -> None:
    differing = []
    for request in requests():
        # Some web servers answer by themselves to these, do not answer, or do not read them.
        if request.method == "OPTIONS" or re.search("2 MB|Expect", request.name):
            continue
        clear(store)
        ours, theirs = ask(web_server.port, request), ORIGINAL[request.name]
        assert ours.status < 500, (request, ours)
        if differs(ours, theirs) and not rows_of(request):
            differing.append((request.name, theirs, ours))
    assert differing == []


# ---- what is different ----


def test_it_has_no_push_channel_and_does_not_wait(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    with WebServer("gunicorn", APPLICATION, tmp_path, variables) as web_server:
        status, told = refusal(web_server.port, "GET", "/ws/")
        assert (status, told["code"]) == (426, "upgrade_required")
        assert "`sharq-server`" in told["message"]
        began = time.monotonic()
        assert refusal(web_server.port, "GET", "/dequeue/t/?wait=30")[0] == 404
        assert time.monotonic() - began < 10
        connection = web_server.connect()
        connection.request("GET", "/ui/type/sms")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert b"<html" in answer.read()
        connection.close()


def test_a_chunked_body(tmp_path: Path, variables: dict[str, str]) -> None:
    with WebServer("gunicorn", APPLICATION, tmp_path, variables) as web_server:
        connection = web_server.connect()
        pieces = iter([b'{"job_id": "j", "inter', b'val": 0, "payload": 1}'])
        connection.request("POST", "/enqueue/t/q/", pieces, encode_chunked=True)
        assert connection.getresponse().status == 201
        connection.close()
        # By one byte, so that none is left when the connection is closed.
        too_much = iter([b"x" * catalogue.MAX_BODY, b"x"])
        connection.request("POST", "/finish/t/q/j/", too_much, encode_chunked=True)
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["code"]) == (413, "payload_too_large")
        connection.close()


@pytest.mark.needs("uwsgi")
def test_a_body_without_a_length_where_the_web_server_tells_no_end(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    with WebServer("uwsgi", APPLICATION, tmp_path, variables) as web_server:
        connection = web_server.connect()
        connection.request("POST", "/finish/t/q/j/", iter([b"{}"]), encode_chunked=True)
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["code"]) == (411, "length_required")
        connection.close()


# ---- the sweep ----


def test_calls_take_back_expired_leases(tmp_path: Path, variables: dict[str, str]) -> None:
    variables |= {"SHARQ_JOB_EXPIRE_INTERVAL": "200", "SHARQ_JOB_REQUEUE_INTERVAL": "50"}
    with WebServer("gunicorn", APPLICATION, tmp_path, variables) as web_server:
        connection = web_server.connect()
        assert call(connection, "POST", "/enqueue/t/q/", job(1))[0] == 201
        connection.close()
        assert call(connection, "POST", "/dequeue/t/")[0] == 200
        connection.close()

        def comes_again() -> bool:
            status, _ = call(connection, "POST", "/dequeue/t/")
            connection.close()
            return status == 200

        wait_for("the job comes again", comes_again, 10)


@pytest.mark.parametrize("once", [True, False])
def test_the_sweep_alone(
    tmp_path: Path, store: PrivateStore, variables: dict[str, str], once: bool
) -> None:
    variables |= {"SHARQ_JOB_EXPIRE_INTERVAL": "1", "SHARQ_JOB_REQUEUE_INTERVAL": "50"}
    with SharQ(Settings.load(None, environ=variables)) as queue:
        queue.enqueue(1, 0, "j", "q", "t")
        assert queue.dequeue("t")["status"] == "success"
        wait_for(
            "the lease is over",
            lambda: queue.job_status("t", "q", "j").lease_expires_in == 0,
            10,
        )
        assert queue.queue_length("t", "q") == 0
        command = [sys.executable, "-m", "sharq", "sweep", *(["--once"] if once else [])]
        sweep = subprocess.Popen(
            command,
            env=environment(tmp_path, **variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            wait_for("the job is back", lambda: queue.queue_length("t", "q") == 1, 20)
            if not once:
                sweep.send_signal(signal.SIGTERM)
            output, log = sweep.communicate(timeout=20)
        finally:
            sweep.kill()
        assert sweep.returncode == 0, log
        if once:
            assert log == ""
            assert output == f"Expired leases taken back: 1 (the store at {store.socket_path})\n"


def test_the_sweep_says_what_is_wrong(tmp_path: Path) -> None:
    def run(**variables: str) -> tuple[int, str]:
        ran = subprocess.run(
            [sys.executable, "-m", "sharq", "sweep", "--once"],
            env=environment(tmp_path, **variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        return ran.returncode, ran.stderr

    code, told = run(SHARQ_REDIS_PORT="x")
    assert (code, told.count("\n")) == (2, 1)
    assert told.startswith("sharq sweep: ")
    code, told = run(SHARQ_REDIS_PORT="1")
    assert (code, told.count("\n")) == (1, 1)


# ---- beside a server, and with a store of its own ----


@pytest.mark.timing
def test_an_enqueue_wakes_a_client_that_waits_at_a_real_server(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    took: list[Any] = []

    def wait() -> None:
        connection = server.connect()
        took.append(call(connection, "GET", "/dequeue/t/?wait=20"))
        connection.close()

    with (
        Server(tmp_path, embedded=False, **variables) as server,
        WebServer("gunicorn", APPLICATION, tmp_path, variables) as web_server,
    ):
        waiting = threading.Thread(target=wait)
        waiting.start()
        with SharQ(Settings.load(None, environ=variables)) as queue:
            prefix = variables["SHARQ_REDIS_KEY_PREFIX"]
            client = queue.redis_client()
            wait_for("it waits", lambda: list(client.scan_iter(f"{{{prefix}:t}}*waiting*")), 10)
        began = time.monotonic()
        connection = web_server.connect()
        assert call(connection, "POST", "/enqueue/t/q/", job(1))[0] == 201
        connection.close()
        waiting.join(20)
        # Long before the look that a server takes for safety.
        assert time.monotonic() - began < 0.8
    ((status, body),) = took
    assert (status, body["job_id"]) == (200, "j1")


@pytest.mark.parametrize("name", ["gunicorn, processes", *EVERY[-3:-2]])
def test_processes_share_an_embedded_store(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    variables = {"SHARQ_REDIS_DATA_DIR": str(folder)}
    with WebServer(name, APPLICATION, tmp_path, variables) as web_server:
        assert not folder.exists()  # nothing is started before the first request
        for number in range(20):
            path = f"/enqueue/t/q{number}/"
            connection = web_server.connect()
            assert call(connection, "POST", path, job(number))[0] == 201
            connection.close()
        # It holds the store together with them.
        with SharQ(Settings.load(None, environ=variables)) as queue:
            assert len(queue.queue_ids("t")) == 20
            os.kill(int((folder / "store.lock").read_text()), signal.SIGKILL)
            connection = web_server.connect()
            assert call(connection, "GET", "/metrics/t/")[0] == 200
            connection.close()
        pid = int((folder / "store.lock").read_text())
        web_server.stop()
    wait_for("the last user has stopped the store", lambda: not alive(pid), 30)
    with SharQ(Settings.load(None, environ=variables)) as queue:
        assert len(queue.queue_ids("t")) == 20


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


# ---- the configuration ----


def test_the_configuration_in_the_folder(tmp_path: Path, variables: dict[str, str]) -> None:
    (tmp_path / "sharq.conf").write_text("[sharq]\nmax_payload_bytes = 10\n")
    with WebServer("gunicorn", APPLICATION, tmp_path, variables) as web_server:
        connection = web_server.connect()
        status, told = call(connection, "POST", "/enqueue/t/q/", job(1) | {"payload": "x" * 20})
        connection.close()
        assert (status, told["code"]) == (413, "payload_too_large")


def test_a_configuration_that_is_not_valid(tmp_path: Path) -> None:
    (tmp_path / "sharq.conf").write_text("[sharq]\nmax_payload = 10\n")
    with pytest.raises(AssertionError, match=r"sharq\.conf: .*max_payload"):
        WebServer("gunicorn", APPLICATION, tmp_path)


def test_tokens_are_read_again(tmp_path: Path, variables: dict[str, str]) -> None:
    def status_with(secret: str) -> int:
        connection = web_server.connect()
        try:
            connection.request("GET", "/metrics/", headers={"Authorization": f"Bearer {secret}"})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    file = tmp_path / "tokens"
    file.write_text(line_for("first", "one") + "\n")
    file.chmod(0o600)
    variables["SHARQ_SERVER_TOKEN_FILE"] = str(file)
    with WebServer("gunicorn, threads", APPLICATION, tmp_path, variables) as web_server:
        assert (status_with("first"), status_with("second")) == (200, 401)
        file.write_text(line_for("second", "two") + "\n")
        wait_for("the new token is valid", lambda: status_with("second") == 200, 10)
        assert status_with("first") == 401
