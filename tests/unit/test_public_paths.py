"""The places that users import from stay, and name themselves in what they export."""

from __future__ import annotations

import importlib
import inspect
import pickle

import pytest

import sharq
import sharq_server
from tests.support.cases import cases

EXPORTS = {
    "sharq": "AsyncSharQ Batch Discard EmbeddedStore Job JobError LeasedJob NewJob REMOVE Retry"
    " ServerLock Settings SharQ Watcher Worker __version__",
    "sharq.errors": "SharqException BadArgumentException NotJson PayloadTooLarge JobConflict"
    " UnreadablePayload StoreError StoreUnavailable ConfigError",
    "sharq.exceptions": "SharqException BadArgumentException JobConflict",
    "sharq.results": "NewJob JobOptions REMOVE Enqueued Ended Extended JobStatus"
    " JobError DeadLetter DeadPage DeadFilter DeadBegun DeadBulk",
    "sharq.config": "Settings",
    "sharq.queue": "SharQ",
    "sharq_server": "SharQServer setup_server",
    "sharq_server.server": "SharQServer setup_server",
}


@cases("path", EXPORTS)
def test_a_public_path_exports_what_it_did(path: str) -> None:
    module = importlib.import_module(path)
    assert [name for name in EXPORTS[path].split() if not hasattr(module, name)] == []


@cases("path", EXPORTS)
def test_what_is_exported_names_a_public_path(path: str) -> None:
    module = importlib.import_module(path)
    exported = {name: getattr(module, name) for name in EXPORTS[path].split()}
    named = {name: each.__module__ for name, each in exported.items() if name != "__version__"}
    assert {name: where for name, where in named.items() if where not in EXPORTS} == {}


@pytest.mark.parametrize("module", [sharq, sharq_server])
def test_what_is_exported_can_be_looked_up_and_pickled_by_its_path(module: object) -> None:
    classes = [each for _, each in inspect.getmembers(module, inspect.isclass)]
    assert classes
    for each in classes:
        assert pickle.loads(pickle.dumps(each)) is each


def test_a_class_shows_the_path_that_it_is_imported_from() -> None:
    assert repr(sharq.AsyncSharQ) == "<class 'sharq.AsyncSharQ'>"
    assert repr(sharq.Job) == "<class 'sharq.Job'>"
    assert repr(sharq_server.SharQServer) == "<class 'sharq_server.SharQServer'>"
