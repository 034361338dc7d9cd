"""Everybody who watches on this server: looked at once a second for all, and told differences."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from sharq.errors import StoreError
from sharq.settings.tokens import Grant
from sharq_server.watch import frames
from sharq_server.watch.looks import Reach
from sharq_server.watch.merging import Data, patch
from sharq_server.watch.topics import TYPES, WORKERS, Topic

_log = logging.getLogger(__name__)

_EVERY: Final = 1.0
MOST_UNREAD: Final = 256 * 1024
"""Bytes that a viewer has not read when it is left out."""


class Viewer(Protocol):
    """A connection that watches."""

    @property
    def grant(self) -> Grant: ...
    @property
    def unread(self) -> int: ...

    def send(self, text: bytes) -> None:
        """Send a frame."""


class Looking(Protocol):
    async def look(self, topic: Topic, reach: Reach) -> Data:
        """What a topic shows now. Raises `StoreError`."""

    def forget(self, topics: set[Topic]) -> None:
        """Only these are still watched."""


@dataclass(slots=True)
class _View:
    """A topic as those see it who reach the same types.

    `viewers` tells of each whether it has got what was `shown` last, `trouble` why there is nothing
    new. `due`: when to look again. `looked`: whether there was a look.
    """

    viewers: dict[Viewer, bool] = field(default_factory=dict)
    shown: Data | None = None
    trouble: StoreError | None = None
    due: float = 0.0
    looked: asyncio.Event = field(default_factory=asyncio.Event)


class Viewing:
    """The viewers of this process. It works while there are any, in the running event loop.

    A topic is looked at when somebody begins to watch it, and then `every` so many seconds.
    """

    def __init__(self, looks: Looking, every: float = _EVERY) -> None:
        self._looks = looks
        self._every = every
        self._views: dict[tuple[Topic, Reach], _View] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def watch(self, viewer: Viewer, topics: Sequence[Topic]) -> None:
        """Let a viewer watch these topics, and nothing else. It gets the whole of each first."""
        wanted = [
            (topic, viewer.grant.queue_types if topic.kind in (TYPES, WORKERS) else None)
            for topic in topics
        ]
        for name in wanted:
            view = self._views.setdefault(name, _View())
            view.viewers[viewer] = False
            if view.trouble is not None:
                viewer.send(_problem(name[0], view.trouble))
            elif view.shown is not None:
                self._tell(str(name[0]), view, view.shown, only=viewer)
        self._remove(viewer, besides=wanted)
        self._changed.set()
        if self._views and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def shown(self, topic: Topic) -> Data | None:
        """What a topic shows that somebody watches who reaches all types, after the first look.

        None if nobody watches it, or there is nothing new, since the store does not answer.
        """
        view = self._views.get((topic, None))
        if view is None:
            return None
        await view.looked.wait()
        return view.shown if view.trouble is None else None

    def leave(self, viewer: Viewer) -> None:
        """A viewer has gone."""
        if self._views:
            self._remove(viewer)
            self._changed.set()

    async def close(self) -> None:
        """Look no more."""
        self._views.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _remove(self, viewer: Viewer, besides: Sequence[tuple[Topic, Reach]] = ()) -> None:
        for name, view in list(self._views.items()):
            if name not in besides:
                view.viewers.pop(viewer, None)
                if not view.viewers:
                    del self._views[name]

    async def _run(self) -> None:
        try:
            while self._views:
                self._changed.clear()
                await self._look_at_due()
                self._looks.forget({topic for topic, _ in self._views})
                if not self._views:
                    break
                pause = min(view.due for view in self._views.values()) - self._now()
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, pause)):
                        await self._changed.wait()
        finally:
            self._task = None
            self._looks.forget(set())

    async def _look_at_due(self) -> None:
        for (topic, reach), view in list(self._views.items()):
            if view.due <= self._now() and view.viewers:
                view.due = self._now() + self._every
                await self._look(topic, reach, view)

    async def _look(self, topic: Topic, reach: Reach, view: _View) -> None:
        try:
            data = await self._looks.look(topic, reach)
        except StoreError as error:
            self._tell_trouble(topic, view, error)
        except Exception:
            _log.exception("A bug in the look at %s", topic)
        else:
            former, view.shown, view.trouble = view.shown, data, None
            self._tell(str(topic), view, data, former)
        view.looked.set()

    def _tell(
        self,
        topic: str,
        view: _View,
        data: Data,
        former: Data | None = None,
        only: Viewer | None = None,
    ) -> None:
        """Tell all viewers, or one; who knows the `former` data gets the difference."""
        whole = changes = None
        for viewer in list(view.viewers) if only is None else (only,):
            if viewer.unread > MOST_UNREAD:
                view.viewers[viewer] = False
            elif view.viewers[viewer] and former is not None:
                if changes is None:
                    changes = patch(former, data)
                if changes:
                    viewer.send(frames.changes(topic, changes))
            else:
                whole = whole or frames.whole(topic, data)
                view.viewers[viewer] = True
                viewer.send(whole)

    def _tell_trouble(self, topic: Topic, view: _View, error: StoreError) -> None:
        """Tell each viewer once; it gets the whole when the store is back."""
        for viewer, knows in list(view.viewers.items()):
            if knows or view.trouble is None:
                viewer.send(_problem(topic, error))
            view.viewers[viewer] = False
        view.trouble = error

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _problem(topic: Topic, error: StoreError) -> bytes:
    return frames.problem(str(topic), error.code, error.message)
