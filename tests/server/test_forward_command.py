"""The command `sharq forward` as a process of its own."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sharq.cli.worker import channel_of
from sharq.forwarding.signing import read_secrets, signature_headers
from tests.server.command import Server, environment, run
from tests.server.support import until, write_tokens
from tests.support.endpoint import Caller, Request, always, endpoint, plain
from tests.support.stores import free_port

pytestmark = pytest.mark.gen_test(timeout=30)

FORWARD = [sys.executable, "-m", "sharq", "forward"]
KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("forward")


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    with Server(home) as server:
        yield server


PAGE = (Path(__file__).parents[2] / "docs" / "forward.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)


class Forwarding:
    """A running `sharq forward` of a type; what it writes is in `log`.

    Without a `url` it takes that of its environment.
    """

    def __init__(self, home: Path, url: str, *arguments: str, **more: str) -> None:
        self.log = ""
        self.process = subprocess.Popen(
            [*FORWARD, *(["--url", url] if url else []), *arguments],
            cwd=home,
            env=environment(home, **more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self.log += line

    async def ended(self) -> int:
        code = await asyncio.to_thread(self.process.wait, 20)
        self._reader.join(10)
        return code

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(10)


Starting = Callable[..., Forwarding]


@pytest.fixture
def starting(home: Path, server: Server) -> Iterator[Starting]:
    """Starts `sharq forward`; it is ended with the test."""
    begun: list[Forwarding] = []

    def start(*arguments: str, **more: str) -> Forwarding:
        url = "" if "SHARQ_URL" in more else f"ws://127.0.0.1:{server.port}/ws/"
        begun.append(Forwarding(home, url, *arguments, **more))
        return begun[-1]

    yield start
    for each in begun:
        each.kill()


def enqueue(server: Server, queue_type: str, job_id: str = "j", payload: Any = 1) -> None:
    job = {"job_id": job_id, "interval": 0, "payload": payload}
    assert server.call("POST", f"/enqueue/{queue_type}/q/", job)[0] == 201


def state(server: Server, queue_type: str, job_id: str = "j") -> Any:
    return server.call("GET", f"/status/{queue_type}/q/{job_id}/")[1].get("state")


@pytest.mark.parametrize(
    ("given", "of_environment", "channel"),
    [
        (None, "", "ws://127.0.0.1:8080/ws/"),
        (None, "https://jobs.example.com", "wss://jobs.example.com/ws/"),
        ("http://[::1]:8080/queue/", "http://other", "ws://[::1]:8080/queue/ws/"),
        ("http://host/ws/", "", "ws://host/ws/"),
        ("wss://host/queue/ws/", "http://other", "wss://host/queue/ws/"),
        ("nonsense", "", "nonsense"),
    ],
)
def test_the_push_channel_of_a_server(
    given: str | None, of_environment: str, channel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHARQ_URL", of_environment)
    assert channel_of(given) == channel


async def test_the_server_of_the_environment_is_the_one(server: Server, starting: Starting) -> None:
    async with endpoint(always(plain("204 No Content"))) as target:
        enqueue(server, "environment")
        to = f"http://127.0.0.1:{target.port}/"
        starting("environment", to, SHARQ_URL=f"http://127.0.0.1:{server.port}")
        await until(lambda: state(server, "environment") == "finished")


async def test_jobs_are_forwarded_until_it_is_stopped(server: Server, starting: Starting) -> None:
    async with endpoint(always(plain("200 OK"))) as target:
        forwarding = starting("whole", f"http://127.0.0.1:{target.port}/in?key=hunter2")
        enqueue(server, "whole", "j", {"to": "Ada"})
        enqueue(server, "whole", "k")
        await until(lambda: {state(server, "whole", job) for job in "jk"} == {"finished"})
        forwarding.process.send_signal(signal.SIGTERM)
        assert await forwarding.ended() == 0
    assert {each.line for each in target.requests} == {"POST /in?key=hunter2 HTTP/1.1"}
    assert not any("webhook-id" in each.headers for each in target.requests)
    endpoint_shown = f"endpoint=http://127.0.0.1:{target.port}/in signed=False"
    assert f"INFO forwarding type=whole {endpoint_shown}\n" in forwarding.log
    assert "INFO stopped done=2 retried=0 discarded=0 lost=0 " in forwarding.log
    assert "hunter2" not in forwarding.log


@pytest.mark.parametrize("origin", ["environment", "file", "argument"])
async def test_where_the_secret_comes_from(
    server: Server, starting: Starting, tmp_path: Path, origin: str
) -> None:
    file = tmp_path / "secret"
    file.write_text(f"\ufeff{SECRET}\n")
    arguments, more = {
        "environment": ([], {"SHARQ_FORWARD_SECRET": SECRET}),
        "file": (["--secret-file", str(file)], {"SHARQ_FORWARD_SECRET": "whsec_no"}),
        "argument": (["--secret", SECRET], {}),
    }[origin]
    async with endpoint(always(plain("200 OK"))) as target:
        where = f"http://127.0.0.1:{target.port}"
        forwarding = starting(origin, where, *arguments, **more)
        enqueue(server, origin)
        await until(lambda: state(server, origin) == "finished")
    (request,) = target.requests
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.1"
    digest = hmac.new(KEY, signed.encode(), hashlib.sha256).digest()
    assert request.headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    assert "signed=True" in forwarding.log
    assert SECRET[6:] not in forwarding.log


async def test_the_endpoint_of_the_page_gets_jobs(server: Server, starting: Starting) -> None:
    port = free_port()
    source = EXAMPLES[0].replace("3000", str(port))
    with subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as example:
        try:
            assert example.stdout is not None
            # Until it listens its job fails, and comes again.
            starting("page", f"http://127.0.0.1:{port}/jobs")
            enqueue(server, "page", "j", {"to": "Ada"})
            assert await asyncio.to_thread(example.stdout.readline) == b'q j {"to": "Ada"}\n'
            await until(lambda: state(server, "page") == "finished")
        finally:
            example.kill()


def test_the_page_tells_how_to_check_a_signature() -> None:
    names: dict[str, Any] = {}
    exec(EXAMPLES[1], names)
    for given, body, age, genuine in [
        (SECRET, b"1", 0, True),
        (f"whsec_{'A' * 32} {SECRET}", b"1", 0, True),
        (SECRET, b"2", 0, False),
        (SECRET, b"1", 301, False),
        (f"whsec_{'A' * 32}", b"1", 0, False),
    ]:
        keys = read_secrets(given, "x")
        headers = dict(signature_headers(keys, "t/q/j/1", int(time.time()) - age, b"1"))
        assert names["is_genuine"](SECRET, headers, body) is genuine


async def test_a_failure_is_a_line_of_the_log(server: Server, starting: Starting) -> None:
    async with endpoint(always(plain("500 No", b"<p>\nout of paper"))) as target:
        where = f"http://127.0.0.1:{target.port}"
        forwarding = starting("fails", where, "--log-format", "json")
        enqueue(server, "fails")
        await until(lambda: '"event":"failed"' in forwarding.log)
    (line,) = [each for each in forwarding.log.splitlines() if '"failed"' in each]
    assert '"error":"http_500: 500 No: <p> out of paper"' in line
    assert "traceback" not in line


async def test_a_token_needs_four_operations(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    four = ("dequeue", "finish", "release", "extend")
    write_tokens(tokens, {"forwarder": (four, ["t"]), "producer": (["enqueue", "status"], ["t"])})
    producer = {"Authorization": "Bearer producer"}

    async def answer(request: Request, caller: Caller) -> None:
        first = len(target.requests) == 1
        await caller.send(plain("429 No", Retry_After="1") if first else plain("200 OK"))

    with Server(tmp_path, SHARQ_SHARQ_SERVER_TOKEN_FILE=str(tokens)) as server:

        def call(method: str, path: str, body: str | None = None) -> Any:
            connection = server.connect()
            connection.request(method, path, body, producer)
            answer = json.loads(connection.getresponse().read())
            connection.close()
            return answer

        async with endpoint(answer) as target:
            where = [f"ws://127.0.0.1:{server.port}/ws/", "t", f"http://127.0.0.1:{target.port}"]
            forwarding = Forwarding(tmp_path, *where, SHARQ_TOKEN="forwarder")
            try:
                call("POST", "/enqueue/t/q/", '{"job_id": "j", "interval": 0, "payload": 1}')
                await until(lambda: call("GET", "/status/t/q/j/")["state"] == "finished")
            finally:
                forwarding.kill()
    assert [each.headers["sharq-attempt"] for each in target.requests] == ["1", "1"]
    assert "WARNING" not in forwarding.log
    assert "ERROR" not in forwarding.log


class Held:
    """An endpoint that answers when it is told to."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def answer(self, _request: Request, caller: Caller) -> None:
        waits = asyncio.ensure_future(self.go_on.wait())
        leaves = asyncio.ensure_future(caller.has_left())
        try:
            await asyncio.wait({waits, leaves}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waits.cancel()
            leaves.cancel()
        if self.go_on.is_set():
            await caller.send(plain("200 OK"))


async def test_a_stop_lets_a_request_end(server: Server, starting: Starting) -> None:
    held = Held()
    async with endpoint(held.answer) as target:
        forwarding = starting("stop", f"http://127.0.0.1:{target.port}", "--concurrency", "1")
        enqueue(server, "stop", "j")
        enqueue(server, "stop", "k")
        await until(lambda: len(target.requests) == 1)
        forwarding.process.send_signal(signal.SIGTERM)
        await until(lambda: "INFO stopping running=1 grace=30.0\n" in forwarding.log)
        held.go_on.set()
        assert await forwarding.ended() == 0
    assert len(target.requests) == 1
    assert (state(server, "stop", "j"), state(server, "stop", "k")) == ("finished", "queued")
    assert "INFO stopped done=1 " in forwarding.log


async def test_a_second_signal_ends_it_at_once(server: Server, starting: Starting) -> None:
    held = Held()
    async with endpoint(held.answer) as target:
        forwarding = starting("twice", f"http://127.0.0.1:{target.port}")
        enqueue(server, "twice")
        await until(lambda: len(target.requests) == 1)
        while forwarding.process.poll() is None:
            forwarding.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.1)
        assert await forwarding.ended() == 1
        await until(lambda: target.left == 1)
    await until(lambda: state(server, "twice") == "queued")
    assert "WARNING cut off by the stop type=twice queue=q job=j" in forwarding.log


WRONG = {
    "scheme": (["localhost:3000/jobs"], "a URL like http://127.0.0.1:3000/jobs: http:// or"),
    "no host": (["http:///jobs"], "no valid host"),
    "timeout 0": (["http://a/", "--timeout", "0"], "--timeout has to be more than 0"),
    "timeout nan": (["http://a/", "--timeout", "nan"], "--timeout has to be more than 0"),
    "timeout": (["http://a/", "--timeout", "soon"], "--timeout has to be more than 0"),
    "concurrency 0": (["http://a/", "--concurrency", "0"], "`concurrency` has to be 1 to 10000."),
    "concurrency": (["http://a/", "--concurrency", "many"], "--concurrency has to be a whole"),
    "grace": (["http://a/", "--grace", "-1"], "`grace` has to be 0 seconds or more."),
    "statuses": (["http://a/", "--dead-on", "4xx"], "--dead-on has to be statuses from 300"),
    "secret": (["http://a/", "--secret", "hunter2"], "--secret has an invalid secret: whsec_"),
    "no file": (["http://a/", "--secret-file", "gone"], "gone cannot be read: No such file"),
    "empty file": (["http://a/", "--secret-file", "empty"], "The secret file empty has no secret"),
    "binary": (["http://a/", "--secret-file", "binary"], "The secret file binary is not UTF-8."),
    "header": (["http://a/", "--header", "hunter2"], "--header has to be NAME:VALUE"),
    "url": (["http://a/", "--url", "ftp://a/"], "`url` has to be one like ws://"),
    "token": (["http://a/", "--token-file", "gone"], "The token file gone cannot be read"),
    "authority": (["http://a/", "--tls-ca", "gone"], "`tls_ca` gone cannot be used"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_arguments_are_refused_in_one_line(tmp_path: Path, what: str) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    arguments, reason = WRONG[what]
    done = run(tmp_path, "t", *arguments, command=FORWARD)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("sharq forward: ")
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert "hunter2" not in done.stderr


def test_a_wrong_type_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "a b", "http://a/", command=FORWARD)
    assert (done.returncode, done.stderr) == (
        2,
        "sharq forward: `TYPE` has an invalid value. It is 1 to 100 of the characters "
        "A-Z a-z 0-9 _ -.\n",
    )


def test_a_wrong_secret_of_the_environment_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "t", "http://a/", command=FORWARD, SHARQ_FORWARD_SECRET="hunter2")
    assert done.returncode == 2
    assert done.stderr.startswith("sharq forward: SHARQ_FORWARD_SECRET has an invalid secret: ")
    assert "hunter2" not in done.stderr


def test_without_tornado_it_says_what_to_install(tmp_path: Path) -> None:
    absent = (
        "import sys; sys.modules['tornado'] = None; "
        "from sharq.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", absent, "forward"]
    done = run(tmp_path, "t", "http://a/", command=command)
    assert (done.returncode, done.stderr) == (
        2,
        'sharq forward: It needs tornado: pip install "sharq[server]"\n',
    )
