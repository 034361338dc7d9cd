"""The sources of the library and the server: which module is made of which files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FOLDERS: Final = {"sharq": ROOT / "sharq", "sharq_server": ROOT / "server" / "sharq_server"}


def sources() -> Iterator[tuple[str, Path]]:
    """Modules, each with its source; what a Cython source includes is of the same module."""
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.p*")):
            if path.suffix in {".py", ".pyi", ".pyx", ".pxd"}:
                parts = [package, *path.relative_to(folder).with_suffix("").parts]
                module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                yield from ((module, source) for source in (path, *included(path)))


def included(path: Path) -> list[Path]:
    names = re.findall(r'^include "(.+)"', path.read_text("utf-8"), re.M)
    return [path.parent / name for name in names]
