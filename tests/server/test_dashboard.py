"""The dashboard's URLs: files, types, tags, policies; what is off is not there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sharq import __version__
from sharq_server.ui import assets
from tests.server.support import Raw, Rest, write_tokens
from tests.support.http import Answer as RawAnswer

pytestmark = pytest.mark.gen_test

FILES = assets.read()
PAGES = [
    "",
    "type/sms",
    "type/sms/",
    "queue/sms/tenant-1",
    "job/sms/tenant-1/j_1",
    "dead",
    "dead/",
    "dead/sms",
    "workers",
    "type/sms?by=drain",
]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


async def ask(raw: Raw, target: str, method: str = "GET", more: str = "") -> RawAnswer:
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n"
    async with raw.connect() as connection:
        await connection.send(head.encode())
        return await connection.answer(head=method == "HEAD" or "If-None-Match" in more)


def text(answer: RawAnswer) -> str:
    return answer.data.decode()


@pytest.mark.parametrize("page", PAGES)
async def test_each_page_has_a_url_that_is_answered_with_the_one_page(raw: Raw, page: str) -> None:
    answer = await ask(raw, f"/ui/{page}")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    root = "../" * page.partition("?")[0].count("/") or "./"
    links = re.findall(r'(?:href|src)="([^"]*)"', text(answer))
    assert links
    assert [link for link in links if not link.startswith(root)] == []
    assert {link.removeprefix(root) for link in links} <= FILES.keys()


@pytest.mark.parametrize("name", sorted(FILES.keys() - {assets.PAGE}))
async def test_each_file_has_its_type(raw: Raw, name: str) -> None:
    answer = await ask(raw, f"/ui/{name}")
    assert (answer.status, answer.data) == (200, FILES[name].body)
    kinds = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    assert answer.headers["Content-Type"].partition(";")[0] == kinds[name.rpartition(".")[2]]


@pytest.mark.parametrize("target", ["/ui/", "/ui/app.js", "/ui/config", "/live/"])
async def test_nothing_is_inline_or_from_elsewhere(raw: Raw, target: str) -> None:
    answer = await ask(raw, target)
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


async def test_a_browser_keeps_what_has_not_changed(raw: Raw) -> None:
    first = await ask(raw, "/ui/app.js")
    tag = first.headers["Etag"]
    assert first.headers["Cache-Control"] == "no-cache"
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await ask(raw, "/ui/app.js", more=f"If-None-Match: {known}\r\n")
        assert (again.status, again.data, again.headers["Etag"]) == (304, b"", tag)
        assert again.headers["Content-Security-Policy"] == POLICY
    other = await ask(raw, "/ui/app.js", more='If-None-Match: "other"\r\n')
    assert other.status == 200
    # The page is another one where it is deeper.
    assert (await ask(raw, "/ui/")).headers["Etag"] != (await ask(raw, "/ui/type/t")).headers[
        "Etag"
    ]


async def test_head_is_get_without_the_body(raw: Raw) -> None:
    for target in ("/ui/", "/ui/app.js", "/ui/config"):
        got, asked = await ask(raw, target), await ask(raw, target, "HEAD")
        assert (asked.status, asked.data) == (200, b"")
        for name in ("Content-Type", "Content-Length", "Etag"):
            assert asked.headers.get(name) == got.headers.get(name)


@pytest.mark.parametrize(
    "target",
    [
        "/ui/nothing.js",
        "/ui/index.html",
        "/ui/handler.py",
        "/ui/../app.py",
        "/ui/%2e%2e/app.py",
        "/ui//app.js",
        "/ui//type",
        "/ui/a/b/c/d/e/f",
        "/uix",
        "/live/x",
    ],
)
async def test_what_is_not_there_is_404(rest: Rest, target: str) -> None:
    assert (await rest.get(target)).error == (404, "not_found")


@pytest.mark.parametrize(
    "name",
    [
        *("type", "type/", "type/a%20b", "type/" + "x" * 101, "type/a/b/c"),
        *("queue/a", "workers/x", "queue/sms/a%2Fb", "type/%3Cimg%20src=x%3E"),
    ],
)
async def test_a_page_that_is_none_is_a_page(rest: Rest, name: str) -> None:
    answer = await rest.get(f"/ui/{name}")
    assert answer.status == 404
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert f'src="{"../" * name.count("/") or "./"}app.js"'.encode() in answer.text


async def test_other_methods_are_refused(rest: Rest) -> None:
    for path in ("/ui/", "/ui/app.js", "/live/"):
        answer = await rest.post(path)
        assert answer.error == (405, "method_not_allowed")
        assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("path", "place"), [("/live/", "../ui/"), ("/live", "ui/"), ("/ui", "ui/")]
)
async def test_the_old_page_leads_to_the_new_one(raw: Raw, path: str, place: str) -> None:
    answer = await ask(raw, path)
    assert (answer.status, answer.headers["Location"]) == (301, place)


async def test_the_page_learns_what_it_is_for(rest: Rest) -> None:
    assert (await rest.get("/ui/config")).body == {
        "environment": None,
        "read_only": False,
        "version": __version__,
        "tokens": False,
        "live": True,
    }


async def test_a_foreign_host_gets_nothing(raw: Raw) -> None:
    async with raw.connect() as connection:
        await connection.send(b"GET /ui/ HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert (await connection.answer()).status == 403


class TestReadOnly:
    @pytest.fixture
    def options(self, tmp_path: Path) -> dict[str, dict[str, Any]]:
        path = tmp_path / "tokens"
        write_tokens(path, {"watch": (["metrics"], ["*"])})
        return {
            "sharq-server": {
                "ui": "read_only",
                "environment": "staging <b>",
                "token_file": str(path),
            }
        }

    async def test_it_is_told_so_without_a_token(self, rest: Rest) -> None:
        told = (await rest.get("/ui/config")).body
        assert (told["read_only"], told["environment"]) == (True, "staging <b>")
        assert told["tokens"] is True
        assert (await rest.get("/metrics/")).error == (401, "unauthorized")


class TestOff:
    @pytest.fixture
    def options(self) -> dict[str, dict[str, Any]]:
        return {"sharq-server": {"ui": "off"}}

    @pytest.mark.parametrize("path", ["/ui/", "/ui", "/ui/app.js", "/ui/config", "/live/"])
    async def test_there_is_none(self, rest: Rest, path: str) -> None:
        assert (await rest.get(path)).error == (404, "not_found")


# ---- the sources ----


def loaded_by(*names: str) -> set[str]:
    """The files that modules load at once, and those that these load."""
    found: set[str] = set()
    rest = list(names)
    while rest:
        name = rest.pop()
        if name not in found:
            found.add(name)
            source = FILES[name].body.decode()
            rest += re.findall(r'^import[^;(]*?"\./([\w.-]+)";', source, re.MULTILINE)
    return found


@pytest.mark.parametrize("page", ["overview", "type", "queue", "job", "dead", "workers"])
def test_the_first_page_is_small_whichever_it_is(page: str) -> None:
    loaded = loaded_by("app.js", f"{page}.js") | {assets.PAGE, "style.css", "icon.svg"}
    assert sum(len(FILES[name].body) for name in loaded) <= 80 * 1024


def test_every_file_is_loaded_by_some_page() -> None:
    dynamic = {f"{page}.js" for page in ("overview", "type", "queue", "job", "dead", "workers")}
    assert loaded_by("app.js", *dynamic) | {assets.PAGE, "style.css", "icon.svg"} == set(FILES)


@pytest.mark.parametrize("name", sorted(FILES))
def test_data_is_never_markup(name: str) -> None:
    source = FILES[name].body.decode()
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment"
        r"|\beval\b|new Function|setHTMLUnsafe|srcdoc|javascript:"
    )
    assert re.findall(forbidden, source) == []


@pytest.mark.parametrize("name", sorted(FILES))
def test_nothing_comes_from_elsewhere(name: str) -> None:
    source = FILES[name].body.decode()
    found = set(re.findall(r"https?://[\w.-]+\.\w+[\w./]*", source))
    assert found <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|\burl\(", source)


def test_the_page_has_nothing_inline() -> None:
    page = FILES[assets.PAGE].body.decode()
    assert not re.search(r"<style|style=|\son\w+=|<script(?! type=\"module\" src=)", page)


@pytest.mark.parametrize("name", sorted(name for name in FILES if name.endswith(".js")))
def test_a_module_has_one_subject_and_says_which(name: str) -> None:
    source = FILES[name].body.decode()
    assert source.startswith("// ")
    assert source.count("\n") <= 400
