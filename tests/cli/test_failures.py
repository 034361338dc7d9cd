"""What the command says where it cannot be done, and its exit codes."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.cli.command import COMMAND, Shell
from tests.server.command import Server
from tests.server.support import write_tokens
from tests.support.stores import free_port

SECRET = "sharq_secret-of-this-test"


@contextmanager
def answering(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers one connection after the other: its URL, and what it was sent."""
    sent: list[bytes] = []

    def serve() -> None:
        with suppress(OSError):
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    sent.append(request_of(connection))
                    connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", sent
        with suppress(OSError):
            # Nobody has to ask for all of them.
            listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        assert not thread.is_alive()


def request_of(connection: socket.socket) -> bytes:
    """A whole request."""
    with connection.makefile("rb") as stream:
        head = b"".join(iter(stream.readline, b"\r\n"))
        size = re.search(rb"Content-Length: (\d+)", head)
        return head + (stream.read(int(size[1])) if size else b"")


def answer(status: str, body: bytes, kind: str = "application/json", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def test_no_server(sharq: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    said = sharq("types", "--url", url)
    assert said == (3, "", f"sharq types: No answer from {url}: Connection refused.\n")
    assert sharq("pause", "t", "--url", url).err.endswith("Connection refused.\n")


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"", "the server closed the connection"),
        (b"SSH-2.0-OpenSSH\r\n", "it does not speak HTTP"),
        (answer("200 OK", b"<html>", "text/html"), "is not SharQ's: 200, text/html"),
        (answer("502 Bad", b"<html>", "text/html"), "is not SharQ's: 502, text/html"),
        (answer("200 OK", b"[]"), "is not SharQ's: 200, application/json"),
        (answer("200 OK", b'{"status": NaN}'), "is not SharQ's"),
        (answer("200 OK", b"{}"), "is not SharQ's"),
        (answer("200 OK", b'{"status"')[:-3], "ended in the middle of an answer"),
        (answer("200 OK", b"\x1b[31m", "\x1b[31m/x"), "is not SharQ's"),
    ],
)
def test_no_answer_of_sharq(sharq: Shell, reply: bytes, words: str) -> None:
    with answering(reply) as (url, _):
        said = sharq("job", "t", "q", "j", "--url", url)
    assert (said.code, said.out, said.err.count("\n")) == (3, "", 1)
    assert words in said.err
    assert "\x1b" not in said.err


@pytest.mark.parametrize(
    "arguments",
    [
        *(["types"], ["queue", "t", "q"], ["limit", "t"], ["limit", "t", "--reset"]),
        *(["dead", "show", "t", "q", "j"], ["dead", "retry", "t", "q", "j"]),
        *(["dead", "retry", "t", "--all"], ["dead", "progress", "t"]),
    ],
)
def test_a_server_with_other_fields(sharq: Shell, arguments: list[str]) -> None:
    other = answer("200 OK", b'{"status": "success", "data": {}, "bulk": 5}')
    with answering(*[other] * 2) as (url, _):
        said = sharq(*arguments, "--url", url)
    if arguments[-1] == "--reset":
        assert said.code == 0
    else:
        assert (said.code, said.err.count("\n")) == (3, 1)
        assert "is not that of SharQ 2" in said.err


def test_a_lost_answer_may_have_been_carried_out(sharq: Shell) -> None:
    with answering(b"") as (url, _):
        said = sharq("pause", "t", "--url", url)
    assert said.code == 3
    assert said.err.endswith("Whether it was carried out is not known.\n")
    with answering(b"") as (url, sent):
        said = sharq("enqueue", "t", "q", "1", "--interval", "0", "--url", url)
    name = said.err.split()[-1].rstrip(".")
    assert f'"job_id": "{name}"'.encode() in sent[0]


def test_a_server_that_says_nothing(sharq: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        said = sharq("types", "--url", url, "--timeout", "0.05")
    assert said == (3, "", f"sharq types: No answer from {url}: it took too long.\n")


def test_no_proxy_is_asked_for_the_loopback_address(sharq: Shell) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        sharq.monkeypatch.setenv(name, "http://127.0.0.1:1")
    sharq.monkeypatch.delenv("no_proxy", raising=False)
    assert sharq("types").code == 0


def test_a_deletion_takes_no_more_than_was_asked_about(sharq: Shell) -> None:
    answers = [
        answer("200 OK", b'{"status": "success", "dead": {"jobs": 3}}'),
        answer("202 Accepted", b'{"status": "success", "id": "x"}'),
        answer(
            "200 OK",
            b'{"status": "success", "bulk": {"id": "x", "kind": "delete", "state": "done", '
            b'"moved": 3, "left": 0, "conflicts": 0}}',
        ),
    ]
    with answering(*answers) as (sharq.url, sent):
        said = sharq.on_terminal("dead", "delete", "t", "--all", typed=b"y\n")
    assert "Delete 3 dead letters of t?" in said.out
    assert said.code == 0
    assert sent[1].startswith(b"DELETE /dead/t/ ")
    assert sent[1].endswith(b'{"all": true, "limit": 3}')


def test_a_redirect_gets_no_token(sharq: Shell) -> None:
    empty = answer("200 OK", b'{"status": "success", "queue_types": []}')
    with answering(empty) as (elsewhere, taken):
        moved = answer("302 Found", b"", more=f"Location: {elsewhere}/\r\n")
        with answering(moved) as (url, sent):
            said = sharq("types", "--url", url, "--token", SECRET)
    assert (said.code, taken) == (3, [])
    assert f"Authorization: Bearer {SECRET}".encode() in sent[0]
    assert SECRET not in said.err


def test_a_store_that_is_away_is_no_refusal(sharq: Shell) -> None:
    failure = (
        b'{"status": "failure", "code": "store_unavailable", "message": "Away.\\u001b[31m", '
        b'"outcome": "unknown"}'
    )
    with answering(answer("503 Unavailable", failure)) as (url, _):
        said = sharq("resume", "t", "--url", url)
    assert said == (
        3,
        "",
        "sharq resume: Away.\\x1b[31m (503 store_unavailable). "
        "Whether it was carried out is not known.\n",
    )


def test_lines_that_were_sent_before_are_told(sharq: Shell) -> None:
    some = (
        b'{"status": "success", "results": [' + b",".join([b'{"status": "queued"}'] * 1000) + b"]}"
    )
    lines = b'{"payload": 1}\n' * 1500
    with answering(answer("200 OK", some), b"") as (url, _):
        said = sharq(
            *("enqueue", "t", "q", "--lines", "--interval", "0", "--url", url), stdin=lines
        )
    assert (said.code, said.out, said.err.count("\n")) == (3, "", 1)
    assert "lines 1001 to 1500: No answer" in said.err
    assert said.err.endswith("1,000 queued before it.\n")


def test_a_request_that_is_too_large_goes_in_parts(sharq: Shell) -> None:
    large = answer(
        "413 Large", b'{"status": "failure", "code": "payload_too_large", "message": "L."}'
    )
    one = answer("200 OK", b'{"status": "success", "results": [{"status": "queued"}]}')
    with answering(large, one, large) as (url, sent):
        said = sharq(
            *("enqueue", "t", "q", "--lines", "--interval", "0", "--url", url),
            stdin=b'{"payload": 1}\n{"payload": 2}\n',
        )
    assert (said.code, said.out) == (1, "1 queued, 1 refused.\n")
    assert said.err == "sharq enqueue: line 2: L (413 payload_too_large).\n"
    assert len(sent) == 3


@pytest.mark.parametrize(
    "url",
    [
        *("", "nonsense", "ftp://127.0.0.1", "http://", "http://x:y", "http://a b", "http://[::1"),
        *("http://user:hidden@127.0.0.1", "http://127.0.0.1/?token=hidden", "http://h/\x1b"),
    ],
)
def test_a_url_that_is_none(sharq: Shell, url: str) -> None:
    sharq.monkeypatch.setenv("SHARQ_URL", url or " ")
    said = sharq("types")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert "hidden" not in said.err


def test_a_path_before_the_routes(sharq: Shell) -> None:
    empty = answer("200 OK", b'{"status": "success", "queue_types": []}')
    with answering(empty) as (url, sent):
        said = sharq("types", "--url", f"{url}/base/")
    assert said == (0, "", "No type has waiting or leased jobs.\n")
    assert sent[0].startswith(b"GET /base/metrics/ HTTP/1.1\r\n")


def test_options_before_the_command(sharq: Shell) -> None:
    said = sharq("--url", "http://127.0.0.1:1", "types")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("sharq: --url: options stand behind the command")


@pytest.mark.parametrize(
    "arguments",
    [[], ["queue", "t"], ["types", "--bad"], ["types", "--timeout", "0"], ["dead"], ["\x1b"]],
)
def test_wrong_usage(sharq: Shell, arguments: list[str]) -> None:
    said = sharq(*arguments)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith("sharq")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("guarded")
    write_tokens(
        home / "tokens",
        {
            SECRET: (["*"], ["*"]),
            "looker": (["metrics", "dead"], ["allowed"]),
            "burier": (["dead"], ["*"]),
        },
    )
    with Server(home, SHARQ_SERVER_TOKEN_FILE=str(home / "tokens")) as server:
        yield server


class TestTokens:
    @pytest.fixture
    def sharq(self, guarded: Server, sharq: Shell) -> Shell:
        sharq.monkeypatch.setenv("SHARQ_URL", guarded.url)
        return sharq

    def test_none(self, sharq: Shell) -> None:
        said = sharq("types")
        assert said == (
            1,
            "",
            "sharq types: A valid bearer token is needed (401 unauthorized). "
            "A token is given by SHARQ_TOKEN or --token.\n",
        )

    def test_a_wrong_one_is_not_shown(self, sharq: Shell) -> None:
        said = sharq("types", "--token", "wrong-secret")
        assert said.code == 1
        assert "401" in said.err
        assert "wrong-secret" not in said.err

    @pytest.mark.parametrize("token", ["two words", "ü", "a\nb"])
    def test_what_is_none_is_not_shown(self, sharq: Shell, token: str) -> None:
        sharq.monkeypatch.setenv("SHARQ_TOKEN", token)
        said = sharq("types")
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert said.err.startswith("sharq types: SHARQ_TOKEN is no token")
        assert token not in said.err

    def test_one_from_either_place(self, sharq: Shell) -> None:
        assert sharq("types", "--token", SECRET).code == 0
        sharq.monkeypatch.setenv("SHARQ_TOKEN", f"{SECRET}\n")
        assert sharq("types").code == 0
        # The argument counts before the environment.
        assert sharq("types", "--token", "other").code == 1

    def test_one_that_does_not_allow_it(self, sharq: Shell) -> None:
        sharq.monkeypatch.setenv("SHARQ_TOKEN", "looker")
        for arguments, more in (
            (["pause", "allowed"], ": it lacks the operation `pause`"),
            (["queues", "other"], ""),
        ):
            said = sharq(*arguments)
            assert (said.code, said.out) == (1, "")
            assert f"The token does not allow this{more} (403 forbidden)." in said.err
        assert sharq("dead", "list", "allowed").code == 0

    def test_dead_letters_are_counted_with_the_right_for_them_alone(self, sharq: Shell) -> None:
        said = sharq("dead", "delete", "t", "--all", "--token", "burier")
        assert said == (0, "", "No dead letters match: nothing is deleted.\n")


def test_a_certificate_is_checked(sharq: Shell, tmp_path: Path) -> None:
    files = Path(__file__).parents[1] / "support" / "tls"
    certificate = {
        "SHARQ_SERVER_TLS_CERTIFICATE": str(files / "server.pem"),
        "SHARQ_SERVER_TLS_KEY": str(files / "server.key"),
    }
    with Server(tmp_path, **certificate) as server:
        url = ("--url", server.url)
        assert server.url.startswith("https://")
        assert sharq("queues", "t", *url, "--tls-ca", str(files / "authority.pem")).code == 0
        said = sharq("queues", "t", *url)
        assert (said.code, said.out, said.err.count("\n")) == (3, "", 1)
        assert "certificate" in said.err
        said = sharq("queues", "t", *url, "--tls-ca", str(tmp_path / "none"))
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert "No such file" in said.err


# ---- as a process ----


def test_exit_codes_and_streams_of_a_process(sharq: Shell, kind: str) -> None:
    sharq.put(kind, "q")
    said = sharq.process("queues", kind)
    assert said == (0, "queue\nq\n", "")
    said = sharq.process("job", kind, "q", "nobody")
    assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
    assert sharq.process("job", kind)[:2] == (2, "")


def test_a_pipe_that_is_closed(sharq: Shell, kind: str) -> None:
    jobs = [
        {
            "queue_type": kind,
            "queue_id": f"{'q' * 90}{n}",
            "job_id": "j",
            "interval": 0,
            "payload": 1,
        }
        for n in range(1000)
    ]
    sharq.rest("POST", "/enqueue/", {"jobs": jobs})
    with subprocess.Popen(
        [*COMMAND, "queues", kind, "--all"],
        env=sharq.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(20) == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_disk_that_is_full(sharq: Shell, kind: str) -> None:
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [*COMMAND, "queues", kind],
            check=False,
            env=sharq.environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=20,
        )
    assert ended.returncode == 3
    assert ended.stderr == b"sharq queues: Writing failed: No space left on device.\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["types"], b"sharq types: Stopped.\n"),
        (["enqueue", "t", "q", "--lines", "--interval", "0"], b"Stopped. 0 queued before it.\n"),
    ],
)
def test_an_interrupt(sharq: Shell, arguments: list[str], words: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with subprocess.Popen(
            [*COMMAND, *arguments, "--url", url],
            env=sharq.environment(),
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdin is not None
            process.stdin.write(b'{"payload": 1}\n')
            process.stdin.close()
            connection, _ = silent.accept()
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
            assert process.stderr is not None
            assert process.stderr.read().endswith(words)
            connection.close()


def test_an_interrupted_wait_says_that_the_server_goes_on(sharq: Shell) -> None:
    begun = answer("202 Accepted", b'{"status": "success", "id": "x"}')
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with subprocess.Popen(
            [*COMMAND, "dead", "retry", "t", "--all", "--url", url],
            env=sharq.environment(),
            stderr=subprocess.PIPE,
        ) as process:
            connection, _ = listener.accept()
            request_of(connection)
            connection.sendall(begun)
            connection.close()
            # It asks for the progress, and gets no answer.
            connection, _ = listener.accept()
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
            assert process.stderr is not None
            assert process.stderr.read() == (
                b"sharq dead retry: The server goes on: sharq dead progress t shows it, "
                b"sharq dead cancel t ends it.\n"
            )
            connection.close()


@pytest.mark.parametrize("verb", [["types"], ["top", "--once"], ["queues", "t", "--by", "drain"]])
def test_a_server_that_is_not_there_is_told_alike(sharq: Shell, verb: list[str]) -> None:
    said = sharq(*verb, "--url", f"http://127.0.0.1:{free_port()}")
    assert (said.code, said.out) == (3, "")
    assert said.err.endswith(": Connection refused.\n")


def test_types_whose_node_is_away_are_named(sharq: Shell) -> None:
    body = (
        b'{"status": "success", "queue_types": [], "enqueue_counts": {}, "dequeue_counts": {},'
        b' "complete": false, "unreached_types": ["sms", "email"]}'
    )
    with answering(answer("200 OK", body), answer("200 OK", body)) as (url, _):
        said = sharq("types", "--url", url)
        listed = sharq("types", "--json", "--url", url).json
    assert (said.code, said.out) == (0, "")
    assert "Nodes of the store are away, with other types: sms email." in said.err
    assert (listed["complete"], listed["unreached_types"]) == (False, ["sms", "email"])
