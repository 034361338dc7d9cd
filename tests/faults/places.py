"""Where the servers of a run are to be found: what its processes are told at their start."""

from __future__ import annotations

import random
from collections.abc import Mapping

import msgspec

from tests.faults.setup import Setup


class Places(msgspec.Struct):
    """The folder and the seed of a run, and the ports of its servers.

    `direct` are the servers' own ports, `proxied` those of the proxies in front of them. `sharq`
    and `store` are what servers and clients have in common of their configuration: of its section
    [sharq], and, of [redis], how the store is found.
    """

    folder: str
    seed: int
    direct: Mapping[str, int]
    proxied: Mapping[str, int]
    setup: Setup
    sharq: str
    store: str

    def rng(self, client: str) -> random.Random:
        """The choices of a client: the same for the same seed."""
        return random.Random(f"{self.seed} {client}")

    def ports(self, first: int) -> list[int]:
        """All ports, beginning with number `first`: each server once direct and once proxied."""
        ports = [port for name in self.direct for port in (self.direct[name], self.proxied[name])]
        first %= len(ports)
        return ports[first:] + ports[:first]
