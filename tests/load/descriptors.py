"""How many files a process may have open, its connections among them."""

from __future__ import annotations

import resource

_BESIDES_CONNECTIONS = 200


class TooFew(Exception):
    """The system does not let a process hold so many connections."""


def make_room(connections: int) -> int:
    """Raise this process's limit, which its children inherit, for `connections` at each end.

    Returns the limit. Raises `TooFew`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _BESIDES_CONNECTIONS
    if soft < wanted:
        limits = ((wanted, max(hard, wanted)), (min(wanted, hard), hard))
        for soft_limit, hard_limit in limits:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft_limit, hard_limit))
            except (ValueError, OSError):
                continue
            break
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        raise TooFew(
            f"{connections:,} connections need {wanted:,} open files a process, and this system "
            f"allows {soft:,} (ulimit -Hn). Raise that, or ask for fewer with --connections and "
            "--slow."
        )
    return soft
