"""Why there is no connection, and what to do about it: one line for the log. Pure."""

from __future__ import annotations

import ssl
from typing import Final

from sharq.worker.address import Token
from sharq.worker.socket import Refused

_CHANNEL: Final = "the push channel of a server is at /ws/"


def reason_of(error: Exception, url: str, token: Token) -> str:
    """What happened when a worker wanted to connect to `url` with `token`."""
    if isinstance(error, Refused):
        hint = _about_refusal(error, url, token)
    elif isinstance(error, ssl.SSLCertVerificationError):
        hint = "`tls_ca` (--tls-ca) names the authority to trust"
        return f"the certificate of the server is not trusted: {error.verify_message}; {hint}"
    elif isinstance(error, ssl.SSLError):
        return f"the server does not speak TLS there, or another version ({error.reason}): ws://?"
    elif isinstance(error, TimeoutError) and not str(error):
        return "the server does not answer in time"
    elif type(error) is ConnectionRefusedError:
        return "nobody listens there"
    else:
        return str(error) or type(error).__name__
    return f"{error}; {hint}" if hint else str(error)


def _about_refusal(error: Refused, url: str, token: Token) -> str:
    if error.status == 401:
        if token is None:
            return "give the worker a token: `token`, --token-file or SHARQ_TOKEN"
        return "its tokens are in the server's token file"
    if "TLS only" in error.message:
        return f"use wss:{url.partition(':')[2]}"
    if error.status in (404, 405) or not error.ours:
        return "" if url.partition("?")[0].rstrip("/").endswith("/ws") else _CHANNEL
    return ""
