"""The command: what it says, what it refuses, how it starts and how it ends."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from sharq.settings.tokens import line_for
from sharq_server import __version__
from tests.server.command import Server, call, run
from tests.support.stores import PrivateStore, free_port, wait_for

JOB = {"job_id": "j", "interval": 0, "payload": 1}


def gone(pid: int) -> bool:
    """Whether a process has ended; it may still wait for its parent to notice."""
    listing = ["ps", "-o", "stat=", "-p", str(pid)]
    state = subprocess.run(listing, check=False, capture_output=True, text=True).stdout
    return state.strip()[:1] in ("", "Z")


# ---- words ----


def test_the_version_is_told(tmp_path: Path) -> None:
    done = run(tmp_path, "--version")
    assert (done.returncode, done.stdout) == (0, f"SharQ Server {__version__}\n")


def test_the_help_names_every_option(tmp_path: Path) -> None:
    done = run(tmp_path, "--help")
    assert done.returncode == 0
    for option in ("--config", "--host", "--port", "--workers", "--accesslog", "--data-dir"):
        assert option in done.stdout


def in_one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a command that cannot start has to say."""
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("sharq-server: ")
    return line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config", "absent.conf"], ["absent.conf"]),
        (["--port", "x"], ["port", "'x'"]),
        (["--port", "65536"], ["port", "65536"]),
        (["--workers", "0"], ["workers", "'0'"]),
        (["--host", "0.0.0.0"], ["0.0.0.0", "token_file", "--insecure"]),
        (["--host", "::"], ["::", "--insecure"]),
        (["--host", "no.such.host.invalid"], ["no.such.host.invalid"]),
        (["--accesslog", "absent/access.log"], ["absent/access.log", "No such file"]),
        (["--accesslog", "."], ["Is a directory"]),
    ],
)
def test_a_wrong_configuration_is_said_in_one_line(
    tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    done = run(tmp_path, *arguments)
    line = in_one_line(done)
    assert done.returncode == 2
    for word in words:
        assert word in line


def test_each_problem_of_a_configuration_has_a_line(tmp_path: Path) -> None:
    (tmp_path / "sharq.conf").write_text("[sharq]\ncolour = 1\n[redis]\nport = x\n")
    done = run(tmp_path, "-c", "sharq.conf")
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert [line.startswith("sharq-server: ") for line in lines] == [True, True]
    assert "colour" in lines[0]
    assert "port" in lines[1]


def test_an_unknown_argument_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "--colour")
    assert done.returncode == 2
    assert "--colour" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_data_folder_is_for_the_embedded_store(tmp_path: Path) -> None:
    done = run(tmp_path, "--data-dir", "x", SHARQ_REDIS_HOST="127.0.0.1")
    assert done.returncode == 2
    assert "--data-dir" in in_one_line(done)


def test_a_port_in_use_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run(tmp_path, "--port", str(port), "--data-dir", "data")
    assert done.returncode == 1
    assert f"Port {port} of 127.0.0.1 is in use" in in_one_line(done)
    assert not (tmp_path / "data").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use every port")
def test_a_privileged_port_is_said_in_one_line(tmp_path: Path) -> None:
    done = run(tmp_path, "--port", "80", "--data-dir", "data")
    assert done.returncode == 1
    assert "needs privileges" in in_one_line(done)


def test_a_second_server_on_a_data_folder_is_refused(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        done = run(tmp_path, "--port", "0", "--data-dir", "data")
        assert done.returncode == 1
        assert "in use by another sharq-server" in in_one_line(done)
        assert server.call("GET", "/deepstatus/") == (200, {"status": "success"})


def test_a_data_folder_that_cannot_be_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    done = run(tmp_path, "--port", "0", "--data-dir", "data")
    assert done.returncode == 1
    assert "data" in in_one_line(done)


# ---- a running server ----


def test_the_greeting_can_be_tried(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert f"SharQ {__version__} listens on http://127.0.0.1:{server.port}\n" in server.output
        assert f"{tmp_path}/data\n" in server.output
        commands = [line.strip() for line in server.output.splitlines() if "curl" in line]
        answers = [
            json.loads(
                subprocess.run(
                    ["sh", "-c", command], check=True, capture_output=True, text=True
                ).stdout
            )
            for command in commands
        ]
    assert [answer["status"] for answer in answers] == ["queued", "success", "success"]
    assert answers[1]["payload"] == {"message": "Hello"}


@pytest.mark.parametrize("page", ["rest-api.md", "limits.md", "dead-letters.md"])
def test_the_examples_of_a_page_can_be_tried(tmp_path: Path, page: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / page).read_text()
    blocks = re.findall(r"^```sh\n(curl .*?)^```", text, re.M | re.S)
    examples = [example for block in blocks for example in re.split(r"\n(?=curl )", block)]
    assert len(examples) > 10
    with Server(tmp_path) as server:
        for example in examples:
            done = subprocess.run(
                ["sh", "-c", example],
                check=True,
                env={**os.environ, "U": server.url},
                capture_output=True,
                text=True,
            )
            answer = json.loads(done.stdout)
            expected = {None, "not_active", "stale_lease", "job_active", "nothing_ready"}
            expected |= {"not_found", "bulk_running", "no_bulk"} if "/dead/" in example else set()
            assert answer.get("code") in expected, (example, answer)


def test_without_arguments_the_data_is_in_the_home_folder(tmp_path: Path) -> None:
    with Server(tmp_path, embedded=False) as server:
        folder = tmp_path / ".local" / "share" / "sharq"
        assert f"The data is in {folder}\n" in server.output
        assert server.call("GET", "/deepstatus/")[0] == 200
        assert folder.is_dir()


def test_the_command_line_beats_the_environment_and_that_the_file(
    tmp_path: Path, store: PrivateStore
) -> None:
    conf = tmp_path / "sharq.conf"
    conf.write_text(
        f"[sharq-server]\nport = 1\naccesslog = file.log\n"
        f"[redis]\nconn_type = unix_sock\nunix_socket_path = {store.socket_path}\n"
    )
    environ = {"SHARQ_CONFIG": str(conf), "SHARQ_SERVER_ACCESSLOG": "environ.log"}
    with Server(tmp_path, embedded=False, **environ) as server:
        assert f"The data is in the store at {store.socket_path}" in server.output
        assert server.call("GET", "/")[0] == 200
    with Server(tmp_path, "--accesslog", "line.log", embedded=False, **environ) as server:
        assert server.call("GET", "/")[0] == 200
    assert {path.name for path in tmp_path.glob("*.log")} == {"environ.log", "line.log"}


def test_a_store_that_is_not_there_yet_does_not_hinder_the_start(tmp_path: Path) -> None:
    port = free_port()
    with Server(
        tmp_path, embedded=False, SHARQ_REDIS_PORT=str(port), SHARQ_REDIS_HOST="127.0.0.1"
    ) as server:
        assert f"The data is in the store at 127.0.0.1, port {port}" in server.output
        status, body = server.call("GET", "/deepstatus/")
        assert (status, body["code"]) == (503, "store_unavailable")
        with PrivateStore(port=port):
            wait_for("the store is found", lambda: server.call("GET", "/deepstatus/")[0] == 200)


def test_another_address_can_be_allowed(tmp_path: Path) -> None:
    with Server(tmp_path, "--host", "0.0.0.0", "--insecure") as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert server.call("GET", "/")[0] == 200


def test_a_server_with_tokens_may_listen_everywhere(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(line_for("secret", "worker", ["dequeue"]) + "\n")
    path.chmod(0o600)
    more = {"SHARQ_SERVER_TOKEN_FILE": str(path)}
    with Server(tmp_path, "--host", "0.0.0.0", "--workers", "2", **more) as server:
        assert server.call("GET", "/dequeue/t/")[0] == 401
        with closing(server.connect()) as connection:
            connection.request("GET", "/dequeue/t/", headers={"Authorization": "Bearer secret"})
            assert connection.getresponse().status == 404
        path.write_text("")
        server.process.send_signal(signal.SIGHUP)
        with closing(server.connect()) as connection:

            def is_refused() -> bool:
                connection.request("GET", "/dequeue/t/", headers={"Authorization": "Bearer secret"})
                answer = connection.getresponse()
                answer.read()
                return answer.status == 401

            wait_for("the token is no longer valid", is_refused, 5)
        assert "secret" not in server.log + server.output


@pytest.mark.parametrize(
    ("content", "mode", "word"),
    [
        ("x", 0o600, "line 1"),
        ("", 0o666, "Everybody may write"),
        (None, 0, "cannot be read"),
    ],
)
def test_tokens_that_cannot_be_used_stop_the_start(
    tmp_path: Path, content: str | None, mode: int, word: str
) -> None:
    path = tmp_path / "tokens"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    done = run(tmp_path, "--workers", "2", SHARQ_SERVER_TOKEN_FILE=str(path))
    assert done.returncode == 2
    assert word in in_one_line(done)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_an_ipv6_address_is_written_in_brackets(tmp_path: Path) -> None:
    with Server(tmp_path, "--host", "::1") as server:
        assert server.url == f"http://[::1]:{server.port}"


def test_jobs_survive_a_restart(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert server.call("POST", "/enqueue/t/q/", JOB)[0] == 201
    with Server(tmp_path) as server:
        assert server.call("GET", "/dequeue/t/")[1]["job_id"] == "j"


def test_jobs_survive_a_killed_server(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert server.call("POST", "/enqueue/t/q/", JOB)[0] == 201
        os.kill(server.process.pid, signal.SIGKILL)
        server.wait()
    with Server(tmp_path) as server:
        assert server.call("GET", "/dequeue/t/")[1]["job_id"] == "j"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_store_is_back_within_five_seconds(tmp_path: Path, workers: str) -> None:
    with Server(tmp_path, "--workers", workers) as server:
        assert server.call("POST", "/enqueue/t/q/", JOB)[0] == 201
        killed = server.store_pid(tmp_path)
        os.kill(killed, signal.SIGKILL)
        since = time.monotonic()
        wait_for("the store is back", lambda: server.call("GET", "/deepstatus/")[0] == 200, 5)
        assert server.call("GET", "/dequeue/t/")[1]["job_id"] == "j"
        assert time.monotonic() - since < 5
        assert server.store_pid(tmp_path) != killed
        again = server.store_pid(tmp_path)
        assert server.stop() == 0
        assert gone(again)


def test_a_killed_store_is_started_again_without_being_asked_for(tmp_path: Path) -> None:
    with Server(tmp_path, SHARQ_ENABLE_REQUEUE_SCRIPT="false") as server:
        assert server.call("GET", "/deepstatus/")[0] == 200
        killed = server.store_pid(tmp_path)
        os.kill(killed, signal.SIGKILL)
        wait_for("another one runs", lambda: server.store_pid(tmp_path) not in (0, killed), 5)
        wait_for("it is in the log", lambda: "has died; it is started again" in server.log)


def test_a_store_that_is_just_being_started_again_ends_with_the_server(tmp_path: Path) -> None:
    with Server(tmp_path, SHARQ_ENABLE_REQUEUE_SCRIPT="false") as server:
        assert server.call("GET", "/deepstatus/")[0] == 200
        killed = server.store_pid(tmp_path)
        os.kill(killed, signal.SIGKILL)
        wait_for("another one runs", lambda: server.store_pid(tmp_path) not in (0, killed), 5)
        started = server.store_pid(tmp_path)
        assert server.stop() == 0
        assert gone(started)


# ---- the end ----


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_ends_in_good_order(tmp_path: Path, how: signal.Signals, workers: str) -> None:
    with Server(tmp_path, "--workers", workers) as server:
        assert server.call("GET", "/deepstatus/")[0] == 200
        pids = [server.store_pid(tmp_path), *server.children()]
        assert server.stop(how) == 0
        assert [gone(pid) for pid in pids] == [True] * len(pids)
        assert not re.search("Traceback|ERROR|WARNING", server.log), server.log


def test_a_ctrl_c_that_reaches_every_process_is_graceful_too(tmp_path: Path) -> None:
    with Server(tmp_path, "--workers", "2") as server:
        assert server.call("GET", "/deepstatus/")[0] == 200
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.wait() == 0
        assert not re.search("Traceback|ERROR|WARNING", server.log), server.log


def begin_request(server: Server) -> http.client.HTTPConnection:
    """A request that the server has begun to read and waits for the rest of."""
    body = json.dumps(JOB)
    connection = server.connect()
    connection.putrequest("POST", "/enqueue/t/q/")
    connection.putheader("Content-Length", str(len(body)))
    connection.putheader("Expect", "100-continue")
    connection.endheaders()
    assert connection.sock.recv(1000).startswith(b"HTTP/1.1 100 ")
    connection.send(body[:10].encode())
    return connection


def tells_of_its_end(server: Server) -> bool:
    status, body = server.call("GET", "/")
    return status == 503 and body["code"] == "stopping"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_request_under_way_is_answered_before_the_end(tmp_path: Path, workers: str) -> None:
    with Server(tmp_path, "--workers", workers) as server:
        connection = begin_request(server)
        server.process.send_signal(signal.SIGTERM)
        wait_for("the server tells that it stops", lambda: tells_of_its_end(server))
        connection.send(json.dumps(JOB)[10:].encode())
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Connection")) == (201, "close")
        assert json.loads(answer.read()) == {"status": "queued"}
        connection.close()
        assert server.wait() == 0
    with Server(tmp_path) as server:
        assert server.call("GET", "/dequeue/t/")[1]["job_id"] == "j"


def test_an_idle_connection_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        connection = server.connect()
        assert call(connection, "GET", "/")[0] == 200
        since = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - since < 3
        connection.close()


def test_a_request_that_does_not_end_does_not_hold_up_the_end_for_ever(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        connection = begin_request(server)
        since = time.monotonic()
        assert server.stop() == 0
        assert 4 < time.monotonic() - since < 9
        assert "1 requests were not finished in time" in server.log
        connection.close()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_signal_ends_the_server_at_once(tmp_path: Path, workers: str) -> None:
    with Server(tmp_path, "--workers", workers) as server:
        connection = begin_request(server)
        server.process.send_signal(signal.SIGTERM)
        wait_for("the server tells that it stops", lambda: tells_of_its_end(server))
        since = time.monotonic()
        assert server.stop() == 1
        assert time.monotonic() - since < 3
        connection.close()


def test_no_accepted_job_is_lost_when_a_busy_server_ends(tmp_path: Path) -> None:
    accepted: set[str] = set()
    refusals: list[str] = []

    def produce(server: Server, name: int) -> None:
        connection = server.connect()
        for n in range(100_000):
            job = {**JOB, "job_id": f"p{name}-{n}"}
            try:
                status, body = call(connection, "POST", f"/enqueue/t/q{name}/", job)
            except (OSError, http.client.HTTPException):
                break
            if status != 201:
                refusals.append(body["code"])
                break
            accepted.add(job["job_id"])
        connection.close()

    with Server(tmp_path, "--workers", "2") as server:
        producers = [threading.Thread(target=produce, args=(server, n)) for n in range(4)]
        for producer in producers:
            producer.start()
        wait_for("jobs are accepted", lambda: len(accepted) > 200)
        assert server.stop() == 0
        for producer in producers:
            producer.join(20)
        assert {*refusals} <= {"stopping"}
        assert not re.search("Traceback|ERROR|WARNING", server.log), server.log
    with Server(tmp_path) as server:
        present: set[str] = set()
        connection = server.connect()
        while True:
            status, body = call(connection, "GET", "/dequeue/t/?count=100")
            if status != 200:
                break
            present |= {job["job_id"] for job in body["jobs"]}
        connection.close()
    assert accepted <= present
    # What was under way and whose answer did not arrive may be there; there were four producers.
    assert len(present - accepted) <= 4
