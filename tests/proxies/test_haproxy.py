"""Behind HAProxy."""

from __future__ import annotations

import pytest

from tests.proxies.deployment import Deployment
from tests.proxies.kinds import HAPROXY
from tests.proxies.points import Points


@pytest.mark.needs("haproxy")
class TestHAProxy(Points):
    proxy = HAPROXY

    def test_a_body_that_does_not_come_is_given_up(self, deployment: Deployment) -> None:
        """It passes a body on as it comes; the others hold back its beginning at least."""
        with deployment.client("producer") as producer:
            producer.putrequest("POST", "/enqueue/slow/q/")
            producer.putheader("Authorization", "Bearer producer")
            producer.putheader("Content-Length", "5000")
            producer.endheaders()
            producer.send(b"{")
            answer = producer.getresponse()
            assert answer.status == 408
            assert b"request_timeout" in answer.read()
