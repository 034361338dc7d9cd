"""docs/operating.md: its examples work, and what it quotes is what the server says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sharq.settings.reading import Settings
from sharq_server.api import replies
from sharq_server.http import framing
from sharq_server.security.credentials import FORBIDDEN, UNAUTHORIZED
from sharq_server.security.origins import FOREIGN_HOST, FOREIGN_ORIGIN

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operating.md").read_text()

SAID = [
    *map(replies.refused, (FORBIDDEN, FOREIGN_HOST, FOREIGN_ORIGIN, UNAUTHORIZED)),
    replies.SUCCESS,
]
SOURCES = "".join(
    path.read_text()
    for folder in ("sharq", "server")
    for path in sorted((ROOT / folder).rglob("*.py"))
)


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


@pytest.mark.parametrize(
    "words",
    [
        "The tokens stay as they were",
        "The certificate stays as it",
        "The embedded store has died; it is started again",
        "no answer for",
        "Dispatching pauses",
        "Dispatching goes on",
        "tokens are valid",
        "Everybody may read the token file",
        "is not heard of any more",
        "Expired jobs are not taken back",
        "was killed by signal",
        "The parent process is gone",
        "holds other data",
        "keeps no log of its changes (appendonly no)",
        "forces its log to the disk once a second",
        "leaves it to the system when",
        "drops keys when its memory is full (maxmemory-policy",
        "has replicas, which follow with a delay",
        "could not be looked at",
    ],
)
def test_what_is_in_the_log_is_quoted_as_it_is(words: str) -> None:
    assert words in SOURCES
    assert words in PAGE.replace("\n", " ")


def test_every_link_within_the_page_leads_somewhere() -> None:
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in PAGE.splitlines()
        if line.startswith("#")
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= headings
