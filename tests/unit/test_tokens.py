"""Bearer tokens: the lines that tell of them, and how they are looked up and read again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sharq import __main__
from sharq.errors import ConfigError
from sharq.settings import tokens
from sharq.settings.tokens import (
    OPERATIONS,
    UNLIMITED,
    Tokens,
    digest_of,
    line_for,
    parse,
    secret_in,
)
from sharq_server.api.routing import EVERY
from sharq_server.security.credentials import FORBIDDEN, UNAUTHORIZED, Credentials, lacking
from tests.support.cases import cases

DIGEST = f"sha256:{'0' * 64}"


def test_a_line_tells_who_may_do_what() -> None:
    lines = [
        "# a comment",
        "",
        f"  a-b_1\t{DIGEST} enqueue,status sms,email ",
        f"b {'sha256:' + 'F' * 64} * *",
    ]
    one, all_ = parse(lines, "file")
    assert (one.name, one.digest) == ("a-b_1", bytes(32))
    assert [operation for operation in OPERATIONS if one.may(operation)] == ["enqueue", "status"]
    assert [one.reaches(each) for each in ("sms", "email", "sm", "*", None)] == [True, True] + [
        False
    ] * 3
    assert all(all_.may(operation) for operation in (*OPERATIONS, EVERY))
    assert all_.reaches("any")
    assert all_.reaches(None)
    assert not one.may(EVERY)


@cases(
    ("line", "problem"),
    [
        ("a", "expected a name"),
        (f"a {DIGEST} *", "expected a name"),
        (f"a {DIGEST} * * *", "expected a name"),
        (f"a {DIGEST} enqueue, status *", "expected a name"),
        (f"a.b {DIGEST} * *", "a name has"),
        (f"a {'0' * 64} * *", "expected sha256:"),
        (f"a {DIGEST}0 * *", "expected sha256:"),
        ("a hunter2 * *", "expected sha256:"),
        (f"a {DIGEST} enqueue,reboot *", "the operations are"),
        (f"a {DIGEST} *,enqueue *", "the operations are"),
        (f"a {DIGEST}  *", "expected a name"),
        (f"a {DIGEST} * sms,", "queue types are"),
        (f"a {DIGEST} * sms,*", "queue types are"),
        (f"a {DIGEST} * a:b", "queue types are"),
        (f"z {'sha256:' + '1' * 64} * *", "the token is there already"),
    ],
)
def test_a_line_that_is_none_is_named_and_not_shown(line: str, problem: str) -> None:
    lines = [f"z {'sha256:' + '1' * 64} * *", "#", line]
    with pytest.raises(ConfigError) as caught:
        parse(lines, "file")
    assert str(caught.value).startswith(f"file: line 3: {problem}")
    assert "hunter2" not in str(caught.value)
    assert "000" not in str(caught.value)


def test_what_is_made_is_what_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, operations, types in (
        ([], UNLIMITED.operations, None),
        (["--operations", "enqueue,status", "--types", "sms"], {"enqueue", "status"}, {"sms"}),
    ):
        assert __main__.main(["token", "new", "billing", *arguments]) == 0
        line, told = capsys.readouterr()
        secret = told.split()[-1]
        (grant,) = parse(line.splitlines(), "")
        assert (grant.name, grant.operations, grant.queue_types) == ("billing", operations, types)
        assert grant.digest == digest_of(secret)
        assert secret not in line
        assert len(secret) > 40
    assert __main__.main(["token", "new", "a", "--operations", "fly"]) == 2
    assert "the operations are" in capsys.readouterr().err
    assert tokens.new_secret() != tokens.new_secret()


def test_every_token_is_compared_whichever_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    grants = parse([line_for(f"s{number}", f"t{number}") for number in range(5)], "")
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr("sharq.settings.tokens.hmac.compare_digest", compare)
    for secret, name in (("s0", "t0"), ("s4", "t4"), ("s5", None)):
        compared.clear()
        found = Tokens(grants).grant_of(digest_of(secret))
        assert (found and found.name) == name
        assert compared == [grant.digest for grant in grants]


@cases(
    ("header", "secret"),
    [
        ("Bearer abc", "abc"),
        ("bearer  a-b_c.d~e+f/g==", "a-b_c.d~e+f/g=="),
        ("Bearer", None),
        ("Bearer ", None),
        ("Bearer a b", None),
        ("Bearer =a", None),
        ("Bearer a, Bearer b", None),
        ("Basic abc", None),
        ("abc", None),
        ("Bearer \xe4", None),
    ],
)
def test_a_secret_is_in_a_bearers_header_alone(header: str, secret: str | None) -> None:
    assert secret_in(header) == secret


def write(path: Path, *lines: str) -> str:
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(0o600)
    return str(path)


def test_without_tokens_everybody_may_do_everything() -> None:
    credentials = Credentials(None, None)
    assert not credentials.needed
    assert credentials.grant_of(None) is UNLIMITED
    assert credentials.judge(None, EVERY, None, mixed=False) is UNLIMITED
    assert credentials.is_valid(UNLIMITED)
    assert credentials.reload()


def test_tokens_of_the_file_and_of_the_environment_add_up(tmp_path: Path) -> None:
    path = write(tmp_path / "tokens", line_for("one", "a", ["enqueue"], ["sms"]))
    inline = f"{line_for('two', 'b')} | # none |{line_for('three', 'c', ['status'])}"
    credentials = Credentials(path, inline)
    for secret, name in (("one", "a"), ("two", "b"), ("three", "c")):
        for _ in range(2):
            grant = credentials.grant_of(f"Bearer {secret}".encode())
            assert grant is not None
            assert grant.name == name
            assert credentials.is_valid(grant)
    for header in (None, b"", b"Bearer four", b"Bearer one,", b"one", b"\xff"):
        assert credentials.grant_of(header) is None
    judge = credentials.judge
    assert judge(None, "enqueue", "sms", mixed=False) is UNAUTHORIZED
    assert judge("Bearer four", "enqueue", "sms", mixed=False) is UNAUTHORIZED
    assert judge("Bearer one", "enqueue", "email", mixed=False) is FORBIDDEN
    # The operation is named, whatever the type: it is what was asked for.
    for queue_type in ("sms", "email", None):
        assert judge("Bearer one", "dequeue", queue_type, mixed=False) == lacking("dequeue")
    assert judge("Bearer one", "enqueue", None, mixed=False) is FORBIDDEN
    assert judge("Bearer three", "status", None, mixed=False) is not FORBIDDEN
    assert judge("Bearer one", "enqueue", None, mixed=True) is not FORBIDDEN


def test_an_empty_file_lets_nobody_in(tmp_path: Path) -> None:
    credentials = Credentials(write(tmp_path / "tokens"), None)
    assert credentials.needed
    assert credentials.grant_of(b"Bearer a") is None
    assert not Credentials(None, "").grant_of(b"Bearer a")


def test_a_file_that_has_changed_is_read_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tokens"
    credentials = Credentials(write(path, line_for("old", "a")), None)
    old = credentials.grant_of(b"Bearer old")
    assert old is not None
    write(path, line_for("old", "a"), line_for("new", "a"))
    credentials.refresh()
    assert credentials.grant_of(b"Bearer old") == old == credentials.grant_of(b"Bearer old")
    assert credentials.grant_of(b"Bearer new") is not None
    assert credentials.is_valid(old)
    # In place of the file, as a Kubernetes secret or an editor does it.
    os.replace(write(tmp_path / "other", line_for("new", "a")), path)
    credentials.refresh()
    assert credentials.grant_of(b"Bearer old") is None
    assert not credentials.is_valid(old)
    # What is wrong changes nothing, and is told once.
    for break_it in (lambda: write(path, "nonsense"), path.unlink):
        caplog.clear()
        break_it()
        credentials.refresh()
        credentials.refresh()
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "stay as they were" in caplog.text
        assert credentials.grant_of(b"Bearer new") is not None
        assert not credentials.reload()
    write(path, line_for("new", "a", ["status"]))
    new = credentials.grant_of(b"Bearer new")
    assert new is not None
    assert credentials.reload()
    assert not credentials.is_valid(new)


def test_what_was_valid_once_does_not_pile_up() -> None:
    credentials = Credentials(None, line_for("s", "a"))
    for spaces in range(1, 3000):
        assert credentials.grant_of(b"Bearer" + b" " * spaces + b"s") is not None
    assert len(credentials._seen) <= 1024


@pytest.mark.parametrize(
    ("mode", "refused", "warned"),
    [(0o600, False, 0), (0o640, False, 0), (0o644, False, 1), (0o602, True, 0)],
)
def test_a_file_that_others_can_get_at(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, refused: bool, warned: int
) -> None:
    path = write(tmp_path / "tokens", line_for("s", "a"))
    os.chmod(path, mode)
    if refused:
        with pytest.raises(ConfigError, match="Everybody may write the token file"):
            Credentials(path, None)
    else:
        Credentials(path, None)
    assert len([each for each in caplog.records if each.levelname == "WARNING"]) == warned


@pytest.mark.parametrize("content", [None, b"\xff", b"nonsense"])
def test_a_file_that_is_none_stops_the_start(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "tokens"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    with pytest.raises(ConfigError, match="tokens"):
        Credentials(str(path), None)


@pytest.mark.parametrize("around", ["{}", " {}\r\n", "\ufeff{}\n", "\n\ufeff {}\t"])
def test_what_files_leave_around_a_secret_is_not_part_of_it(around: str) -> None:
    secret = tokens.new_secret()
    assert tokens.clean(around.format(secret)) == secret
    assert tokens.secret_in(f"Bearer {tokens.clean(around.format('a.b~c+d/e=='))}") == "a.b~c+d/e=="


@cases("text", ["", "\ufeff\r\n", "a b", "a\nb", "ä", "a\x00", "=a", "a\ufeffb"])
def test_what_is_no_secret_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match=r"^it (is empty|has characters that no token has)") as it:
        tokens.clean(text)
    assert len(text) < 3 or text not in str(it.value)


def test_a_byte_order_mark_and_returns_are_not_part_of_a_token_file(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_bytes(b"\xef\xbb\xbf" + line_for("secret", "one").encode() + b"\r\n\r\n")
    file.chmod(0o600)
    grant = Credentials(str(file), None).grant_of(b"Bearer secret")
    assert grant is not None
    assert grant.name == "one"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bad name"], "a name has 1 to 100 letters"),
        (["n", "--types", "s ms"], "queue types are * or names"),
        (["n", "--operations", "enqueue dequeue"], "the operations are * or some of"),
    ],
)
def test_a_wrong_argument_of_a_new_token_is_named(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert __main__.main(["token", "new", *arguments]) == 2
    assert words in capsys.readouterr().err
