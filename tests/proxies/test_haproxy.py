"""Behind HAProxy."""

from __future__ import annotations

import pytest

from tests.proxies.kinds import HAPROXY
from tests.proxies.points import Points


@pytest.mark.needs("haproxy")
class TestHAProxy(Points):
    proxy = HAPROXY
