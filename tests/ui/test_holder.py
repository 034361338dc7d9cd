"""A job's page says who holds it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.ui.conftest import Stand, Talk

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.needs("chromium", "playwright")

Open = Callable[..., "Page"]


def held_by(page: Page) -> Any:
    return page.locator("dl.stats .stat", has=page.get_by_text("held by", exact=True))


def leased(stand: Stand, kind: str, **more: Any) -> Any:
    """A job `j` that a subscriber has got, and that subscriber's connection."""
    subscriber = stand.subscriber()
    subscriber.subscribe(kind, credit=1, **more)
    stand.enqueue(f"{kind}/q")
    subscriber.jobs(1)
    return subscriber


def test_a_worker_and_when_it_has_it_no_more(stand: Stand, open_page: Open, kind: str) -> None:
    subscriber = leased(stand, kind, worker="host-1", on_disconnect="keep")
    page = open_page(f"{stand.url}job/{kind}/q/j")
    held_by(page).get_by_text("host-1").wait_for()
    text = held_by(page).inner_text()
    assert re.search(r"since \d\d:\d\d:\d\d, for (under 1|\d+) s", text)
    assert "jobs are sent to it (deliver) · server " in text
    assert "token" not in text
    subscriber.close()
    held_by(page).get_by_text("nobody any more").wait_for()
    assert "host-1 had it" in held_by(page).inner_text()
    # Who looks now has never seen it.
    page.reload()
    held_by(page).get_by_text("nobody known by name").wait_for()


def test_a_subscriber_without_a_name(stand: Stand, open_page: Open, kind: str) -> None:
    leased(stand, kind)
    page = open_page(f"{stand.url}job/{kind}/q/j")
    held_by(page).get_by_text("a subscriber without a name").wait_for()


def test_one_that_was_taken_over_rest(stand: Stand, open_page: Open, kind: str) -> None:
    stand.enqueue(f"{kind}/q")
    stand.take(kind)
    page = open_page(f"{stand.url}job/{kind}/q/j")
    held_by(page).get_by_text("nobody known by name").wait_for()
    assert "it was taken over REST or with the library" in held_by(page).inner_text()


def test_it_is_asked_for_while_the_job_is_leased(stand: Stand, open_page: Open, kind: str) -> None:
    stand.enqueue(f"{kind}/q")
    page = open_page("about:blank")
    talk = Talk(page)
    page.goto(f"{stand.url}job/{kind}/q/j")
    page.get_by_text("Waits in its queue").wait_for()
    assert held_by(page).count() == 0
    assert [topics for topics in talk.watched() if topics] == []
    first = stand.take(kind)["lease"]
    page.get_by_role("button", name="read again").click()
    held_by(page).get_by_text("nobody known by name").wait_for()
    assert talk.watched()[-1] == [f"holder/{first}"]
    # It comes again, to somebody else: another lease.
    stand.call("POST", f"/release/{kind}/q/j/")
    subscriber = stand.subscriber()
    subscriber.subscribe(kind, credit=1, worker="host-2")
    second = subscriber.jobs(1)[0]["lease"]
    page.get_by_role("button", name="read again").click()
    held_by(page).get_by_text("host-2").wait_for()
    assert talk.watched()[-1] == [f"holder/{second}"]
    stand.call("POST", f"/finish/{kind}/q/j/")
    page.get_by_role("button", name="read again").click()
    page.get_by_text("Finished").wait_for()
    assert talk.watched()[-1] == []
    assert held_by(page).count() == 0
