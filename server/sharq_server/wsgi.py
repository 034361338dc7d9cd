"""The REST API for web servers that speak WSGI, such as uWSGI, gunicorn and waitress.

The configuration is the file that SHARQ_CONFIG names, else ``sharq.conf`` in the current folder if
there is one, else the environment and the defaults. A web server finds `application`; `app` and
`server` are the original's names. Importing this module raises `ConfigError` if the configuration
is not valid.
"""

from __future__ import annotations

import logging
import os
from typing import Final

from sharq_server.gateway.application import WSGIServer

_FILE: Final = "sharq.conf"
_FORMAT: Final = "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"


def _configured() -> WSGIServer:
    _show_log()
    if not os.environ.get("SHARQ_CONFIG") and os.path.exists(_FILE):
        return WSGIServer(_FILE)
    return WSGIServer()


def _show_log() -> None:
    """Send the log to the standard error, unless the web server or a program has set it up."""
    for name in ("sharq", "sharq_server"):
        log = logging.getLogger(name)
        if not log.hasHandlers():
            handler = logging.StreamHandler()
            handler.setFormatter(logging.Formatter(_FORMAT))
            log.addHandler(handler)
            log.setLevel(logging.INFO)


server: Final = _configured()
app: Final = server.app
application: Final = app
