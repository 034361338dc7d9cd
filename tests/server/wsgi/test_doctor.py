"""`GET /doctor/` behind a web server, which knows neither where it listens nor its connections."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.support import Rest

pytestmark = pytest.mark.gen_test


async def levels(rest: Rest) -> dict[str, str]:
    answer = await rest.get("/doctor/")
    assert answer.status == 200
    return {each["check"]: each["level"] for each in answer.body["findings"]}


async def test_what_is_known_there(rest: Rest) -> None:
    found = await levels(rest)
    assert found.keys() == {
        *("store", "durability", "memory", "store clock", "sweep", "tokens", "open files")
    }
    assert (found["store"], found["sweep"], found["tokens"]) == ("ok", "error", "warning")


@pytest.mark.parametrize("options", [{"sharq": {"enable_requeue_script": True}}])
async def test_a_sweep_by_requests_is_no_sweep_without_them(
    rest: Rest, options: dict[str, Any]
) -> None:
    assert (await levels(rest))["sweep"] == "warning"
