"""The worker's pure parts: clocks, weights, delays, and what is still to be told."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from msgspec import Raw, convert

from sharq import Worker
from sharq.errors import BadArgumentException
from sharq.worker.frames import JobFields, Jobs, ServerClock, chunks, credits_of, decode
from sharq.worker.job import LeasedJob, Retry, release_delay
from sharq.worker.leases import Leases
from sharq.worker.log import Causes, Event, JsonFormatter
from sharq.worker.prefetch import SOON, Window
from tests.support.cases import cases


def test_weights_share_the_capacity() -> None:
    assert credits_of({"a": 3, "b": 1, "c": 1000}, 40) == {"a": 1, "b": 1, "c": 40}
    assert credits_of({"a": 2, "b": 1}, 40) == {"a": 40, "b": 20}


@cases(
    "delay",
    [86_400_000, float("inf"), float("nan"), -0.1, -float("inf"), True, "5", None, 31_536_000.1],
)
def test_a_delay_that_no_server_takes_is_refused_where_it_is_asked_for(delay: Any) -> None:
    with pytest.raises(ValueError, match="seconds"):
        Retry(delay)


def test_a_retry_that_says_nothing_of_its_delay_comes_at_once() -> None:
    class Again(Retry):
        def __init__(self) -> None:
            pass

    assert release_delay(Again()) == 0
    assert release_delay(Retry(31_536_000)) == 31_536_000_000
    wish = Retry(1.5)
    assert release_delay(wish) == 1500
    wish.delay = float("nan")
    with pytest.raises(ValueError, match="seconds"):
        release_delay(wish)


def test_as_much_is_taken_ahead_as_can_begin_soon() -> None:
    window = Window(4)
    assert window.size == 0, "nothing is known of the handlers"
    for _ in range(10):
        window.ended(SOON / 2)
    assert window.size == 4
    window.ended(SOON * 2)
    assert window.size == 2
    window.close()
    assert window.size == 0


def test_a_lease_that_is_held_is_no_other_job() -> None:
    def delivered() -> LeasedJob:
        entry = {
            "queue_id": "q",
            "job_id": "j",
            "payload": Raw(b"1"),
            "requeues_remaining": -1,
            "attempt": 1,
            "lease": "sms/q/j/1",
            "lease_ms": 60_000,
        }
        return LeasedJob("sms", convert(entry, JobFields), 0.0, 0.0, lambda *_: None)

    leases, job = Leases(None), delivered()
    assert len(leases.add([job, delivered()])) == 1
    job = leases.get("sms/q/j/1") or job
    assert leases.claim(job)
    assert leases.add([delivered()]) == []
    assert (leases.get("sms/q/j/1"), leases.wait) == (job, False)


def test_a_cause_is_logged_once_and_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    causes = Causes(lambda: now)
    for _ in range(100):
        causes.note(30, "refused", code="a")
    causes.note(30, "refused", code="b")
    now = 61.0
    causes.note(30, "refused", code="a")
    causes.over()
    causes.note(30, "refused", code="a")
    assert caplog.messages == [
        "refused code=a",
        "refused code=b",
        "refused code=a times=100",
        "refused code=a",
    ]


class Unspeakable:
    def __str__(self) -> str:
        raise ZeroDivisionError


def test_a_log_line_is_one_line_whatever_a_handler_says() -> None:
    said = {"a": "x\nINFO more", "b": "half \ud83d", "c": Unspeakable(), "d": 1}
    record = logging.LogRecord("sharq.worker", 40, "", 0, "%s", (Event("failed", said),), None)
    text = record.getMessage()
    assert text == "failed a='x\\nINFO more' b='half \\ud83d' c=<Unspeakable> d=1"
    line = json.loads(JsonFormatter().format(record))
    assert {name: line[name] for name in "abd"} == {name: said[name] for name in "abd"}
    assert line["c"] == "<Unspeakable>"


def test_the_servers_clock_is_that_of_the_quickest_answer() -> None:
    clock = ServerClock()
    assert clock.local(5_000, 100.0) == 100.0
    clock.one_way(1_000_000, 100.0)
    assert clock.local(1_000_500, 101.0) == pytest.approx(100.5)
    clock.there_and_back(1_001_000, 101.0, 101.2)
    assert clock.local(1_001_000, 200.0) == pytest.approx(101.1)
    clock.there_and_back(1_005_000, 102.0, 104.0)
    assert clock.local(1_001_000, 200.0) == pytest.approx(101.1), "a slow answer tells less"
    assert clock.local(9_999_999_999, 105.0) == 105.0, "nothing was sent later than now"


@pytest.mark.parametrize("payload", ["1", '"\\ud83d"'])
@pytest.mark.parametrize(("text", "interval"), [("1000", 1000), ("1.5", 1.5), ("0.001", 0.001)])
def test_a_job_has_the_interval_of_its_frame(payload: str, text: str, interval: float) -> None:
    job = (
        f'{{"queue_id":"q","job_id":"j","payload":{payload},"requeues_remaining":-1,"attempt":1,'
        f'"lease":"t/q/j/1","lease_ms":5,"interval":{text}}}'
    )
    frame = decode(f'{{"event":"jobs","queue_type":"t","server_time":1,"jobs":[{job}]}}')
    assert isinstance(frame, Jobs)
    told = frame.jobs[0].interval
    assert (type(told), told) == (type(interval), interval)


def test_frames_name_a_thousand_leases_at_most() -> None:
    assert [len(part) for part in chunks(["x"] * 2001)] == [1000, 1000, 1]
    assert chunks([]) == []


@pytest.mark.parametrize("text", ["", "x", "[]", '{"event":"new"}', '{"event":"jobs"}', '{"a":1}'])
def test_frames_that_are_not_known_are_passed_over(text: str) -> None:
    assert decode(text) is None


@cases(
    "arguments",
    [
        {"url": "http://x/"},
        {"url": "ws:///"},
        {"types": []},
        {"types": "a b"},
        {"types": {"a": 0}},
        {"types": {"a": True}},
        {"concurrency": 0},
        {"concurrency": True},
        {"concurrency": 10_001},
        {"prefetch": -1},
        {"concurrency": 9_000, "prefetch": 2_000},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"timeout": "30"},
        {"grace": -1},
        {"grace": float("nan")},
        {"grace": None},
    ],
)
def test_arguments_that_cannot_be_used_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(BadArgumentException):
        Worker(**{"url": "ws://x/ws/", "types": "t"} | arguments)
