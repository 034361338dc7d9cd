"""docs/recipes.md: its files, in a folder of their own, as their user runs them."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.server.command import Server, environment
from tests.support.parts import find
from tests.support.stores import wait_for

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
FILE = re.compile(r"`([\w/.]+)`:\n\n```\w+\n(.*?)^```$", re.M | re.S)
PATIENCE = 20


def files_of(section: str) -> dict[str, str]:
    """The files of a section of the page."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return dict(FILE.findall(text))


def write(folder: Path, section: str, server: Server) -> None:
    """Write the files of a section, and the configuration, into a folder."""
    (config,) = re.findall(r"^```ini\n(.*?)^```$", PAGE, re.M | re.S)
    (folder / "sharq.conf").write_text(config)
    for name, text in files_of(section).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("127.0.0.1:8080", f"127.0.0.1:{server.port}"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as server:
        yield server


class Program:
    """A program in the folder; all that it writes is in `output`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def output(self) -> str:
        return self._log.read_text()

    def says(self, text: str) -> None:
        try:
            wait_for(f"{text} is said", lambda: text in self.output, PATIENCE)
        except AssertionError as error:
            error.add_note(self.output)
            raise

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextmanager
def program(folder: Path, *command: str) -> Iterator[Program]:
    """Run a command of the environment until the end of the context."""
    name, *arguments = command
    log = folder / f"{Path(name).name}-{len(list(folder.iterdir()))}.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [find(name) or name, *arguments],
            cwd=folder,
            env=environment(folder, PYTHONPATH=str(folder), PYTHONUNBUFFERED="1"),
            stdout=output,
            stderr=output,
            process_group=0,
        )
    try:
        yield Program(process, log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def worker(folder: Path, server: Server, handler: str, kind: str) -> Any:
    url = f"ws://127.0.0.1:{server.port}/ws/"
    return program(
        folder, sys.executable, "-m", "sharq", "worker", handler, "--type", kind, "--url", url
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def post(port: int, path: str, body: Any) -> tuple[int, Any]:
    """A request to the web application, as soon as it listens."""

    def listens() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return False
        return True

    wait_for("the application listens", listens, PATIENCE)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def state(server: Server, path: str) -> str:
    return str(server.call("GET", f"/status/{path}/")[1].get("state"))


def finished(server: Server, path: str) -> None:
    wait_for(f"{path} is finished", lambda: state(server, path) == "finished", PATIENCE)


def test_every_section_has_its_files() -> None:
    assert {name: set(files_of(name)) for name in re.findall(r"^## (.+)$", PAGE, re.M)} == {
        "What they have in common": set(),
        "A plain script": {"jobs.py"},
        "FastAPI": {"app.py"},
        "Django": {"shop/views.py", "shop/management/commands/work.py"},
        "Flask": {"app.py"},
        "From Celery, task by task": {"sharq_tasks.py", "tasks.py"},
    }


def test_a_plain_script(server: Server, tmp_path: Path) -> None:
    write(tmp_path, "A plain script", server)
    with program(tmp_path, sys.executable, "jobs.py", "15550100", "15550101") as script:
        assert script.process.wait(PATIENCE) == 0, script.output
    with worker(tmp_path, server, "jobs:send", "sms") as working:
        working.says("to 15550100")
        working.says("to 15550101")
        assert working.stop() == 0


@pytest.mark.needs("fastapi", "uvicorn")
def test_fastapi(server: Server, tmp_path: Path) -> None:
    write(tmp_path, "FastAPI", server)
    port = free_port()
    with program(tmp_path, "uvicorn", "app:app", "--port", str(port)) as web:
        status, answer = post(port, "/mail/tenant-1", {"to": "Ada"})
        assert status == 202
        web.says("to Ada")
        finished(server, f"mail/tenant-1/{answer['job_id']}")
        web.stop()
        assert "Application shutdown complete" in web.output
        assert "Traceback" not in web.output


@pytest.mark.needs("django")
def test_django(server: Server, tmp_path: Path) -> None:
    with program(tmp_path, "django-admin", "startproject", "shop", ".") as made:
        assert made.process.wait(PATIENCE) == 0, made.output
    write(tmp_path, "Django", server)
    settings = tmp_path / "shop" / "settings.py"
    text = settings.read_text().replace('    "django.middleware.csrf.CsrfViewMiddleware",\n', "")
    text = text.replace("    'django.middleware.csrf.CsrfViewMiddleware',\n", "")
    settings.write_text(f'{text}\nINSTALLED_APPS += ["shop"]\n')
    (tmp_path / "shop" / "urls.py").write_text(
        "from django.urls import path\nfrom shop.views import remind\n"
        'urlpatterns = [path("remind/<int:customer>", remind)]\n'
    )
    port = free_port()
    manage = (sys.executable, "manage.py")
    with program(tmp_path, *manage, "runserver", "--noreload", str(port)):
        assert post(port, "/remind/7", {}) == (202, {"status": "accepted"})
        assert post(port, "/remind/7", {}) == (202, {"status": "accepted"})
    assert state(server, "mail/customer-7/remind-7") == "queued"
    assert server.call("GET", "/metrics/mail/customer-7/")[1]["queue_length"] == 1
    url = f"ws://127.0.0.1:{server.port}/ws/"
    with program(tmp_path, *manage, "work", "--url", url) as working:
        working.says("to customer 7")
        finished(server, "mail/customer-7/remind-7")
        assert working.stop() == 0


@pytest.mark.needs("flask")
def test_flask(server: Server, tmp_path: Path) -> None:
    write(tmp_path, "Flask", server)
    port = free_port()
    command = ("gunicorn", "--preload", "--workers", "2", "--bind", f"127.0.0.1:{port}", "app:app")
    with program(tmp_path, *command) as web:
        answers = [post(port, "/sms/tenant-1", {"to": n}) for n in range(4)]
        assert web.stop() == 0, web.output
    assert [status for status, _ in answers] == [202] * 4
    assert {state(server, f"sms/tenant-1/{each['job_id']}") for _, each in answers} == {"queued"}


@pytest.mark.needs("celery")
def test_celery(server: Server, tmp_path: Path) -> None:
    section = "From Celery, task by task"
    write(tmp_path, section, server)
    (tmp_path / "calls.py").write_text(
        "import sys\n"
        "from tasks import not_moved_yet, send\n"
        'print(send.delay("tenant-1", "hello").id)\n'
        'print(send.apply_async(("tenant-1", 1), countdown=60).id)\n'
        'not_moved_yet.delay("tenant-1")\n'
        'send.delay("tenant-2")\n'
        "try:\n"
        '    send.apply_async(("tenant-1", 2), expires=60)\n'
        "except NotImplementedError:\n"
        "    sys.exit(7)\n"
    )
    with program(tmp_path, sys.executable, "calls.py") as calls:
        assert calls.process.wait(PATIENCE) == 7, calls.output
        done, delayed = calls.output.split()
    assert server.call("GET", "/metrics/celery/tenant-1/")[1]["queue_length"] == 2
    with worker(tmp_path, server, "tasks:work", "celery") as working:
        working.says("tenant-1 hello")
        working.says("missing 1 required positional argument: 'text'")
        finished(server, f"celery/tenant-1/{done}")
        assert working.stop() == 0
    assert state(server, f"celery/tenant-1/{delayed}") == "queued"
