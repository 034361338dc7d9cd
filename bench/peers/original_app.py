"""The original's server as a WSGI application for gunicorn; BENCH_CONFIG names its configuration.

Its source on PyPI is for Python 2. What Python 3 cannot read in it is put in today's words as it
is loaded; nothing else is changed.
"""

import configparser
import importlib.util
import os
import types
from pathlib import Path

if not hasattr(configparser, "SafeConfigParser"):
    configparser.SafeConfigParser = configparser.ConfigParser

WORDS = (
    ("except Exception, e:", "except Exception as e:"),
    ("import ConfigParser", "import configparser as ConfigParser"),
)


def setup_server(config):
    folder = importlib.util.find_spec("sharq_server").submodule_search_locations[0]
    source = Path(folder, "server.py").read_text()
    for old, new in WORDS:
        source = source.replace(old, new)
    module = types.ModuleType("original_server")
    exec(compile(source, "server.py", "exec"), module.__dict__)
    return module.setup_server(config)


application = setup_server(os.environ["BENCH_CONFIG"]).app
