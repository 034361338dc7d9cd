"""`sharq migrate` as a command: its words, its exit codes, and real kills."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sharq.cli import migrate as verb
from sharq.migration.migration import Plan
from sharq.migration.names import SWEEP_LOCK
from tests.cli.command import COMMAND, Said, Shell
from tests.migration.new import New, each
from tests.migration.old import FIXTURES, Old, load
from tests.server.command import environment
from tests.support.stores import PrivateStore


class Command:
    """Runs `sharq migrate` with files for both sides."""

    def __init__(self, shell: Shell, old: Old, new: New) -> None:
        self._shell = shell
        self.old = new.folder / "OLD.conf"
        self.new = new.folder / "NEW.conf"
        self.old.write_text(
            "[sharq]\njob_expire_interval       : 120000 ; in milliseconds\n"
            "job_requeue_interval      : 1000\ndefault_job_requeue_limit : -1\n"
            "[sharq-server]\nhost : 127.0.0.1\nport : 8080\n"
            f"[redis]\ndb : 0\nkey_prefix : {old.prefix}\nconn_type : unix_sock\n"
            f"unix_socket_path : {old.store.socket_path}\nhost : 127.0.0.1\nport : 6379\n"
        )
        self.new.write_text(
            f"[redis]\nconn_type = unix_sock\nunix_socket_path = {new.store.socket_path}\n"
        )

    @property
    def words(self) -> list[str]:
        return ["migrate", "--from", str(self.old), "--config", str(self.new)]

    def __call__(self, *more: str) -> Said:
        return self._shell(*self.words, *more)


@pytest.fixture
def command(
    old: Old,
    new: New,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Command:
    monkeypatch.setattr(verb, "Plan", partial(Plan, watch=0.05, quiet=0.3))
    monkeypatch.chdir(tmp_path)
    return Command(Shell("", tmp_path, monkeypatch, capfd), old, new)


def test_all_that_comes_is_told(old: Old, new: New, command: Command) -> None:
    load(old.client, FIXTURES / "original.json")
    said = command()
    assert said.code == 0
    facts = said.facts
    assert float(facts.pop("seconds")) < 60
    assert facts == {"queues": "9", "jobs": "255", "leases": "4", "rejected": "0", "leftovers": "1"}
    assert said.err == ""
    assert len(list(each(new.waiting()))) == 255


def test_what_cannot_come_is_an_exit_code(old: Old, new: New, command: Command) -> None:
    old.enqueue("sms", "bob", "bad", raw=b"\xc1")
    said = command()
    assert said.code == 1
    assert said.facts["rejected"] == "1"
    assert said.facts["rejects in"] == "sharq-rejects.jsonl"
    (line,) = Path("sharq-rejects.jsonl").read_text().splitlines()
    assert json.loads(line)["job_id"] == "bad"


def test_the_file_of_rejects_may_be_named(old: Old, command: Command, tmp_path: Path) -> None:
    old.enqueue("sms", "bob", "bad", raw=b"\xc1")
    said = command("--rejects", str(tmp_path / "these"), "--json")
    assert (said.code, said.json["rejects"]) == (1, str(tmp_path / "these"))
    assert said.json["rejected"] == {"not_msgpack": 1}
    assert (tmp_path / "these").exists()


def test_a_dry_run_says_that_it_was_one(old: Old, new: New, command: Command) -> None:
    for at in range(3):
        old.enqueue("sms", "bob", f"j{at}", at, 60_000)
    said = command("--dry-run")
    assert said.code == 0
    assert said.facts["jobs"] == "3"
    assert said.rows[-1] == ["sms", "bob", "3", "60000 ms", "120.0 s"]
    assert said.err == "sharq migrate: Nothing was written.\n"
    assert new.client.dbsize() == 0


def test_types_and_prefix_are_chosen(old: Old, new: New, command: Command) -> None:
    old.enqueue("sms", "bob", "j", 1)
    other = Old(old.store, "{odd}:prefix")
    other.enqueue("mail", "bob", "j", 1)
    other.enqueue("voice", "bob", "j", 1)
    other.enqueue("fax", "bob", "j", 1)
    assert command("--from-prefix", "{odd}:prefix", "--types", "mail, fax").code == 0
    assert sorted(each(new.waiting())) == ["fax/bob/j", "mail/bob/j"]


@pytest.mark.parametrize("how", [(), ("--dry-run",), ("--keep",), ("--follow",)])
def test_a_type_that_is_not_there_is_refused(
    old: Old, new: New, command: Command, how: tuple[str, ...]
) -> None:
    old.enqueue("sms", "bob", "j", 1)
    before = old.keys()
    for named, words in (
        ("sms,nosuch", f"The original has no type nosuch below {old.prefix}. Nothing was changed."),
        ("b, sms, a", f"The original has none of the types a, b below {old.prefix}."),
    ):
        said = command("--types", named, *how)
        assert (said.code, said.out) == (2, "")
        assert words in said.err
        assert old.keys() == before
        assert new.client.dbsize() == 0


def test_a_type_that_has_moved_is_no_mistake(old: Old, new: New, command: Command) -> None:
    old.enqueue("sms", "bob", "j", 1)
    old.enqueue("mail", "bob", "j", 1)
    for types, moved in (("sms", "1"), ("sms,mail", "1"), ("sms,mail", "0")):
        said = command("--types", types)
        assert (said.code, said.facts["jobs"]) == (0, moved)


def test_a_type_that_the_original_has_lost_sight_of_is_there(old: Old, command: Command) -> None:
    old.enqueue("sms", "bob", "j", 1)
    old.client.delete(old.key("ready", "queue_type"))
    said = command("--types", "sms")
    assert (said.code, said.facts["jobs"]) == (0, "1")


def test_a_type_that_is_spread_over_shards_is_refused(old: Old, new: New, command: Command) -> None:
    old.enqueue("sms", "bob", "j", 1)
    with new.engine() as engine:
        engine.run(engine.flows.resharding.set("sms", 4))
    for arguments in ((), ("--dry-run",), ("--keep",)):
        said = command(*arguments)
        assert (said.code, _left(old)) == (3, 1)
        assert "`sms` is spread over shards there: move its jobs first" in said.err
        # That would meet the same again.
        assert "begin again" not in said.err


def test_a_doubtful_lease_is_named(old: Old, command: Command) -> None:
    old.enqueue("sms", "bob", "j", 1)
    old.dequeue("sms")
    old.client.zadd(old.key("sms", "active"), {"bob:j": 5})
    said = command()
    assert said.code == 0
    assert "-1 requeues left" in said.err
    assert said.err.rstrip().endswith("sms/bob/j")


@pytest.mark.parametrize(
    ("change", "more", "words"),
    [
        ({}, ["--keep", "--follow"], "give one of the two"),
        ({}, ["--types", " ,"], "names no type"),
        ({"old": ""}, [], "names no store"),
        ({"old": "[redis]\nkey_prefixes = a"}, [], "no such option"),
        ({"new": "[redis]\nport = x"}, [], "port"),
        ({"new": "[redis]\nkey_prefix = {a}"}, [], "without braces"),
        ({}, ["--active", "other"], "invalid choice"),
        ({}, ["--from", "/nowhere"], "No such file"),
    ],
)
def test_wrong_usage_is_said_in_a_line(
    command: Command, change: dict[str, str], more: list[str], words: str
) -> None:
    for name, text in change.items():
        getattr(command, name).write_text(text)
    said = command(*more)
    assert said.code == 2
    assert said.err.startswith("sharq migrate: ")
    assert words in said.err
    assert said.out == ""


def test_names_that_would_meet_are_refused(
    clean_store: PrivateStore, command: Command, new: New
) -> None:
    command.old.write_text(command.new.read_text() + "key_prefix = {sharq_server}\n")
    said = command()
    assert said.code == 2
    assert "choose another one" in said.err


@pytest.mark.parametrize("side", ["old", "new"])
def test_a_store_that_is_away_is_no_answer(old: Old, command: Command, side: str) -> None:
    old.enqueue("sms", "bob", "j", 1)
    text = f"[redis]\nconn_type = unix_sock\nunix_socket_path = /nowhere/{side}.sock\n"
    getattr(command, side).write_text(text)
    said = command()
    assert said.code == 3
    assert f"/nowhere/{side}.sock" in said.err or "No such file" in said.err
    assert "begin again" in said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize("options", [["--dry-run"], []], ids=str)
def test_what_the_store_says_is_told_as_a_sentence(
    old: Old, command: Command, options: list[str]
) -> None:
    old.client.set("sharq_server:ready:queue_type", "by somebody else")
    said = command(*options)
    assert said.code == 3
    told = said.err.splitlines()[-1]
    assert "holding the wrong kind of value." in told
    assert ("begin again" in told) == (not options)


def test_a_source_in_use_is_no_answer(
    old: Old, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = iter([{0: 1}, {0: 2}])
    monkeypatch.setattr("sharq.migration.migration.counts_of", lambda _: next(counted))
    said = command()
    assert said.code == 3
    assert "--follow" in said.err


def test_a_store_that_is_full_takes_no_chunk(old: Old, new: New, command: Command) -> None:
    for at in range(150):
        old.enqueue("sms", "bob", f"j{at}", "x" * 1000)
    before = old.keys()
    new.client.config_set("maxmemory", 1)
    try:
        said = command()
        assert said.code == 3
        assert old.keys() == before
    finally:
        new.client.config_set("maxmemory", 0)
    old.client.delete(SWEEP_LOCK)
    assert command().code == 0
    assert len(new.waiting()["sms", "bob"]) == 150


def test_a_terminal_gets_a_bar_and_a_table(old: Old, new: New, tmp_path: Path) -> None:
    for at in range(300):
        old.enqueue("sms", "bob", f"j{at}", at, 1000)
    with pytest.MonkeyPatch.context() as patch:
        shell = Shell("", tmp_path, patch, None)  # type: ignore[arg-type]
        words = Command(shell, old, new).words
        said = shell.on_terminal(*words, "--dry-run", columns=100)
    assert said.code == 0
    assert "drains in" in said.out
    assert "299.0 s" in said.out


def test_processes_that_are_killed_lose_and_double_nothing(
    old: Old, new: New, tmp_path: Path
) -> None:
    chance = random.Random(3)
    with pytest.MonkeyPatch.context() as patch:
        words = Command(Shell("", tmp_path, patch, None), old, new).words  # type: ignore[arg-type]
    names = set()
    for at in range(6000):
        old.enqueue("sms", f"q{at % 70}", f"j{at}", at)
        names.add(f"sms/q{at % 70}/j{at}")
    for _ in range(50):
        old.dequeue("sms")
    left = 6000
    for _ in range(8):
        # It looks for five seconds whether the source is in use, unless it follows.
        process = subprocess.Popen(
            [*COMMAND, *words, "--follow"],
            env=environment(tmp_path),
            cwd=tmp_path,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and _left(old) == left:
            time.sleep(0.001)
        time.sleep(chance.random() * 0.1)
        process.kill()
        process.wait()
        left = _left(old)
        old.client.delete(SWEEP_LOCK)
        if not left:
            break
    new.migrate(old)
    assert Counter([*each(new.waiting()), *new.leased()]) == Counter(names)
    assert old.keys() == {}


def _left(old: Old) -> int:
    return int(old.client.hlen(old.key("payload")))


def test_nothing_of_msgpack_is_loaded_by_other_verbs() -> None:
    script = "import sys, sharq.__main__; print(sorted(m for m in sys.modules if 'rich' in m))"
    done: Any = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stdout.strip() == "[]"
