"""What is answered to who is not let in, whatever the protocol."""

from __future__ import annotations

from typing import NamedTuple


class Refusal(NamedTuple):
    """Why something is refused: the stable word for it, and the sentence for people."""

    code: str
    message: str
