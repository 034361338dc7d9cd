"""Bearer tokens: who may do what, with the jobs of which queue types. Pure.

A token file has a line for each token, of four words: a name for people, ``sha256:`` and the digest
of the secret in hexadecimal, the operations, the queue types. The last two are words with commas
between them, or ``*`` for all. Empty lines and those that begin with ``#`` are ignored. Only the
holder has the secret itself.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sharq.errors import ConfigError
from sharq.identifiers import is_identifier

OPERATIONS: Final = (
    "enqueue",
    "dequeue",
    "finish",
    "release",
    "extend",
    "cancel",
    "status",
    "jobs",
    "interval",
    "limits",
    "pause",
    "dead",
    "metrics",
    "deletequeue",
)
"""The operations of tokens, by the first segment of the routes.

Subscribing needs dequeue, a failure release, a resume pause, and looking at limits metrics.
"""

ALL: Final = "*"

_PREFIX: Final = "sharq_"
_SECRET_BYTES: Final = 32
_DIGEST: Final = re.compile(r"sha256:([0-9a-fA-F]{64})")
_SECRET: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)
_BEARER: Final = re.compile(rf"bearer +({_SECRET.pattern})", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Grant:
    """The rights of a token. `queue_types` is None for all types."""

    name: str
    digest: bytes = field(repr=False)
    operations: frozenset[str]
    queue_types: frozenset[str] | None

    def may(self, operation: str) -> bool:
        """Whether `operation` is allowed with some queue type."""
        return operation in self.operations

    def reaches(self, queue_type: str | None) -> bool:
        """Whether jobs of the type are allowed; None stands for all types."""
        return self.queue_types is None or queue_type in self.queue_types


UNLIMITED: Final = Grant("", b"", frozenset((*OPERATIONS, ALL)), None)
"""The rights of everybody if no tokens are required."""


class Tokens:
    """The valid tokens; one name may have several."""

    def __init__(self, grants: Iterable[Grant] = ()) -> None:
        self._grants = tuple(grants)

    def __len__(self) -> int:
        return len(self._grants)

    def grant_of(self, digest: bytes) -> Grant | None:
        """The grant of the token with this digest, in a time that does not tell which it is."""
        found = None
        for grant in self._grants:
            if hmac.compare_digest(grant.digest, digest):
                found = grant
        return found


def parse(lines: Iterable[str], origin: str) -> list[Grant]:
    """The grants in the lines of a token file.

    Raises `ConfigError`, which names `origin` and the line, and shows nothing of a digest.
    """
    grants: list[Grant] = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            grant = _grant(words)
            if any(grant.digest == each.digest for each in grants):
                raise ValueError("the token is there already")
        except ValueError as error:
            raise ConfigError(
                f"{origin}: line {number}: {error} (`sharq token new` makes such lines)"
            ) from None
        grants.append(grant)
    return grants


def digest_of(secret: str) -> bytes:
    """The SHA-256 of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def secret_in(authorization: str) -> str | None:
    """The secret in the value of an Authorization header, None if there is none."""
    match = _BEARER.fullmatch(authorization)
    return None if match is None else match[1]


def clean(secret: str) -> str:
    """A secret without what files and editors leave around it: white space, a byte order mark.

    Raises ValueError, which does not show it, if the rest cannot be a bearer token.
    """
    secret = secret.strip().strip("\ufeff").strip()
    if not secret:
        raise ValueError("it is empty")
    if _SECRET.fullmatch(secret) is None:
        raise ValueError("it has characters that no token has: one line of A-Z a-z 0-9 . _ ~ + / -")
    return secret


def new_secret() -> str:
    """A secret that cannot be guessed."""
    return _PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def line_for(
    secret: str, name: str, operations: Iterable[str] = (ALL,), queue_types: Iterable[str] = (ALL,)
) -> str:
    """The line of a token file for a secret. Raises ValueError for invalid words."""
    digest = digest_of(secret).hex()
    words = [name, f"sha256:{digest}", ",".join(operations), ",".join(queue_types)]
    _grant(words)
    return " ".join(words)


def _grant(words: list[str]) -> Grant:
    if len(words) != 4:
        raise ValueError("expected a name, sha256:DIGEST, operations and queue types")
    name, digest, operations, queue_types = words
    if not is_identifier(name):
        raise ValueError("a name has 1 to 100 letters, digits, - and _")
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise ValueError("expected sha256: and 64 hexadecimal digits after the name")
    allowed = frozenset(operations.split(","))
    if allowed == {ALL}:
        allowed = UNLIMITED.operations
    elif not allowed <= frozenset(OPERATIONS):
        raise ValueError(f"the operations are * or some of {', '.join(OPERATIONS)}")
    types = frozenset(queue_types.split(","))
    if types != {ALL} and not all(map(is_identifier, types)):
        raise ValueError("queue types are * or names with commas between")
    return Grant(name, bytes.fromhex(match[1]), allowed, None if types == {ALL} else types)
