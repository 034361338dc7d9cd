"""Settings: read from an INI file, the environment and the command line, checked, frozen."""

from __future__ import annotations

import configparser
import io
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from sharq.errors import ConfigError
from sharq.settings import kinds, store_url
from sharq.settings.checking import DATA_DIR, contradictions
from sharq.settings.environment import BY_VARIABLE, misspelt, set_for_a_service
from sharq.settings.explaining import labelled, meant, no_such_option, slip, visible
from sharq.settings.options import (
    BY_NAME,
    EMBEDDED,
    SECTIONS,
    SENTINEL,
    TCP,
    UNIX,
    Key,
    Option,
    QueueSettings,
    ServerSettings,
    StoreSettings,
    as_written,
    default_data_dir,
)

CONFIG_VARIABLE: Final = "SHARQ_CONFIG"
"""The environment variable that names the configuration file."""

_NOT_CONFIG: Final = "SHARQ_CONF"
"""How variables begin that somebody takes for `CONFIG_VARIABLE`."""

_LARGEST_FILE: Final = 1024 * 1024
_NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})
_CONN_TYPE: Final[Key] = ("redis", "conn_type")
_URL: Final[Key] = ("redis", "url")


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. `Settings()` has the defaults."""

    sharq: QueueSettings = field(default_factory=QueueSettings)
    server: ServerSettings = field(default_factory=ServerSettings)
    redis: StoreSettings = field(default_factory=StoreSettings)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        environ: Mapping[str, str] = _NOTHING,
        overrides: Mapping[tuple[str, str], str] = _NOTHING,
    ) -> Settings:
        """Read the settings; `overrides` beat `environ`, which beats the file, then defaults.

        `path` is an INI file; without it ``SHARQ_CONFIG`` of `environ` names one, if any.
        `overrides` maps (section, option) to text. HOME and XDG_DATA_HOME are looked up in
        `environ` first, then in the environment of the process.

        Raises `ConfigError` with one line for each problem; a secret is never part of it.
        """
        return cls.load_with_origins(path, environ=environ, overrides=overrides)[0]

    @classmethod
    def load_with_origins(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        environ: Mapping[str, str] = _NOTHING,
        overrides: Mapping[tuple[str, str], str] = _NOTHING,
    ) -> tuple[Settings, dict[Key, str]]:
        """The same, with a few words on where each value comes from that is not a default."""
        reader = _Reader(environ)
        if path is not None:
            reader.take_file(os.fspath(path))
        elif environ.get(CONFIG_VARIABLE):
            reader.take_file(environ[CONFIG_VARIABLE], named_by=CONFIG_VARIABLE)
        reader.take_environment(environ)
        for (section, name), text in overrides.items():
            reader.take_section(section, [(name, text)], "command line")
        reader.end_source()
        return reader.settings(), reader.origins

    @classmethod
    def of_original(cls, path: str | os.PathLike[str], key_prefix: str | None = None) -> Settings:
        """The settings in a file of the original, whose `key_prefix` may have braces.

        Another `key_prefix` may be given. Raises `ConfigError`.
        """
        reader = _Reader(_NOTHING, {("redis", "key_prefix"): kinds.ORIGINAL_PREFIX})
        reader.take_file(os.fspath(path))
        if key_prefix is not None:
            reader.take_section("redis", [("key_prefix", key_prefix)], "command line")
        reader.end_source()
        return reader.settings()

    @classmethod
    def from_mapping(cls, sections: Mapping[str, Mapping[str, object]]) -> Settings:
        """Settings from {section: {option: value}}, with the checks that a file gets.

        A value is text as in a file, or of the option's type. Raises `ConfigError`.
        """
        reader = _Reader(_NOTHING)
        for section, values in sections.items():
            reader.take_section(
                section, [(name, as_written(value)) for name, value in values.items()]
            )
        reader.end_source()
        return reader.settings()


class _Reader:
    """Takes the values of the sources, the weakest first, and collects the errors."""

    def __init__(
        self, environ: Mapping[str, str], others: Mapping[Key, kinds.Kind] = _NOTHING
    ) -> None:
        self._environ = {**os.environ, **environ}
        self._others = others
        self._values: dict[Key, Any] = {}
        self._labels: dict[Key, str] = {}
        self.origins: dict[Key, str] = {}
        self._problems: list[str] = []
        # What the source that is being read has set.
        self._given: dict[Key, Any] = {}

    def take_file(self, path: str, *, named_by: str = "") -> None:
        origin = (visible(path) or "''") + (f" (named by {named_by})" if named_by else "")
        parser = _parse(_read_text(path, origin), origin)
        for section in parser.sections():
            self.take_section(section, parser.items(section), origin)
        self.end_source()

    def take_environment(self, environ: Mapping[str, str]) -> None:
        ours = {name: text for name, text in environ.items() if not set_for_a_service(name, text)}
        for name in sorted(ours):
            option = BY_VARIABLE.get(name)
            if option is not None:
                self._take_variable(option, name, ours)
            elif name.startswith(_NOT_CONFIG) and name != CONFIG_VARIABLE:
                self._problems.append(
                    f"environment: {visible(name)}: no such variable (did you mean"
                    f" {CONFIG_VARIABLE}?)"
                )
            elif (meant_for := misspelt(name)) is not None:
                reason = no_such_option(*meant_for, variable=True)
                self._problems.append(f"environment: {visible(name)}: {reason}")
        self.end_source()

    def _take_variable(self, option: Option, name: str, environ: Mapping[str, str]) -> None:
        label = f"environment: {name} ([{option.section}] {option.name})"
        other = environ.get(option.older_variable, environ[name])
        if name == option.variable and other != environ[name]:
            self._problems.append(
                f"{label}: the older name {option.older_variable} has another value; remove it"
            )
        # White space may belong to a secret, but not what files and editors leave around it.
        text = environ[name].strip("\r\n\ufeff") if option.secret else environ[name].strip()
        self._take(option, text, label, f"environment, {name}")

    def take_section(
        self, section: str, values: Iterable[tuple[str, str]], origin: str = ""
    ) -> None:
        before = f"{origin}: " if origin else ""
        if section not in SECTIONS:
            headers = {each: f"[{each}]" for each in SECTIONS}
            self._problems.append(
                f"{before}[{visible(section)}]: no such section{meant(section, headers)}; "
                f"the sections are {', '.join(headers.values())}"
            )
            return
        for name, text in values:
            label = f"{before}[{section}] {visible(name)}"
            option = BY_NAME.get((section, name))
            if option is not None:
                self._take(option, text, label, origin)
            else:
                # Without the value: it may be a secret with a misspelt name.
                self._problems.append(f"{label}: {no_such_option(section, name)}")

    def _take(self, option: Option, text: str, label: str, origin: str) -> None:
        try:
            if "\n" in text or "\r" in text:
                raise kinds.Refused(
                    "the value has several lines "
                    "(in a file, an indented line belongs to the value above it)"
                )
            kind = self._others.get((option.section, option.name), option.kind)
            value = kind.read(text, self._environ)
        except kinds.Refused as refused:
            reason = str(refused) or f"expected {option.kind.expected}{slip(text)}"
            self._problems.append(labelled(label, option, text) + reason)
            return
        self._given[option.section, option.name] = value
        self._labels[option.section, option.name] = label
        self.origins[option.section, option.name] = origin

    def end_source(self) -> None:
        """What a source has set counts; a URL in it sets the options that it is made of."""
        given, self._given = self._given, {}
        url = given.get(_URL)
        said = store_url.options_of(url, self._environ) if url else {}
        for name in dict.fromkeys((*store_url.SAYS, *said)) if said else ():
            key = ("redis", name)
            if key in given and (name not in said or given[key] != said[name]):
                self._problems.append(
                    f"{self._labels[_URL]}: it contradicts {name}, which is set beside it;"
                    " remove one of the two"
                )
        for name, value in said.items():
            given["redis", name] = value
            self._labels["redis", name] = self._labels[_URL]
            self.origins["redis", name] = f"url, {self.origins[_URL]}"
        self._values.update(given)

    def settings(self) -> Settings:
        self._complain()
        inferred = _CONN_TYPE not in self._values
        if inferred:
            self._values[_CONN_TYPE] = self._infer_conn_type()
        self._values.setdefault(DATA_DIR, default_data_dir(self._environ))
        queue = QueueSettings(**self._section("sharq"))
        server = ServerSettings(**self._section("sharq-server"))
        store = StoreSettings(**self._section("redis"))
        for key, reason in contradictions(queue, server, store, self._values.keys(), inferred):
            option = BY_NAME[key]
            label = self._labels.get(key, f"[{option.section}] {option.name}")
            text = as_written(self._values.get(key, option.default))
            if label == self._labels.get(_URL):
                option = BY_NAME[_URL]
            self._problems.append(labelled(label, option, text) + reason)
        self._complain()
        return Settings(queue, server, store)

    def _infer_conn_type(self) -> str:
        if self._values.get(("redis", "sentinels")):
            return SENTINEL
        if ("redis", "host") in self._values or ("redis", "port") in self._values:
            return TCP
        return UNIX if self._values.get(("redis", "unix_socket_path")) else EMBEDDED

    def _section(self, section: str) -> dict[str, Any]:
        return {name: value for (owner, name), value in self._values.items() if owner == section}

    def _complain(self) -> None:
        if self._problems:
            raise ConfigError("\n".join(self._problems))


def _read_text(path: str, origin: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{origin}: cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise ConfigError(f"{origin}: not a path") from None
    if len(data) > _LARGEST_FILE:
        raise ConfigError(f"{origin}: larger than {_LARGEST_FILE} bytes, so no configuration")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
    # Raised here and not above, so that it does not keep an exception with the file's content.
    raise ConfigError(f"{origin}: line {line}: not UTF-8")


class _Parser(configparser.RawConfigParser):
    # The original pattern ignores text after the closing bracket.
    SECTCRE = re.compile(r"\[(?P<header>[^]]+)\]$")


def _parse(text: str, origin: str) -> configparser.RawConfigParser:
    """The sections of an INI file.

    Only ``;`` after white space begins a comment within a line, as in the original. No message
    quotes a line, since it may hold a secret.
    """
    parser = _Parser(
        inline_comment_prefixes=(";",),
        empty_lines_in_values=False,
        default_section="",  # no header spells it: options that every section inherits are out
    )
    try:
        parser.read_file(io.StringIO(text, newline=None))
        return parser
    except configparser.DuplicateOptionError as error:
        section, option = visible(error.section), visible(error.option)
        problem = f"line {error.lineno}: [{section}] {option} is set a second time"
    except configparser.DuplicateSectionError as error:
        problem = f"line {error.lineno}: [{visible(error.section)}] begins a second time"
    except configparser.MissingSectionHeaderError as error:
        problem = f"line {error.lineno}: no [section] begins before this line"
    except configparser.ParsingError as error:
        line, _ = error.errors[0]
        problem = f"line {line}: neither a [section] nor an option = value nor a comment"
    raise ConfigError(f"{origin}: {problem}")
