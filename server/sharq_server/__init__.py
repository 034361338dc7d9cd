"""The server: a REST API on Tornado over the library `sharq`."""

from sharq import __version__
from sharq_server.service import SharQServer, setup_server

__all__ = ["SharQServer", "__version__", "setup_server"]

# Named by the users' import path.
SharQServer.__module__ = setup_server.__module__ = __name__
