"""Makes the table of the original's answers anew: ``python -m bench.peers.answers``.

It installs the original into `.peers/` where it is not there, asks it each request of
`tests/server/original_requests.py` on an empty store, and writes `original_answers.json` beside it.
"""

from __future__ import annotations

import json
import sys

import redis

from bench.peers import original
from bench.peers.failures import Missing
from tests.server.original_requests import TABLE, ask, requests


def main() -> int:
    try:
        found = original.prepare(_say)
    except Missing as error:
        _say(f"The original {error}.")
        return 1
    answers = {}
    with original.served(found) as served:
        store = redis.Redis(unix_socket_path=served.socket)
        for request in requests():
            store.flushall()
            answers[request.name] = ask(served.port, request)
    rows = (f"{json.dumps(name)}: {json.dumps(answer)}" for name, answer in answers.items())
    TABLE.write_text("{\n" + ",\n".join(rows) + "\n}\n")
    yes = sum(answer.is_yes for answer in answers.values())
    _say(f"{found.versions}: {len(answers)} requests, {yes} of them answered with 2xx; see {TABLE}")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
