"""The tests of the server's own, behind a web server."""

from tests.server.test_ready_in import *  # noqa: F403
