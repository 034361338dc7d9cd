"""The tests of the server's own, behind a web server."""

from tests.server.test_original_defects import *  # noqa: F403
