"""Nothing is read behind the end of what was given: there may be no memory there.

The text ends where a page begins that may not be read, in a process of its own, since one byte too
many ends that.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = r"""
import ctypes, mmap, sys

from sharq import _fastpath
from sharq.engine import Engine

SIZE = mmap.PAGESIZE
memory = mmap.mmap(-1, 2 * SIZE)
whole = memoryview(memory)
place = ctypes.addressof(ctypes.c_char.from_buffer(memory))
protect = ctypes.CDLL(None, use_errno=True).mprotect
protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
assert protect(place + SIZE, SIZE, 0) == 0


def at_the_end(data):
    memory[SIZE - len(data) : SIZE] = data
    return whole[SIZE - len(data) : SIZE]


JOB = b'{"queue_type":"t","queue_id":"q","job_id":"j","interval":2,"requeue_limit":-1,"payload":%b}'
PAYLOADS = [
    b'{"a" : [1, -2.5e+3, true, false, null], "b\\n":"\\ud83d\\ude00\\"" }',
    '"é€😀é"'.encode(), b'"\\u00e9', b'"\xf0\x9f\x98', b'"\xc3', b"-", b"1.", b"1e", b"1e-", b"tru",
    b"nul", b"fals", b"0", b"9" * 310, b"9" * 310 + b".", b"1" + b"0" * 308 + b"e", b"[[[[", b"[]",
    b'{"max_queued_length', b"m", b'"m', b"-Infinit", b"NaN", b" ",
]
read = Engine.for_server().flows.plain_jobs
count = 0
for payload in PAYLOADS:
    text = JOB % payload
    for end in range(len(text) + 1):
        for data in (text[:end], text[:end] + b" ", text[:end] + b'"', text[:end] + b"\\"):
            (job,) = read([at_the_end(data)])
            assert (job,) == tuple(read([data]))
            count += 1
for size in range(40):
    data = bytes(range(size))
    assert _fastpath.mask(b"abcd", at_the_end(data)) == _fastpath.mask(b"abcd", data)
# Text that would go on for ever, and none at all.
assert read([at_the_end(b"{" + b" " * 4000), at_the_end(b"")]) == [None, None]
if sys.argv[1:] == ["beyond"]:
    bytes(whole[SIZE - 1 : SIZE + 1])
print(count)
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="there is no mprotect")
def test_no_byte_is_read_behind_the_end() -> None:
    done = run()
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 4000


@pytest.mark.skipif(sys.platform == "win32", reason="there is no mprotect")
def test_a_byte_behind_the_end_would_be_noticed() -> None:
    assert run("beyond").returncode < 0
