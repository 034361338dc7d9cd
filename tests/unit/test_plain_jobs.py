"""Jobs that are read in one go: what comes of them is what the careful reader says."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharq.engine import Engine
from sharq.results import NewJob
from sharq_server.api import handlers
from tests.support.cases import cases

ENGINE = Engine.for_server()
JOB = '"queue_type":"t","queue_id":"q","job_id":"j","interval":5,"payload":1'

spaces = st.text(" \t\r\n", max_size=2)
fields = st.lists(
    st.one_of(
        *(
            st.tuples(st.just(f'"{name}"'), st.sampled_from(values))
            for name, values in {
                "queue_type": ['"t"', '"T-_9"', '""', '"é"', '"t\\u0031"', "null", "1", '"a b"'],
                "queue_id": ['"q"', f'"{"q" * 100}"', f'"{"q" * 101}"', '"q/1"'],
                "job_id": ['"j"', '"j\\"', "[]"],
                "interval": ["0", "5", "31536000000", "31536000001", "-1", "-0", "1.0", "1e2"],
                "requeue_limit": ["0", "-1", "-2", "9" * 18, "9" * 19, str(2**63), "null", '"1"'],
                "payload": ['"}"', "[]", '{"a":["\\\\"]}', "1.5e3", "null", '"\\ud83d\\ude00"'],
                "max_queued_length": ["1", "null"],
                "job\\u005fid": ['"j"'],
                "else": ["1"],
            }.items()
        )
    ),
    max_size=2,
)


def careful(text: bytes) -> Any:
    return handlers._entry(ENGINE, msgspec.Raw(text))


@given(more=fields, first=st.booleans(), space=spaces, dropped=st.sampled_from(["", "queue_id"]))
def test_what_is_plain_is_what_the_careful_reader_makes_of_it(
    more: list[tuple[str, str]], first: bool, space: str, dropped: str
) -> None:
    pairs = [f"{name}{space}:{space}{value}" for name, value in more]
    own = [pair for pair in JOB.split(",") if not dropped or dropped not in pair]
    text = "{" + f"{space},{space}".join([*pairs, *own] if first else [*own, *pairs]) + "}"
    entry = f"{space}{text}{space}".encode()
    try:
        msgspec.json.decode(entry, type=msgspec.Raw)
    except msgspec.DecodeError:
        return
    (job,) = ENGINE.flows.plain_jobs([entry])
    if job is not None:
        assert job == careful(entry)


@pytest.mark.parametrize(
    "text",
    [
        "{" + JOB + "}",
        "{" + JOB + ',"requeue_limit":7}',
        "{" + JOB.replace('"payload":1', '"payload":{"a":"x}\\"]","b":[{}]}') + "}",
        "{" + JOB.replace('"payload":1', '"payload":' + "[" * 500 + "]" * 500) + "}",
        "{" + JOB.replace('"payload":1', '"payload":"é"') + "}",
        "{ " + JOB.replace(",", " ,\n") + " }",
    ],
)
def test_the_usual_is_plain(text: str) -> None:
    (job,) = ENGINE.flows.plain_jobs([text.encode()])
    assert isinstance(job, NewJob)
    assert job == careful(text.encode())


@cases(
    "text",
    [
        "{" + JOB.replace('"payload":1', '"payload":' + "[" * 501 + "]" * 501) + "}",
        "{" + JOB.replace('"payload":1', '"payload":"' + "x" * 1_048_575 + '"') + "}",
        "{" + JOB.replace('"payload":1', '"payload":{"max_queued_length":3}') + "}",
        "{" + JOB + ',"max_queued_length":3}',
        "{" + JOB + ',"job_id":"j"}',
        "{" + JOB + ',"job\\u005fid":"j"}',
        "{" + JOB.replace('"j"', '"\\u006a"') + "}",
        "{" + JOB.replace('"interval":5', '"interval":5.0') + "}",
        "[]",
        "{}",
        "1",
    ],
)
def test_the_unusual_is_left_to_the_careful_reader(text: str) -> None:
    assert ENGINE.flows.plain_jobs([text.encode()]) == [None]


@given(text=st.binary(max_size=60) | st.text('{}[]",:\\ 019-tqj', max_size=60).map(str.encode))
def test_what_is_no_json_does_no_harm(text: bytes) -> None:
    ENGINE.flows.plain_jobs(
        [text, b'{"payload":' + text, b'{"interval":' + text, b'{"job_id":"' + text]
    )


def test_a_payload_full_of_beginnings_of_the_word_takes_no_longer() -> None:
    payload = b'"' + b"max_queued_lengt " * 60_000 + b'"'
    entry = ("{" + JOB + "}").encode().replace(b":1", b":" + payload)
    began = time.process_time()
    assert ENGINE.flows.plain_jobs([entry]) != [None]
    assert time.process_time() - began < 0.2
