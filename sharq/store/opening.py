"""What both faces do when they open: settings, the embedded store, redis-py's arguments."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from sharq.embedded.store import EmbeddedStore
from sharq.errors import StoreError, StoreOutcomeUnknown, StoreOverloaded, StoreUnavailable
from sharq.operations.call import Call
from sharq.operations.scripts import Scripts
from sharq.settings.options import StoreSettings
from sharq.settings.reading import Settings

F = TypeVar("F")

ConfigSource = str | os.PathLike[str] | Settings | None


def load_settings(source: ConfigSource) -> Settings:
    """Settings as they are, or read from a file (None: no file) and the environment."""
    if isinstance(source, Settings):
        return source
    return Settings.load(None if source is None else os.fspath(source), environ=os.environ)


def join_store(settings: Settings, given_up: threading.Event | None = None) -> EmbeddedStore | None:
    """Join the embedded store where it is configured; start it where nobody has.

    Another thread ends the wait for it by setting `given_up`.
    """
    store = settings.redis
    if store.conn_type != "embedded":
        return None
    return EmbeddedStore.join(store.data_dir, appendfsync=store.appendfsync, given_up=given_up)


async def join_store_from_loop(settings: Settings) -> EmbeddedStore | None:
    """`join_store` in a thread; to cancel it leaves no hold."""
    given_up = threading.Event()
    joining = asyncio.create_task(asyncio.to_thread(join_store, settings, given_up))
    try:
        return await asyncio.shield(joining)
    except asyncio.CancelledError:
        given_up.set()
        # The thread may have joined the store just now, for nobody.
        joining.add_done_callback(_leave_unused)
        raise


def _leave_unused(joining: asyncio.Task[EmbeddedStore | None]) -> None:
    if not joining.cancelled() and joining.exception() is None:
        store = joining.result()
        if store is not None:
            joining.get_loop().run_in_executor(None, store.leave)


def opened_again(
    face: Callable[..., F], settings: Settings, scripts: Scripts | None, source: ConfigSource
) -> F:
    """A face for settings that were read before from `source`: what a copy or a pickle becomes."""
    opened = face(settings, scripts=scripts)
    opened._source = source  # type: ignore[attr-defined]
    return opened


def at_socket(settings: StoreSettings, store: EmbeddedStore | None) -> StoreSettings:
    """The settings with the address of the embedded store, where there is one."""
    if store is None:
        return settings
    return dataclasses.replace(
        settings, conn_type="unix_sock", unix_socket_path=str(store.socket_path)
    )


def may_go_to_another_store(call: Call[Any], answer: object) -> bool:
    """Whether `answer` tells that there may be no store any more, and that the call may be sent
    to the one that takes the place: it was not carried out, or does no harm a second time.
    """
    return (
        isinstance(answer, StoreUnavailable)
        and not isinstance(answer, StoreOverloaded)
        and (call.repeatable or not answer.outcome_unknown)
    )


def after_both(first: StoreError, answer: Any) -> Any:
    """What a call comes to that had the error `first`, and `answer` from the store after that one:
    it may have been carried out by the first one.
    """
    if not isinstance(answer, StoreError) or answer.outcome_unknown or not first.outcome_unknown:
        return answer
    unknown = StoreOutcomeUnknown()
    unknown.__cause__ = answer
    return unknown


def redis_arguments(settings: StoreSettings) -> dict[str, Any]:
    """What redis-py's clients take to reach the same store."""
    arguments: dict[str, Any] = {
        "username": settings.username,
        "password": settings.password,
    }
    if settings.conn_type == "unix_sock":
        return arguments | {"db": settings.db, "unix_socket_path": settings.unix_socket_path}
    arguments |= {"host": settings.host, "port": settings.port}
    if settings.tls:
        arguments |= {
            "ssl": True,
            "ssl_ca_certs": settings.tls_ca,
            "ssl_certfile": settings.tls_certificate,
            "ssl_keyfile": settings.tls_key,
        }
    return arguments if settings.clustered else arguments | {"db": settings.db}
