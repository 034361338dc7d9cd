"""What the original's server got wrong does not come back; the numbers are those of its list.

The rest of the list concerns the queue itself: tests/lua/test_original_defects.py.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sharq_server import setup_server
from tests.server.support import Rest
from tests.support.stores import PrivateStore

pytestmark = pytest.mark.gen_test

# Comments behind the values, as the original ships it, and no enable_requeue_script.
SHIPPED = """\
[sharq]
job_expire_interval       : 50 ; in milliseconds
job_requeue_interval      : 20 ; in milliseconds
default_job_requeue_limit : -1 ; retries infinitely

[sharq-server]
host                      : 127.0.0.1
port                      : 8080
workers                   : 1 ; optional

[redis]
db                        : 0
key_prefix                : {key_prefix} ; of this test
conn_type                 : unix_sock ; or tcp_sock
;; unix connection settings
unix_socket_path          : {socket}
"""


async def test_20_the_shipped_file_is_read_and_its_requeue_loop_runs(
    store: PrivateStore, key_prefix: str, tmp_path: Path
) -> None:
    path = tmp_path / "sharq.conf"
    path.write_text(SHIPPED.format(key_prefix=key_prefix, socket=store.socket_path))
    server = setup_server(path)
    assert server.config.sharq.job_expire_interval == 50
    try:
        await server.start()
        await server.sq.enqueue({"a": 1}, 0, "j", "q", "t")
        assert (await server.sq.dequeue("t"))["status"] == "success"
        async with asyncio.timeout(5):
            while (await server.sq.dequeue("t"))["status"] != "success":
                await asyncio.sleep(0.01)
    finally:
        await server.stop()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{not json", "not_json"),
        ({"job_id": "j", "interval": "fast", "payload": 1}, "invalid_argument"),
        ({"interval": 0, "payload": 1}, "invalid_argument"),
    ],
    ids=["no JSON", "a bad value", "a missing field"],
)
async def test_21_what_a_client_gets_wrong_is_400(rest: Rest, body: Any, code: str) -> None:
    assert (await rest.post("/enqueue/t/q/", body)).error == (400, code)


@pytest.mark.parametrize("payload", ["text", 7, None, [1, 2], True], ids=repr)
async def test_22_a_payload_may_be_any_value(rest: Rest, payload: Any) -> None:
    assert (await rest.enqueue(payload=payload)).status == 201
    assert (await rest.get("/dequeue/t/")).body["payload"] == payload


async def test_22_no_enqueues_at_the_same_time_get_past_the_bound(rest: Rest) -> None:
    answers = await asyncio.gather(
        *(rest.enqueue(job_id=f"j{i}", max_queued_length=3) for i in range(12))
    )
    assert sorted(answer.status for answer in answers) == [201] * 3 + [429] * 9


async def test_23_one_request_takes_many_jobs(rest: Rest) -> None:
    for i in range(5):
        assert (await rest.enqueue(job_id=f"j{i}")).status == 201
    answer = await rest.get("/dequeue/t/?count=10")
    assert [job["job_id"] for job in answer.body["jobs"]] == [f"j{i}" for i in range(5)]
