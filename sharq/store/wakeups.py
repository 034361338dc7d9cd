"""Wake-ups: a separate connection on which the store publishes what has become ready.

It is always kept open. Messages published while it was away are lost, so the watcher is told each
time it is subscribed again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple, Protocol, cast

import hiredis

from sharq.errors import StoreDenied, StoreError, StoreFull, StoreUnavailable
from sharq.settings.options import StoreSettings
from sharq.store.backoff import Backoff
from sharq.store.connecting import address, connect
from sharq.store.echo import Echo, RunAt
from sharq.store.errors import store_error
from sharq.store.reconnecting import Finder
from sharq.store.script_loading import pack
from sharq.store.slots import Node, seeds

_log = logging.getLogger(__name__)

_PING: Final = pack(b"PING")
_BEAT: Final = 1.0
# Where other nodes work on, jobs must not wait for what one does not pass on: it is left in 0.9 s.
_BEAT_AMONG_NODES: Final = 0.3
_BEATS_OF_SILENCE: Final = 3
_BEATS_OF_DEAFNESS: Final = 2


class Watcher(Protocol):
    """Gets what the store publishes for this server."""

    def on_wake(self, queue_type: str) -> None:
        """Something of a type is ready, or will be sooner than known."""

    def on_message(self, message: bytes) -> None:
        """Another server has said something, to this one or to all."""

    def on_listening(self) -> None:
        """Wake-ups arrive from now on; earlier ones may have been lost."""

    def on_deaf(self) -> None:
        """Wake-ups no longer arrive: the store may be away."""


class Words(NamedTuple):
    """What is logged when messages no longer arrive (from where, why), and when they do again."""

    lost: str
    again: str


_OF_WAKEUPS: Final = Words("No wake-ups from %s: %s", "Wake-ups arrive again from %s")


class Wakeups:
    """Listens on `channels` and calls `watcher`; belongs to the event loop in which it is started.

    `read` finds the queue type in a wake-up, or returns None for another message. `others` names
    the nodes of a cluster, any of which can be used; a `finder` finds the one where that changes.
    The connection is pinged every `beat` seconds (by default 1, or 0.3 with `run_at`), and closed
    when nothing came for three of them. With `run_at`, which runs a call on a node of a cluster,
    others publish to the first channel as often: a node that hangs passes nothing on, and one that
    is cut off from them answers, and hears nothing. It is left when two were missed in a row.
    `subscribed` tells whether messages arrive. `words` are for the log.
    """

    def __init__(
        self,
        settings: StoreSettings,
        channels: Sequence[bytes],
        read: Callable[[bytes], str | None],
        watcher: Watcher,
        *,
        others: Callable[[], Sequence[Node]] = tuple,
        finder: Finder | None = None,
        run_at: RunAt | None = None,
        words: Words = _OF_WAKEUPS,
        beat: float | None = None,
        connect_timeout: float = 3.0,
    ) -> None:
        self._settings = settings
        self._channels = channels
        self._read = read
        self._watcher = watcher
        self._others = others
        self._echo = None if run_at is None else Echo(run_at, others, channels[0])
        self._beat = beat or (_BEAT if run_at is None else _BEAT_AMONG_NODES)
        self._connect_timeout = connect_timeout
        self._backoff = Backoff()
        self._attempts = 0
        self._state = ""
        self._task: asyncio.Task[None] | None = None
        self._words = words
        self._finder = finder
        self._pause = asyncio.sleep if finder is None else finder.pause
        self._subscription: _Subscription | None = None
        self.subscribed = False

    def start(self) -> None:
        """Begin to connect, in the running event loop."""
        if self._task is None:
            if self._finder is not None:
                self._finder.follow(self._leave)
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def aclose(self) -> None:
        """Close the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def _run(self) -> None:
        while True:
            settings = self._settings
            try:
                settings = self._next_node() if self._finder is None else await self._find()
                await self._listen(settings)
            except _NoConnection as error:
                lasting = not isinstance(error.__cause__, StoreUnavailable)
                await self._pause(self._backoff.slow() if lasting else self._backoff.next())
            except StoreError as error:
                self._tell(self._watcher.on_deaf)
                self._note_trouble(settings, error)
                lasting = not isinstance(error, StoreUnavailable)
                await self._pause(self._backoff.slow() if lasting else self._backoff.next())

    async def _find(self) -> StoreSettings:
        assert self._finder is not None
        try:
            return await self._finder.find()
        except StoreError as error:
            # The link logs that, too.
            raise _NoConnection from error

    def _leave(self, moved: bool) -> None:
        if moved and self._subscription is not None:
            self._subscription.end(StoreUnavailable("Another node is the primary now."))

    def _next_node(self) -> StoreSettings:
        """The store's address; in a cluster the known nodes in turn, the configured ones first."""
        settings = self._settings
        nodes = list(seeds(settings))
        if settings.clustered:
            nodes += [node for node in self._others() if node not in nodes]
        node = nodes[self._attempts % len(nodes)]
        self._attempts += 1
        return replace(settings, host=node.host, port=node.port)

    async def _listen(self, settings: StoreSettings) -> None:
        """Listen until the connection is lost. Raises `StoreError`."""
        subscription = _Subscription(self._channels, self._on_message)
        self._subscription = subscription
        try:
            await self._connect(settings, subscription)
            async with asyncio.timeout(self._connect_timeout):
                await subscription.subscribed
            self._attempts -= 1
            if self._state:
                _log.info(self._words.again, address(settings))
            self._state = ""
            self.subscribed = True
            self._tell(self._watcher.on_listening)
            await self._watch(subscription, Node(settings.host, settings.port))
        except TimeoutError as error:
            raise StoreUnavailable("The store does not confirm the subscription.") from error
        finally:
            self.subscribed = False
            if self._echo is not None:
                self._echo.end()
            subscription.abort()

    async def _connect(self, settings: StoreSettings, subscription: _Subscription) -> None:
        try:
            await connect(settings, subscription, self._connect_timeout)
        except StoreError as error:
            # The link logs that, too.
            _log.debug(self._words.lost, address(settings), error)
            raise _NoConnection from error

    async def _watch(self, subscription: _Subscription, node: Node) -> None:
        silent = deaf = 0
        while True:
            subscription.ping()
            if self._echo is not None:
                self._echo.send((node, subscription.peer))
            await asyncio.wait({subscription.lost}, timeout=self._beat)
            if subscription.lost.done():
                subscription.lost.result()
            if self._echo is not None:
                deaf = deaf + 1 if self._echo.missed() else 0
            if subscription.heard:
                self._backoff.reset()
            silent = 0 if subscription.heard else silent + 1
            subscription.heard = False
            if silent == _BEATS_OF_SILENCE or deaf == _BEATS_OF_DEAFNESS:
                # The next attempt is at another node.
                self._attempts += 1
                if silent:
                    raise StoreUnavailable("Nothing is heard of the store.")
                raise StoreUnavailable("Nothing arrives of what other nodes publish.")

    def _on_message(self, message: bytes) -> None:
        if self._echo is not None and self._echo.takes(message):
            return
        queue_type = self._read(message)
        if queue_type is not None:
            self._tell(self._watcher.on_wake, queue_type)
        else:
            self._tell(self._watcher.on_message, message)

    def _tell(self, method: Callable[..., None], *arguments: str | bytes) -> None:
        try:
            method(*arguments)
        except Exception:
            _log.exception("A bug in the handling of a wake-up")

    def _note_trouble(self, settings: StoreSettings, error: StoreError) -> None:
        state = type(error).__name__
        if state != self._state:
            self._state = state
            level = logging.INFO if isinstance(error, StoreUnavailable) else logging.ERROR
            reason = error.__cause__ if isinstance(error, StoreDenied) else error
            _log.log(level, self._words.lost, address(settings), reason or error)


class _NoConnection(Exception):
    """No connection could be opened; the cause tells why."""


class _Subscription(asyncio.Protocol):
    """One connection that listens; `subscribed` when the store has confirmed it.

    `lost` is done, with a `StoreError`, when it is over. `heard` is set whenever something arrives.
    """

    def __init__(self, channels: Sequence[bytes], on_message: Callable[[bytes], None]) -> None:
        loop = asyncio.get_running_loop()
        self.subscribed: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.heard = False
        self._channels = channels
        self._unconfirmed = len(channels)
        self._on_message = on_message
        self._reader = hiredis.Reader()
        self._connected = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Other loops have transports that are not subclasses of it.
        self._transport = cast(asyncio.Transport, transport)
        self._connected = True
        self._transport.write(pack(b"SUBSCRIBE", *self._channels))

    @property
    def peer(self) -> Node | None:
        """The address that it is connected to; None if it is none of the network."""
        address = self._transport.get_extra_info("peername")
        return Node(*address[:2]) if isinstance(address, tuple) else None

    def ping(self) -> None:
        """Ask for a sign of life."""
        if not self._transport.is_closing():
            self._transport.write(_PING)

    def abort(self) -> None:
        """Close at once."""
        if self._connected:
            self._transport.abort()
        self.end(StoreUnavailable("The connection is closed."))
        for future in (self.subscribed, self.lost):
            if not future.cancelled():
                future.exception()

    def data_received(self, data: bytes) -> None:
        self.heard = True
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                self._on_reply(reply)
        except hiredis.ProtocolError as error:
            self._transport.abort()
            self.end(StoreUnavailable(f"The store's answer cannot be read: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.end(
            StoreUnavailable(f"The connection was lost: {exc or 'the store closed the connection'}")
        )

    def _on_reply(self, reply: Any) -> None:
        if isinstance(reply, hiredis.ReplyError):
            error = store_error(str(reply))
            # A store that cannot write to its disk refuses even pings, but still publishes.
            if not isinstance(error, StoreFull):
                self._transport.abort()
                self.end(error)
        elif isinstance(reply, list) and len(reply) == 3:
            if reply[0] == b"message":
                self._on_message(reply[2])
            elif reply[0] == b"subscribe":
                self._unconfirmed -= 1
                if not self._unconfirmed and not self.subscribed.done():
                    self.subscribed.set_result(None)

    def end(self, error: StoreError) -> None:
        """Note that it is over, because of `error`."""
        for future in (self.subscribed, self.lost):
            if not future.done():
                future.set_exception(error)
