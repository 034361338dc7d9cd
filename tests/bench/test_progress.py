"""How far a run is: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from bench.progress import Progress
from tests.cli.terminal import HIDE, SHOW, STYLE, Terminal

STEPS = """
from bench.progress import Progress
progress = Progress()
progress.begin("codec", 4)
for step in range(4):
    progress.step(f"[red]step {step}")
    progress.say(f"step {step}, " + "x" * 200)
progress.begin("codec", 2)
progress.step("the second part")
progress.end()
progress.begin("idle", 1)
progress.end()
print("the end")
"""


def test_lines(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    progress.begin("codec", 4)
    progress.step("first")
    progress.say("within")
    progress.begin("codec", 2)
    progress.end()
    progress.begin("idle", 1)
    progress.end()
    assert capsys.readouterr() == ("", "codec …\nidle …\n")


def test_a_bar_of_one_line_that_is_gone_at_the_end() -> None:
    command = [sys.executable, "-c", STEPS]
    with Terminal(command, dict(os.environ), columns=80) as terminal:
        assert terminal.end() == 0
        text = STYLE.sub("", terminal.text)
    assert "codec" in text
    assert "[red]step 3" in text
    assert text.count(HIDE) == text.count(SHOW) == 3
    # A line is written over the last one, and none is longer than the terminal.
    for shown in re.split(r"[\r\n]|\x1b\[2K", text):
        assert len(re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", shown)) <= 80
    assert text.rstrip().endswith("the end")


def test_nothing_is_loaded_where_nobody_sees_it() -> None:
    code = f"{STEPS}\nimport sys; print('rich' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=20
    )
    assert ended.stdout.splitlines()[-1] == "False"
