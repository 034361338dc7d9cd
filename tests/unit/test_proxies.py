"""Who is behind a trusted proxy, by the rules alone."""

from __future__ import annotations

import pytest

from sharq_server.security.proxies import UNIX, Client, Proxies
from tests.support.cases import cases

TRUSTING = Proxies(("10.0.0.0/8", "192.168.1.1", "fd00::/8", "unix"))


@cases(
    ("peer", "trusted"),
    [
        ("10.0.0.1", True),
        ("10.255.255.255", True),
        ("11.0.0.1", False),
        ("192.168.1.1", True),
        ("192.168.1.2", False),
        ("::ffff:10.0.0.1", True),
        ("fd12::1", True),
        ("fd12::1%eth0", True),
        ("fe80::1%eth0", False),
        (UNIX, True),
        ("", False),
        ("unix", False),
        ("proxy.example", False),
    ],
)
def test_who_is_trusted(peer: str, trusted: bool) -> None:
    assert TRUSTING.trusts(peer) is trusted
    assert not Proxies().trusts(peer)


def test_without_any_there_is_nothing_to_do() -> None:
    assert not Proxies()
    assert Proxies(("unix",))
    assert not Proxies(("10.0.0.1",)).trusts(UNIX)


@cases(
    ("forwarded_for", "address"),
    [
        ("1.2.3.4", "1.2.3.4"),
        (" 1.2.3.4\t", "1.2.3.4"),
        ("6.6.6.6, 1.2.3.4", "1.2.3.4"),
        ("6.6.6.6,1.2.3.4,10.0.0.7", "1.2.3.4"),
        ("6.6.6.6, 1.2.3.4, 192.168.1.1, 10.0.0.7", "1.2.3.4"),
        ("10.0.0.9, 10.0.0.7", "10.0.0.9"),
        ("nonsense, 1.2.3.4", "1.2.3.4"),
        ("1.2.3.4,", "1.2.3.4"),
        (", ,1.2.3.4, ,", "1.2.3.4"),
        ("1.2.3.4:5678", "1.2.3.4"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("1.2.3.4, unix:", "1.2.3.4"),
        ("unix:", UNIX),
    ],
)
def test_the_client_is_the_last_one_that_is_not_trusted(forwarded_for: str, address: str) -> None:
    for peer in ("10.0.0.1", UNIX):
        assert TRUSTING.client(peer, "http", forwarded_for, None, None).address == address


MALFORMED = [
    "",
    ",",
    "unknown",
    "_hidden",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "01.2.3.4",
    "1.2.3.4/8",
    "1.2.3.4\xa0",
    "1.2.3.4:",
    "1.2.3.4:port",
    "1.2.3.4:123456",
    "1.2.3.4;5.6.7.8",
    '"1.2.3.4"',
    "for=1.2.3.4",
    "[1.2.3.4",
    "[]:80",
    "[::g]",
    "::1%lo",
    "2001:db8::1::2",
    "1.2.3.4\n",
    "1.2.3.4 - admin",
    "٣.2.3.4",
    "unix",
    "unix:/run/s",
    "-1",
    "0x7f000001",
    "2130706433",
]


@cases("value", MALFORMED)
def test_what_is_no_address_is_ignored(value: str) -> None:
    for whole in (value, f"6.6.6.6, {value}", f"6.6.6.6, {value}, 10.0.0.7"):
        if value in ("", ","):
            whole = value
        assert TRUSTING.client("10.0.0.1", "http", whole, None, None).address == "10.0.0.1"


@cases(
    ("proto", "scheme"),
    [
        (None, "http"),
        ("https", "https"),
        ("HTTPS", "https"),
        ("http", "http"),
        ("http, https", "https"),
        ("https, http", "http"),
        ("", "http"),
        ("wss", "http"),
        ("https,", "http"),
        ("https://", "http"),
        ("javascript", "http"),
    ],
)
def test_the_scheme_is_one_of_two(proto: str | None, scheme: str) -> None:
    assert TRUSTING.client(UNIX, "http", None, proto, None).scheme == scheme


@cases(
    ("given", "prefix"),
    [
        (None, ""),
        ("/queue", "/queue"),
        ("/queue/", "/queue"),
        ("/a/b-c_d.e~f/9", "/a/b-c_d.e~f/9"),
        ("/.well-known", "/.well-known"),
        ("/", ""),
        ("", ""),
        ("queue", ""),
        ("//evil.example", ""),
        ("//", ""),
        ("/a//b", ""),
        ("/a//", ""),
        ("/..", ""),
        ("/a/../b", ""),
        ("/./a", ""),
        ("/a b", ""),
        ("/a%2fb", ""),
        ("/a,/b", ""),
        ("/a?b", ""),
        ("/a#b", ""),
        ('/a"', ""),
        ("/<script>", ""),
        ("https://evil.example", ""),
        ("/ä", ""),
        ("/a\n", ""),
        ("/a\\b", ""),
    ],
)
def test_a_prefix_is_a_plain_path(given: str | None, prefix: str) -> None:
    assert TRUSTING.client(UNIX, "http", None, None, given).prefix == prefix


@pytest.mark.parametrize("peer", ["11.0.0.1", "2001:db8::1", "127.0.0.1"])
def test_others_are_not_heard(peer: str) -> None:
    client = TRUSTING.client(peer, "http", "1.2.3.4", "https", "/queue")
    assert client == Client(peer, "http", "")
