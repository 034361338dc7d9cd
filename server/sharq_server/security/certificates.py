"""The server's certificate: read from its files, and again while the server runs."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable
from typing import Final

from sharq.errors import ConfigError
from sharq_server.security.expiry import OVER, end_of

_log = logging.getLogger(__name__)

_DAY: Final = 24 * 60 * 60
_SOON: Final = 14
"""Days before its end from which on a certificate is warned of."""


class Certificate:
    """A certificate (PEM, with the chain to its authority) and its key, in one file or in two.

    `context` is for new connections: TLS 1.2 or later. `clock` tells seconds since the epoch.
    Raises `ConfigError`.
    """

    def __init__(
        self, certificate: str, key: str | None, clock: Callable[[], float] = time.time
    ) -> None:
        self._certificate = certificate
        self._key = key
        self._clock = clock
        self.context = self._load()
        self._end = end_of(certificate, self.context)

    @property
    def path(self) -> str:
        """The file of the certificate."""
        return self._certificate

    @property
    def days_left(self) -> int | None:
        """Whole days until it ends, less than 0 if it is over; None if that is not known."""
        if self._end == OVER:
            return -1
        return None if self._end is None else int((self._end - self._clock()) // _DAY)

    @property
    def warning(self) -> str | None:
        """What to say of it if it ends soon, or is over."""
        left = self.days_left
        if left is None or left >= _SOON:
            return None
        when = "has ended" if left < 0 else f"ends in {left} day{'' if left == 1 else 's'}"
        return f"The certificate {self._certificate} {when}."

    def reload(self) -> bool:
        """Read the files again; if that fails, the certificate stays as it was.

        Returns whether it succeeded; errors are logged.
        """
        try:
            self.context = self._load()
            self._end = end_of(self._certificate, self.context)
        except ConfigError as error:
            _log.error("The certificate stays as it was: %s", error)
            return False
        return True

    def _load(self) -> ssl.SSLContext:
        for path in (self._certificate, self._key or self._certificate):
            try:
                open(path, "rb").close()
            except OSError as error:
                raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            # Nobody can be asked for the password of a key.
            context.load_cert_chain(self._certificate, self._key, password="")
        except (OSError, ValueError) as error:
            has_key = "" if self._key is not None else "its key is not in it, "
            reason = getattr(error, "reason", None)
            reason = reason or f"{has_key}it needs a password, or is no PEM"
            where = f"tls_certificate {self._certificate}"
            if self._key is not None:
                where += f" and tls_key {self._key}"
            hint = "" if self._key is not None else "; tls_key names the key, if it is elsewhere"
            raise ConfigError(f"{where} cannot be used: {reason}{hint}.") from None
        return context
