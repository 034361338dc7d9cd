"""Behind nginx."""

from __future__ import annotations

import pytest

from tests.proxies.kinds import NGINX
from tests.proxies.points import Points


@pytest.mark.needs("nginx")
class TestNginx(Points):
    proxy = NGINX
