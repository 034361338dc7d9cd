"""What may go wrong with a peer: it is told and the run goes on."""

from __future__ import annotations

import subprocess

import redis


class Missing(Exception):
    """A peer cannot be had or measured here; says why in a few words."""


FAILURES = (
    Missing,
    LookupError,
    OSError,
    RuntimeError,
    ValueError,
    redis.RedisError,
    subprocess.SubprocessError,
)
"""Exceptions that end the measuring of a peer, and of nothing else."""


def reason(error: Exception) -> str:
    """Why a peer has no figures, in one short line."""
    return f"{error}".strip().splitlines()[0][:120] if f"{error}".strip() else type(error).__name__
