"""What the head of each Lua file says, held against what is sent, what is answered, and the rest.

The rules that can be read off a source are functions from it to complaints, so that they can be
shown to complain.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import hiredis
import pytest

import sharq
from sharq import results
from sharq._fastpath import Codec
from sharq.operations.call import Call
from sharq.operations.scripts import expand, shipped
from sharq.results import REMOVE, Lease, NewJob
from tests.support.cases import cases
from tests.support.direct import DirectStore
from tests.support.lua_source import declared_names, free_names, tokens, used_names
from tests.support.stores import PrivateStore

FOLDER = Path(sharq.__file__).parent
SOURCES = {path.stem: path.read_text("utf-8") for path in sorted(FOLDER.glob("lua/*.lua"))}
INCLUDES = {path.stem: path.read_text("utf-8") for path in FOLDER.glob("lua/include/*.lua")}

FILES = SOURCES | {f"include/{name}": source for name, source in INCLUDES.items()}

MOST_LINES = 65

# The key of each name after KEYS, and the beginning of keys of each name after ARGV.
KEYS = {
    "void": "{p:queue_type}:void",
    "ready": "{p:queue_type}:ready",
    "leases": "{p:queue_type}:leases",
    "held": "{p:queue_type}:held",
    "serial": "{p:queue_type}:serial",
    "queue": "{p:queue_type}:q:queue_id",
    "jobs": "{p:queue_type}:j:queue_id",
    "returned": "{p:queue_type}:r:queue_id",
    "delayed": "{p:queue_type}:d:queue_id",
    "request": "{p:queue_type}:x:request_id",
    "waiting": "{p:queue_type}:waiting",
    "limit": "{p:queue_type}:limit",
    "dead": "{p:queue_type}:dead",
    "sample": "{p:queue_type}:sample",
    "moving": "{p:queue_type}:moving",
    "opened": "{p:queue_type}:opened",
    "shards": "{p:queue_type}:shards",
    "paused": "{p:queue_type}:paused",
    "types": "{p}:types",
    "sweep": "{p}:sweep",
    "write": "{p:.0}:write",
}
PREFIXES = {
    "queues": "{p:queue_type}:q:",
    "jobs": "{p:queue_type}:j:",
    "returned": "{p:queue_type}:r:",
    "delayed": "{p:queue_type}:d:",
    "counters": "{p:queue_type}:c:",
    "marks": "{p:queue_type}:f:",
    "requests": "{p:queue_type}:x:",
    "channel": "{p}:wake:server_id",
    "own_probe": "{p}:",
}


# What scripts seldom need, in one word.
TOGETHER = {
    "enqueue": ("returned", "delayed"),
    "finish": ("ready", "waiting", "delayed"),
    "finish_many": ("ready", "waiting", "delayed"),
}


class Answer(NamedTuple):
    """The part of a header after "Returns:".

    `fields` are counted; `more` counts those of a group in braces that comes any number of times;
    `by_state` counts the fields that follow where the first one is such a word.
    """

    fields: int
    more: int
    by_state: dict[str, int]
    words: list[str]

    def fits(self, reply: Any) -> bool:
        if self.fields == 1 and not self.more and not self.by_state:
            return not isinstance(reply, list)
        if not isinstance(reply, list):
            return False
        fields = self.fields
        if self.by_state:
            fields += self.by_state.get(reply[0].decode(), 0)
        rest = len(reply) - fields
        return rest % self.more == 0 if self.more else rest == 0


class Header(NamedTuple):
    """The head of a Lua file; names with a question mark may be left out."""

    about: str
    keys: list[str]
    arguments: list[str]
    repeated: list[str]
    answer: Answer


_HEADER = re.compile(
    r" (?!KEYS:)(.+?)KEYS: ?(.*?)ARGV: ?(.*?)(?:\{(.*)\}\s*)?Returns: (.+)", re.DOTALL
)


def read_header(source: str) -> Header:
    comments = re.match(r"(?:-- .*\n|--\n)*", source)
    text = re.sub(r"\n?^-- ?", " ", comments[0] if comments else "", flags=re.MULTILINE)
    match = _HEADER.fullmatch(text)
    if match is None:
        raise ValueError("the file does not begin with what it does, KEYS, ARGV and Returns")
    about, keys, arguments, repeated, answer = match.groups(default="")
    return Header(
        about.strip(), keys.split(), arguments.split(), repeated.split(), read_answer(answer)
    )


def read_answer(text: str) -> Answer:
    words = re.search(r"^status \((.*?)\)", text)
    plain, *states = re.sub(r"\([^()]*\)", "", text).split(";")
    group = re.search(r"\{(.*?)\}", plain)
    by_state = dict(state.split(":") for state in states)
    fields = re.split(r",(?! else)", re.sub(r",?\s*\{.*?\}", "", plain))
    return Answer(
        len([field for field in fields if field.strip()]),
        len(group[1].split(",")) if group else 0,
        {state.strip(): len(rest.split(",")) for state, rest in by_state.items()},
        words[1].split(", ") if words else [],
    )


HEADERS = {name: read_header(source) for name, source in SOURCES.items()}


# ---- what is sent ----

PARAMETERS = {
    method.name: [argument.arg for argument in method.args.args[1:]]
    for node in ast.parse((FOLDER / "_fastpath.pyi").read_text("utf-8")).body
    if isinstance(node, ast.ClassDef) and node.name == "Codec"
    for method in node.body
    if isinstance(method, ast.FunctionDef)
}
NUMBERS = (
    *(
        "age",
        "batch",
        "by",
        "count",
        "delay",
        "interval",
        "interval_retention",
        "known",
        "lease_ms",
    ),
    *("max_bytes", "options", "requeue_limit", "retention"),
    *("hold", "seq", "wanted", "offered", "offer_ms", "start", "seen", "before", "limit"),
    *("first", "more_waiting", "more_delayed", "wait", "generation", "number"),
)
# Arguments of the codec's methods with a value that tells which one it is; that of a text is its
# name.
NUMBER = {name: 1000 + at for at, name in enumerate(NUMBERS)}
KEYS["probe"] = f"{{p:.{NUMBER['number']}}}:"
FLAGS = dict.fromkeys(("purge", "waiting", "counted", "more", "begins"), True)
VALUES = NUMBER | FLAGS | {name: name.encode() for name in ("payload", "sample", "message", "text")}
VALUES["place"] = 0


def packed_words(name: str, *left_out: str, **values: Any) -> list[str]:
    arguments = {p: VALUES.get(p, p) for p in PARAMETERS[name] if p not in left_out} | values
    codec = Codec("p", {script: script for script in SOURCES})
    reader = hiredis.Reader()
    reader.feed(getattr(codec, name)(**arguments))
    return [word.decode() for word in reader.gets()]


def sample_of(field: str, at: int) -> str:
    return str(NUMBER[field] + at) if field in NUMBER else f"{field}{at}"


def announced_words(name: str, *left_out: str, jobs: int = 0, **values: str) -> list[str]:
    header = HEADERS[name]
    words = PREFIXES | {name: str(number) for name, number in NUMBER.items()}
    words |= dict.fromkeys(FLAGS, "1") | values
    if name in TOGETHER:
        words["seldom"] = " ".join((KEYS | PREFIXES)[key] for key in TOGETHER[name])
    keys = [KEYS[key.rstrip("?")] for key in header.keys if key.rstrip("?") not in left_out]
    said = [each.rstrip("?") for each in header.arguments if each.rstrip("?") not in left_out]
    arguments = [words.get(argument, argument) for argument in said]
    for at in range(jobs):
        arguments += [sample_of(field, at) for field in header.repeated]
    return ["EVALSHA", name, str(len(keys)), *keys, *arguments]


MANY = (
    "enqueue",
    "settle",
    "dead_retry",
    "dead_delete",
    "finish_many",
    "release",
    "extend",
    "cancel",
    "watch_queues",
    "take_over",
)


@cases("name", [name for name in SOURCES if name not in (*MANY, "dequeue")])
def test_a_header_names_what_is_sent(name: str) -> None:
    assert packed_words(name) == announced_words(name)


def test_a_dequeue_of_a_client_has_no_channel() -> None:
    nothing = {"channel": "", "seq": ""}
    assert packed_words("dequeue", "server_id") == announced_words("dequeue", **nothing)
    assert packed_words("dequeue", "server_id", "request_id") == announced_words(
        "dequeue", "request", request_id="", **nothing
    )


def test_a_dequeue_of_a_shard_tells_how_long_a_queue_has_to_be_ready() -> None:
    assert packed_words("dequeue", "age", "known") == announced_words(
        "dequeue", "age", "known", seq=""
    )
    assert packed_words("dequeue", "known") == announced_words("dequeue", "known", seq="")


def test_a_dequeue_of_a_server_leaves_a_mark_of_its_own() -> None:
    words = announced_words("dequeue", request_id="")
    mark = words.index("{p:queue_type}:x:request_id")
    words[mark] = "{p:queue_type}:x:server_id"
    assert packed_words("dequeue", "request_id") == words
    assert packed_words("dequeue") == announced_words("dequeue", seq="")


@pytest.mark.parametrize("name", MANY[4:8])
def test_the_header_for_many_leases_names_what_is_sent_for_each(name: str) -> None:
    leases = [Lease("queue_type", f"queue_id{at}", f"job_id{at}", f"n{at}") for at in range(3)]
    assert packed_words(name, leases=leases) == announced_words(name, jobs=3)


@pytest.mark.parametrize("name", MANY[2:4])
def test_the_header_for_many_dead_letters_names_what_is_sent_for_each(name: str) -> None:
    jobs = [(f"queue_id{at}", f"job_id{at}") for at in range(3)]
    assert packed_words(name, jobs=jobs) == announced_words(name, jobs=3)


def test_the_header_for_queues_names_what_is_sent_for_each() -> None:
    names = [f"queue_id{at}" for at in range(3)]
    words = packed_words("watch_queues", queue_ids=names)
    assert words == announced_words("watch_queues", jobs=3)


def test_the_header_for_many_names_what_is_sent_for_each() -> None:
    jobs = [
        NewJob(
            queue_type="queue_type",
            queue_id=f"queue_id{at}",
            job_id=f"job_id{at}",
            payload=b"payload%d" % at,
            interval=at + NUMBER["interval"],
            requeue_limit=at + NUMBER["requeue_limit"],
            max_queued_length=at + NUMBER["options"],
        )
        for at in range(3)
    ]
    assert packed_words("enqueue", jobs=jobs) == announced_words("enqueue", jobs=3)


def test_the_header_for_arrivals_names_what_is_sent_for_each() -> None:
    fields = "interval", "requeue_limit", "wait"
    arriving = [
        (
            *(f"queue_id{at}", f"job_id{at}", b"payload%d" % at),
            *(NUMBER[field] + at for field in fields),
            f"where{at}",
        )
        for at in range(3)
    ]
    assert packed_words("take_over", arriving=arriving) == announced_words("take_over", jobs=3)


OF_NO_TYPE = (["probe"], ["types"], ["sweep"], ["write"])


def test_every_script_has_a_key() -> None:
    assert [name for name, header in HEADERS.items() if not header.keys] == []


def test_every_script_of_a_type_declares_the_guard_first() -> None:
    of_a_type = [header.keys for header in HEADERS.values() if header.keys not in OF_NO_TYPE]
    assert {keys[0] for keys in of_a_type} == {"void"}


def indices(source: str, name: str) -> set[int]:
    found = tokens(source)
    return {
        int(found[at + 2].text)
        for at in range(len(found) - 2)
        if found[at].text == name and found[at + 1].text == "["
        if found[at + 2].kind == "number"
    }


ONLY_PLACED = ("ping", "tell_servers")


@cases("name", SOURCES)
def test_a_script_reads_all_that_it_is_sent(name: str) -> None:
    header = HEADERS[name]
    # The guard is read by what is included; a place is only there to be one.
    guarded = 1 if "void" in header.keys or name in ONLY_PLACED else 0
    expected = set(range(1 + guarded, len(header.keys) + 1))
    assert indices(SOURCES[name], "KEYS") == expected
    assert indices(SOURCES[name], "ARGV") == set(range(1, len(header.arguments) + 1))


# ---- what is answered ----

MAIL = "mail", "bob"
FAILING = "10000:67108864:2592000000:1000:3600000:5eed"


def jobs_of(*job_ids: str) -> list[NewJob]:
    return [NewJob(*MAIL, job_id, b"1", 0, 0) for job_id in job_ids]


# Every script in the states that make a difference to its answer.
LIFE: list[tuple[str, tuple[Any, ...]]] = [
    ("ping", (9,)),
    ("rights", (".s1", 9)),
    ("rights", (".s1", 9, "WAIT 0 0")),
    ("try_write", (1,)),
    ("list_types", ("0", 10)),
    ("register", ("mail",)),
    ("register", ("post",)),
    ("list_types", ("0", 10)),
    ("shards", ("mail", "", "", False)),
    ("shards", ("mail", "", "1 1 4 5eed", True)),
    ("rate_states", ("mail", "0", 10)),
    ("close_shard", ("mail", 1)),
    ("open_shard", ("mail", 1)),
    ("open_shard", ("mail", 1)),
    ("pausing", ("mail", 0, None, "", "")),
    ("pausing", ("mail", 0, 1000, "", "api")),
    ("dequeue", ("mail", 1, 60000, 1000)),
    ("list_queues", ("mail", "type", "", "0", 10, "")),
    ("sample_queues", ("mail", "type", "", "0", 10)),
    ("recount", ("mail", "type", "", "0", 10)),
    ("watch_queues", ("mail", 10, [])),
    ("share_sample", ("mail", ".s1", b"")),
    ("share_sample", ("mail", ".s2", b"")),
    ("tell_servers", (".s1", b"?", 9)),
    ("list_leases", (*MAIL, "0", 10)),
    ("show_job", (*MAIL, "j1")),
    ("queue_metrics", MAIL),
    ("enqueue", ("mail", [])),
    ("enqueue", ("mail", [NewJob(*MAIL, "j1", b"1", 0, -1)])),
    ("enqueue", ("mail", [NewJob(*MAIL, "j1", b"1", 0, -1)])),
    ("enqueue", ("mail", [NewJob(*MAIL, "j1", b"2", 0, -1)])),
    ("enqueue", ("mail", [NewJob(*MAIL, "j2", b"2", 0, -1, 1)])),
    ("enqueue", ("mail", jobs_of("j2", "j3", "j4"))),
    ("queue_length", MAIL),
    ("close_shard", ("mail", 1)),
    ("queue_metrics", MAIL),
    ("type_metrics", ("mail",)),
    ("list_queues", ("mail", "type", "", "0", 10, "bo")),
    ("sample_queues", ("mail", "type", "", "0", 10)),
    ("recount", ("mail", "type", "", "0", 10)),
    ("correct_totals", ("mail", 1, 1)),
    ("correct_totals", ("mail", -1, -1)),
    ("watch_queues", ("mail", 10, ["bob", "eve"])),
    ("show_job", (*MAIL, "j1")),
    ("dequeue", ("mail", 1, 60000, 1000)),
    ("list_leases", (*MAIL, "0", 10)),
    ("show_job", (*MAIL, "j1")),
    ("dequeue", ("mail", 2, 60000, 1000, "r1")),
    ("dequeue", ("mail", 2, 60000, 1000, "r1")),
    ("dequeue", ("mail", 2, 60000, 1000, None, ".s1", 1, True)),
    ("dequeue", ("mail", 2, 60000, 1000, "r2", ".s1", 1)),
    ("dequeue", ("mail", 2, 60000, 1000, None, None, 0, False, 250)),
    ("offer", ("mail", ".s1", 2, 0, 250)),
    ("hand_on", ("mail", ".s1", 0)),
    ("claim_sweep", (900,)),
    ("claim_sweep", (900,)),
    ("list_queues", ("mail", "leased", "", "0", 10, "")),
    ("status", (*MAIL, "j1", 60000)),
    ("status", (*MAIL, "j4", 60000)),
    ("status", (*MAIL, "j5", 60000)),
    ("extend", ("mail", [Lease(*MAIL, "j1", "")], 70000, 60000)),
    ("extend", ("mail", [Lease(*MAIL, "j1", "1")], 70000, 60000)),
    ("extend", ("mail", [Lease(*MAIL, "j5", "")], 70000, 60000)),
    ("finish", (*MAIL, "j1", "1", 60000, 0)),
    ("finish", (*MAIL, "j1", "", 60000, 0)),
    ("finish", (*MAIL, "j1", "", 60000, 0)),
    ("finish", (*MAIL, "j5", "", 60000, 0)),
    ("extend", ("mail", [Lease(*MAIL, "j1", "")], 70000, 60000)),
    ("status", (*MAIL, "j1", 60000)),
    ("release", ("mail", [Lease(*MAIL, "j2", "1")], 0, False, 60000, 0, FAILING)),
    ("release", ("mail", [Lease(*MAIL, "j2", "")], 0, False, 60000, 0, FAILING)),
    ("release", ("mail", [Lease(*MAIL, "j3", "")], 0, True, 60000, 0, FAILING)),
    ("release", ("mail", [Lease(*MAIL, "j1", "")], 0, True, 60000, 0, FAILING)),
    ("release", ("mail", [Lease(*MAIL, "j5", "")], 0, True, 60000, 0, FAILING)),
    ("status", (*MAIL, "j3", 60000)),
    ("requeue", ("mail", 10, 60000, 0, FAILING)),
    ("requeue", ("post", 10, 60000, 0, FAILING)),
    ("interval", (*MAIL, 0, 60000)),
    ("interval", ("mail", "eve", 0, 60000)),
    ("interval_reset", (*MAIL, 60000)),
    ("interval_reset", (*MAIL, 60000)),
    ("limits", ("mail", "queue", "bob", 1.5, 2, 3, "acct", "why", 60000)),
    ("enqueue", ("mail", jobs_of("k1", "k2", "k3", "k4"))),
    ("dequeue", ("mail", 4, 60000, 1000)),
    (
        "settle",
        (
            "mail",
            [
                (*MAIL[1:], "k1", "", "finish", "3", "0", "", "", "", ""),
                (*MAIL[1:], "k1", "", "finish", "3", "0", "", "", "", ""),
                (*MAIL[1:], "k9", "", "finish", "3", "0", "", "", "", ""),
            ],
            60000,
            0,
            FAILING,
        ),
    ),
    (
        "settle",
        ("mail", [("bob", "k2", "", "return", "", "0", "1", "queue", "", "")], 60000, 0, FAILING),
    ),
    (
        "settle",
        ("mail", [("bob", "k3", "1", "release", "", "0", "", "", "", "")], 60000, 0, FAILING),
    ),
    (
        "settle",
        ("mail", [("bob", "k3", "", "release", "", "0", "", "", "", "")], 60000, 0, FAILING),
    ),
    (
        "settle",
        ("mail", [("bob", "k1", "", "release", "", "0", "", "", "", "")], 60000, 0, FAILING),
    ),
    (
        "settle",
        ("mail", [("bob", "k8", "", "release", "", "0", "", "", "", "")], 60000, 0, FAILING),
    ),
    ("show_limits", ("mail", "queue", "bob")),
    ("show_limits", ("mail", "queue", "eve")),
    ("show_limits", ("mail", "group", "acct")),
    ("show_limits", ("mail", "type", "")),
    ("pause", ("mail", "queue", "bob", REMOVE, "", "api", 60000, None)),
    ("finish_many", ("mail", [], 60000, 0)),
    ("finish_many", ("mail", [Lease(*MAIL, "j1", "1"), Lease(*MAIL, "j2", "1")], 60000, 0)),
    ("release", ("mail", [], 0, True, 60000, 0, FAILING)),
    ("extend", ("mail", [Lease(*MAIL, "j1", "1"), Lease(*MAIL, "j3", "")], 0, 60000)),
    ("list_jobs", (*MAIL, "returned", 0, 0, 1, 262144)),
    ("list_jobs", (*MAIL, "new", 0, 0, 1, 262144)),
    ("list_jobs", (*MAIL, "delayed", 0, 0, 100, 262144)),
    ("cancel", ("mail", [], 60000, 0)),
    ("cancel", ("mail", [Lease(*MAIL, "j1", "1"), Lease(*MAIL, "j3", "")], 60000, 0)),
    ("limits", ("mail", "queue", "bob", 1.5, 2, 3, "g", "why", 60000)),
    ("limits", ("mail", "type", "", None, None, 3, None, None, 60000)),
    ("show_limits", ("mail", "queue", "bob")),
    ("dry_run", ("mail", "queue", "bob", 5, None, None, None)),
    ("pause", ("mail", "group", "g", None, "", "api", 60000, None)),
    ("show_limits", ("mail", "group", "g")),
    ("show_limits", ("mail", "type", "")),
    ("dry_run", ("mail", "type", "", None, 2, None, None)),
    ("pause", ("mail", "group", "g", REMOVE, "", "api", 60000, None)),
    ("limits", ("mail", "type", "", None, None, REMOVE, None, None, 60000)),
    ("dead_begin", ("mail", "b1", "retry", "", "", "", None, None)),
    ("requeue", ("mail", 10, 60000, 0, FAILING)),
    ("dead_cancel", ("mail",)),
    ("dead_cancel", ("mail",)),
    ("dead_progress", ("post",)),
    ("enqueue", ("mail", jobs_of("d1", "d2", "d3", "d4"))),
    ("dequeue", ("mail", 100, 60000, 1000)),
    (
        "settle",
        ("mail", [("bob", "d1", "", "reject", "", "", "", "", "w1", "{}")], 60000, 0, FAILING),
    ),
    ("settle", ("mail", [("bob", "d2", "", "fail", "", "", "", "", "", "")], 60000, 0, FAILING)),
    ("settle", ("mail", [("bob", "d3", "", "fail", "", "", "", "", "", "")], 60000, 0, FAILING)),
    ("settle", ("mail", [("bob", "d4", "", "fail", "", "", "", "", "", "")], 60000, 0, FAILING)),
    ("status", (*MAIL, "d1", 60000)),
    ("type_metrics", ("mail",)),
    ("enqueue", ("mail", jobs_of("d1"))),
    ("dead_retry", ("mail", [("bob", "d1"), ("bob", "d2"), ("bob", "d9")])),
    ("dead_retry", ("mail", [("bob", "d2"), ("bob", "d3")])),
    ("dead_delete", ("mail", [("bob", "d4"), ("bob", "d3")])),
    ("dead_retry", ("mail", [])),
    ("dead_show", (*MAIL, "d1")),
    ("dead_show", (*MAIL, "d9")),
    ("dead_list", ("mail", "", "", "", None, "", 10, 262144)),
    ("dead_begin", ("mail", "b1", "retry", "bob", "", "", None, None)),
    ("dead_begin", ("mail", "b2", "retry", "", "", "", None, None)),
    ("dead_advance", ("mail", "s1", 9000)),
    ("dead_progress", ("mail",)),
    ("dead_advance", ("mail", "s1", 9000)),
    ("dead_progress", ("mail",)),
    ("chunk", ("mail", "?", "", b"")),
    ("chunk", ("mail", "", "t1", b"[]")),
    ("take_over", ("mail", "t2", [("bob", "m1", b"1", 0, -1, 0, "tail")])),
    ("take_over", ("mail", "t1", [])),
    ("take_over", ("mail", "t1", [("bob", "m1", b"1", 0, -1, 0, "tail")])),
    ("take_over", ("mail", "t1", [("bob", "m1", b"1", 0, -1, 0, "tail")])),
    ("take_over", ("mail", "", [("eve", f"m{at}", b"1", 0, -1, 0, "900") for at in range(3)])),
    ("take_over", ("mail", "", [("eve", f"m{at}", b"1", 0, -1, 0, "head") for at in range(4)])),
    ("clear", (*MAIL, 60000, True)),
    ("clear", (*MAIL, 60000, False)),
    ("unregister", ("mail", 60000)),
    ("unregister", ("post", 0)),
]


@pytest.fixture
def direct(clean_store: PrivateStore) -> Iterator[DirectStore]:
    direct = DirectStore(clean_store.socket_path)
    yield direct
    direct.close()


def as_it_is(reply: Any) -> Any:
    return reply


def test_a_header_names_what_is_answered(direct: DirectStore) -> None:
    scripts = shipped()
    direct.load(scripts)
    codec = Codec("p", scripts.digests)

    words: dict[str, set[str]] = {}
    for name, arguments in LIFE:
        reply = direct.run(Call(getattr(codec, name)(*arguments), b"", as_it_is))
        answer = HEADERS[name].answer
        assert answer.fits(reply), (name, arguments, reply)
        if answer.words:
            given = words.setdefault(name, set())
            given |= {reply.decode()} if isinstance(reply, bytes) else {reply[0].decode()}

    assert {name for name, _ in LIFE} == set(SOURCES)
    announced = {name: set(header.answer.words) for name, header in HEADERS.items()}
    assert words == {name: some for name, some in announced.items() if some}


# ---- the files ----

STATUS_WORDS = dict(
    zip(
        (token.text for token in tokens(INCLUDES["status"]) if token.kind == "name"),
        (token.text for token in tokens(INCLUDES["status"]) if token.kind == "string"),
        strict=True,
    )
)


def test_the_words_are_those_of_the_results() -> None:
    named = {k: v for k, v in vars(results).items() if k.isupper() and isinstance(v, str)}
    assert named.pop("INVALID") == "invalid_argument", "what is no lease never gets to a script"
    assert named == STATUS_WORDS


def spelled_words(source: str) -> list[str]:
    words = set(STATUS_WORDS.values())
    return [token.text for token in tokens(source) if token.kind == "string" if token.text in words]


@cases("name", [name for name in FILES if name != "include/status"])
def test_no_file_spells_a_status_word(name: str) -> None:
    assert spelled_words(FILES[name]) == []


@cases("name", FILES)
def test_a_file_is_short(name: str) -> None:
    assert len(FILES[name].splitlines()) <= MOST_LINES


@cases("name", INCLUDES)
def test_an_include_begins_with_what_it_does(name: str) -> None:
    assert re.match(r"-- \S", INCLUDES[name])


def asked_for(source: str) -> list[str]:
    return " ".join(re.findall(r"^ *--@include (.*)$", source, re.MULTILINE)).split()


def needless(source: str, includes: dict[str, str]) -> Iterator[str]:
    """The includes of which nothing is used, by the script or by another include."""
    asked = asked_for(source)
    for name in asked:
        others = [includes[other] for other in asked if other != name]
        used = set().union(*(used_names(text) for text in (source, *others)))
        if used.isdisjoint(declared_names(includes[name])):
            yield name


@cases("name", SOURCES)
def test_a_script_needs_what_it_includes(name: str) -> None:
    assert list(needless(SOURCES[name], INCLUDES)) == []


def test_every_include_is_used() -> None:
    used = {name for source in SOURCES.values() for name in asked_for(source)}
    assert set(INCLUDES) - used == set()


@cases("name", SOURCES)
def test_every_name_is_declared_before_it_is_used(name: str) -> None:
    assert free_names(expand(SOURCES[name], INCLUDES)) == []


@cases("name", SOURCES)
def test_the_store_knows_a_script_by_the_same_digest(name: str, direct: DirectStore) -> None:
    scripts = shipped()
    digest = scripts.digests[name]
    assert direct.command("SCRIPT", "LOAD", scripts.by_digest[digest]) == digest.encode()


# ---- the rules can complain ----


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("return later()\nlocal function later() end", "later"),
        ("local function a() return b() end\nlocal function b() end", "b"),
        ("for i = 1, 2 do local x = i end\nreturn x", "x"),
        ("for _, v in ipairs({}) do end\nreturn v", "v"),
        ("if true then local x = 1 else return x end", "x"),
        ("local t = {x = 1}\nreturn t.x + x", "x"),
        ("local f = function(a, ...) return a end\nreturn a", "a"),
        ("repeat local x = 1 until true\nx = 2", "x"),
        ("while true do local x = 1 end\nreturn x", "x"),
        ("return os.time()", "os"),
    ],
)
def test_a_name_that_nobody_has_declared_is_seen(source: str, name: str) -> None:
    assert [use.name for use in free_names(source)] == [name]


@pytest.mark.parametrize(
    "source",
    [
        "local function f(a) return a and f(a.b) end return f(KEYS[1])",
        "local a, b = 1, 2\nlocal t = {a = b, c = function() return a end}\nt.d, t.e = a, b",
        "local s = 'x' .. \"y\" .. [[z]] -- x\n--[[ y\nz ]] return s:len()",
        "for i = 1, 9 do if i > 8 then break elseif i < 0 then i = 1 else i = 2 end end",
    ],
)
def test_names_that_are_declared_pass(source: str) -> None:
    assert free_names(source) == []


@pytest.mark.parametrize("source", ["local a = 'b", "if true then", "function f() end", "a = ?"])
def test_what_is_no_lua_of_ours_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match=r"no Lua|not closed|local functions"):
        free_names(source)


def test_an_include_that_is_not_needed_is_seen() -> None:
    includes = {"a": "local function a() end", "b": "local function b() a() end", "c": "local c"}
    assert list(needless("--@include a b c\nb()", includes)) == ["c"]


@pytest.mark.parametrize("text", ["return 'dead'", 'if state == "queued" then end'])
def test_a_spelled_status_word_is_seen(text: str) -> None:
    assert len(spelled_words(text)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "return 1\n",
        "-- KEYS: a\n-- ARGV:\n-- Returns: 1\n",
        "-- It does.\n-- ARGV:\n-- KEYS: a\n-- Returns: 1\n",
        "-- It does.\n-- KEYS: a\nlocal a\n-- ARGV:\n-- Returns: 1\n",
    ],
)
def test_a_head_that_is_not_in_order_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="the file does not begin with"):
        read_header(source)


@pytest.mark.parametrize(
    ("text", "fitting", "unfitting"),
    [
        ("length", 1, [1]),
        ("status (a, b), left", [b"a", 1], [b"a"]),
        ("status (a, b), left", [b"a", 1], [b"a", 1, 1]),
        ("wait (0: now; -1: never), {a, b}", [1, 2, 3], [1, 2]),
        ("wait (0: now; -1: never), {a, b}", [1], 1),
        ("{a, b}", [1, 2, 3, 4], [1]),
        ("state; queued: before, turn; active: left", [b"queued", 1, 2], [b"active", 1, 2]),
        ("state; queued: before, turn; active: left", [b"dead"], [b"dead", 1]),
    ],
)
def test_an_answer_of_another_shape_is_seen(text: str, fitting: Any, unfitting: Any) -> None:
    answer = read_answer(text)
    assert (answer.fits(fitting), answer.fits(unfitting)) == (True, False)
