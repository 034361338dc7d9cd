"""The command `sharq-server`: from settings to sockets, the store and processes."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, Final, NamedTuple, NoReturn

from sharq import EmbeddedStore, ServerLock, __version__
from sharq.errors import ConfigError, EmbeddedStoreError
from sharq.settings.kinds import UNIX_PREFIX
from sharq.settings.options import EMBEDDED
from sharq.settings.reading import Settings
from sharq_server import options, preflight
from sharq_server.http.access_log import AccessLog
from sharq_server.http.listener import BACKLOG
from sharq_server.process import event_loop, init, notify
from sharq_server.process.listening import CannotListen, Listening, is_unix
from sharq_server.process.notify import Tell
from sharq_server.process.serving import GRACE, Process
from sharq_server.process.workers import Supervisor
from sharq_server.security import descriptors
from sharq_server.security.certificates import Certificate
from sharq_server.security.credentials import Credentials
from sharq_server.service import SharQServer
from sharq_server.telemetry.cells import Memory
from sharq_server.ui import dashboard

_log = logging.getLogger(__name__)

_WILDCARDS: Final = ("0.0.0.0", "::")

_GRACE: Final = GRACE + 10.0
"""Seconds after which a worker that does not stop is killed: requests, then the store's answers."""


class _Failure(Exception):
    """The server cannot start; the message is all that its user needs to know."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; the exit code is 2 for an invalid configuration, 1 for any other failure."""
    code = init.fork_if_first()
    if code is not None:
        return code
    signal.signal(signal.SIGTERM, _interrupt)
    # Until the loop handles the signal there is no log to reopen.
    signal.signal(signal.SIGHUP, lambda _number, _frame: None)
    try:
        return _run(arguments)
    except ConfigError as error:
        return _fail(str(error), 2)
    except EmbeddedStoreError as error:
        return _fail(str(error), 1)
    except _Failure as error:
        return _fail(str(error), error.code)
    except KeyboardInterrupt:
        return 0


def _run(arguments: Sequence[str] | None) -> int:
    given = options.read(arguments, os.environ)
    settings = given.settings
    if given.print_config:
        print(*preflight.config_lines(settings, given.origins), sep="\n")
        return 0
    if given.check:
        logging.basicConfig(format="sharq-server: %(message)s", stream=sys.stderr)
        return _tell(preflight.check(given))
    _set_up_logging()
    tell = notify.to_manager(os.environ)
    # Their errors are reported before anything starts.
    server = settings.server
    credentials = Credentials(server.token_file, server.tokens, quiet=True)
    if settings.server.tls_certificate is not None:
        Certificate(settings.server.tls_certificate, settings.server.tls_key)
    options.check_exposure(settings.server.host, given.insecure or credentials.needed)
    descriptors.raise_limit()
    with ExitStack() as held:
        access_log = _open_access_log(settings)
        listening = _listen(settings)
        held.callback(listening.remove_files)
        held.callback(listening.close)
        store = None
        if settings.redis.conn_type == EMBEDDED:
            store = held.enter_context(_embedded_store(settings))
        _greet(settings, listening)
        if settings.server.workers == 1:
            return event_loop.run(_serve(settings, listening, access_log, tell=tell))
        return _supervise(settings, listening, access_log, store, tell)


class _Slot(NamedTuple):
    """Where a process counts, of several."""

    memory: Memory | None = None
    number: int = 0


_ONLY_SLOT: Final = _Slot()


async def _serve(
    settings: Settings,
    listening: Listening,
    access_log: AccessLog | None,
    slot: _Slot = _ONLY_SLOT,
    **how: Any,
) -> int:
    process = Process(
        lambda: SharQServer(settings, access_log, memory=slot.memory, index=slot.number),
        listening.sockets,
        access_log,
        stop_delay=settings.server.stop_delay / 1000,
        **how,
    )
    return await process.run()


def _supervise(
    settings: Settings,
    listening: Listening,
    access_log: AccessLog | None,
    store: EmbeddedStore | None,
    tell: Tell,
) -> int:
    memory = Memory(settings.server.workers)

    def work(index: int, lifeline: int, report: Callable[[], None]) -> int:
        def tell_parent(state: str) -> None:
            if state == notify.READY:
                report()

        try:
            how = {"upkeep": index == 0, "lifeline": lifeline, "tell": tell_parent}
            slot = _Slot(memory, index)
            return event_loop.run(_serve(settings, listening, access_log, slot, **how))
        finally:
            # The worker's share in the parent's hold: if the parent is killed, the last worker is
            # the last user.
            if store is not None:
                try:
                    store.leave()
                except EmbeddedStoreError as error:
                    _log.warning("%s", error)

    def stop() -> None:
        tell(notify.STOPPING)
        listening.close()

    def hang_up() -> None:
        tell(notify.reloading())
        if access_log is not None:
            access_log.reopen()

    supervisor = Supervisor(
        settings.server.workers,
        work,
        on_ready=lambda: tell(notify.READY),
        on_stop=stop,
        on_hangup=hang_up,
        on_end=lambda index: memory.slot(index).clear_gauges(),
        grace=_GRACE + settings.server.stop_delay / 1000,
    )
    return supervisor.run()


@contextmanager
def _embedded_store(settings: Settings) -> Iterator[EmbeddedStore]:
    """The right to serve the data folder, and a hold on its store, taken before workers."""
    lock = ServerLock.take(settings.redis.data_dir)
    try:
        folder, appendfsync = settings.redis.data_dir, settings.redis.appendfsync
        with EmbeddedStore.join(folder, appendfsync=appendfsync) as store:
            yield store
    finally:
        lock.release()


def _listen(settings: Settings) -> Listening:
    server = settings.server
    try:
        return Listening(server.host, server.port, int(server.socket_mode, 8), BACKLOG)
    except CannotListen as error:
        raise _Failure(str(error)) from None


def _open_access_log(settings: Settings) -> AccessLog | None:
    path = settings.server.accesslog
    if path is None:
        return None
    try:
        return AccessLog(path)
    except OSError as error:
        raise _Failure(f"The access log {path} cannot be opened: {error.strerror}.", 2) from None


def _greet(settings: Settings, listening: Listening) -> None:
    """Print where the server listens, the place of the data, and commands to try."""
    scheme = "http" if settings.server.tls_certificate is None else "https"
    places = [_shown(scheme, place, listening.port) for place in listening.places]
    everywhere = [place for place in listening.places if place in _WILDCARDS]
    others = f"\nand on all other addresses ({', '.join(everywhere)})" if everywhere else ""
    curl, url = "curl", places[0]
    if is_unix(url):
        curl += f" --unix-socket {shlex.quote(url.removeprefix(UNIX_PREFIX))}"
        url = f"{scheme}://localhost"
    if settings.server.token_file is not None or settings.server.tokens is not None:
        curl += ' -H "Authorization: Bearer $SHARQ_TOKEN"'
    url += settings.server.base_path or ""
    # A browser does not reach a unix socket.
    has_page = settings.server.ui != dashboard.OFF and not is_unix(places[0])
    page = f"Dashboard: {url}/ui/\n" if has_page else ""
    job = '{"job_id": "job-1", "interval": 1000, "payload": {"message": "Hello"}}'
    print(
        f"SharQ {__version__} listens on " + "\nand on ".join(places) + f"{others}\n"
        f"{_whereabouts(settings)}\n"
        f"{page}"
        "Try it:\n"
        f"  {curl} -X POST {url}/enqueue/hello/queue-1/ -d '{job}'\n"
        f"  {curl} -X POST {url}/dequeue/hello/\n"
        f"  {curl} -X POST {url}/finish/hello/queue-1/job-1/",
        flush=True,
    )


def _shown(scheme: str, place: str, port: int) -> str:
    """A place as a client needs it: a URL, or the path of a unix socket."""
    if is_unix(place):
        return place
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(place, place)
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _whereabouts(settings: Settings) -> str:
    store = settings.redis
    if store.conn_type == EMBEDDED:
        return f"The data is in {store.data_dir}"
    return f"The data is in the store at {store.described}"


def _tell(report: preflight.Report) -> int:
    """Print what was found; the exit code."""
    if not report.bad:
        print(*report.good, sep="\n")
    for line in (*report.notes, *report.bad):
        print(f"sharq-server: {line}", file=sys.stderr)
    return 2 if report.bad else 0


def _set_up_logging() -> None:
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s",
    )


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _fail(message: str, code: int) -> int:
    for line in message.splitlines():
        print(f"sharq-server: {line}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
