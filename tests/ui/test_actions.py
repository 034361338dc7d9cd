"""Each action, on a real server: the question, its line for curl, what it did."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.stores import wait_for
from tests.ui.conftest import Stand

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.needs("chromium", "playwright")

Open = Callable[..., "Page"]


def question(page: Page, button: str) -> Locator:
    """The dialog that a button opens."""
    page.get_by_role("button", name=button, exact=True).click()
    dialog = page.locator("dialog")
    dialog.wait_for()
    return dialog


def line_of(dialog: Locator) -> list[str]:
    """The words of the line for curl."""
    return shlex.split(dialog.locator("code.curl").inner_text())


def answer(page: Page, dialog: Locator, verb: str, told: str) -> None:
    """Do it, and see what is told."""
    dialog.get_by_role("button", name=verb, exact=True).click()
    dialog.wait_for(state="detached")
    page.locator(".toast", has_text=told).wait_for()


def a_queue(stand: Stand, open_page: Open, kind: str, jobs: int = 3, **more: Any) -> Page:
    stand.fill(f"{kind}/q", jobs=jobs, **more)
    page = open_page(f"{stand.url}queue/{kind}/q")
    page.locator("dl.stats").wait_for()
    return page


class TestPause:
    def test_a_queue(self, stand: Stand, open_page: Open, kind: str) -> None:
        page = a_queue(stand, open_page, kind)
        dialog = question(page, "pause…")
        dialog.get_by_label("For").select_option("1 minute")
        dialog.get_by_label("Reason").fill("it's 429")
        words = line_of(dialog)
        assert words[:4] == ["curl", "-X", "POST", f"{stand.root}/pause/{kind}/q/"]
        assert json.loads(words[words.index("-d") + 1]) == {"for": 60_000, "reason": "it's 429"}
        answer(page, dialog, "pause", f"Paused: the queue {kind}/q.")
        pause = stand.call("GET", f"/limits/{kind}/q/")["pause"]
        assert (pause["reason"], pause["set_by"]) == ("it's 429", "api")
        page.get_by_text("“it's 429”").wait_for()
        answer(page, question(page, "resume…"), "resume", "Resumed")
        assert stand.call("GET", f"/limits/{kind}/q/")["pause"] is None

    def test_a_type_and_a_group(self, stand: Stand, open_page: Open, kind: str) -> None:
        page = open_page(f"{stand.url}type/{kind}?group=g")
        page.get_by_text("Limits of the group g").wait_for()
        page.get_by_role("button", name="pause…").first.click()
        answer(page, page.locator("dialog"), "pause", f"Paused: the type {kind}.")
        assert stand.call("GET", f"/limits/{kind}/")["pause"]["until"] is None
        page.locator(".group").get_by_role("button", name="pause…").click()
        dialog = page.locator("dialog")
        assert line_of(dialog)[3] == f"{stand.root}/pause/{kind}/?group=g"
        answer(page, dialog, "pause", f"Paused: the group g of {kind}.")
        assert stand.call("GET", f"/limits/{kind}/?group=g")["pause"] is not None
        page.locator(".group").get_by_role("button", name="resume…").click()
        answer(page, page.locator("dialog"), "resume", f"Resumed: the group g of {kind}.")


class TestLimits:
    def test_a_change_is_foreseen_before_it_is_made(
        self, stand: Stand, open_page: Open, kind: str
    ) -> None:
        page = a_queue(stand, open_page, kind, 11, interval=600_000)
        dialog = question(page, "change…")
        go = dialog.get_by_role("button", name="set", exact=True)
        assert go.is_disabled()
        assert "Nothing is changed yet." in dialog.inner_text()
        dialog.get_by_label("Interval, ms").fill("60000")
        told = dialog.get_by_text(re.compile(r"^Drains "))
        told.wait_for()
        assert re.fullmatch(
            r"Drains .*\d\d:\d\d → .*\d\d:\d\d \(1 h 40 min → 10 min\)\.", told.inner_text()
        )
        assert stand.call("GET", f"/limits/{kind}/q/")["limits"]["interval"] == 600_000
        dialog.get_by_label("Burst").fill("x")
        dialog.get_by_text("Burst: a whole number, 1 to 1,000,000.").wait_for()
        assert go.is_disabled()
        dialog.get_by_label("Burst").fill("2")
        dialog.get_by_label("Group").fill("account-1")
        dialog.get_by_label("Reason").fill("contract")
        words = line_of(dialog)
        assert words[3] == f"{stand.root}/limits/{kind}/q/"
        answer(page, dialog, "set", "are set")
        limits = stand.call("GET", f"/limits/{kind}/q/")
        wanted = {"interval": 60_000, "burst": 2, "group": "account-1"}
        assert json.loads(words[-1]) == {**wanted, "reason": "contract"}
        assert limits["limits"] == {**wanted, "concurrency": None}
        assert limits["reason"] == "contract"
        assert limits["set_by"]["interval"] == "api"

    def test_one_value_is_given_back_and_then_all(
        self, stand: Stand, open_page: Open, kind: str
    ) -> None:
        stand.call("POST", f"/limits/{kind}/q/", {"interval": 500, "burst": 3})
        page = a_queue(stand, open_page, kind)
        dialog = question(page, "change…")
        dialog.get_by_label("give burst back").check()
        assert json.loads(line_of(dialog)[-1]) == {"burst": None}
        answer(page, dialog, "set", "are set")
        assert stand.call("GET", f"/limits/{kind}/q/")["limits"]["burst"] is None
        dialog = question(page, "give back…")
        answer(page, dialog, "give back", "were given back")
        assert stand.call("GET", f"/limits/{kind}/q/")["set_by"]["interval"] != "api"

    def test_a_refusal_is_shown_and_changes_nothing(
        self, stand: Stand, open_page: Open, kind: str, complaints: list[str]
    ) -> None:
        complaints.append("status of 400 ")
        page = a_queue(stand, open_page, kind)
        dialog = question(page, "change…")
        dialog.get_by_label("Burst").fill("9999999")
        dialog.get_by_role("button", name="set", exact=True).click()
        dialog.locator(".problem", has_text="`burst` has an invalid value").wait_for()
        assert stand.call("GET", f"/limits/{kind}/q/")["limits"]["burst"] is None


class TestJobs:
    def test_the_waiting_ones_are_counted_and_deleted(
        self, stand: Stand, open_page: Open, kind: str
    ) -> None:
        page = a_queue(stand, open_page, kind, 3)
        dialog = question(page, "delete the waiting…")
        assert "3 jobs wait now, and will be gone for good." in dialog.inner_text()
        assert line_of(dialog)[1:] == [
            "-X",
            "DELETE",
            f"{stand.root}/deletequeue/{kind}/q/",
        ]
        dialog.get_by_role("button", name="cancel").click()
        dialog.wait_for(state="detached")
        assert stand.call("GET", f"/metrics/{kind}/q/")["queue_length"] == 3
        dialog = question(page, "delete the waiting…")
        answer(page, dialog, "delete 3 jobs", "Successfully removed all queued calls")
        assert stand.call("GET", f"/metrics/{kind}/q/")["queue_length"] == 0

    @pytest.fixture
    def page(self, stand: Stand, open_page: Open, kind: str) -> Page:
        """That of a job."""
        stand.enqueue(f"{kind}/q")
        return open_page(f"{stand.url}job/{kind}/q/j")

    def test_one_is_deleted(
        self, stand: Stand, page: Page, kind: str, complaints: list[str]
    ) -> None:
        complaints.append("status of 404 ")
        dialog = question(page, "delete…")
        assert "1 job" in dialog.inner_text()
        answer(page, dialog, "delete 1 job", "Deleted: j.")
        page.get_by_text("This job is not known").wait_for()
        assert stand.state(f"{kind}/q/j") is None

    def test_one_is_released_and_failed(self, stand: Stand, page: Page, kind: str) -> None:
        page.get_by_text("Waits in its queue").wait_for()
        stand.take(kind)
        page.keyboard.press("r")
        dialog = question(page, "release…")
        dialog.get_by_label("Again after, ms").fill("soon")
        assert "a time in whole ms" in dialog.locator(".problem").inner_text()
        dialog.get_by_label("Again after, ms").fill("0")
        dialog.get_by_label("counts as an attempt").uncheck()
        wish = json.loads(line_of(dialog)[-1])
        assert wish.pop("lease").startswith(f"{kind}/q/j/")
        assert wish == {"delay": 0, "count_requeue": False}
        answer(page, dialog, "release", "Released: j is queued.")
        page.get_by_text("Waits in its queue").wait_for()
        stand.take(kind)
        page.keyboard.press("r")
        page.get_by_text("Leased to a worker").wait_for()
        dialog = question(page, "fail…")
        dialog.get_by_label("Error").fill("it hangs")
        dialog.get_by_label("no retry: it is dead at once").check()
        answer(page, dialog, "fail 1 job", "Failed: j is dead.")
        page.get_by_text("A dead letter").wait_for()
        page.get_by_text("Operator: it hangs").wait_for()

    @pytest.mark.parametrize("verb", ["release", "fail"])
    def test_the_lease_of_another_is_not_ended(
        self, stand: Stand, page: Page, kind: str, verb: str, complaints: list[str]
    ) -> None:
        complaints.append("status of 404 ")
        page.get_by_text("Waits in its queue").wait_for()
        first = stand.take(kind)
        page.keyboard.press("r")
        dialog = question(page, f"{verb}…")
        stand.call("POST", f"/release/{kind}/q/j/", {"lease": first["lease"]})
        stand.take(kind)
        dialog.locator("button[type=submit]").click()
        dialog.get_by_text("The job is active under another lease.").wait_for()
        assert stand.state(f"{kind}/q/j") == "active"

    def test_a_dead_one_is_retried_and_deleted(
        self, stand: Stand, open_page: Open, kind: str, complaints: list[str]
    ) -> None:
        complaints.append("status of 404 ")
        stand.kill(kind, "q", "j")
        page = open_page(f"{stand.url}job/{kind}/q/j")
        answer(page, question(page, "retry…"), "retry 1", "1 dead letter retried.")
        page.get_by_text("Waits in its queue").wait_for()
        stand.take(kind)
        stand.call("POST", f"/fail/{kind}/q/j/", {"retry": False})
        page.keyboard.press("r")
        page.get_by_text("A dead letter").wait_for()
        answer(page, question(page, "delete…"), "delete 1", "1 dead letter deleted.")
        page.get_by_text("This job is not known").wait_for()


class TestDead:
    @pytest.fixture
    def page(self, stand: Stand, open_page: Open, kind: str) -> Page:
        """Of seven, of two errors."""
        for at in range(7):
            stand.kill(kind, "q", f"j{at}", type="AB"[at % 2])
        page = open_page(f"{stand.url}dead/{kind}")
        page.locator("tbody tr").nth(6).wait_for()
        return page

    def left(self, stand: Stand, kind: str) -> int:
        return int(stand.call("GET", f"/metrics/{kind}/")["dead"]["jobs"])

    def test_the_marked_ones(self, stand: Stand, page: Page, kind: str) -> None:
        assert page.get_by_role("button", name="delete the marked…").is_disabled()
        page.get_by_label("mark q/j1").check()
        page.get_by_label("mark q/j2").check()
        dialog = question(page, "retry 2…")
        answer(page, dialog, "retry 2", "2 dead letters retried.")
        page.locator('tr[data-key="q/j1"]').wait_for(state="detached")
        assert stand.state(f"{kind}/q/j1") == stand.state(f"{kind}/q/j2") == "queued"
        page.get_by_label("mark all that are shown").click()
        dialog = question(page, "delete 5…")
        assert f"Delete 5 dead letters of {kind}" in dialog.inner_text()
        answer(page, dialog, "delete 5", "5 dead letters deleted.")
        page.get_by_text("No dead letters").wait_for()
        assert self.left(stand, kind) == 0

    def test_all_that_match(self, stand: Stand, page: Page, kind: str) -> None:
        page.get_by_role("link", name="A", exact=True).click()
        page.locator('tr[data-key="q/j1"]').wait_for(state="detached")
        dialog = question(page, "delete all that match…")
        assert "Delete 4 dead letters with error A" in dialog.inner_text()
        answer(page, dialog, "delete 4 dead letters", "The deletion has begun.")
        wait_for("three are left", lambda: self.left(stand, kind) == 3)
        page.get_by_text(re.compile("The last deletion is done: 4 deleted, 0 left")).wait_for()
        page.get_by_text("None matches this filter.").wait_for()

    def test_what_dies_after_the_question_stays(self, stand: Stand, page: Page, kind: str) -> None:
        dialog = question(page, "delete all…")
        assert "Delete 7 dead letters" in dialog.inner_text()
        stand.kill(kind, "q", "later", type="A")
        answer(page, dialog, "delete 7 dead letters", "The deletion has begun.")
        page.get_by_text(re.compile("The last deletion is done: 7 deleted, 0 left")).wait_for()
        assert self.left(stand, kind) == 1
        assert stand.state(f"{kind}/q/later") == "dead"

    def test_a_retry_of_a_few_and_its_progress(self, stand: Stand, page: Page, kind: str) -> None:
        dialog = question(page, "retry all…")
        assert "Retry 7 dead letters of the type" in dialog.inner_text()
        dialog.get_by_label("At most").fill("2")
        wish = json.loads(line_of(dialog)[-1])
        assert wish["filter"].keys() == {"before"}
        assert wish["limit"] == 2
        answer(page, dialog, "retry", "The retry has begun.")
        page.get_by_text(re.compile("The last retry is done: 2 retried")).wait_for()
        page.locator("tbody tr").nth(5).wait_for(state="detached")
        assert self.left(stand, kind) == 5


def test_more_than_a_page_is_counted(stand: Stand, open_page: Open, kind: str) -> None:
    jobs = [
        {"queue_type": kind, "queue_id": f"q{at % 2}", "job_id": f"j{at}", "interval": 0}
        for at in range(230)
    ]
    stand.call("POST", "/enqueue/", {"jobs": [job | {"payload": 1} for job in jobs]})
    for _ in range(3):
        for job in stand.call("POST", f"/dequeue/{kind}/?count=100")["jobs"]:
            place = f"{kind}/{job['queue_id']}/{job['job_id']}"
            stand.call("POST", f"/fail/{place}/", {"retry": False})
    page = open_page(f"{stand.url}dead/{kind}?reason=rejected")
    page.locator("tbody tr").nth(99).wait_for()
    dialog = question(page, "delete all that match…")
    assert "Delete 230 dead letters with reason rejected" in dialog.inner_text()


def test_a_running_bulk_shows_how_far_it_is_and_can_be_stopped(
    stand: Stand, open_page: Open, kind: str
) -> None:
    """As the server tells it: what is asked is answered by the test, since a real one is quick."""
    bulk = {"id": "b", "kind": "retry", "filter": None, "state": "running", "started": 0}
    told = {**bulk, "moved": 300, "left": 700, "conflicts": 4, "limit": None}
    stand.kill(kind, "q", "j")
    page = open_page(stand.url)
    stopped: list[str] = []

    def progress(route: Any) -> None:
        if route.request.method == "DELETE":
            stopped.append(route.request.url)
            told["state"] = "cancelled"
            route.fulfill(json={"status": "success"})
        else:
            route.fulfill(json={"status": "success", "bulk": told})

    page.route("**/retry", progress)
    page.goto(f"{stand.url}dead/{kind}")
    page.get_by_text("300 retried, 700 left, 4 stayed since their names are in use").wait_for()
    assert page.locator("progress").get_attribute("value") == "304"
    assert page.locator("progress").get_attribute("max") == "1004"
    assert page.get_by_role("button", name="retry all…").is_disabled()
    told.update(moved=450, left=550)
    page.get_by_text("450 retried, 550 left").wait_for()
    answer(page, question(page, "stop…"), "stop", "Stopped.")
    page.get_by_text("The last retry is cancelled").wait_for()
    assert stopped == [f"{stand.root}/dead/{kind}/retry"]


def test_a_line_is_copied(stand: Stand, open_page: Open, kind: str) -> None:
    page = open_page(f"{stand.url}queue/{kind}/q", permissions=["clipboard-read"])
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    dialog = question(page, "pause…")
    dialog.get_by_role("button", name="copy as curl").click()
    dialog.get_by_role("button", name="copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == dialog.locator("code").inner_text()


def test_without_a_secure_context_the_line_is_marked(
    stand: Stand, open_page: Open, kind: str
) -> None:
    page = open_page(f"{stand.url}queue/{kind}/q")
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    dialog = question(page, "pause…")
    dialog.get_by_role("button", name="copy as curl").click()
    dialog.get_by_role("button", name="press Ctrl+C").wait_for()
    assert page.evaluate("getSelection().toString()") == dialog.locator("code").inner_text()
