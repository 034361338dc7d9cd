"""The blocking link against real stores, and through a proxy that harms the connection."""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from sharq.errors import (
    StoreDenied,
    StoreFull,
    StoreOutcomeUnknown,
    StoreUnavailable,
    UnexpectedReply,
)
from sharq.settings.options import StoreSettings
from sharq.store.blocking_connection import BlockingWire
from sharq.store.blocking_link import SyncLink
from sharq.store.errors import BugMidway, Misdirected
from sharq.store.request import Request
from tests.support.commands import ECHO, LONGER, PING, Script, command
from tests.support.proxy import (
    AUTHORITY,
    CLIENT_CERTIFICATE,
    CLIENT_KEY,
    Proxy,
    server_context,
)
from tests.support.stores import PrivateStore, wait_for


def at_socket(store: PrivateStore) -> StoreSettings:
    return StoreSettings(conn_type="unix_sock", unix_socket_path=store.socket_path)


def at_port(place: PrivateStore | Proxy) -> StoreSettings:
    return StoreSettings(conn_type="tcp_sock", host=place.host, port=place.port)


Opener = Callable[..., SyncLink]


@pytest.fixture
def open_link() -> Iterator[Opener]:
    links: list[SyncLink] = []

    def opened(settings: StoreSettings, scripts: Any = None, **options: Any) -> SyncLink:
        links.append(SyncLink(settings, scripts or {}, **options))
        return links[-1]

    yield opened
    for link in links:
        link.close()


@pytest.fixture
def own_store() -> Iterator[PrivateStore]:
    """A store that the test may harm."""
    with PrivateStore(tcp=True) as store:
        yield store


@pytest.fixture
def proxy(clean_store: PrivateStore) -> Iterator[Proxy]:
    with Proxy(clean_store.socket_path) as proxy:
        yield proxy


# ---- calls and replies ----


def test_a_call_gives_what_its_parse_makes_of_the_reply(
    clean_store: PrivateStore, open_link: Opener
) -> None:
    link = open_link(at_socket(clean_store))
    assert link.run(command("ECHO", 20, parse=lambda reply: int(reply) + 1)) == 21


def test_many_calls_give_results_and_errors_in_their_order(
    clean_store: PrivateStore, open_link: Opener
) -> None:
    clean_store.client.set("text", "x")
    calls = [command("ECHO", n) for n in range(1000)]
    calls[500] = command("INCR", "text")
    results = open_link(at_socket(clean_store)).run_many(calls)
    assert isinstance(results[500], UnexpectedReply)
    results[500] = b"500"
    assert results == [b"%d" % n for n in range(1000)]


def test_no_calls_give_no_results(clean_store: PrivateStore, open_link: Opener) -> None:
    assert open_link(at_socket(clean_store)).run_many([]) == []


def test_replies_of_many_megabytes_come_whole(clean_store: PrivateStore, open_link: Opener) -> None:
    texts = [os.urandom(3_000_000) for _ in range(4)]
    results = open_link(at_socket(clean_store)).run_many([command("ECHO", text) for text in texts])
    assert results == texts


def test_one_reply_of_many_megabytes_comes_whole(
    clean_store: PrivateStore, open_link: Opener
) -> None:
    link = open_link(at_socket(clean_store))
    text = os.urandom(8_000_000)
    for _ in range(2):
        assert link.run(command("ECHO", text)) == text


@pytest.mark.parametrize("more", [b"", b"+nobody asked\r\n", b"$5\r\nnob", b"garbage"])
def test_a_connection_that_brought_more_than_the_reply_is_not_quiet(more: bytes) -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs:
        wire = BlockingWire(mine)
        theirs.sendall(b"+PONG\r\n" + more)
        assert wire.ask(Request(PING), time.monotonic() + 5) == b"PONG"
        assert wire.quiet() == (not more)


def test_the_one_server_is_asked_whether_it_takes_writes(
    clean_store: PrivateStore, open_link: Opener
) -> None:
    told = open_link(at_socket(clean_store)).try_each(PING)
    assert list(told.values()) == [None]


def test_one_caller_uses_one_connection(proxy: Proxy, open_link: Opener) -> None:
    link = open_link(at_port(proxy))
    for _ in range(20):
        link.run(PING)
    assert proxy.accepted == 1


def test_a_reply_that_its_call_cannot_read_harms_no_other(
    clean_store: PrivateStore, open_link: Opener
) -> None:
    calls = [command("ECHO", 1), command("ECHO", "text", parse=int), command("ECHO", 2)]
    link = open_link(at_socket(clean_store))
    before, error, after = link.run_many(calls)
    assert (before, type(error), after) == (b"1", BugMidway, b"2")
    mine = link.run(command("CLIENT", "ID"))
    with pytest.raises(UnexpectedReply, match="unexpected shape"):
        link.run(calls[1])
    assert link.run(command("CLIENT", "ID")) == mine


# ---- threads and processes ----


def test_every_reply_meets_its_request_in_many_threads(
    clean_store: PrivateStore, open_link: Opener
) -> None:
    link = open_link(at_socket(clean_store))

    def work(worker: int) -> None:
        for number in range(200):
            text = b"%d.%d" % (worker, number)
            assert link.run(command("ECHO", text)) == text

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))


def test_a_caller_that_is_interrupted_stands_in_nobodys_way(
    clean_store: PrivateStore, open_link: Opener
) -> None:
    class Alarm(Exception):
        pass

    def ring(*_: object) -> None:
        raise Alarm

    link = open_link(at_socket(clean_store))
    link.run(PING)
    previous = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Alarm):
            link.run(command("BLPOP", "nothing", 5))
    finally:
        signal.signal(signal.SIGALRM, previous)
    started = time.monotonic()
    assert link.run(command("ECHO", "mine")) == b"mine"
    assert time.monotonic() - started < 2


def test_a_child_process_opens_connections_of_its_own(
    clean_store: PrivateStore, open_link: Opener
) -> None:
    link = open_link(at_socket(clean_store))
    mine = link.run(command("CLIENT", "ID"))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            theirs = [link.run(command("CLIENT", "ID")) for _ in range(2)]
            os.write(writing, repr(theirs).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        first, second = eval(answer.read())
    os.waitpid(child, 0)
    assert first == second != mine
    assert link.run(command("CLIENT", "ID")) == mine


# ---- time limits and lost connections ----


@pytest.mark.timing
def test_a_call_without_an_answer_in_time_has_an_unknown_outcome(
    proxy: Proxy, open_link: Opener
) -> None:
    link = open_link(at_port(proxy), timeout=0.3)
    link.run(PING)
    proxy.stall()
    started = time.monotonic()
    with pytest.raises(StoreOutcomeUnknown) as error:
        link.run(PING)
    assert 0.3 <= time.monotonic() - started < 0.6
    assert isinstance(error.value.__cause__.__cause__, TimeoutError)  # type: ignore[union-attr]
    proxy.resume()
    assert link.run(command("ECHO", "next")) == b"next"


@pytest.mark.timing
def test_answers_that_trickle_in_do_not_stretch_the_time_limit(
    own_store: PrivateStore, open_link: Opener
) -> None:
    sleeper = command("BLPOP", "nothing", "0.2")
    link = open_link(at_socket(own_store), timeout=0.5)
    started = time.monotonic()
    results = link.run_many([sleeper] * 10)
    assert 0.5 <= time.monotonic() - started < 0.8
    kinds = [type(result) for result in results]
    assert set(kinds[:1]) == {type(None)}
    assert set(kinds[5:]) == {StoreOutcomeUnknown}


def test_a_connection_that_died_while_idle_is_replaced_unseen(
    proxy: Proxy, clean_store: PrivateStore, open_link: Opener
) -> None:
    link = open_link(at_port(proxy))
    link.run(PING)
    proxy.cut()
    assert link.run(command("INCR", "counter")) == 1
    assert proxy.accepted == 2


def test_a_connection_with_something_unasked_for_is_replaced_unseen(
    proxy: Proxy, open_link: Opener
) -> None:
    link = open_link(at_port(proxy))
    link.run(PING)
    proxy.inject(b"+nobody asked\r\n")
    time.sleep(0.05)
    assert link.run(command("ECHO", "mine")) == b"mine"
    assert proxy.accepted == 2


def test_a_lost_answer_is_an_unknown_outcome_and_the_call_is_not_repeated(
    proxy: Proxy, clean_store: PrivateStore, open_link: Opener
) -> None:
    link = open_link(at_port(proxy))
    link.run(PING)
    proxy.lose_replies_to(b"INCR", 1)
    with pytest.raises(StoreOutcomeUnknown):
        link.run(command("INCR", "counter"))
    assert clean_store.client.get("counter") == b"1"


def test_a_repeatable_call_with_a_lost_answer_is_sent_again(
    proxy: Proxy, open_link: Opener
) -> None:
    link = open_link(at_port(proxy))
    proxy.lose_replies_to(b"INCR", 1)
    assert link.run(command("INCR", "counter", repeatable=True)) == 2


def test_a_repeatable_call_is_sent_again_once(
    proxy: Proxy, clean_store: PrivateStore, open_link: Opener
) -> None:
    link = open_link(at_port(proxy))
    proxy.lose_replies_to(b"INCR", 2)
    with pytest.raises(StoreOutcomeUnknown):
        link.run(command("INCR", "counter", repeatable=True))
    assert clean_store.client.get("counter") == b"2"


def test_a_repeatable_call_that_cannot_be_sent_again_has_an_unknown_outcome(
    proxy: Proxy, open_link: Opener
) -> None:
    link = open_link(at_port(proxy))
    link.run(PING)
    proxy.stall()
    threading.Timer(0.1, proxy.refuse).start()
    with pytest.raises(StoreOutcomeUnknown):
        link.run(command("INCR", "counter", repeatable=True))


def test_bytes_that_are_no_reply_end_the_connection(proxy: Proxy, open_link: Opener) -> None:
    link = open_link(at_port(proxy))
    link.run(PING)
    proxy.stall()
    threading.Timer(0.1, proxy.inject, [b"HTTP/1.1 400 Bad Request\r\n\r\n"]).start()
    with pytest.raises(StoreOutcomeUnknown):
        link.run(PING)
    proxy.resume()
    assert link.run(command("ECHO", "mine")) == b"mine"


@pytest.mark.timing
def test_a_store_that_is_away_is_told_at_once_and_found_when_it_is_back(
    own_store: PrivateStore, open_link: Opener
) -> None:
    link = open_link(at_socket(own_store), ECHO.scripts)
    own_store.kill()
    started = time.monotonic()
    with pytest.raises(StoreUnavailable) as error:
        link.run(ECHO.call("text"))
    assert type(error.value) is StoreUnavailable
    assert time.monotonic() - started < 0.3
    own_store.start()
    assert link.run(ECHO.call("text")) == b"text"


def test_nothing_is_left_after_many_losses(proxy: Proxy, open_link: Opener) -> None:
    def open_files() -> int:
        gc.collect()
        return len(os.listdir("/dev/fd"))

    files = open_files()
    link = open_link(at_port(proxy))
    for number in range(5):
        assert link.run(command("ECHO", number)) == b"%d" % number
        assert proxy.connections == 1
        proxy.cut()
    link.close()
    wait_for("the files are closed", lambda: open_files() == files)


# ---- scripts and refusals ----


def test_the_shortest_script_is_there_before_the_first_call(
    own_store: PrivateStore, open_link: Opener
) -> None:
    link = open_link(at_socket(own_store), ECHO.scripts | LONGER.scripts)
    assert link.run(ECHO.call("text")) == b"text"
    assert "errorstat_NOSCRIPT" not in own_store.client.info("errorstats")


def test_the_others_are_loaded_when_they_are_needed(
    own_store: PrivateStore, open_link: Opener
) -> None:
    scripts = ECHO.scripts | LONGER.scripts | Script("return 'is needed by nobody'").scripts
    link = open_link(at_socket(own_store), scripts)
    link.run(PING)
    assert own_store.client.script_exists(*scripts) == [True, False, False]
    assert link.run(LONGER.call("text")) == b"textlonger"
    assert own_store.client.script_exists(*scripts) == [True, True, False]


def test_a_script_that_was_flushed_is_loaded_for_a_single_call(
    clean_store: PrivateStore, open_link: Opener
) -> None:
    link = open_link(at_socket(clean_store), ECHO.scripts)
    link.run(PING)
    for _ in range(2):
        clean_store.client.script_flush()
        assert link.run(ECHO.call("text")) == b"text"


def test_scripts_that_were_flushed_are_loaded_again(
    clean_store: PrivateStore, open_link: Opener
) -> None:
    other = Script("return ARGV[1] .. ARGV[1]")
    link = open_link(at_socket(clean_store), ECHO.scripts | other.scripts)
    link.run(PING)
    clean_store.client.script_flush()
    calls = [ECHO.call(1), command("ECHO", 2), other.call(3), ECHO.call(4)]
    assert link.run_many(calls) == [b"1", b"2", b"33", b"4"]


def test_a_script_that_nobody_has_is_a_bug(clean_store: PrivateStore, open_link: Opener) -> None:
    link = open_link(at_socket(clean_store), ECHO.scripts)
    unheard_of = Script("return 'unheard of'").call()
    results = link.run_many([unheard_of, ECHO.call("text")])
    assert (type(results[0]), results[1]) == (UnexpectedReply, b"text")
    with pytest.raises(UnexpectedReply, match="nobody has"):
        link.run(unheard_of)
    assert link.run(ECHO.call("text")) == b"text"


def test_a_script_that_does_not_stay_loaded_is_given_up(
    clean_store: PrivateStore, open_link: Opener
) -> None:
    wrong = "f" * 40
    link = open_link(at_socket(clean_store), {wrong: "return 1"})
    with pytest.raises(StoreUnavailable):
        link.run(command("EVALSHA", wrong, 0))


def test_a_store_without_memory_is_full(own_store: PrivateStore, open_link: Opener) -> None:
    link = open_link(at_socket(own_store))
    own_store.client.config_set("maxmemory", 1)
    with pytest.raises(StoreFull):
        link.run(command("SET", "key", "x"))


def test_a_replica_is_left_for_the_primary_that_the_address_leads_to_now(
    own_store: PrivateStore, open_link: Opener
) -> None:
    with PrivateStore() as primary, Proxy(own_store.socket_path) as proxy:
        link = open_link(at_port(proxy))
        link.run(PING)
        own_store.client.replicaof("127.0.0.1", "1")
        proxy.target = primary.socket_path
        assert link.run(command("INCR", "counter")) == 1
        assert primary.client.get("counter") == b"1"


def test_a_store_that_stays_a_replica_is_unavailable_for_writes(
    own_store: PrivateStore, open_link: Opener
) -> None:
    own_store.client.replicaof("127.0.0.1", "1")
    link = open_link(at_socket(own_store))
    with pytest.raises(Misdirected):
        link.run(command("INCR", "counter"))


def test_a_store_with_too_many_clients_is_unavailable_until_there_is_room(
    own_store: PrivateStore, open_link: Opener
) -> None:
    own_store.client.config_set("maxclients", 1)
    link = open_link(at_socket(own_store), ECHO.scripts)
    with pytest.raises(StoreUnavailable):
        link.run(PING)
    own_store.client.config_set("maxclients", 100)
    assert link.run(PING) == b"PONG"


# ---- credentials, databases, TLS ----


@pytest.mark.parametrize("place", [at_socket, at_port], ids=["unix", "tcp"])
def test_users_passwords_and_databases(
    open_link: Opener, place: Callable[[PrivateStore], StoreSettings]
) -> None:
    user = ["bob", "on", ">secret", "~*", "+@all"]
    with PrivateStore(tcp=True, user=user, requirepass="open sesame") as store:
        known = replace(place(store), password="open sesame", db=3)
        assert open_link(known).run(command("ACL", "WHOAMI")) == b"default"
        open_link(known).run(command("SET", "place", "three"))
        assert store.connect(db=3).get("place") == b"three"
        bob = replace(place(store), username="bob", password="secret")
        assert open_link(bob).run(command("ACL", "WHOAMI")) == b"bob"
        for wrong in (place(store), replace(bob, password="wrong")):
            with pytest.raises(StoreDenied):
                open_link(wrong, ECHO.scripts).run(PING)
        with pytest.raises(UnexpectedReply, match="DB index is out of range"):
            open_link(replace(known, db=9999)).run(PING)


def test_a_store_behind_tls_is_verified_and_used(
    clean_store: PrivateStore, open_link: Opener
) -> None:
    with Proxy(clean_store.socket_path, server_context()) as proxy:
        settings = replace(at_port(proxy), host="localhost", tls=True, tls_ca=AUTHORITY)
        link = open_link(settings, ECHO.scripts)
        text = os.urandom(300_000)
        for _ in range(3):
            assert link.run(ECHO.call(text)) == text
        assert proxy.accepted == 1
        proxy.cut()
        assert link.run(ECHO.call("again")) == b"again"


def test_a_certificate_that_cannot_be_verified_is_refused(
    clean_store: PrivateStore, open_link: Opener
) -> None:
    with Proxy(clean_store.socket_path, server_context()) as proxy:
        with pytest.raises(StoreUnavailable) as error:
            open_link(replace(at_port(proxy), tls=True)).run(PING)
        assert "certificate verify failed" in str(error.value.__cause__.__cause__)  # type: ignore[union-attr]


def test_a_store_that_wants_a_certificate_gets_one(
    clean_store: PrivateStore, open_link: Opener
) -> None:
    with Proxy(clean_store.socket_path, server_context(client_certificates=True)) as proxy:
        settings = replace(
            at_port(proxy),
            tls=True,
            tls_ca=AUTHORITY,
            tls_certificate=CLIENT_CERTIFICATE,
            tls_key=CLIENT_KEY,
        )
        assert open_link(settings).run(PING) == b"PONG"


# ---- the end ----


def test_a_closed_link_takes_no_calls(proxy: Proxy, open_link: Opener) -> None:
    link = open_link(at_port(proxy))
    link.run(PING)
    link.close()
    wait_for("the connection is closed", lambda: proxy.connections == 0)
    with pytest.raises(StoreUnavailable, match="closed"):
        link.run(PING)


def test_a_call_that_is_under_way_ends_before_its_connection_is_closed(
    proxy: Proxy, open_link: Opener
) -> None:
    link = open_link(at_port(proxy))
    link.run(PING)
    proxy.delay = 0.2
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(link.run, command("ECHO", "due"))
        wait_for("it is sent", lambda: b"due" in proxy.requests)
        link.close()
        assert answer.result() == b"due"
    wait_for("the connection is closed", lambda: proxy.connections == 0)
