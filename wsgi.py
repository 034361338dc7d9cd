"""For WSGI servers that are given a file: ``uwsgi --http :8080 --wsgi-file wsgi.py``."""

import sys

from sharq_server.wsgi import app, application, server

__all__ = ["app", "application", "server"]

if __name__ == "__main__":
    sys.exit("wsgi.py is for a WSGI server: uwsgi --http :8080 --wsgi-file wsgi.py")
