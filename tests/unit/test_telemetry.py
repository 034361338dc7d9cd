"""What a process counts, in memory that others read: cells, sums, names, and forms."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace
from typing import Any

import pytest

from sharq import results
from sharq.errors import StoreFull, StoreOutcomeUnknown, StoreUnavailable, UnexpectedReply
from sharq.observed import TypeMetrics
from sharq.results import DeadSummary, Ended, Enqueued, Swept
from sharq_server.api.replies import STATUS_OF_CODE
from sharq_server.push.news import News
from sharq_server.telemetry import fields
from sharq_server.telemetry.cells import Memory
from sharq_server.telemetry.fields import MOST_NAMED, OTHER
from sharq_server.telemetry.formats import Form, form_of
from sharq_server.telemetry.meter import Meter, TypeUse
from sharq_server.telemetry.store_state import StoreStates
from sharq_server.telemetry.totals import Totals, total
from tests.support.cases import cases


def queued(count: int) -> list[Enqueued]:
    return [Enqueued(results.QUEUED, 0)] * count


def enqueued(totals: Totals) -> dict[str, int]:
    return {name: values[fields.ENQUEUED] for name, values in totals.types.items()}


# ---- memory ----


def test_another_process_reads_what_one_counted_and_the_next_one_goes_on_from_there() -> None:
    memory = Memory(2)
    for count in (2, 3):
        child = os.fork()
        if not child:
            Meter(memory.slot(1)).on_enqueued("sms", queued(count))
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    Meter(memory.slot(0)).on_enqueued("sms", queued(10))
    Meter(memory.slot(0)).on_enqueued("mail", queued(1))
    assert enqueued(total(memory, memory.slot(0))) == {"mail": 1, "sms": 15, OTHER: 0}


def test_what_a_dead_process_held_is_forgotten_and_what_it_counted_is_not() -> None:
    memory = Memory(2)
    meter = Meter(memory.slot(1))
    meter.on_enqueued("sms", queued(2))
    meter.publish((4, 2), {"sms": TypeUse(1, 2, 3, 4, 5), "mail": TypeUse(deliver=1)})
    before = total(memory, memory.slot(0))
    cells = slice(fields.SUBSCRIBERS.at, fields.CREDIT.at + 2)
    assert before.types["sms"][cells] == [1, 2, 3, 4, 5]
    assert [before.process[cell] for cell in fields.PROCESS_GAUGES] == [4, 2]
    memory.slot(1).clear_gauges()
    after = total(memory, memory.slot(0))
    assert after.types["sms"][cells] == [0] * 5
    assert [after.process[cell] for cell in fields.PROCESS_GAUGES] == [0, 0]
    assert enqueued(after)["sms"] == 2


def test_subscribers_that_are_gone_are_not_told() -> None:
    memory = Memory()
    meter = Meter(memory.slot(0))
    meter.publish((1, 1), {"sms": TypeUse(deliver=3)})
    meter.publish((1, 1), {"mail": TypeUse(deliver=1)})
    types = total(memory, memory.slot(0)).types
    assert [types[name][fields.SUBSCRIBERS.at] for name in ("mail", "sms")] == [1, 0]


def test_names_without_a_place_share_a_block() -> None:
    memory = Memory()
    table = memory.slot(0).types
    at = {table.block(f"t{number}") for number in range(1024)}
    assert len(at) == 1024
    rest = {table.block(name) for name in ("one", "two", "x" * 100)}
    assert len(rest) == 1
    assert not rest & at
    assert table.block("t5") in at
    assert len(memory.slot(0).types.names()) == 1024


def test_the_next_process_takes_the_blocks_of_the_one_before() -> None:
    memory = Memory()
    for _ in range(3):
        Meter(memory.slot(0)).on_enqueued("sms", queued(1))
    assert memory.slot(0).types.names() == ["sms"]


def test_a_name_of_a_hundred_characters_is_kept_whole() -> None:
    memory = Memory()
    name = "x" * 100
    Meter(memory.slot(0)).on_enqueued(name, queued(1))
    assert enqueued(total(memory, memory.slot(0)))[name] == 1


# ---- which names are told ----


def test_the_hundred_most_used_types_are_told_by_name() -> None:
    memory = Memory(2)
    for number in range(150):
        Meter(memory.slot(number % 2)).on_enqueued(f"t{number:03}", queued(1 + number))
    told = enqueued(total(memory, memory.slot(0)))
    assert told.keys() == {*(f"t{number:03}" for number in range(50, 150)), OTHER}
    assert told[OTHER] == sum(range(1, 51))


def test_a_name_stays_once_it_was_told_whoever_tells_it() -> None:
    memory = Memory(2)
    first, second = Meter(memory.slot(0)), Meter(memory.slot(1))
    for number in range(MOST_NAMED):
        first.on_enqueued(f"t{number}", queued(1))
    before = enqueued(total(memory, memory.slot(0)))
    second.on_enqueued("late", queued(1000))
    after = enqueued(total(memory, memory.slot(1)))
    assert after == {**before, OTHER: 1000}


def test_free_places_go_to_types_with_jobs_before_those_that_are_registered() -> None:
    memory = Memory()
    for number in range(MOST_NAMED - 1):
        Meter(memory.slot(0)).on_enqueued(f"t{number}", queued(1))
    told = enqueued(total(memory, memory.slot(0), ["t3", "idle", "no-place"]))
    assert len(told) == MOST_NAMED + 1
    assert told["idle"] == 0
    assert "no-place" not in told


# ---- what is counted ----


def cells_after(memory: Memory, queue_type: str = "t") -> list[int]:
    return total(memory, memory.slot(0)).types[queue_type]


@cases(
    ("how", "outcome", "cell"),
    [
        ("finish", results.SUCCESS, fields.FINISHED),
        ("release", results.SUCCESS, fields.REQUEUED.of("released")),
        ("return", results.SUCCESS, fields.REQUEUED.of("released")),
        ("fail", results.SUCCESS, fields.REQUEUED.of("failed")),
        ("disconnect", results.SUCCESS, fields.REQUEUED.of("disconnected")),
        ("fail", results.DEAD, fields.DEAD.of("exhausted")),
        ("release", results.DEAD, fields.DEAD.of("exhausted")),
        ("reject", results.DEAD, fields.DEAD.of("rejected")),
        ("finish", results.NOT_ACTIVE, None),
        ("finish", results.STALE_LEASE, None),
        ("release", results.ALREADY_FINISHED, None),
    ],
)
def test_the_end_of_a_lease_is_counted_by_its_outcome(
    how: str, outcome: str, cell: int | None
) -> None:
    memory = Memory()
    meter = Meter(memory.slot(0))
    meter.on_enqueued("t", [])
    meter.on_ended("t", how, Ended(outcome))
    values = cells_after(memory)
    assert [at for at, value in enumerate(values) if value] == ([] if cell is None else [cell])


def test_enqueues_are_counted_by_their_outcomes() -> None:
    memory = Memory()
    outcomes = ["queued"] * 3 + ["duplicate"] * 2 + ["full", "full", "conflict"]
    Meter(memory.slot(0)).on_enqueued("t", [Enqueued(outcome, 0) for outcome in outcomes])
    values = cells_after(memory)
    assert values[fields.ENQUEUED] == 3
    assert values[fields.REFUSED.of("queue_full")] == 2
    assert values[fields.REFUSED.of("job_conflict")] == 1


def test_the_sweep_is_counted() -> None:
    memory = Memory()
    meter = Meter(memory.slot(0))
    meter.on_swept("t", Swept(3, 2, False, None, False, False))
    meter.on_swept("idle", Swept(0, 0, False, None, True, True))
    values = cells_after(memory)
    assert values[fields.REQUEUED.of("expired")] == 3
    assert values[fields.DEAD.of("expired")] == 2
    assert memory.slot(0).types.names() == ["t"]


def test_a_sweep_counts_as_one_only_where_this_server_made_the_round() -> None:
    memory = Memory()
    meter = Meter(memory.slot(0))
    meter.on_swept_all()
    assert total(memory, memory.slot(0)).swept_at == 0
    meter.on_round_claimed()
    meter.on_swept_all()
    first = total(memory, memory.slot(0)).swept_at
    assert first > 1_600_000_000_000
    memory.slot(0).cells[fields.SWEPT_AT] = 1
    meter.on_swept_all()
    assert total(memory, memory.slot(0)).swept_at == 1


def test_the_latest_sweep_of_all_processes_counts() -> None:
    memory = Memory(3)
    for index, at in enumerate((5, 9, 7)):
        memory.slot(index).cells[fields.SWEPT_AT] = at
    assert total(memory, memory.slot(0)).swept_at == 9


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreUnavailable(), "store_unavailable"),
        (StoreFull(), "store_full"),
        (StoreOutcomeUnknown(), StoreOutcomeUnknown().code),
        (UnexpectedReply("a bug"), "internal"),
    ],
)
def test_failures_of_the_store_are_counted_by_code(error: Any, code: str) -> None:
    memory = Memory()
    Meter(memory.slot(0)).on_failure(error)
    process = total(memory, memory.slot(0)).process
    assert process[fields.STORE_ERRORS.of(code)] == 1
    assert sum(process) == 1


def test_durations_fall_into_buckets() -> None:
    memory = Memory()
    meter = Meter(memory.slot(0))
    for ready_ms in (0, 1, 2, 3000, None):
        meter.on_dispatched("t", 2, ready_ms)
    values, histogram = cells_after(memory), fields.DISPATCH_DELAY
    assert values[histogram.at : histogram.sum_at] == [2, 1, 0, 0, 0, 0, 0, 0, 1]
    assert values[histogram.sum_at] == 3_003_000_000
    assert values[fields.DISPATCHED] == 10


def test_a_request_is_counted_by_route_and_status() -> None:
    memory = Memory()
    meter = Meter(memory.slot(0))
    for status in (200, 200, 503, 299):
        meter.on_request("/a/", status, 0.002)
    routes = total(memory, memory.slot(0)).routes
    assert [routes["/a/"][fields.ANSWERED.of(each)] for each in ("200", "503", "other")] == [
        2,
        1,
        1,
    ]
    assert not any(routes[OTHER])


def test_every_status_that_the_server_gives_has_a_cell() -> None:
    assert {str(status) for status in STATUS_OF_CODE.values()} <= {*fields.ANSWERED.values}


# ---- what becomes of wake-ups ----


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def news(memory: Memory) -> News:
    return News(Meter(memory.slot(0)))


def wakeups(memory: Memory) -> dict[str, int]:
    process = total(memory, memory.slot(0)).process
    return {each: process[fields.WAKEUPS.of(each)] for each in fields.WAKEUPS.values}


def test_a_wakeup_that_brings_jobs_is_taken(news: News, memory: Memory) -> None:
    news.on_wakeup()
    news.on_wakeup()
    wakeups_before = news.take()
    news.on_wakeup()  # while the store answers: for the next call
    news.answered(wakeups_before, 5)
    assert wakeups(memory) == {"taken": 2, "handed_on": 0, "in_vain": 0}
    news.answered(news.take(), 0)
    assert wakeups(memory) == {"taken": 2, "handed_on": 0, "in_vain": 1}
    news.answered(news.take(), 1)  # asked for other reasons
    assert sum(wakeups(memory).values()) == 3


def test_a_wakeup_without_room_is_handed_on_once(news: News, memory: Memory) -> None:
    news.on_wakeup()
    news.handed_on()
    news.handed_on()
    assert wakeups(memory) == {"taken": 0, "handed_on": 1, "in_vain": 0}


def test_what_was_known_before_a_failure_is_known_after_it(news: News, memory: Memory) -> None:
    news.on_wakeup()
    wakeups_before = news.take()
    news.on_wakeup()
    news.put_back(wakeups_before)
    news.answered(news.take(), 1)
    assert wakeups(memory)["taken"] == 2


# ---- the state of the store ----


class Store:
    """Stands in the place of an engine: answers for the types that it is asked for."""

    flows: Any = SimpleNamespace(watching=SimpleNamespace(types=lambda _: "names", metrics=list))

    def __init__(self) -> None:
        self.readings = 0
        self.away = False

    async def run(self, flow: Any) -> Any:
        await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailable
        if flow == "names":
            self.readings += 1
            return ["a", "b"], 0
        # A type that could not be asked for is left out.
        dead = DeadSummary(self.readings, 0, None, 0, 0)
        return 1, {"a": TypeMetrics(True, {}, {}, {}, None, None, dead, 1, 0, 0, 1, 0, 5, 0)}

    async def ping(self) -> None: ...


async def dead_letters(states: StoreStates) -> dict[str, int | None]:
    return {name: state.dead for name, state in (await states.latest()).items()}


def test_the_store_is_read_once_a_second_and_its_state_is_not_told_while_it_is_away(
    clock: Clock,
) -> None:
    async def check() -> None:
        store = Store()
        states = StoreStates(store, lambda registered: registered, clock)
        answers = await asyncio.gather(*(dead_letters(states) for _ in range(5)))
        assert answers == [{"a": 1}] * 5
        clock.now += 0.9
        assert await dead_letters(states) == {"a": 1}
        clock.now += 0.2
        assert await dead_letters(states) == {"a": 2}
        store.away = True
        clock.now += 1
        assert await dead_letters(states) == {}
        store.away = False
        clock.now += 1
        assert await dead_letters(states) == {"a": 3}

    asyncio.run(check())


# ---- forms ----

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.75,application/openmetrics-text;version=0.0.1;"
    "q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;"
    "escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@cases(
    ("accept", "form"),
    [
        (PROMETHEUS_2, Form.OPENMETRICS),
        (PROMETHEUS_3, Form.OPENMETRICS),
        ("text/plain;version=0.0.4;q=1,*/*;q=0.1", Form.TEXT),
        ('text/plain; version="0.0.4"', Form.TEXT),
        ("Application/OpenMetrics-Text", Form.OPENMETRICS),
        ("application/openmetrics-text;q=0.2, text/plain;version=0.0.4;q=0.3", Form.TEXT),
        ("application/openmetrics-text;q=0", None),
        ("application/openmetrics-text; q=0.000, text/plain; version=0.0.4", Form.TEXT),
        ("text/plain", None),
        ("text/plain;version=1.0.0", None),
        ("text/html,application/xhtml+xml,*/*;q=0.8", None),
        ("application/json", None),
        ("*/*", None),
        (";;,,q=", None),
        ("", None),
        (None, None),
    ],
)
def test_a_client_gets_the_form_that_it_names(accept: str | None, form: Form | None) -> None:
    assert form_of(accept) is form
