"""A point that a client is judged by, and the verdict."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final, NamedTuple

from sharq.conform.parties import NotSeen, Wrong
from sharq.conform.stage import Stage

RIGHT: Final = "right"
WRONG: Final = "wrong"
NOT_SEEN: Final = "not seen"


class Scenario(NamedTuple):
    """One point. `play` returns what was seen; it raises `Wrong` or `NotSeen`.

    `rule` says what a client has to do, if `must`, or should do; `advice` how.
    """

    name: str
    must: bool
    rule: str
    advice: str
    play: Callable[[Stage], Awaitable[str]]


class Verdict(NamedTuple):
    """`outcome` is one of the words above, `seen` a sentence."""

    scenario: Scenario
    outcome: str
    seen: str

    @property
    def passed(self) -> bool:
        """Whether a client may be like this: a point that it must meet has to be seen."""
        return self.outcome == RIGHT or not self.scenario.must


async def play(stage: Stage, scenarios: Iterable[Scenario]) -> AsyncIterator[Verdict]:
    """Play one after the other; each verdict as it is known."""
    for scenario in scenarios:
        try:
            seen = await scenario.play(stage)
        except Wrong as error:
            yield Verdict(scenario, WRONG, str(error))
        except NotSeen as error:
            yield Verdict(scenario, NOT_SEEN, str(error))
        else:
            yield Verdict(scenario, RIGHT, seen)
        stage.clear()
        # What the client still says about it belongs to this one.
        await asyncio.sleep(0)
