"""The store of a run, whatever it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.faults.keeper import Reconnector
from tests.faults.nodes import ClusterStore, Node, NodeStore, SentinelStore
from tests.faults.setup import CLUSTER, SINGLE, Setup
from tests.faults.store import Store

AnyStore = Store | NodeStore
AnyNode = Store | Node


def store_of(
    setup: Setup, folder: Path, keeper: Reconnector, on_return: Callable[[], None]
) -> AnyStore:
    """That of a setup. `on_return` is called when a single one is back."""
    if setup.kind == SINGLE:
        return Store(folder, keeper, setup, on_return)
    return (ClusterStore if setup.kind == CLUSTER else SentinelStore)(folder, keeper, setup)
