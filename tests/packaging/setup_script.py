"""What setup.py says, without running it."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

_script: dict[str, Any] = runpy.run_path(str(ROOT / "setup.py"), run_name="setup_script")

PACKAGES: dict[str, str] = _script["PACKAGES"]
MODULES: list[str] = _script["MODULES"]
compiled: Callable[[], dict[str, str]] = _script["compiled"]
packages: Callable[[], list[str]] = _script["packages"]
extras: Callable[[str, str], dict[str, list[str]]] = _script["extras"]
libc: Callable[[], str] = _script["libc"]
