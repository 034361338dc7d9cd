"""The data folder of an embedded store: its owner, and the locks on its files.

What each lock means is told in `sharq.embedded.store`. They are those of `flock(2)`: of an open
file description, shared with forked children, and gone with the last process that has it open.
"""

from __future__ import annotations

import fcntl
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from sharq.errors import EmbeddedStoreError

START_LOCK: Final = "start.lock"
USERS_LOCK: Final = "users.lock"
STORE_LOCK: Final = "store.lock"
SERVER_LOCK: Final = "server.lock"

_LOOK_EVERY: Final = 0.002


def open_folder(data_dir: str | Path) -> Path:
    """Make the folder if it is missing, check that it is ours, and close it to others."""
    folder = Path(os.path.realpath(data_dir))
    with explained(folder):
        _check_kind(folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = _check_ours(folder)
        if status.st_mode & 0o077:
            folder.chmod(stat.S_IMODE(status.st_mode) & 0o700)
        os.close(os.open(folder / START_LOCK, os.O_RDWR | os.O_CREAT, 0o600))
    return folder


def check_folder(data_dir: str | Path) -> Path | None:
    """Check that `open_folder` could be called; None if there is no such folder yet.

    Raises `EmbeddedStoreError`, and changes nothing.
    """
    folder = Path(os.path.realpath(data_dir))
    with explained(folder):
        _check_kind(folder)
        if folder.exists():
            _check_ours(folder)
            return folder
        parent = next(each for each in folder.parents if each.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
            raise EmbeddedStoreError(
                f"The data folder {folder} cannot be made: nothing may be made in {parent}."
            )
    return None


def _check_kind(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise EmbeddedStoreError(f"The data folder {folder} is not a folder.")


def _check_ours(folder: Path) -> os.stat_result:
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise EmbeddedStoreError(
            f"The data folder {folder} belongs to another user (uid {status.st_uid})."
            " Set data_dir to a folder of your own, or to one that does not exist yet."
        )
    strangers = set(os.listdir(folder)) - {"lost+found"}
    # Checked after the listing: a new user makes start.lock first.
    if strangers and not (folder / START_LOCK).exists():
        raise EmbeddedStoreError(
            f"The data folder {folder} holds other data ({min(strangers)})."
            " Set data_dir to an empty folder, or to one that does not exist yet."
        )
    return status


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EmbeddedStoreError(f"The data folder {folder} cannot be used: {error}") from error


class _Unshared:
    """Descriptors that a child forked by another thread would keep for its lifetime, and with them
    the locks; and of these, those that each thread is about to pass to its own child.
    """

    def __init__(self) -> None:
        self.guard = threading.RLock()
        self.descriptors: set[int] = set()
        self.handed_on: dict[int, int] = {}

    def before_fork(self) -> None:
        self.guard.acquire()

    def after_in_parent(self) -> None:
        self.guard.release()

    def after_in_child(self) -> None:
        kept = self.handed_on.get(threading.get_ident())
        for descriptor in self.descriptors - {kept}:
            os.close(descriptor)
        self.descriptors.clear()
        self.handed_on.clear()
        # Not released: a program that forks in C, as uWSGI does, may not have called the hook
        # before.
        self.guard = threading.RLock()


_unshared = _Unshared()
os.register_at_fork(
    before=_unshared.before_fork,
    after_in_parent=_unshared.after_in_parent,
    after_in_child=_unshared.after_in_child,
)


@contextmanager
def handed_on(descriptor: int) -> Iterator[None]:
    """Let a child that this thread starts have `descriptor`, one of `opened_unshared`.

    Needed if `subprocess` forks in Python, as under gevent's monkey patching or with a
    `preexec_fn`: the hooks for a forked child then run before the program does.
    """
    thread = threading.get_ident()
    _unshared.handed_on[thread] = descriptor
    try:
        yield
    finally:
        del _unshared.handed_on[thread]


@contextmanager
def opened_unshared(path: Path) -> Iterator[int]:
    with _unshared.guard:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        _unshared.descriptors.add(descriptor)
    try:
        yield descriptor
    finally:
        with _unshared.guard:
            if descriptor in _unshared.descriptors:
                _unshared.descriptors.remove(descriptor)
                os.close(descriptor)


def lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def alone(folder: Path, timeout: float, given_up: threading.Event | None = None) -> Iterator[None]:
    """Hold start.lock; waits for it up to `timeout` seconds, or until `given_up` is set."""
    if not folder.is_dir():
        # The folder has been removed: only leaving users come here, and nobody joins.
        yield
        return
    deadline = time.monotonic() + timeout
    with opened_unshared(folder / START_LOCK) as descriptor:
        while not lock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise EmbeddedStoreError(
                    f"Another process has been starting or stopping the store of {folder}"
                    f" for more than {timeout:g} s."
                )
            if given_up is None:
                time.sleep(_LOOK_EVERY)
            elif given_up.wait(_LOOK_EVERY):
                raise EmbeddedStoreError(f"The wait for the store of {folder} was given up.")
        yield


@contextmanager
def reopened(descriptor: int, path: Path) -> Iterator[int]:
    """Open the file of `descriptor` again, for locks that no forked child shares."""
    reopened = -1
    # By the descriptor if that opens the file anew (on Linux): the path may be another file by now.
    for way in (f"/proc/self/fd/{descriptor}", path):
        if reopened < 0:
            with suppress(FileNotFoundError):
                reopened = os.open(way, os.O_RDWR)
    if reopened < 0:
        # The file has been removed; for new users its locks are gone, too.
        reopened = os.dup(descriptor)
    try:
        yield reopened
    finally:
        fcntl.flock(reopened, fcntl.LOCK_UN)
        os.close(reopened)
