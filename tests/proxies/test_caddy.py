"""Behind Caddy."""

from __future__ import annotations

import pytest

from tests.proxies.kinds import CADDY
from tests.proxies.points import Points


@pytest.mark.needs("caddy")
class TestCaddy(Points):
    proxy = CADDY
