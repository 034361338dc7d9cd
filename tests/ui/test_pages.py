"""What each page shows."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.stores import PrivateStore
from tests.ui.conftest import Stand, StandMaker, Talk, retell

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.needs("chromium", "playwright")

Open = Callable[..., "Page"]

MARKUP = "<img src=x onerror=\"document.title='hit'\"><b>&amp;"


def see(page: Page, text: str | re.Pattern[str]) -> None:
    """Wait until the page has a text."""
    page.get_by_text(text).first.wait_for()


def row(page: Page, key: str) -> Any:
    return page.locator(f'tr[data-key="{key}"]')


class TestOverview:
    @pytest.fixture
    def stand(self, make_stand: StandMaker) -> Iterator[Stand]:
        """One that has never had a type."""
        stand = make_stand(environment="production")
        yield stand
        stand.close()

    def test_a_server_without_queues_says_what_to_do(self, stand: Stand, page: Page) -> None:
        see(page, "There is no queue yet")
        line = page.locator("code").inner_text()
        assert line.startswith(f"curl -X POST '{stand.root}/enqueue/sms/tenant-1/' -d '")

    def test_it_tells_what_holds_each_type(self, stand: Stand, page: Page) -> None:
        stand.fill(*(f"mail/q{at}" for at in range(8)))
        stand.fill("full/q", jobs=3)
        stand.subscriber().subscribe("full", credit=1)
        stand.call("POST", "/limits/sms/", {"interval": 3_600_000})
        stand.fill("sms/q", jobs=3)
        stand.take("sms")
        stand.fill("model/q", jobs=2, interval=600_000)
        stand.take("model")
        stand.fill("stopped/q", jobs=5)
        stand.call("POST", "/pause/stopped/")
        stand.kill("hooks", "q", "dead-1")

        see(page, "stopped: The type is paused.")
        row(page, "full").get_by_text("1, room 0").wait_for()
        text = {
            name: row(page, name).inner_text()
            for name in ("sms", "mail", "stopped", "model", "hooks", "full")
        }
        assert re.search(r"its rate until \d\d:\d\d\s*(59 min|1 h)", text["sms"])
        assert "ready" in text["mail"]
        assert "none" in text["mail"]
        assert "its pause until it is resumed" in text["stopped"]
        assert "limits of its queues" in text["model"]
        assert "nothing waits" in text["hooks"]
        assert "1, room 0" in text["full"]
        main = page.locator(".stat.main dd")
        assert main.inner_text() in ("3", "4"), "a minute may have begun"
        totals = page.locator(".stats").inner_text()
        assert "waiting\n18\n" in totals
        assert "dead letters\n1\n" in totals
        assert "room for 0 jobs" in totals
        assert page.locator("svg.spark").count() == 6
        assert page.locator("svg.chart polyline").count() == 6
        assert page.locator(".badge.production").inner_text() == "production"
        assert page.title() == "Overview (production)"
        # Once they have been ready for long enough.
        see(page, "mail: 8 queues are ready, and nobody asks for jobs.")
        see(page, "full: 1 queue is ready, and no worker has room.")

    def test_what_a_minute_has_is_judged_by_both_minutes(self, page: Page) -> None:
        """All of the running minute, and of the one before what is less than 60 s ago."""
        script = """async ([minutes, at]) => (await import('./chart.js')).lastMinute(minutes, at)"""
        minutes = {"0": [9, 9, 9], "60000": [60, 30, 1], "120000": [10, 20, 0]}
        for at, expected in (
            (120_000, [70, 50, 1]),
            (150_000, [40, 35, 1]),
            (179_999, [10, 20, 0]),
            (180_000, [10, 20, 0]),
            (210_000, [5, 10, 0]),
            (400_000, [0, 0, 0]),
        ):
            assert page.evaluate(script, [minutes, at]) == expected, at
        assert page.evaluate(script, [{}, 0]) == [0, 0, 0]

    def test_what_went_early_is_told(self, stand: Stand, open_page: Open) -> None:
        """No server in order has any: the page is told so by the test."""

        def early(topic: str, data: Any) -> None:
            for each in data.get("types", {}).values():
                each["early"] = 3

        stand.fill("sms/q")
        page = open_page("about:blank")
        retell(page, early)
        page.goto(stand.url)
        page.locator(".stat.bad", has_text="dispatched early").get_by_text("3").wait_for()

    def test_filters_are_in_the_address(self, stand: Stand, page: Page, open_page: Open) -> None:
        stand.fill("a1/q", "b/q")
        stand.fill("a2/q", jobs=9)
        row(page, "b").wait_for()
        page.get_by_label("Name has").fill("A")
        page.get_by_label("Order by").select_option("waiting")
        row(page, "b").wait_for(state="detached")
        assert page.url == f"{stand.url}?q=A&sort=waiting"
        for shown in (page, open_page(page.url)):
            row(shown, "a2").wait_for()
            assert shown.locator("tbody tr td:first-child").all_inner_texts() == ["a2", "a1"]
            assert shown.get_by_label("Name has").input_value() == "A"

    def test_links_lead_on_and_back(self, stand: Stand, page: Page, complaints: list[str]) -> None:
        complaints.append("status of 404 .*/status/sms/tenant-1/j1/")
        stand.fill("sms/q", jobs=31)
        page.evaluate("window.same = true")
        page.get_by_role("link", name="sms", exact=True).click()
        page.locator(".stat.main", has_text="31").wait_for()
        assert page.url == f"{stand.url}type/sms"
        assert page.title().startswith("sms")
        page.go_back()
        row(page, "sms").wait_for()
        assert page.evaluate("window.same") is True, "it is not loaded again"
        page.locator("[name=where]").fill("sms/tenant-1/j1")
        page.keyboard.press("Enter")
        see(page, "This job is not known")
        assert page.url == f"{stand.url}job/sms/tenant-1/j1"


class TestType:
    @pytest.fixture
    def page(self, stand: Stand, open_page: Open, kind: str) -> Page:
        """Of a type with a queue that is ready, and two that are held back by their rates."""
        stand.fill(f"{kind}/q1", jobs=10, interval=30_000, group="account-1")
        stand.take(kind)
        stand.fill(f"{kind}/q2", jobs=9, interval=60_000)
        stand.take(kind)
        stand.fill(f"{kind}/q0", jobs=10, interval=10_000)
        return open_page(f"{stand.url}type/{kind}")

    def test_the_top_queues_in_three_orders(self, stand: Stand, page: Page, kind: str) -> None:
        names = page.locator("tbody tr[data-key^=q] td:first-child")
        row(page, "q2").wait_for()
        assert names.all_inner_texts() == ["q0", "q1", "q2"]
        assert "ready for" in row(page, "q0").inner_text()
        assert re.search(r"its rate until [\d:]+\s*2\d s", row(page, "q1").inner_text())
        assert "1 min 30 s" in row(page, "q0").inner_text()
        assert "2 a minute" in row(page, "q1").inner_text()
        page.get_by_role("link", name="by time until drained").click()
        page.wait_for_function("document.querySelector('tbody tr td').innerText === 'q2'")
        assert names.all_inner_texts() == ["q2", "q1", "q0"]
        assert page.url.endswith("?by=drain")
        page.get_by_role("link", name="longest ready").click()
        row(page, "q2").wait_for(state="detached")
        assert names.all_inner_texts() == ["q0"]
        page.reload()
        row(page, "q0").wait_for()
        assert page.get_by_role("link", name="longest ready").get_attribute("aria-current")
        see(page, "1 queue is ready, the first for")
        see(page, "nobody subscribes.")

    def test_how_much_of_it_was_looked_at(self, stand: Stand, open_page: Open, kind: str) -> None:
        stand.fill(*(f"{kind}/q{at}" for at in range(25_000)), delay=3_600_000)
        page = open_page(f"{stand.url}type/{kind}")
        see(
            page,
            re.compile(r"of [12]0,\d{3} that were looked at, of 25,000; this round began at"),
        )
        page.get_by_text("that were looked at").wait_for(state="detached")
        assert page.locator("tbody tr[data-key^=q]").count() == 50

    def test_it_shows_queues_also_while_another_server_looks_for_the_first_time(
        self, stand: Stand, open_page: Open, kind: str, store: PrivateStore
    ) -> None:
        stand.fill(f"{kind}/q")
        # As a server leaves it that has begun, and has no sample yet.
        (schedule,) = store.client.keys(f"*:{kind}}}:ready")
        sample = schedule.decode().removesuffix("ready") + "sample"
        store.client.set(sample, "another ", px=5000)
        page = open_page(f"{stand.url}type/{kind}")
        row(page, "q").wait_for()

    def test_a_search_by_the_beginning_of_the_id(
        self, stand: Stand, open_page: Open, kind: str
    ) -> None:
        stand.fill(*(f"{kind}/{name}" for name in ("ab-1", "ab-2", "xab")))
        page = open_page(f"{stand.url}type/{kind}")
        page.get_by_label("Its id begins with").fill("ab")
        page.locator(".found li").nth(1).wait_for()
        assert sorted(page.locator(".found li").all_inner_texts()) == ["ab-1", "ab-2"]
        assert page.url.endswith("?prefix=ab")
        page.get_by_label("Its id begins with").fill("ab c")
        see(page, "A queue's id has letters, digits, - and _.")
        page.get_by_label("Its id begins with").fill("zz")
        see(page, "No queue with waiting or leased jobs begins so.")

    def test_a_group_has_its_limits_here(self, stand: Stand, page: Page, kind: str) -> None:
        body = {"interval": 50, "reason": MARKUP}
        stand.call("POST", f"/limits/{kind}/?group=account-1", body)
        page.get_by_role("link", name="account-1").click()
        see(page, "Limits of the group account-1")
        see(page, "20 a second (50 ms)")
        see(page, MARKUP)
        assert page.url.endswith("?group=account-1")


class TestQueue:
    @pytest.fixture
    def place(self, kind: str) -> str:
        return f"{kind}/tenant-1"

    def test_what_holds_it_and_until_when(
        self, stand: Stand, open_page: Open, kind: str, place: str
    ) -> None:
        for at in range(4):
            stand.enqueue(place, f"j{at}", interval=600_000)
        stand.take(kind)
        page = open_page(f"{stand.url}queue/{place}")
        see(page, re.compile(r"^Held back by its rate until \d\d:\d\d"))
        big = page.locator(".lead .big")
        first = big.inner_text()
        assert re.fullmatch(r"(9 min 5\d s|10 min)", first)
        page.wait_for_function(
            "first => document.querySelector('.lead .big').innerText !== first", arg=first
        )
        see(page, "0 early of 1")
        assert "6 an hour" in page.locator(".stats").inner_text()
        assert page.locator("svg rect.bar").count() == 10
        see(page, re.compile(r"permitted"))

    @pytest.mark.parametrize(
        ("steps", "words"),
        [
            ([("POST", "/pause/{}/", {})], "the pause"),
            ([("POST", "/pause/{}/q/", {"for": 60_000})], "its pause until"),
            ([("POST", "/limits/{}/q/", {"concurrency": 1})], "its concurrency."),
            ([("POST", "/limits/{}/", {"interval": 600_000})], "the rate of the type until"),
        ],
    )
    def test_each_holder_in_words(
        self, stand: Stand, open_page: Open, kind: str, steps: Any, words: str
    ) -> None:
        for method, path, body in steps:
            stand.call(method, path.format(kind), body)
        for at in range(2):
            stand.enqueue(f"{kind}/q", f"j{at}")
        if "pause" not in words:
            stand.take(kind)
        page = open_page(f"{stand.url}queue/{kind}/q")
        see(page, re.compile(rf"^Held back by {words}"))

    def test_one_that_is_free_and_one_that_is_empty(
        self, stand: Stand, open_page: Open, kind: str, place: str
    ) -> None:
        stand.enqueue(place)
        see(open_page(f"{stand.url}queue/{place}"), "a worker with room is all that is missing")
        see(open_page(f"{stand.url}queue/{kind}/empty"), "Nothing waits")

    def test_its_jobs_leases_and_dead_letters(
        self, stand: Stand, open_page: Open, kind: str, place: str
    ) -> None:
        stand.kill(kind, "tenant-1", "dead-1", type="OSError")
        stand.enqueue(place, "leased-1")
        lease = stand.take(kind)["lease"]
        for at in range(30):
            stand.enqueue(place, f"j{at}", {"n": at, "text": MARKUP})
        page = open_page(f"{stand.url}queue/{place}")
        row(page, "j24").wait_for()
        assert row(page, "j25").count() == 0
        page.get_by_role("button", name="more").click()
        row(page, "j29").wait_for()
        assert page.get_by_role("button", name="more").count() == 0
        assert MARKUP.replace('"', '\\"') in row(page, "j29").inner_text()
        row(page, "leased-1").wait_for()
        assert re.search(r"\b5\d s|1 min\b", row(page, "leased-1").inner_text())
        assert lease in row(page, "leased-1").inner_text()
        assert "OSError" in row(page, "dead-1").inner_text()
        assert "hit" not in page.title()
        stand.take(kind)
        page.keyboard.press("r")
        page.locator('[data-key="panel Leases"] [data-key=j0]').wait_for()
        page.locator('[data-key="panel Waiting jobs"] [data-key=j0]').wait_for(state="detached")
        page.get_by_role("link", name="j1", exact=True).click()
        see(page, "Waits in its queue")


# As JSON.parse would change each of them.
NUMBERS = '{"big": 9007199254740993, "exact": 1.10, "exp": 1E2, "half": "\\ud83d", "s": [1,\t2]}'


class TestJob:
    def test_one_that_waits(self, stand: Stand, open_page: Open, kind: str) -> None:
        for at in range(3):
            stand.enqueue(f"{kind}/q", f"j{at}", interval=60_000)
        page = open_page(f"{stand.url}job/{kind}/q/j2")
        see(page, "Waits in its queue")
        assert "jobs before it\n2" in page.locator(".stats").inner_text()
        assert "goes in\n2 min" in page.locator(".stats").inner_text()

    def test_its_payload_is_not_changed(self, stand: Stand, open_page: Open, kind: str) -> None:
        stand.enqueue_text(f"{kind}/q", NUMBERS)
        page = open_page(f"{stand.url}queue/{kind}/q")
        row(page, "j").wait_for()
        assert row(page, "j").locator("code").first.text_content() == NUMBERS
        page.goto(f"{stand.url}job/{kind}/q/j")
        page.locator("pre.payload").wait_for()
        assert page.locator("pre.payload").text_content() == NUMBERS

    def test_one_that_is_leased(self, stand: Stand, open_page: Open, kind: str) -> None:
        stand.enqueue(f"{kind}/q", "j", interval=0)
        stand.take(kind)
        stand.call("POST", f"/fail/{kind}/q/j/", {"error": {"message": MARKUP}, "delay": 0})
        stand.take(kind)
        page = open_page(f"{stand.url}job/{kind}/q/j")
        see(page, "Leased to a worker")
        see(page, re.compile(r"Its lease ends at \d\d:\d\d:\d\d\."))
        see(page, MARKUP)
        assert "attempt\n2" in page.locator(".stats").inner_text()

    def test_one_that_is_dead(self, stand: Stand, open_page: Open, kind: str) -> None:
        stand.kill(kind, "q", "j", type="OSError", message="no route", trace=f"line 1\n{MARKUP}")
        page = open_page(f"{stand.url}job/{kind}/q/j")
        see(page, "A dead letter")
        see(page, re.compile("OSError: no route|OSError"))
        assert MARKUP in (page.locator("pre").first.text_content() or "")
        assert page.locator("pre.payload").text_content() == '{"to": "j"}'
        assert "attempts\n1" in page.locator(".stats").inner_text()

    def test_one_that_is_finished_and_one_that_is_not_known(
        self, stand: Stand, open_page: Open, kind: str, complaints: list[str]
    ) -> None:
        complaints.append("status of 404 ")
        stand.enqueue(f"{kind}/q", "j")
        stand.take(kind)
        stand.call("POST", f"/finish/{kind}/q/j/")
        see(open_page(f"{stand.url}job/{kind}/q/j"), "Finished")
        see(open_page(f"{stand.url}job/{kind}/q/none"), "This job is not known")


class TestDead:
    def test_by_reason_error_and_queue(self, stand: Stand, open_page: Open, kind: str) -> None:
        for at in range(6):
            stand.kill(kind, f"q{at % 2}", f"j{at}", type=("OSError", "KeyError", MARKUP)[at % 3])
        page = open_page(f"{stand.url}dead/{kind}")
        row(page, "q1/j5").wait_for()
        see(page, f"6 dead letters of {kind}")
        assert page.locator("tbody tr").count() == 6
        page.get_by_role("link", name="KeyError", exact=True).click()
        row(page, "q1/j5").wait_for(state="detached")
        assert page.locator("tbody tr").count() == 2
        assert page.get_by_label("Error type").input_value() == "KeyError"
        page.get_by_label("Queue", exact=True).fill("q0")
        row(page, "q1/j1").wait_for(state="detached")
        assert page.url.endswith("?error=KeyError&queue_id=q0")
        page.reload()
        row(page, "q0/j4").wait_for()
        assert page.locator("tbody tr").count() == 1
        page.get_by_label("Reason").select_option("expired")
        see(page, "None matches this filter.")

    def test_which_types_have_some(self, stand: Stand, open_page: Open) -> None:
        for at in range(4):
            stand.kill("a" if at == 3 else "c", "q", f"j{at}")
        stand.fill("b/q")
        page = open_page(f"{stand.url}dead")
        row(page, "c").wait_for()
        assert page.locator("tbody tr td").all_inner_texts() == ["c", "3", "a", "1"]
        for name in ("a", "c"):
            stand.call("DELETE", f"/dead/{name}/", {"all": True})
        see(page, "No dead letters")


class TestWorkers:
    def test_nobody(self, stand: Stand, open_page: Open) -> None:
        see(open_page(f"{stand.url}workers"), "Nobody subscribes")

    def test_who_takes_what(self, stand: Stand, open_page: Open) -> None:
        full, free, idle = (stand.subscriber() for _ in range(3))
        stand.fill("sms/q", jobs=100)
        full.subscribe("sms", credit=100, worker=MARKUP)
        full.jobs(100)
        free.subscribe("sms", credit=100)
        stand.fill("sms/p")
        free.jobs(1)
        idle.subscribe("mail", credit=100, mode="notify")
        page = open_page(f"{stand.url}workers")
        rows = page.locator("tbody tr")
        rows.filter(has_text=MARKUP).wait_for()
        text = rows.filter(has_text=MARKUP).inner_text()
        assert "100 / 100" in text
        assert re.search(r"(\d|under 1) s ago", text)
        assert "deliver" in text
        assert "connection" in rows.filter(has_text="1 / 100").inner_text()
        assert "notify" in rows.filter(has_text="mail").inner_text()
        page.locator(".stat.main dd", has_text="199").wait_for()
        assert f"{socket.gethostname()}:{stand.server.process.pid}" in text
        page.locator(".filters select").select_option("mail")
        rows.filter(has_text=MARKUP).wait_for(state="detached")
        assert page.url.endswith("?type=mail")
        full.close()
        page.locator(".filters select").select_option("all")
        page.locator(".stat.main", has_text="1 held of a credit of 200").wait_for()

    def test_one_that_is_silent(self, stand: Stand, open_page: Open) -> None:
        """The server drops it at that time: the page is told so by the test."""

        def silent(topic: str, data: Any) -> None:
            for each in data.get("workers", {}).values():
                each["heard"] = 50_000

        stand.subscriber().subscribe("sms", credit=1)
        page = open_page("about:blank")
        retell(page, silent)
        page.goto(f"{stand.url}workers")
        page.locator("tbody tr .bad", has_text="50 s ago").wait_for()


def test_where_nothing_is_live_the_rest_works(stand: Stand, open_page: Open, kind: str) -> None:
    """As under a WSGI server, which has no push channel."""
    stand.enqueue(f"{kind}/q", "j", {"n": 1})

    def config(route: Any) -> None:
        told = route.fetch().json()
        route.fulfill(json=told | {"live": False})

    page = open_page("about:blank")
    talk = Talk(page)
    page.route("**/ui/config", config)
    page.goto(stand.url)
    see(page, "Nothing is live here")
    page.goto(f"{stand.url}queue/{kind}/q")
    row(page, "j").wait_for()
    assert page.locator(".live").count() == 0
    page.goto(f"{stand.url}job/{kind}/q/j")
    see(page, "Waits in its queue")
    assert talk.open() == 0


def test_a_page_that_is_none_says_so(stand: Stand, open_page: Open, complaints: list[str]) -> None:
    complaints.append("status of 404 ")
    page = open_page(f"{stand.url}")
    page.evaluate("history.pushState(null, '', 'nowhere'); dispatchEvent(new Event('popstate'))")
    see(page, "There is no such page")
    for place in ("nowhere", "queue/sms", "type/%3Cimg%20src=x%3E"):
        answer = page.goto(f"{stand.url}{place}")
        assert answer is not None
        assert answer.status == 404
        see(page, "There is no such page")
    page.locator("#page").get_by_role("link", name="Overview").click()
    page.wait_for_url(stand.url)


def test_a_queue_leads_to_the_group_that_holds_it(stand: Stand, open_page: Open, kind: str) -> None:
    stand.fill(f"{kind}/q", jobs=3, group="account")
    stand.call("POST", f"/pause/{kind}/?group=account", {"for": 3_600_000, "reason": "429s"})
    page = open_page(f"{stand.url}type/{kind}")
    told = page.locator('tr[data-key="q"] .held')
    told.wait_for()
    assert "the pause of its group until" in told.inner_text()
    page.goto(f"{stand.url}queue/{kind}/q")
    page.get_by_role("link", name="the pause of its group").click()
    see(page, "429s")
    page.get_by_role("button", name="resume…").click()
    see(page, f"Resume the group account of {kind}")


def test_delayed_jobs_are_not_among_those_that_wait(
    stand: Stand, open_page: Open, kind: str
) -> None:
    stand.fill(f"{kind}/now", jobs=2)
    stand.fill(f"{kind}/late", jobs=3, delay=600_000)
    page = open_page(f"{stand.url}type/{kind}")
    waiting = page.locator(".stat").first
    waiting.get_by_text("and 3 delayed").wait_for()
    assert waiting.locator("dd").inner_text() == "2"


def test_a_search_goes_on_until_it_has_found_something(
    stand: Stand, open_page: Open, kind: str
) -> None:
    stand.fill(*(f"{kind}/u-{at}" for at in range(2000)))
    page = open_page(f"{stand.url}type/{kind}?prefix=u-12")
    page.locator(".found li").nth(49).wait_for()
    assert all(name.startswith("u-12") for name in page.locator(".found li").all_inner_texts())
    page.wait_for_function(
        """() => {
          const buttons = [...document.querySelectorAll("button:enabled")];
          buttons.find((each) => each.textContent === "more")?.click();
          return document.body.innerText.includes("111 queues");
        }"""
    )
    assert page.locator(".found li").count() == 111
