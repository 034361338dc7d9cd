"""The live demo, run as its users run it."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.cli.terminal import HIDE, SHOW, STYLE, Terminal
from tests.support.stores import wait_for

COMMAND = [sys.executable, "-m", "sharq_server.demo"]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """An environment in which temporary files go to `folder`."""
    return {**os.environ, "TMPDIR": str(folder), **more}


@pytest.mark.timing
def test_the_demo_holds_every_tenant_to_its_rate_and_puts_everything_away(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--seconds", "3"],
        env=environment(tmp_path),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    rows = re.findall(r"(\d+)/s +(\d+) +(\d+) +(\d+) +[\d.]+ +\d+ +(\d+)$", done.stdout, re.M)
    limits = [(rate, interval) for rate, _, interval, _, _ in rows]
    assert limits == [
        *(("2", "500"), ("10", "100"), ("5", "200")),
        *[("20", "50")] * 3,
        ("8", "125"),
    ]
    for _, jobs, interval, least, early in rows:
        assert int(jobs) >= 2
        assert int(least) >= int(interval)
        assert early == "0"
    waits = re.search(r"had to wait (\d+) ms more; it waited (\d+) ms", done.stdout)
    assert waits is not None, done.stdout
    assert int(waits[2]) < int(waits[1]), "the new rate came with the next job only"
    assert "In the 375 ms of its pause no job of the airline went." in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_the_demo_with_what_was_measured_so_far(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [*COMMAND, "--seconds", "600"],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith("  1.0 s"):
                break
        demo.send_signal(signal.SIGINT)
        output, errors = demo.communicate(timeout=30)
    assert (demo.returncode, errors) == (0, "")
    assert "Stopped. So far:" in output
    assert "no tenant was over its rate" in output
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_shows_the_tenants_live_and_gets_its_cursor_back(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    demo = subprocess.Popen(
        [*COMMAND, "--seconds", "600"],
        env=environment(tmp_path, TERM="xterm", COLUMNS="80", LINES="24", PYTHONUTF8="1"),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
    )
    os.close(theirs)
    shown = bytearray()
    reader = threading.Thread(target=_read_all, args=(ours, shown))
    reader.start()
    try:
        wait_for("three frames", lambda: shown.count(b"cinema") >= 3, 30)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0
    finally:
        demo.kill()
        demo.wait()
        reader.join()
        os.close(ours)
    text = re.sub(r"\x1b\[[\d;]*m", "", shown.decode())
    assert re.search(r"airline +20/s +[·▌]{20,} ", text)
    assert text.index("\x1b[?25l") < text.index("\x1b[?25h") < text.index("So far:")


@pytest.mark.parametrize(("columns", "live"), [(50, False), (80, True)])
def test_a_terminal_without_room_gets_lines_and_one_without_colours_none(
    tmp_path: Path, columns: int, live: bool
) -> None:
    command = [*COMMAND, "--seconds", "600"]
    environ = environment(tmp_path, NO_COLOR="1", PYTHONUTF8="1")
    with Terminal(command, environ, columns=columns) as terminal:
        words = "museum +20/s" if live else r"\n  \d\.\d s  bakery"
        wait_for("it is shown", lambda: re.search(words, STYLE.sub("", terminal.text)), 30)
        terminal.type(b"\x03")
        assert terminal.end() == 0
        text = terminal.text
        assert terminal.modes() == terminal.before
    assert text.count(HIDE) == text.count(SHOW) == live
    assert not re.search(r"\x1b\[(?:[0-9;]*;)?(?:3|4|9|10)[0-9][;m]", text)


def test_a_length_that_makes_no_sense_is_refused() -> None:
    done = subprocess.run(
        [*COMMAND, "--seconds", "never"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "never is not a number from 2 to 600" in done.stderr


def _read_all(terminal: int, shown: bytearray) -> None:
    while True:
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # Linux tells the end of a terminal by EIO
            return
