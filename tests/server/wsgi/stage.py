"""What a web server serves in tests: an application for each configuration that a request names."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from typing import Any

from sharq.settings.reading import Settings
from sharq_server.gateway.application import WSGIServer

HEADER = "X-Settings"
"""The header with the configuration: JSON, options by section; empty to close all connections."""

_servers: dict[str, WSGIServer] = {}
_lock = threading.Lock()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    settings = environ.pop("HTTP_X_SETTINGS")
    if not settings:
        with _lock:
            while _servers:
                _servers.popitem()[1].close()
        start_response("204 No Content", [])
        return []
    with _lock:
        server = _servers.get(settings)
        if server is None:
            server = WSGIServer(Settings.from_mapping(json.loads(settings)))
            _servers[settings] = server
    return server(environ, start_response)
