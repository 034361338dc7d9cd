"""A real browser, spoken to by the DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import subprocess
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import websocket_connect


class Browser:
    """A headless Chromium that shows a page; `more` are options of its own."""

    def __init__(self, profile: Path, url: str, *more: str) -> None:
        self._profile = profile
        options = (
            *("--headless", "--no-sandbox", "--disable-gpu", "--window-size=900,560"),
            *("--no-first-run", "--disable-background-networking", "--disable-sync"),
            "--disable-component-update",
            *more,
        )
        self._process = subprocess.Popen(
            ["chromium", *options, "--remote-debugging-port=0", f"--user-data-dir={profile}", url],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    async def connect(self) -> None:
        place = self._profile / "DevToolsActivePort"
        while not place.exists() or "\n" not in place.read_text():
            await asyncio.sleep(0.05)
        port = place.read_text().splitlines()[0]
        pages: list[dict[str, str]] = []
        while not pages:
            answer = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/json")
            pages = [page for page in json.loads(answer.body) if page["type"] == "page"]
        self._socket = await websocket_connect(
            pages[0]["webSocketDebuggerUrl"], max_message_size=1 << 26
        )

    async def call(self, method: str, **parameters: object) -> Any:
        await self._socket.write_message(
            json.dumps({"id": 1, "method": method, "params": parameters})
        )
        while True:
            answer = json.loads(await self._socket.read_message() or "")
            if answer.get("id") == 1:
                return answer["result"]

    async def run(self, script: str) -> Any:
        """The value of a script, or of its promise; None where it fails."""
        result = await self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        return result["result"].get("value")

    async def text(self) -> str:
        # Before the page is there it has no body.
        return str(await self.run("document.body.innerText"))

    async def submit(self, secret: str) -> None:
        """Write a token into the form, and send it as the button does."""
        await self.run(
            f"document.getElementById('token').value = {json.dumps(secret)};"
            "document.getElementById('login').requestSubmit()"
        )

    async def see(self, pattern: str) -> str:
        """Wait until the page's text has what is looked for; the text."""
        while not re.search(pattern, text := await self.text()):
            await asyncio.sleep(0.05)
        return text

    async def picture(self) -> bytes:
        return base64.b64decode((await self.call("Page.captureScreenshot"))["data"])

    async def close(self) -> None:
        self._socket.close()
        while await self._socket.read_message() is not None:
            pass
        self._process.terminate()
        await asyncio.to_thread(self._process.wait, 20)
