"""A real browser: the system's Chromium, driven by playwright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support.parts import find

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PATIENCE = 20_000
"""Milliseconds that a browser waits for what is expected."""


@contextmanager
def chromium(*options: str) -> Iterator[Browser]:
    """A headless Chromium with these options, until the context is left."""
    # Where it is not installed, the tests that need it are left out, but loaded.
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find("chromium"), args=["--no-sandbox", "--disable-gpu", *options]
        )
        try:
            yield browser
        finally:
            browser.close()
