"""The private Valkey: one store process per data folder, shared by all who use the folder.

The first user starts the store, later ones join it, and the last to leave stops it. No process is
in charge: locks of files in the data folder decide (`flock(2)`). The system drops them with the
process that holds them, so a killed one blocks nothing:

- ``store.lock``, exclusive: passed only to the store, it lives exactly as long as the store does.
  Its content is the store's process id.
- ``users.lock``, shared: each user holds it. A forked child inherits it, so it counts as a user
  until it exits.
- ``start.lock``, exclusive: held while a store is being started or stopped, and while users come
  and go. It is the first file in a new folder and marks the folder as SharQ's.
- ``server.lock``, exclusive: the one server of the folder, see `ServerLock`.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import hiredis

from sharq.embedded.damage import check_whole
from sharq.embedded.folder import (
    SERVER_LOCK,
    STORE_LOCK,
    USERS_LOCK,
    alone,
    check_folder,
    explained,
    lock,
    open_folder,
    reopened,
)
from sharq.embedded.process import (
    STRICTNESS,
    discard_socket,
    find_binary,
    forget_socket_elsewhere,
    look_at,
    same_folder,
    socket_path_of,
    start_where_none_runs,
    talk,
)
from sharq.errors import EmbeddedStoreError
from sharq.settings.options import StoreSettings

_STOP_TIMEOUT: Final = 30.0
_FIND_TIMEOUT: Final = 5.0

# While there are users, nobody holds start.lock for long, unless it is stopped or starved: others
# need not wait for that to end.
_LEAVE_TIMEOUT: Final = 5.0


class EmbeddedStore:
    """A user's hold on the store of a data folder; made by `join`, given up by `leave`.

    `socket_path` is the store's unix socket, `pid` its process, `data_dir` the folder's real path.
    A forked child has its own hold: the store runs until the child, too, has left or exited. To
    start a dead store again, join again (and leave the old hold).
    """

    def __init__(self, data_dir: Path, users: int, store_lock: int) -> None:
        self.data_dir: Final = data_dir
        self.socket_path = ""
        self.pid = 0
        # Taken by pop: of several threads that leave, exactly one gets the descriptors.
        self._held = [(users, store_lock)]

    @classmethod
    def join(
        cls,
        data_dir: str | Path,
        *,
        appendfsync: str = "always",
        timeout: float = 60.0,
        given_up: threading.Event | None = None,
    ) -> EmbeddedStore:
        """Join the store of `data_dir`; start it if none runs. Blocks until it answers.

        The folder is made if it is missing. `appendfsync` is Valkey's: "always", "everysec" or
        "no"; a running store that is less strict is made as strict. `timeout` is in seconds and
        starts again with each progress of a store that is loading its data. Another thread ends the
        wait by setting `given_up`. The hold is left when the process exits, if not before.

        Raises `EmbeddedStoreError` with the reason if there is no store.
        """
        if appendfsync not in STRICTNESS:
            raise EmbeddedStoreError(f"`appendfsync` cannot be {appendfsync!r}.")
        binary = find_binary()
        folder = open_folder(data_dir)
        with explained(folder):
            store = cls._enter(folder, timeout, given_up)
            try:
                store._bring_up(binary, appendfsync, timeout, given_up)
            except BaseException:
                with suppress(EmbeddedStoreError):
                    store.leave()
                raise
        atexit.register(store.leave)
        return store

    @classmethod
    def of(cls, settings: StoreSettings, given_up: threading.Event | None = None) -> EmbeddedStore:
        """`join` the store of the settings."""
        return cls.join(settings.data_dir, appendfsync=settings.appendfsync, given_up=given_up)

    @classmethod
    def check(cls, data_dir: str | Path) -> int:
        """Whether the store of `data_dir` can be used: its process, 0 if it would be started.

        Nothing is started, and no folder is made. Raises `EmbeddedStoreError`.
        """
        find_binary()
        folder = check_folder(data_dir)
        if folder is None:
            return 0
        with explained(folder):
            if not _is_held(folder / STORE_LOCK):
                check_whole(folder)
                return 0
            try:
                return look_at(socket_path_of(folder)).pid
            except (OSError, hiredis.HiredisError) as error:
                raise EmbeddedStoreError(
                    f"The store of {folder} does not answer: {error}."
                ) from error

    def leave(self) -> None:
        """Give up the hold; the last user to do so stops the store and waits until it is gone.

        Does nothing the second time. Raises `EmbeddedStoreError` if the store does not stop, or if
        another process that starts or stops it hangs; the hold is given up in any case.
        """
        try:
            users, store_lock = self._held.pop()
        except IndexError:
            return
        atexit.unregister(self.leave)
        with explained(self.data_dir):
            try:
                with (
                    alone(self.data_dir, _LEAVE_TIMEOUT),
                    # Forked children may share the lock of `users` itself.
                    reopened(users, self.data_dir / USERS_LOCK) as probe,
                ):
                    os.close(users)
                    users = -1
                    if lock(probe, fcntl.LOCK_EX):
                        self._stop(store_lock)
            finally:
                if users >= 0:
                    os.close(users)
                os.close(store_lock)

    def alive(self) -> bool:
        """Tell whether the store runs; False once this hold has been left.

        Cheap enough to call often: it checks a lock and does not talk to the store.
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
    def _enter(
        cls, folder: Path, timeout: float, given_up: threading.Event | None
    ) -> EmbeddedStore:
        with alone(folder, timeout, given_up):
            users = os.open(folder / USERS_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                # Never blocks: it is locked exclusively only by a holder of start.lock, as we are
                # now.
                fcntl.flock(users, fcntl.LOCK_SH)
                store_lock = os.open(folder / STORE_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            except BaseException:
                os.close(users)
                raise
        return cls(folder, users, store_lock)

    def _bring_up(
        self, binary: Path, appendfsync: str, timeout: float, given_up: threading.Event | None
    ) -> None:
        while True:
            with alone(self.data_dir, timeout, given_up):
                launch = start_where_none_runs(self.data_dir, binary, appendfsync)
            if launch is not None:
                self.pid = launch.pid
            if self._wait_until_ready(appendfsync, timeout, given_up):
                if launch is not None:
                    launch.tell_of_damage()
                return
            # A store that was about to end when we joined is replaced, one of our own is not.
            if launch is not None:
                raise EmbeddedStoreError(
                    f"The store of {self.data_dir} ended at its start.{launch.last_words()}"
                )

    def _wait_until_ready(
        self, appendfsync: str, timeout: float, given_up: threading.Event | None
    ) -> bool:
        """Wait until the store answers and is as strict as asked; False if it has died."""
        deadline = time.monotonic() + timeout
        pause = 0.002
        loaded = -1
        problem = "it does not answer"
        while True:
            path = socket_path_of(self.data_dir)
            try:
                state = look_at(path)
                if not same_folder(state.directory, self.data_dir):
                    raise EmbeddedStoreError(
                        f"The store at {path} (process {state.pid}) keeps its data in"
                        f" {state.directory}, not in {self.data_dir}."
                    )
                if STRICTNESS.index(state.appendfsync) < STRICTNESS.index(appendfsync):
                    talk(path, f"CONFIG SET appendfsync {appendfsync}")
            except (OSError, hiredis.HiredisError) as error:
                problem = f"it does not answer ({error})"
            else:
                if state.ready:
                    self.socket_path, self.pid = path, state.pid
                    return True
                problem = "it is still loading its data"
                if state.loaded > loaded:
                    loaded = state.loaded
                    deadline = time.monotonic() + timeout
            if not self.alive():
                return False
            if given_up is not None and given_up.is_set():
                raise EmbeddedStoreError(
                    f"The wait for the store of {self.data_dir} was given up: {problem}."
                )
            if time.monotonic() > deadline:
                raise EmbeddedStoreError(
                    f"The store of {self.data_dir} was not ready within {timeout:g} s: {problem}."
                )
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)

    def _runs(self, store_lock: int) -> bool:
        with reopened(store_lock, self.data_dir / STORE_LOCK) as probe:
            return not lock(probe, fcntl.LOCK_SH)

    def _stop(self, store_lock: int) -> None:
        """Stop the store, if it runs; for the last user, under start.lock."""
        if self._runs(store_lock):
            pid = self._find_process(store_lock)
            if pid is not None:
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
        forget_socket_elsewhere(self.data_dir)
        discard_socket(self.data_dir, self.socket_path)

    def _find_process(self, store_lock: int) -> int | None:
        """The store's process; None if it has ended by itself."""
        # The number in the lock file means another process if the store was started in another pid
        # namespace; the socket may be that of another store if the folder was copied or replaced.
        # If both agree, it is the store.
        noted = b""
        deadline = time.monotonic() + _FIND_TIMEOUT
        # A store that was just started has no socket yet.
        while self._runs(store_lock) and time.monotonic() < deadline:
            noted = os.pread(store_lock, 32, 0).strip()
            seen = 0
            with suppress(OSError, hiredis.HiredisError):
                seen = talk(socket_path_of(self.data_dir)).pid
            for pid in (seen, self.pid):
                if pid > 0 and noted == b"%d" % pid:
                    return pid
            time.sleep(0.005)
        if not self._runs(store_lock):
            return None
        raise EmbeddedStoreError(
            f"The store of {self.data_dir} cannot be stopped from here: its process"
            f" ({noted.decode(errors='replace') or 'unknown'}) cannot be seen."
        )


def _is_held(path: Path) -> bool:
    """Whether somebody holds the lock of a file exclusively; a file is not made for it."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


class ServerLock:
    """The right to be the one server of a data folder; made by `take`.

    It lasts until `release` or the end of the process. Forked children share it: while one of
    them lives, the folder stays taken.
    """

    def __init__(self, descriptor: int) -> None:
        self._held = [descriptor]

    @classmethod
    def take(cls, data_dir: str | Path) -> ServerLock:
        """Take the lock of `data_dir`; `EmbeddedStoreError` if another server has it."""
        folder = open_folder(data_dir)
        with explained(folder):
            descriptor = os.open(folder / SERVER_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                if not lock(descriptor, fcntl.LOCK_EX):
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
        """Release the folder. Does nothing the second time."""
        with suppress(IndexError):
            os.close(self._held.pop())
