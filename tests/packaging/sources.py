"""The project's files, by their paths in the checkout, and what becomes of them."""

from __future__ import annotations

import subprocess
from pathlib import PurePosixPath

from tests.packaging.setup_script import MODULES, PACKAGES, ROOT

CYTHON = {".pyx", ".pxd", ".pxi"}

_ALONE = {f"{name}.py" for name in MODULES}


def sources() -> set[str]:
    """The files of both packages that belong to the project, and the modules beside them."""
    places = [*PACKAGES.values(), *_ALONE]
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *places]
    known = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {name for name in known.splitlines() if (ROOT / name).exists()}


def installed(source: str) -> str:
    """Where a source's module lies in the wheel."""
    if source in _ALONE:
        return source
    for package, folder in PACKAGES.items():
        if source.startswith(f"{folder}/"):
            return package + source.removeprefix(folder)
    raise AssertionError(source)


def modules() -> set[str]:
    """The modules and packages of the project, compiled ones, too."""
    return {
        ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        for path in map(PurePosixPath, map(installed, sources()))
        if path.suffix in {".py", ".pyx"}
    }
