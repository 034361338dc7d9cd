"""The comparison of two checkouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as command
from bench import against
from bench.progress import Progress
from bench.series import Series


def result(**rows: tuple[float, float]) -> dict[str, Any]:
    """A run with one table: a row each, with a figure and a target."""
    table = {
        "title": "T",
        "rows": [
            {"what": name, "took": took, "target": target} for name, (took, target) in rows.items()
        ],
    }
    return {"results": {"subject": [table]}}


def test_a_figure_is_known_by_its_table_row_and_column() -> None:
    assert against.figures(result(enqueue=(3, 5))) == {
        ("T", "enqueue", "took"): 3,
        ("T", "enqueue", "target"): 5,
    }


def test_ratios_are_taken_within_pairs_and_what_never_changes_is_left_out() -> None:
    here: dict[against.Figure, Series] = {}
    there: dict[against.Figure, Series] = {}
    for mine, its in [(2, 1), (30, 10), (8, 2)]:
        for series, took in ((here, mine), (there, its)):
            for figure, value in against.figures(result(enqueue=(took, 5))).items():
                series.setdefault(figure, Series()).add(value)
    (row,) = against.ratios(here, there, 3).rows
    assert row == ("T", "enqueue", "took", 2, 8, 3, 2, 4)


def test_what_only_one_of_them_measures_is_left_out() -> None:
    series = {("T", "new", "took"): Series([1.0, 2.0])}
    assert not against.ratios(series, {}, 2).rows


def test_a_checkout_beside_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = against.HERE / "bench" / "results"
    before = {*results.iterdir()}
    monkeypatch.setattr(
        "sys.argv", ["bench", "cycle", "--against", str(against.HERE), "--pairs", "1"]
    )
    assert command.main() == 0
    printed = capsys.readouterr().out
    assert "one by one, REST, 1 ms, enqueue" in printed
    assert {*results.iterdir()} == before


def test_a_run_that_fails_is_told(tmp_path: Path) -> None:
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho it is broken >&2; exit 3\n")
    python.chmod(0o755)
    with pytest.raises(against.NoResultError, match="it is broken"):
        against.compare(tmp_path, ["cycle"], 1, Progress())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--against", "."], "has no environment"),
        (["--against", "nowhere"], "is not a checkout"),
        (["--pairs", "0"], "at least 1"),
    ],
)
def test_wrong_arguments_are_told(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "__main__.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["bench", *arguments])
    with pytest.raises(SystemExit):
        command.main()
    assert said in capsys.readouterr().err
