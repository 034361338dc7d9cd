"""How many connections a server process takes, in all and from one address."""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import Final

from sharq_server.security import descriptors
from sharq_server.security.proxies import UNIX, Proxies

_FOR_OTHER_FILES: Final = 256
_FEWEST: Final = 64
_MOST: Final = 1_000_000


class Connections:
    """Counts the connections that are open.

    At most `most` at once, and `most_of_one` from one address. Without `most` it follows from the
    limit of open files. Without `most_of_one` it is half of `most`, and loopback addresses, from
    which proxies connect, have no limit of their own. `proxies` and unix sockets never have one:
    behind their one address there are many clients.
    """

    def __init__(
        self,
        most: int | None = None,
        most_of_one: int | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        self.most: Final = most if most is not None else _most_by_files()
        self._most_of_one: Final = most_of_one if most_of_one is not None else (self.most + 1) // 2
        self._spare_loopback: Final = most_of_one is None
        self._proxies: Final = Proxies() if proxies is None else proxies
        self._open = 0
        self._of_one: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._open

    def enter(self, address: str) -> bool:
        """Count a connection from an IP address, or `UNIX`; False if it is over a limit."""
        if self._open >= self.most:
            return False
        if self._of_one.get(address, 0) >= self._most_of_one and not self._is_spared(address):
            return False
        self._open += 1
        self._of_one[address] += 1
        return True

    def _is_spared(self, address: str) -> bool:
        if address == UNIX or self._proxies.trusts(address):
            return True
        return self._spare_loopback and ipaddress.ip_address(address.partition("%")[0]).is_loopback

    def leave(self, address: str) -> None:
        """A connection that was counted has ended."""
        self._open -= 1
        self._of_one[address] -= 1
        if not self._of_one[address]:
            del self._of_one[address]


def _most_by_files() -> int:
    files = descriptors.limit()
    if files is None:
        return _MOST
    return max(_FEWEST, min(files, _MOST) - _FOR_OTHER_FILES)
