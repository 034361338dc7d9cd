"""What the build takes notice of: a change of any Cython file, those that are included, too."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from Cython.Build.Dependencies import create_dependency_tree

from tests.packaging.setup_script import PACKAGES, ROOT

NEEDED = ("build.sh", "setup.py", "pyproject.toml", "README.md", "LICENSE")
FOUND = [
    path.relative_to(ROOT)
    for folder in PACKAGES.values()
    for path in sorted((ROOT / folder).rglob("*.p*"))
    if path.suffix in {".pyx", ".pxd", ".pxi"}
]
CODEC = Path("sharq/_fastpath.pyx")
INCLUDED = [path for path in FOUND if path.suffix == ".pxi"]

# Prints each file whose change leaves the build as it is.
CHANGES = """
mkdir .venv
: >.venv/dev
for source in "${cython_sources[@]}"; do : >"${source%.pyx}.none.so"; done
for file in "${cython_files[@]}"; do
    fingerprint >.venv/stamp
    up_to_date dev || echo "never up to date"
    echo >>"$file"
    ! up_to_date dev || echo "$file"
done
"""


def in_build_script(commands: str, root: Path) -> str:
    """What commands print that use the functions and variables of build.sh."""
    done = subprocess.run(
        ["bash", "-c", f"source ./build.sh help >/dev/null\n{commands}"],
        check=True,
        cwd=root,
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    return done.stdout


# Prints the arguments of each run of the tests.
RUNS = """
mkdir -p .venv/bin
printf '#!/bin/sh\\necho "$@"\\n' >.venv/bin/python
chmod +x .venv/bin/python
root=$PWD
run_tests --last-failed %s
"""


@pytest.mark.parametrize(
    ("argument", "runs"),
    [
        (
            "-k x",
            [
                "--numprocesses=auto --dist=worksteal --last-failed -k x",
                "--alone --last-failed -k x",
            ],
        ),
        ("-n0", ["--numprocesses=auto --dist=worksteal --last-failed -n0"]),
    ],
)
def test_in_one_process_no_test_runs_twice(tree: Path, argument: str, runs: list[str]) -> None:
    said = in_build_script(RUNS % argument, tree).splitlines()
    assert [each.removeprefix("-m pytest ") for each in said if "pytest" in each] == runs


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What the build reads, without what it made."""
    for name in NEEDED:
        shutil.copy2(ROOT / name, tmp_path)
    for name in FOUND:
        (tmp_path / name.parent).mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    return tmp_path


def test_the_build_finds_every_cython_file() -> None:
    files = in_build_script("""printf '%s\\n' "${cython_files[@]}" """, ROOT).split()
    assert sorted(files) == sorted(map(str, FOUND))
    assert {"sharq/_fastpath.pyx", "sharq/codec/keys.pxi"} < set(files)


def test_a_change_of_any_of_them_is_a_new_build(tree: Path) -> None:
    assert in_build_script(CHANGES, tree) == ""


def test_cython_knows_what_is_included(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert set(map(str, INCLUDED)) <= create_dependency_tree().all_dependencies(str(CODEC))


@pytest.mark.packaging
def test_a_touched_include_is_translated_anew(tree: Path) -> None:
    def translated() -> set[str]:
        """The sources that setup.py translates into C."""
        command = [sys.executable, "setup.py", "--version"]
        said = subprocess.run(command, check=True, cwd=tree, capture_output=True, text=True).stdout
        return {line.split()[1] for line in said.splitlines() if line.startswith("Compiling ")}

    assert translated() == {str(path) for path in FOUND if path.suffix == ".pyx"}
    assert translated() == set()
    os.utime(tree / INCLUDED[-1])
    assert translated() == {str(CODEC)}
