"""A connection to a server's push channel over which topics are watched, and kept up."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from sharq.cli.problems import NoAnswer, Refused
from sharq.cli.rest import Channel
from sharq.cli.watched import Data, Watched
from sharq.cli.words import visible
from sharq.worker import socket as sockets
from sharq.worker.frames import PROTOCOL, encode
from sharq.worker.socket import Socket

_PAUSES: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between two tries to connect; the last one stays."""

_PING_EVERY: Final = 10.0
_SILENT_AFTER: Final = 25.0
"""Seconds without a word, after which a connection is given up."""

_PASSING: Final = frozenset(
    ("store_unavailable", "store_full", "store_auth", "stopping", "overloaded", "internal")
)
"""Codes of errors that are over some time."""

_INVALID: Final = "invalid_argument"
_FORBIDDEN: Final = "forbidden"
_WORDS: Final = {401: "unauthorized", 403: "forbidden", 404: "not_found", 426: "upgrade_required"}
_FIRST_ERROR: Final = 500


class Watcher:
    """Watches topics over a connection that is made again when it is lost.

    `on_news` is called whenever there is something new to show; `watched` takes what is told.
    `trouble` says why there is no connection, None while there is one.
    """

    def __init__(
        self, channel: Channel, on_news: Callable[[], None], watched: Watched | None = None
    ) -> None:
        self.watched = watched or Watched()
        self.trouble: str | None = None
        self._channel = channel
        self._on_news = on_news
        self._socket: Socket | None = None
        self._resting = False
        self._asked = 0
        self._heard_at = 0.0
        self._refused: asyncio.Future[None] | None = None

    def watch(self, topics: Iterable[str]) -> None:
        """Watch these topics, in the place of those before."""
        self.watched.want(topics)
        self._ask()

    def rest(self) -> None:
        """Watch nothing for a while; what is known stays. `go_on` ends it."""
        self._resting = True
        self._say([])

    def go_on(self) -> None:
        """Watch again what was watched before `rest`."""
        self._resting = False
        self._ask()

    async def run(self) -> None:
        """Keep the connection up, without end.

        Raises `Refused` if the server says no, and `NoAnswer` if the first connection cannot be
        made.
        """
        tries = 0
        reached = False
        while True:
            try:
                async with asyncio.timeout(self._channel.timeout):
                    socket = await self._connect()
                reached, tries, self.trouble = True, 0, None
                self._on_news()
                await self._serve(socket)
                reason = "the server closes the connection"
            except sockets.Refused as refused:
                if refused.status < _FIRST_ERROR:
                    raise _of_refusal(refused) from None
                reason = str(refused)
            except TimeoutError:
                reason = "it took too long"
            except OSError as error:
                reason = _reason_of(error)
            if not reached:
                raise NoAnswer(f"No answer from {self._channel.url}: {visible(reason)}.")
            self.trouble = reason
            self._on_news()
            await asyncio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
            tries += 1

    async def _connect(self) -> Socket:
        channel = self._channel
        headers = {"Sec-WebSocket-Protocol": PROTOCOL, **channel.headers}
        socket = await Socket.connect(channel.url, headers, channel.tls)
        try:
            if _event(await socket.first_text()).get("event") != "welcome":
                raise ConnectionError("the server does not speak sharq.v1.json")
        except BaseException:
            socket.abort()
            raise
        return socket

    async def _serve(self, socket: Socket) -> None:
        """Watch over a connection until it ends."""
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        self._refused = loop.create_future()
        self._socket = socket
        socket.listen(self._on_text)
        self._ask()
        try:
            while not socket.closed.done():
                ends: list[asyncio.Future[Any]] = [socket.closed, self._refused]
                await asyncio.wait(ends, timeout=_PING_EVERY, return_when=asyncio.FIRST_COMPLETED)
                if self._refused.done():
                    self._refused.result()
                if loop.time() - self._heard_at > _SILENT_AFTER:
                    raise ConnectionError("the server is silent")
                socket.send(encode({"op": "ping"}))
        finally:
            self._socket = None
            socket.close()
            socket.abort()

    def _ask(self) -> None:
        self.watched.begin()
        if self.watched.topics and not self._resting:
            self._say(self.watched.topics)

    def _say(self, topics: Iterable[str]) -> None:
        if self._socket is not None:
            self._asked += 1
            frame = {"op": "watch", "id": self._asked, "topics": list(topics)}
            self._socket.send(encode(frame))

    def _on_text(self, text: bytes) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        event = _event(text)
        kind = event.get("event")
        problem = event.get("problem")
        if problem is not None and problem["code"] == _FORBIDDEN:
            # Of several topics one is refused alone: who asks here wants all of them.
            self._on_error(_FORBIDDEN, str(problem["message"]))
        elif kind == "watch" and not self._resting:
            if not self.watched.take(event):
                self._ask()
            self._on_news()
        elif kind == "error" and event.get("id") == self._asked:
            self._on_error(str(event.get("code")), str(event.get("message")))

    def _on_error(self, code: str, message: str) -> None:
        told = f"{visible(message).rstrip('.')} ({visible(code)})"
        assert self._refused is not None
        if self._refused.done():
            return
        if code in _PASSING:
            self._refused.set_exception(ConnectionError(told))
        elif code == _INVALID and "`op`" in message:
            told = f"The server knows no `watch`: it is older than this command ({code})."
            self._refused.set_exception(Refused(told, 0, code))
        else:
            needs = " The operation `metrics` is needed." if code == _FORBIDDEN else ""
            self._refused.set_exception(Refused(f"{told}.{needs}", 0, code))


async def either(news: asyncio.Event, watching: asyncio.Future[None]) -> None:
    """Wait for news, or for the end of a watch: raises what has ended it."""
    ends: list[asyncio.Future[Any]] = [asyncio.ensure_future(news.wait()), watching]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ends[0].cancel()
    if watching.done():
        watching.result()


async def end(watching: asyncio.Future[None]) -> None:
    """End a watch, whatever has become of it."""
    watching.cancel()
    with suppress(asyncio.CancelledError, Refused, NoAnswer):
        await watching


async def look(channel: Channel, topics: Iterable[str]) -> dict[str, Data]:
    """What is told of topics now. Raises `Refused` and `NoAnswer`."""
    news = asyncio.Event()
    watcher = Watcher(channel, news.set)
    watcher.watch(topics)
    watching = asyncio.ensure_future(watcher.run())
    try:
        async with asyncio.timeout(channel.timeout):
            while not watcher.watched.complete:
                await either(news, watching)
                news.clear()
                problem = next(iter(watcher.watched.problems.values()), watcher.trouble)
                if problem is not None:
                    raise NoAnswer(f"{visible(problem).rstrip('.')}.")
    except TimeoutError:
        raise NoAnswer(f"No answer from {channel.url}: it took too long.") from None
    finally:
        await end(watching)
    return watcher.watched.data


def _event(text: bytes) -> dict[str, Any]:
    try:
        event = json.loads(text)
    except ValueError:
        event = None
    return event if isinstance(event, dict) else {}


def _of_refusal(refused: sockets.Refused) -> Refused:
    word = _WORDS.get(refused.status, "error")
    said = (
        visible(refused.message).rstrip(".") if refused.ours else "The server has no push channel"
    )
    message = f"{said} ({refused.status} {word})."
    if word == "unauthorized":
        message += " A token is given by SHARQ_TOKEN or --token."
    return Refused(message, refused.status, word)


def _reason_of(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return getattr(error, "verify_message", "") or str(error.reason or error)
    if isinstance(error, ConnectionError) and error.errno:
        # What asyncio says names the address once more.
        return os.strerror(error.errno)
    return (error.strerror or str(error)).rstrip(".")
