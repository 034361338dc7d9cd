"""The flows, driven by hand: which calls they make, in which order, what they make of answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, TypeVar

import hiredis
import pytest

from sharq import results
from sharq.errors import (
    BadArgumentException,
    JobConflict,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from sharq.observed import TypeMetrics
from sharq.operations import registrations
from sharq.operations.call import Call, Flow
from sharq.operations.classic import Classic
from sharq.operations.cursors import QueueCursor
from sharq.operations.flows import Flows
from sharq.operations.operations import Operations, failing_word
from sharq.operations.replies import Page, TypePage
from sharq.operations.scripts import Scripts
from sharq.results import (
    CONFLICT,
    DUPLICATE,
    NOT_ACTIVE,
    QUEUED,
    SUCCESS,
    Cleared,
    Ended,
    Enqueued,
    NewJob,
    Overview,
    QueueMetrics,
    Swept,
)
from sharq.settings.options import QueueSettings
from tests.support.cases import cases

T = TypeVar("T")

SCRIPTS = Scripts()
NAMES = {digest.encode(): name for name, digest in SCRIPTS.digests.items()}


class Said(list[str]):
    """A call in words: the script's name and its arguments, without keys and prefixes of keys."""

    def __init__(self, call: Call[Any]) -> None:
        reader = hiredis.Reader()
        reader.feed(call.packed)
        _, digest, keys, *rest = reader.gets()
        arguments = [word.decode() for word in rest[int(keys) :]]
        super().__init__(
            [NAMES[digest], *(word for word in arguments if not word.startswith("{p"))]
        )
        self.key = call.key.decode()

    @property
    def name(self) -> str:
        return self[0]

    @property
    def queue_type(self) -> str:
        return self.key.removeprefix("{p:").removesuffix("}")


FAILING = failing_word(QueueSettings())


class Drive:
    """Runs flows against `answer`, which gets each call and gives its result or raises.

    `requests` are the requests so far: a call in words, or a list of such.
    """

    def __init__(self, answer: Callable[[Said], Any]) -> None:
        self.requests: list[Any] = []
        self.answer = answer

    def __call__(self, flow: Flow[T]) -> T:
        try:
            request = next(flow)
            while True:
                if isinstance(request, list):
                    said = [Said(call) for call in request]
                    self.requests.append([list(each) for each in said])
                    request = flow.send([self.caught(each) for each in said])
                else:
                    self.requests.append(list(Said(request)))
                    try:
                        answer = self.answer(Said(request))
                    except StoreError as error:
                        request = flow.throw(error)
                    else:
                        request = flow.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def caught(self, said: Said) -> Any:
        try:
            return self.answer(said)
        except StoreError as error:
            return error

    def names(self) -> list[Any]:
        """The names of the scripts that were called since the last look."""
        requests, self.requests = self.requests, []
        return [
            [call[0] for call in request] if isinstance(request[0], list) else request[0]
            for request in requests
        ]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def make(settings: QueueSettings | None = None, clock: Clock | None = None) -> Flows:
    settings = settings or QueueSettings()
    return Flows(Operations("p", settings, SCRIPTS), settings, clock or Clock())


def job(queue_type: str = "mail", job_id: str = "j1", queue_id: str = "bob") -> NewJob:
    return NewJob(queue_type, queue_id, job_id, b"1", 0, -1)


def store(said: Said) -> Any:
    """A store that takes everything."""
    if said.name == "register":
        return True
    return [Enqueued(QUEUED, int(job_id[1:])) for job_id in said[2::6]]


class Registry:
    """A store whose registry may fail for some types."""

    def __init__(self) -> None:
        self.failing: dict[str, StoreError] = {}

    def __call__(self, said: Said) -> Any:
        if said.name == "register" and said[1] in self.failing:
            raise self.failing[said[1]]
        return store(said)


# ---- the registration of types ----


def test_the_first_enqueue_of_a_type_registers_it_before() -> None:
    drive = Drive(store)
    assert drive(make().submit(job())) == Enqueued(QUEUED, 1)
    assert drive.requests == [
        [["register", "mail"]],
        ["enqueue", "bob", "j1", "1", "0", "-1", ""],
    ]


def test_a_type_is_registered_again_after_a_minute_and_not_before() -> None:
    clock, drive = Clock(), Drive(store)
    flows = make(clock=clock)
    drive(flows.submit(job()))
    drive.names()
    for later, expected in [
        (59.999, ["enqueue"]),
        (0.001, [["register"], "enqueue"]),
        (0.0, ["enqueue"]),
        (59.999, ["enqueue"]),
        (0.001, [["register"], "enqueue"]),
    ]:
        clock.now += later
        drive(flows.submit(job()))
        assert drive.names() == expected


def test_each_type_is_registered_on_its_own() -> None:
    drive, flows = Drive(store), make()
    for queue_type in ("mail", "post", "mail", "post"):
        drive(flows.submit(job(queue_type)))
    assert drive.names() == [*2 * [["register"], "enqueue"], "enqueue", "enqueue"]


def test_a_type_that_cannot_be_registered_takes_no_job() -> None:
    registry = Registry()
    registry.failing["mail"] = StoreUnavailable("away")
    drive, flows = Drive(registry), make()
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="away"):
            drive(flows.submit(job()))
        assert drive.names() == [["register"]]
    registry.failing.clear()
    drive(flows.submit(job()))
    assert drive.names() == [["register"], "enqueue"]


def test_a_registration_that_cannot_be_renewed_holds_for_ten_minutes() -> None:
    clock, registry = Clock(), Registry()
    drive, flows = Drive(registry), make(clock=clock)
    drive(flows.submit(job()))
    drive.names()
    registry.failing["mail"] = StoreUnavailable("away")
    for later, expected in [
        (60.0, [["register"], "enqueue"]),
        (4.999, ["enqueue"]),
        (0.001, [["register"], "enqueue"]),
        (534.9, [["register"], "enqueue"]),
    ]:
        clock.now += later
        drive(flows.submit(job()))
        assert drive.names() == expected
    clock.now += 5.0
    with pytest.raises(StoreUnavailable, match="away"):
        drive(flows.submit(job()))


def test_a_renewed_registration_starts_a_new_minute() -> None:
    clock, registry = Clock(), Registry()
    drive, flows = Drive(registry), make(clock=clock)
    drive(flows.submit(job()))
    registry.failing["mail"] = StoreUnavailable("away")
    clock.now += 60
    drive(flows.submit(job()))
    registry.failing.clear()
    clock.now += 5
    drive(flows.submit(job()))
    drive.names()
    clock.now += 59.999
    drive(flows.submit(job()))
    assert drive.names() == ["enqueue"]


def test_the_memory_of_registrations_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registrations, "_MOST_TYPES", 3)
    drive, flows = Drive(store), make()
    for queue_type in ("a", "b", "c", "d", "a"):
        drive(flows.submit(job(queue_type)))
    assert drive.names() == 5 * [["register"], "enqueue"]


# ---- many jobs ----


def test_many_jobs_are_registered_once_for_each_type_and_sent_together() -> None:
    drive, flows = Drive(store), make()
    jobs = [job("mail", "j1"), job("post", "j2"), job("mail", "j3", "eve")]
    assert drive(flows.submit_many(jobs)) == [Enqueued(QUEUED, n) for n in (1, 2, 3)]
    rest = ["1", "0", "-1", ""]
    assert drive.requests == [
        [["register", "mail"], ["register", "post"]],
        [
            ["enqueue", "bob", "j1", *rest, "eve", "j3", *rest],
            ["enqueue", "bob", "j2", *rest],
        ],
    ]
    drive.names()
    drive(flows.submit_many(jobs))
    assert drive.names() == [["enqueue", "enqueue"]]


def test_a_hundred_jobs_go_in_one_script_and_in_order() -> None:
    drive, flows = Drive(store), make()
    types = ["mail" if at % 5 else "post" for at in range(500)]
    jobs = [job(queue_type, f"j{at}") for at, queue_type in enumerate(types)]
    assert drive(flows.submit_many(jobs)) == [Enqueued(QUEUED, at) for at in range(500)]

    (_, calls) = drive.requests
    assert [len(call[2::6]) for call in calls] == [100, 100, 100, 100, 100]
    by_type = {
        queue_type: [f"j{at}" for at, each in enumerate(types) if each == queue_type]
        for queue_type in ("post", "mail")
    }
    sent = [job_id for call in calls for job_id in call[2::6]]
    assert sent == by_type["post"] + by_type["mail"]


def test_a_last_script_has_what_is_left() -> None:
    drive = Drive(store)
    drive(make().submit_many([job(job_id=f"j{at}") for at in range(201)]))
    assert [len(call[2::6]) for call in drive.requests[1]] == [100, 100, 1]


def test_no_jobs_need_no_call() -> None:
    drive = Drive(store)
    assert drive(make().submit_many([])) == []
    assert drive.requests == []


def test_a_type_that_cannot_be_registered_fails_alone() -> None:
    registry, away = Registry(), StoreUnavailable("away")
    registry.failing["post"] = away
    drive = Drive(registry)
    jobs = [job("mail", "j0"), job("post", "j1"), job("mail", "j2"), job("post", "j3")]
    answers = drive(make().submit_many(jobs))
    assert answers == [Enqueued(QUEUED, 0), away, Enqueued(QUEUED, 2), away]
    assert [[call[0] for call in request] for request in drive.requests] == [
        ["register", "register"],
        ["enqueue"],
    ]


def test_where_no_type_can_be_registered_nothing_is_sent() -> None:
    registry, away = Registry(), StoreUnavailable("away")
    registry.failing["mail"] = away
    drive = Drive(registry)
    assert drive(make().submit_many([job(), job()])) == [away, away]
    assert drive.names() == [["register"]]


def test_a_script_that_fails_takes_only_its_own_jobs_with_it() -> None:
    full = StoreFull()

    def answer(said: Said) -> Any:
        if "j150" in said:
            raise full
        return store(said)

    answers = Drive(answer)(make().submit_many([job(job_id=f"j{at}") for at in range(250)]))
    expected: list[Any] = [Enqueued(QUEUED, at) for at in range(250)]
    expected[100:200] = 100 * [full]
    assert answers == expected


# ---- arguments are looked at before anything is sent ----

LEASE = "mail/bob/j1/7"


def refused() -> Iterator[tuple[str, Flow[Any], str]]:
    """A flow with an argument that does not fit, and which one is complained of."""
    f, c = make(), Classic(make())
    bad = "no name"
    yield "enqueue", c.enqueue({}, "5", bad, bad, bad, -2), "interval"
    yield "enqueue", c.enqueue({1: b""}, 5, bad, bad, bad, -2), "job_id"
    yield "enqueue", c.enqueue({1: b""}, 5, "j1", bad, bad, -2), "queue_id"
    yield "enqueue", c.enqueue({1: b""}, 5, "j1", "bob", bad, -2), "queue_type"
    yield "enqueue", c.enqueue({1: b""}, 5, "j1", "bob", "mail", -2), "requeue_limit"
    yield "dequeue", c.dequeue(bad), "queue_type"
    yield "finish", c.finish(bad, bad, bad), "job_id"
    yield "finish", c.finish("j1", bad, bad), "queue_id"
    yield "finish", c.finish("j1", "bob", bad), "queue_type"
    yield "interval", c.interval(-1, bad, bad), "interval"
    yield "interval", c.interval(1, bad, bad), "queue_id"
    yield "interval", c.interval(1, "bob", bad), "queue_type"
    yield "metrics", c.metrics(bad, bad), "queue_id"
    yield "metrics", c.metrics("", None), "queue_type"
    yield "metrics", c.metrics(None, ""), "queue_id"
    yield "clear_queue", c.clear_queue(None, None, False), "queue_id"
    yield "clear_queue", c.clear_queue(None, "bob", False), "queue_type"
    yield "queue_length", f.queue_length(bad, bad), "queue_type"
    yield "queue_length", f.queue_length("mail", bad), "queue_id"

    yield "take", f.take(bad, 0, bad), "queue_type"
    for count in (0, 101, True, "1", None, 1.0):
        yield "take", f.take("mail", count, bad), "count"
    yield "take", f.take("mail", 1, bad), "request_id"
    yield "finish_job", f.finish_job(bad, bad, bad, 5), "job_id"
    for lease in ("", 5, b"", "mail/bob/j1", LEASE + "x", "post/bob/j1/7", "mail/eve/j1/7"):
        yield "finish_job", f.finish_job("mail", "bob", "j1", lease), "lease"
        yield "release_job", f.release_job("mail", "bob", "j1", lease, -1, 1), "lease"
        yield "extend_job", f.extend_job("mail", "bob", "j1", 0, lease), "lease"
    yield "release_job", f.release_job("mail", "bob", "j1", LEASE, -1, 1), "delay"
    for flag in (1, 0, [], "true"):
        yield "release_job", f.release_job("mail", "bob", "j1", LEASE, 0, flag), "count_requeue"
    for flag in (1, 0, None, "true"):
        yield "clear", f.clear("mail", "bob", flag), "purge_all"
    for cursor in ("", "x", 5, "n1", "n1-", "m1-1", "n-1-0", "r" + "1" * 16 + "-0", b"n1-0"):
        yield "job_page", f.job_page("mail", "bob", cursor, 1), "cursor"
    for cursor in ("", "x", 5, "w", "w-1", "q1", "w" + "9" * 20, b"w1"):
        yield "queue_page", f.queue_page("mail", cursor, 1), "cursor"
    for count in (0, -1, 1001, True, "1", None):
        yield "queue_page", f.queue_page("mail", None, count), "count"
        yield "job_page", f.job_page("mail", "bob", None, count), "count"
    for by in (0, -1, 31_536_000_001, True, None, "5"):
        yield "extend_job", f.extend_job("mail", "bob", "j1", by, None), "by"
    yield "job_status", f.job_status(bad, bad, bad), "job_id"
    yield "set_interval", f.set_interval(bad, bad, 1.0005), "interval"
    yield "reset_interval", f.reset_interval(bad, bad), "queue_id"
    yield "queue_ids", f.queue_ids(bad), "queue_type"
    yield "queue_metrics", f.queue_metrics(bad, bad), "queue_id"


@cases(("name", "flow", "field"), list(refused()))
def test_a_bad_argument_is_named(name: str, flow: Flow[Any], field: str) -> None:
    drive = Drive(store)
    with pytest.raises(BadArgumentException) as caught:
        drive(flow)
    assert str(caught.value) == f"`{field}` has an invalid value."
    assert drive.requests == []


@cases(
    ("changes", "field"),
    [
        ({"max_queued_length": -1}, "max_queued_length"),
        ({"max_queued_length": True}, "max_queued_length"),
        ({"max_queued_length": 2**63}, "max_queued_length"),
        ({"interval": True}, "interval"),
        ({"job_id": "a b"}, "job_id"),
        ({"queue_id": None}, "queue_id"),
        ({"queue_type": ""}, "queue_type"),
        ({"requeue_limit": -2}, "requeue_limit"),
    ],
)
def test_a_new_job_is_checked(changes: dict[str, Any], field: str) -> None:
    arguments: dict[str, Any] = {
        "payload": b"1",
        "interval": 0,
        "job_id": "j1",
        "queue_id": "bob",
        "queue_type": "mail",
        "requeue_limit": None,
        "max_queued_length": None,
    }
    assert make().new_job(**arguments) == job()
    with pytest.raises(BadArgumentException) as caught:
        make().new_job(**arguments | changes)
    assert str(caught.value) == f"`{field}` has an invalid value."


def test_a_payload_is_checked_last() -> None:
    with pytest.raises(BadArgumentException, match=r"^`payload` is not valid JSON"):
        make().new_job(b"nan", 0, "j1", "bob", "mail", 0, 0)
    drive = Drive(store)
    with pytest.raises(BadArgumentException, match=r"^`payload` has an invalid value: a key"):
        drive(Classic(make()).enqueue({1: 2}, 0, "j1", "bob", "mail", 0))
    assert drive.requests == []


def test_the_settings_give_the_requeue_limit_and_the_bound_of_payloads() -> None:
    flows = make(QueueSettings(default_job_requeue_limit=5, max_payload_bytes=3))
    assert flows.new_job(b"123", 0, "j1", "bob", "mail", None, None).requeue_limit == 5
    assert flows.new_job(b"123", 0, "j1", "bob", "mail", 0, None).requeue_limit == 0
    with pytest.raises(BadArgumentException, match="3 bytes"):
        flows.new_job(b"1234", 0, "j1", "bob", "mail", None, None)


# ---- one call ----


@cases(
    ("flow", "words"),
    [
        (make().take("mail", 100, "r1"), "dequeue 100 60000 262144 r1 '' '' 0"),
        (
            make().dispatch("mail", 64, ".s", 3, None, True),
            "dequeue 64 60000 262144 '' 3 1",
        ),
        (make().offer("mail", ".s", 5, 2, 250), "offer 5 2 250"),
        (make().finish_job("mail", "bob", "j1", LEASE), "finish 60000 3600000 bob/j1 7"),
        (make().job_status("mail", "bob", "j1"), "status 60000 bob j1"),
        (make().set_interval("mail", "bob", 5), "interval 3600000 bob 5"),
        (make().set_interval("mail", "bob", 5.0), "interval 3600000 bob 5"),
        (make().set_interval("mail", "bob", Decimal("0.25")), "interval 3600000 bob 0.25"),
        (make().reset_interval("mail", "bob"), "interval_reset 3600000"),
        (make().clear("mail", "bob", True), "clear 3600000 bob 1"),
        (make().queue_length("mail", "bob"), "queue_length"),
        (make().job_page("mail", "bob", None, 100), "list_jobs returned 0 0 100 262144"),
        (make().job_page("mail", "bob", "d9-8", 1), "list_jobs delayed 9 8 1 262144"),
        (make().queue_metrics("mail", "bob"), "queue_metrics bob"),
    ],
)
def test_a_flow_of_one_call(flow: Flow[Any], words: str) -> None:
    drive = Drive(lambda said: said)
    expected = ["" if word == "''" else word for word in words.split()]
    assert drive(flow) == expected
    assert drive.requests == [expected]


@pytest.mark.parametrize(
    ("flow", "words"),
    [
        (
            make().release_job("mail", "bob", "j1", LEASE, 5, False),
            f"release 60000 3600000 {FAILING}0 5 0 bob j1 7",
        ),
        (make().extend_job("mail", "bob", "j1", 5, LEASE), "extend 60000 5 bob j1 7"),
        (make().cancel_job("mail", "bob", "j1", LEASE), "cancel 60000 3600000 bob j1 7"),
        (make().cancel_job("mail", "bob", "j1", None), "cancel 60000 3600000 bob j1 ''"),
    ],
)
def test_one_lease_is_a_list_of_one(flow: Flow[Any], words: str) -> None:
    drive = Drive(lambda _: ["its outcome"])
    assert drive(flow) == "its outcome"
    assert drive.requests == [["" if word == "''" else word for word in words.split()]]


@pytest.mark.parametrize("name", ["finish", "extend", "release"])
def test_without_a_token_the_current_lease_is_meant(name: str) -> None:
    flows = make()
    flow: Flow[Any] = {
        "finish": flows.finish_job("mail", "bob", "j1", None),
        "extend": flows.extend_job("mail", "bob", "j1", 5, None),
        "release": flows.release_job("mail", "bob", "j1", None, 0, True),
    }[name]
    drive = Drive(lambda _: ["done"])
    drive(flow)
    (said,) = drive.requests
    name_at = said.index("bob/j1" if name == "finish" else "j1")
    assert said[name_at + 1] == ""


# ---- listings ----


PAGES = {
    QueueCursor(): (["a", "b"], QueueCursor("type", "", "7")),
    QueueCursor("type", "", "7"): ([], QueueCursor("group", "g")),
    QueueCursor("group", "g"): (["b", "c"], QueueCursor("leased")),
    QueueCursor("leased"): (["a", "x", "x"], None),
}


def a_page(said: Said) -> Page:
    _, part, group, at, _, prefix = said
    assert prefix == ""
    names, cursor = PAGES[QueueCursor(part, group, at)]
    return Page(cursor, names)


def test_the_queues_of_a_type_are_listed_once_over_all_pages() -> None:
    drive = Drive(a_page)
    assert drive(make().queue_ids("mail")) == ["a", "b", "c", "x"]
    assert [QueueCursor(*request[1:4]) for request in drive.requests] == list(PAGES)


def test_a_page_of_queues_names_the_next_one() -> None:
    cursor: str | None = None
    listed = []
    for _ in PAGES:
        page = Drive(a_page)(make().queue_page("mail", cursor, 10))
        listed.append(page.queue_ids)
        cursor = page.cursor
    assert cursor is None
    assert listed == [names for names, _ in PAGES.values()]


@pytest.mark.parametrize(
    "cursor", ["g0", "w0-g", "l5-g", "x0", "g0-", "g-g", "w18446744073709551616"]
)
def test_what_is_no_cursor_of_queues_is_refused(cursor: str) -> None:
    with pytest.raises(BadArgumentException, match="cursor"):
        Drive(a_page)(make().queue_page("mail", cursor, 10))


def test_a_type_without_queues_has_none() -> None:
    assert Drive(lambda _: Page(None, []))(make().queue_ids("mail")) == []


MINUTE = 60_000
NOW = 10_000 * MINUTE + 59_999
MINUTES = [10_000 * MINUTE - ago * MINUTE for ago in range(10)]


class Types:
    """A store with types on pages; `metrics` and `swept` are what it says of them."""

    def __init__(self, *pages: list[tuple[str, int]]) -> None:
        self.pages = pages
        self.metrics: dict[str, Any] = {}
        self.swept: dict[str, list[Any]] = {}
        self.unregistered: list[str] = []

    def __call__(self, said: Said) -> Any:
        if said.name == "ping":
            return NOW
        if said.name == "list_types":
            at = int(said[1])
            return TypePage(str((at + 1) % len(self.pages)), self.pages[at])
        if said.name == "unregister":
            self.unregistered.append(said[1])
            return True
        result = {
            "type_metrics": lambda: self.metrics[said.queue_type],
            "requeue": lambda: self.swept[said.queue_type].pop(0),
        }[said.name]()
        if isinstance(result, StoreError):
            raise result
        return result


def counted(enqueued: int, dequeued: int, has_jobs: bool = True) -> TypeMetrics:
    return metrics_of(
        has_jobs, {MINUTES[0]: enqueued, MINUTES[9]: 1}, {MINUTES[0]: dequeued, MINUTES[3]: 2}
    )


def metrics_of(has_jobs: bool, enqueued: dict[int, int], dequeued: dict[int, int]) -> TypeMetrics:
    dead = results.DeadSummary(0, 0, None, 0, 0)
    return TypeMetrics(
        has_jobs, enqueued, dequeued, {}, None, None, dead, *(0, 0, 0, 0, 0, None, 0)
    )


def test_an_overview_adds_up_the_types_of_all_pages() -> None:
    types = Types([("mail", 0), ("post", 0)], [], [("news", 0)])
    types.metrics = {"mail": counted(1, 2), "post": counted(10, 20, False), "news": counted(3, 4)}
    drive = Drive(types)
    zeros = dict.fromkeys(MINUTES, 0)
    assert drive(make().overview()) == Overview(
        ["mail", "news"],
        zeros | {MINUTES[0]: 14, MINUTES[9]: 3},
        zeros | {MINUTES[0]: 26, MINUTES[3]: 6},
    )
    assert drive.names() == [
        *("ping", "list_types", ["type_metrics", "type_metrics"]),
        *("list_types", "list_types", ["type_metrics"]),
    ]


def test_an_overview_counts_a_type_that_is_on_two_pages_once() -> None:
    types = Types([("mail", 0)], [("mail", 0)])
    types.metrics = {"mail": counted(1, 2)}
    overview = Drive(types)(make().overview())
    assert (overview.queue_types, sum(overview.enqueue_counts.values())) == (["mail"], 2)


def test_an_overview_leaves_out_minutes_that_are_not_its_own() -> None:
    types = Types([("mail", 0)])
    late, early = MINUTES[0] + MINUTE, MINUTES[9] - MINUTE
    types.metrics = {"mail": metrics_of(True, {late: 5, MINUTES[1]: 1}, {early: 5})}
    overview = Drive(types)(make().overview())
    assert list(overview.enqueue_counts) == list(overview.dequeue_counts) == MINUTES
    assert sum(overview.enqueue_counts.values()) == 1
    assert sum(overview.dequeue_counts.values()) == 0


def test_an_overview_of_nothing_has_zeros() -> None:
    overview = Drive(Types([]))(make().overview())
    assert overview == Overview([], dict.fromkeys(MINUTES, 0), dict.fromkeys(MINUTES, 0))


def test_an_overview_that_would_not_be_whole_fails() -> None:
    types = Types([("mail", 0), ("post", 0)])
    types.metrics = {"mail": counted(1, 2), "post": StoreUnavailable("away")}
    with pytest.raises(StoreUnavailable, match="away"):
        Drive(types)(make().overview())


# ---- the sweep ----

OLD = 900_000
NOTHING = Swept(0, 0, False, None, False, False)
VACANT = Swept(0, 0, False, None, True, True)


def test_a_sweep_goes_on_where_more_is_due() -> None:
    types = Types([("mail", 0), ("post", 0)], [("news", 0)])
    types.swept = {
        "mail": [
            Swept(98, 2, True, 0, False, False),
            Swept(100, 0, True, 0, False, False),
            NOTHING,
        ],
        "post": [Swept(1, 0, False, 5, False, False)],
        "news": [Swept(0, 3, False, 5, False, False)],
    }
    drive = Drive(types)
    assert drive(make().sweep()) == 204
    assert drive.names() == [
        *("list_types", ["requeue", "requeue"], ["requeue"], ["requeue"]),
        *("list_types", ["requeue"]),
    ]


def test_a_sweep_of_nothing_makes_one_call() -> None:
    drive = Drive(Types([]))
    assert drive(make().sweep()) == 0
    assert drive.names() == ["list_types"]


def test_a_sweep_unregisters_old_vacant_types_and_no_others() -> None:
    types = Types([("new", OLD - 1), ("old", OLD), ("used", OLD), ("emptied", OLD)])
    types.swept = {
        "new": [VACANT],
        "old": [VACANT],
        "used": [NOTHING],
        "emptied": [Swept(100, 0, True, 0, False, False), VACANT],
    }
    drive = Drive(types)
    assert drive(make().sweep()) == 100
    assert types.unregistered == ["old", "emptied"]
    assert drive.requests[-1] == [
        ["unregister", "old", "900000"],
        ["unregister", "emptied", "900000"],
    ]


def test_a_sweep_that_meets_an_error_goes_on_and_tells_the_first() -> None:
    types = Types([("mail", 0), ("post", OLD)], [("news", 0), ("pets", 0)])
    types.swept = {
        "mail": [StoreUnavailable("first")],
        "post": [VACANT],
        "news": [StoreFull("second")],
        "pets": [Swept(1, 0, True, 0, False, False), NOTHING],
    }
    drive = Drive(types)
    with pytest.raises(StoreUnavailable, match="first"):
        drive(make().sweep())
    assert types.unregistered == ["post"]
    assert types.swept["pets"] == []


def test_a_type_that_cannot_be_unregistered_does_not_stop_the_sweep() -> None:
    types = Types([("old", OLD)], [("mail", 0)])
    types.swept = {"old": [VACANT], "mail": [NOTHING]}

    def answer(said: Said) -> Any:
        if said.name == "unregister":
            raise StoreUnavailable("away")
        return types(said)

    with pytest.raises(StoreUnavailable, match="away"):
        Drive(answer)(make().sweep())
    assert types.swept["mail"] == []


# ---- the original's answers ----


def answering(result: Any) -> Drive:
    return Drive(lambda said: True if said.name == "register" else result)


def enqueue() -> Flow[dict[str, Any]]:
    return Classic(make()).enqueue({"a": [1, "é"]}, 5, "j1", "bob", "mail", None)


def test_an_enqueue_sends_the_payload_as_compact_json() -> None:
    drive = Drive(store)
    drive(enqueue())
    assert drive.requests[-1] == ["enqueue", "bob", "j1", '{"a":[1,"é"]}', "5", "-1", ""]


@pytest.mark.parametrize("outcome", [QUEUED, DUPLICATE])
def test_a_duplicate_is_answered_as_the_first(outcome: str) -> None:
    assert answering([Enqueued(outcome, 3)])(enqueue()) == {"status": "queued"}


def test_a_conflict_is_raised() -> None:
    with pytest.raises(JobConflict) as caught:
        answering([Enqueued(CONFLICT, 3)])(enqueue())
    assert str(caught.value) == "A job with this `job_id` and another payload is queued or active."


@cases(
    ("flow", "result", "answer"),
    [
        ("finish", Ended(SUCCESS), {"status": "success"}),
        ("finish", Ended(NOT_ACTIVE), {"status": "failure"}),
        ("interval", True, {"status": "success"}),
        ("interval", False, {"status": "failure"}),
        (
            "clear",
            Cleared(1, 0),
            {"status": "Success", "message": "Successfully removed all queued calls"},
        ),
        ("clear", Cleared(0, 0), {"status": "Failure", "message": "No queued calls found"}),
        (
            "purge",
            Cleared(0, 1),
            {
                "status": "Success",
                "message": "Successfully removed all queued calls and purged related resources",
            },
        ),
        ("purge", Cleared(0, 0), {"status": "Failure", "message": "No queued calls found"}),
    ],
)
def test_an_answer_of_the_original(flow: str, result: Any, answer: dict[str, str]) -> None:
    classic = Classic(make())
    flows = {
        "finish": classic.finish("j1", "bob", "mail"),
        "interval": classic.interval(5, "bob", "mail"),
        "clear": classic.clear_queue("mail", "bob", False),
        "purge": classic.clear_queue("mail", "bob", True),
    }
    assert answering(result)(flows[flow]) == answer


def test_the_metrics_of_a_queue_have_the_original_keys_only() -> None:
    metrics = QueueMetrics(3, 1, 5, "api", 7, {MINUTE: 2}, {MINUTE: 1})
    assert answering(metrics)(Classic(make()).metrics("mail", "bob")) == {
        "status": "success",
        "queue_length": 3,
        "enqueue_counts": {"60000": 2},
        "dequeue_counts": {"60000": 1},
    }


def test_a_queue_id_without_its_type_is_refused() -> None:
    with pytest.raises(BadArgumentException) as caught:
        Drive(store)(Classic(make()).metrics(None, "bob"))
    assert str(caught.value) == "`queue_id` should be accompanied by `queue_type`."
