"""What is in dist/; `./build.sh smoke` makes it anew before the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packaging.installation import Installation
from tests.packaging.setup_script import ROOT


@pytest.fixture(scope="session")
def sdist() -> Path:
    return _only("*.tar.gz")


@pytest.fixture(scope="session")
def wheel() -> Path:
    return _only("*.whl")


@pytest.fixture(scope="session")
def installation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(tmp_path_factory.mktemp("installation"), wheel, "[server]")


def _only(pattern: str) -> Path:
    (found,) = (ROOT / "dist").glob(pattern)
    return found
