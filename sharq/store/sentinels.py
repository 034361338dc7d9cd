"""Follows the primary that sentinels name, in an event loop.

The sentinels are asked whenever a connection is needed, and every few seconds; and they are
listened to, since a former primary goes on accepting writes for seconds after a promotion.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from hiredis import ReplyError

from sharq.errors import StoreError, StoreUnavailable
from sharq.operations.call import Call
from sharq.results import Watch
from sharq.settings.options import StoreSettings
from sharq.store.asking import ask_all
from sharq.store.connecting import address
from sharq.store.query import ask
from sharq.store.reconnecting import forget
from sharq.store.sentinel import (
    ASK_TIMEOUT,
    EVENTS,
    GRACE,
    HOLD,
    IS_PRIMARY,
    LOOK_INTERVAL,
    PROBE_INTERVAL,
    Opinion,
    Told,
    at_node,
    at_sentinel,
    candidate,
    named,
    questions,
    survey,
    told,
    unanswered,
)
from sharq.store.slots import Node
from sharq.store.wakeups import Wakeups, Words

_log = logging.getLogger("sharq.sentinel")

_OF_EVENTS: Final = Words("No events from %s: %s", "Events arrive again from %s")

Follower = Callable[[bool], None]
"""Is told to leave the former primary: False if another one is about to be promoted, True if it is
another one now."""


class Sentinels:
    """The primary of a service, as its sentinels say; belongs to the event loop that it starts in.

    `known` is how the primary is reached, None before the first answer.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self.check: Call[Any] = IS_PRIMARY
        self.known: StoreSettings | None = None
        self._settings = settings
        self._service = settings.sentinel_service or ""
        self._addresses = tuple(dict.fromkeys(settings.sentinels))
        self._opinion = Opinion(len(self._addresses))
        self._followers: list[Follower] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._listeners: list[Wakeups] = []
        self._looking: asyncio.Task[StoreSettings] | None = None
        self._promoting: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()
        self._silent = False

    def start(self) -> None:
        """Begin to listen to the sentinels, and to ask them at intervals."""
        if self._listeners:
            return
        for each in self._addresses:
            place = at_sentinel(self._settings, each)
            listener = Wakeups(place, EVENTS, lambda _: None, self, words=_OF_EVENTS)
            listener.start()
            self._listeners.append(listener)
        self._begin(self._look_at_intervals())

    async def aclose(self) -> None:
        """Stop all of it."""
        listeners, self._listeners = self._listeners, []
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for listener in listeners:
            await listener.aclose()

    def follow(self, follower: Follower) -> None:
        """Tell `follower` from now on when the primary has to be left."""
        self._followers.append(follower)

    async def find(self) -> StoreSettings:
        """Ask the sentinels, and return how the primary is reached.

        If a replica is being promoted, that is waited for. If no sentinel answers, the last known
        primary is the answer. Raises `StoreError` if there is none.
        """
        while True:
            if self._promoting is not None:
                await asyncio.wait({self._promoting})
            try:
                place = await asyncio.shield(self._look_once())
            except StoreError as error:
                # Several may wait for the same look.
                raise type(error)(str(error)) from error.__cause__
            if self._promoting is None:
                return place

    async def survey(self) -> Watch:
        """What all sentinels say."""
        return survey(self._service, await self._ask_all(ASK_TIMEOUT), self.known)

    async def pause(self, delay: float) -> None:
        """Sleep for `delay` seconds, or until another primary is known."""
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._moved.wait()

    # What a listener is told

    def on_wake(self, _queue_type: str) -> None:
        """Not used: no event is a wake-up."""

    def on_message(self, message: bytes) -> None:
        """A sentinel has an event."""
        node = candidate(message, self._service)
        if node is None:
            self._look_once()
        elif node != self._opinion.node and self._promoting is None:
            self._promoting = self._begin(self._wait_for_promotion(node))
            self._promoting.add_done_callback(self._promoted)
            if self.known is not None:
                _log.info(
                    "The sentinels promote %s; the store at %s is left",
                    address(at_node(self._settings, node)),
                    address(self.known),
                )
            self._tell(False)

    def on_listening(self) -> None:
        """Events may have been missed."""
        self._look_once()

    def on_deaf(self) -> None:
        """Not used: the looks go on."""

    # Inside

    def _begin(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _look_once(self) -> asyncio.Task[StoreSettings]:
        if self._looking is None:
            self._looking = self._begin(self._look())
            self._looking.add_done_callback(self._looked)
        return self._looking

    def _looked(self, looking: asyncio.Task[StoreSettings]) -> None:
        self._looking = None
        forget(looking)

    def _promoted(self, promoting: asyncio.Task[None]) -> None:
        self._promoting = None
        forget(promoting)

    async def _look_at_intervals(self) -> None:
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            try:
                await self.find()
            except StoreError:
                continue

    async def _look(self) -> StoreSettings:
        said = await self._ask_all(GRACE)
        answers = named(said)
        self._opinion.hear(answers, asyncio.get_running_loop().time())
        if self._opinion.node is None:
            raise unanswered(said)
        if not answers and not self._silent and self.known is not None:
            _log.warning(
                "The store at %s is used as before, though %s",
                address(self.known),
                unanswered(said).__cause__,
            )
        self._silent = not answers
        return self._settle(self._opinion.node)

    async def _ask_all(self, grace: float) -> dict[str, Told | StoreError]:
        """Ask all at once; when one has answered, the others are waited for `grace` seconds."""
        silent = StoreUnavailable("no answer")
        said: dict[str, Told | StoreError] = dict.fromkeys(self._addresses, silent)
        asking = {each: self._ask(each) for each in self._addresses}
        return said | await ask_all(asking, _names, timeout=ASK_TIMEOUT, grace=grace)

    async def _ask(self, sentinel: str) -> Told | StoreError:
        try:
            place = at_sentinel(self._settings, sentinel)
            replies = await ask(place, questions(self._settings), ASK_TIMEOUT)
            return told(replies, self._service)
        except StoreError as error:
            return error

    async def _wait_for_promotion(self, node: Node) -> None:
        """Wait until a node that is being promoted says itself that it is a primary."""
        loop = asyncio.get_running_loop()
        until = loop.time() + HOLD
        place = at_node(self._settings, node)
        former = self._opinion.node
        while loop.time() < until and self._opinion.node == former:
            if await self._is_primary(place):
                self._opinion.promoted(node, loop.time())
                break
            await asyncio.sleep(PROBE_INTERVAL)
        if self._opinion.node is not None:
            self._settle(self._opinion.node)

    async def _is_primary(self, place: StoreSettings) -> bool:
        try:
            async with asyncio.timeout(ASK_TIMEOUT):
                (reply,) = await ask(place, [IS_PRIMARY], ASK_TIMEOUT)
            if isinstance(reply, ReplyError):
                return False
            IS_PRIMARY.parse(reply)
        except (StoreError, TimeoutError):
            return False
        return True

    def _settle(self, node: Node) -> StoreSettings:
        """Take a node for the primary; whoever uses another one leaves it."""
        place = at_node(self._settings, node)
        former = self.known
        if place == former:
            return former
        self.known = place
        if former is not None:
            _log.warning(
                "The primary of `%s` is now at %s, before at %s",
                self._service,
                address(place),
                address(former),
            )
            self._moved.set()
            self._moved = asyncio.Event()
            self._tell(True)
        return place

    def _tell(self, moved: bool) -> None:
        for follower in self._followers:
            follower(moved)


def _names(answer: Told | StoreError) -> bool:
    return isinstance(answer, Told)
