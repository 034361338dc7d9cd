"""Tokens: who is asked, what is shown, and what is refused."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sharq.settings.tokens import OPERATIONS
from tests.server.support import write_tokens
from tests.support.stores import wait_for
from tests.ui.conftest import Stand, StandMaker

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.needs("chromium", "playwright")

Open = Callable[..., "Page"]

TOKENS = {
    "operator": (OPERATIONS, ["*"]),
    "viewer": (("metrics", "status"), ["*"]),
    "producer": (("enqueue",), ["*"]),
    "clerk": (("metrics", "status", "dead"), ["*"]),
    "tenant": (("metrics", "status", "dequeue"), ["mine"]),
    "guest": (("metrics",), ["*"]),
    "reader": (("status", "jobs"), ["*"]),
}


@pytest.fixture(scope="module")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("tokens") / "tokens"
    write_tokens(path, TOKENS)
    return path


@pytest.fixture(scope="module")
def shared(make_stand: StandMaker, token_file: Path) -> Stand:
    """A server that needs tokens; it looks at those of its connections each three seconds."""
    return make_stand(token_file=str(token_file), heartbeat="3000")


def ask(stand: Stand, method: str, path: str, body: Any = None) -> Any:
    """A request by the operator."""
    connection = stand.server.connect()
    headers = {"Authorization": "Bearer operator"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    assert answer.status < 400, told
    return told


@pytest.fixture
def place(stand: Stand, kind: str) -> str:
    """A queue with a waiting job."""
    body = {"job_id": "j", "interval": 0, "payload": {"secret": 42}}
    ask(stand, "POST", f"/enqueue/{kind}/q/", body)
    return f"{kind}/q"


@pytest.fixture
def row(place: str) -> str:
    """That of the type on the overview."""
    return f'tr[data-key="{place.split("/")[0]}"]'


def use(page: Page, token: str) -> None:
    page.get_by_label("Token", exact=True).fill(token)
    page.get_by_role("button", name="use it").click()


DENIED = "status of 401|status of 403|WebSocket connection to"


def test_a_token_is_asked_for_until_it_is_one(
    stand: Stand, open_page: Open, row: str, complaints: list[str]
) -> None:
    complaints.append(DENIED)
    page = open_page(stand.url)
    use(page, "grüße aus Łódź")
    page.get_by_text("This is not a token").wait_for()
    use(page, "unknown")
    page.get_by_text("The server does not take this token any more, or never did.").wait_for()
    use(page, "viewer")
    page.locator(row).wait_for()
    # Kept for the tab, and for no other one.
    page.reload()
    page.locator(row).wait_for()
    assert page.locator("dialog").count() == 0
    assert page.evaluate("Object.values(sessionStorage)") == ["viewer"]
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    open_page(stand.url).get_by_label("Token", exact=True).wait_for()


def test_a_token_that_may_not_look_says_so(
    stand: Stand, open_page: Open, row: str, complaints: list[str]
) -> None:
    complaints.append(DENIED)
    page = open_page(stand.url)
    use(page, "producer")
    page.get_by_text("This token may not look at this").wait_for()
    page.get_by_role("button", name="use another token").click()
    use(page, "viewer")
    page.locator(row).wait_for()


def test_a_token_that_ends_is_asked_for_again(
    stand: Stand, open_page: Open, row: str, token_file: Path, complaints: list[str]
) -> None:
    complaints.append(DENIED)
    page = open_page(stand.url)
    use(page, "guest")
    page.locator(row).wait_for()
    write_tokens(token_file, {name: TOKENS[name] for name in TOKENS if name != "guest"})
    stand.server.process.send_signal(signal.SIGHUP)
    page.get_by_text("The server does not take this token any more").wait_for()
    use(page, "viewer")
    page.locator(row).wait_for()


def test_a_token_for_a_type_shows_that_one_alone(stand: Stand, open_page: Open, place: str) -> None:
    for path in ("/enqueue/mine/q/", "/enqueue/mine/p/"):
        ask(stand, "POST", path, {"job_id": "j", "interval": 0, "payload": 1})
    page = open_page(stand.url)
    use(page, "tenant")
    page.locator('tr[data-key="mine"]').wait_for()
    assert page.locator("tbody tr").count() == 1
    stand.subscriber("tenant").subscribe("mine", credit=1)
    stand.subscriber("operator").subscribe("others", credit=1)
    page.get_by_role("link", name="Workers").click()
    page.locator("tbody tr", has_text="tenant").wait_for()
    assert page.get_by_text("others").count() == 0
    page.goto(f"{stand.url}type/mine")
    page.locator('tr[data-key="q"], tr[data-key="p"]').wait_for()
    for path in (f"type/{place.split('/')[0]}", f"queue/{place}"):
        page.goto(stand.url + path)
        page.get_by_text("This token may not look at this").wait_for()


@pytest.mark.parametrize(
    ("token", "buttons", "panels"),
    [
        (
            "operator",
            ["pause…", "delete the waiting…", "change…"],
            ["Waiting jobs", "Leases", "Dead letters"],
        ),
        ("viewer", [], []),
        ("clerk", [], ["Dead letters"]),
    ],
)
def test_what_a_token_may_not_do_is_not_shown(
    stand: Stand, open_page: Open, place: str, token: str, buttons: list[str], panels: list[str]
) -> None:
    page = open_page(f"{stand.url}queue/{place}")
    use(page, token)
    page.locator("dl.stats").wait_for()
    page.get_by_role("heading", name="Limits").wait_for()
    assert [
        text for text in page.get_by_role("button").all_inner_texts() if text.endswith("…")
    ] == buttons
    headings = page.locator("h2").all_inner_texts()
    assert [name for name in headings if name not in ("Limits",) and "Rate" not in name] == panels
    if not panels:
        page.get_by_text("they need the operation jobs").wait_for()
    page.goto(f"{stand.url}job/{place}/j")
    page.get_by_text("Waits in its queue").wait_for()
    page.get_by_role("heading", name="Payload").wait_for()
    assert (page.locator("pre.payload").count() == 0) or token == "operator"
    assert page.get_by_role("button", name="delete…").count() == (token == "operator")


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ("operator", "token tenant · server"),
        ("viewer", "this token shows no leases: they need the operation jobs"),
        ("reader", "this token shows no workers: they need the operation metrics"),
    ],
)
def test_who_holds_a_job_is_shown_to_those_who_see_leases_and_workers(
    stand: Stand, open_page: Open, token: str, shown: str
) -> None:
    subscriber = stand.subscriber("tenant")
    subscriber.subscribe("mine", credit=1, worker="host-1")
    body = {"job_id": "j", "interval": 0, "payload": 1}
    ask(stand, "POST", "/enqueue/mine/q/", body)
    subscriber.jobs(1)
    page = open_page(f"{stand.url}job/mine/q/j")
    use(page, token)
    page.get_by_text(shown).wait_for()
    assert ("host-1" in page.locator("dl.stats").inner_text()) == (token == "operator")


def test_the_server_refuses_it_whatever_is_shown(
    stand: Stand, open_page: Open, place: str, complaints: list[str]
) -> None:
    complaints.append(DENIED)
    page = open_page(f"{stand.url}queue/{place}")
    use(page, "viewer")
    page.locator("dl.stats").wait_for()
    # As if the page had offered it.
    script = f"""async () => {{
      const actions = await import("../../actions.js");
      actions.pause({{ type: "{place.split("/")[0]}", queue: "q" }}, () => {{}});
    }}"""
    page.evaluate(script)
    page.locator("dialog").get_by_role("button", name="pause").click()
    page.get_by_role("alert").get_by_text(
        "The token does not allow this: it lacks the operation `pause`."
    ).wait_for()
    assert ask(stand, "GET", f"/limits/{place}/")["pause"] is None


def test_the_line_for_curl_has_no_secret(stand: Stand, open_page: Open, place: str) -> None:
    page = open_page(f"{stand.url}queue/{place}")
    use(page, "operator")
    page.get_by_role("button", name="pause…").click()
    line = page.locator("code.curl").inner_text()
    assert '-H "Authorization: Bearer $SHARQ_TOKEN"' in line
    assert "operator" not in line


def test_a_change_is_in_the_log_with_the_tokens_name(
    stand: Stand, open_page: Open, place: str
) -> None:
    page = open_page(f"{stand.url}queue/{place}")
    use(page, "operator")
    page.get_by_role("button", name="pause…").click()
    page.locator("dialog").get_by_role("button", name="pause").click()
    page.locator(".toast").wait_for()
    line = f"Changed by operator: POST /pause/{place}/ {{}}"
    wait_for("the line of the log", lambda: line in stand.server.log)


@pytest.fixture(scope="module")
def read_only(make_stand: StandMaker) -> Stand:
    return make_stand(ui="read_only", environment="staging")


def test_a_read_only_dashboard_offers_no_change(
    read_only: Stand, open_page: Open, kind: str
) -> None:
    stand = read_only
    stand.kill(kind, "q", "dead-1")
    stand.enqueue(f"{kind}/q")
    page = open_page(stand.url)
    for path, sign in (
        (f"type/{kind}", "Limits"),
        (f"queue/{kind}/q", "dead-1"),
        (f"job/{kind}/q/j", "Waits in its queue"),
        (f"job/{kind}/q/dead-1", "A dead letter"),
        (f"dead/{kind}", "dead-1"),
    ):
        page.goto(stand.url + path)
        page.locator("#page").get_by_text(sign, exact=True).first.wait_for()
        assert page.locator(".badge").all_inner_texts() == ["staging", "read only"]
        assert page.locator(".badge.production").count() == 0
        texts = page.get_by_role("button").all_inner_texts()
        assert [text for text in texts if text.endswith("…")] == []
        assert page.locator("input[type=checkbox]").count() == 0
