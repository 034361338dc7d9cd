"""When the server's certificate ends, and from when on that is told."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from sharq_server.security.certificates import Certificate
from sharq_server.security.expiry import end_of

FILES = Path(__file__).parents[1] / "support" / "tls"
CERTIFICATE, KEY = str(FILES / "server.pem"), str(FILES / "server.key")
DAY = 24 * 60 * 60
END = Certificate(CERTIFICATE, KEY)._end or 0.0


def test_the_end_is_that_of_the_file() -> None:
    # A hundred years after they were made.
    assert 2120 * 365 * DAY < END + 1970 * 365 * DAY < 2130 * 365.25 * DAY


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (15 * DAY, None),
        (14 * DAY, None),
        (14 * DAY - 1, "ends in 13 days."),
        (2 * DAY, "ends in 2 days."),
        (DAY + 5, "ends in 1 day."),
        (5, "ends in 0 days."),
        (-5, "has ended."),
    ],
)
def test_it_is_told_from_two_weeks_before(before: float, words: str | None) -> None:
    certificate = Certificate(CERTIFICATE, KEY, lambda: END - before)
    assert certificate.days_left == before // DAY
    expected = None if words is None else f"The certificate {CERTIFICATE} {words}"
    assert certificate.warning == expected


def test_a_file_that_tells_nothing_is_not_warned_of(tmp_path: Path) -> None:
    context = Certificate(CERTIFICATE, KEY).context
    assert end_of(str(tmp_path / "absent"), context) is None
    assert end_of(str(FILES / "client.pem"), context) is None  # another certificate
    assert end_of(CERTIFICATE, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) is None


def test_one_that_is_over_is_told() -> None:
    over = str(FILES / "over.pem")
    certificate = Certificate(over, str(FILES / "over.key"))
    assert certificate.days_left == -1
    assert certificate.warning == f"The certificate {over} has ended."
