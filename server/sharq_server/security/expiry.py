"""When a server's certificate ends. Its clients check it alone, and then all at once."""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Final

OVER: Final = 0.0
"""The end of a certificate that is over: only that is known of it."""

_EXPIRED: Final = 10
"""OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED."""


def end_of(certificate: str, context: ssl.SSLContext) -> float | None:
    """The end of a certificate (PEM), in seconds since the epoch; `OVER` if it is over.

    `context` is the server's, with the certificate and its key. None if that cannot be told.
    """
    # Python shows what is in a certificate only of a peer that it has verified: so a client here
    # trusts this very certificate, and meets the server in memory.
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    try:
        client_context.load_verify_locations(certificate)
    except (OSError, ValueError):
        return None
    client_context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server)
    try:
        for _ in range(4):
            for side in (client, server):
                with suppress(ssl.SSLWantReadError):
                    side.do_handshake()
    except ssl.SSLCertVerificationError as error:
        return OVER if error.verify_code == _EXPIRED else None
    except (OSError, ValueError):
        return None
    facts = client.getpeercert() or {}
    end = facts.get("notAfter")
    return float(ssl.cert_time_to_seconds(end)) if isinstance(end, str) else None
