"""Runs of the benchmark as a whole, as short as they can be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as command
from bench import push
from bench.peers.failures import Missing
from bench.peers.install import Say
from bench.peers.registry import BULLMQ, Peer, Ready
from bench.progress import Progress
from bench.sending import IN_FRAMES, ONE_BY_ONE
from bench.subject import Options, Subject


def run(arguments: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, Any]:
    """The exit code of a run and the result that it wrote."""
    monkeypatch.setattr(command, "RESULTS", folder)
    monkeypatch.setattr("sys.argv", ["bench", *arguments])
    code = command.main()
    (path,) = folder.glob("*.json")
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    return code, json.loads(path.read_text(encoding="utf-8"))


def test_a_run_prints_tables_and_leaves_a_file_and_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, result = run(["cycle", "--rounds", "1"], tmp_path, monkeypatch)
    assert code == 0
    assert list(result["results"]) == ["cycle"]
    assert [target["figure"] for target in result["targets"]] == [
        *("one by one, REST", "one by one, push", "batches of 32, push")
    ]
    assert all(target["reached"] > 0 for target in result["targets"])
    assert result["machine"]["store"] in (printed := capsys.readouterr().out)
    assert "Store time of a job's cycle" in printed
    assert "Targets" in printed


def test_a_subject_that_fails_leaves_the_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_progress: Progress, _options: Options) -> Any:
        raise RuntimeError("nothing goes")

    monkeypatch.setitem(command.SUBJECTS, "push", Subject("push", "", fail))
    code, result = run(["push", "cycle", "--rounds", "1"], tmp_path, monkeypatch)
    assert code == 1
    assert result["failed"] == ["push"]
    assert list(result["results"]) == ["cycle"]
    assert "nothing goes" in capsys.readouterr().err


def test_a_peer_that_is_missing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(_say: Say) -> Ready:
        raise Missing("it is not for sale")

    listed = [
        Peer(name, 1, prepare, sending, lambda _store: 0, "")
        for name, sending in ((BULLMQ, IN_FRAMES), ("single", ONE_BY_ONE))
    ]
    monkeypatch.setattr(push, "PEERS", listed)
    for name, jobs in (("_JOBS", 1_600), ("_JOBS_DURABLE", 1_600), ("_JOBS_ALIKE", 100)):
        monkeypatch.setattr(push, name, jobs)
    tables, targets, highlights = push.run(Progress(), Options(1, full=False, peers=True))
    (peers,) = (table for table in tables if "other queues" in table.title)
    assert [row[0] for row in peers.rows] == ["SharQ", BULLMQ, "SharQ", "single"]
    assert [row[1] for row in peers.rows[::2]] == [IN_FRAMES.text, ONE_BY_ONE.text]
    assert all(row[2] > 0 and row[4] > 0 for row in peers.rows[::2])
    for row in peers.rows[1::2]:
        assert list(row[2:]) == [None, None, None, None, "it is not for sale"]
    assert [(each.store, (each.rate or 0) > 0) for each in highlights] == [
        *[("no log", True), ("always", True)] * 2
    ]
    figures = {target.figure: target for target in targets}
    assert figures[f"ratio to {BULLMQ}"].met is None
    assert figures[f"ratio to {BULLMQ}"].remark == "it is not for sale"
    assert (figures["share of the store's ceiling"].reached or 0) > 0
