"""The long poll: a subscriber for one answer."""

from __future__ import annotations

import asyncio

from sharq_server.push.delivery import Delivery
from sharq_server.push.dispatch import Dispatcher


class LongPoll:
    """Waits for up to `count` jobs of a type, as a `Subscriber`."""

    notify = False

    def __init__(
        self, dispatcher: Dispatcher, queue_type: str, count: int, request_id: str | None
    ) -> None:
        self.request_id = request_id
        self._dispatcher = dispatcher
        self.queue_type = queue_type
        self._count = count
        self._reserved = False
        self._gone = False
        self._answer: asyncio.Future[Delivery | None] = asyncio.get_running_loop().create_future()

    async def wait(self, seconds: float) -> Delivery | None:
        """The jobs, or None if none became ready in time.

        A cancelled caller gets none. Those of a request_id stay leased for it, since its client may
        ask for them again; others go to other subscribers.
        """
        self._dispatcher.join(self.queue_type, self)
        try:
            await asyncio.wait({self._answer}, timeout=seconds)
            if not self._answer.done():
                # A call for it may be under way; its answer comes soon, and may have jobs.
                self._leave()
                await self._dispatcher.settled(self.queue_type)
            return self._answer.result() if self._answer.done() else None
        except asyncio.CancelledError:
            delivery = self._answer.result() if self._answer.done() else None
            if delivery is not None and self.request_id is None:
                self._dispatcher.place(self.queue_type, delivery)
            raise
        finally:
            self._leave()
            self._answer.cancel()

    def stop(self) -> None:
        """Answer now, with nothing."""
        if not self._answer.done():
            self._answer.set_result(None)

    @property
    def has_room(self) -> bool:
        return not (self._reserved or self._gone or self._answer.done())

    def reserve(self, wanted: int) -> int:
        if not self.has_room:
            return 0
        self._reserved = True
        return min(wanted, self._count)

    def unreserve(self, count: int) -> None:
        self._reserved = False
        if not self._gone:
            self._dispatcher.join(self.queue_type, self)

    def deliver(self, reserved: int, delivery: Delivery) -> bool:
        if self._answer.done():
            return False
        self._answer.set_result(delivery)
        self._leave()
        return True

    def offer(self, ready: int) -> None:
        raise NotImplementedError("a long poll is given jobs")

    def ended(self) -> None:
        self.stop()

    def _leave(self) -> None:
        self._gone = True
        self._dispatcher.leave(self.queue_type, self)
