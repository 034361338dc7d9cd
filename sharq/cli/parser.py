"""The command's parser of arguments."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from sharq.cli.problems import WRONG_USAGE
from sharq.cli.words import visible


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, and where the help is."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_USAGE, f"{self.prog}: {visible(message)} (see {self.prog} --help)\n")


class File(argparse.Action):
    """Stores the path of a file, which a shell can complete."""

    @property
    def complete(self) -> Mapping[str, object]:
        """What a script of `shtab` completes it with, by shell."""
        import shtab

        return shtab.FILE

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, values)
