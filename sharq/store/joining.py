"""The store of the settings: the embedded one is joined first, and then has an address."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

from sharq.embedded.store import EmbeddedStore
from sharq.settings.options import EMBEDDED, UNIX, StoreSettings


def join_store(
    settings: StoreSettings, given_up: threading.Event | None = None
) -> EmbeddedStore | None:
    """Join the embedded store if it is configured; start it if it does not run."""
    return EmbeddedStore.of(settings, given_up) if settings.conn_type == EMBEDDED else None


async def join_store_from_loop(settings: StoreSettings) -> EmbeddedStore | None:
    """`join_store` in a thread; cancelling it leaves no hold."""
    given_up = threading.Event()
    joining = asyncio.create_task(asyncio.to_thread(join_store, settings, given_up))
    try:
        return await asyncio.shield(joining)
    except asyncio.CancelledError:
        given_up.set()
        # The thread may have joined the store just now, with nobody to use it.
        joining.add_done_callback(_leave_unused)
        raise


def _leave_unused(joining: asyncio.Task[EmbeddedStore | None]) -> None:
    if not joining.cancelled() and joining.exception() is None:
        store = joining.result()
        if store is not None:
            joining.get_loop().run_in_executor(None, store.leave)


def at_socket(settings: StoreSettings, store: EmbeddedStore | None) -> StoreSettings:
    """The settings with the address of the embedded store, if there is one."""
    if store is None:
        return settings
    return replace(settings, conn_type=UNIX, unix_socket_path=str(store.socket_path))
