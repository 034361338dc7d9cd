"""A smoke test of an installed SharQ, with nothing but SharQ: `python smoke.py [--store BINARY]`.

It goes through everything that an installation has to bring along: both commands, the server with
its page, the worker, the library for both kinds of programs. The store is the embedded one. Where
there is none, `--store` names a Redis or Valkey to use, and the embedded one must be missed in
plain words.
"""

import argparse
import asyncio
import fcntl
import importlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import files, version
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

SCRIPTS = Path(sys.executable).parent
PATIENCE = 30.0
HANDLER = "def show(job):\n    print('got', job.queue_id, job.payload['to'], flush=True)\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", metavar="BINARY", help="a redis-server or valkey-server")
    binary = parser.parse_args().store
    for name in [name for name in os.environ if name.startswith("SHARQ_")]:
        del os.environ[name]
    with TemporaryDirectory(prefix="sharq-smoke-") as place, ExitStack() as held:
        home = Path(place)
        os.environ |= {"HOME": place, "XDG_DATA_HOME": f"{place}/share"}
        step("the files", check_files)
        step("the versions", check_versions)
        config = home / "sharq.conf"
        if binary is None:
            config.write_text(f"[redis]\ndata_dir: {home}/data\n")
        else:
            step("no embedded store", check_refusal, home)
            socket = held.enter_context(running_store(binary, home))
            config.write_text(f"[redis]\nconn_type: unix_sock\nunix_socket_path: {socket}\n")
        with running_server(config, home) as url:
            step("the REST API", check_rest, url)
            step("the page", check_page, url)
            step("the command", check_command, url)
            step("the worker", check_worker, url, home)
        step("the library", check_library, config)
        step("the asyncio library", asyncio.run, check_asyncio_library(config))
        if binary is None:
            step("the end of the store", check_end_of_store, home / "data")


def step(name: str, check: Any, *arguments: Any) -> None:
    began = time.monotonic()
    check(*arguments)
    print(f"{name}: well, {time.monotonic() - began:.1f} s", flush=True)


def check_files() -> None:
    installed = [file for file in files("sharq") or [] if file.suffix == ".so"]
    assert installed, "nothing compiled was installed"
    for file in installed:
        module = importlib.import_module(".".join(file.parts).partition(".cpython")[0])
        assert is_installed(module), module
    import sharq
    import sharq_server

    for package in (sharq, sharq_server):
        assert is_installed(package), package
        assert Path(package.__file__ or "").with_name("py.typed").is_file(), package


def is_installed(module: ModuleType) -> bool:
    """Whether it is of this environment, and not of a checkout."""
    return Path(module.__file__ or "").resolve().is_relative_to(Path(sys.prefix).resolve())


def check_versions() -> None:
    for command, name in (("sharq", "SharQ"), ("sharq-server", "SharQ Server")):
        said = subprocess.run(
            [SCRIPTS / command, "--version"], check=True, capture_output=True, text=True
        )
        assert said.stdout == f"{name} {version('sharq')}\n", said.stdout


def check_refusal(home: Path) -> None:
    server = subprocess.run(
        [SCRIPTS / "sharq-server", "--port", "0", "--data-dir", home / "none"],
        check=False,
        env={**os.environ, "PATH": str(home)},  # no store is on it
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert server.returncode == 1, server
    assert "sharq[embedded]" in server.stderr, server.stderr


@contextmanager
def running_store(binary: str, home: Path) -> Iterator[Path]:
    socket = home / "store.sock"
    command = [binary, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(home)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as store:
        try:
            wait_for("the store's socket", socket.exists)
            yield socket
        finally:
            store.terminate()


@contextmanager
def running_server(config: Path, home: Path) -> Iterator[str]:
    """A server on a free port, which has to end well when it is told to."""
    with subprocess.Popen(
        [SCRIPTS / "sharq-server", "--config", config, "--port", "0"],
        cwd=home,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            found = re.search(r"listens on (http://\S+)", server.stdout.readline())
            assert found, "the server did not greet"
            yield found[1]
        finally:
            server.terminate()
            server.wait(PATIENCE)
        assert server.returncode == 0, server.returncode


def request(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(url, data, timeout=PATIENCE) as answer:
        return json.load(answer)


def check_rest(url: str) -> None:
    job = {"job_id": "j1", "interval": 0, "payload": {"to": "Ada"}}
    assert request(f"{url}/enqueue/mail/rest/", job) == {"status": "queued"}
    leased = request(f"{url}/dequeue/mail/")
    assert (leased["job_id"], leased["payload"]) == ("j1", {"to": "Ada"}), leased
    ended = request(f"{url}/finish/mail/rest/j1/", {"lease": leased["lease"]})
    assert ended == {"status": "success"}, ended


def check_page(url: str) -> None:
    # By the old address, which leads to it.
    with urllib.request.urlopen(f"{url}/live/", timeout=PATIENCE) as answer:
        assert answer.headers.get_content_type() == "text/html"
        assert b"<title>SharQ</title>" in answer.read()
    with urllib.request.urlopen(f"{url}/ui/app.js", timeout=PATIENCE) as answer:
        assert answer.headers.get_content_type() == "text/javascript"


def check_command(url: str) -> None:
    job = [SCRIPTS / "sharq", "job", "mail", "rest", "j1", "--url", url]
    said = subprocess.run(job, check=True, capture_output=True, text=True)
    assert said.stdout == "state\tfinished\n", said


def check_worker(url: str, home: Path) -> None:
    (home / "jobs.py").write_text(HANDLER)
    channel = url.replace("http:", "ws:") + "/ws/"
    with subprocess.Popen(
        [SCRIPTS / "sharq", "worker", "jobs:show", "--type", "post", "--url", channel],
        cwd=home,
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        try:
            job = {"job_id": "j2", "interval": 0, "payload": {"to": "Grace"}}
            assert request(f"{url}/enqueue/post/push/", job) == {"status": "queued"}
            assert worker.stdout.readline() == "got push Grace\n"
            status = f"{url}/status/post/push/j2/"
            wait_for("the finished job", lambda: request(status)["state"] == "finished")
        finally:
            worker.terminate()
            worker.wait(PATIENCE)
        assert worker.returncode == 0, worker.returncode


def check_library(config: Path) -> None:
    from sharq import SharQ

    names = {"queue_id": "sync", "queue_type": "library"}
    with SharQ(str(config)) as queue:
        queue.enqueue(payload={"to": "Alan"}, interval=0, job_id="j3", **names)
        job = queue.dequeue(queue_type="library")
        assert (job["status"], job["payload"]) == ("success", {"to": "Alan"}), job
        assert queue.finish(job_id="j3", **names) == {"status": "success"}
        assert queue.redis_client().ping()


async def check_asyncio_library(config: Path) -> None:
    from sharq import AsyncSharQ

    names = {"queue_id": "async", "queue_type": "library"}
    async with AsyncSharQ(str(config)) as queue:
        await queue.enqueue(payload={"to": "Edsger"}, interval=0, job_id="j4", **names)
        job = await queue.dequeue(queue_type="library")
        assert (job["status"], job["payload"]) == ("success", {"to": "Edsger"}), job
        assert await queue.finish(job_id="j4", **names) == {"status": "success"}
        assert await queue.redis_client().ping()


def check_end_of_store(folder: Path) -> None:
    """The last user has left; the store holds a lock as long as it lives."""
    with (folder / "store.lock").open() as lock:
        wait_for("the store's end", lambda: acquired(lock.fileno()))


def acquired(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_for(what: str, condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.01)


if __name__ == "__main__":
    main()
