"""Inputs made by changing good ones a little: many more of them a second than Hypothesis makes.

They cannot be made small again, and reach what is a few bytes away from the usual.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from sharq.codec import websocket_frames as ws
from tests.fuzz.http_streams import BODIES, FIELDS, METHODS, PATHS

_TEXTS = [
    b'{"a":[1,2.5e3,"x\\u00e9\\n",null,true,{"b":"\\ud83d\\ude00"}]}',
    b'"' + b"x" * 70 + "é😀".encode() * 9 + b'"',
    b"-0.1e+5",
    b'{"max_queued_length":3,"k":"\\\\"}',
    b"[" * 500 + b"]" * 500,
]
_JOBS = [
    b'{"job_id":"j","interval":5,"payload":{"a":[1,"x"]}}',
    b'{"queue_type":"t","queue_id":"q","job_id":"j","interval":31536000000,"payload":"y",'
    b'"requeue_limit":-1}',
    b'{"payload":[],"job_id":"%b","interval":0,"requeue_limit":9223372036854775807}' % (b"j" * 100),
    b' { "interval" : 1 , "job_id" : "a" , "payload" : "\\u0041" } ',
]
_TOKENS = ["t/q/j/1", "A-_9/b/c/" + "9" * 19, "x" * 100 + "/y/z/5", "t/q/j/", "é/q/j/1", "//"]
_BYTES = b'{}[]",:\\ 0u\xc3\xf0\x00\r\n/'


def mutated(data: bytes, chance: Random, most: int = 4) -> bytes:
    """The data with up to so many changes: bytes replaced, put in, left out, cut off, repeated."""
    changed = bytearray(data)
    for _ in range(chance.randint(0, most)):
        at, other = chance.randint(0, len(changed)), chance.randint(0, len(changed))
        kind = chance.randrange(6)
        if kind == 0:
            changed[at : at + 1] = chance.randbytes(1)
        elif kind == 1:
            changed[at:at] = bytes([chance.choice(_BYTES)])
        elif kind == 2:
            del changed[at : at + 1]
        elif kind == 3:
            del changed[at:]
        elif kind == 4:
            changed[at:at] = changed[min(at, other) : max(at, other)][:40]
        else:
            changed[at:at] = chance.randbytes(chance.randint(1, 3))
    return bytes(changed)


def _sizes(chance: Random) -> list[int]:
    return [chance.randint(1, 60) for _ in range(chance.randint(0, 6))]


def _request(chance: Random) -> bytes:
    body = chance.choice(BODIES)
    fields = [b"Host: a", *chance.sample(FIELDS, chance.randint(0, 2))]
    if chance.random() < 0.15:
        fields.append(b"Transfer-Encoding: chunked")
        half = len(body) // 2
        parts = [part for part in (body[:half], body[half:]) if part]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    elif body or chance.random() < 0.5:
        fields.append(b"Content-Length: %d" % len(body))
    line = f"{chance.choice(METHODS)} {chance.choice(PATHS)} HTTP/1.1".encode()
    return b"\r\n".join([line, *fields]) + b"\r\n\r\n" + body


def _frame(chance: Random) -> bytes:
    opcode = chance.choice([1, 1, 2, 0, 8, 9, 10, 3])
    first = opcode | chance.choice([0x80, 0x80, 0, 0xC0])
    data = chance.choice([chance.randbytes(chance.randint(0, 20)), "hé".encode() * 90, b"x" * 125])
    return bytes([first]) + ws.frame(ws.TEXT, data, masked=chance.random() < 0.8)[1:]


def _reply(chance: Random) -> list[Any]:
    reply: list[Any] = [chance.choice([0, -1, 5, 2**62]), 0]
    for _ in range(chance.randint(0, 3)):
        numbers = (chance.randint(-1, 9), chance.randint(0, 9), chance.randint(0, 9))
        payload = mutated(chance.choice(_TEXTS), chance, 1)
        reply += [b"q", b"j", b"%d" % chance.randint(1, 9**18), *numbers, payload]
    for _ in range(chance.randint(0, 2)):
        at = chance.randint(0, len(reply))
        put = chance.choice([[], [b""], [None], [5], [b"x" * 200], ["s"]])
        reply[at : at + chance.randint(0, 1)] = put
    return reply


def _joined(make: Callable[[Random], bytes], chance: Random, most: int) -> bytes:
    return b"".join(make(chance) for _ in range(chance.randint(1, most)))


def _one_of(seeds: Sequence[bytes]) -> Callable[[Random], Any]:
    return lambda chance: mutated(chance.choice(seeds), chance)


def _stream(chance: Random) -> tuple[bytes, list[int]]:
    return mutated(_joined(_request, chance, 3), chance, 3), _sizes(chance)


MAKERS: dict[str, Callable[[Random], Any]] = {
    "json": _one_of(_TEXTS),
    "job": _one_of(_JOBS),
    "token": lambda chance: mutated(chance.choice(_TOKENS).encode(), chance).decode(
        errors="replace"
    ),
    "reply": _reply,
    "mask": lambda chance: (
        chance.randbytes(4),
        chance.randbytes(chance.randint(0, 300)),
        chance.randint(0, 20),
    ),
    "frames": lambda chance: (
        mutated(_joined(_frame, chance, 5), chance, 2),
        _sizes(chance),
        chance.random() < 0.8,
    ),
    "reader": _stream,
    "lane": _stream,
}
"""What makes an input for the target of the name."""
