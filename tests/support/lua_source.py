"""Enough of Lua 5.1's grammar to see which names a script uses and where they come from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

BUILTINS = frozenset(
    {
        *("KEYS", "ARGV", "redis", "cjson", "cmsgpack", "bit"),
        *("error", "ipairs", "math", "next", "pairs", "pcall", "select", "string", "table"),
        *("tonumber", "tostring", "type", "unpack"),
    }
)
"""Globals that a script of the store may use."""

_KEYWORDS = frozenset(
    {
        *("and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in"),
        *("local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while"),
    }
)
_TOKEN = re.compile(
    r"""(?P<space>\s+|--\[\[.*?\]\]|--[^\n]*)
    |(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|\[\[.*?\]\])
    |(?P<number>0[xX][0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)
    |(?P<name>[A-Za-z_]\w*)
    |(?P<symbol>\.\.\.|\.\.|==|~=|<=|>=|[-+*/%^\#<>=(){}\[\];:,.])""",
    re.DOTALL | re.VERBOSE,
)


class Token(NamedTuple):
    """`kind`: string (without its quotes), number, name, keyword or symbol."""

    kind: str
    text: str
    line: int


class Use(NamedTuple):
    """A use of a name in a line; `free` where nothing before has declared it."""

    name: str
    line: int
    free: bool


def tokens(source: str) -> list[Token]:
    """The tokens of a Lua source, without comments. ValueError for what is none."""
    found: list[Token] = []
    at, line = 0, 1
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise ValueError(f"line {line}: {source[at : at + 20]!r} is no Lua")
        kind, text = match.lastgroup or "", match[0]
        if kind == "string":
            found.append(Token(kind, text.strip("'\"") if text[0] != "[" else text[2:-2], line))
        elif kind == "name" and text in _KEYWORDS:
            found.append(Token("keyword", text, line))
        elif kind != "space":
            found.append(Token(kind, text, line))
        line += text.count("\n")
        at = match.end()
    return found


def free_names(source: str) -> list[Use]:
    """The names that are neither declared before they are used nor builtins."""
    return [use for use in _Walk(source).uses() if use.free]


@cache
def used_names(source: str) -> frozenset[str]:
    """All names of variables that are used."""
    return frozenset(use.name for use in _Walk(source).uses())


@cache
def declared_names(source: str) -> frozenset[str]:
    """The names that are local to the whole source."""
    walk = _Walk(source)
    for _ in walk.uses():
        pass
    return frozenset(walk.scopes[0])


class _Walk:
    """One walk over a source. A local is taken as declared from its name on."""

    def __init__(self, source: str) -> None:
        self._tokens = tokens(source)
        self._at = 0
        self._brackets: list[str] = []
        self._loop: set[str] = set()
        self.scopes: list[set[str]] = [set()]

    def uses(self) -> Iterator[Use]:
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            self._at += 1
            if token.kind == "keyword":
                self._on_keyword(token.text)
            elif token.text in {"{", "(", "["} and token.kind == "symbol":
                self._brackets.append(token.text)
            elif token.text in {"}", ")", "]"} and token.kind == "symbol":
                self._brackets.pop()
            elif token.kind == "name" and not self._is_field():
                known = any(token.text in scope for scope in self.scopes)
                yield Use(token.text, token.line, not known and token.text not in BUILTINS)
        if len(self.scopes) != 1:
            raise ValueError("a block is not closed")

    def _on_keyword(self, word: str) -> None:
        if word == "local":
            if self._next() == "function":
                self._at += 1
                self.scopes[-1].add(self._take())
                self._open_function()
            else:
                self.scopes[-1].update(self._take_names())
        elif word == "function":
            self._open_function()
        elif word == "for":
            self._loop = set(self._take_names())
        elif word in {"do", "then", "repeat", "else"}:
            if word == "else":
                self.scopes.pop()
            self.scopes.append(self._loop)
            self._loop = set()
        elif word in {"end", "until", "elseif"}:
            self.scopes.pop()

    def _open_function(self) -> None:
        if self._take() != "(":
            raise ValueError("only local functions and functions without a name are expected")
        self.scopes.append(set() if self._next() == ")" else set(self._take_names()))
        self._take()

    def _is_field(self) -> bool:
        before = self._tokens[self._at - 2].text if self._at > 1 else ""
        if before in {".", ":"}:
            return True
        in_table = self._brackets[-1:] == ["{"]
        return in_table and before in {"{", ",", ";"} and self._next() == "="

    def _take_names(self) -> list[str]:
        names = [self._take()]
        while self._next() == ",":
            self._at += 1
            names.append(self._take())
        return names

    def _take(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1].text

    def _next(self) -> str:
        return self._tokens[self._at].text if self._at < len(self._tokens) else ""
