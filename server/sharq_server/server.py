"""The original's module of the server: the same names at the same place."""

from sharq_server.service import SharQServer, setup_server

__all__ = ["SharQServer", "setup_server"]
