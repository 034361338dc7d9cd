"""A server with a store of its own for the tests of the command, and the command."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import Shell
from tests.server.command import Server

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def sharq(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Shell:
    return Shell(server.url, tmp_path, monkeypatch, capfd)


@pytest.fixture
def kind() -> str:
    """A queue type of this test alone."""
    return f"type-{next(_numbers)}"
