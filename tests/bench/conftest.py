"""Figures matter to nobody here: what is measured, is measured with few jobs."""

from __future__ import annotations

import pytest

SIZES = {
    "ceiling._JOBS": 800,
    "ceiling._PASSES": 1,
    "cycle._JOBS": 640,
    "push._JOBS": 640,
    "push._JOBS_DURABLE": 640,
    "push._JOBS_ALIKE": 100,
    "push_cycles._PROBE": 1_600,
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in SIZES.items():
        monkeypatch.setattr(f"bench.{name}", size)
