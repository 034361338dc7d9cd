"""What a worker says that cannot work: before it starts, or of the server that it meets."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sharq import Worker
from sharq.errors import BadArgumentException
from sharq_server import SharQServer
from tests.server.command import environment
from tests.server.conftest import ExpectLog
from tests.server.support import write_tokens

FILES = Path(__file__).parents[1] / "support" / "tls"
TLS = {"tls_certificate": str(FILES / "server.pem"), "tls_key": str(FILES / "server.key")}


async def said(
    url: str, caplog: pytest.LogCaptureFixture, expect_log: ExpectLog, **options: Any
) -> str:
    """What a worker logs when it cannot connect."""
    expect_log("no connection")
    expect_log("SSL", certain=False)
    worker = Worker(url, "t", **options)
    worker.handler(lambda job: None)
    serving = asyncio.ensure_future(worker.serve())
    try:
        while True:
            for record in caplog.records:
                if "no connection" in record.getMessage():
                    return record.getMessage()
            await asyncio.sleep(0.005)
    finally:
        worker.stop()
        await serving


@pytest.fixture
def tokens(tmp_path: Path, options: dict[str, Any]) -> None:
    file = tmp_path / "tokens"
    write_tokens(file, {"known": (["*"], ["*"])})
    options["sharq-server"] = {"token_file": str(file)}


@pytest.mark.gen_test
@pytest.mark.usefixtures("http_server")
class TestOfAServer:
    """Each says what the server said, and what to do about it."""

    @pytest.mark.usefixtures("tokens")
    @pytest.mark.parametrize(
        ("token", "words"),
        [
            (None, "401 A valid bearer token is needed; give the worker a token: `token`, "),
            ("other", "401 A valid bearer token is needed; its tokens are in the server's token"),
        ],
    )
    async def test_no_token_or_a_wrong_one(
        self, http_port: int, caplog: Any, expect_log: ExpectLog, token: str | None, words: str
    ) -> None:
        url = f"ws://127.0.0.1:{http_port}/ws/"
        assert words in await said(url, caplog, expect_log, token=token)

    async def test_another_path(self, http_port: int, caplog: Any, expect_log: ExpectLog) -> None:
        line = await said(f"ws://127.0.0.1:{http_port}/push/", caplog, expect_log)
        assert "404 There is no such route; the push channel of a server is at /ws/" in line

    async def test_tls_where_there_is_none(
        self, http_port: int, caplog: Any, expect_log: ExpectLog
    ) -> None:
        line = await said(f"wss://127.0.0.1:{http_port}/ws/", caplog, expect_log)
        assert "the server does not speak TLS there" in line

    @pytest.mark.parametrize("options", [{"sharq-server": TLS}])
    async def test_no_tls_where_there_is(
        self, http_port: int, caplog: Any, expect_log: ExpectLog
    ) -> None:
        line = await said(f"ws://127.0.0.1:{http_port}/ws/", caplog, expect_log)
        assert f"speaks TLS only: use https; use wss://127.0.0.1:{http_port}/ws/" in line

    @pytest.mark.usefixtures("tokens")
    async def test_a_token_with_what_files_leave_around_it(
        self, server: SharQServer, http_port: int
    ) -> None:
        for secret in ("\ufeffknown\r\n", " known ", "known\n"):
            for token in (secret, lambda secret=secret: secret):
                worker = Worker(f"ws://127.0.0.1:{http_port}/ws/", "t", token=token)
                worker.handler(lambda job: None)
                serving = asyncio.ensure_future(worker.serve())
                while not server.push.sessions:
                    await asyncio.sleep(0.005)
                worker.stop()
                await serving
                while server.push.sessions:
                    await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ws://host", "has no path: the push channel is ws://host/ws/"),
        ("ws://host:1/?a=b", "has no path: the push channel is ws://host:1/ws/?a=b"),
        ("ws://[::1", "is none: Invalid IPv6 URL"),
        ("ws://host:99999/ws/", "is none: Port out of range"),
        ("ws://host:0/ws/", "has to be one like ws://"),
        ("http://host/ws/", "has to be one like ws://"),
        ("ws://host/ws/\r\nX: y", "has to be one like ws://"),
        ("ws://h\u00e4st/ws/", "has to be one like ws://"),
        (5, "has to be one like ws://"),
    ],
)
def test_a_url_that_is_none(url: Any, words: str) -> None:
    with pytest.raises(BadArgumentException) as raised:
        Worker(url, "t")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("token", ["", " \n", "a b", "a\r\nX: y", "\u00e4", b"bytes", 5])
def test_a_token_that_is_none(token: Any) -> None:
    with pytest.raises(BadArgumentException, match="`token` is no bearer token: ") as raised:
        Worker("ws://host/ws/", "t", token=token)
    assert "X: y" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has no token: it is empty."),
        (b"one\ntwo\n", "has no token: it has characters that no token has"),
        (b"\xff\xfe", "has no token: it is not UTF-8."),
        (None, "cannot be read: No such file or directory."),
    ],
)
def test_a_token_file_that_has_none(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    (tmp_path / "jobs.py").write_text("def show(job): print(job)\n")
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "sharq", "worker", "jobs:show"),
            *("--type", "t", "--token-file", str(file)),
        ],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
    assert words in ran.stderr


def test_a_worker_without_a_logging_set_up_is_heard(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(
        "from sharq import Worker\n"
        "worker = Worker('ws://127.0.0.1:1/ws/', 't')\n"
        "worker.handler(print)\n"
        "worker.run()\n"
    )
    worker = subprocess.Popen(
        [sys.executable, "worker.py"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert worker.stderr is not None
    try:
        assert "no connection url=ws://127.0.0.1:1/ws/" in worker.stderr.readline()
    finally:
        worker.terminate()
        rest = worker.communicate(timeout=20)[1]
    assert "stopped done=0" in rest


def test_a_module_that_runs_a_worker_of_its_own_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(
        "from sharq import Worker\n"
        "worker = Worker('ws://127.0.0.1:1/ws/', 't')\n"
        "@worker.handler\n"
        "def send(job): print(job)\n"
        "worker.run()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "sharq", "worker", "jobs:send", "--type", "t"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert ran.returncode == 2
    assert "runs a worker of its own when it is imported" in ran.stderr
