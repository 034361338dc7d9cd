"""A server's side of `watch`: a real websocket server, told by a test what to send."""

from __future__ import annotations

import json
import queue
import re
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self

from sharq.codec import websocket_frames as ws
from tests.support.stores import wait_for

MINUTE = 1_790_000_040_000
AT = MINUTE + 30_000
MAX_FRAME = 2**20


def type_entry(**other: Any) -> dict[str, Any]:
    """What `types` has of a type."""
    entry = {
        "waiting": 12,
        "delayed": 1,
        "active": 3,
        "dead": 0,
        "ready": 4,
        "held": 8,
        "oldest_ready": 1200,
        "minutes": {str(MINUTE): [300, 150, 75], str(MINUTE - 60_000): [600, 300, 150]},
        "early": 0,
        "subscribers": 2,
        "credit": 200,
        "room": 150,
    }
    return entry | other


def of_types(**entries: Mapping[str, Any]) -> dict[str, Any]:
    return {"at": AT, "types": entries, "more": 0, "notes": {}}


def of_type(count: int = 3, **other: Any) -> dict[str, Any]:
    """What `type/NAME` has: the queues q0, q1, … with more waiting jobs the lower the number."""
    names = [f"q{number}" for number in range(count)]
    queues = {
        name: {
            "waiting": 10 * (count - number),
            "active": 1,
            "interval": 1000,
            "due": AT + 500,
            "held_by": "interval",
            "drained_in": 10_000 * (count - number),
        }
        for number, name in enumerate(names)
    }
    tops = {"backlog": names, "oldest": names[::-1], "drain": names}
    looked = {"queues": count, "of": count, "since": AT - 5000}
    data = {"at": AT, **type_entry(), "queues": queues, "tops": tops, "looked": looked}
    return data | {"limits": {}} | other


def of_workers(queue_type: str = "sms", **other: Any) -> dict[str, Any]:
    worker = {
        "server": ".a1",
        "queue_type": queue_type,
        "mode": "deliver",
        "credit": 100,
        "held": 12,
        "oldest_lease": 5000,
        "heard": 0,
        "worker": "host-1",
    }
    workers = {f".a1/1/{queue_type}": worker | other}
    return {"at": AT, "workers": workers, "more": 0, "servers": {".a1": {"connections": 3}}}


class WatchServer:
    """Serves one websocket at a time on a port of its own, until the context is left.

    `whole` is what a topic begins with; a topic that is not in it gets nothing. `heads` are the
    heads of the requests, `welcomed` and `pings` count handshakes and pings, `watched` has the
    topics of each frame. `refusal` is an answer to the handshake, `error` and `message` are the
    answer to a watch. One that is `mute` answers no frame.
    """

    def __init__(self, **whole: Any) -> None:
        self.whole: dict[str, Any] = {
            name.replace("type_", "type/"): data for name, data in whole.items()
        }
        self.heads: list[bytes] = []
        self.watched: list[list[str]] = []
        self.welcomed = self.pings = 0
        self.mute = False
        self.refusal: bytes | None = None
        self.error: str | None = None
        self.message = "It is not to be."
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._connection: socket.socket | None = None
        self._sending = threading.Lock()
        self._ended = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._errors: queue.Queue[BaseException] = queue.Queue()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def topics(self) -> list[str]:
        """What is watched now."""
        return self.watched[-1] if self.watched else []

    def send(self, topic: str, data: Any = None, **more: Any) -> None:
        """Send an event `watch`."""
        event = {"event": "watch", "topic": topic, **more}
        self._text(event if data is None else event | {"data": data})

    def cut(self) -> None:
        """Lose the connection."""
        connection = self._connection
        assert connection is not None
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    def wait_for_topics(self, *topics: str) -> None:
        wait_for(f"{topics} are watched", lambda: self.topics == list(topics))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._connection is not None:
            self.cut()
        self._thread.join(10)
        assert not self._thread.is_alive()
        if not self._errors.empty():
            raise self._errors.get()

    # In the thread

    def _serve(self) -> None:
        try:
            while not self._ended:
                try:
                    connection, _ = self._listener.accept()
                except OSError:
                    return
                with connection:
                    self._talk(connection)
        except Exception as error:
            self._errors.put(error)

    def _talk(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            head = b"".join(iter(stream.readline, b"\r\n"))
        self.heads.append(head)
        if self.refusal is not None:
            connection.sendall(self.refusal)
            return
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", head)
        assert key is not None, head
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\nSec-WebSocket-Protocol: sharq.v1.json\r\n\r\n"
            % ws.accept_value(key[1].decode()).encode()
        )
        self._connection = connection
        now = time.time_ns() // 1_000_000
        self._text(
            {
                "event": "welcome",
                "protocol": "sharq.v1.json",
                "server_time": now,
                "heartbeat": 20_000,
            }
        )
        self.welcomed += 1
        reader = ws.Reader(masked=True, max_bytes=MAX_FRAME)
        with suppress(OSError):
            while data := connection.recv(65536):
                reader.feed(data)
                while (message := reader.next()) is not None:
                    if message.opcode == ws.CLOSE:
                        return
                    self._answer(json.loads(message.data))

    def _answer(self, frame: dict[str, Any]) -> None:
        if self.mute:
            return
        if frame["op"] == "ping":
            self.pings += 1
            self._text({"event": "pong", "server_time": 0})
            return
        assert frame["op"] == "watch"
        assert frame.keys() == {"op", "id", "topics"}
        assert len(frame["topics"]) <= 8
        if self.error is not None:
            told = {"code": self.error, "message": self.message}
            self._text({"event": "error", "id": frame["id"], **told})
            return
        self._text({"event": "reply", "id": frame["id"], "status": "success"})
        for topic in frame["topics"]:
            if topic in self.whole:
                self.send(topic, self.whole[topic], full=True)
        # Only now: a test that waits for the topics may send differences at once.
        self.watched.append(frame["topics"])

    def _text(self, event: Mapping[str, Any]) -> None:
        connection = self._connection
        assert connection is not None
        with self._sending, suppress(OSError):
            connection.sendall(ws.frame(ws.TEXT, json.dumps(event).encode()))
