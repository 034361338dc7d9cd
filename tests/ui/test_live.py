"""What is watched: differences, losses, and nothing while nobody looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.proxy import Proxy
from tests.support.stores import wait_for
from tests.ui.conftest import Stand, StandMaker, Talk

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.needs("chromium", "playwright")

Open = Callable[..., "Page"]

GONE = "WebSocket connection to|ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE"


def cell(page: Page, key: str, at: int, text: str) -> None:
    """Wait for what a row has in a column."""
    page.locator(f'tr[data-key="{key}"] td').nth(at).get_by_text(text, exact=True).wait_for()


@pytest.fixture(scope="module")
def shared(make_stand: StandMaker) -> Stand:
    """With a gate before it: what happens to a connection on its way."""
    return make_stand(gated=True)


@pytest.fixture
def gate(shared: Stand) -> Proxy:
    assert shared.gate is not None
    return shared.gate


@pytest.fixture
def blank(open_page: Open) -> Page:
    return open_page("about:blank")


@pytest.fixture
def talk(blank: Page) -> Talk:
    """What the page says."""
    return Talk(blank)


@pytest.fixture
def page(stand: Stand, blank: Page, talk: Talk) -> Page:
    blank.goto(stand.url)
    return blank


def test_differences_change_what_is_shown(stand: Stand, page: Page, talk: Talk) -> None:
    stand.fill("a/q", "b/q", "b/p")
    cell(page, "a", 1, "1")
    page.evaluate("window.kept = document.querySelector('tr[data-key=b]')")
    page.get_by_label("Name has").focus()
    page.keyboard.type("b")
    page.keyboard.press("Backspace")
    stand.fill("b/r", jobs=1202)
    stand.fill("c/q", jobs=3)
    cell(page, "b", 1, "1,204")
    cell(page, "c", 1, "3")
    assert page.evaluate("window.kept === document.querySelector('tr[data-key=b]')")
    assert page.evaluate("document.activeElement.type") == "search"
    assert talk.watched() == [["types"]]


MERGES: list[tuple[Any, Any, Any]] = [
    # RFC 7386, appendix A
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


def test_a_difference_is_a_merge_patch(page: Page) -> None:
    script = "async ([value, patch]) => (await import('./watch.js')).merged(value, patch)"
    for value, patch, expected in MERGES:
        assert page.evaluate(script, [value, patch]) == expected


def test_numbers_of_payloads_are_left_alone(page: Page) -> None:
    items = '{"payload": {"n":1.10, "payload":2}} ,{"x":"\\"payload\\":1","payload":"}"}'
    text = f'{{"a":[{items}],"n":1e2}}'
    read = page.evaluate("async (text) => (await import('./json.js')).read(text)", text)
    assert read == {
        "a": [{"payload": '{"n":1.10, "payload":2}'}, {"x": '"payload":1', "payload": '"}"'}],
        "n": 100,
    }
    for broken in ("", "{", '{"a":}', "[1", '"a'):
        with pytest.raises(Exception, match="SyntaxError"):
            page.evaluate("async (text) => (await import('./json.js')).read(text)", broken)


def test_a_page_watches_what_it_shows(stand: Stand, page: Page, talk: Talk) -> None:
    page.locator("#page .instead, #page .panel").first.wait_for()
    page.get_by_role("link", name="Workers").click()
    page.get_by_text("Nobody subscribes").wait_for()
    assert talk.watched() == [["types"], ["workers"]]
    assert talk.open() == 1
    page.goto(f"{stand.url}queue/a/b")
    page.get_by_text("Nothing waits").wait_for()
    assert talk.watched()[-1] == ["queue/a/b"]


def test_a_store_that_is_down_and_comes_back(stand: Stand, page: Page, open_page: Open) -> None:
    stand.fill("a/q")
    cell(page, "a", 1, "1")
    stand.store_gate.refuse()
    try:
        page.get_by_text("The store cannot be asked: ").wait_for()
        page.get_by_text("What you see is from").wait_for()
        cell(page, "a", 1, "1")
        assert "stale" in (page.locator("#page").get_attribute("class") or "")
        late = open_page(stand.url)
        late.get_by_text("sharq doctor tells what is wrong.").wait_for()
    finally:
        stand.store_gate.accept()
    for each in (page, late):
        cell(each, "a", 1, "1")
        each.locator(".banner").wait_for(state="detached")
        assert each.locator("#page").get_attribute("class") == ""


def test_a_tab_finds_its_server_again(
    stand: Stand, page: Page, gate: Proxy, complaints: list[str]
) -> None:
    complaints.append(GONE)
    stand.fill("a/q")
    cell(page, "a", 1, "1")
    gate.refuse()
    try:
        page.get_by_text("The server does not answer.").wait_for()
        page.locator(".live.lost").wait_for()
        cell(page, "a", 1, "1")
        page.get_by_role("button", name="try now").click()
        page.get_by_text("The server does not answer.").wait_for()
    finally:
        gate.accept()
    stand.fill("a/p")
    cell(page, "a", 1, "2")
    page.locator(".live.live").wait_for()
    page.locator(".banner").wait_for(state="detached")


def test_a_page_that_is_opened_too_early_waits_for_its_server(
    stand: Stand, open_page: Open, complaints: list[str]
) -> None:
    complaints.append("ERR_FAILED .*/ui/config")
    stand.fill("a/q")
    page = open_page("about:blank")
    page.route("**/ui/config", lambda route: route.abort())
    page.goto(stand.url)
    page.get_by_text("This page tries again by itself.").wait_for()
    page.unroute("**/ui/config")
    cell(page, "a", 1, "1")


def test_a_server_that_has_fallen_silent_is_lost(
    stand: Stand, gate: Proxy, open_page: Open
) -> None:
    stand.fill("a/q")
    page = open_page("about:blank")
    page.clock.install()
    page.goto(stand.url)
    page.clock.run_for(1000)
    cell(page, "a", 1, "1")
    gate.stall()
    try:
        # A ping each ten seconds, and ten for its answer.
        page.clock.run_for(21_000)
        page.get_by_text("The server does not answer.").wait_for()
        page.locator(".live.connecting").wait_for()
        # It takes connections still, and says nothing: each ends after ten seconds.
        waiting = page.get_by_text("The next try is in")
        for _ in range(30):
            page.clock.run_for(500)
            if waiting.count():
                break
        else:
            raise AssertionError("it waits for an answer still")
    finally:
        gate.resume()
    page.clock.run_for(2000)
    page.locator(".live.live").wait_for()
    page.clock.run_for(1000)
    page.locator(".banner").wait_for(state="detached")


HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_hidden_tab_has_no_connection(stand: Stand, page: Page, talk: Talk) -> None:
    stand.fill("a/q")
    cell(page, "a", 1, "1")
    page.evaluate(HIDE, True)
    wait_for("it is closed", lambda: talk.open() == 0)
    stand.fill("a/p")
    page.evaluate(HIDE, False)
    cell(page, "a", 1, "2")
    assert talk.open() == 1


def test_a_button_and_a_key_pause(stand: Stand, page: Page, talk: Talk) -> None:
    stand.fill("a/q")
    cell(page, "a", 1, "1")
    page.get_by_role("button", name="pause").click()
    wait_for("it is closed", lambda: talk.open() == 0)
    page.locator(".live.paused").wait_for()
    stand.fill("a/p")
    cell(page, "a", 1, "1")
    page.keyboard.press("p")
    cell(page, "a", 1, "2")


def test_a_difference_to_what_never_came_is_asked_for_again(
    stand: Stand, page: Page, talk: Talk
) -> None:
    stand.fill("a/q")
    cell(page, "a", 1, "1")
    watched = len(talk.watched())
    page.evaluate(
        """async () => {
          const { Watch } = await import("./watch.js");
          const asked = [];
          const watch = new Watch({ onChange() {}, onLost() {} });
          watch.wanted = ["types"];
          watch.state = "live";
          watch.send = (frame) => asked.push(frame);
          watch.take({ topic: "types", data: { a: 1 } });
          watch.take({ topic: "other", data: { a: 1 } });
          window.asked = asked;
        }"""
    )
    assert page.evaluate("window.asked") == [{"op": "watch", "id": 1, "topics": ["types"]}]
    page.keyboard.press("r")
    wait_for("the whole is asked for", lambda: len(talk.watched()) == watched + 1)


@pytest.mark.timing
def test_many_types_are_no_burden(make_stand: StandMaker, open_page: Open) -> None:
    stand = make_stand()
    page = open_page(stand.url)
    stand.fill(*(f"type-{at:03}/q" for at in range(130)))
    page.get_by_text("100 types, and 30 more").wait_for()
    page.locator("tbody tr").nth(99).wait_for()
    took = page.evaluate(
        """async () => {
          const times = [];
          for (let round = 0; round < 20; round += 1) {
            const begin = performance.now();
            dispatchEvent(new Event("popstate"));
            await new Promise(requestAnimationFrame);
            await new Promise(requestAnimationFrame);
            times.push(performance.now() - begin);
          }
          return times.sort((one, other) => one - other)[10];
        }"""
    )
    assert took < 500, "ms"
