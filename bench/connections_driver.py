"""Worker connections under measurement, all in one process: each finishes what it gets, at once.

With ``--alone`` each job is finished by a frame of its own. They are as quick as can be, so that
what is measured is the server's and the store's. The process prints how many jobs each connection
had; it ends when all of them together have had as many as were wanted, and every finish is
answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys

from sharq.codec import websocket_frames as ws

_LEASE = re.compile(rb'"lease":("[^"]+")')
_LARGEST = 1 << 26


class _Progress:
    """What all connections have had together; `over` is set at the end."""

    def __init__(self, wanted: int) -> None:
        self.unfinished = wanted
        self.over = asyncio.Event()

    def on_finished(self, jobs: int) -> None:
        self.unfinished -= jobs
        if self.unfinished <= 0:
            self.over.set()


class _Connection(asyncio.Protocol):
    """One connection: shakes hands, subscribes, and finishes the jobs of each frame together."""

    def __init__(self, progress: _Progress, queue_type: str, credit: int, alone: bool) -> None:
        self.jobs = 0
        self.frames = 0
        self._progress = progress
        self._alone = alone
        self._subscribe = {"op": "subscribe", "queue_type": queue_type, "credit": credit}
        self._head: bytes | None = b""
        self._reader = ws.Reader(masked=False, max_bytes=_LARGEST)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(
            b"GET /ws/ HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % ws.new_key().encode()
        )

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head.partition(b"\r\n")[0]:
                raise RuntimeError(f"refused: {head!r}")
            self._head = None
            self._send(json.dumps(self._subscribe).encode())
        self._reader.feed(data)
        while (message := self._reader.next()) is not None:
            if message.opcode == ws.PING:
                self.transport.write(ws.frame(ws.PONG, message.data, masked=True))
            elif message.opcode == ws.TEXT:
                self._on_frame(message.data)

    def _on_frame(self, text: bytes) -> None:
        if text.startswith(b'{"event":"jobs"'):
            leases = _LEASE.findall(text)
            self.jobs += len(leases)
            self.frames += 1
            for some in [[lease] for lease in leases] if self._alone else [leases]:
                self._send(b'{"op":"finish","id":%d,"leases":[%b]}' % (len(some), b",".join(some)))
        elif text.startswith(b'{"event":"reply"'):
            answer = json.loads(text)
            self._progress.on_finished(answer.get("id") or 0)
        elif text.startswith(b'{"event":"error"'):
            raise RuntimeError(text.decode())

    def _send(self, text: bytes) -> None:
        self.transport.write(ws.frame(ws.TEXT, text, masked=True))


async def _work(given: argparse.Namespace) -> None:
    progress = _Progress(given.jobs)

    def connection() -> _Connection:
        return _Connection(progress, given.queue_type, given.credit, given.alone)

    loop = asyncio.get_running_loop()
    made = [
        (await loop.create_connection(connection, "127.0.0.1", given.port))[1]
        for _ in range(given.connections)
    ]
    await progress.over.wait()
    told = {"jobs": [each.jobs for each in made], "frames": sum(each.frames for each in made)}
    print(json.dumps(told), flush=True)
    for each in made:
        each.transport.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.connections_driver")
    parser.add_argument("port", type=int)
    parser.add_argument("queue_type")
    parser.add_argument("connections", type=int)
    parser.add_argument("credit", type=int)
    parser.add_argument("jobs", type=int)
    parser.add_argument("--alone", action="store_true")
    asyncio.run(_work(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
