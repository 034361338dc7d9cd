"""The first commands on a connection to the store: the user and the database. Pure."""

from __future__ import annotations

from hiredis import ProtocolError, Reader, ReplyError

from sharq.errors import StoreUnavailable, UnexpectedReply
from sharq.settings.options import StoreSettings
from sharq.store.errors import store_error
from sharq.store.script_loading import pack


class Handshake:
    """The commands of one connection, `request`, and the replies to them.

    `over` tells that all of them have succeeded; without a password and a database there are none.
    """

    __slots__ = ("_reader", "_unanswered", "request")

    def __init__(self, settings: StoreSettings) -> None:
        commands = []
        if settings.username or settings.password:
            words = [settings.username, settings.password or ""]
            commands.append(pack(b"AUTH", *(word.encode() for word in words if word is not None)))
        if settings.db:
            commands.append(pack(b"SELECT", b"%d" % settings.db))
        self.request = b"".join(commands)
        self._unanswered = len(commands)
        self._reader = Reader()

    @property
    def over(self) -> bool:
        return not self._unanswered

    def feed(self, data: bytes) -> None:
        """Read the store's replies. Raises the `StoreError` for a refusal."""
        try:
            self._reader.feed(data)
            while self._unanswered and (reply := self._reader.gets()) is not False:
                if isinstance(reply, ReplyError):
                    raise store_error(str(reply))
                if reply != b"OK":
                    raise UnexpectedReply(f"Unexpected greeting of the store: {reply!r:.200}")
                self._unanswered -= 1
        except ProtocolError as error:
            raise StoreUnavailable from error
        if self.over and self._reader.has_data():
            raise UnexpectedReply("The store sent a reply without a request.")
