"""The recipes of docs/operating.md, with places of a test's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "operating.md"


def chapter() -> str:
    """The chapter about proxies."""
    rest = PAGE.read_text("utf-8").partition("\n### Behind a proxy\n")[2]
    return rest.partition("\n### ")[0]


def recipe(language: str, places: Mapping[str, str]) -> str:
    """The block in a language, with fixed paths and ports replaced, and nothing else."""
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", chapter(), re.M | re.S)
    # The longer ones first: a path may have a port in it.
    wanted = "|".join(re.escape(place) for place in sorted(places, key=len, reverse=True))
    found: set[str] = set()

    def own(match: re.Match[str]) -> str:
        found.add(match[0])
        return places[match[0]]

    text = re.sub(rf"(?<![\w.])(?:{wanted})(?!\w)", own, text)
    assert found == set(places), f"not in the recipe for {language}: {set(places) - found}"
    return str(text)
