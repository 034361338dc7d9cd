"""How a verb ends that asks a server: its exit codes, and the errors, each of one line."""

from __future__ import annotations

from typing import ClassVar, Final

DONE: Final = 0
REFUSED: Final = 1
WRONG_USAGE: Final = 2
NO_ANSWER: Final = 3
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141


class Problem(Exception):
    """A verb ends with `code`; the message is for people, and shows no token."""

    code: ClassVar[int]


class Refused(Problem):
    """The server said no: its HTTP `status`, and the stable `word` of the error."""

    code = REFUSED

    def __init__(self, message: str, status: int, word: str) -> None:
        super().__init__(message)
        self.status = status
        self.word = word


class WrongUsage(Problem):
    """What was given cannot be meant; no request was sent because of it."""

    code = WRONG_USAGE


class NoAnswer(Problem):
    """No answer came, none of SharQ's, or one that says that the server cannot answer now."""

    code = NO_ANSWER
