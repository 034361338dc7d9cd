"""docs/operating.md: its examples work, and what it quotes is what the server says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from sharq.settings.reading import Settings
from sharq_server.api import replies
from sharq_server.http import framing
from sharq_server.security.credentials import UNAUTHORIZED, lacking
from sharq_server.security.origins import FOREIGN_HOST, FOREIGN_ORIGIN

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operating.md").read_text()

SAID = [
    *map(replies.refused, (lacking("dequeue"), FOREIGN_HOST, FOREIGN_ORIGIN, UNAUTHORIZED)),
    replies.SUCCESS,
]


def test_each_configuration_can_be_used(tmp_path: Path) -> None:
    texts = [t for t in re.findall(r"^```ini\n(.*?)^```$", PAGE, re.M | re.S) if "[sharq" in t]
    assert len(texts) == 2
    for text in texts:
        (tmp_path / "sharq.conf").write_text(text)
        assert Settings.load(tmp_path / "sharq.conf").server.token_file == "/etc/sharq/tokens"


def test_answers_are_quoted_as_they_are() -> None:
    bodies = {reply.body.decode(): reply.status for reply in SAID}
    for body, status in bodies.items():
        quoted = re.findall(rf"{re.escape(body)} (\d+)", PAGE)
        assert quoted, body
        assert set(quoted) == {str(status)}
    for body in re.findall(r'\{"status":"failure".*?\}', PAGE):
        assert body in bodies or '"outcome":"unknown"' in body


def test_codes_and_statuses_fit() -> None:
    for status, code in re.findall(r"\b([45]\d\d) `([a-z_]+)`", PAGE):
        if not code.endswith("_"):
            assert replies.STATUS_OF_CODE[code] == int(status)
    assert framing.OVERLOADED.retry_after == 1


def literals() -> Iterator[str]:
    """The texts of the sources; of a text with values in it, what stands between them."""
    for folder in (ROOT / "sharq", ROOT / "server"):
        for path in sorted(folder.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield " ".join(node.value.split())
    for path in sorted((ROOT / "sharq" / "lua").rglob("*.lua")):
        yield path.read_text()


FOREIGN = {"SSL Error on … http request", "unsupported protocol"}
"""Lines of the log that Tornado and OpenSSL write."""


def test_lines_of_the_log_are_quoted_as_they_are() -> None:
    rows = PAGE.partition("\n### The store\n")[2].splitlines()
    cells = [row.split(" | ")[0] for row in rows if row.startswith("| ")]
    lines = {line for cell in cells for line in re.findall(r"`(.+?)`", cell)} - FOREIGN
    source = "\n".join(literals())
    # Numbers and "…" are in the places of values.
    runs = {run for line in lines for run in re.findall(r"[A-Za-z]+(?:[,;]? [A-Za-z]+)+", line)}
    assert len(runs) > 20
    assert {run for run in runs if run not in source} == set()
