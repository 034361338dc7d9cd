"""The refusal of a client, for any protocol."""

from __future__ import annotations

from typing import NamedTuple


class Refusal(NamedTuple):
    """Why something is refused: a stable word, and a sentence for people."""

    code: str
    message: str
