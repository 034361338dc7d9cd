"""The library in other processes, threads and event loops than the one it was made in."""

from __future__ import annotations

import asyncio
import copy
import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sharq import AsyncSharQ, Batch, EmbeddedStore, Settings, SharQ
from sharq._fastpath import Job
from sharq.errors import StoreUnavailable
from sharq.store.blocking_cluster import SyncClusterLink
from tests.support.faces import embedded, process_runs, settings_for
from tests.support.stores import PrivateStore, wait_for

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def settings(clean_store: PrivateStore) -> Settings:
    return settings_for(clean_store)


def clients(store: PrivateStore) -> int:
    """Connections of others than the test's own client."""
    return len(store.client.client_list()) - 1


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def store_runs(folder: Path) -> bool:
    try:
        return process_runs(int((folder / "store.lock").read_text()))
    except (FileNotFoundError, ValueError):
        return False


def python(code: str, *arguments: object, path: str = "") -> str:
    """What another Python prints; its exit code must be 0 and its error output empty."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*filter(None, [path]), *sys.path])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# ---- pickled ----


def length_of(queue: SharQ) -> int:
    with queue:
        queue.enqueue("p", 0, f"j{os.getpid()}", "bob", "mail")
        return queue.get_queue_length("mail", "bob")


def finish(queue: SharQ, job: Job) -> str:
    with queue:
        return queue.finish_job(job.queue_type, job.queue_id, job.job_id, lease=job.lease).outcome


def length_by_loop(queue: AsyncSharQ) -> int:
    async def ask() -> int:
        async with queue:
            await queue.enqueue("p", 0, f"j{os.getpid()}", "bob", "mail")
            return await queue.get_queue_length("mail", "bob")

    return asyncio.run(ask())


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_a_queue_is_handed_to_other_processes(settings: Settings, method: str) -> None:
    with (
        SharQ(settings) as queue,
        ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool,
    ):
        assert pool.submit(length_of, queue).result() >= 1
        assert pool.submit(length_by_loop, AsyncSharQ(settings)).result() >= 1
        assert queue.get_queue_length("mail", "bob") in (1, 2)  # of one process or two
        # What was leased here is finished there.
        (job,) = queue.take("mail").jobs
        assert pool.submit(finish, queue, job).result() == "success"


def test_an_embedded_store_is_shared_with_a_spawned_process(tmp_path: Path) -> None:
    with (
        SharQ(embedded(tmp_path / "data")) as queue,
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        assert pool.submit(length_of, queue).result() == 1
        assert queue.get_queue_length("mail", "bob") == 1
    wait_for("the store ends with its last user", lambda: not store_runs(tmp_path / "data"), 30)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda q: pickle.loads(pickle.dumps(q))]
)
def test_a_copy_is_a_client_of_its_own(
    settings: Settings, copied: Callable[[Any], Any], tmp_path: Path
) -> None:
    with SharQ(settings) as queue:
        queue.enqueue("p", 0, "j1", "bob", "mail")
        other = copied(queue)
        assert other.settings == queue.settings
        assert other.get_queue_length("mail", "bob") == 1
        other.close()
        assert queue.get_queue_length("mail", "bob") == 1
        one = AsyncSharQ(settings)
        assert copied(one)._engine.server_id != one._engine.server_id


def test_a_copy_reads_its_configuration_where_the_original_did(
    clean_store: PrivateStore, tmp_path: Path
) -> None:
    file = tmp_path / "sharq.conf"
    file.write_text(
        f"[redis]\nconn_type = unix_sock\nunix_socket_path = {clean_store.socket_path}\n"
        "[sharq]\njob_expire_interval = 1000\n"
    )
    with SharQ(str(file)) as queue:
        stated = pickle.dumps(queue)
        assert len(stated) < 4000  # no scripts in it
        file.write_text(file.read_text().replace("1000", "2000"))
        with pickle.loads(stated) as other:
            assert other.settings.sharq.job_expire_interval == 1000
            other.reload_config()
            assert other.settings.sharq.job_expire_interval == 2000


def test_a_batch_and_its_jobs_are_pickled_whole() -> None:
    reply = [
        7,
        3,
        250,
        b"q",
        b"j1",
        b"12",
        b"-1",
        1,
        4,
        b'{"a":1}',
        1000,
        b"q",
        b"j2",
        b"13",
        b"2",
        3,
        0,
        b"2",
        0,
    ]
    batch = Batch("sms", reply)
    for again in (pickle.loads(pickle.dumps(batch)), copy.copy(batch), copy.deepcopy(batch)):
        assert (again.queue_type, again.wait_us, again.rank, again.ready_ms) == ("sms", 7, 3, 250)
        assert again.to_json_list() == batch.to_json_list()
    names = [name for name in dir(Job) if not name.startswith("_")]
    assert len(names) == 10
    for job in batch.jobs:
        for same in (pickle.loads(pickle.dumps(job)), copy.copy(job)):
            assert [getattr(same, name) for name in names] == [getattr(job, name) for name in names]


# ---- forked ----


def in_a_child(work: Callable[[], None], within: float = 60.0) -> int:
    """Run `work` in a forked child and return its exit code; one that hangs is killed."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        except BaseException as error:
            os.write(2, f"{error!r}\n".encode())
        finally:
            os._exit(code)
    deadline = time.monotonic() + within
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            raise AssertionError("the child hangs")
        time.sleep(0.005)
    return os.waitstatus_to_exitcode(ended[1])


def test_children_and_parent_use_a_queue_at_the_same_time(settings: Settings) -> None:
    with SharQ(settings) as queue:
        queue.ping()

        def child() -> None:
            for at in range(100):
                job_id = f"j{os.getpid()}-{at}"
                queue.submit(queue.new_job(job_id.encode().join([b'"', b'"']), 0, job_id, job_id))
                assert queue.job_status("default", job_id, job_id).state == "queued"

        threads = [
            threading.Thread(target=lambda: codes.append(in_a_child(child))) for _ in range(3)
        ]
        codes: list[int] = []
        for thread in threads:
            thread.start()
        child()
        for thread in threads:
            thread.join()
        assert codes == [0, 0, 0]
        assert len(queue.queue_ids("default")) == 400


def test_a_child_is_not_held_up_by_what_a_thread_of_its_parent_was_doing(
    settings: Settings,
) -> None:
    with SharQ(settings) as queue:
        held, done = threading.Event(), threading.Event()

        def reload() -> None:
            with queue._engine._changing:  # as a thread that starts an embedded store has it
                held.set()
                done.wait(30)

        thread = threading.Thread(target=reload)
        thread.start()
        held.wait(10)
        try:

            def child() -> None:
                queue.enqueue("p", 0, "j1", "bob", "mail")
                queue.redis_client().ping()
                queue.close()

            assert in_a_child(child) == 0
        finally:
            done.set()
            thread.join()
        assert queue.get_queue_length("mail", "bob") == 1


def test_the_map_of_a_cluster_is_not_held_by_a_thread_of_the_parent() -> None:
    link = SyncClusterLink(Settings().redis, {})
    with link._learning:

        def child() -> None:
            with link._learning:
                pass

        assert in_a_child(child) == 0


_FORKED_IN_C = """
import ctypes, os, sys
from sharq import SharQ, Settings
python = ctypes.PyDLL(None)
with SharQ(Settings.from_mapping({"redis": {
    "conn_type": "embedded", "data_dir": sys.argv[1], "appendfsync": "no"}})) as queue:
    queue.enqueue("p", 0, "j1", "bob")
    pid = python.fork()  # as uWSGI does: nothing is told before
    if pid == 0:
        python.PyOS_AfterFork_Child()
        from sharq import EmbeddedStore
        EmbeddedStore.join(sys.argv[1]).leave()
        print(queue.get_queue_length("default", "bob"), flush=True)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    queue.enqueue("p", 0, "j2", "bob")
    print(queue.get_queue_length("default", "bob"))
"""


def test_a_child_that_was_forked_in_c_goes_on(tmp_path: Path) -> None:
    assert python(_FORKED_IN_C, tmp_path / "data") == "1\n2\n"
    wait_for("the store ends with its last user", lambda: not store_runs(tmp_path / "data"), 30)


def test_the_store_starts_where_a_subprocess_forks_in_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # gevent's does, so that what is to happen in a forked child happens before the program runs.
    run = subprocess.run

    def run_by_fork(*arguments: Any, **named: Any) -> Any:
        return run(*arguments, preexec_fn=lambda: None, **named)

    monkeypatch.setattr(subprocess, "run", run_by_fork)
    with EmbeddedStore.join(tmp_path / "data", appendfsync="no") as store:
        assert store.alive()
        assert process_runs(store.pid)
        assert os.stat(f"/proc/{store.pid}/cwd").st_ino == os.stat(tmp_path / "data").st_ino


_UNDER_GEVENT = """
from gevent import monkey
monkey.patch_all()
import asyncio, gevent, sys
from sharq import AsyncSharQ, SharQ, Settings
settings = Settings.from_mapping({"redis": {
    "conn_type": "embedded", "data_dir": sys.argv[1], "appendfsync": "no"}})
with SharQ(settings) as queue:
    def work(n):
        for at in range(20):
            queue.enqueue(n, 0, f"j{n}-{at}", f"q{n}", "sms")
            job = queue.dequeue("sms")
            assert queue.finish(job["job_id"], job["queue_id"], "sms")["status"] == "success"
    gevent.joinall([gevent.spawn(work, n) for n in range(10)], raise_error=True)
    print(queue.metrics()["queue_types"])

    async def main():
        async with AsyncSharQ(settings) as other:
            await other.enqueue("p", 0, "j1", "bob")
            return (await other.dequeue())["job_id"]
    print(asyncio.run(main()))
"""


@pytest.mark.needs("gevent")
def test_both_faces_work_under_gevent(tmp_path: Path) -> None:
    assert python(_UNDER_GEVENT, tmp_path / "data") == "[]\nj1\n"
    wait_for("the store ends with its last user", lambda: not store_runs(tmp_path / "data"), 30)


# ---- event loops that end ----


async def roundtrip(queue: AsyncSharQ, job_id: str) -> str:
    await queue.enqueue("p", 0, job_id, "bob", "mail")
    job = await queue.dequeue("mail")
    await queue.finish(job["job_id"], "bob", "mail")
    return str(job["job_id"])


def test_it_starts_anew_in_the_next_event_loop(
    settings: Settings, clean_store: PrivateStore
) -> None:
    queue = AsyncSharQ(settings)

    async def main(job_id: str) -> str:
        await queue.start()
        await queue.redis_client().ping()
        return await roundtrip(queue, job_id)

    for at in range(3):
        assert asyncio.run(main(f"j{at}")) == f"j{at}"
        gc.collect()
        # The end of the loop has closed it, without a warning.
        wait_for("no connection is left", lambda: clients(clean_store) == 0)
    asyncio.run(queue.aclose())


def test_an_embedded_store_is_left_at_the_end_of_the_loop(tmp_path: Path) -> None:
    queue = AsyncSharQ(embedded(tmp_path / "data"))

    async def main(job_id: str) -> str:
        await queue.start()
        return await roundtrip(queue, job_id)

    for at in range(2):
        assert asyncio.run(main(f"j{at}")) == f"j{at}"
        assert not store_runs(tmp_path / "data")


def test_what_ends_with_the_loop_may_use_it_until_then(settings: Settings) -> None:
    queue = AsyncSharQ(settings)

    async def background() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await queue.enqueue("p", 0, "last-words", "bob", "mail")

    async def main() -> asyncio.Task[None]:
        await queue.start()
        await queue.ping()
        task = asyncio.create_task(background())
        await asyncio.sleep(0)
        return task

    asyncio.run(main())
    with SharQ(settings) as other:
        assert other.get_queue_length("mail", "bob") == 1


@pytest.fixture
def quiet() -> Iterator[None]:
    """A loop that is closed by force complains of what it leaves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_it_starts_anew_where_a_loop_was_closed_by_force(
    settings: Settings, clean_store: PrivateStore, quiet: None
) -> None:
    queue = AsyncSharQ(settings)

    async def main(job_id: str) -> str:
        await queue.start()
        return await roundtrip(queue, job_id)

    for at in range(3):
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(main(f"j{at}")) == f"j{at}"
        loop.close()
        del loop
    asyncio.run(queue.aclose())
    gc.collect()
    wait_for("no connection is left", lambda: clients(clean_store) == 0)


def test_without_a_start_in_this_loop_it_says_so(settings: Settings, quiet: None) -> None:
    queue = AsyncSharQ(settings)
    asyncio.run(queue.start())
    for call in (queue.dequeue, queue.ping):
        with pytest.raises(StoreUnavailable, match="has not been started"):
            asyncio.run(call())

    async def elsewhere() -> None:
        async with queue:
            for call in (queue.dequeue, queue.ping):
                with pytest.raises(StoreUnavailable, match="not been started in this event loop"):
                    await asyncio.to_thread(lambda call=call: asyncio.run(call()))
            for life in (queue.start, queue.aclose):
                with pytest.raises(RuntimeError, match="in use in another event loop"):
                    await asyncio.to_thread(lambda life=life: asyncio.run(life()))
            assert await queue.dequeue("mail") == {"status": "failure"}

    asyncio.run(elsewhere())


def test_a_forked_child_starts_it_in_a_loop_of_its_own(
    settings: Settings, clean_store: PrivateStore
) -> None:
    queue = AsyncSharQ(settings)

    async def main() -> None:
        async with queue:
            await roundtrip(queue, "j0")
            before = clients(clean_store)

            def child() -> None:
                async def go_on() -> None:
                    async with queue:
                        await queue.enqueue("p", 0, "j1", "bob", "mail")

                asyncio.run(go_on())

            assert in_a_child(child) == 0
            assert (await queue.dequeue("mail"))["job_id"] == "j1"
            wait_for("the child's are closed", lambda: clients(clean_store) == before)

    asyncio.run(main())


# ---- not closed ----


def test_a_queue_that_nobody_holds_is_closed(
    clean_store: PrivateStore, settings: Settings, tmp_path: Path
) -> None:
    def use(given: Settings) -> None:
        SharQ(given).enqueue("p", 0, "j1", "bob", "mail")

    use(settings)
    use(embedded(tmp_path / "data"))
    gc.collect()
    # The store learns of the end of a connection a moment later.
    wait_for("no connection is left", lambda: clients(clean_store) == 0)
    assert not store_runs(tmp_path / "data")
    before = descriptors()
    for _ in range(3):
        use(settings)
        use(embedded(tmp_path / "data"))
    gc.collect()
    assert descriptors() == before


def test_an_asynchronous_queue_that_nobody_holds_is_closed(
    clean_store: PrivateStore, settings: Settings, tmp_path: Path
) -> None:
    async def use(given: Settings) -> None:
        queue = AsyncSharQ(given)
        await queue.start()
        await queue.enqueue("p", 0, "j1", "bob", "mail")

    async def main() -> None:
        for _ in range(3):
            await use(settings)
            await use(embedded(tmp_path / "data"))
        gc.collect()
        deadline = time.monotonic() + 10
        while clients(clean_store) or store_runs(tmp_path / "data"):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    asyncio.run(main())


def test_one_that_could_not_be_made_leaves_no_complaint(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    code = (
        "import sys\nfrom sharq import Settings, SharQ\n"
        "try:\n    SharQ(Settings.from_mapping({'redis': {'conn_type': 'embedded',"
        " 'data_dir': sys.argv[1]}}))\n"
        "except Exception as error:\n    print(type(error).__name__)\n"
        "try:\n    SharQ('/nowhere.conf')\n"
        "except Exception as error:\n    print(type(error).__name__)\n"
    )
    assert python(code, tmp_path / "data") == "EmbeddedStoreError\nConfigError\n"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_interpreter_ends_with_a_queue_that_is_open(tmp_path: Path, asynchronous: bool) -> None:
    code = (
        "import asyncio, sys\nfrom sharq import AsyncSharQ, Settings, SharQ\n"
        "settings = Settings.from_mapping({'redis': {'conn_type': 'embedded',"
        " 'data_dir': sys.argv[1], 'appendfsync': 'no'}})\n"
    )
    code += (
        "queue = AsyncSharQ(settings)\n"
        "async def main():\n    await queue.start()\n    print(await queue.dequeue())\n"
        "asyncio.run(main())\n"
        if asynchronous
        else "queue = SharQ(settings)\nprint(queue.dequeue())\n"
    )
    assert python(code, tmp_path / "data") == "{'status': 'failure'}\n"
    assert not store_runs(tmp_path / "data")


def test_a_closed_queue_is_opened_again_by_with(settings: Settings) -> None:
    queue = SharQ(settings)
    for at in range(3):
        with queue as same:
            assert same is queue
            queue.enqueue(at, 0, f"j{at}", "bob", "mail")
        with pytest.raises(StoreUnavailable, match="closed"):
            queue.get_queue_length("mail", "bob")
    with queue:
        assert queue.get_queue_length("mail", "bob") == 3
