"""`sharq completion`: a script that has a shell complete verbs, options and their values."""

from __future__ import annotations

import argparse
from typing import Final

SHELLS: Final = ("bash", "zsh", "fish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the shell."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that the script is for")


def run(command: argparse.ArgumentParser, given: argparse.Namespace) -> int:
    """Print the script for `command`."""
    # Only here: nobody else needs it.
    import shtab

    print(shtab.complete(command, given.shell))
    return 0
