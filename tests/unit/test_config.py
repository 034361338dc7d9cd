"""What configuration is understood, what is refused, and what the refusal says."""

from __future__ import annotations

import dataclasses
import os
import pickle
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sharq.errors import ConfigError
from sharq.settings.options import (
    BY_NAME,
    OPTIONS,
    Option,
    QueueSettings,
    ServerSettings,
    StoreSettings,
)
from sharq.settings.reading import Settings
from tests.support.cases import cases

ROOT = Path(__file__).parents[2]
SECRET = "hunter2"
Key = tuple[str, str]

DEFAULTS: dict[Key, Any] = {
    ("sharq", "job_expire_interval"): 60_000,
    ("sharq", "job_requeue_interval"): 1_000,
    ("sharq", "default_job_requeue_limit"): -1,
    ("sharq", "enable_requeue_script"): True,
    ("sharq", "finished_retention"): 60_000,
    ("sharq", "interval_retention"): 3_600_000,
    ("sharq", "backoff_min"): 1_000,
    ("sharq", "backoff_max"): 3_600_000,
    ("sharq", "dead_max_jobs"): 10_000,
    ("sharq", "dead_retention"): 2_592_000_000,
    ("sharq", "dead_max_bytes"): 67_108_864,
    ("sharq", "max_payload_bytes"): 1_048_576,
    ("sharq", "max_bulk_bytes"): 16_777_216,
    ("sharq", "shards"): (),
    ("sharq", "payload_max_queued_length"): True,
    ("sharq-server", "host"): ("127.0.0.1",),
    ("sharq-server", "port"): 8080,
    ("sharq-server", "socket_mode"): "0660",
    ("sharq-server", "trusted_proxies"): (),
    ("sharq-server", "base_path"): None,
    ("sharq-server", "ui"): "on",
    ("sharq-server", "environment"): None,
    ("sharq-server", "metrics_top_queues"): False,
    ("sharq-server", "stop_delay"): 0,
    ("sharq-server", "workers"): 1,
    ("sharq-server", "heartbeat"): 20_000,
    ("sharq-server", "accesslog"): None,
    ("sharq-server", "max_connections"): None,
    ("sharq-server", "max_connections_per_address"): None,
    ("sharq-server", "token_file"): None,
    ("sharq-server", "tokens"): None,
    ("sharq-server", "allowed_hosts"): (),
    ("sharq-server", "allowed_origins"): (),
    ("sharq-server", "tls_certificate"): None,
    ("sharq-server", "tls_key"): None,
    ("redis", "conn_type"): "embedded",
    ("redis", "url"): None,
    ("redis", "host"): "127.0.0.1",
    ("redis", "port"): 6379,
    ("redis", "unix_socket_path"): None,
    ("redis", "db"): 0,
    ("redis", "key_prefix"): "sharq_server",
    ("redis", "username"): None,
    ("redis", "password"): None,
    ("redis", "sentinels"): (),
    ("redis", "sentinel_service"): None,
    ("redis", "sentinel_username"): None,
    ("redis", "sentinel_password"): None,
    ("redis", "clustered"): False,
    ("redis", "cluster_nodes"): (),
    ("redis", "replicas_acked"): 0,
    ("redis", "replicas_durable"): False,
    ("redis", "tls"): False,
    ("redis", "tls_ca"): None,
    ("redis", "tls_server_name"): None,
    ("redis", "tls_certificate"): None,
    ("redis", "tls_key"): None,
    ("redis", "data_dir"): "/home/tester/.local/share/sharq",
    ("redis", "appendfsync"): "always",
}

SENTINEL: dict[Key, str] = {
    ("redis", "conn_type"): "sentinel",
    ("redis", "sentinels"): "s:1",
    ("redis", "sentinel_service"): "main",
}

# What else has to be set for an option to make sense.
COMPANY: dict[Key, dict[Key, str]] = {
    ("redis", "sentinels"): {("redis", "sentinel_service"): "main"},
    ("redis", "sentinel_service"): {("redis", "sentinels"): "s:1"},
    ("redis", "sentinel_username"): {**SENTINEL, ("redis", "sentinel_password"): "p"},
    ("redis", "sentinel_password"): SENTINEL,
    ("sharq-server", "tls_key"): {("sharq-server", "tls_certificate"): "/pem"},
    ("redis", "unix_socket_path"): {("redis", "conn_type"): "tcp_sock"},
    ("redis", "username"): {("redis", "conn_type"): "tcp_sock", ("redis", "password"): "p"},
    ("redis", "password"): {("redis", "conn_type"): "tcp_sock"},
    ("redis", "conn_type"): {("redis", "unix_socket_path"): "/run/store.sock"},
    ("redis", "clustered"): {("redis", "conn_type"): "tcp_sock"},
    ("redis", "cluster_nodes"): {
        ("redis", "conn_type"): "tcp_sock",
        ("redis", "clustered"): "true",
    },
    ("redis", "replicas_acked"): {("redis", "conn_type"): "tcp_sock"},
    ("redis", "replicas_durable"): {
        ("redis", "conn_type"): "tcp_sock",
        ("redis", "replicas_acked"): "1",
    },
    ("redis", "tls_server_name"): {("redis", "conn_type"): "tcp_sock", ("redis", "tls"): "true"},
    ("redis", "tls"): {("redis", "conn_type"): "tcp_sock"},
    ("redis", "tls_ca"): {("redis", "conn_type"): "tcp_sock", ("redis", "tls"): "true"},
    ("redis", "tls_certificate"): {("redis", "conn_type"): "tcp_sock", ("redis", "tls"): "true"},
    ("redis", "tls_key"): {
        ("redis", "conn_type"): "tcp_sock",
        ("redis", "tls"): "true",
        ("redis", "tls_certificate"): "/pem",
    },
    ("redis", "db"): {("redis", "conn_type"): "tcp_sock"},
    ("sharq", "max_payload_bytes"): {("sharq", "max_bulk_bytes"): "1073741824"},
    ("sharq", "max_bulk_bytes"): {("sharq", "max_payload_bytes"): "2"},
}

GOOD: list[tuple[str, str, str, Any]] = [
    *[
        ("sharq", name, text, value)
        for name in ("job_expire_interval", "job_requeue_interval")
        for text, value in (("1", 1), ("007", 7), ("31536000000", 31_536_000_000))
    ],
    *[
        ("sharq", name, text, value)
        for name in ("finished_retention", "interval_retention", "backoff_min", "backoff_max")
        for text, value in (("0", 0), ("31536000000", 31_536_000_000))
    ],
    ("sharq", "dead_max_jobs", "0", 0),
    ("sharq", "dead_max_jobs", "1000000000", 1_000_000_000),
    ("sharq", "dead_retention", "1", 1),
    ("sharq", "dead_retention", "31536000000", 31_536_000_000),
    ("sharq", "dead_max_bytes", "1", 1),
    ("sharq", "dead_max_bytes", "9007199254740992", 2**53),
    ("sharq", "default_job_requeue_limit", "-1", -1),
    ("sharq", "default_job_requeue_limit", "0", 0),
    ("sharq", "default_job_requeue_limit", "9223372036854775807", 2**63 - 1),
    ("sharq", "max_payload_bytes", "2", 2),
    ("sharq", "max_payload_bytes", "268435456", 268_435_456),
    ("sharq", "max_bulk_bytes", "2", 2),
    ("sharq", "max_bulk_bytes", "1073741824", 1_073_741_824),
    *[
        (section, name, text, value)
        for section, name in (
            ("sharq", "enable_requeue_script"),
            ("sharq", "payload_max_queued_length"),
            ("sharq-server", "metrics_top_queues"),
            ("redis", "clustered"),
            ("redis", "tls"),
        )
        for text, value in (
            *((yes, True) for yes in ("true", "True", "TRUE", "yes", "on", "1")),
            *((no, False) for no in ("false", "False", "no", "OFF", "0")),
        )
    ],
    *[
        (section, "host", text, (text,) if section == "sharq-server" else text)
        for section in ("sharq-server", "redis")
        for text in (
            "0.0.0.0",
            "localhost",
            "::",
            "::1",
            "fe80::1%eth0",
            "a_b.example.",
            "bücher.de",
        )
    ],
    ("sharq-server", "host", "0.0.0.0, ::", ("0.0.0.0", "::")),
    ("sharq-server", "host", " localhost unix:/run/s ", ("localhost", "unix:/run/s")),
    ("sharq-server", "host", "unix:~/s", ("unix:/home/tester/s",)),
    ("sharq-server", "host", f"unix:/{'s' * 106}", (f"unix:/{'s' * 106}",)),
    ("sharq-server", "port", "0", 0),
    ("sharq-server", "socket_mode", "0600", "0600"),
    ("sharq-server", "socket_mode", "0777", "0777"),
    ("sharq-server", "trusted_proxies", "", ()),
    (
        "sharq-server",
        "trusted_proxies",
        "127.0.0.1, ::1 10.0.0.0/8,fd00::/8 unix",
        ("127.0.0.1", "::1", "10.0.0.0/8", "fd00::/8", "unix"),
    ),
    ("sharq-server", "base_path", "", None),
    ("sharq-server", "base_path", "/queue", "/queue"),
    ("sharq-server", "base_path", "/tools/queue.v1/", "/tools/queue.v1"),
    ("sharq-server", "ui", "on", "on"),
    ("sharq-server", "ui", "read_only", "read_only"),
    ("sharq-server", "ui", "off", "off"),
    ("sharq-server", "environment", "", None),
    ("sharq-server", "environment", "Prüfstand 2", "Prüfstand 2"),
    ("sharq-server", "environment", "x" * 40, "x" * 40),
    ("sharq-server", "stop_delay", "0", 0),
    ("sharq-server", "stop_delay", "3000", 3000),
    ("sharq-server", "port", "65535", 65_535),
    ("sharq-server", "workers", "256", 256),
    ("sharq-server", "heartbeat", "100", 100),
    ("sharq-server", "heartbeat", "31536000000", 31_536_000_000),
    ("sharq-server", "accesslog", "", None),
    ("sharq-server", "accesslog", "-", "-"),
    ("sharq-server", "accesslog", "/var/log/sharq #1.log", "/var/log/sharq #1.log"),
    *[
        ("sharq-server", name, text, value)
        for name in ("max_connections", "max_connections_per_address")
        for text, value in (("", None), ("1", 1), ("1000000", 1_000_000))
    ],
    ("sharq-server", "token_file", "", None),
    ("sharq-server", "token_file", "~/tokens", "/home/tester/tokens"),
    ("sharq-server", "tokens", "", None),
    ("sharq-server", "tokens", "a sha256:0 * *|b", "a sha256:0 * *|b"),
    ("sharq-server", "allowed_hosts", "", ()),
    (
        "sharq-server",
        "allowed_hosts",
        "jobs.example.com, *.a_b  ::1",
        ("jobs.example.com", "*.a_b", "::1"),
    ),
    ("sharq-server", "allowed_hosts", "*", ("*",)),
    ("sharq-server", "allowed_origins", "", ()),
    (
        "sharq-server",
        "allowed_origins",
        "https://a.example http://[::1]:3000,chrome-extension://abc",
        ("https://a.example", "http://[::1]:3000", "chrome-extension://abc"),
    ),
    ("sharq-server", "allowed_origins", "*", ("*",)),
    ("redis", "conn_type", "tcp_sock", "tcp_sock"),
    ("redis", "conn_type", "unix_sock", "unix_sock"),
    ("redis", "conn_type", "embedded", "embedded"),
    ("redis", "sentinels", "s, t:1", ("s:26379", "t:1")),
    ("redis", "cluster_nodes", "s, [::1] t:1", ("s:6379", "[::1]:6379", "t:1")),
    ("redis", "cluster_nodes", "", ()),
    ("redis", "replicas_acked", "0", 0),
    ("redis", "replicas_acked", "16", 16),
    ("redis", "replicas_durable", "on", True),
    ("sharq", "shards", "sms:16, mms:04 a-b:256", ("sms:16", "mms:4", "a-b:256")),
    ("sharq", "shards", "", ()),
    ("redis", "tls_server_name", "store.example", "store.example"),
    ("redis", "tls_server_name", "", None),
    ("redis", "sentinel_service", "my-main", "my-main"),
    ("redis", "sentinel_username", "", None),
    ("redis", "sentinel_password", "", None),
    ("redis", "sentinel_password", "a b", "a b"),
    ("redis", "url", "", None),
    ("redis", "url", "redis://h", "redis://h"),
    ("redis", "url", "unix:///run/store.sock", "unix:///run/store.sock"),
    ("redis", "port", "1", 1),
    ("redis", "port", "65535", 65_535),
    ("redis", "unix_socket_path", "", None),
    ("redis", "unix_socket_path", "/run/a b.sock", "/run/a b.sock"),
    ("redis", "db", "2147483647", 2_147_483_647),
    ("redis", "key_prefix", "a:b/ü", "a:b/ü"),
    ("redis", "key_prefix", "p" * 100, "p" * 100),
    ("redis", "username", "", None),
    ("redis", "username", "sharq", "sharq"),
    ("redis", "password", "", None),
    ("redis", "password", "a;b#c%d%(e)s$f=g:h", "a;b#c%d%(e)s$f=g:h"),
    ("redis", "password", "#a #b", "#a #b"),
    ("redis", "password", '"in quotes"', '"in quotes"'),
    ("redis", "password", "[x]", "[x]"),
    ("redis", "password", "pässwörd", "pässwörd"),
    *[
        (section, name, text, value)
        for section, name in (
            ("redis", "tls_ca"),
            ("redis", "tls_certificate"),
            ("redis", "tls_key"),
            ("sharq-server", "tls_certificate"),
            ("sharq-server", "tls_key"),
        )
        for text, value in (("/etc/x.pem", "/etc/x.pem"), ("", None))
    ],
    ("redis", "data_dir", "/var/lib/sharq/", "/var/lib/sharq"),
    ("redis", "data_dir", "~", "/home/tester"),
    ("redis", "data_dir", "~/jobs", "/home/tester/jobs"),
    ("redis", "appendfsync", "always", "always"),
    ("redis", "appendfsync", "everysec", "everysec"),
    ("redis", "appendfsync", "no", "no"),
]

NOT_INTEGERS = ["", "abc", "1.0", "1e3", "1_000", "0x10", "+1", "--1", "1 2", "٣", "9" * 30]

BAD: list[tuple[str, str, str]] = [
    *[
        (option.section, option.name, text)
        for option in OPTIONS
        if option.kind.expected.startswith("a whole number")
        for text in NOT_INTEGERS
        if text or not option.kind.expected.endswith("or nothing")
    ],
    *[
        (option.section, option.name, text)
        for option in OPTIONS
        if option.kind.expected.startswith("true or false")
        for text in ("", "2", "maybe", "t", '"true"', "-1")
    ],
    *[
        ("sharq", name, text)
        for name in ("job_expire_interval", "job_requeue_interval")
        for text in ("0", "-1", "31536000001")
    ],
    *[
        ("sharq", name, text)
        for name in ("finished_retention", "interval_retention", "backoff_min", "backoff_max")
        for text in ("-1", "31536000001")
    ],
    *[("sharq", "dead_max_jobs", text) for text in ("-1", "1000000001")],
    *[("sharq", "dead_retention", text) for text in ("0", "31536000001")],
    *[("sharq", "dead_max_bytes", text) for text in ("0", "9007199254740993")],
    ("sharq", "default_job_requeue_limit", "-2"),
    ("sharq", "default_job_requeue_limit", "9223372036854775808"),
    ("sharq", "max_payload_bytes", "1"),
    ("sharq", "max_payload_bytes", "268435457"),
    ("sharq", "max_bulk_bytes", "1"),
    ("sharq", "max_bulk_bytes", "1073741825"),
    *[
        (section, "host", text)
        for section in ("sharq-server", "redis")
        for text in (
            "",
            "localhost:80",
            "[::1]",
            "::g",
            "::1/64",
            "http://a",
            "a/b",
            "*",
            "'a'",
            "h" * 254,
        )
    ],
    ("redis", "host", "a b"),
    ("redis", "host", "unix:/run/s"),
    *[
        ("sharq-server", "host", text)
        for text in (
            " , ",
            "a, *",
            "unix:",
            "127.0.0.1 unix:'/s'",
        )
    ],
    *[
        ("sharq-server", "socket_mode", text)
        for text in ("", "660", "432", "0o660", "0888", "1777", "rw", "06600")
    ],
    *[
        ("sharq-server", "trusted_proxies", text)
        for text in ("10.0.0.0/33", "proxy.example", "*", "unix:/s", "::1%lo", "1.2")
    ],
    *[
        ("sharq-server", "base_path", text)
        for text in (
            "/",
            "queue",
            "//queue",
            "/a//b",
            "/a/../b",
            "/.",
            "/a b",
            "/a?b",
            "/ä",
            "/a//",
        )
    ],
    *[("sharq-server", "ui", text) for text in ("", "true", "ON", "readonly")],
    *[("sharq-server", "environment", text) for text in ("x" * 41, "a\tb", "'quoted'")],
    ("sharq-server", "stop_delay", "-1"),
    ("sharq-server", "stop_delay", "31536000001"),
    ("sharq-server", "port", "-1"),
    ("sharq-server", "port", "65536"),
    ("sharq-server", "workers", "0"),
    ("sharq-server", "workers", "257"),
    ("sharq-server", "heartbeat", "99"),
    ("sharq-server", "heartbeat", "31536000001"),
    ("sharq-server", "accesslog", '"/tmp/log"'),
    ("sharq-server", "max_connections", "0"),
    ("sharq-server", "max_connections_per_address", "1000001"),
    ("sharq-server", "token_file", '"/tokens"'),
    ("sharq-server", "tls_certificate", "a\tb"),
    ("sharq-server", "tls_key", "'a'"),
    ("sharq-server", "tokens", "a\x00b"),
    *[
        ("sharq-server", "allowed_hosts", text)
        for text in ("a:80", "http://a", "[::1]", "a *.", "**", "*a", "a/b", "::g")
    ],
    *[
        ("sharq-server", "allowed_origins", text)
        for text in (
            "a.example",
            "https://",
            "https://a/",
            "https://a:b",
            "https://u@a",
            "null",
            "*.a",
        )
    ],
    ("redis", "conn_type", ""),
    ("redis", "conn_type", "tcp"),
    ("redis", "conn_type", "TCP_SOCK"),
    *[
        ("redis", "sentinels", text)
        for text in (
            *("h:", ":26379", "h:0", "h:65536", "h:x", "h:1:2", "redis://h:1", "::1"),
            *("::1:26379", "[::1", "[h]:1", "[]:1", "a:1;b:2", "'h:1'"),
        )
    ],
    ("redis", "sentinel_service", "a b"),
    ("redis", "sentinel_service", '"main"'),
    ("redis", "sentinel_username", "a b"),
    ("redis", "sentinel_password", "a\tb"),
    ("redis", "port", "0"),
    ("redis", "port", "65536"),
    ("redis", "unix_socket_path", "'/run/a.sock'"),
    ("redis", "db", "-1"),
    ("redis", "db", "2147483648"),
    *[
        ("redis", "key_prefix", text)
        for text in ("", "{a}", "a}", "a b", "a\u00a0b", "a\x07b", "a\u200bb", '"a"', "p" * 101)
    ],
    ("redis", "url", "h:6379"),
    ("redis", "url", "http://h"),
    ("redis", "username", "a b"),
    ("redis", "username", "'a'"),
    ("redis", "password", "a\x00b"),
    ("redis", "password", "a\tb"),
    ("redis", "password", "a\udcffb"),
    ("redis", "data_dir", ""),
    ("redis", "data_dir", '"/data"'),
    ("redis", "data_dir", "a\x00b"),
    ("redis", "data_dir", "~nobody-of-this-name/data"),
    ("redis", "cluster_nodes", "h:0"),
    ("redis", "replicas_acked", "-1"),
    ("redis", "replicas_acked", "17"),
    ("redis", "replicas_durable", "always"),
    *(
        ("sharq", "shards", text)
        for text in ("sms", "sms:", "sms:0", "sms:257", "s/s:1", ":4", "s:-1")
    ),
    ("redis", "tls_server_name", "a b"),
    ("redis", "tls_ca", "a\tb"),
    ("redis", "tls_ca", "a\ud800b"),
    ("redis", "appendfsync", ""),
    ("redis", "appendfsync", "yes"),
]

OPTION_IDS = [f"{option.section}.{option.name}" for option in OPTIONS]


@pytest.fixture(autouse=True)
def _process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/tester")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.chdir(tmp_path)


def ini(values: Mapping[Key, str]) -> str:
    lines = []
    for section in dict.fromkeys(section for section, _ in values):
        lines.append(f"[{section}]")
        lines += [f"{name} = {text}" for (owner, name), text in values.items() if owner == section]
    return "\n".join(lines)


def write(text: str | bytes, name: str = "sharq.conf") -> str:
    Path(name).write_bytes(text.encode() if isinstance(text, str) else text)
    return name


def load(text: str | bytes, **keywords: Any) -> Settings:
    return Settings.load(write(text), **keywords)


def value(settings: Settings, key: Key) -> Any:
    section, name = key
    return getattr(getattr(settings, section.removeprefix("sharq-")), name)


def message_of(text: str | bytes, **keywords: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(text, **keywords)
    return str(caught.value)


def key_of(option: Option) -> Key:
    return option.section, option.name


# Defaults


def test_the_table_has_every_option_and_no_other() -> None:
    assert [key_of(option) for option in OPTIONS] == list(DEFAULTS)


@cases("key", DEFAULTS, ids=OPTION_IDS)
def test_an_option_that_no_source_sets_has_its_default(key: Key) -> None:
    assert value(Settings.load(), key) == DEFAULTS[key]


def test_settings_without_arguments_are_the_defaults() -> None:
    assert Settings() == Settings.load() == Settings.from_mapping({}) == load("")


@cases("option", OPTIONS, ids=OPTION_IDS)
def test_the_written_default_is_the_default(option: Option) -> None:
    assert option.kind.read(option.default, os.environ) == DEFAULTS[key_of(option)]


# Values


@cases(("section", "name", "text", "expected"), GOOD)
def test_a_file_gives_the_value(section: str, name: str, text: str, expected: Any) -> None:
    key = (section, name)
    assert value(load(ini({**COMPANY.get(key, {}), key: text})), key) == expected


@cases(("section", "name", "text", "expected"), GOOD)
def test_the_environment_gives_the_value(section: str, name: str, text: str, expected: Any) -> None:
    key = (section, name)
    variables = {option.variable: option for option in OPTIONS}
    values = {**COMPANY.get(key, {}), key: text}
    environ = {v: values[key_of(o)] for v, o in variables.items() if key_of(o) in values}
    assert value(Settings.load(environ=environ), key) == expected


@cases(("section", "name", "text", "expected"), GOOD)
def test_the_command_line_gives_the_value(
    section: str, name: str, text: str, expected: Any
) -> None:
    key = (section, name)
    settings = Settings.load(overrides={**COMPANY.get(key, {}), key: text})
    assert value(settings, key) == expected


@cases(("section", "name", "text", "expected"), GOOD)
def test_a_mapping_gives_the_value_as_text_or_typed(
    section: str, name: str, text: str, expected: Any
) -> None:
    key = (section, name)
    for form in (text, expected):
        sections: dict[str, dict[str, object]] = {}
        for (owner, other), given_value in {**COMPANY.get(key, {}), key: form}.items():
            sections.setdefault(owner, {})[other] = given_value
        assert value(Settings.from_mapping(sections), key) == expected


def test_every_option_has_a_good_and_a_bad_value_tested() -> None:
    assert {(section, name) for section, name, *_ in GOOD} == set(DEFAULTS)
    unlimited = {("redis", "tls_certificate"), ("redis", "tls_key")}
    assert {(section, name) for section, name, _ in BAD} == set(DEFAULTS) - unlimited


@cases(("section", "name", "text"), BAD)
def test_a_bad_value_is_refused_and_named(section: str, name: str, text: str) -> None:
    (option,) = (each for each in OPTIONS if key_of(each) == (section, name))
    with pytest.raises(ConfigError) as caught:
        Settings.from_mapping({section: {name: text}})
    message = str(caught.value)
    assert message.startswith(f"[{section}] {name}")
    assert option.kind.expected in message or "no home folder" in message
    assert "\n" not in message
    if option.secret:
        assert " = " not in message
    elif text.isprintable() and "://" not in text and len(text) < 200:
        assert f"[{section}] {name} = '{text}': " in message


@pytest.mark.parametrize(
    ("sections", "part"),
    [
        ({"sharq-server": {"port": True}}, "port = 'true': expected a whole number"),
        ({"sharq-server": {"port": None}}, "port = '': expected a whole number"),
        ({"sharq-server": {"port": 80.0}}, "port = '80.0': expected a whole number"),
        ({"redis": {"tls": "\ntrue"}}, "the value has several lines"),
        ({"redis": {"hots": "a"}}, "did you mean host?"),
        ({"reddis": {}}, "did you mean [redis]?"),
    ],
)
def test_a_mapping_is_checked_as_a_file_is(
    sections: Mapping[str, Mapping[str, object]], part: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(part)):
        Settings.from_mapping(sections)


def test_a_message_names_file_section_option_value_and_what_is_allowed() -> None:
    assert message_of("[redis]\nport = abc") == (
        "sharq.conf: [redis] port = 'abc': expected a whole number from 1 to 65535"
    )


def test_a_message_names_variable_section_option_value_and_what_is_allowed() -> None:
    assert message_of("", environ={"SHARQ_SERVER_PORT": "abc"}) == (
        "environment: SHARQ_SERVER_PORT ([sharq-server] port) = 'abc': "
        "expected a whole number from 0 to 65535"
    )


def test_a_message_names_the_command_line() -> None:
    assert message_of("", overrides={("sharq-server", "workers"): "0"}) == (
        "command line: [sharq-server] workers = '0': expected a whole number from 1 to 256"
    )


def test_all_mistakes_are_named_at_once() -> None:
    message = message_of(
        "[redis]\nport = x\n[sharq]\nfoo = 1\n[junk]\n",
        environ={"SHARQ_REDIS_DB": "y"},
        overrides={("redis", "tls"): "z", ("more", "junk"): "1"},
    )
    starts = [line.split(":")[0] for line in message.splitlines()]
    assert starts == ["sharq.conf"] * 3 + ["environment"] + ["command line"] * 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"host = unix:/{'s' * 107}", "the path of a socket has at most 107 bytes"),
        (f"host = a, unix:/{'ä' * 54}", "the path of a socket has at most 107 bytes"),
        ("trusted_proxies = 10.0.0.1/8", "10.0.0.1/8 is no network; did you mean 10.0.0.0/8?"),
    ],
)
def test_a_message_says_what_is_wrong_with_a_value(line: str, reason: str) -> None:
    message = message_of(f"[sharq-server]\n{line}\n")
    assert message.startswith(f"sharq.conf: [sharq-server] {line.split()[0]} = ")
    assert message.endswith(reason)


def test_a_long_value_is_shortened_in_the_message() -> None:
    message = message_of(f"[redis]\nport = {'1' * 5000}")
    assert len(message) < 400
    assert "111...'" in message


# Sources


@cases("option", OPTIONS, ids=OPTION_IDS)
def test_the_command_line_beats_the_environment_beats_the_file_beats_the_default(
    option: Option,
) -> None:
    key = key_of(option)
    texts = PRECEDENCE[key]
    company = COMPANY.get(key, {})
    file = ini({**company, key: texts[0]})
    environ = {option.variable: texts[1]}
    overrides = {key: texts[2]}
    needed = key in SENTINEL and key != ("redis", "conn_type")  # its company is not valid alone
    seen = [
        DEFAULTS[key] if needed else value(Settings.load(overrides=company), key),
        value(load(file), key),
        value(load(file, environ=environ), key),
        value(load(file, environ=environ, overrides=overrides), key),
        value(load(file, overrides=overrides), key),
    ]
    given = [" ".join(each) if isinstance(each, tuple) else str(each) for each in seen[1:]]
    assert given == [texts[0], texts[1], texts[2], texts[2]]
    # conn_type without any source is inferred, here from its company.
    assert seen[0] == ("unix_sock" if option.name == "conn_type" else DEFAULTS[key])


PRECEDENCE: dict[Key, tuple[str, str, str]] = {
    key: {
        bool: ("True", "False", "True"),
        int: ("5", "6", "7"),
        str: ("/first", "/second", "/third"),
        type(None): ("/first", "/second", "/third"),
        tuple: ("first", "second third", "fourth"),
    }[type(default)]
    for key, default in DEFAULTS.items()
} | {
    ("sharq-server", "host"): ("first", "second third", "fourth"),
    ("sharq-server", "socket_mode"): ("0600", "0640", "0666"),
    ("sharq-server", "trusted_proxies"): ("10.0.0.1", "10.0.0.2 unix", "::1"),
    ("sharq-server", "ui"): ("on", "read_only", "off"),
    ("sharq-server", "max_connections"): ("5", "6", "7"),
    ("sharq-server", "max_connections_per_address"): ("5", "6", "7"),
    ("sharq-server", "allowed_origins"): ("a://b", "a://c a://d", "a://e"),
    ("redis", "host"): ("first", "second", "third"),
    ("sharq-server", "heartbeat"): ("500", "600", "700"),
    ("redis", "conn_type"): ("embedded", "tcp_sock", "unix_sock"),
    ("redis", "sentinels"): ("s:1", "t:1 [::1]:2", "u:3"),
    ("redis", "cluster_nodes"): ("s:1", "t:1 [::1]:2", "u:3"),
    ("redis", "replicas_acked"): ("1", "2", "3"),
    ("sharq", "shards"): ("s:1", "t:2 u:3", "v:4"),
    ("redis", "tls_server_name"): ("first", "second", "third"),
    ("redis", "url"): ("redis://first", "unix:///second", "rediss://third"),
    ("redis", "appendfsync"): ("no", "everysec", "always"),
}


def test_the_file_is_named_by_the_environment() -> None:
    write("[redis]\nkey_prefix = named", "named.conf")
    assert Settings.load(environ={"SHARQ_CONFIG": "named.conf"}).redis.key_prefix == "named"


def test_a_path_beats_the_file_that_the_environment_names() -> None:
    settings = load("[redis]\nkey_prefix = given", environ={"SHARQ_CONFIG": "/does/not/exist"})
    assert settings.redis.key_prefix == "given"


def test_an_empty_variable_names_no_file() -> None:
    assert Settings.load(environ={"SHARQ_CONFIG": ""}) == Settings()


def test_a_message_tells_that_a_variable_named_the_file() -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.load(environ={"SHARQ_CONFIG": "gone.conf"})
    assert str(caught.value) == (
        "gone.conf (named by SHARQ_CONFIG): cannot be read: No such file or directory"
    )


def test_a_path_object_names_a_file() -> None:
    write("[redis]\nkey_prefix = given")
    assert Settings.load(Path("sharq.conf")).redis.key_prefix == "given"


def test_the_environment_of_the_process_is_not_read_unasked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHARQ_REDIS_HOST", "elsewhere")
    monkeypatch.setenv("SHARQ_CONFIG", "/does/not/exist")
    assert Settings.load() == Settings()


def test_a_bad_value_is_named_even_where_a_stronger_source_has_a_good_one() -> None:
    message = message_of("[redis]\nport = abc", environ={"SHARQ_REDIS_PORT": "7000"})
    assert message.startswith("sharq.conf: [redis] port = 'abc'")


@pytest.mark.parametrize("name", ["SHARQ_CONF", "SHARQ_CONFIG_FILE", "SHARQ_CONFIGURATION"])
def test_a_variable_that_is_taken_for_that_of_the_file_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}: no such variable \(did you mean SHARQ_CONFIG"):
        Settings.load(environ={name: "/etc/sharq.conf"})


def test_white_space_around_a_variable_is_not_part_of_it_but_of_a_password() -> None:
    settings = Settings.load(
        environ={"SHARQ_REDIS_PORT": " 7000\n", "SHARQ_REDIS_PASSWORD": "\ufeff ;p \r\n"}
    )
    assert (settings.redis.port, settings.redis.password) == (7000, " ;p ")


@cases("option", OPTIONS, ids=OPTION_IDS)
def test_a_variable_is_named_after_section_and_option(option: Option) -> None:
    prefix = {"sharq": "", "sharq-server": "SERVER_", "redis": "REDIS_"}[option.section]
    older = {"sharq": "SHARQ_", "sharq-server": "SHARQ_SERVER_", "redis": "REDIS_"}[option.section]
    assert option.variable == f"SHARQ_{prefix}{option.name.upper()}"
    assert option.older_variable == f"SHARQ_{older}{option.name.upper()}"


def test_no_two_options_share_a_variable() -> None:
    names = [{option.variable, option.older_variable} for option in OPTIONS]
    assert len(set().union(*names)) == sum(map(len, names))
    assert "SHARQ_CONFIG" not in set().union(*names)


@cases("option", OPTIONS, ids=OPTION_IDS)
def test_the_older_name_of_a_variable_does_the_same(option: Option) -> None:
    key = key_of(option)
    company = {BY_NAME[each].older_variable: text for each, text in COMPANY.get(key, {}).items()}
    text = PRECEDENCE[key][1]
    settings = Settings.load(environ={**company, option.older_variable: text})
    assert value(settings, key) == value(load(ini({**COMPANY.get(key, {}), key: text})), key)
    both = {**company, option.variable: text, option.older_variable: text}
    assert Settings.load(environ=both) == settings


def test_two_names_of_an_option_with_different_values_are_refused() -> None:
    environ = {"SHARQ_SERVER_PORT": "1", "SHARQ_SHARQ_SERVER_PORT": "2"}
    assert message_of("", environ=environ) == (
        "environment: SHARQ_SERVER_PORT ([sharq-server] port): "
        "the older name SHARQ_SHARQ_SERVER_PORT has another value; remove it"
    )
    environ = {"SHARQ_SERVER_TOKENS": SECRET, "SHARQ_SHARQ_SERVER_TOKENS": f"{SECRET}2"}
    assert SECRET not in message_of("", environ=environ)


@pytest.mark.parametrize("prefix", ["SHARQ_SERVER_", "SHARQ_SHARQ_SERVER_"])
def test_a_variable_of_the_server_is_not_taken_for_one_of_the_queues(prefix: str) -> None:
    settings = Settings.load(environ={f"{prefix}PORT": "1", f"{prefix}HOST": "h"})
    assert settings.server == ServerSettings(host=("h",), port=1)


@cases(
    ("variable", "section", "hint"),
    [
        ("SHARQ_REDIS_HOTS", "redis", " (did you mean SHARQ_REDIS_HOST?)"),
        ("SHARQ_REDIS_port", "redis", " (did you mean SHARQ_REDIS_PORT?)"),
        ("SHARQ_REDIS_SERVICE", "redis", " (did you mean SHARQ_REDIS_SENTINEL_SERVICE?)"),
        ("SHARQ_REDIS_WORKERS", "redis", " (did you mean SHARQ_SERVER_WORKERS?)"),
        ("SHARQ_DATA_DIR", "sharq", " (did you mean SHARQ_REDIS_DATA_DIR?)"),
        ("SHARQ_WORKERS", "sharq", " (did you mean SHARQ_SERVER_WORKERS?)"),
        ("SHARQ_SERVER_PASSWORD", "sharq-server", " (did you mean SHARQ_REDIS_PASSWORD?)"),
        ("SHARQ_SERVER_TLS_CERT", "sharq-server", " (did you mean SHARQ_SERVER_TLS_CERTIFICATE?)"),
        ("SHARQ_SHARQ_SERVER_PROT", "sharq-server", " (did you mean SHARQ_SERVER_PORT?)"),
        ("SHARQ_SHARQ_PORT", "sharq", " (did you mean SHARQ_SERVER_PORT or SHARQ_REDIS_PORT?)"),
        ("SHARQ_SHARQ_SERVER_", "sharq-server", ""),
        ("SHARQ_REDIS_", "redis", ""),
        ("SHARQ_SERVER_PROT", "sharq-server", " (did you mean SHARQ_SERVER_PORT?)"),
        ("SHARQ_SERVER_TOKEN", "sharq-server", " (did you mean SHARQ_SERVER_TOKENS?)"),
        ("SHARQ_SERVER_port", "sharq-server", " (did you mean SHARQ_SERVER_PORT?)"),
        ("SHARQ_FINISHED_RETENSION", "sharq", " (did you mean SHARQ_FINISHED_RETENTION?)"),
    ],
)
def test_an_unknown_variable_is_named_without_its_value(
    variable: str, section: str, hint: str
) -> None:
    names = ", ".join(option.variable for option in OPTIONS if option.section == section)
    assert message_of("", environ={variable: SECRET}) == (
        f"environment: {variable}: no such option{hint}; the options of [{section}] are {names}"
    )


@cases(
    "variable",
    [
        *("SHARQ_TEST_REDIS", "SHARQ_SERVER_URL", "SHARQ_TOKEN", "SHARQ_PORT", "SHARQ_", "SHARQ"),
        *("REDIS_HOST", "SERVER_PORT", "sharq_redis_host"),
    ],
)
def test_other_variables_are_left_alone(variable: str) -> None:
    assert Settings.load(environ={variable: "x"}) == Settings()


@cases("service", ["SHARQ", "SHARQ_SERVER", "SHARQ_REDIS", "SHARQ_REDIS_CACHE"])
@cases("protocol", ["tcp", "udp", "sctp"])
def test_what_kubernetes_sets_for_a_service_is_left_alone(service: str, protocol: str) -> None:
    port = f"{service}_PORT_6379_{protocol.upper()}"
    environ = {
        f"{service}_SERVICE_HOST": "10.0.0.11",
        f"{service}_SERVICE_PORT": "6379",
        f"{service}_SERVICE_PORT_HTTP": "6379",
        f"{service}_PORT": f"{protocol}://10.0.0.11:6379",
        port: f"{protocol}://10.0.0.11:6379",
        f"{port}_PROTO": protocol,
        f"{port}_PORT": "6379",
        f"{port}_ADDR": "10.0.0.11",
    }
    assert Settings.load(environ=environ) == Settings()


# Files


def test_a_file_of_the_original_with_comments_behind_values_works() -> None:
    settings = load(
        """\
[sharq]
job_expire_interval       : 1000 ; in milliseconds
job_requeue_interval      : 1500 ; in milliseconds
default_job_requeue_limit : -1 ; for ever

[sharq-server]
host                      : 127.0.0.1
port                      : 8080
workers                   : 2 ; optional
accesslog                 : /tmp/sharq.log ; optional

[redis]
db                        : 3
key_prefix                : sharq_server
conn_type                 : unix_sock ; or tcp_sock
;; through a unix socket
unix_socket_path          : /tmp/redis.sock
;; through TCP
port                      : 6379
host                      : 127.0.0.1
"""
    )
    assert settings.sharq == QueueSettings(job_expire_interval=1000, job_requeue_interval=1500)
    assert settings.server == ServerSettings(workers=2, accesslog="/tmp/sharq.log")
    assert settings.redis == StoreSettings(
        db=3, conn_type="unix_sock", unix_socket_path="/tmp/redis.sock"
    )


@pytest.mark.parametrize("prefix", ["{sms}", "a:b/c", "two words", "Größe"])
def test_a_file_of_the_original_may_have_any_prefix(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "old.conf"
    path.write_text(f"[redis]\nkey_prefix : {prefix}\nhost : 127.0.0.1\n", "utf-8")
    assert Settings.of_original(path).redis.key_prefix == prefix
    assert Settings.of_original(path, "{other}").redis.key_prefix == "{other}"
    path.write_text("[redis]\nkey_prefix :\n")
    with pytest.raises(ConfigError, match="key_prefix"):
        Settings.of_original(path)


def test_a_later_file_of_the_original_works() -> None:
    settings = load(
        """\
; NOTE: for local development
[sharq]
job_expire_interval       = 1000
job_requeue_interval      = 1000
default_job_requeue_limit = -1
enable_requeue_script     = false
[sharq-server]
host                      = 127.0.0.1
port                      = 8080
accesslog                 = /tmp/sharq.log
[redis]
db                        = 0
key_prefix                = sms
conn_type                 = tcp_sock
unix_socket_path          = /tmp/redis.sock
port                      = 7000
host                      = redis-clustered
clustered                 = true
password                  = 
"""  # noqa: W291
    )
    assert settings == Settings(
        QueueSettings(job_expire_interval=1000, enable_requeue_script=False),
        ServerSettings(accesslog="/tmp/sharq.log"),
        StoreSettings(
            conn_type="tcp_sock",
            host="redis-clustered",
            port=7000,
            unix_socket_path="/tmp/redis.sock",
            key_prefix="sms",
            clustered=True,
        ),
    )


@cases(
    "text",
    [
        "[redis]\nport = 7000\n",
        "[redis]\nport=7000",
        "[redis]\nport:7000",
        "[redis]\r\nport = 7000\r\n",
        "[redis]\rport = 7000\r",
        "\ufeff[redis]\nport = 7000\n",
        "# c\n; c\n  # c\n[redis] ; c\nport = 7000 ; c\n",
        "[redis]\nport = 7000\t;c ; c\n",
        "[redis]\nPORT = 7000\n",
        "[redis]\n  port = 7000\n  db = 0\n",
        "[redis]\ndb = 0\n\n  port = 7000\n",
        "[redis]\nport = 7000\n\n  # indented\n  ; comments\n",
        "  [redis]\n  port = 7000",
    ],
)
def test_a_way_to_write_a_file(text: str) -> None:
    assert load(text).redis.port == 7000


@cases(
    ("text", "expected"),
    [
        ("[redis]\nport = 1\nport = 2\n", "line 3: [redis] port is set a second time"),
        ("[redis]\nport = 1\nPort = 1\n", "line 3: [redis] port is set a second time"),
        ("[redis]\n\n[sharq]\n[redis]\n", "line 4: [redis] begins a second time"),
        ("\nport = 1\n", "line 2: no [section] begins before this line"),
        ("redis\n", "line 1: no [section] begins before this line"),
        ("[]\n", "line 1: no [section] begins before this line"),
        ("{}", "line 1: no [section] begins before this line"),
        (
            "[redis]\nport = 1\nhost\nuser\n",
            "line 3: neither a [section] nor an option = value nor a comment",
        ),
        ("[redis]\n= 1\n", "line 2: neither a [section] nor an option = value nor a comment"),
        ("[redis]\n[sharq\n", "line 2: neither a [section] nor an option = value nor a comment"),
        ("[redis]\n[sharq] x\n", "line 2: neither a [section] nor an option = value nor a comment"),
        (b"[redis]\nhost = a\npassword = \xff\n", "line 3: not UTF-8"),
        (b"\xff\xfe[\x00", "line 1: not UTF-8"),
        ("[sharq]".encode("utf-16-be"), "line 1: no [section] begins before this line"),
        (b"#" * (1024 * 1024 + 1), "larger than 1048576 bytes, so no configuration"),
    ],
)
def test_a_file_that_is_no_configuration_is_named_with_its_line(
    text: str | bytes, expected: str
) -> None:
    assert message_of(text) == f"sharq.conf: {expected}"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("gone.conf", "gone.conf: cannot be read: No such file or directory"),
        ("/", "/: cannot be read: Is a directory"),
        ("", "'': cannot be read: No such file or directory"),
        ("loop.conf", "loop.conf: cannot be read: Too many levels of symbolic links"),
        ("a\0b", r"'a\x00b': not a path"),
        ("/dev/zero", "/dev/zero: larger than 1048576 bytes, so no configuration"),
    ],
)
def test_a_path_that_cannot_be_read_is_named(path: str, reason: str) -> None:
    os.symlink("loop.conf", "loop.conf")
    with pytest.raises(ConfigError) as caught:
        Settings.load(path)
    assert str(caught.value) == reason


@contextmanager
def without_privileges() -> Iterator[None]:
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_file_without_permission_is_named() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder, "sharq.conf")
        path.touch(0o000)
        with without_privileges(), pytest.raises(ConfigError) as caught:
            Settings.load(path)
    assert str(caught.value) == f"{path}: cannot be read: Permission denied"


@pytest.mark.parametrize(
    ("section", "hint"),
    [
        ("Redis", " (did you mean [redis]?)"),
        (" redis", " (did you mean [redis]?)"),
        ("sharq_server", " (did you mean [sharq-server]?)"),
        ("DEFAULT", ""),
        ("web", ""),
    ],
)
def test_an_unknown_section_is_named(section: str, hint: str) -> None:
    assert message_of(f"[{section}]\nport = 1\n") == (
        f"sharq.conf: [{section}]: no such section{hint}; "
        "the sections are [sharq], [sharq-server], [redis]"
    )


def test_an_option_that_is_gone_is_told_so() -> None:
    gone = "this option is gone: the server reads HTTP in one way only"
    for value in ("lane", "tornado"):
        text = f"[sharq-server]\nhttp = {value}\n"
        assert message_of(text) == f"sharq.conf: [sharq-server] http: {gone}"
    with pytest.raises(ConfigError) as caught:
        Settings.load(environ={"SHARQ_SERVER_HTTP": "lane"})
    assert str(caught.value) == f"environment: SHARQ_SERVER_HTTP: {gone}"


@cases(
    ("section", "name", "hint"),
    [
        ("redis", "hots", " (did you mean host?)"),
        ("redis", "pasword", " (did you mean password?)"),
        ("sharq", "job_expire", " (did you mean job_expire_interval?)"),
        ("sharq", "port", " (it belongs to [sharq-server] or [redis])"),
        ("sharq-server", "job_expire_interval", " (it belongs to [sharq])"),
        ("sharq-server", "zzz", ""),
        ("sharq-server", "tls", " (it belongs to [redis])"),
        ("sharq-server", "token_files", " (did you mean token_file?)"),
    ],
)
def test_an_unknown_option_is_named_without_its_value(section: str, name: str, hint: str) -> None:
    names = ", ".join(option.name for option in OPTIONS if option.section == section)
    assert message_of(f"[{section}]\n{name} = {SECRET}\n") == (
        f"sharq.conf: [{section}] {name}: no such option{hint}; "
        f"the options of [{section}] are {names}"
    )


@pytest.mark.parametrize(
    ("line", "slip"),
    [
        ("port = 7000 # the port", "after a value, only ; begins a comment"),
        ("port = # the port", "after a value, only ; begins a comment"),
        ('port = "7000"', "quotes are part of a value"),
        ("key_prefix = 'sms'", "quotes are part of a value"),
        ("port = 7000\n  db = 1", "an indented line belongs to the value above it"),
    ],
)
def test_a_slip_in_writing_is_pointed_at(line: str, slip: str) -> None:
    assert slip in message_of(f"[redis]\n{line}\n")


# Secrets


@cases(
    ("text", "environ"),
    [
        (f"[redis]\nhost = h\npassword = {SECRET}\x01\n", {}),
        (f"[redis]\nhost = h\npassword = {SECRET}\n  port = 1\n", {}),
        (f"[redis]\nport = 1\n  password = {SECRET}\n", {}),
        (f"[redis]\nport =\n  password = {SECRET}\n", {}),
        (f"[redis]\nunix_socket_path =\n  password = {SECRET}\n", {}),
        (f"[redis]\nhost = h\npassword {SECRET}\n", {}),
        (f"[redis]\n  port = 1\n{SECRET}\n", {}),
        (f"password = {SECRET}\n", {}),
        (f"[redis]\npassword = a\npassword = {SECRET}\n", {}),
        (f"[redis]\npasswrod = {SECRET}\n", {}),
        (f"[sharq]\npassword = {SECRET}\n", {}),
        (f"[store]\npassword = {SECRET}\n", {}),
        (f"[redis]\nhost = redis://user:{SECRET}@h:1/0\n", {}),
        (f"[redis]\nhost = redis://h/?password={SECRET}\n", {}),
        (f"[redis]\nhost = user:{SECRET}@h\n", {}),
        (f"[redis]\npassword = {SECRET}\n", {}),
        (f"[redis]\nconn_type = tcp_sock\nclustered = 1\ndb = 1\npassword = {SECRET}\n", {}),
        (b"[redis]\npassword = hunter2\xff\n", {}),
        ("", {"SHARQ_REDIS_PASSWORD": f"{SECRET}\n"}),
        ("", {"SHARQ_REDIS_PASSWORD": SECRET}),
        ("", {"SHARQ_REDIS_PASSWD": SECRET}),
        ("", {"SHARQ_REDIS_HOST": f"a\npassword={SECRET}"}),
        *(
            ("", {"SHARQ_REDIS_URL": url})
            for url in (
                *(f"redis://u:{SECRET}@", f"redis://u:{SECRET}@h/x", f"http://u:{SECRET}@h"),
                *(f"redis://u:{SECRET}%@h", f"redis://u:{SECRET}%ff@h", f"redis://{SECRET}:x"),
                *(f"unix:///s?password={SECRET}", f"redis://h/{SECRET}", f"redis://{SECRET}@h"),
                *(f"redis://u:{SECRET}\n@h", f"unix://u:{SECRET}@h/s", SECRET),
            )
        ),
        (f"[redis]\nurl = redis://u:{SECRET}@h\nhost = i\n", {}),
        (f"[redis]\nurl = redis://u:{SECRET}@h/1\nclustered = yes\n", {}),
        (f"[redis]\nurls = redis://u:{SECRET}@h\n", {}),
    ],
)
def test_a_secret_is_in_no_message(text: str | bytes, environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text, environ=environ)
    seen: BaseException | None = caught.value
    while seen is not None:
        assert SECRET not in f"{seen!r} {vars(seen)}"
        seen = seen.__cause__ or seen.__context__


def test_a_password_is_not_in_the_representation_of_settings() -> None:
    settings = Settings.from_mapping(
        {"redis": {"host": "h", "username": "joe", "password": SECRET}}
    )
    assert settings.redis.password == SECRET
    assert SECRET not in f"{settings!r} {settings}"
    by_url = Settings.from_mapping({"redis": {"url": f"redis://joe:{SECRET}@h"}})
    assert by_url.redis.password == SECRET
    assert SECRET not in f"{by_url!r} {by_url}"
    assert "joe" in repr(settings)


def test_the_host_is_shown_behind_withheld_credentials() -> None:
    assert "host = '...@h b': " in message_of(f"[redis]\nhost = {SECRET}@h b\n")


# A URL

URLS: list[tuple[str, dict[str, Any]]] = [
    ("redis://h", {"conn_type": "tcp_sock", "host": "h", "port": 6379, "tls": False}),
    ("REDIS://h/", {"conn_type": "tcp_sock", "host": "h"}),
    ("redis://10.0.0.1:7000/3", {"host": "10.0.0.1", "port": 7000, "db": 3}),
    ("redis://[::1]", {"host": "::1", "port": 6379}),
    ("rediss://[fe80::1]:1/0", {"host": "fe80::1", "port": 1, "db": 0, "tls": True}),
    ("redis://joe:p@h", {"username": "joe", "password": "p"}),
    ("redis://:p@h", {"username": None, "password": "p"}),
    ("redis://j%6fe:%20p%2F%40%C3%A4:%25@h", {"username": "joe", "password": " p/@ä:%"}),
    ("redis://joe:p@q@h", {"password": "p@q", "host": "h"}),
    ("unix:///run/s.sock", {"conn_type": "unix_sock", "unix_socket_path": "/run/s.sock"}),
    ("unix:///run/a%20b?db=7", {"unix_socket_path": "/run/a b", "db": 7}),
    ("unix://joe:p@/run/s", {"username": "joe", "password": "p", "unix_socket_path": "/run/s"}),
]


@cases(("url", "options"), URLS)
def test_a_url_sets_what_it_says(url: str, options: dict[str, Any]) -> None:
    for settings in (
        load(f"[redis]\nurl = {url}\n"),
        load("", environ={"SHARQ_REDIS_URL": url}),
        Settings.from_mapping({"redis": {"url": url}}),
    ):
        assert {name: getattr(settings.redis, name) for name in options} == options


@cases(
    ("url", "reason"),
    [
        *(
            (it, "expected redis://[user:pass")
            for it in ("h", "http://h", "redis:h", "unix:/s", "//h")
        ),
        *((it, "it has no host") for it in ("redis://", "redis://:6379", "rediss://joe:p@/0")),
        *((f"redis://{it}", "its host is not valid") for it in ("a b", "a%2Fb", "", "h\\")[:2]),
        *((f"redis://h:{it}", "its port is not valid") for it in ("", "0", "65536", "x", "+1")),
        *(
            (f"redis://h/{it}", "its database is not valid")
            for it in ("x", "-1", "1/2", "2147483648")
        ),
        *((f"redis://{it}", "in brackets") for it in ("::1", "h:1:2", "[::1", "[h]:1:2")),
        *((f"redis://h{it}", "only a unix:// URL has a param") for it in ("?", "?db=1", "/0?x")),
        *((f"unix:///s?{it}", "db is the only param") for it in ("password=p", "DB=1", "x")),
        *((f"unix:///s?db={it}", "its database is not valid") for it in ("x", "1&db=2")),
        *((f"unix://{it}", "comes an absolute path") for it in ("", "s", "h/s", "~/s")),
        *((f"redis://{it}@h", "a % that two") for it in ("joe:%", "joe:%4", "%zz:p")),
        *((f"redis://j:{it}@h", "its password is not valid") for it in ("%00", "%0a", "%ff")),
        ("redis://a b:p@h", "its user is not valid"),
        ("redis://joe:a#b@h", "it has a `#`"),
        ("redis://joe@h", "a username needs a password"),
    ],
)
def test_what_is_wrong_with_a_url_is_told_without_it(url: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load("", environ={"SHARQ_REDIS_URL": url})
    message = str(caught.value)
    assert message.startswith("environment: SHARQ_REDIS_URL ([redis] url): ")
    assert reason in message
    assert "\n" not in message


def test_a_stronger_source_beats_what_a_weaker_one_sets() -> None:
    text = (
        "[redis]\nconn_type = unix_sock\nunix_socket_path = /s\nhost = a\nport = 1\npassword = p\n"
    )
    redis = load(text, environ={"SHARQ_REDIS_URL": "redis://b/2"}).redis
    assert (redis.conn_type, redis.host, redis.port, redis.db) == ("tcp_sock", "b", 6379, 2)
    assert redis.password == "p"

    text = "[redis]\nurl = redis://joe:p@a:1/2\n"
    redis = load(text, environ={"SHARQ_REDIS_HOST": "b", "SHARQ_REDIS_PASSWORD": "q"}).redis
    assert (redis.host, redis.port, redis.db) == ("b", 1, 2)
    assert (redis.username, redis.password) == ("joe", "q")


@cases(
    ("url", "other", "named"),
    [
        ("redis://h", "host = i", "host"),
        ("redis://h", "port = 7000", "port"),
        ("redis://h/1", "db = 2", "db"),
        ("redis://joe:p@h", "password = q", "password"),
        ("redis://h", "tls = true", "tls"),
        ("redis://h", "unix_socket_path = /s", "unix_socket_path"),
        ("redis://h", "conn_type = embedded", "conn_type"),
        ("unix:///s", "host = h", "host"),
        ("unix:///s", "unix_socket_path = /t", "unix_socket_path"),
    ],
)
def test_a_url_and_an_option_of_the_same_source_do_not_differ(
    url: str, other: str, named: str
) -> None:
    expected = (
        f"sharq.conf: [redis] url: it contradicts {named}, which is set beside it;"
        " remove one of the two"
    )
    assert message_of(f"[redis]\nurl = {url}\n{other}\n") == expected
    assert message_of(f"[redis]\n{other}\nurl = {url}\n") == expected


@pytest.mark.parametrize("first", [True, False])
def test_a_url_and_sentinels_are_told_apart(first: bool) -> None:
    lines = ["sentinels = s:1", "url = rediss://joe:secret@h"]
    text = "\n".join(lines if first else lines[::-1])
    said = message_of(f"[redis]\n{text}\n")
    assert said.startswith(
        "sharq.conf: [redis] sentinels = 's:1': it finds the store, and url names"
    )
    assert "remove one of the two" in said
    assert "secret" not in said
    assert len(said.splitlines()) == 1
    beside = message_of("[redis]\nurl = redis://h\nsentinel_service = main\n")
    assert "sentinel_service = 'main': it finds the store, and url names one" in beside


def test_a_url_and_an_option_may_say_the_same_or_complete_each_other() -> None:
    text = "[redis]\nurl = redis://h:1\nhost = h\nport = 1\ndb = 3\npassword = p\nclustered = no\n"
    redis = load(text).redis
    assert (redis.host, redis.port, redis.db, redis.password) == ("h", 1, 3, "p")


# What fits together

TCP = "[redis]\nconn_type = tcp_sock\n"
SENTINELS = "[redis]\nconn_type = sentinel\nsentinels = s:1\nsentinel_service = main\n"

CONTRADICTIONS: list[tuple[str, str]] = [
    (
        "[sharq-server]\ntls_key = /k",
        "[sharq-server] tls_key = '/k': needs tls_certificate, the certificate of this key",
    ),
    (
        "[sharq]\nmax_payload_bytes = 20000000",
        "[sharq] max_payload_bytes = '20000000': "
        "max_bulk_bytes (16777216) is smaller than max_payload_bytes (20000000)",
    ),
    (
        "[sharq]\nmax_bulk_bytes = 1000000",
        "[sharq] max_bulk_bytes = '1000000': "
        "max_bulk_bytes (1000000) is smaller than max_payload_bytes (1048576)",
    ),
    (
        "[sharq]\nshards = s:4 t:2 s:8",
        "[sharq] shards = 's:4 t:2 s:8': names s twice",
    ),
    (
        "[redis]\nconn_type = unix_sock",
        "[redis] unix_socket_path = '': conn_type = unix_sock needs the path of a socket",
    ),
    (
        f"[redis]\nunix_socket_path = /{'s' * 107}",
        f"[redis] unix_socket_path = '/{'s' * 107}': the path of a socket has at most 107 bytes",
    ),
    (
        "[redis]\nconn_type = unix_sock\nunix_socket_path = /s\nclustered = yes",
        "[redis] clustered = 'true': needs conn_type = tcp_sock, and it is unix_sock",
    ),
    (
        "[redis]\nconn_type = embedded\nclustered = yes",
        "[redis] clustered = 'true': needs conn_type = tcp_sock, and it is embedded",
    ),
    (
        "[redis]\nclustered = yes",
        "[redis] clustered = 'true': needs conn_type = tcp_sock, and it is embedded, "
        "as neither host nor port is set",
    ),
    (
        f"{TCP}clustered = yes\ndb = 1",
        "[redis] db = '1': a cluster (clustered = true) has the database 0 only",
    ),
    ("[redis]\ndb = 16", "[redis] db = '16': the embedded store has the databases 0 to 15"),
    (f"{TCP}username = joe", "[redis] username = 'joe': a username needs a password"),
    (f"{TCP}username = joe\npassword =", "[redis] username = 'joe': a username needs a password"),
    (
        "[redis]\npassword = p",
        "[redis] password: the embedded store has no password; "
        "for another store set host, unix_socket_path or conn_type",
    ),
    (
        "[redis]\nconn_type = embedded\npassword = p",
        "[redis] password: the embedded store has no password",
    ),
    (
        "[redis]\nunix_socket_path = /s\ntls = on",
        "[redis] tls = 'true': needs conn_type = tcp_sock or sentinel, and it is unix_sock, "
        "as neither host nor port is set",
    ),
    (
        "[redis]\nconn_type = embedded\ntls = on",
        "[redis] tls = 'true': needs conn_type = tcp_sock or sentinel, and it is embedded",
    ),
    (
        "[redis]\nconn_type = sentinel\nsentinel_service = main",
        "[redis] sentinels = '': conn_type = sentinel needs sentinels, "
        "such as 10.0.0.7:26379 10.0.0.8:26379",
    ),
    (
        "[redis]\nsentinels = s:1",
        "[redis] sentinel_service = '': conn_type = sentinel needs it: the name that they monitor "
        "the store under, such as mymaster",
    ),
    (
        f"{SENTINELS}clustered = on",
        "[redis] clustered = 'true': needs conn_type = tcp_sock, and it is sentinel",
    ),
    (
        f"{SENTINELS}sentinel_username = joe",
        "[redis] sentinel_username = 'joe': a username needs a password",
    ),
    *[
        (
            f"{TCP}{name} = {text}",
            f"[redis] {name}{shown}: needs conn_type = sentinel, and it is tcp_sock",
        )
        for name, text, shown in (
            ("sentinels", "s:1, t", " = 's:1 t:26379'"),
            ("sentinel_service", "main", " = 'main'"),
            ("sentinel_username", "joe", " = 'joe'"),
            ("sentinel_password", "p", ""),
        )
    ],
    (
        "[redis]\nsentinel_service = main",
        "[redis] sentinel_service = 'main': needs conn_type = sentinel, and it is embedded",
    ),
    *[
        (f"{TCP}{name} = /x.pem", f"[redis] {name} = '/x.pem': needs tls = true")
        for name in ("tls_ca", "tls_certificate")
    ],
    (f"{TCP}tls_certificate = /c\ntls_key = /k", "[redis] tls_key = '/k': needs tls = true"),
    (f"{TCP}tls_server_name = s", "[redis] tls_server_name = 's': needs tls = true"),
    (f"{TCP}cluster_nodes = s", "[redis] cluster_nodes = 's:6379': needs clustered = true"),
    (
        f"{TCP}replicas_durable = on",
        "[redis] replicas_durable = 'true': needs replicas_acked, the number of the replicas",
    ),
    (
        "[redis]\nreplicas_acked = 1",
        "[redis] replicas_acked = '1': the embedded store has no replicas; for another store set "
        "host, unix_socket_path or conn_type",
    ),
    (
        "[redis]\nconn_type = embedded\nreplicas_acked = 1",
        "[redis] replicas_acked = '1': the embedded store has no replicas",
    ),
    (
        f"{TCP}tls = on\ntls_key = /k",
        "[redis] tls_key = '/k': needs tls_certificate, the certificate of this key",
    ),
]


@cases(("text", "expected"), CONTRADICTIONS)
def test_values_that_contradict_each_other_are_named(text: str, expected: str) -> None:
    lines = message_of(text).splitlines()
    assert expected in [line.removeprefix("sharq.conf: ") for line in lines]


def test_a_contradiction_names_the_source_of_the_value() -> None:
    message = message_of(f"{TCP}clustered = on", environ={"SHARQ_REDIS_DB": "1"})
    assert message.startswith("environment: SHARQ_REDIS_DB ([redis] db) = '1': a cluster")


@cases(
    "text",
    [
        "[sharq]\nmax_payload_bytes = 5\nmax_bulk_bytes = 5",
        f"[redis]\nunix_socket_path = /{'s' * 106}",
        f"{TCP}unix_socket_path = /{'s' * 200}",
        "[redis]\ndb = 15",
        f"{TCP}db = 16",
        f"{TCP}clustered = on\ndb = 0\ncluster_nodes = a:1, b",
        f"{TCP}username = joe\npassword = p",
        f"{TCP}tls = on\ntls_ca = /a\ntls_certificate = /c\ntls_key = /k",
        f"{TCP}tls = on\ntls_certificate = /both",
        f"{TCP}tls_ca =",
        f"{SENTINELS}tls = on\ntls_ca = /a\nusername = u\npassword = p\ndb = 20",
        f"{SENTINELS}sentinel_username = u\nsentinel_password = p",
        f"{SENTINELS}host = h\nport = 1",
        f"{TCP}sentinels =\nsentinel_service =\nsentinel_password =",
        "[redis]\nconn_type = embedded\npassword =",
        "[redis]\nunix_socket_path = /s\npassword = p",
    ],
)
def test_values_that_fit_together_are_taken(text: str) -> None:
    load(text)


@cases(
    ("text", "environ", "overrides", "expected"),
    [
        ("", {}, {}, "embedded"),
        ("[redis]\ndb = 1\ndata_dir = /d", {}, {}, "embedded"),
        ("[redis]\nunix_socket_path = /s", {}, {}, "unix_sock"),
        ("[redis]\nunix_socket_path =", {}, {}, "embedded"),
        ("[redis]\nhost = h", {}, {}, "tcp_sock"),
        ("[redis]\nport = 6379", {}, {}, "tcp_sock"),
        ("[redis]\nhost = h\nunix_socket_path = /s", {}, {}, "tcp_sock"),
        ("", {"SHARQ_REDIS_HOST": "h"}, {}, "tcp_sock"),
        ("", {}, {("redis", "port"): "1"}, "tcp_sock"),
        ("[redis]\nunix_socket_path = /s", {"SHARQ_REDIS_UNIX_SOCKET_PATH": ""}, {}, "embedded"),
        ("[redis]\nconn_type = embedded\nhost = h\nunix_socket_path = /s", {}, {}, "embedded"),
        ("[redis]\nconn_type = embedded", {"SHARQ_REDIS_HOST": "h"}, {}, "embedded"),
        ("[sharq-server]\nhost = h\nport = 1", {}, {}, "embedded"),
        ("[redis]\nsentinels = s\nsentinel_service = main", {}, {}, "sentinel"),
        ("[redis]\nhost = h\nsentinels = s\nsentinel_service = main", {}, {}, "sentinel"),
        ("[redis]\nhost = h\nsentinels =", {}, {}, "tcp_sock"),
    ],
)
def test_the_kind_of_connection_follows_from_what_is_set(
    text: str, environ: dict[str, str], overrides: dict[Key, str], expected: str
) -> None:
    assert load(text, environ=environ, overrides=overrides).redis.conn_type == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.7:26379", ("10.0.0.7:26379",)),
        ("a, b:7 ,c", ("a:26379", "b:7", "c:26379")),
        ("[::1]:7 [fe80::1]", ("[::1]:7", "[fe80::1]:26379")),
    ],
)
def test_sentinels_have_their_usual_port_if_none_is_written(
    text: str, expected: tuple[str, ...]
) -> None:
    settings = load(f"[redis]\nsentinels = {text}\nsentinel_service = main")
    assert settings.redis.sentinels == expected
    assert settings.redis.place == "main"


# Paths

PATHS = [
    ("sharq-server", "accesslog"),
    ("redis", "unix_socket_path"),
    ("redis", "tls_ca"),
    ("redis", "tls_certificate"),
    ("redis", "tls_key"),
    ("redis", "data_dir"),
]


@pytest.mark.parametrize("key", PATHS)
def test_a_path_becomes_absolute(key: Key, tmp_path: Path) -> None:
    company = COMPANY.get(key, {})
    assert value(load(ini({**company, key: "x/../y"})), key) == str(tmp_path / "y")
    assert value(load(ini({**company, key: "~/y"})), key) == "/home/tester/y"


def test_a_home_folder_of_the_given_environment_counts_first() -> None:
    settings = Settings.load(environ={"HOME": "/home/other", "SHARQ_SERVER_ACCESSLOG": "~/l"})
    assert settings.server.accesslog == "/home/other/l"
    assert settings.redis.data_dir == "/home/other/.local/share/sharq"


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/data", "/data/sharq"),
        ("/data/", "/data/sharq"),
        ("", "/home/tester/.local/share/sharq"),
        ("relative", "/home/tester/.local/share/sharq"),
    ],
)
def test_the_default_data_folder_follows_the_base_directories(
    folder: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Settings.load(environ={"XDG_DATA_HOME": folder}).redis.data_dir == expected
    monkeypatch.setenv("XDG_DATA_HOME", folder)
    assert Settings.load().redis.data_dir == expected
    assert StoreSettings().data_dir == expected


@pytest.fixture
def _homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    # As for a user without HOME and without an entry among the users.
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)


@pytest.mark.usefixtures("_homeless")
def test_an_embedded_store_without_a_home_folder_asks_for_one() -> None:
    assert message_of("") == (
        "[redis] data_dir = '~/.local/share/sharq': "
        "no home folder is known for `~`; set data_dir to an absolute path"
    )


@pytest.mark.usefixtures("_homeless")
def test_a_store_elsewhere_needs_no_home_folder() -> None:
    assert load("[redis]\nhost = h").redis.conn_type == "tcp_sock"


def test_a_relative_path_without_a_current_folder_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tempfile.mkdtemp()
    monkeypatch.chdir(folder)
    os.rmdir(folder)
    with pytest.raises(ConfigError, match="the current folder does not exist"):
        Settings.load(overrides={("redis", "data_dir"): "jobs"})


# Values of the program


@pytest.mark.parametrize("part", ["sharq", "server", "redis"])
def test_settings_cannot_be_changed(part: str) -> None:
    settings = Settings()
    section = getattr(settings, part)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(settings, part, section)
    for each in dataclasses.fields(section):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(section, each.name, None)
    assert not hasattr(section, "__dict__")


def test_settings_can_be_handed_to_another_process() -> None:
    settings = Settings.from_mapping({"redis": {"host": "h", "password": SECRET}})
    assert pickle.loads(pickle.dumps(settings)) == settings


@hypothesis_settings(database=None, deadline=None, max_examples=200)
@given(
    st.one_of(
        st.binary(),
        st.text(alphabet=st.sampled_from("[]=:;# \n\r\tredisharqpot-_01{}%\0é\u2028")).map(
            str.encode
        ),
        st.lists(
            st.sampled_from(
                ["[redis]", "[sharq]", "port = 1", "host", "tls: 1", "  x", "", "; c", "[", "= 1"]
            )
        ).map(lambda lines: "\n".join(lines).encode()),
    )
)
def test_any_file_gives_settings_or_a_configuration_error(data: bytes) -> None:
    with suppress(ConfigError):
        assert isinstance(load(data), Settings)


@hypothesis_settings(database=None, deadline=None, max_examples=200)
@given(
    st.text(
        alphabet=st.one_of(
            st.sampled_from(" ;#%$=:[]{}\"'\\"),
            st.characters(exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")),
        )
    )
    .map(str.strip)
    .filter(lambda text: " ;" not in f" {text}")
)
def test_a_password_without_a_comment_in_it_survives_a_file(password: str) -> None:
    text = f"[redis]\nconn_type = tcp_sock\npassword = {password}\n"
    assert load(text).redis.password == (password or None)


# The sample and the reference

SAMPLE = ROOT / "sharq.conf"
REFERENCE = ROOT / "docs" / "configuration.md"


def sample_options(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Each switched-off option: its section, its comment on one line, its name, its value."""
    section, comment = "", ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line[1:-1]
        elif line.startswith("# "):
            comment = f"{comment} {line[2:]}".strip()
        elif line.startswith(";"):
            name, _, text = line[1:].partition("=")
            yield section, comment, name.strip(), text.strip()
        if not line.startswith("#"):
            comment = ""


def test_the_sample_has_every_option_with_its_default_and_description() -> None:
    listed = list(sample_options(SAMPLE.read_text()))
    assert [(section, name, text) for section, _, name, text in listed] == [
        (option.section, option.name, option.default) for option in OPTIONS
    ]
    for (_, comment, name, _), option in zip(listed, OPTIONS, strict=True):
        assert comment.startswith(option.about), name
        for unit in ("milliseconds", "bytes"):
            assert (unit in option.kind.expected) == (unit.capitalize() in comment), name


def test_the_sample_as_it_is_changes_nothing() -> None:
    assert Settings.load(SAMPLE) == Settings()


def test_the_sample_with_every_option_switched_on_changes_nothing() -> None:
    text = re.sub(r"^;", "", SAMPLE.read_text(), flags=re.MULTILINE)
    assert len(re.findall(r"^\w+ =", text, flags=re.MULTILINE)) == len(OPTIONS)
    assert load(text) == Settings()


@pytest.mark.parametrize("section", ["sharq", "sharq-server", "redis"])
def test_the_reference_has_every_option_of_the_section(section: str) -> None:
    _, _, rest = REFERENCE.read_text().partition(f"\n## `[{section}]`\n")
    chapter = rest.partition("\n## ")[0]
    rows = [line for line in chapter.splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{option.name}` | {f'`{option.default}`' if option.default else 'nothing'} "
        f"| {option.kind.expected} | {option.about} | `{option.variable}` |"
        for option in OPTIONS
        if option.section == section
    ]


def blocks_of_the_reference(heading: str, language: str = "") -> list[str]:
    _, _, rest = REFERENCE.read_text().partition(f"\n## {heading}\n")
    chapter = rest.partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", chapter, flags=re.DOTALL | re.MULTILINE)


def test_the_examples_of_the_reference_work() -> None:
    own, cluster, sentinel = (
        load(text, environ={"SHARQ_REDIS_PASSWORD": "p"})
        for text in blocks_of_the_reference("Examples", "ini")
    )
    assert (own.redis.conn_type, own.redis.tls, own.sharq.job_expire_interval) == (
        "tcp_sock",
        True,
        30_000,
    )
    assert (cluster.redis.clustered, cluster.server.workers) == (True, 4)
    assert sentinel.redis.sentinels == ("10.0.0.7:26379", "10.0.0.8:26379", "10.0.0.9:26379")
    assert (sentinel.redis.conn_type, sentinel.redis.sentinel_service) == ("sentinel", "mymaster")


def test_the_reference_shows_the_messages_as_they_are() -> None:
    mistakes, unreadable = blocks_of_the_reference("Messages")
    assert mistakes.rstrip() == message_of(
        "[redis]\nhots = redis.internal\nport = abc\nclusterd = yes\n[servers]\nport = 80\n",
        environ={"SHARQ_REDIS_PASSWORD": "a\tb", "SHARQ_SERVER_WORKERS": "0"},
    )
    assert unreadable.splitlines() == [
        message_of("[redis]\nport = 1\nport = 2\n"),
        message_of("port = 1"),
        message_of("[redis]\nhost = a\npassword\n"),
    ]
