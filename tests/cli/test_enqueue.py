"""`sharq enqueue`: a job, and many from JSON lines."""

from __future__ import annotations

import json

import pytest

from tests.cli.command import Shell

RATE = ("--interval", "0")


def waiting(sharq: Shell, kind: str, queue: str = "q") -> list[tuple[str, object]]:
    jobs = sharq.rest("GET", f"/jobs/{kind}/{queue}/")["jobs"]
    return [(job["job_id"], job["payload"]) for job in jobs]


class TestOne:
    def test_a_payload_is_an_argument_or_the_standard_input(self, sharq: Shell, kind: str) -> None:
        said = sharq("enqueue", kind, "q", '{"to": "Ada"}', *RATE, "--job-id", "j1")
        assert said == (0, "j1 is queued.\n", "")
        assert sharq("enqueue", kind, "q", "-", *RATE, "--job-id", "j2", stdin=b" [2]\n").code == 0
        assert sharq("enqueue", kind, "q", *RATE, "--job-id", "j3", stdin=b"null").code == 0
        assert waiting(sharq, kind) == [("j1", {"to": "Ada"}), ("j2", [2]), ("j3", None)]

    def test_a_name_is_made_where_none_is_given(self, sharq: Shell, kind: str) -> None:
        answer = sharq("enqueue", kind, "q", "1", *RATE, "--json").json
        assert answer["status"] == "queued"
        assert waiting(sharq, kind) == [(answer["job_id"], 1)]

    def test_again(self, sharq: Shell, kind: str) -> None:
        for _ in range(2):
            said = sharq("enqueue", kind, "q", "1", *RATE, "--job-id", "j")
            assert said.code == 0
        assert "queued already" in said.out
        said = sharq("enqueue", kind, "q", "2", *RATE, "--job-id", "j")
        assert (said.code, said.out) == (1, "")
        assert "(409 job_conflict)" in said.err

    def test_options(self, sharq: Shell, kind: str) -> None:
        said = sharq(
            *("enqueue", kind, "q", "1", "--interval", "1.5s", "--delay", "1h", "--priority", "5"),
            *("--burst", "3", "--concurrency", "2", "--group", "g", "--cost", "4"),
            *("--requeue-limit", "-1", "--max-queued-length", "5", "--job-id", "j"),
        )
        assert said.code == 0, said
        limits = sharq.rest("GET", f"/limits/{kind}/q/")["limits"]
        assert limits == {"interval": 1500, "burst": 3, "concurrency": 2, "group": "g"}
        (job,) = sharq.rest("GET", f"/jobs/{kind}/q/")["jobs"]
        assert 3_500_000 < job["due_in"] <= 3_600_000
        assert (
            sharq("enqueue", kind, "q", "1", *RATE, "--burst", "none", "--group", "none").code == 0
        )
        limits = sharq.rest("GET", f"/limits/{kind}/q/")["limits"]
        assert (limits["burst"], limits["group"]) == (None, None)

    def test_a_full_queue(self, sharq: Shell, kind: str) -> None:
        sharq.put(kind)
        said = sharq("enqueue", kind, "q", "1", *RATE, "--max-queued-length", "1")
        assert (said.code, said.out) == (1, "")
        assert "(429 queue_full)" in said.err

    @pytest.mark.parametrize(
        "payload",
        [
            b"12345678901234567890.5",
            b"123456789012345678901234567890",
            b'{"a": 1.50,  "b" : -0.0, "a": 1E2}',
            b'"\\ud83d"',
        ],
    )
    def test_a_payload_is_sent_as_it_stands(self, sharq: Shell, kind: str, payload: bytes) -> None:
        name = ("--job-id", "j")
        assert sharq("enqueue", kind, "q", payload.decode(), *RATE, *name).code == 0
        sharq.rest("POST", f"/dequeue/{kind}/")
        sharq.rest("POST", f"/fail/{kind}/q/j/", {"retry": False})
        assert (
            f'"payload":{payload.decode()},' in sharq("dead", "show", kind, "q", "j", "--json").out
        )

    def test_what_json_has_and_the_server_refuses(self, sharq: Shell, kind: str) -> None:
        said = sharq("enqueue", kind, "q", "[1e400]", *RATE)
        assert (said.code, said.out) == (1, "")
        assert "too large (400 invalid_argument)" in said.err

    @pytest.mark.parametrize(
        "payload",
        [b"", b" \n", b"hello", b'1, "interval": 5', b'1e400, "interval": 5', b"\xff", b"{"],
    )
    def test_no_json(self, sharq: Shell, kind: str, payload: bytes) -> None:
        said = sharq("enqueue", kind, "q", "-", *RATE, stdin=payload)
        assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
        assert said.err.startswith("sharq enqueue: The payload ")
        assert waiting(sharq, kind) == []

    @pytest.mark.parametrize(
        "arguments",
        [
            ["t", "q", "1"],
            ["t", *RATE],
            ["t", "q", "1", "--interval", "x"],
            ["t", "q", "1", *RATE, "--job-id", "a b"],
            ["t", "q", "1", *RATE, "--cost", "none"],
            ["t", "q", "1", *RATE, "--lines"],
        ],
    )
    def test_wrong_usage(self, sharq: Shell, arguments: list[str]) -> None:
        said = sharq("enqueue", *arguments)
        assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)

    def test_a_terminal_is_not_read_unasked(self, sharq: Shell, kind: str) -> None:
        said = sharq.on_terminal("enqueue", kind, "q", *RATE)
        assert said.code == 2
        assert "The payload is missing; - reads it from the standard input." in said.out


class TestLines:
    def test_lines_are_jobs(self, sharq: Shell, kind: str) -> None:
        lines = (
            b'\xef\xbb\xbf{"job_id": "a", "payload": 1.50}\r\n'
            b"\n"
            b'{"job_id": "b", "payload": 2, "queue_id": "other", "interval": 5}\n'
            b'{"payload": 3}'
        )
        said = sharq("enqueue", kind, "q", "--lines", "--interval", "9s", stdin=lines)
        assert said == (0, "3 queued.\n", "")
        assert waiting(sharq, kind, "other") == [("b", 2)]
        jobs = waiting(sharq, kind)
        assert jobs[0] == ("a", 1.5)
        assert jobs[1][1] == 3
        assert sharq.rest("GET", f"/limits/{kind}/q/")["limits"]["interval"] == 9000
        assert sharq.rest("GET", f"/limits/{kind}/other/")["limits"]["interval"] == 5

    def test_a_bad_line_is_told_and_the_others_go(self, sharq: Shell, kind: str) -> None:
        lines = b'{"payload": 1}\n{"payload": 2}\n{"payload": \n{"payload": 4}\n{"payload": 5}\n'
        said = sharq("enqueue", kind, "q", "--lines", *RATE, stdin=lines)
        assert said.code == 1
        assert said.out == "4 queued, 1 refused.\n"
        assert said.err == ("sharq enqueue: line 3: It is not valid JSON: it ends too early.\n")
        assert [payload for _, payload in waiting(sharq, kind)] == [1, 2, 4, 5]

    def test_all_that_can_be_wrong_with_a_line(self, sharq: Shell, kind: str) -> None:
        lines = [
            b"[1]",
            b'{"payload": 1, "pay\\"load": 2}',
            b'{"payload": 1, "unknown": 2}',
            b'{"payload": 1e400}',
            b'{"payload": 1, "interval": -1}',
            b'{"job_id": 5, "payload": 1}',
            b'{"job_id": "j"}',
            b"\xff",
            b'{"payload": 1, "queue_type": "x/y"}',
        ]
        said = sharq("enqueue", kind, "q", "--lines", *RATE, stdin=b"\n".join(lines))
        assert (said.code, said.out) == (1, "0 queued, 9 refused.\n")
        told = {line.split(":")[1].strip() for line in said.err.splitlines()}
        assert told == {f"line {number}" for number in range(1, 10)}

    def test_as_json_each_line_has_a_result(self, sharq: Shell, kind: str) -> None:
        lines = b'{"payload": 1, "job_id": "a"}\nx\n{"payload": 2, "job_id": "a"}\n'
        said = sharq("enqueue", kind, "q", "--lines", *RATE, "--json", stdin=lines)
        results = {each["line"]: each for each in map(json.loads, said.out.splitlines())}
        assert results[1] == {"line": 1, "job_id": "a", "status": "queued"}
        assert results[2]["code"] == "not_json"
        assert (results[3]["code"], said.code) == ("job_conflict", 1)

    def test_more_than_a_request_takes(self, sharq: Shell, kind: str) -> None:
        lines = b"".join(b'{"payload": %d, "job_id": "j%d"}\n' % (n, n) for n in range(2_345))
        again = ("enqueue", kind, "q", "--lines", *RATE)
        assert sharq(*again, stdin=lines) == (0, "2,345 queued.\n", "")
        assert sharq("queue", kind, "q").facts["waiting"] == "2345"
        assert sharq(*again, stdin=lines).out == "0 queued, 2,345 queued already.\n"

    def test_large_jobs_go_in_requests_that_a_server_takes(self, sharq: Shell, kind: str) -> None:
        lines = b'{"payload": "%s"}\n' % (b"x" * 900_000) * 20
        assert sharq("enqueue", kind, "q", "--lines", *RATE, stdin=lines).out == "20 queued.\n"

    @pytest.mark.parametrize("stdin", [b"", b"\n \n"])
    def test_no_line(self, sharq: Shell, kind: str, stdin: bytes) -> None:
        said = sharq("enqueue", kind, "q", "--lines", *RATE, stdin=stdin)
        assert said == (2, "", "sharq enqueue: The standard input has no job.\n")
