"""Every error reply of the three generations of stores, as they were seen on the wire."""

from __future__ import annotations

import pytest

from sharq.errors import (
    StoreDenied,
    StoreError,
    StoreFull,
    StoreOutcomeUnknown,
    StoreUnavailable,
    UnexpectedReply,
    WrongKind,
)
from sharq.store.errors import (
    BugMidway,
    CutOff,
    DeniedMidway,
    Misdirected,
    OnTheMove,
    ScriptMissing,
    store_error,
)
from tests.support.cases import cases

SHA = "0c6697dde645c37c473a2c32a54ea8af3975a710"
REDIS_6 = f"ERR Error running script (call to f_{SHA}): @user_script:1: "
REDIS_7 = f" script: {SHA}, on @user_script:12."
VALKEY = " script: on @user_script:12."

OOM = "OOM command not allowed when used memory > 'maxmemory'."
MISCONF = "MISCONF Errors writing to the AOF file: No space left on device"
NOREPLICAS = "NOREPLICAS Not enough good replicas to write."
READONLY = "READONLY You can't write against a read only replica."
WRONGTYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


def in_a_script(message: str) -> list[str]:
    """An error that a command met inside a script, as each store tells it."""
    return [
        message + REDIS_7,
        message + VALKEY,
        f"{REDIS_6}@user_script: 1: -{message}",
        REDIS_6 + message,
    ]


@cases(
    ("kind", "messages"),
    [
        (
            StoreUnavailable,
            [
                "LOADING Redis is loading the dataset in memory",
                "BUSY Valkey is busy running a script. You can only call SCRIPT KILL or SHUTDOWN",
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
                NOREPLICAS,
                *in_a_script(NOREPLICAS),
                "ERR max number of clients reached",
                "ERR max number of clients + cluster connections reached",
                "ERR Script killed by user with SCRIPT KILL." + VALKEY,
                REDIS_6 + "Script killed by user with SCRIPT KILL...",
            ],
        ),
        (
            OnTheMove,
            [
                "ASK 12182 127.0.0.1:7200",
                "TRYAGAIN Multiple keys request during rehashing of slot",
            ],
        ),
        (
            CutOff,
            [
                "CLUSTERDOWN The cluster is down",
                "CLUSTERDOWN Hash slot not served",
                "ERR Can not execute a command 'get' while the cluster is down" + VALKEY,
                "ERR Script attempted to execute a command while the cluster is down" + REDIS_7,
                REDIS_6 + "@user_script: 1: Lua script attempted to execute a command while the"
                " cluster is down",
            ],
        ),
        (
            StoreOutcomeUnknown,
            [
                "ERR Attempted to access a non local key in a cluster node" + VALKEY,
                "ERR Script attempted to access a non local key in a cluster node" + REDIS_7,
                REDIS_6 + "@user_script: 1: Lua script attempted to access a non local key in a"
                " cluster node",
            ],
        ),
        (StoreFull, [OOM, *in_a_script(OOM), MISCONF, *in_a_script(MISCONF)]),
        (
            StoreDenied,
            [
                "NOAUTH Authentication required.",
                "WRONGPASS invalid username-password pair or user is disabled.",
                "NOPERM User bob has no permissions to run the 'set' command",
                "NOPERM this user has no permissions to access one of the keys used as arguments",
                "DENIED Redis is running in protected mode because protected mode is enabled",
                "ERR AUTH <password> called without any password configured for the default user."
                " Are you sure your configuration is correct?",
                "ERR invalid password",
            ],
        ),
        (
            DeniedMidway,
            [
                *in_a_script("NOPERM User bob has no permissions to run the 'hset' command"),
                "ERR ACL failure in script: No permissions to access a key" + VALKEY,
                "ERR The user executing the script can't run this command or subcommand" + REDIS_7,
                REDIS_6 + "@user_script: 1: The user executing the script can't access at least"
                " one of the keys mentioned in the command arguments",
                REDIS_6 + "@user_script: 1: The user executing the script can't publish to the"
                " channel mentioned in the command",
            ],
        ),
        (Misdirected, [READONLY, *in_a_script(READONLY), "MOVED 12182 127.0.0.1:7202"]),
        (
            ScriptMissing,
            ["NOSCRIPT No matching script.", "NOSCRIPT No matching script. Please use EVAL."],
        ),
        (
            UnexpectedReply,
            [
                "ERR unknown command 'EVAL_RO', with args beginning with:",
                "CROSSSLOT Keys in request don't hash to the same slot",
                "ERR DB index is out of range",
                "ERR This instance has cluster support disabled",
                "BUSYGROUP Consumer Group name already exists",
                "MY own word",
                "",
            ],
        ),
        (WrongKind, [WRONGTYPE, *in_a_script(WRONGTYPE)]),
        (
            BugMidway,
            [
                *in_a_script("CROSSSLOT Keys in request don't hash to the same slot"),
                "ERR user_script:1: boom" + VALKEY,
                REDIS_6 + "user_script:1: boom",
                "ERR Script attempted to access keys that do not hash to the same slot" + REDIS_7,
            ],
        ),
    ],
)
def test_a_reply_stands_for(kind: type[StoreError], messages: list[str]) -> None:
    assert {message: type(store_error(message)) for message in messages} == dict.fromkeys(
        messages, kind
    )


NOPERM = "NOPERM User bob has no permissions to run the 'hset' command"


@pytest.mark.parametrize("refused", [OOM, MISCONF, NOREPLICAS, READONLY, NOPERM, WRONGTYPE])
def test_what_a_script_may_have_done_before_its_error_is_said(refused: str) -> None:
    # The store looks at its own state before a script's first write, and not after it.
    midway = refused in (NOPERM, WRONGTYPE)
    assert store_error(refused).outcome_unknown is False
    assert {store_error(each).outcome_unknown for each in in_a_script(refused)} == {midway}


def test_a_refusal_midway_is_told_as_both() -> None:
    error = store_error(NOPERM + VALKEY)
    assert isinstance(error, StoreDenied)
    assert isinstance(error, StoreOutcomeUnknown)
    assert (error.code, error.retry_after) == ("store_auth", 5)
    assert str(error) == (
        "The store refused a part of the operation; the rest may have been carried out (NOPERM)."
    )
    bug = store_error(WRONGTYPE + VALKEY)
    assert isinstance(bug, UnexpectedReply)
    assert (bug.code, bug.retry_after) == ("internal", None)


def test_the_log_can_tell_what_the_user_may_not() -> None:
    assert str(store_error(NOPERM).__cause__) == NOPERM


def test_a_bug_shows_the_whole_reply() -> None:
    assert str(store_error(WRONGTYPE + REDIS_7)) == WRONGTYPE + REDIS_7


def test_a_user_script_that_raises_a_known_word_in_the_middle_of_its_text_is_a_bug() -> None:
    assert type(store_error("ERR user_script:1: the list is OOM full" + VALKEY)) is BugMidway


def test_other_messages_name_neither_an_address_nor_a_user() -> None:
    replies = ["ASK 1 10.9.8.7:6379", "MOVED 1 10.9.8.7:6379", "NOPERM User bob has no permissions"]
    messages = [str(store_error(reply)) for reply in replies]
    assert messages == [
        "The slot of this key is moving from one node to another (ASK).",
        "This node of the store does not take writes to this key.",
        "The store refused the server's user, or a right that it needs (NOPERM).",
    ]


@cases(
    ("rest", "node"),
    [
        ("3999 127.0.0.1:6381", ("127.0.0.1", 6381)),
        ("3999 store-2.example:6381", ("store-2.example", 6381)),
        ("3999 ::1:6381", ("::1", 6381)),
        ("3999 [::1]:6381", ("::1", 6381)),
        ("3999 :6381", None),
        ("3999 ?:6381", None),
        ("3999 127.0.0.1:", None),
        ("3999 127.0.0.1:x", None),
        ("3999", None),
        ("", None),
    ],
)
def test_moved_names_the_node(rest: str, node: tuple[str, int] | None) -> None:
    error = store_error(f"MOVED {rest}")
    assert isinstance(error, Misdirected)
    assert error.node == node


def test_a_misdirected_call_is_unavailable_to_whoever_does_not_know_better() -> None:
    error = store_error(READONLY)
    assert isinstance(error, StoreUnavailable)
    assert (error.code, error.retry_after) == ("store_unavailable", 1)
