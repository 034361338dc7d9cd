"""The server: a REST API on Tornado over the library `sharq`.

It needs more than the library does: the extra ``server``. Without it an import raises ImportError,
which says so.
"""

from sharq import __version__
from sharq.cli.server import check_extra

check_extra()

from sharq_server.service import SharQServer, setup_server  # noqa: E402 # not before the check

__all__ = ["SharQServer", "__version__", "setup_server"]

# Named by the users' import path.
SharQServer.__module__ = setup_server.__module__ = __name__
