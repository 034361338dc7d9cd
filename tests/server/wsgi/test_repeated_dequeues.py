"""The tests of the server's own, behind a web server."""

from tests.server.test_repeated_dequeues import *  # noqa: F403
