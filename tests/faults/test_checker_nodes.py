"""What promotions may lose and what not, and for how long types may be without service."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.faults.checker.served import Row
from tests.faults.history import Delivered, Event
from tests.faults.story import START, WALL, Story, dispatches, jobs

KILL = "kill a primary"


def t_of(ms: int) -> int:
    """The time of the history (µs) at so many ms of a story."""
    return START * 1000 - WALL + ms * 1000


class Acked(Story):
    """A store of several nodes; by default nobody waits for replicas."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = {"replicas_acked": 0}

    def do(self, ms: int, op: str, answer: Any = None, *, p: str = "c", **fields: Any) -> None:
        """A client asks for something, and it succeeds a ms later."""
        self._operations += 1
        head: dict[str, Any] = {"p": p, "op": op, "i": self._operations}
        named = {"type": "t", "queue": "q", "payload": msgspec.Raw(b"1"), **fields}
        self.history.append(Event(t=t_of(ms), e="invoke", **head, **named))
        self.history.append(Event(t=t_of(ms + 1), e="ok", **head, **(answer or {})))

    def promote(self, kind: str, begin: int, at: int, end: int, types: str = "t") -> None:
        """A fault of a primary, from `begin`, a promotion, and the return as a replica at `end`."""
        of = types.split()
        self.note(kind, p="faults", ms=begin, phase="begin", target="node-1", types=of)
        self.note("promoted", p="faults", ms=at, target="node-2", types=of, kind=kind)
        self.note("able", p="faults", ms=at, types=of)
        self.note("returned", p="faults", ms=end - 100, target="node-1", types=of)
        self.note("demoted", p="faults", ms=end, target="node-1", types=of)
        self.note(kind, p="faults", ms=end, phase="end", target="node-1", types=of)

    def lost(self) -> dict[str, int]:
        """All that was counted as lost."""
        lost: dict[str, int] = {}
        for promotion in self.report().promotions:
            for what, count in promotion.lost.items():
                lost[what] = lost.get(what, 0) + count
        return {what: count for what, count in lost.items() if count}


@pytest.fixture
def story() -> Acked:
    return Acked()


# ---- What may be lost ----


@pytest.mark.parametrize(
    ("ms", "violated"),
    [(3900, {"I1"}), (4100, set()), (7400, set()), (7600, {"I1"})],
)
def test_a_promotion_loses_what_was_acknowledged_around_it_and_nothing_else(
    story: Acked, ms: int, violated: set[str]
) -> None:
    story.promote(KILL, 5000, 7000, 9000)
    story.do(ms, "enqueue", job="j1")
    assert story.violated == violated
    assert story.lost() == ({} if violated else {"enqueues": 1})


def test_with_replicas_that_are_waited_for_nothing_is_lost(story: Acked) -> None:
    story.settings["replicas_acked"] = 1
    story.promote(KILL, 5000, 7000, 9000)
    story.do(4900, "enqueue", job="j1")
    assert story.violated == {"I1"}
    assert [promotion.exposed for promotion in story.report().promotions] == [1]


def test_what_was_not_lost_is_not_counted(story: Acked) -> None:
    story.promote(KILL, 5000, 7000, 9000)
    story.do(4900, "enqueue", job="j1")
    story.put("j1", 4900)
    assert story.violated == set()
    assert story.lost() == {}


def test_types_of_other_nodes_lose_nothing(story: Acked) -> None:
    story.promote(KILL, 5000, 7000, 9000, "other")
    story.do(4900, "enqueue", job="j1")
    assert story.violated == {"I1"}


def test_nothing_may_have_been_ready_where_what_was_given_out_was_lost(story: Acked) -> None:
    jobs(story, 1, 0)
    story.do(4900, "dequeue", request_id="r")
    dispatches(story, 7100)
    story.promote(KILL, 5000, 7000, 9000)
    assert story.violated == set()
    story.settings["replicas_acked"] = 1
    assert story.violated == {"I16"}


@pytest.mark.parametrize("kind", ["fail over", "restart a primary", "kill a replica"])
def test_where_a_primary_goes_in_good_order_nothing_is_lost(story: Acked, kind: str) -> None:
    story.promote(kind, 5000, 7000, 9000)
    story.do(5100, "enqueue", job="j1")
    assert story.violated == {"I1"}


def test_a_promotion_that_nobody_has_asked_for_may_lose_something(story: Acked) -> None:
    story.note("promoted", p="faults", ms=7000, target="node-2", types=["t"], kind="")
    story.do(5000, "enqueue", job="j1")
    assert story.violated == set()
    story.do(900, "enqueue", job="j2")
    assert story.violated == {"I1"}


@pytest.mark.parametrize(
    ("kind", "ms", "violated"),
    [
        (KILL, 8000, {"I1"}),
        (KILL, 8950, set()),
        ("hang a primary", 8950, set()),
        ("cut off a primary", 8000, set()),
        ("cut off a primary", 9600, {"I1"}),
    ],
)
def test_a_node_that_was_replaced_may_take_writes_until_it_is_a_replica(
    story: Acked, kind: str, ms: int, violated: set[str]
) -> None:
    story.promote(kind, 5000, 7000, 9000)
    story.do(ms, "enqueue", job="j1")
    assert story.violated == violated


def test_a_finish_may_be_lost_and_the_job_come_again(story: Acked) -> None:
    jobs(story, 1, 0)
    dispatches(story, 4000)
    story.do(4900, "finish", job="j1", n=1)
    story.back("j1", 1, 5050)
    story.promote(KILL, 5000, 7000, 9000)
    assert story.violated == set()
    assert story.lost() == {"finishes": 1}
    story.settings["replicas_acked"] = 1
    assert story.violated == {"I6"}


def test_a_delivery_may_be_lost(story: Acked) -> None:
    jobs(story, 1, 0)
    given = Delivered(queue="q", job="j1", n=1, left=-1, payload=msgspec.Raw(b"1"))
    story.do(4900, "dequeue", {"jobs": [given]})
    story.note("deliver", ms=4901, type="t", queue="q", job="j1", n=2, payload=msgspec.Raw(b"1"))
    dispatches(story, 7100)
    story.audit[-1].n = 3
    story.promote(KILL, 5000, 7000, 9000)
    assert story.violated == set()
    assert story.lost() == {"dispatches": 2}
    story.settings["replicas_acked"] = 1
    assert story.violated == {"I2"}


def test_a_lease_number_goes_out_once_whatever_is_lost(story: Acked) -> None:
    jobs(story, 2, 0)
    given = Delivered(queue="q", job="j2", n=1, left=-1, payload=msgspec.Raw(b"1"))
    story.do(4900, "dequeue", {"jobs": [given]})
    dispatches(story, 7100)
    story.promote(KILL, 5000, 7000, 9000)
    assert "I12" in story.violated


# ---- For how long types are not served ----


PROBES = ("mine", "theirs")


def probe(story: Acked, queue_type: str, *gaps: tuple[int, int], until: int = 13_000) -> None:
    """Something succeeds every 20 ms, but for the gaps."""
    given = Delivered(queue="q", job="j1", n=1, left=-1, payload=msgspec.Raw(b"1"))
    for ms in range(0, until, 20):
        if not any(begin < ms < end for begin, end in gaps):
            story.do(ms, "enqueue", {"duplicate": True}, p=f"{queue_type}-put", type=queue_type)
            story.do(ms, "dequeue", {"jobs": [given]}, p=f"{queue_type}-take", type=queue_type)


def served(story: Acked) -> tuple[set[str], list[Row]]:
    """What of the service is violated, and the table."""
    report = story.report()
    first = [violation for tally in report.tallies.values() for violation in tally.first]
    told = {each.invariant for each in first if "a primary: " in each.message}
    return told, report.outages


@pytest.fixture
def probed(story: Acked) -> Acked:
    story.settings["probes"] = PROBES
    return story


def test_the_outage_of_a_type_is_told(probed: Acked) -> None:
    probed.promote(KILL, 2000, 4000, 5000, "mine t")
    probe(probed, "mine", (2000, 4500))
    probe(probed, "theirs")
    violated, (row,) = served(probed)
    assert violated == set()
    assert (row.kind, row.count, row.late) == (KILL, 1, 0)
    assert row.enqueue == row.dispatch == (501, 501)
    assert row.gap is not None
    assert 2500 <= row.gap[0] <= 2520
    assert row.others == 20


@pytest.mark.parametrize(("until", "violated"), [(8900, set()), (9100, {"I8"})])
def test_service_is_back_soon_after_a_promotion(
    probed: Acked, until: int, violated: set[str]
) -> None:
    probed.promote(KILL, 2000, 4000, 5000, "mine t")
    probe(probed, "mine", (2000, until))
    probe(probed, "theirs")
    found, (row,) = served(probed)
    assert found == violated
    assert row.late == 1


def test_the_time_counts_from_when_a_node_could_serve(probed: Acked) -> None:
    probed.promote(KILL, 2000, 4000, 9500, "mine t")
    probed.note("able", p="faults", ms=9000, types=["mine", "t"])
    probed.history[-1], probed.history[-2] = probed.history[-2], probed.history[-1]
    probe(probed, "mine", (2000, 9400))
    probe(probed, "theirs")
    violated, (row,) = served(probed)
    assert violated == set()
    assert row.enqueue == (401, 401)


@pytest.mark.parametrize(
    ("stalls", "violated"), [((), {"I11"}), ((1000,), set())], ids=["served late", "seen late"]
)
def test_types_of_other_nodes_do_not_notice(
    probed: Acked, stalls: tuple[int, ...], violated: set[str]
) -> None:
    probed.promote(KILL, 2000, 4000, 5000, "mine t")
    probe(probed, "mine", (2000, 4500))
    probe(probed, "theirs", (2100, 4500))
    for ms in stalls:
        probed.history.append(Event(t=t_of(4000), p="probes", e="note", op="stall", ms=ms))
    assert served(probed)[0] == violated


def test_after_a_step_of_the_clock_dispatches_are_not_looked_at(probed: Acked) -> None:
    probed.promote(KILL, 2000, 4000, 5000, "mine t")
    probed.fault("step the clock back", 1000, 1001)
    probe(probed, "mine", (2000, 4500))
    probe(probed, "theirs")
    probed.history = [each for each in probed.history if "theirs-take" not in each.p]
    violated, (row,) = served(probed)
    assert violated == set()
    assert (row.enqueue, row.dispatch) == ((501, 501), None)


@pytest.mark.parametrize(
    ("types", "late", "violated"),
    [
        ("t", 8200, set()),
        ("t", 8201, {"I8"}),
        ("other", 1200, set()),
        ("other", 1201, {"I8"}),
    ],
)
def test_leases_are_taken_back_later_while_their_own_node_is_away(
    story: Acked, types: str, late: int, violated: set[str]
) -> None:
    jobs(story, 1, 0)
    dispatches(story, 0)
    story.promote(KILL, 1100, 2000, 3000, types)
    story.back("j1", 1, late)
    assert story.violated == violated
