"""Those who tail types on this server: told once a second what all servers have handed out.

The server of a viewer calls all servers through the store, and each that has handed something out
answers. Nobody calls while nobody tails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from sharq.errors import StoreError
from sharq_server.watch import frames
from sharq_server.watch.calling import Calling, Tell
from sharq_server.watch.tail import Tail, Tailed
from sharq_server.watch.topics import TAIL, Topic
from sharq_server.watch.viewing import MOST_UNREAD, Viewer

_EVERY: Final = 1.0
_ANSWERS_IN: Final = 0.2
"""The part of a round that is left for the answers to a call; later ones are told in the next."""


@dataclass(slots=True)
class _View:
    """A type that is tailed here. `viewers` tells how many jobs each could not be told, `troubled`
    has those who know that the store is away; `came` is what other servers have told.
    """

    viewers: dict[Viewer, int] = field(default_factory=dict)
    troubled: set[Viewer] = field(default_factory=set)
    came: Tailed = field(default_factory=Tailed)


class Tailing(Calling[dict[str, Tailed]]):
    """The viewers of this process. It works while there are any, in the running event loop.

    `tail` has what this server hands out; the others are asked for what they do, of types. A round
    takes `every` so many seconds.
    """

    def __init__(
        self,
        server_id: str,
        tail: Tail,
        tell: Tell,
        every: float = _EVERY,
    ) -> None:
        super().__init__(server_id, tell, b"!+", dict[str, Tailed])
        self._tail = tail
        self._every = every
        self._views: dict[str, _View] = {}
        self._due = 0.0
        self._task: asyncio.Task[None] | None = None

    def watch(self, viewer: Viewer, queue_types: Collection[str]) -> None:
        """Let a viewer tail these types, and no others; of each it is told at once."""
        for queue_type in queue_types:
            self._views.setdefault(queue_type, _View()).viewers.setdefault(viewer, 0)
            viewer.send(_frame(queue_type, Tailed()))
        self._remove(viewer, besides=queue_types)
        self._tail.follow(self._server_id, [*queue_types])
        if self._views and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def leave(self, viewer: Viewer) -> None:
        """A viewer has gone."""
        self._remove(viewer)

    async def close(self) -> None:
        """Tell no more."""
        self._views.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _answer(self, asker: str, words: Sequence[str]) -> dict[str, Tailed]:
        self._tail.follow(asker, words)
        found = {name: self._tail.found(asker, name) for name in words}
        return {name: tailed for name, tailed in found.items() if tailed}

    def _take(self, answer: dict[str, Tailed]) -> None:
        for queue_type, tailed in answer.items():
            view = self._views.get(queue_type)
            if view is not None:
                view.came = view.came.joined(tailed)

    def _remove(self, viewer: Viewer, besides: Collection[str] = ()) -> None:
        for queue_type, view in list(self._views.items()):
            if queue_type not in besides:
                view.viewers.pop(viewer, None)
                view.troubled.discard(viewer)
                if not view.viewers:
                    del self._views[queue_type]

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            # Also where viewers come and go all the time there is one call a second.
            await asyncio.sleep(self._due - loop.time())
            while self._views:
                self._due = loop.time() + self._every
                trouble = await self._call()
                await asyncio.sleep(_ANSWERS_IN * self._every)
                for queue_type, view in list(self._views.items()):
                    self._show(queue_type, view, trouble)
                await asyncio.sleep(self._due - loop.time())
        finally:
            self._task = None

    async def _call(self) -> StoreError | None:
        """Ask all servers to follow, and for what they have; the failure of the store, if any."""
        queue_types = [*self._views]
        self._tail.follow(self._server_id, queue_types)
        try:
            await self._ask(queue_types)
        except StoreError as error:
            return error
        return None

    def _show(self, queue_type: str, view: _View, trouble: StoreError | None) -> None:
        found = view.came.joined(self._tail.found(self._server_id, queue_type))
        view.came = Tailed()
        text = _frame(queue_type, found)
        for viewer, missed in list(view.viewers.items()):
            if viewer.unread > MOST_UNREAD:
                view.viewers[viewer] += len(found.jobs) + found.more
                continue
            view.viewers[viewer] = 0
            if missed:
                viewer.send(_frame(queue_type, Tailed(found.jobs, found.more + missed)))
            elif found or (trouble is None and viewer in view.troubled):
                viewer.send(text)
            if trouble is None:
                view.troubled.discard(viewer)
            elif viewer not in view.troubled:
                view.troubled.add(viewer)
                viewer.send(frames.problem(_topic(queue_type), trouble.code, trouble.message))


def _topic(queue_type: str) -> str:
    return str(Topic(TAIL, queue_type))


def _frame(queue_type: str, tailed: Tailed) -> bytes:
    return frames.handed_out(_topic(queue_type), tailed.jobs, tailed.more)
