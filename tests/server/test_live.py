"""The live page: as a file, and in a real browser where there is one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.server.browser import Browser
from tests.server.support import Raw, Rest, write_tokens

pytestmark = pytest.mark.gen_test(timeout=60)


async def test_the_page_is_one_file_that_may_load_no_other(raw: Raw) -> None:
    async with raw.connect() as connection:
        await connection.send(b"GET /live/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        text = await connection._reader.read(-1)
    head, _, page = text.partition(b"\r\n\r\n")
    assert b"200 OK" in head
    assert b"text/html; charset=utf-8" in head
    assert b"default-src 'none'" in head
    assert b"<title>SharQ live</title>" in page
    assert not re.search(rb'(src|href)="', page)
    assert b"WebSocket" not in page, "who only looks does not subscribe"


async def test_other_methods_are_refused(rest: Rest) -> None:
    answer = await rest.post("/live/")
    assert answer.error == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.needs("chromium")
async def test_a_browser_shows_the_queues(rest: Rest, http_port: int, tmp_path: Path) -> None:
    for at in range(3):
        for queue, interval in (("tenant-1", 0), ("tenant-2", 3_600_000)):
            await rest.enqueue(f"sms/{queue}", f"j{at}", interval=interval)
    browser = Browser(tmp_path / "profile", f"http://127.0.0.1:{http_port}/live/")
    try:
        await browser.connect()
        text = await browser.see(r"sms\s*[12] ready")
        assert "live" in text
        assert re.search(r"tenant-1\s+3\s+0\s+0\s+ready", text)
        while not re.search(r"tenant-2\s+2\s+1\s+3,600,000\s+in ", text):
            await rest.get("/dequeue/sms/")
            text = await browser.text()
        while not re.search(r"[1-9]\d*\.\d jobs / s", text):
            await rest.enqueue("sms/tenant-3", f"k{len(text)}")
            await rest.get("/dequeue/sms/")
            text = await browser.text()
        (tmp_path / "live.png").write_bytes(await browser.picture())
    finally:
        await browser.close()


# What the page asks for in four seconds, how late a timer was in that time, and the rows shown.
OBSERVE = """
(async () => {
  const delays = [];
  let asked = 0, last = performance.now();
  const plain = window.fetch;
  window.fetch = (...all) => { asked += 1; return plain(...all); };
  const beat = setInterval(() => {
    const now = performance.now();
    delays.push(now - last - 20);
    last = now;
  }, 20);
  await new Promise((resolve) => setTimeout(resolve, 4000));
  clearInterval(beat);
  window.fetch = plain;
  delays.sort((one, other) => one - other);
  const late = delays[Math.floor(delays.length * 0.9)];
  return { asked, late, rows: document.querySelectorAll("tr").length };
})()
"""


@pytest.mark.needs("chromium")
async def test_a_thousand_queues_freeze_neither_the_browser_nor_the_server(
    rest: Rest, http_port: int, tmp_path: Path
) -> None:
    for at in range(20):
        jobs = [
            {"queue_type": f"type-{at}", "queue_id": f"q-{each}", "job_id": "j", "interval": 0}
            for each in range(50)
        ]
        await rest.post("/enqueue/", {"jobs": [job | {"payload": {}} for job in jobs]})
    browser = Browser(tmp_path / "profile", f"http://127.0.0.1:{http_port}/live/")
    try:
        await browser.connect()
        await browser.see(r"type-9\s*3 of the first 3 ready(?s:.*)and 47 more")
        seen = await browser.run(OBSERVE)
        (tmp_path / "live.png").write_bytes(await browser.picture())
    finally:
        await browser.close()
    assert 1 <= seen["asked"] <= 4 * 4 + 2
    # Nine in ten were in time: the machine may be busy, the page is not.
    assert seen["late"] < 50, "ms"
    assert 60 <= seen["rows"] <= 60 + 2 * 20


class TestTokens:
    @pytest.fixture
    def options(self, tmp_path: Path) -> dict[str, dict[str, Any]]:
        path = tmp_path / "tokens"
        write_tokens(path, {"watch": (["metrics"], ["*"]), "producer": (["enqueue"], ["*"])})
        return {"sharq-server": {"token_file": str(path)}}

    @pytest.mark.needs("chromium")
    async def test_the_page_asks_for_a_token_until_it_has_one_that_does(
        self, rest: Rest, http_port: int, tmp_path: Path
    ) -> None:
        job = {"job_id": "j", "interval": 0, "payload": {}}
        producer = {"Authorization": "Bearer producer"}
        await rest.call("POST", "/enqueue/sms/tenant-1/", job, producer)
        browser = Browser(tmp_path / "profile", f"http://127.0.0.1:{http_port}/live/")
        try:
            await browser.connect()
            text = await browser.see("a token is needed")
            assert "Show" in text
            assert "No queue has jobs" not in text
            for secret, told in (
                ("other", "the token is not known"),
                ("producer", "the token is not for metrics"),
                ("grüße aus Łódź", "this is not a token"),
            ):
                await browser.submit(secret)
                assert "Show" in await browser.see(told)
            (tmp_path / "login.png").write_bytes(await browser.picture())
            await browser.submit("watch")
            text = await browser.see(r"sms\s*1 ready")
            assert "Show" not in text
            assert re.search(r"tenant-1\s+1\s+0", text)
            (tmp_path / "live.png").write_bytes(await browser.picture())
        finally:
            await browser.close()
