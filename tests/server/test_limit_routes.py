"""The routes of limits and pauses: what they set and show, and what it holds back."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.server.support import Rest
from tests.support.cases import cases

pytestmark = pytest.mark.gen_test

QUEUE, GROUP, TYPE = "/limits/t/q/", "/limits/t/?group=g", "/limits/t/"
LEVELS = (QUEUE, GROUP, TYPE)
PREFIXES = {QUEUE: "", GROUP: "group_", TYPE: "type_"}
"""What a level adds to the word for what holds back a queue."""

VALUES = {"interval": 1.5, "burst": 3, "concurrency": 2}
DONE = (200, {"status": "success"})
NOTHING_READY = (404, "nothing_ready")


def membership(path: str, group: str | None = None) -> dict[str, str | None]:
    """What only a queue has."""
    return {"group": group} if path == QUEUE else {}


async def shown(rest: Rest, path: str) -> dict[str, Any]:
    answer = await rest.get(path)
    assert answer.status == 200
    body: dict[str, Any] = answer.body
    return body


# ---- limits ----


@pytest.mark.parametrize("path", LEVELS)
async def test_a_level_that_nobody_limits_shows_nulls(rest: Rest, path: str) -> None:
    body = await shown(rest, path)
    assert body == {
        "status": "success",
        "limits": dict.fromkeys(VALUES) | membership(path),
        "set_by": dict.fromkeys(VALUES) | membership(path),
        "reason": None,
        "tat": None,
        "active": 0,
        **({"queue_length": body["queue_length"]} if path == QUEUE else {}),
        "pause": None,
        "held_by": None,
        "ready_in": body["ready_in"],
    }


@pytest.mark.parametrize("path", LEVELS)
async def test_limits_are_set_shown_and_given_back(rest: Rest, path: str) -> None:
    reason = "50 % less: see /contracts/7 (ärgerlich)"
    assert (await rest.post(path, VALUES | {"reason": reason})).outcome == DONE
    body = await shown(rest, path)
    assert body["limits"] == VALUES | membership(path)
    assert body["set_by"] == dict.fromkeys(VALUES, "api") | membership(path)
    assert body["reason"] == reason

    assert (await rest.post(path, {"burst": None, "interval": 5})).outcome == DONE
    body = await shown(rest, path)
    assert body["limits"] == VALUES | {"burst": None, "interval": 5} | membership(path)
    assert body["set_by"]["burst"] is None

    assert (await rest.delete(path)).outcome == DONE
    body = await shown(rest, path)
    assert body["limits"] == body["set_by"] == dict.fromkeys(VALUES) | membership(path)
    assert body["reason"] is None


@cases("path", LEVELS)
@cases("reason", ["-", "--", "%2D", "a\nb", "x" * 200, "ä" * 100], ids=lambda text: ascii(text[:5]))
async def test_a_reason_comes_back_as_it_was(rest: Rest, path: str, reason: str) -> None:
    assert (await rest.post(path, {"burst": 2, "reason": reason})).outcome == DONE
    assert (await shown(rest, path))["reason"] == reason
    assert (await rest.post(path, {"burst": 3})).outcome == DONE
    assert (await shown(rest, path))["reason"] == reason
    assert (await rest.post(path, {"reason": ""})).outcome == DONE
    assert (await shown(rest, path))["reason"] is None
    pause = path.replace("limits", "pause")
    assert (await rest.post(pause, {"reason": reason})).outcome == DONE
    assert (await shown(rest, path))["pause"]["reason"] == reason


async def test_a_queue_is_put_into_a_group_and_taken_out(rest: Rest) -> None:
    assert (await rest.post(QUEUE, {"group": "g"})).outcome == DONE
    body = await shown(rest, QUEUE)
    assert (body["limits"]["group"], body["set_by"]["group"]) == ("g", "api")
    assert (await rest.post(QUEUE, {"group": None})).outcome == DONE
    assert (await shown(rest, QUEUE))["limits"]["group"] is None


async def test_levels_have_limits_of_their_own(rest: Rest) -> None:
    paths = (*LEVELS, "/limits/t/g/", "/limits/t/?group=q", "/limits/u/")
    for at, path in enumerate(paths, 1):
        await rest.post(path, {"burst": at})
    for at, path in enumerate(paths, 1):
        assert (await shown(rest, path))["limits"]["burst"] == at


async def test_whole_decimals_are_integers(rest: Rest) -> None:
    assert (await rest.post(QUEUE, b'{"interval":1000.0}')).outcome == DONE
    interval = (await shown(rest, QUEUE))["limits"]["interval"]
    assert (type(interval), interval) == (int, 1000)


async def test_enqueues_set_what_they_carry(rest: Rest) -> None:
    await rest.enqueue(job_id="a", burst=5, concurrency=4, group="g", interval=10)
    body = await shown(rest, QUEUE)
    assert body["limits"] == {"interval": 10, "burst": 5, "concurrency": 4, "group": "g"}
    assert set(body["set_by"].values()) == {"enqueue"}
    assert body["queue_length"] == 1
    await rest.enqueue(job_id="b", interval=20, burst=None)
    body = await shown(rest, QUEUE)
    assert body["limits"] == {"interval": 20, "burst": None, "concurrency": 4, "group": "g"}
    await rest.post(QUEUE, {"burst": 2})
    await rest.enqueue(job_id="c", burst=9)
    body = await shown(rest, QUEUE)
    assert (body["limits"]["burst"], body["set_by"]["burst"]) == (2, "api")


@pytest.mark.parametrize("path", LEVELS)
async def test_a_dry_run_changes_nothing(rest: Rest, path: str) -> None:
    for job_id in "abcd":
        await rest.enqueue(job_id=job_id, interval=1000, group="g")
    await rest.post(path, {"interval": 60_000})
    before = (await shown(rest, path))["limits"]
    mark = "&" if "?" in path else "?"
    answer = await rest.post(f"{path}{mark}dry_run=true", {"interval": 10, "burst": 2})
    assert answer.body.keys() == {"status", "drains_in", "drained_in_before", "estimated"}
    assert answer.body["drains_in"] < answer.body["drained_in_before"]
    assert isinstance(answer.body["estimated"], bool)
    assert (await shown(rest, path))["limits"] == before
    assert (await rest.post(f"{path}{mark}dry_run=false", {"burst": 2})).outcome == DONE
    assert (await shown(rest, path))["limits"]["burst"] == 2


@pytest.mark.parametrize("path", LEVELS)
async def test_no_more_is_leased_than_the_concurrency(rest: Rest, path: str) -> None:
    await rest.post(path, {"concurrency": 1})
    for job_id in "ab":
        await rest.enqueue(job_id=job_id, group="g")
    taken = (await rest.get("/dequeue/t/?count=5")).body["jobs"]
    assert [job["job_id"] for job in taken] == ["a"]
    assert (await rest.get("/dequeue/t/")).error == NOTHING_READY
    assert (await shown(rest, path))["active"] == 1
    body = await shown(rest, QUEUE)
    assert (body["held_by"], body["ready_in"]) == (f"{PREFIXES[path]}concurrency", None)
    await rest.post("/finish/t/q/a/")
    assert (await rest.get("/dequeue/t/")).body["job_id"] == "b"


# ---- pauses ----


@pytest.mark.parametrize("path", LEVELS)
async def test_nothing_is_dispatched_until_a_resume(rest: Rest, path: str) -> None:
    await rest.enqueue(group="g")
    pause, resume = path.replace("limits", "pause"), path.replace("limits", "resume")
    assert (await rest.post(pause, {"reason": "the provider is down"})).outcome == DONE
    assert (await shown(rest, path))["pause"] == {
        "until": None,
        "reason": "the provider is down",
        "set_by": "api",
    }
    assert (await rest.get("/dequeue/t/")).error == NOTHING_READY
    body = await shown(rest, QUEUE)
    assert (body["held_by"], body["ready_in"]) == (f"{PREFIXES[path]}paused", None)
    assert (await rest.post(resume)).outcome == DONE
    assert (await shown(rest, path))["pause"] is None
    assert (await rest.get("/dequeue/t/")).status == 200


@pytest.mark.parametrize("path", LEVELS)
async def test_a_pause_may_have_an_end(rest: Rest, path: str) -> None:
    pause = path.replace("limits", "pause")
    assert (await rest.post(pause)).outcome == DONE
    assert (await shown(rest, path))["pause"] == {"until": None, "reason": None, "set_by": "api"}
    before = time.time() * 1000
    assert (await rest.post(pause, {"for": 60_000, "reason": None})).outcome == DONE
    after = time.time() * 1000
    until = (await shown(rest, path))["pause"]["until"]
    assert before - 1 <= until - 60_000 <= after + 1
    for wanted in (1, 31_536_000_000):
        assert (await rest.post(pause, {"for": wanted})).outcome == DONE


async def test_what_is_not_paused_can_be_resumed(rest: Rest) -> None:
    for path in ("/resume/t/q/", "/resume/t/", "/resume/t/?group=g"):
        assert (await rest.post(path)).outcome == DONE
