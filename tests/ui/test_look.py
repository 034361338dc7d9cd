"""Light and dark, wide and narrow, by keyboard, and below other paths."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.stores import wait_for
from tests.ui.conftest import Stand, StandMaker

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.needs("chromium", "playwright")

Open = Callable[..., "Page"]

LONG = "a-queue-with-a-name-" + "x" * 80

# The least contrast of any text that is seen with what is behind it (WCAG 2.2, 1.4.3).
CONTRAST = """() => {
  const channel = (value) => {
    value /= 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  const parse = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  let worst = [99, ""];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((each) => each.nodeType === 3 && each.data.trim());
    if (!own || node.closest("svg, :disabled") || !node.checkVisibility()) continue;
    const [one, other] = [parse(getComputedStyle(node).color), behind(node)].map(light);
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < worst[0]) worst = [ratio, `${node.tagName} ${node.className} ${node.innerText}`];
  }
  return worst;
}"""


@pytest.fixture
def pages(stand: Stand, kind: str) -> dict[str, str]:
    """Every page with something on it, by name."""
    payload = {"text": "word" * 100}
    limits = {"interval": 60_000, "group": "g" * 90}
    stand.fill(f"{kind}/{LONG}", jobs=1204, payload=payload, **limits)
    stand.take(kind)
    for verb, body in (("limits", {"burst": 2}), ("pause", {"for": 60_000})):
        stand.call("POST", f"/{verb}/{kind}/", body | {"reason": "r" * 200})
    dead = f"{kind}d"
    stand.kill(dead, LONG, "dead-1", type="E" * 100, message="m" * 300, trace="t" * 300)
    stand.fill("hooks/q", f"{'t' * 100}/q")
    worker = stand.subscriber()
    worker.subscribe("hooks", credit=1, worker="w" * 100)
    worker.jobs(1)
    return {
        "overview": "",
        "type": f"type/{kind}",
        "queue": f"queue/{kind}/{LONG}",
        "job": f"job/{kind}/{LONG}/j1",
        "dead-letter": f"job/{dead}/{LONG}/dead-1",
        "dead": f"dead/{dead}",
        "workers": "workers",
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_each_page_can_be_read(
    stand: Stand,
    open_page: Open,
    pages: dict[str, str],
    scheme: str,
    width: int,
    tmp_path: Path,
) -> None:
    page = open_page("about:blank", color_scheme=scheme, viewport={"width": width, "height": 800})
    for name, path in pages.items():
        page.goto(stand.url + path)
        page.locator("#page .panel, #page .stats").first.wait_for()
        page.locator(".live.live").wait_for()
        page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
        over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert over <= 0, f"{name} is wider than the window"
        ratio, where = page.evaluate(CONTRAST)
        assert ratio >= 4.5, f"{name}: {where}"
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
        assert dark == (scheme == "dark")


def test_by_keyboard(stand: Stand, open_page: Open, pages: dict[str, str]) -> None:
    page = open_page(stand.url)
    page.locator("tbody tr").first.wait_for()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.hasAttribute('data-search')")
    page.keyboard.type("g w")
    assert page.get_by_label("Name has").input_value() == "g w"
    page.keyboard.press("Escape")
    for key, heading in (("w", "Workers"), ("d", "Dead letters")):
        page.keyboard.press("g")
        page.keyboard.press(key)
        page.locator("h1", has_text=heading).wait_for()
    page.keyboard.press("g")
    page.keyboard.press("o")
    wait_for("the overview", lambda: page.url == stand.url)
    page.keyboard.press("?")
    page.locator("dialog", has_text="this help").wait_for()
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="detached")
    page.goto(f"{stand.url}workers")
    page.locator("tbody tr").first.wait_for()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "where"
    page.keyboard.type("sms/not a name")
    page.keyboard.press("Enter")
    assert page.url == f"{stand.url}workers"
    assert page.locator("[name=where]:invalid").count() == 1
    page.locator("[name=where]").fill("sms")
    page.keyboard.press("Enter")
    wait_for("the type", lambda: page.url == f"{stand.url}type/sms")


def walk(page: Page, root: str, kind: str) -> None:
    """From page to page, and an action, all below `root`: on the job `j` of a type's queue `q`."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(re.sub("^ws", "http", socket.url)))
    page.goto(f"{root}/live/")
    page.get_by_role("link", name=kind, exact=True).first.click()
    page.get_by_role("link", name="q", exact=True).click()
    page.get_by_role("link", name="j", exact=True).click()
    page.get_by_text("Waits in its queue").wait_for()
    page.goto(f"{root}/ui/queue/{kind}/q")
    page.get_by_role("button", name="pause…").click()
    assert f"'{root}/pause/{kind}/q/'" in page.locator("code.curl").inner_text()
    page.locator("dialog").get_by_role("button", name="pause").click()
    page.locator(".toast").wait_for()
    page.get_by_text("Held back by its pause").wait_for()
    assert [url for url in asked if not url.startswith(f"{root}/")] == []
    assert f"{root}/ws/" in asked


def test_below_another_path(make_stand: StandMaker, open_page: Open, kind: str) -> None:
    stand = make_stand(base_path="/tools/queue")
    stand.enqueue(f"{kind}/q", "j")
    walk(open_page("about:blank"), stand.root, kind)
    assert stand.call("GET", f"/limits/{kind}/q/")["pause"] is not None


def test_nothing_is_loaded_from_elsewhere(stand: Stand, page: Page) -> None:
    page.locator("#page .instead, #page .panel").first.wait_for()
    loaded: list[Any] = page.evaluate(
        "performance.getEntriesByType('resource').map((each) => each.name)"
    )
    assert [url for url in loaded if not url.startswith(stand.root)] == []
    size = page.evaluate(
        "performance.getEntries().map((each) => each.decodedBodySize ?? 0)"
        ".reduce((sum, each) => sum + each, 0)"
    )
    assert 30_000 < size <= 80 * 1024


def test_a_phone_shows_what_holds_each_without_a_finger(
    stand: Stand, open_page: Open, kind: str
) -> None:
    stand.fill(f"{kind}/q", jobs=1204, group="account")
    stand.call("POST", f"/pause/{kind}/?group=account", {"for": 3_600_000})
    long = f"{kind}{'t' * 100}"[:100]
    stand.fill(f"{long}/q")
    stand.call("POST", f"/pause/{long}/", {})
    page = open_page(stand.url, viewport={"width": 390, "height": 800})
    page.locator(".note", has_text=long).wait_for()
    for place in ("", f"type/{kind}"):
        page.goto(f"{stand.url}{place}")
        told = page.locator("td .held:not(.idle)").first
        told.wait_for()
        box = told.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 390
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
