"""A server over a store that sentinels watch: what its clients see of a failover."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sharq import AsyncSharQ, Settings
from tests.server.command import run
from tests.server.conftest import ExpectLog
from tests.server.subscriber import Subscriber
from tests.server.support import Rest
from tests.support.failovers import PASSWORD, mend, settings_of, stand
from tests.support.sentinels import PrivateSentinels
from tests.support.stores import PrivateStore, store_binary, wait_for

pytestmark = pytest.mark.gen_test(timeout=30)


@pytest.fixture(scope="module")
def shared() -> Iterator[PrivateSentinels]:
    with stand() as store:
        yield store


@pytest.fixture
def sentinels(shared: PrivateSentinels) -> Iterator[PrivateSentinels]:
    yield shared
    mend(shared)


@pytest.fixture
def settings(sentinels: PrivateSentinels, key_prefix: str) -> Settings:
    redis = settings_of(sentinels).redis
    return Settings.from_mapping(
        {
            "sharq": {"job_expire_interval": 3000, "job_requeue_interval": 100},
            "redis": {
                "sentinels": " ".join(redis.sentinels),
                "sentinel_service": redis.sentinel_service,
                "password": PASSWORD,
                "key_prefix": key_prefix,
            },
        }
    )


async def until(rest: Rest, status: int) -> None:
    while (await rest.get("/deepstatus/")).status != status:
        await asyncio.sleep(0.02)


@pytest.mark.timing
async def test_push_and_the_sweep_go_on_after_a_failover(
    rest: Rest,
    http_port: int,
    settings: Settings,
    sentinels: PrivateSentinels,
    expect_log: ExpectLog,
) -> None:
    expect_log("Lost the store at 127.0.0.1")
    expect_log("The primary of `mymaster` is now at 127.0.0.1")
    expect_log("Expired jobs are not taken back", certain=False)
    await until(rest, 200)
    async with await Subscriber.connect(http_port) as subscriber:
        await subscriber.subscribe()
        await rest.enqueue(job_id="left")
        (left,) = await subscriber.jobs(1)
        former = sentinels.primary
        await asyncio.to_thread(former.kill)
        await until(rest, 503)
        await asyncio.to_thread(sentinels.wait_for_another, former)
        await until(rest, 200)
        await subscriber.event("resumed")
        # Enqueued elsewhere: only the next primary can tell the server of it.
        async with AsyncSharQ(settings) as other:
            await asyncio.sleep(0.2)
            await other.enqueue({}, 0, "told", "other", "t")
            seen: dict[str, Any] = {}
            async with asyncio.timeout(1.0):
                while "told" not in seen:
                    seen |= {job["job_id"]: job for job in await subscriber.jobs(1)}
        assert await subscriber.finish(seen["told"]) == ["success"]
        while "left" not in seen:
            seen |= {job["job_id"]: job for job in await subscriber.jobs(1)}
        assert seen["left"]["lease"] != left["lease"]


async def test_the_doctor_looks_at_the_primary_and_at_the_sentinels(
    rest: Rest, sentinels: PrivateSentinels
) -> None:
    await until(rest, 200)
    findings = (await rest.get("/doctor/")).body["findings"]
    primary = sentinels.primary
    found = [each["found"] for each in findings if each["check"] == "store"]
    assert re.fullmatch(rf"\w+ [\d.]+ at 127.0.0.1:{primary.port} answers\.", found[0])
    (told,) = [each for each in findings if each["check"] == "sentinels"]
    assert told["level"] == "ok"
    assert told["found"] == f"All 3 sentinels name 127.0.0.1:{primary.port} for `mymaster`."
    silent = sentinels.sentinels[1]
    silent.kill()
    findings = (await rest.get("/doctor/")).body["findings"]
    (told,) = [each for each in findings if each["check"] == "sentinels"]
    assert (told["level"], told["found"]) == (
        "warning",
        f"2 of 3 sentinels name 127.0.0.1:{primary.port} for `mymaster`"
        f" ({silent.address}: Connection refused).",
    )


async def test_the_doctor_names_a_primary_that_is_away_and_what_its_sentinels_say(
    rest: Rest, sentinels: PrivateSentinels, expect_log: ExpectLog
) -> None:
    expect_log("(Lost|No connection to) the store", certain=False)
    expect_log("is used as before", certain=False)
    await until(rest, 200)
    primary, others = sentinels.primary, sentinels.sentinels[1:]
    # One alone promotes nobody.
    for each in others:
        each.kill()
    await asyncio.to_thread(primary.kill)
    findings = (await rest.get("/doctor/")).body["findings"]
    found = {each["check"]: each for each in findings}
    where = f"127.0.0.1:{primary.port}"
    assert found["store"]["found"] == f"The store at {where} does not answer: Connection refused."
    assert found["sentinels"]["level"] == "error"
    assert found["sentinels"]["found"].startswith(f"1 of 3 sentinels name {where} for `mymaster`")
    assert {"tokens", "connections"} <= found.keys()
    assert not {"durability", "sweep"} & found.keys()


async def test_the_store_has_the_name_of_the_service(rest: Rest) -> None:
    await until(rest, 200)
    text = (await rest.get("/prometheus/")).text.decode()
    assert 'sharq_store_up{node="mymaster"} 1.0' in text


def check(tmp_path: Path, settings: Settings, **more: Any) -> tuple[int, str]:
    redis = settings.redis
    options = {"sentinels": " ".join(redis.sentinels), "sentinel_service": "mymaster"} | more
    lines = [f"{name} = {value}" for name, value in options.items()]
    (tmp_path / "sharq.conf").write_text("\n".join(["[redis]", f"password = {PASSWORD}", *lines]))
    ran = run(tmp_path, "--check", "-c", "sharq.conf")
    return ran.returncode, ran.stdout + ran.stderr


def test_a_start_can_be_tried(tmp_path: Path, settings: Settings) -> None:
    code, said = check(tmp_path, settings)
    places = ", ".join(settings.redis.sentinels)
    assert f"The store at mymaster, by the sentinels at {places} works." in said
    assert code == 0
    code, said = check(tmp_path, settings, sentinel_service="main")
    assert "it monitors no `main` (sentinel_service)" in said
    assert code == 2
    (tmp_path / "sharq.conf").unlink()
    code, said = check(tmp_path, settings, db=99)
    assert "does not work: 127.0.0.1:" in said  # which of them all refuses
    assert code == 2


def test_the_lines_of_the_documentation_are_taken_by_the_store(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
    section = text[text.index("### Sentinel\n") : text.index("sentinel parallel-syncs")]
    (nodes,) = re.findall(r"```\n(.*?requirepass.*?)```", section, re.DOTALL)
    with PrivateStore(tcp=True, requirepass="secret") as primary:
        lines = nodes.replace("10.0.0.7 6379", f"127.0.0.1 {primary.port}")
        path = tmp_path / "node.conf"
        path.write_text(f"port 0\nunixsocket {tmp_path}/node.sock\ndir {tmp_path}\n{lines}")
        with (tmp_path / "node.log").open("wb") as log:
            node = subprocess.Popen([store_binary(), str(path)], stdout=log, stderr=log)
        try:
            wait_for("it follows", lambda: node.poll() is not None or primary.command("ROLE")[2])
            assert node.poll() is None, (tmp_path / "node.log").read_text()
        finally:
            node.kill()
            node.wait()
