"""`sharq forward`: endpoints, headers, secrets, signatures, and what an answer means."""

from __future__ import annotations

import base64
import hmac
from typing import Any

import pytest
from tornado.httputil import HTTPHeaders

from sharq.errors import BadArgumentException
from sharq.forwarding.answers import Answer
from sharq.forwarding.endpoint import check_endpoint, check_headers
from sharq.forwarding.signing import read_secrets, signature_headers
from sharq.forwarding.verdicts import DEAD_ON, Rules, judge, read_statuses
from sharq.worker.job import Discard, Failed, Throttled
from sharq.worker.telling import cause_of, what_failed
from tests.support.cases import cases

NOW = 1_800_000_000.0
DEFAULT = Rules(read_statuses(DEAD_ON))


# ---- the endpoint ----


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:3000/jobs", (False, "127.0.0.1", 3000, "127.0.0.1:3000", "/jobs")),
        ("http://Jobs.example", (False, "jobs.example", 80, "Jobs.example", "/")),
        ("HTTPS://a.example/x%20y?k=v", (True, "a.example", 443, "a.example", "/x%20y?k=v")),
        ("http://[::1]:3000?q", (False, "::1", 3000, "[::1]:3000", "/?q")),
    ],
)
def test_an_endpoint_is_read(url: str, expected: tuple[Any, ...]) -> None:
    assert check_endpoint(url) == expected


def test_the_log_shows_no_query() -> None:
    assert str(check_endpoint("https://a.example:81/x?key=1")) == "https://a.example:81/x"


@cases(
    ("url", "reason"),
    [
        ("", "ASCII"),
        ("http://a b/", "ASCII"),
        ("http://a/ä", "ASCII"),
        ("localhost:3000/jobs", "not localhost:3000/jobs"),
        ("/jobs", "not /jobs"),
        ("ftp://a/", "not ftp://a/"),
        ("ws://a/", "not ws://a/"),
        ("http:///jobs", "no valid host and port"),
        ("http://a:0/", "no valid host and port"),
        ("http://a:65536/", "Port out of range"),
        ("http://a:x/", "Port could not be cast"),
        ("http://[::1/", "Invalid IPv6 URL"),
        ("http://" + 64 * "a" + "/", "label"),
        ("http://u:p@a/", "Authorization"),
        ("http://a/#b", "fragment"),
    ],
)
def test_what_is_no_endpoint_is_refused(url: str, reason: str) -> None:
    with pytest.raises(BadArgumentException, match=reason) as refused:
        check_endpoint(url)
    assert "http://127.0.0.1:3000/jobs" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_headers_are_read() -> None:
    given = ["Authorization: Bearer x:y", "X-A:", "x-a: 2 "]
    assert check_headers(given) == [("Authorization", "Bearer x:y"), ("X-A", ""), ("x-a", "2")]


@cases(
    ("text", "reason"),
    [
        ("X-A", "NAME:VALUE"),
        (": secret", "NAME:VALUE"),
        ("X A: secret", "NAME:VALUE"),
        ("X-A: se\r\ncret", "printable"),
        ("X-A: secrét", "printable"),
        ("Host: secret", "SharQ itself"),
        ("content-type: secret", "SharQ itself"),
        ("sharq-Job: secret", "SharQ itself"),
        ("Webhook-Id: secret", "SharQ itself"),
    ],
)
def test_what_is_no_header_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BadArgumentException, match=reason) as refused:
        check_headers(["A: b", text])
    assert "secret" not in str(refused.value)


# ---- signatures ----


def whsec(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


def test_a_signature_is_that_of_the_published_example() -> None:
    keys = read_secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "x")
    message_id = "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert signature_headers(keys, message_id, 1614265330, b'{"test": 2432232314}') == [
        ("webhook-id", message_id),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ]


def test_each_of_several_secrets_signs() -> None:
    old, new = bytes(24), bytes(range(64))
    keys = read_secrets(f"{whsec(new)}\n{whsec(old)}\n", "x")
    signatures = dict(signature_headers(keys, "a/b/c/1", 7, b"\xff"))["webhook-signature"].split()
    assert [base64.b64decode(each.removeprefix("v1,")) for each in signatures] == [
        hmac.digest(key, b"a/b/c/1.7.\xff", "sha256") for key in (new, old)
    ]


def test_without_a_secret_nothing_is_signed() -> None:
    assert signature_headers([], "a", 7, b"") == []


@cases(
    "text",
    [
        "",
        " \n",
        "hunter2",
        "whsec_",
        "whsec_hunter2!",
        whsec(bytes(23)),
        whsec(bytes(65)),
        whsec(bytes(32)).rstrip("="),
        "WHSEC_" + whsec(bytes(32))[6:],
        f"{whsec(bytes(32))} hunter2",
        "whsec_hunter2é",
    ],
)
def test_what_is_no_secret_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(BadArgumentException, match=r"the file s .*whsec_") as refused:
        read_secrets(text, "the file s")
    assert "hunter2" not in str(refused.value)


# ---- verdicts ----


def answer(status: int, body: bytes = b"", reason: str = "", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, reason, HTTPHeaders(named), body)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_success_is_success(status: int) -> None:
    judge(answer(status, Retry_After="5"), Rules(frozenset(range(300, 600))), NOW)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_some_statuses_are_dead_at_once(status: int) -> None:
    with pytest.raises(Discard) as raised:
        judge(answer(status, b"why", "No"), DEFAULT, NOW)
    assert raised.value.dead
    error = what_failed(cause_of(raised.value))
    assert error == (f"http_{status}", f"{status} No: why", None)


@cases(
    "status", [300, 302, 304, 402, 405, 408, 409, 418, 425, 429, 500, 502, 503, 504, 599, 700, 199]
)
def test_all_others_fail(status: int) -> None:
    with pytest.raises(Failed) as raised:
        judge(answer(status, b"why", "No"), DEFAULT, NOW)
    error = what_failed(raised.value)
    assert error.type == f"http_{status}"
    assert (error.message or "").startswith(f"{status} No")


def test_other_statuses_may_be_dead() -> None:
    chosen = Rules(read_statuses(" 418, 503 "))
    for dead in (418, 503):
        with pytest.raises(Discard):
            judge(answer(dead, Retry_After="5"), chosen, NOW)
    with pytest.raises(Failed):
        judge(answer(404), chosen, NOW)
    assert read_statuses("") == read_statuses(" ") == frozenset()


@cases("text", ["200", "600", "40", "4000", "404;410", "404,", "all", "-404", "٤٠٤"])
def test_what_is_no_list_of_statuses_is_refused(text: str) -> None:
    with pytest.raises(BadArgumentException, match="--dead-on has to be"):
        read_statuses(text)


@cases("status", [429, 503])
@cases(
    ("wish", "date", "seconds"),
    [
        ("30", None, 30),
        (" 30 ", None, 30),
        ("2.5", None, 2.5),
        ("0", None, 1),
        ("3601", None, 3600),
        ("9" * 400, None, 3600),
        ("Fri, 15 Jan 2027 08:00:20 GMT", None, 20),
        ("Fri, 15 Jan 2027 08:00:20 -0000", None, 20),
        ("Friday, 15-Jan-27 08:00:20 GMT", None, 20),
        ("Fri, 15 Jan 2027 07:00:00 GMT", None, 1),
        ("Sat, 15 Jan 2028 08:00:00 GMT", None, 3600),
        # A clock that is an hour ahead.
        ("Fri, 15 Jan 2027 09:00:20 GMT", "Fri, 15 Jan 2027 09:00:00 GMT", 20),
        ("Fri, 15 Jan 2027 08:00:20 GMT", "yesterday", 20),
    ],
)
def test_a_wish_to_wait_is_a_pause(
    status: int, wish: str, date: str | None, seconds: float
) -> None:
    headers = {"Retry_After": wish} | ({"Date": date} if date else {})
    with pytest.raises(Throttled) as raised:
        judge(answer(status, **headers), DEFAULT, NOW)
    assert (raised.value.seconds, raised.value.scope) == (seconds, "queue")


@cases(
    "wish",
    ["", "soon", "-5", "+5", "1e3", "5, 6", "\u0665", "nan", "Fri, 15 Jan 99999 08:00:20 GMT"],
)
def test_a_wish_that_says_nothing_is_none(wish: str) -> None:
    with pytest.raises(Failed):
        judge(answer(429, Retry_After=wish), DEFAULT, NOW)


def test_a_wish_may_pause_more_than_the_queue() -> None:
    with pytest.raises(Throttled) as raised:
        judge(answer(429, Retry_After="5"), DEFAULT._replace(pause_scope="type"), NOW)
    assert raised.value.scope == "type"


def test_only_429_and_503_pause() -> None:
    with pytest.raises(Failed):
        judge(answer(500, Retry_After="5"), DEFAULT, NOW)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (answer(500), "500 Internal Server Error"),
        (answer(599), "599"),
        (answer(500, b"a\n\tb\xff"), "500 Internal Server Error: a b\ufffd"),
        (answer(302), "302 Found (redirects are not followed)"),
        (
            answer(302, b"x", Location="http://b/"),
            "302 Found (redirects are not followed: http://b/): x",
        ),
    ],
)
def test_what_is_told_of_an_answer_is_one_line(given: Answer, message: str) -> None:
    with pytest.raises(Failed) as raised:
        judge(given, DEFAULT, NOW)
    assert raised.value.error.message == message


@pytest.mark.parametrize(
    "given",
    [
        answer(500, 1000 * "é".encode()),
        answer(500, reason=2000 * "é"),
        answer(302, Location=2000 * "é"),
    ],
)
def test_what_is_told_is_bounded(given: Answer) -> None:
    with pytest.raises(Failed) as raised:
        judge(given, DEFAULT, NOW)
    assert len(str(raised.value)) <= len("http_500: ") + 1000
    told = (what_failed(raised.value).message or "").encode()
    assert 998 < len(told) <= 1000
