"""The command line: its arguments, and the resulting settings."""

from __future__ import annotations

import argparse
import ipaddress
import os
import socket
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sharq import __version__
from sharq.errors import ConfigError
from sharq.settings.options import EMBEDDED, Key
from sharq.settings.reading import Settings
from sharq_server.process.listening import is_unix


class Options(NamedTuple):
    """The settings of a server, and where each value comes from that is not a default.

    `insecure`: all who can reach it may do anything. `check` and `print_config`: only that.
    """

    settings: Settings
    origins: Mapping[Key, str]
    insecure: bool
    check: bool
    print_config: bool


def read(arguments: Sequence[str] | None, environ: Mapping[str, str]) -> Options:
    """Read the command line, the environment and the configuration file.

    Raises `ConfigError`; ends the process for ``--help``, ``--version`` and unknown arguments.
    """
    given = _parser().parse_args(arguments)
    overrides = {
        (section, option): value
        for section, option, value in (
            ("sharq-server", "host", given.host),
            ("sharq-server", "port", given.port),
            ("sharq-server", "workers", given.workers),
            ("sharq-server", "accesslog", given.accesslog),
            ("redis", "data_dir", given.data_dir),
        )
        if value is not None
    }
    settings, origins = Settings.load_with_origins(
        given.config, environ=environ, overrides=overrides
    )
    if given.data_dir is not None and settings.redis.conn_type != EMBEDDED:
        raise ConfigError(
            f"--data-dir is for the embedded store, and conn_type is {settings.redis.conn_type}."
        )
    return Options(settings, origins, given.insecure, given.check, given.print_config)


def check_exposure(places: Sequence[str], may_be_reached: bool) -> None:
    """Raise `ConfigError` for an address that others can reach, unless that is allowed.

    A unix socket is reached by those whom its file lets.
    """
    if may_be_reached:
        return
    exposed = [
        place
        for place in places
        if not is_unix(place) and not all(address.is_loopback for address in _addresses(place))
    ]
    if not exposed:
        return
    raise ConfigError(
        f"The server asks for no credentials, and others can reach it at {', '.join(exposed)}. "
        "Give it tokens (token_file), let it listen on 127.0.0.1, or use --insecure if that "
        "network is safe."
    )


def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"The host {host} is not known: {error.strerror}.") from None
    return [ipaddress.ip_address(str(address[0]).partition("%")[0]) for *_, address in found]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sharq-server",
        description="A rate-limited job queue with a REST API.",
        epilog="These options override the environment (SHARQ_REDIS_HOST, …), and that overrides "
        "the file. By default the server listens on 127.0.0.1:8080 and keeps its data "
        f"in {os.path.join('~', '.local', 'share', 'sharq')}.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "-c", "--config", metavar="FILE", help="configuration file, like sharq.conf"
    )
    parser.add_argument("--host", help="where to listen: addresses, names, unix:/path")
    parser.add_argument("--port", help="port to listen on; 0: any free port")
    parser.add_argument("--workers", metavar="N", help="number of server processes")
    parser.add_argument("--accesslog", metavar="FILE", help="access log; - is the standard output")
    parser.add_argument("--data-dir", metavar="DIR", help="folder of the embedded store")
    parser.add_argument(
        "--insecure",
        action="store_true",
        help="allow an address that others can reach without tokens",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--check",
        action="store_true",
        help="check the configuration, tokens, certificate and store, and start nothing; the exit "
        "code is 2 if something is wrong",
    )
    instead.add_argument(
        "--print-config",
        action="store_true",
        help="print each option with its value and where that comes from; secrets are hidden",
    )
    parser.add_argument("--version", action="version", version=f"SharQ Server {__version__}")
    return parser
