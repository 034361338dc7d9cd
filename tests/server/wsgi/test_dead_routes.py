"""The tests of the server's own, behind a web server."""

from tests.server.test_dead_routes import *  # noqa: F403
