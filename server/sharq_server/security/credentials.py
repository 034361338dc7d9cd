"""The bearer tokens of a server: read from their sources, looked up, and read again."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from typing import Final, NamedTuple

from sharq.errors import ConfigError
from sharq.settings.tokens import UNLIMITED, Grant, Tokens, digest_of, parse, secret_in
from sharq_server.security.refusal import Refusal

_log = logging.getLogger(__name__)

UNAUTHORIZED: Final = Refusal("unauthorized", "A valid bearer token is needed.")
FORBIDDEN: Final = Refusal("forbidden", "The token does not allow this.")
"""The token is not for the queue type: which ones there are is not told."""

_MOST_SEEN: Final = 1024
_LARGEST_FILE: Final = 1024 * 1024


def lacking(operation: str) -> Refusal:
    """The token is not for an operation, which the client has asked for and may be told."""
    return Refusal(
        FORBIDDEN.code, f"The token does not allow this: it lacks the operation `{operation}`."
    )


class _Version(NamedTuple):
    """What distinguishes a file from the one that was read."""

    device: int
    inode: int
    size: int
    modified: int


class Credentials:
    """Tokens from the file at `path`, if there is one, and from `inline`, lines with | between.

    `needed` tells whether requests need a token: they do if either is set, even if empty. `epoch`
    is a number that changes when the tokens are read again. With `quiet` only errors are logged:
    for who only looks at them. Raises `ConfigError`.
    """

    def __init__(self, path: str | None, inline: str | None, *, quiet: bool = False) -> None:
        self.needed: Final = path is not None or inline is not None
        self.epoch: Final = [0]
        self._quiet = quiet
        self._path = path
        self._inline = inline
        self._version: _Version | None = None
        self._tokens = Tokens()
        # By the digest of a whole header, so that no secret is kept; only valid ones.
        self._seen: dict[bytes, Grant] = {}
        if self.needed:
            self._take(self._read())

    def __len__(self) -> int:
        return len(self._tokens)

    def reload(self) -> bool:
        """Read the tokens again; if that fails, the old ones stay valid.

        Returns whether it succeeded; errors are logged.
        """
        if not self.needed:
            return True
        try:
            grants = self._read()
        except ConfigError as error:
            _log.error("The tokens stay as they were: %s", error)
            return False
        self._take(grants)
        return True

    def refresh(self) -> None:
        """Read the tokens again if their file has changed."""
        if self._path is None:
            return
        try:
            version = _version(os.stat(self._path))
        except OSError:
            version = None
        if version != self._version:
            # Not again until it changes again, whatever the result.
            self._version = version
            self.reload()

    def grant_of(self, authorization: bytes | None) -> Grant | None:
        """The rights of an Authorization header's value; None if it is not valid."""
        if not self.needed:
            return UNLIMITED
        if authorization is None:
            return None
        key = hashlib.sha256(authorization).digest()
        grant = self._seen.get(key)
        if grant is None:
            secret = secret_in(authorization.decode("latin-1"))
            grant = None if secret is None else self._tokens.grant_of(digest_of(secret))
            if grant is not None:
                if len(self._seen) >= _MOST_SEEN:
                    self._seen.clear()
                self._seen[key] = grant
        return grant

    def name_of(self, authorization: bytes | None) -> str | None:
        """The name of the token in an Authorization header; None if there is no valid one."""
        if not self.needed or authorization is None:
            return None
        grant = self.grant_of(authorization)
        return None if grant is None else grant.name

    def is_valid(self, grant: Grant) -> bool:
        """Whether a grant is still valid and unchanged."""
        return not self.needed or self._tokens.grant_of(grant.digest) == grant

    def judge(
        self, authorization: str | None, operation: str, queue_type: str | None, *, mixed: bool
    ) -> Grant | Refusal:
        """The grant of a request, or why it is refused.

        `queue_type` is None if the request is about all types; with `mixed` each of its jobs has
        its own type, and is checked separately.
        """
        grant = self.grant_of(None if authorization is None else authorization.encode("latin-1"))
        if grant is None:
            return UNAUTHORIZED
        if not grant.may(operation):
            return lacking(operation)
        if not (mixed or grant.reaches(queue_type)):
            return FORBIDDEN
        return grant

    def _take(self, grants: list[Grant]) -> None:
        self._tokens = Tokens(grants)
        self._seen.clear()
        self.epoch[0] += 1
        if not self._quiet:
            _log.info("%d tokens are valid", len(grants))

    def _read(self) -> list[Grant]:
        grants = (
            [] if self._inline is None else parse(self._inline.split("|"), "[sharq-server] tokens")
        )
        if self._path is not None:
            grants += parse(self._read_file(self._path), self._path)
        return grants

    def _read_file(self, path: str) -> list[str]:
        try:
            with open(path, encoding="utf-8-sig") as file:
                state = os.fstat(file.fileno())
                text = file.read(_LARGEST_FILE)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise ConfigError(f"The token file {path} cannot be read: {reason}.") from None
        if state.st_mode & stat.S_IWOTH:
            raise ConfigError(f"Everybody may write the token file {path}: chmod 600 {path}")
        if state.st_mode & stat.S_IROTH and not self._quiet:
            _log.warning("Everybody may read the token file %s: chmod 600 %s", path, path)
        self._version = _version(state)
        return text.splitlines()


def _version(state: os.stat_result) -> _Version:
    return _Version(state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
