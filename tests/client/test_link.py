"""The asyncio link against real stores, and through a proxy that harms the connection."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import random
import time
from asyncio.selector_events import _SelectorSocketTransport  # type: ignore[attr-defined]
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from sharq.errors import (
    StoreDenied,
    StoreError,
    StoreFull,
    StoreOutcomeUnknown,
    StoreOverloaded,
    StoreUnavailable,
    UnexpectedReply,
)
from sharq.settings.options import StoreSettings
from sharq.store.errors import BugMidway, Misdirected
from sharq.store.link import Link
from tests.support.commands import ECHO, LONGER, PING, Script, command
from tests.support.loops import eventually, on_loop
from tests.support.proxy import (
    AUTHORITY,
    CLIENT_CERTIFICATE,
    CLIENT_KEY,
    Proxy,
    server_context,
)
from tests.support.stores import PrivateStore


def at_socket(store: PrivateStore) -> StoreSettings:
    return StoreSettings(conn_type="unix_sock", unix_socket_path=store.socket_path)


def at_port(place: PrivateStore | Proxy) -> StoreSettings:
    return StoreSettings(conn_type="tcp_sock", host=place.host, port=place.port)


@contextlib.asynccontextmanager
async def open_link(
    settings: StoreSettings, scripts: Mapping[str, str] | None = None, **options: Any
) -> AsyncIterator[Link]:
    link = Link(settings, scripts or {}, **options)
    await link.start()
    try:
        yield link
    finally:
        await link.aclose()


@pytest.fixture
def own_store() -> Iterator[PrivateStore]:
    """A store that the test may harm."""
    with PrivateStore(tcp=True) as store:
        yield store


@pytest.fixture
def proxy(clean_store: PrivateStore) -> Iterator[Proxy]:
    with Proxy(clean_store.socket_path) as proxy:
        yield proxy


def count_writes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Record each write to a transport: its size, and what the transport holds back after it."""
    writes: list[tuple[int, int]] = []
    write = _SelectorSocketTransport.write

    def recorded(transport: Any, data: bytes) -> None:
        write(transport, data)
        writes.append((len(data), transport.get_write_buffer_size()))

    monkeypatch.setattr(_SelectorSocketTransport, "write", recorded)
    return writes


def messages(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "sharq.link" and r.levelno == level]


# ---- calls and replies ----


@on_loop
async def test_a_call_gives_what_its_parse_makes_of_the_reply(clean_store: PrivateStore) -> None:
    async with open_link(at_socket(clean_store)) as link:
        assert await link.run(command("ECHO", 20, parse=lambda reply: int(reply) + 1)) == 21


@on_loop
async def test_a_call_made_at_once_waits_for_the_first_connection(
    clean_store: PrivateStore,
) -> None:
    link = Link(at_socket(clean_store), {})
    assert await link.run(PING) == b"PONG"
    await link.aclose()


@on_loop
async def test_calls_of_many_callers_get_their_own_replies(clean_store: PrivateStore) -> None:
    async with open_link(at_socket(clean_store)) as link:
        replies = await asyncio.gather(*(link.run(command("ECHO", n)) for n in range(2000)))
        assert replies == [b"%d" % n for n in range(2000)]


def test_the_calls_of_one_turn_of_the_loop_leave_in_one_write(
    clean_store: PrivateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    @on_loop
    async def test() -> None:
        async with open_link(at_socket(clean_store)) as link:
            await link.run(PING)
            writes = count_writes(monkeypatch)
            await asyncio.gather(*(link.run(PING) for _ in range(100)), link.run_many([PING] * 28))
            assert writes == [(128 * len(PING.packed), 0)]

    test()


@on_loop
async def test_calls_reach_the_store_in_the_order_they_were_made(clean_store: PrivateStore) -> None:
    async with open_link(at_socket(clean_store)) as link:
        await asyncio.gather(*(link.run(command("RPUSH", "order", n)) for n in range(500)))
        assert clean_store.client.lrange("order", 0, -1) == [b"%d" % n for n in range(500)]


@on_loop
async def test_a_reply_of_many_megabytes_comes_whole(clean_store: PrivateStore) -> None:
    async with open_link(at_socket(clean_store)) as link:
        text = os.urandom(8 * 1024 * 1024)
        before, echoed, after = await asyncio.gather(
            link.run(PING), link.run(command("ECHO", text)), link.run(PING)
        )
        assert (before, echoed == text, after) == (b"PONG", True, b"PONG")


@on_loop
async def test_many_calls_give_results_and_errors_in_their_order(clean_store: PrivateStore) -> None:
    async with open_link(at_socket(clean_store)) as link:
        clean_store.client.set("text", "x")
        calls = [command("ECHO", 1), command("INCR", "text"), command("ECHO", 2)]
        first, error, second = await link.run_many(calls)
        assert (first, second) == (b"1", b"2")
        assert isinstance(error, UnexpectedReply)
        assert "ERR value is not an integer" in str(error)


@on_loop
async def test_no_calls_give_no_results(clean_store: PrivateStore) -> None:
    async with open_link(at_socket(clean_store)) as link:
        assert await link.run_many([]) == []


@on_loop
async def test_the_one_server_is_asked_whether_it_takes_writes(clean_store: PrivateStore) -> None:
    async with open_link(at_socket(clean_store)) as link:
        assert list((await link.try_each(PING)).values()) == [None]


@on_loop
async def test_a_reply_that_its_call_cannot_read_harms_no_other(clean_store: PrivateStore) -> None:
    async with open_link(at_socket(clean_store)) as link:
        odd = command("ECHO", "text", parse=int)
        before, error, after = await link.run_many([command("ECHO", 1), odd, command("ECHO", 2)])
        assert (before, type(error), after) == (b"1", BugMidway, b"2")


# ---- who gives up ----


@pytest.mark.parametrize("seed", range(4))
def test_every_reply_meets_its_request_when_callers_give_up_at_random(
    proxy: Proxy, clean_store: PrivateStore, seed: int
) -> None:
    chance = random.Random(seed)

    async def ask(link: Link, number: int) -> bool:
        """One call, with a caller that may lose patience; tells whether it was answered."""
        text = b"%d:" % number + chance.randbytes(chance.choice([0, 10, 300, 5000]))
        how = chance.random()
        task = asyncio.create_task(link.run(command("ECHO", text)))
        try:
            if how < 0.3:
                await asyncio.sleep(chance.choice([0, 0, 0.001, 0.004]))
                task.cancel()
                reply = await task
            elif how < 0.6:
                async with asyncio.timeout(chance.choice([0, 0.001, 0.003])):
                    reply = await task
            elif how < 0.7:
                (reply,) = await link.run_many([command("ECHO", text)])
                await task
            else:
                reply = await task
        except (TimeoutError, asyncio.CancelledError):
            return False
        assert reply == text
        return True

    @on_loop
    async def test() -> None:
        async with open_link(at_port(proxy), timeout=10) as link:
            await link.run(PING)
            client = await link.run(command("CLIENT", "ID"))
            answered = 0
            for start in range(0, 1500, 250):
                proxy.delay = chance.choice([0, 0.001, 0.003])
                batch = (ask(link, number) for number in range(start, start + 250))
                answered += sum(await asyncio.gather(*batch))
            assert 300 < answered < 1500
            proxy.delay = 0
            assert await link.run(command("ECHO", "last")) == b"last"
            assert await link.run(command("CLIENT", "ID")) == client

    test()


@on_loop
async def test_a_call_whose_caller_went_before_it_was_sent_is_not_carried_out(
    clean_store: PrivateStore,
) -> None:
    async with open_link(at_socket(clean_store)) as link:
        await link.run(PING)
        task = asyncio.create_task(link.run(command("INCR", "counter")))
        await asyncio.sleep(0)
        task.cancel()
        assert await link.run(command("GET", "counter")) is None


@on_loop
async def test_many_calls_whose_caller_goes_leave_nothing_behind(
    proxy: Proxy, clean_store: PrivateStore
) -> None:
    clean_store.client.set("text", "x")
    async with open_link(at_port(proxy)) as link:
        await link.run(PING)
        proxy.delay = 0.05
        # Nobody would look at the error of the second call.
        task = asyncio.create_task(link.run_many([PING, command("INCR", "text")]))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await link.run(command("ECHO", "next")) == b"next"


# ---- time limits ----


@pytest.mark.timing
@on_loop
async def test_a_call_without_an_answer_in_time_has_an_unknown_outcome(proxy: Proxy) -> None:
    async with open_link(at_port(proxy), timeout=0.4) as link:
        await link.run(PING)
        proxy.stall()
        started = time.monotonic()
        with pytest.raises(StoreOutcomeUnknown):
            await link.run(PING)
        assert 0.4 <= time.monotonic() - started < 0.8


@on_loop
async def test_a_connection_that_says_nothing_is_replaced(proxy: Proxy) -> None:
    async with open_link(at_port(proxy), timeout=0.3, connect_timeout=0.3) as link:
        await link.run(PING)
        proxy.stall()
        with pytest.raises(StoreOutcomeUnknown):
            await link.run(PING)
        await eventually("the connection is given up", lambda: not link.connected)
        proxy.resume()
        await eventually("there is a new one", lambda: link.connected)
        assert await link.run(command("ECHO", "new")) == b"new"


@on_loop
async def test_a_connection_that_answers_late_is_kept(proxy: Proxy) -> None:
    async with open_link(at_port(proxy), timeout=0.2) as link:
        client = await link.run(command("CLIENT", "ID"))
        tasks = []
        for number in range(40):
            proxy.delay = 0.01 * number
            tasks.append(asyncio.create_task(link.run(command("ECHO", number))))
            await asyncio.sleep(0.015)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[0] == b"0"
        assert type(results[-1]) is StoreOutcomeUnknown
        proxy.delay = 0
        await asyncio.sleep(0.4)
        assert await link.run(command("CLIENT", "ID")) == client


@on_loop
async def test_a_silent_connection_is_replaced_even_when_nobody_waits_for_it(
    proxy: Proxy,
) -> None:
    async with open_link(at_port(proxy), timeout=0.3) as link:
        await link.run(PING)
        proxy.stall()
        task = asyncio.create_task(link.run(PING))
        await asyncio.sleep(0.05)
        task.cancel()
        await eventually("the connection is given up", lambda: not link.connected, 2)
        proxy.resume()


@on_loop
async def test_an_idle_connection_is_kept(proxy: Proxy) -> None:
    async with open_link(at_port(proxy), timeout=0.1) as link:
        client = await link.run(command("CLIENT", "ID"))
        await asyncio.sleep(0.4)
        assert await link.run(command("CLIENT", "ID")) == client


# ---- lost connections ----


@on_loop
async def test_a_lost_answer_is_an_unknown_outcome_and_the_call_is_not_repeated(
    proxy: Proxy, clean_store: PrivateStore
) -> None:
    async with open_link(at_port(proxy)) as link:
        await link.run(PING)
        proxy.lose_replies_to(b"INCR", 1)
        with pytest.raises(StoreOutcomeUnknown) as error:
            await link.run(command("INCR", "counter"))
        assert isinstance(error.value.__cause__, StoreUnavailable)
        await link.run(PING)
        assert clean_store.client.get("counter") == b"1"


@on_loop
async def test_a_repeatable_call_with_a_lost_answer_is_sent_again(
    proxy: Proxy, clean_store: PrivateStore
) -> None:
    async with open_link(at_port(proxy)) as link:
        await link.run(PING)
        proxy.lose_replies_to(b"INCR", 1)
        assert await link.run(command("INCR", "counter", repeatable=True)) == 2


@on_loop
async def test_a_repeatable_call_is_sent_again_once(
    proxy: Proxy, clean_store: PrivateStore
) -> None:
    async with open_link(at_port(proxy)) as link:
        await link.run(PING)
        proxy.lose_replies_to(b"INCR", 2)
        with pytest.raises(StoreOutcomeUnknown):
            await link.run(command("INCR", "counter", repeatable=True))
        assert clean_store.client.get("counter") == b"2"


@on_loop
async def test_a_repeatable_call_that_cannot_be_sent_again_has_an_unknown_outcome(
    proxy: Proxy,
) -> None:
    async with open_link(at_port(proxy), wait_timeout=0.2) as link:
        await link.run(PING)
        proxy.stall()
        task = asyncio.create_task(link.run(command("INCR", "counter", repeatable=True)))
        await asyncio.sleep(0.05)
        proxy.refuse()
        with pytest.raises(StoreOutcomeUnknown):
            await task


@on_loop
async def test_calls_that_are_repeated_keep_their_order(
    proxy: Proxy, clean_store: PrivateStore
) -> None:
    async with open_link(at_port(proxy)) as link:
        await link.run(PING)
        proxy.stall()
        first = [command("RPUSH", "order", n, repeatable=True) for n in range(50)]
        tasks = [asyncio.create_task(link.run_many(first))]
        await asyncio.sleep(0.02)
        proxy.cut()
        proxy.resume()
        second = [command("RPUSH", "order", n, repeatable=True) for n in range(50, 100)]
        tasks.append(asyncio.create_task(link.run_many(second)))
        await asyncio.gather(*tasks)
        assert clean_store.client.lrange("order", 0, -1) == [b"%d" % n for n in range(100)]


@on_loop
async def test_what_was_never_sent_is_unavailable_and_not_carried_out(
    proxy: Proxy, clean_store: PrivateStore
) -> None:
    async with open_link(at_port(proxy), wait_timeout=0.2) as link:
        await link.run(PING)
        proxy.stall()
        # More than the kernel and the transport take off the link's hands.
        block = b"x" * 500_000
        calls = [command("SET", f"key{n}", block) for n in range(60)]
        task = asyncio.create_task(link.run_many(calls))
        await asyncio.sleep(0.3)
        proxy.refuse()
        errors = await task
        unsent = [n for n, error in enumerate(errors) if type(error) is StoreUnavailable]
        unknown = [n for n, error in enumerate(errors) if type(error) is StoreOutcomeUnknown]
        assert unknown + unsent == list(range(60))
        assert unknown
        assert unsent
        assert not clean_store.client.exists(*(f"key{n}" for n in unsent))


@on_loop
async def test_bytes_that_nobody_asked_for_end_the_connection(proxy: Proxy) -> None:
    async with open_link(at_port(proxy)) as link:
        client = await link.run(command("CLIENT", "ID"))
        proxy.inject(b"+nobody asked\r\n")
        await eventually("there is a new connection", lambda: proxy.accepted == 2)
        assert await link.run(command("CLIENT", "ID")) != client


@on_loop
async def test_bytes_that_are_no_reply_end_the_connection(proxy: Proxy) -> None:
    async with open_link(at_port(proxy)) as link:
        await link.run(PING)
        proxy.stall()
        task = asyncio.create_task(link.run(PING))
        await asyncio.sleep(0.02)
        proxy.inject(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with pytest.raises(StoreOutcomeUnknown):
            await task
        proxy.resume()
        assert await link.run(command("ECHO", "new")) == b"new"


# ---- back-pressure ----


@on_loop
async def test_more_calls_than_may_be_outstanding_are_refused(proxy: Proxy) -> None:
    async with open_link(at_port(proxy), max_calls=10) as link:
        await link.run(PING)
        proxy.stall()
        tasks = [asyncio.create_task(link.run(PING)) for _ in range(10)]
        await asyncio.sleep(0.05)
        with pytest.raises(StoreOverloaded):
            await link.run(PING)
        results = await link.run_many([PING, PING])
        assert [type(result) for result in results] == [StoreOverloaded] * 2
        proxy.resume()
        assert await asyncio.gather(*tasks) == [b"PONG"] * 10
        assert await link.run(PING) == b"PONG"


@on_loop
async def test_calls_that_were_given_up_count_until_they_are_answered(proxy: Proxy) -> None:
    async with open_link(at_port(proxy), max_calls=1) as link:
        await link.run(PING)
        proxy.stall()
        task = asyncio.create_task(link.run(PING))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(StoreOverloaded):
            await link.run(PING)
        proxy.resume()


def test_what_cannot_be_sent_is_held_back_within_bounds(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    @on_loop
    async def test() -> None:
        async with open_link(at_port(proxy), max_bytes=2_000_000) as link:
            await link.run(PING)
            proxy.stall()
            writes = count_writes(monkeypatch)
            block = command("ECHO", b"x" * 100_000)
            tasks: list[asyncio.Task[bytes]] = []
            while not any(task.done() for task in tasks):
                tasks.append(asyncio.create_task(link.run(block)))
                await asyncio.sleep(0)
            with pytest.raises(StoreOverloaded):
                await tasks.pop()
            # One slice of the link's above what makes the transport ask for a pause.
            assert max(held for _, held in writes) < 64 * 1024 + 256 * 1024 + 100_000
            proxy.resume()
            replies = await asyncio.gather(*tasks)
            assert [len(reply) for reply in replies] == [100_000] * len(tasks)

    test()


# ---- scripts ----


@on_loop
async def test_the_shortest_script_is_there_before_the_first_call(own_store: PrivateStore) -> None:
    async with open_link(at_socket(own_store), ECHO.scripts | LONGER.scripts) as link:
        assert await link.run(ECHO.call("text")) == b"text"
        assert "errorstat_NOSCRIPT" not in own_store.client.info("errorstats")


@on_loop
async def test_the_others_are_loaded_when_they_are_needed(own_store: PrivateStore) -> None:
    scripts = ECHO.scripts | LONGER.scripts | Script("return 'is needed by nobody'").scripts
    async with open_link(at_socket(own_store), scripts) as link:
        await link.run(PING)
        assert own_store.client.script_exists(*scripts) == [True, False, False]
        assert await link.run(LONGER.call("text")) == b"textlonger"
        assert own_store.client.script_exists(*scripts) == [True, True, False]


@on_loop
async def test_a_script_that_was_flushed_is_loaded_again(own_store: PrivateStore) -> None:
    async with open_link(at_socket(own_store), ECHO.scripts) as link:
        await link.run(PING)
        own_store.client.script_flush()
        assert await link.run(ECHO.call("text")) == b"text"
        assert "errorstat_NOSCRIPT" in own_store.client.info("errorstats")


@on_loop
async def test_flushes_under_load_are_not_seen(own_store: PrivateStore) -> None:
    push = Script("redis.call('RPUSH', KEYS[1], ARGV[1]) return ARGV[1]")
    async with open_link(at_socket(own_store), ECHO.scripts | push.scripts) as link:
        await link.run(PING)

        async def load(worker: int) -> None:
            for number in range(40):
                text = f"{worker}.{number}"
                calls = [push.call(text, keys=(b"list%d" % worker,)), ECHO.call(text)]
                assert await link.run_many(calls) == [text.encode()] * 2

        workers = asyncio.gather(*(load(worker) for worker in range(20)))
        while not workers.done():
            await link.run(command("SCRIPT", "FLUSH"))
            await asyncio.sleep(0.001)
        await workers
        for worker in range(20):
            pushed = own_store.client.lrange(f"list{worker}", 0, -1)
            assert pushed == [f"{worker}.{number}".encode() for number in range(40)]
        assert "errorstat_NOSCRIPT" in own_store.client.info("errorstats")


@on_loop
async def test_many_calls_of_a_missing_script_load_it_once(own_store: PrivateStore) -> None:
    async with open_link(at_socket(own_store), ECHO.scripts) as link:
        await link.run(PING)
        own_store.client.script_flush()
        own_store.client.config_resetstat()
        await asyncio.gather(*(link.run(ECHO.call(n)) for n in range(50)))
        stats: dict[str, Any] = own_store.client.info("commandstats")
        loads = stats.get("cmdstat_script|load") or stats["cmdstat_script"]
        assert loads["calls"] == 1


@on_loop
async def test_a_script_that_nobody_has_is_a_bug(clean_store: PrivateStore) -> None:
    async with open_link(at_socket(clean_store), ECHO.scripts) as link:
        with pytest.raises(UnexpectedReply, match="nobody has"):
            await link.run(Script("return 'unheard of'").call())
        assert await link.run(ECHO.call("text")) == b"text"


@on_loop
async def test_a_script_that_does_not_stay_loaded_is_given_up(clean_store: PrivateStore) -> None:
    # A digest that is not the text's: loading it does not help.
    wrong = "f" * 40
    async with open_link(at_socket(clean_store), {wrong: "return 1"}) as link:
        with pytest.raises(StoreUnavailable):
            await link.run(command("EVALSHA", wrong, 0))


# ---- a store that refuses ----


@on_loop
async def test_a_store_without_memory_is_full_and_keeps_the_connection(
    own_store: PrivateStore,
) -> None:
    write = Script("return redis.call('SET', KEYS[1], 'x')")
    async with open_link(at_socket(own_store), write.scripts) as link:
        client = await link.run(command("CLIENT", "ID"))
        own_store.client.config_set("maxmemory", 1)
        for call in (command("SET", "key", "x"), write.call(keys=(b"key",))):
            with pytest.raises(StoreFull):
                await link.run(call)
        assert await link.run(command("CLIENT", "ID")) == client


@on_loop
async def test_a_script_error_is_a_bug(clean_store: PrivateStore) -> None:
    wrong_type = Script("return redis.call('LPUSH', KEYS[1], 'x')")
    raised = Script("error('boom')")
    clean_store.client.set("text", "x")
    async with open_link(at_socket(clean_store), wrong_type.scripts | raised.scripts) as link:
        with pytest.raises(UnexpectedReply, match="WRONGTYPE"):
            await link.run(wrong_type.call(keys=(b"text",)))
        with pytest.raises(UnexpectedReply, match="boom"):
            await link.run(raised.call())


@on_loop
async def test_a_busy_store_is_unavailable_until_it_has_time_again(own_store: PrivateStore) -> None:
    endless = Script("while true do end")
    own_store.client.config_set("lua-time-limit", 20)
    async with open_link(at_socket(own_store), endless.scripts) as link:
        await link.run(PING)
        other = Link(at_socket(own_store), endless.scripts)
        stuck = asyncio.create_task(other.run(endless.call()))
        await asyncio.sleep(0.1)
        with pytest.raises(StoreUnavailable, match="BUSY"):
            await link.run(command("GET", "key"))
        own_store.connect().script_kill()
        with pytest.raises(StoreUnavailable, match="killed"):
            await stuck
        assert await link.run(PING) == b"PONG"
        await other.aclose()


@on_loop
async def test_a_replica_is_left_for_the_primary_that_the_address_leads_to_now(
    own_store: PrivateStore,
) -> None:
    write = Script("return redis.call('INCR', KEYS[1])")
    with PrivateStore() as primary, Proxy(own_store.socket_path) as proxy:
        async with open_link(at_port(proxy), write.scripts) as link:
            await link.run(PING)
            own_store.client.replicaof("127.0.0.1", "1")
            proxy.target = primary.socket_path
            assert await link.run(write.call(keys=(b"counter",))) == 1
            assert primary.client.get("counter") == b"1"


@on_loop
async def test_a_store_that_stays_a_replica_is_unavailable_for_writes(
    own_store: PrivateStore,
) -> None:
    own_store.client.replicaof("127.0.0.1", "1")
    with Proxy(own_store.socket_path) as proxy:
        async with open_link(at_port(proxy)) as link:
            for _ in range(5):
                with pytest.raises(Misdirected):
                    await link.run(command("INCR", "counter"))
            assert proxy.accepted == 2


# ---- more than the store can do ----

AT_FIRST = 1024


@on_loop
async def test_a_store_is_sent_no_more_than_it_may_do_and_the_rest_later(
    proxy: Proxy, clean_store: PrivateStore
) -> None:
    async with open_link(at_port(proxy), timeout=60) as link:
        await link.run(PING)
        proxy.stall()
        before = len(proxy.requests)
        calls = asyncio.gather(*(link.run(command("INCR", "counter")) for _ in range(3000)))
        while proxy.requests.count(b"INCR", before) < AT_FIRST:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert proxy.requests.count(b"INCR", before) == AT_FIRST
        proxy.resume()
        assert await calls == list(range(1, 3001))


@on_loop
async def test_what_a_slow_store_has_kept_waiting_for_long_is_refused_and_not_sent(
    proxy: Proxy, clean_store: PrivateStore
) -> None:
    async with open_link(at_port(proxy), timeout=60) as link:
        await link.run(PING)
        proxy.stall()
        calls = asyncio.gather(
            *(link.run(command("INCR", "counter")) for _ in range(3000)), return_exceptions=True
        )
        while proxy.requests.count(b"INCR") < AT_FIRST:
            await asyncio.sleep(0.01)
        link._tick += 15
        proxy.resume()
        outcomes = await calls
        assert outcomes[:AT_FIRST] == list(range(1, AT_FIRST + 1))
        assert {type(outcome) for outcome in outcomes[AT_FIRST:]} == {StoreOverloaded}
        assert clean_store.client.get("counter") == b"%d" % AT_FIRST


# ---- silence ----


@on_loop
async def test_a_connection_that_carries_nothing_any_more_is_told_from_a_busy_store(
    proxy: Proxy,
) -> None:
    async with open_link(at_port(proxy), timeout=3) as link:
        await link.run(PING)
        proxy.swallow()
        repeated = asyncio.create_task(link.run(command("PING", repeatable=True)))
        once = asyncio.create_task(link.run(command("INCR", "counter")))
        assert await repeated == b"PONG"
        with pytest.raises(StoreOutcomeUnknown) as caught:
            await once
        assert "answers others" in str(caught.value.__cause__.__cause__)  # type: ignore[union-attr]
        assert proxy.accepted == 3, "the first, the second opinion and the new one"


@on_loop
async def test_a_store_that_answers_nobody_keeps_its_connection(own_store: PrivateStore) -> None:
    with Proxy(own_store.socket_path) as proxy:
        async with open_link(at_port(proxy), timeout=3) as link:
            client = await link.run(command("CLIENT", "ID"))
            own_store.pause()
            waiting = asyncio.create_task(link.run(command("CLIENT", "ID")))
            while proxy.accepted < 2:
                await asyncio.sleep(0.01)
            own_store.resume()
            assert await waiting == client


@on_loop
async def test_a_store_that_is_busy_with_a_call_of_the_link_keeps_its_connection(
    own_store: PrivateStore,
) -> None:
    endless = Script("while true do end")
    own_store.client.config_set("lua-time-limit", 20)
    with Proxy(own_store.socket_path) as proxy:
        async with open_link(at_port(proxy), endless.scripts, timeout=3) as link:
            running = asyncio.create_task(link.run(endless.call()))
            while proxy.accepted < 2 or proxy.connections > 1:
                await asyncio.sleep(0.01)
            own_store.connect().script_kill()
            with pytest.raises(StoreUnavailable, match="killed"):
                await running
            assert await link.run(PING) == b"PONG"
            assert proxy.accepted == 2


# ---- coming and going ----


@on_loop
async def test_a_store_that_is_not_there_yet_is_waited_for(own_store: PrivateStore) -> None:
    own_store.stop()
    async with open_link(at_socket(own_store), wait_timeout=5) as link:
        task = asyncio.create_task(link.run(PING))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(own_store.start)
        assert await task == b"PONG"


@pytest.mark.timing
@on_loop
async def test_a_store_that_does_not_come_is_waited_for_a_short_time_only(
    own_store: PrivateStore,
) -> None:
    own_store.stop()
    async with open_link(at_socket(own_store), wait_timeout=0.3) as link:
        started = time.monotonic()
        with pytest.raises(StoreUnavailable) as first:
            await link.run(PING)
        assert 0.2 < time.monotonic() - started < 0.6
        assert type(first.value) is StoreUnavailable
        started = time.monotonic()
        results = await link.run_many([PING] * 100)
        assert {type(result) for result in results} == {StoreUnavailable}
        assert time.monotonic() - started < 0.1


@pytest.mark.parametrize("socket", [True, False], ids=["unix", "tcp"])
def test_a_store_that_was_killed_is_found_again(
    own_store: PrivateStore, caplog: pytest.LogCaptureFixture, socket: bool
) -> None:
    caplog.set_level(logging.INFO, "sharq.link")

    @on_loop
    async def test() -> None:
        settings = at_socket(own_store) if socket else at_port(own_store)
        async with open_link(settings, ECHO.scripts, wait_timeout=0.1) as link:
            await link.run(ECHO.call(1))
            await asyncio.to_thread(own_store.kill)
            await eventually("the loss is noticed", lambda: not link.connected)
            with pytest.raises(StoreUnavailable):
                await link.run(ECHO.call(2))
            await asyncio.sleep(0.3)
            await asyncio.to_thread(own_store.start)
            await eventually("it is found again", lambda: link.connected, 3)
            assert await link.run(ECHO.call(3)) == b"3"

    test()
    assert len(messages(caplog, logging.WARNING)) == 1
    assert len(messages(caplog, logging.INFO)) == 2


@on_loop
async def test_calls_under_way_when_the_store_is_killed_are_counted_once(
    own_store: PrivateStore,
) -> None:
    async with open_link(at_socket(own_store)) as link:
        await link.run(PING)
        outcomes: list[Any] = []

        async def work() -> None:
            while not outcomes or not isinstance(outcomes[-1], StoreError):
                outcomes.extend(await link.run_many([command("PING")]))

        workers = [asyncio.create_task(work()) for _ in range(8)]
        await asyncio.sleep(0.1)
        own_store.pause()
        await asyncio.sleep(0.05)
        await asyncio.to_thread(own_store.kill)
        await asyncio.gather(*workers)
        errors = [outcome for outcome in outcomes if isinstance(outcome, StoreError)]
        assert {type(error) for error in errors} <= {StoreOutcomeUnknown, StoreUnavailable}
        assert StoreOutcomeUnknown in {type(error) for error in errors}


@pytest.mark.timing
@on_loop
async def test_connections_that_break_at_once_are_not_opened_without_pause(
    clean_store: PrivateStore,
) -> None:
    with Proxy(clean_store.socket_path) as proxy:
        async with open_link(at_port(proxy)) as link:
            await link.run(PING)
            proxy.lose_replies_to(b"PING", 1000)
            proxy.cut()
            await asyncio.sleep(0.7)
            assert 3 < proxy.accepted < 30


@pytest.mark.timing
@on_loop
async def test_connections_that_break_soon_after_are_not_opened_without_pause(
    clean_store: PrivateStore,
) -> None:
    with Proxy(clean_store.socket_path) as proxy:
        async with open_link(at_port(proxy), ECHO.scripts) as link:
            proxy.lose_replies_to(b"PING", 1000)
            end = time.monotonic() + 0.7
            while time.monotonic() < end:
                with pytest.raises(StoreUnavailable):
                    await link.run(PING)
            assert 3 < proxy.accepted < 30


def open_files() -> int:
    gc.collect()
    return len(os.listdir("/dev/fd"))


@on_loop
async def test_nothing_is_left_after_many_losses(proxy: Proxy) -> None:
    files = open_files()
    async with open_link(at_port(proxy)) as link:
        for accepted in range(1, 7):
            await eventually("there is a new one", lambda: proxy.accepted == accepted)  # noqa: B023
            await eventually("it is in use", lambda: link.connected)
            assert await link.run(command("ECHO", accepted)) == b"%d" % accepted
            assert proxy.connections == 1
            if accepted < 6:
                proxy.cut()
    await eventually("the connection is closed", lambda: proxy.connections == 0)
    await eventually("its files are closed", lambda: open_files() == files)


@on_loop
async def test_a_store_with_too_many_clients_is_unavailable_until_there_is_room(
    own_store: PrivateStore,
) -> None:
    own_store.client.config_set("maxclients", 1)
    async with open_link(at_socket(own_store), ECHO.scripts, wait_timeout=0.1) as link:
        with pytest.raises(StoreUnavailable):
            await link.run(PING)
        own_store.client.config_set("maxclients", 100)
        await eventually("there is a connection", lambda: link.connected)
        assert await link.run(PING) == b"PONG"


# ---- credentials, databases, TLS ----


@pytest.fixture
def guarded_store() -> Iterator[PrivateStore]:
    users = ["bob", "on", ">secret", "~*", "+@all", "-@dangerous", "+script|load"]
    with PrivateStore(tcp=True, user=users, requirepass="open sesame") as store:
        yield store


@on_loop
async def test_a_password_opens_the_store(guarded_store: PrivateStore) -> None:
    settings = replace(at_socket(guarded_store), password="open sesame")
    async with open_link(settings, ECHO.scripts) as link:
        assert await link.run(command("ACL", "WHOAMI")) == b"default"


@on_loop
async def test_a_user_of_the_store_is_let_in_with_his_own_rights(
    guarded_store: PrivateStore,
) -> None:
    settings = replace(at_port(guarded_store), username="bob", password="secret")
    async with open_link(settings, ECHO.scripts) as link:
        assert await link.run(ECHO.call("text")) == b"text"
        with pytest.raises(StoreDenied):
            await link.run(command("FLUSHALL"))
        assert await link.run(ECHO.call("text")) == b"text"


@pytest.mark.timing
@pytest.mark.parametrize(
    ("username", "password"), [(None, None), (None, "wrong"), ("bob", "wrong"), ("eve", "secret")]
)
def test_wrong_credentials_are_denied_without_delay(
    guarded_store: PrivateStore, username: str | None, password: str | None
) -> None:
    @on_loop
    async def test() -> None:
        settings = replace(at_socket(guarded_store), username=username, password=password)
        async with open_link(settings, ECHO.scripts) as link:
            started = time.monotonic()
            for _ in range(3):
                with pytest.raises(StoreDenied):
                    await link.run(PING)
            assert time.monotonic() - started < 0.4

    test()


def test_wrong_credentials_are_logged_loudly_once(
    guarded_store: PrivateStore, caplog: pytest.LogCaptureFixture
) -> None:
    @on_loop
    async def test() -> None:
        with Proxy(guarded_store.socket_path) as proxy:
            async with open_link(replace(at_port(proxy), password="a wrong one")):
                await eventually("it is tried again", lambda: proxy.accepted >= 2)
                await asyncio.sleep(0.1)

    test()
    (message,) = messages(caplog, logging.ERROR)
    assert "WRONGPASS" in message or "invalid username-password pair" in message
    assert "a wrong one" not in caplog.text


@on_loop
async def test_credentials_that_become_right_are_found_out(own_store: PrivateStore) -> None:
    own_store.client.config_set("requirepass", "first")
    async with open_link(replace(at_socket(own_store), password="second")) as link:
        with pytest.raises(StoreDenied):
            await link.run(PING)
        own_store.client.config_set("requirepass", "second")
        await eventually("the link gets in", lambda: link.connected, 3)
        assert await link.run(PING) == b"PONG"


def test_a_command_that_is_denied_is_logged_once_for_a_connection(
    guarded_store: PrivateStore, caplog: pytest.LogCaptureFixture
) -> None:
    @on_loop
    async def test() -> None:
        settings = replace(at_socket(guarded_store), username="bob", password="secret")
        async with open_link(settings) as link:
            for _ in range(3):
                with pytest.raises(StoreDenied):
                    await link.run(command("FLUSHALL"))

    test()
    assert len(messages(caplog, logging.ERROR)) == 1


@on_loop
async def test_the_database_of_the_settings_is_used(clean_store: PrivateStore) -> None:
    async with open_link(replace(at_socket(clean_store), db=3)) as link:
        await link.run(command("SET", "place", "three"))
        assert clean_store.connect(db=3).get("place") == b"three"
        assert clean_store.client.get("place") is None


@on_loop
async def test_a_database_that_does_not_exist_is_told(clean_store: PrivateStore) -> None:
    async with open_link(replace(at_socket(clean_store), db=9999)) as link:
        with pytest.raises(UnexpectedReply, match="DB index is out of range"):
            await link.run(PING)


@pytest.fixture
def tls_proxy(clean_store: PrivateStore) -> Iterator[Proxy]:
    with Proxy(clean_store.socket_path, server_context()) as proxy:
        yield proxy


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_store_behind_tls_is_verified_and_used(tls_proxy: Proxy, host: str) -> None:
    @on_loop
    async def test() -> None:
        settings = replace(at_port(tls_proxy), host=host, tls=True, tls_ca=AUTHORITY)
        async with open_link(settings, ECHO.scripts) as link:
            text = os.urandom(300_000)
            calls = [command("ECHO", n) for n in range(100)]
            assert await link.run_many(calls) == [b"%d" % n for n in range(100)]
            assert await link.run(ECHO.call(text)) == text
            tls_proxy.cut()
            await eventually("there is a new one", lambda: tls_proxy.accepted == 2)
            assert await link.run(ECHO.call("again")) == b"again"

    test()


@on_loop
async def test_a_certificate_of_an_unknown_authority_is_refused(tls_proxy: Proxy) -> None:
    async with open_link(replace(at_port(tls_proxy), tls=True), wait_timeout=1) as link:
        with pytest.raises(StoreUnavailable) as error:
            await link.run(PING)
        assert "certificate verify failed" in str(error.value.__cause__.__cause__)  # type: ignore[union-attr]


@on_loop
async def test_a_certificate_for_another_name_is_refused(tls_proxy: Proxy) -> None:
    settings = replace(at_port(tls_proxy), host="127.0.0.2", tls=True, tls_ca=AUTHORITY)
    tls_proxy.host = "127.0.0.2"
    tls_proxy.refuse()
    tls_proxy.accept()
    async with open_link(settings, wait_timeout=1) as link:
        with pytest.raises(StoreUnavailable) as error:
            await link.run(PING)
        assert "certificate verify failed" in str(error.value.__cause__.__cause__)  # type: ignore[union-attr]


@on_loop
async def test_a_store_that_wants_a_certificate_gets_one(clean_store: PrivateStore) -> None:
    with Proxy(clean_store.socket_path, server_context(client_certificates=True)) as proxy:
        bare = replace(at_port(proxy), host="localhost", tls=True, tls_ca=AUTHORITY)
        async with open_link(bare, wait_timeout=1) as link:
            with pytest.raises(StoreUnavailable):
                await link.run(PING)
        shown = replace(bare, tls_certificate=CLIENT_CERTIFICATE, tls_key=CLIENT_KEY)
        async with open_link(shown) as link:
            assert await link.run(PING) == b"PONG"


# ---- the end ----


@on_loop
async def test_closing_waits_for_the_answers_that_are_due(proxy: Proxy) -> None:
    link = Link(at_port(proxy), {})
    await link.run(PING)
    proxy.delay = 0.2
    task = asyncio.create_task(link.run(command("ECHO", "due")))
    await asyncio.sleep(0.02)
    started = time.monotonic()
    await link.aclose()
    assert await task == b"due"
    assert time.monotonic() - started < 2
    await eventually("the connection is closed", lambda: proxy.connections == 0)


@pytest.mark.timing
@on_loop
async def test_closing_does_not_wait_for_ever(proxy: Proxy) -> None:
    link = Link(at_port(proxy), {}, timeout=0.3)
    await link.run(PING)
    proxy.stall()
    task = asyncio.create_task(link.run(PING))
    await asyncio.sleep(0.02)
    started = time.monotonic()
    await link.aclose()
    assert time.monotonic() - started < 1
    with pytest.raises(StoreOutcomeUnknown):
        await task


@on_loop
async def test_closing_that_is_cut_short_leaves_nobody_waiting(proxy: Proxy) -> None:
    link = Link(at_port(proxy), {}, timeout=10)
    await link.run(PING)
    proxy.stall()
    task = asyncio.create_task(link.run(PING))
    await asyncio.sleep(0.02)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await link.aclose()
    with pytest.raises(StoreOutcomeUnknown):
        await task
    proxy.resume()


@on_loop
async def test_a_closed_link_takes_no_calls(clean_store: PrivateStore) -> None:
    async with open_link(at_socket(clean_store)) as link:
        await link.run(PING)
    with pytest.raises(StoreUnavailable, match="closed"):
        await link.run(PING)
    assert not link.connected
    await link.aclose()


@on_loop
async def test_a_link_without_a_store_closes(own_store: PrivateStore) -> None:
    own_store.stop()
    link = Link(at_socket(own_store), {})
    task = asyncio.create_task(link.run(PING))
    await asyncio.sleep(0.1)
    await link.aclose()
    with pytest.raises(StoreUnavailable):
        await task


@on_loop
async def test_a_link_that_was_never_started_closes(clean_store: PrivateStore) -> None:
    await Link(at_socket(clean_store), {}).aclose()


@on_loop
async def test_a_link_closes_while_it_connects(proxy: Proxy) -> None:
    proxy.stall()
    link = Link(at_port(proxy), {})
    await link.start()
    await asyncio.sleep(0.05)
    await link.aclose()
    proxy.resume()
    await eventually("the connection is closed", lambda: proxy.connections == 0)


def test_the_loop_may_be_any(clean_store: PrivateStore) -> None:
    """A link belongs to the loop it is started in; another link may live in another one."""

    async def ask() -> Any:
        async with open_link(at_socket(clean_store)) as link:
            return await link.run(PING)

    assert [asyncio.run(ask()), asyncio.run(ask())] == [b"PONG"] * 2
