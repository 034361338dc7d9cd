"""Behind Apache httpd."""

from __future__ import annotations

import pytest

from tests.proxies.kinds import APACHE
from tests.proxies.points import Points


@pytest.mark.needs("apache2")
class TestApache(Points):
    proxy = APACHE
    polls = False
