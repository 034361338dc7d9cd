"""What the distributions carry: every file by its name, and the extensions inside."""

from __future__ import annotations

import platform
import sysconfig
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from tests.packaging.setup_script import compiled, libc
from tests.packaging.sources import CYTHON, installed, sources

pytestmark = pytest.mark.packaging

SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
EXTENSIONS = {module.replace(".", "/") + SUFFIX for module in compiled()}
ABOUT = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt", "licenses/LICENSE"}
AROUND = {
    "LICENSE",
    "README.md",
    "MANIFEST.in",
    "PKG-INFO",
    "pyproject.toml",
    "setup.cfg",
    "wsgi.py",
}
EGG = {"PKG-INFO", "SOURCES.txt", "dependency_links.txt", "requires.txt"}


def test_the_wheel_carries_what_runs_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    about = {name.partition("/")[2] for name in names if ".dist-info/" in name}
    assert about == ABOUT
    expected = {installed(name) for name in sources() if PurePosixPath(name).suffix not in CYTHON}
    assert {name for name in names if ".dist-info/" not in name} == expected | EXTENSIONS
    # Should the list itself have a hole.
    for name in ("lua/enqueue.lua", "lua/include/clock.lua", "_fastpath.pyi", "py.typed"):
        assert f"sharq/{name}" in names
    assert {"sharq_server/py.typed", "sharq_server/ui/static/app.js"} <= names


def test_the_sdist_carries_the_sources_and_nothing_else(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        files = [member.name for member in archive.getmembers() if member.isfile()]
    names = {name.partition("/")[2] for name in files}
    egg = {f"sharq.egg-info/{name}" for name in EGG | {"entry_points.txt", "top_level.txt"}}
    assert names == sources() | AROUND | egg | {"setup.py"}
    assert {
        "sharq/_fastpath.pyx",
        "sharq/codec/keys.pxi",
        "server/sharq_server/ui/static/app.js",
    } <= names


@pytest.mark.skipif(not libc(), reason="a tag and a format of Linux with glibc")
def test_the_extensions_are_small_tight_and_have_no_path_of_their_builder(
    wheel: Path, tmp_path: Path
) -> None:
    # With auditwheel, which is for Linux.
    from elftools.elf.elffile import ELFFile
    from elftools.elf.enums import ENUM_DT_FLAGS

    assert wheel.stem.endswith(f"-manylinux_2_28_{platform.machine()}")
    with zipfile.ZipFile(wheel) as archive:
        for name in EXTENSIONS:
            with open(archive.extract(name, tmp_path), "rb") as stream:
                elf = ELFFile(stream)
                tags = {
                    tag.entry.d_tag: tag.entry.d_val
                    for tag in elf.get_section_by_name(".dynamic").iter_tags()
                }
                segments = {segment.header.p_type for segment in elf.iter_segments()}
                assert elf.get_section_by_name(".symtab") is None, "it is not stripped"
            assert not tags.keys() & {"DT_RPATH", "DT_RUNPATH"}
            assert "PT_GNU_RELRO" in segments
            assert tags["DT_FLAGS"] & ENUM_DT_FLAGS["DF_BIND_NOW"]
