"""The pictures of the README: the dashboard in light and dark, and `sharq top`.

``python -m bench.pictures`` starts a store, a server and a load, lets them run for as long as the
charts show, and takes them as they are then. It needs playwright and Chromium.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import logging
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image
from rich.console import Console

from bench.processes import EVERYSEC, stand
from bench.showcase import load
from sharq.cli import top_screen, top_view, watching
from sharq.cli.rest import Server
from tests.support.browser import chromium
from tests.support.parts import missing

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_FOLDER: Final = Path(__file__).parent.parent / "docs" / "pictures"
_MINUTES: Final = 11.0
"""As long as the charts show, and what runs of a minute."""

_PAGES: Final = {"overview": ("", 760), "queue": ("queue/sms/tenant-7", 760)}
"""Pages, and how high their pictures are, in pixels of CSS."""

_WIDTH: Final = 1100
_SCALE: Final = 1.5
_COLOURS: Final = 96
_MOST_PNG: Final = 120 * 1024
_MOST_SVG: Final = 60 * 1024
_TOP_SIZE: Final = (112, 34)
_CHOSEN: Final = "sms"
_SHOWN_URL: Final = "http://127.0.0.1:8080"


def main() -> int:
    """Take all pictures; the exit code is 1 where one is too large, 2 where nothing was taken."""
    parser = argparse.ArgumentParser(prog="pictures", description="Takes the README's pictures.")
    parser.add_argument("--minutes", type=float, default=_MINUTES, help="of load (%(default)g)")
    minutes: float = parser.parse_args().minutes
    if absent := [part for part in ("playwright", "chromium") if missing(part)]:
        print(
            f"pictures: {' and '.join(absent)} not installed: .venv/bin/pip install playwright; "
            "apt-get install chromium",
            file=sys.stderr,
        )
        return 2
    _FOLDER.mkdir(exist_ok=True)
    # Jobs fail here because they are meant to.
    logging.disable(logging.ERROR)
    with stand(**EVERYSEC) as here, load(here.port):
        url = f"http://127.0.0.1:{here.port}"
        print(f"The load runs for {minutes:g} minutes; look at {url}/ui/", flush=True)
        time.sleep(60 * minutes)
        taken = [_take_top(url)]
        with chromium() as browser:
            taken += [
                _take_page(browser, f"{url}/ui/{path}", name, height, scheme)
                for name, (path, height) in _PAGES.items()
                for scheme in ("light", "dark")
            ]
    too_large = False
    for path in taken:
        size, most = path.stat().st_size, _MOST_SVG if path.suffix == ".svg" else _MOST_PNG
        too_large |= size > most
        print(f"{path}: {size / 1024:.0f} KiB{' is too large' if size > most else ''}")
    return int(too_large)


def _take_page(browser: Browser, url: str, name: str, height: int, scheme: str) -> Path:
    """A page as it looks when it has got what it watches."""
    context = browser.new_context(
        viewport={"width": _WIDTH, "height": height},
        device_scale_factor=_SCALE,
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    page.goto(url)
    page.locator(".live.live").wait_for()
    page.locator("#page .panel").first.wait_for()
    page.locator("svg.chart").first.wait_for()
    shot = page.screenshot()
    context.close()
    path = _FOLDER / f"{name}-{scheme}.png"
    image = Image.open(io.BytesIO(shot)).convert("RGB")
    image.quantize(_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


def _take_top(url: str) -> Path:
    """The screen of `sharq top`, drawn without a terminal."""
    server = Server(url)
    topics = [top_view.TYPES, top_view.WORKERS, top_view.topic_of(_CHOSEN)]
    data = asyncio.run(watching.look(server.channel, topics))
    width, height = _TOP_SIZE
    console = Console(record=True, width=width, height=height, file=io.StringIO())
    state = top_screen.State(_SHOWN_URL, data, _CHOSEN, "backlog")
    console.print(top_screen.draw(state, width, height))
    drawn = console.export_svg(title="sharq top", unique_id="top")
    path = _FOLDER / "top.svg"
    # It would load a typeface from elsewhere; the reader's own has the same widths.
    path.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.S), encoding="utf-8")
    return path


if __name__ == "__main__":
    sys.exit(main())
