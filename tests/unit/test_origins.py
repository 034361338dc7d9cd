"""Which Host and which Origin may come, by the rules alone."""

from __future__ import annotations

from tornado.httputil import HTTPHeaders

from sharq_server.security.origins import Origins
from tests.support.cases import cases

LOOPBACK = Origins(("127.0.0.1",), (), ())
OPEN = Origins(("0.0.0.0",), ("jobs.example.com", "*.shop.example"), (), own_names=("Box-7",))


@cases(
    ("host", "loopback", "exposed"),
    [
        ("localhost", True, True),
        ("LOCALHOST:8080", True, True),
        ("localhost.:1", True, True),
        ("live.localhost", True, True),
        ("127.0.0.1", True, True),
        ("127.8.8.8:99", True, True),
        ("[::1]", True, True),
        ("[::1]:8080", True, True),
        ("10.1.2.3:8080", False, True),
        ("[fe80::2]:8080", False, True),
        ("box-7:8080", False, True),
        ("jobs.example.com", False, True),
        ("Jobs.Example.Com.:8080", False, True),
        ("a.shop.example", False, True),
        ("shop.example", False, False),
        ("ashop.example", False, False),
        ("evil.example", False, False),
        ("localhost.evil.example", False, False),
        ("127.0.0.1.evil.example", False, False),
        ("evil-localhost", False, False),
        ("xlocalhost", False, False),
        ("2130706433", False, False),
        ("", False, False),
        (":8080", False, False),
        ("[", False, False),
    ],
)
def test_a_server_answers_to_its_own_names(host: str, loopback: bool, exposed: bool) -> None:
    assert (LOOPBACK.takes_host(host), OPEN.takes_host(host)) == (loopback, exposed)
    assert (host.encode() in LOOPBACK.known_hosts) == loopback


@cases(
    ("host", "allowed", "any_host", "name", "taken"),
    [
        ("127.0.0.1", ("jobs.example.com",), False, "jobs.example.com", True),
        ("127.0.0.1", ("*",), False, "evil.example", True),
        ("127.0.0.1", (), True, "evil.example", False),
        ("0.0.0.0", (), True, "evil.example", True),
        ("jobs.example.com", (), False, "jobs.example.com:8080", True),
        ("::1", (), False, "10.1.2.3", False),
        ("::", (), False, "10.1.2.3", True),
        ("0.0.0.0", ("fe80::1",), False, "[FE80::1]:80", True),
        ("127.0.0.1 ::1", (), False, "10.1.2.3", False),
        ("127.0.0.1 10.1.2.3", (), False, "10.9.9.9", True),
        ("127.0.0.1 unix:/run/s", (), True, "evil.example", False),
        ("0.0.0.0 unix:/run/s", (), True, "evil.example", True),
        ("unix:/run/s", (), False, "localhost", True),
        ("unix:/run/s", (), False, "10.1.2.3", False),
        ("unix:/run/s", (), False, "/run/s", False),
        ("unix:/run/s", (), False, "unix", False),
        ("unix:/run/s", ("sharq",), False, "sharq", True),
    ],
)
def test_what_is_allowed_besides(
    host: str, allowed: tuple[str, ...], any_host: bool, name: str, taken: bool
) -> None:
    assert Origins(host.split(), allowed, (), any_host=any_host).takes_host(name) is taken


def test_hosts_that_are_known_do_not_pile_up() -> None:
    origins = Origins(("127.0.0.1",), ("*",), ())
    for number in range(5000):
        assert origins.takes_host(f"h{number}")
    assert len(origins.known_hosts) <= 1024


HOST = {"Host": "queue.example:8080"}
OWN = {"Origin": "http://queue.example:8080"}
FRIEND = {"Origin": "https://friend.example"}
FOE = {"Origin": "https://evil.example"}


@cases(
    ("headers", "foreign"),
    [
        ({}, False),
        (OWN, False),
        ({"Origin": "https://QUEUE.example:8080"}, False),
        (FRIEND, False),
        (FOE, True),
        ({"Origin": "http://queue.example"}, True),
        ({"Origin": "http://friend.example"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": ""}, True),
        ({"Origin": "http://["}, True),
        ({"Sec-Fetch-Site": "same-origin"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "?"}, True),
        ({"Sec-Fetch-Site": "cross-site", **FRIEND}, False),
        ({"Sec-Fetch-Site": "cross-site", **FOE}, True),
        # Behind a proxy that has put another Host in.
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://outside.example"}, False),
    ],
)
def test_a_page_of_another_origin_is_seen(headers: dict[str, str], foreign: bool) -> None:
    origins = Origins(("0.0.0.0",), (), ("https://Friend.example",))
    assert origins.is_foreign(HTTPHeaders(HOST | headers)) is foreign
    assert not Origins(("0.0.0.0",), (), ("*",)).is_foreign(HTTPHeaders(HOST | FOE))
