"""Payloads of the original as JSON: any value that JSON has comes as it was."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from sharq import SharQ
from sharq.migration.payloads import CannotCome, to_json
from tests.migration.new import New
from tests.migration.old import Old, packed

GUIDE = Path(__file__).parents[2] / "docs" / "migrating.md"

VALUES = some.recursive(
    some.none()
    | some.booleans()
    | some.integers(-(2**63), 2**64 - 1)
    | some.floats(allow_nan=False, allow_infinity=False)
    | some.text(),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(), inner, max_size=4),
    max_leaves=20,
)


def in_order(value: Any) -> str:
    return repr(value)


@given(VALUES, some.booleans())
def test_what_json_has_comes_as_it_was(value: Any, python2: bool) -> None:
    stored = packed(value)
    text = to_json(b'"' + stored + b'"' if python2 else stored, 10**6)
    assert in_order(json.loads(text)) == in_order(value)


@given(some.binary(max_size=40))
def test_any_bytes_come_or_have_a_reason(stored: bytes) -> None:
    try:
        text = to_json(stored, 10**6)
    except CannotCome:
        return
    msgspec.json.decode(text)


def test_the_guide_shows_how_to_send_what_was_too_large(
    old: Old, new: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    old.enqueue("sms", "bob", "large", "x" * 2_000_000, 250, 3)
    assert new.migrate(old).rejects == {"too_large": 1}
    new.rejects.rename(new.folder / "sharq-rejects.jsonl")
    (new.folder / "NEW.conf").write_text(
        f"[redis]\nconn_type = unix_sock\nunix_socket_path = {new.store.socket_path}\n"
        "[sharq]\nmax_payload_bytes = 4000000\nmax_bulk_bytes = 4000000\n"
    )
    monkeypatch.chdir(new.folder)
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert isinstance(names["sq"], SharQ)
    names["sq"].close()
    ((name, payload, left),) = new.waiting()["sms", "bob"]
    assert (name, len(payload), left) == ("large", 2_000_000, 3)


def test_the_guide_lists_every_reason() -> None:
    from sharq.migration import jobs, payloads

    reasons = {
        value
        for module in (jobs, payloads)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str) and re.fullmatch("[a-z_0-9]+", value)
    } - {jobs.WAITING, jobs.LEASED, jobs.REQUEUED}
    told = set(re.findall(r"^\| `([^|]*)` \|", GUIDE.read_text(), re.MULTILINE))
    listed = {word for cell in told for word in cell.split("`, `") if "-" not in word}
    assert reasons <= listed
