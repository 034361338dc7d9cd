"""`sharq-server`: the server's command, or what to install for it."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Final

_NEEDED: Final = ("tornado", "httptools", "prometheus_client")
"""Packages of the extra ``server`` without which it does not run."""


def main() -> int:
    """Run the server, if it is installed; the exit code is 2 if not."""
    try:
        check_extra()
    except ImportError as error:
        print(f"sharq-server: {error}", file=sys.stderr)
        return 2
    # By its name: the library does not depend on the server.
    code: int = import_module("sharq_server.__main__").main()
    return code


def check_extra() -> None:
    """Raise ImportError if the extra ``server`` is not installed."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"the server needs {' and '.join(missing)}. "
            'Install it with its extra: pip install "sharq[server]"'
        )
