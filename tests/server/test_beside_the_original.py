"""Where the original says yes, so do we, or the reference says why not: over a thousand requests.

`original_answers.json` has what the original answered (`python -m bench.peers.answers` makes it
anew); the reference has a table of the differences, with the number of requests of each.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.server.original_requests import TABLE, Answer, Ask, ask, requests
from tests.server.threaded import PLAIN, Servers
from tests.support.stores import PrivateStore

REFERENCE: Final = (Path(__file__).parents[2] / "docs" / "rest-api.md").read_text()
ORIGINAL: Final = {name: Answer(*answer) for name, answer in json.loads(TABLE.read_text()).items()}
REQUESTS: Final = requests()

# The names of requests that a row of the reference's table is about, by the beginning of the row.
DIFFERENCES: Final = {
    "`OPTIONS`": r"OPTIONS /",
    "HEAD on `/dequeue/`": r"HEAD /dequeue/",
    "empty segments": r"GET //",
    "`%2F` in a name": r"type a%2Fb in ",
    "a look-alike": r".*%E2%84%AA|enqueue: job_id '\u212a'",
    "an interval over": r"(enqueue: )?interval:? (31536000001|1000)",
    "a `requeue_limit` over": r"enqueue: requeue_limit 9{19}",
    "JSON that is none": r".*(payload (NaN|.Infinity|\"tab)|interval:? 01)",
    "a number that is too large": r".*payload (.*1e400|5,000 digits)",
    "a payload over `max_payload_bytes`": r".*payload 2 MB",
    "a payload nested": r".*payload (505|600) deep",
    "`max_queued_length` in a payload": r".*payload max_queued_length 0",
    "a name in the body": r"enqueue: queue_(type|id) .* in the body",
    "a `job_id` that is queued or active": r".*the same job",
    "parameters of a dequeue": r"dequeue: \?(count|wait|request_id)",
    "a body over the limit": r"(dequeue|finish|GET /metrics/.*): body 2 MB",
    "a lease that is malformed": r"finish: body (malformed |stale )?lease",
    "`Content-Encoding: gzip`": r"gzip: ",
    "a foreign `Host`": r"(foreign Host|Host that is an address): ",
    "a page of another origin": r"(foreign Origin|cross-site)",
    "a queue in `queue_ids`": r"GET /metrics/t/(?!q/|: body 2 MB)",
}


@pytest.fixture(autouse=True)
def expect_log() -> None:
    """What the servers log is looked at elsewhere."""


@pytest.fixture(scope="module")
def store() -> Iterator[PrivateStore]:
    with PrivateStore() as store:
        yield store


@pytest.fixture(scope="module")
def servers(store: PrivateStore) -> Iterator[Servers]:
    with Servers(store, "beside", ways=(PLAIN,)) as servers:
        yield servers


def clear(store: PrivateStore) -> None:
    """Remove all that requests have left; the types stay registered, as the server believes."""
    keys = [key for key in store.command("KEYS", "*") if not key.endswith(b":types")]
    if keys:
        store.client.delete(*keys)


def has_all(ours: object, theirs: object) -> bool:
    """Whether a body has what the original's has; fields may have been added."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return all(name in ours and ours[name] == value for name, value in theirs.items())
    return theirs is None or ours == theirs


def differs(ours: Answer, theirs: Answer) -> bool:
    return theirs.is_yes and not (ours.is_yes and has_all(ours.body, theirs.body))


def rows_of(request: Ask) -> list[str]:
    return [row for row, names in DIFFERENCES.items() if re.match(names, request.name)]


def test_the_table_has_an_answer_for_every_request() -> None:
    assert [request.name for request in REQUESTS] == list(ORIGINAL)


def test_11_where_the_original_says_yes_we_do_or_the_reference_says_why_not(
    servers: Servers, store: PrivateStore
) -> None:
    differing: Counter[str] = Counter()
    untold = []
    for request in REQUESTS:
        clear(store)
        ours, theirs = ask(servers.ports[PLAIN], request), ORIGINAL[request.name]
        assert 200 <= ours.status < 500, (request, ours)
        if differs(ours, theirs):
            rows = rows_of(request)
            differing.update(rows)
            if len(rows) != 1:
                untold.append((request.name, theirs, ours, rows))
    assert untold == []
    told = re.findall(r"^\| (.+?) \|.*\| (\d+) \|$", differences_told(), re.MULTILINE)
    found = {
        row: next((n for cell, n in told if cell.startswith(row)), None) for row in DIFFERENCES
    }
    assert found == {row: str(differing[row]) for row in DIFFERENCES}
    assert len(told) == len(DIFFERENCES)


def differences_told() -> str:
    """The part of the reference that tells them."""
    return re.split(r"^## ", REFERENCE.partition("\n## Beside the original\n")[2], flags=re.M)[0]


def test_the_reference_tells_how_many_were_asked() -> None:
    yes = sum(answer.is_yes for answer in ORIGINAL.values())
    assert f"{len(REQUESTS):,} requests" in differences_told()
    assert f"{yes} of them" in differences_told()
