"""Listening sockets: opened for the places that an option names, and taken away at the end."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from sharq.settings.kinds import UNIX_PREFIX

_log = logging.getLogger(__name__)

_WILDCARDS: Final = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}
_NO_SUCH_ADDRESS: Final = frozenset((errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL))
_TRIES: Final = 20
"""Free ports that are tried, until one is free for all addresses."""

_LONGEST_LOCK: Final = 2.0
_LOOK_EVERY: Final = 0.01


class CannotListen(Exception):
    """A place cannot be listened on; the message is all that its user needs to know."""


class _Address(NamedTuple):
    family: socket.AddressFamily
    host: str
    scope: int = 0

    def bound_to(self, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
        if self.family == socket.AF_INET:
            return self.host, port
        return self.host, port, 0, self.scope


class _File(NamedTuple):
    """A unix socket's file, and what distinguishes it from a successor of the same name."""

    path: str
    device: int
    inode: int
    made: int

    @classmethod
    def at(cls, path: str) -> _File:
        """Raises OSError."""
        state = os.lstat(path)
        return cls(path, state.st_dev, state.st_ino, state.st_mtime_ns)


class Listening:
    """The sockets of `places`, each an address, a name, or ``unix:`` and a path.

    All addresses have the same `port`; 0 is any free one. ``::`` stands for all addresses of both
    families. An address of IPv6 is left out where the system has no IPv6 and another place can be
    listened on; that is logged. The files of unix sockets have the `mode`. Raises `CannotListen`.
    """

    def __init__(self, places: Sequence[str], port: int, mode: int, backlog: int) -> None:
        self.port = port
        self.places: Sequence[str] = places
        self.sockets: list[socket.socket] = []
        self._files: list[_File] = []
        self._mode = mode
        self._backlog = backlog
        try:
            self._open_addresses([place for place in places if not is_unix(place)])
            for place in places:
                if is_unix(place):
                    self._open_file(place.removeprefix(UNIX_PREFIX))
        except BaseException:
            self.close()
            self.remove_files()
            raise

    def close(self) -> None:
        """Close the sockets of this process."""
        for each in self.sockets:
            each.close()

    def remove_files(self) -> None:
        """Remove the unix sockets' files, except those of a successor."""
        while self._files:
            file = self._files.pop()
            with suppress(OSError), _folder_locked(file.path):
                if _File.at(file.path) == file:
                    os.unlink(file.path)

    # Addresses

    def _open_addresses(self, places: Sequence[str]) -> None:
        for left in reversed(range(_TRIES)):
            try:
                self._try_addresses(places)
            except OSError as error:
                # The port was free for the first address, and is not for another one.
                if self.port != 0 or error.errno != errno.EADDRINUSE or not left:
                    raise
                self.close()
                self.sockets.clear()
            else:
                return

    def _try_addresses(self, places: Sequence[str]) -> None:
        missing: dict[str, str] = {}
        port, taken = self.port, set[_Address]()
        for place in places:
            refusal: OSError | None = None
            found = False
            addresses = _addresses_of(place)
            only_ipv6 = place == "::" or all(each.family == socket.AF_INET6 for each in addresses)
            for address in addresses:
                if address in taken or _wildcard(address) in taken:
                    found = True
                    continue
                try:
                    opened = self._bind(address, port)
                except OSError as error:
                    if error.errno not in _NO_SUCH_ADDRESS:
                        raise _refused(place, port, error, self.port) from None
                    refusal = refusal or error
                    if place == "::" and address.family == socket.AF_INET6:
                        break
                    continue
                found = True
                taken.add(address)
                self.sockets.append(opened)
                port = opened.getsockname()[1]
            if not found:
                assert refusal is not None
                if not only_ipv6 or has_ipv6():
                    raise _refused(place, port, refusal, self.port)
                missing[place] = f"This system has no IPv6: the server cannot listen on {place}."
        if missing and not self.sockets and len(missing) == len(self.places):
            raise CannotListen(" ".join(missing.values()))
        for problem in missing.values():
            _log.warning("%s", problem)
        self.places = [place for place in self.places if place not in missing]
        self.port = port

    def _bind(self, address: _Address, port: int) -> socket.socket:
        """Raises OSError."""
        opened = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if address.family == socket.AF_INET6:
                # One socket for each family, so that no IPv4 address looks like one of IPv6.
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            opened.setblocking(False)
            opened.bind(address.bound_to(port))
            opened.listen(self._backlog)
        except BaseException:
            opened.close()
            raise
        return opened

    # Files

    def _open_file(self, path: str) -> None:
        place = UNIX_PREFIX + path
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sockets.append(opened)
        opened.setblocking(False)
        try:
            with _folder_locked(path):
                _make_way(path)
                # The file never has more rights than it shall, not for a moment.
                before = os.umask(0o777 & ~self._mode)
                try:
                    opened.bind(path)
                finally:
                    os.umask(before)
                self._files.append(_File.at(path))
                # While the folder is locked: to others a file that nobody listens on is stale.
                opened.listen(self._backlog)
        except OSError as error:
            raise CannotListen(f"Cannot listen on {place}: {error.strerror}.") from None


def is_unix(place: str) -> bool:
    """Whether a place is a unix socket."""
    return place.startswith(UNIX_PREFIX)


def check_place(place: str) -> None:
    """Check that there is such an address, or a folder for such a file; nothing is made.

    Raises `CannotListen`.
    """
    if is_unix(place):
        folder = os.path.dirname(place.removeprefix(UNIX_PREFIX))
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
            raise CannotListen(f"Cannot listen on {place}: no file can be made in {folder}.")
        return
    refusal: OSError | None = None
    for address in _addresses_of(place):
        try:
            with socket.socket(address.family, socket.SOCK_STREAM) as probe:
                probe.bind(address.bound_to(0))
            return
        except OSError as error:
            refusal = error
    reason = "" if refusal is None else f": {refusal.strerror}"
    raise CannotListen(f"Cannot listen on {place}{reason}.")


def has_ipv6() -> bool:
    """Whether the system has addresses of IPv6."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _addresses_of(place: str) -> list[_Address]:
    """The addresses of a place. Raises `CannotListen`."""
    try:
        found = socket.getaddrinfo(place, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise CannotListen(f"The host {place} is not known: {error.strerror}.") from None
    addresses = [
        _Address(family, str(where[0]), int(where[3]) if len(where) == 4 else 0)
        for family, *_, where in found
        if family in _WILDCARDS
    ]
    if place == "::":
        addresses.append(_Address(socket.AF_INET, _WILDCARDS[socket.AF_INET]))
    return list(dict.fromkeys(addresses))


def _wildcard(address: _Address) -> _Address:
    return _Address(address.family, _WILDCARDS[address.family])


def _refused(place: str, port: int, error: OSError, wanted: int) -> Exception:
    """The complaint about an address, except where another free port is tried."""
    if error.errno == errno.EADDRINUSE and wanted == 0 and port != 0:
        return error
    if error.errno == errno.EADDRINUSE:
        return CannotListen(f"Port {port} of {place} is in use. Choose another one with --port.")
    if error.errno == errno.EACCES:
        return CannotListen(f"Port {port} needs privileges. Choose one from 1024 on with --port.")
    return CannotListen(f"Cannot listen on {place}, port {port}: {error.strerror}.")


def _make_way(path: str) -> None:
    """Remove the file of a socket that nobody listens on. Raises `CannotListen` and OSError."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise CannotListen(f"Cannot listen on {UNIX_PREFIX}{path}: the file is no socket.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A listener that does not accept has a full backlog, and is there.
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass
    raise CannotListen(f"The socket {UNIX_PREFIX}{path} is in use by another process.")


@contextmanager
def _folder_locked(path: str) -> Iterator[None]:
    """Between processes that make and remove sockets in a folder, one at a time. Raises OSError."""
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Anybody can lock a folder that all may read: that holds up nobody for long.
        deadline = time.monotonic() + _LONGEST_LOCK
        while time.monotonic() < deadline:
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(_LOOK_EVERY)
        yield
    finally:
        os.close(descriptor)
