"""A connection's subscription to one type, as a `Subscriber` of the dispatcher."""

from __future__ import annotations

from typing import Protocol

from sharq_server.push import frames
from sharq_server.push.credit import Credit
from sharq_server.push.delivery import Delivery
from sharq_server.push.offers import OFFER_MS


class Owner(Protocol):
    """The connection of a subscription."""

    @property
    def credit(self) -> Credit: ...

    def may_take(self, subscription: Subscription) -> bool:
        """Whether jobs may be leased to it now."""

    def reserve(self, subscription: Subscription, wanted: int) -> int:
        """Reserve up to `wanted` places, for this one, or first for those that have had none."""

    def refill(self) -> None:
        """There may be room again."""

    def deliver(self, subscription: Subscription, delivery: Delivery) -> bool:
        """Send leased jobs; False if the connection takes no more."""

    def send(self, text: bytes) -> None:
        """Send a frame."""


class Subscription:
    """With `notify` it gets offers of ready jobs; otherwise they are leased to it."""

    request_id: str | None = None

    def __init__(
        self, owner: Owner, queue_type: str, *, notify: bool, release_on_disconnect: bool
    ) -> None:
        self.queue_type = queue_type
        self.notify = notify
        self.release_on_disconnect = release_on_disconnect
        self._owner = owner
        self._offered = 0

    @property
    def has_room(self) -> bool:
        return self._owner.may_take(self) and self._room() > 0

    def reserve(self, wanted: int) -> int:
        return self._owner.reserve(self, wanted)

    def take_places(self, wanted: int) -> int:
        """Reserve up to `wanted` places of the credit, as far as there is room."""
        if not self.notify:
            return self._owner.credit.reserve(self.queue_type, wanted)
        # An offer reserves no job; this only prevents a second offer.
        places = min(wanted, max(0, self._room()))
        self._offered += places
        return places

    def _room(self) -> int:
        return self._owner.credit.room(self.queue_type) - self._offered

    def unreserve(self, count: int) -> None:
        if self.notify:
            self._offered -= count
        else:
            self._owner.credit.unreserve(self.queue_type, count)
        self._owner.refill()

    def deliver(self, reserved: int, delivery: Delivery) -> bool:
        self._owner.credit.unreserve(self.queue_type, reserved)
        delivered = self._owner.deliver(self, delivery)
        if len(delivery) < reserved:
            self._owner.refill()
        return delivered

    def offer(self, ready: int) -> None:
        self._owner.send(frames.ready(self.queue_type, ready, OFFER_MS))

    def ended(self) -> None:
        raise NotImplementedError("a subscription has no request_id")
