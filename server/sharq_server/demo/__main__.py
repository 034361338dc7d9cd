"""The live demo: tenants that are each held to a rate, two of them to one together.

``python -m sharq_server.demo`` starts a server with a store and a temporary folder of its own and
talks to it as its users do, through the REST API: it enqueues more jobs than may go, lets two
workers poll for them, changes a tenant's rate on the way, pauses another, and shows when each job
went.

When a job went is told by the store's clock, which is this machine's. A dispatch lies between
the request for it and its answer; where that is not one and the same millisecond, the rest of
its lease, asked for through ``/status/``, narrows it down to one.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple, NoReturn
from urllib.parse import urlsplit

from sharq_server.demo.screen import Screen
from sharq_server.demo.tenants import Instant, Limit, Pause, Tenant

QUEUE_TYPE: Final = "sms"
RATES: Final = {"bakery": 2, "cinema": 5, "airline": 20, "hotel": 20, "museum": 20}
GROUP: Final = "account"
GROUP_RATE: Final = 8
MEMBERS: Final = ("hotel", "museum")
CHANGED: Final = "bakery"
NEW_RATE: Final = 10
PAUSED: Final = "airline"
WORKERS: Final = 2

_POLL: Final = 0.003
"""Seconds that a worker waits when no job is ready."""

_LEASE: Final = 60_000
_ATTEMPTS: Final = 50
_BULK: Final = 1000
_LOOK_EVERY: Final = 0.05
_DRAW_EVERY: Final = 0.1
"""Seconds; a screen takes its time from the workers, which are threads beside it."""

_LINE_EVERY: Final = 1.0
_STOP_TIMEOUT: Final = 20.0
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DemoError(Exception):
    """The demo cannot go on; the message is for its user."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 if it ran and no tenant went over its rate, 1 otherwise, 130 if aborted."""
    seconds = _parse(arguments)
    screen = Screen(sys.stdout, os.environ)
    for number in _ENDING:
        signal.signal(number, _interrupt)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="sharq-demo-") as folder,
            _server(Path(folder)) as url,
        ):
            demo = Demo(url, seconds, screen)
            demo.run()
        return demo.report()
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Nobody reads any more; Python must not flush at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


class Answer(NamedTuple):
    """What a request was answered, and the ticks (ms) before it went and after its answer came."""

    status: int
    body: dict[str, Any]
    sent: int
    received: int

    def expect(self, status: int) -> Answer:
        """The same answer; raises `DemoError` if its status is another."""
        if self.status != status:
            raise DemoError(f"The server answered {self.status}: {self.body}")
        return self


class Client:
    """A connection to the REST API that is kept open."""

    def __init__(self, url: str) -> None:
        self._http = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)

    def call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Answer:
        """Make a request and wait for its answer."""
        data = None if body is None else json.dumps(body).encode()
        sent = _tick()
        try:
            self._http.request(method, path, data)
            response = self._http.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise DemoError(f"The server does not answer: {error!r}") from error
        return Answer(response.status, json.loads(text), sent, _tick())

    def close(self) -> None:
        self._http.close()


class Demo:
    """One run on the server at `url`, `seconds` long."""

    def __init__(self, url: str, seconds: float, screen: Screen) -> None:
        self._url = url
        self._seconds = seconds
        self._screen = screen
        start = Instant(0, 0)
        self._tenants = {
            name: Tenant(name, Limit(1000 // rate, start)) for name, rate in RATES.items()
        }
        self._group = Tenant(GROUP, Limit(1000 // GROUP_RATE, start))
        self._rows = [*self._tenants.values(), self._group]
        self._pause: Pause | None = None
        self._over = threading.Event()
        self._failures: list[DemoError] = []
        self._interrupted = False

    def run(self) -> None:
        """Enqueue, work and watch; Ctrl-C ends it early. Raises `DemoError`."""
        with closing(Client(self._url)) as client:
            self._announce()
            path = f"/limits/{QUEUE_TYPE}/?group={GROUP}"
            client.call("POST", path, {"interval": 1000 // GROUP_RATE}).expect(200)
            self._enqueue(client)
            workers = [threading.Thread(target=self._work) for _ in range(WORKERS)]
            try:
                for worker in workers:
                    worker.start()
                self._watch(client)
            except KeyboardInterrupt:
                self._interrupted = True
            finally:
                self._over.set()
                for worker in workers:
                    if worker.ident is not None:
                        worker.join()
                self._screen.leave()
        if self._failures:
            raise self._failures[0]

    def report(self) -> int:
        """Print what was measured, and return the exit code that follows from it."""
        say = self._screen.print
        if self._interrupted:
            say()
            say("Stopped. So far:")
        say()
        say("  Milliseconds from one dispatch to the next, by the store's clock:")
        say()
        self._screen.print_measures(self._rows)
        say()
        for line in self._remarks():
            say(f"  {line}")
        early = sum(row.early() for row in self._rows) + len(self._in_pause())
        total = sum(len(tenant.dispatches) for tenant in self._tenants.values())
        if early:
            say(f"  {early} of {total} jobs went before their time.", "bold red")
            return 1
        if not total:
            say("  No job was dispatched.")
            return 1
        say(f"  {total} jobs went, and no tenant was over its rate.", "bold")
        return 0

    def _announce(self) -> None:
        say = self._screen.print
        say(f"SharQ at {self._url}, with a store of its own", "bold")
        say(
            f"{len(RATES)} tenants have more jobs waiting than they may send, and {WORKERS} "
            "workers ask for"
        )
        say(f"jobs every {_POLL * 1000:g} ms, over HTTP.")
        say(f"{' and '.join(MEMBERS)} have one {GROUP}, with {GROUP_RATE}/s together.")
        say("Ctrl-C ends it." if self._screen.live else "Ctrl-C ends it. Jobs a second:")
        say()

    def _enqueue(self, client: Client) -> None:
        """More jobs for each tenant than its limits let go, all at once."""
        jobs = [
            {
                "queue_type": QUEUE_TYPE,
                "queue_id": tenant.name,
                "job_id": f"{tenant.name}-{number}",
                "interval": tenant.limits[0].interval,
                "payload": {"text": f"Message {number} of the {tenant.name}"},
                **({"group": GROUP} if tenant.name in MEMBERS else {}),
            }
            for tenant in self._tenants.values()
            for number in range(self._most_jobs(tenant.name))
        ]
        for at in range(0, len(jobs), _BULK):
            answer = client.call("POST", "/enqueue/", {"jobs": jobs[at : at + _BULK]}).expect(200)
            if any(result["status"] != "queued" for result in answer.body["results"]):
                raise DemoError(f"Not every job was taken: {answer.body['results']}")
        for tenant in self._tenants.values():
            tenant.waiting = self._most_jobs(tenant.name)
        self._group.waiting = sum(self._tenants[name].waiting for name in MEMBERS)

    def _most_jobs(self, name: str) -> int:
        rate = max(RATES[name], NEW_RATE) if name == CHANGED else RATES[name]
        return int(rate * (self._seconds + 2))

    def _work(self) -> None:
        """A worker: ask, note when the job went, finish it; until the demo is over."""
        try:
            with closing(Client(self._url)) as client:
                while not self._over.is_set():
                    answer = client.call("POST", f"/dequeue/{QUEUE_TYPE}/")
                    if answer.status == 404:
                        self._over.wait(_POLL)
                    else:
                        self._handle(client, answer.expect(200))
        except DemoError as error:
            self._failures.append(error)
            self._over.set()

    def _handle(self, client: Client, answer: Answer) -> None:
        job = answer.body
        names = f"{QUEUE_TYPE}/{job['queue_id']}/{job['job_id']}"
        tenant = self._tenants[job["queue_id"]]
        went = _narrowed(client, names, Instant(answer.sent, answer.received))
        tenant.dispatches.append(went)
        tenant.waiting = job["current_queue_length"]
        if tenant.name in MEMBERS:
            self._group.dispatches.append(went)
            self._group.waiting = sum(self._tenants[name].waiting for name in MEMBERS)
        client.call("POST", f"/finish/{names}/", {"lease": job["lease"]}).expect(200)

    def _watch(self, client: Client) -> None:
        """Show the tenants until the time is up; change the limit of one, and pause another."""
        began = time.monotonic()
        shown = 0.0
        while (elapsed := time.monotonic() - began) < self._seconds and not self._over.is_set():
            if elapsed >= self._seconds / 2 and self._ready_for_change():
                self._change_limit(client, elapsed)
            if elapsed >= self._seconds * 0.7 and self._pause is None:
                self._pause_one(client, elapsed)
            if elapsed - shown >= (_DRAW_EVERY if self._screen.live else _LINE_EVERY):
                shown = elapsed
                self._show(elapsed)
            self._over.wait(_LOOK_EVERY)
        if self._screen.live:
            self._show(self._seconds)

    def _ready_for_change(self) -> bool:
        """Between two jobs, far enough from both for the change to show."""
        tenant = self._tenants[CHANGED]
        if len(tenant.limits) > 1 or not tenant.dispatches:
            return False
        return 100 <= _tick() - max(tenant.dispatches[-2:]).latest <= 350

    def _change_limit(self, client: Client, elapsed: float) -> None:
        interval = 1000 // NEW_RATE
        path = f"/interval/{QUEUE_TYPE}/{CHANGED}/"
        answer = client.call("POST", path, {"interval": interval}).expect(200)
        tenant = self._tenants[CHANGED]
        tenant.limits.append(Limit(interval, Instant(answer.sent, answer.received)))
        if not self._screen.live:
            self._screen.print(f"{elapsed:5.1f} s  {self._news()}")

    def _pause_one(self, client: Client, elapsed: float) -> None:
        length = round(self._seconds * 1000 / 8)
        answer = client.call("POST", f"/pause/{QUEUE_TYPE}/{PAUSED}/", {"for": length}).expect(200)
        self._pause = Pause(length, Instant(answer.sent, answer.received))
        if not self._screen.live:
            self._screen.print(f"{elapsed:5.1f} s  {self._newest()}")

    def _show(self, elapsed: float) -> None:
        if not self._screen.live:
            line = self._screen.plain_line(self._rows, _tick())
            self._screen.print(f"{elapsed:5.1f} s  {line}")
            return
        progress = f"  {elapsed:4.1f} s of {self._seconds:g} s"
        if self._pause is not None:
            progress += f"   {self._newest()}"
        elif len(self._tenants[CHANGED].limits) > 1:
            progress += f"   {self._news()}"
        self._screen.show(self._rows, _tick(), progress)

    def _news(self) -> str:
        old, new = self._tenants[CHANGED].limits
        return f"POST /interval/{QUEUE_TYPE}/{CHANGED}/: from {old.rate} to {new.rate}"

    def _newest(self) -> str:
        assert self._pause is not None
        return f"POST /pause/{QUEUE_TYPE}/{PAUSED}/: for {self._pause.length} ms"

    def _in_pause(self) -> list[Instant]:
        """What certainly went while a tenant was paused."""
        return [] if self._pause is None else self._pause.broken_by(self._tenants[PAUSED])

    def _remarks(self) -> Iterator[str]:
        tenant = self._tenants[CHANGED]
        around = tenant.around(tenant.limits[-1]) if len(tenant.limits) > 1 else None
        if around:
            old, new = tenant.limits
            before, after = around
            wait = max(0, before.earliest + old.interval - new.since.latest)
            waited = max(0, after.earliest - new.since.latest)
            yield (
                f"At its change to {new.rate} the {CHANGED} had to wait {wait} ms more; "
                f"it waited {waited} ms."
            )
        if self._pause is not None:
            in_it = len(self._in_pause()) or "no"
            yield f"In the {self._pause.length} ms of its pause {in_it} job of the {PAUSED} went."
        widest = max(
            (each.latest - each.earliest for t in self._tenants.values() for each in t.dispatches),
            default=0,
        )
        if widest:
            yield f"Some instants are known to within {widest} ms only: this machine is busy."


def _narrowed(client: Client, names: str, instant: Instant) -> Instant:
    """The instant of a dispatch, narrowed to one tick by what is left of its lease."""
    earliest, latest = instant
    for _ in range(_ATTEMPTS):
        if earliest == latest:
            break
        answer = client.call("GET", f"/status/{names}/").expect(200)
        age = _LEASE - int(answer.body["lease_expires_in"])
        earliest = max(earliest, answer.sent - age)
        latest = min(latest, answer.received - age)
    if earliest > latest:
        raise DemoError("This machine's clock was set while the demo ran.")
    return Instant(earliest, latest)


def _tick() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    """A server on a free port with an embedded store in `folder`; yields its URL."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SHARQ_")}
    environ["SHARQ_JOB_EXPIRE_INTERVAL"] = str(_LEASE)
    log = folder / "server.log"
    command = [sys.executable, "-P", "-m", "sharq_server", "--port", "0"]
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*command, "--data-dir", str(folder / "data")],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # the terminal's Ctrl-C is for the demo, which then stops it
        )
    assert process.stdout is not None
    try:
        greeting = process.stdout.readline().decode()
        if "http://" not in greeting:
            process.wait()
            raise DemoError(f"The server did not start.\n{log.read_text()}".rstrip())
        yield greeting.split()[-1]
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _parse(arguments: Sequence[str] | None) -> float:
    parser = argparse.ArgumentParser(
        prog="demo", description="Shows tenants that are each held to a rate, alone or together."
    )
    parser.add_argument(
        "--seconds", type=_seconds, default=12.0, metavar="N", help="how long it runs (2 to 600)"
    )
    seconds: float = parser.parse_args(arguments).seconds
    return seconds


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 2 <= value <= 600:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 2 to 600")
    return value


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)  # cleaning up is finished, even after another Ctrl-C
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
