"""`sharq conform`: tries a client of the push channel."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from errno import EADDRINUSE
from importlib.util import find_spec
from typing import Final

from sharq.cli import printing, words
from sharq.cli.problems import DONE, INTERRUPTED, REFUSED, Problem, WrongUsage
from sharq.conform.points import POINTS
from sharq.conform.scenario import NOT_SEEN, RIGHT, WRONG, Scenario, Verdict, play
from sharq.conform.stage import Stage

_PORT: Final = "9099"
_COLUMNS: Final = ("point", "level", "outcome", "seen", "do")
_COLOURS: Final = {RIGHT: "32", WRONG: "31", NOT_SEEN: "33"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the trial."""
    parser.add_argument(
        "command",
        nargs="*",
        metavar="COMMAND",
        help="starts your client, behind --; {url} in it is where it has to connect. Without it, "
        "start the client yourself",
    )
    parser.add_argument(
        "--port", default=_PORT, metavar="N", help="port to listen on, 0: a free one (%(default)s)"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=[point.name for point in POINTS],
        metavar="POINT",
        help="a point to try, besides connect and subscribe; may be given several times",
    )
    parser.add_argument(
        "--patience",
        default="10",
        metavar="S",
        help="seconds that the client has for each step (%(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(given: argparse.Namespace) -> int:
    """Try a client; the exit code is 0 if it does all that it must, 1 if not."""
    printing.prepare()
    try:
        if find_spec("tornado") is None:
            raise WrongUsage('It needs tornado: pip install "sharq[server]"')
        if not (given.port.isascii() and given.port.isdigit() and int(given.port) < 65536):
            raise WrongUsage(f"--port has to be 0 to 65535, not {given.port}.")
        patience = words.seconds("--patience", given.patience, 600)
        chosen = _chosen(given.only)
        return asyncio.run(_try(chosen, given.command, int(given.port), patience, given.json))
    except Problem as problem:
        printing.note(f"sharq conform: {problem}")
        return problem.code
    except KeyboardInterrupt:
        printing.note("sharq conform: Stopped.")
        return INTERRUPTED
    except BrokenPipeError:
        printing.abandon()
        return 141


def _chosen(only: Sequence[str] | None) -> list[Scenario]:
    if only is None:
        return list(POINTS)
    return [point for point in POINTS if point.name in {"connect", "subscribe", *only}]


async def _try(
    chosen: Sequence[Scenario], command: Sequence[str], port: int, patience: float, as_json: bool
) -> int:
    # Only here: it needs Tornado.
    from sharq.conform.listening import HOST, listening

    stage = Stage(patience)
    verdicts: list[Verdict] = []
    try:
        async with listening(stage, port) as bound:
            url = f"ws://{HOST}:{bound}/ws/"
            async with _client(stage, [each.replace("{url}", url) for each in command]):
                if not command:
                    printing.note(f"Let your client connect to {url} (Ctrl-C ends this).")
                    while not stage.peers:
                        await stage.until(lambda: bool(stage.peers), 3600)
                async for verdict in play(stage, chosen):
                    verdicts.append(verdict)
                    if not as_json:
                        _show(verdict, first=len(verdicts) == 1)
    except OSError as error:
        if verdicts:
            raise
        if error.errno == EADDRINUSE:
            hint = "--port N is another one, 0 a free one"
            raise WrongUsage(f"Port {port} is in use: {hint}.") from None
        place = f"{error.filename}: " if error.filename else ""
        raise WrongUsage(f"{place}{error.strerror or error}.") from None
    passed = all(verdict.passed for verdict in verdicts)
    if as_json:
        print(json.dumps({"passed": passed, "points": list(map(_fields, verdicts))}))
    else:
        printing.note(_summary(verdicts, passed))
    return DONE if passed else REFUSED


@asynccontextmanager
async def _client(stage: Stage, command: Sequence[str]) -> AsyncIterator[None]:
    """Run the client meanwhile, if there is a command for it."""
    if not command:
        yield
        return
    # What it prints is no part of the result.
    client = await asyncio.create_subprocess_exec(*command, stdout=sys.stderr.fileno())
    stage.client = client

    async def watch() -> None:
        stage.exited = await client.wait()
        stage.change()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            client.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(watching), 5)
        with suppress(ProcessLookupError):
            client.kill()
        await watching


def _show(verdict: Verdict, *, first: bool) -> None:
    fields = _fields(verdict)
    if not sys.stdout.isatty():
        if first:
            print("\t".join(_COLUMNS))
        print("\t".join(words.visible(str(fields[name] or "-")) for name in _COLUMNS), flush=True)
        return
    outcome = f"\x1b[{_COLOURS[verdict.outcome]}m{verdict.outcome:<9}\x1b[0m"
    point = f"{verdict.scenario.name:<11}{fields['level']:<7}"
    print(f"{point}{outcome} {words.visible(verdict.seen)}", flush=True)
    if fields["do"]:
        print(f"{'':<28}{words.visible(str(fields['do']))}", flush=True)


def _fields(verdict: Verdict) -> dict[str, str | None]:
    scenario = verdict.scenario
    return {
        "point": scenario.name,
        "level": "must" if scenario.must else "should",
        "outcome": verdict.outcome,
        "rule": scenario.rule,
        "seen": verdict.seen,
        "do": scenario.advice if verdict.outcome == WRONG else None,
    }


def _summary(verdicts: Sequence[Verdict], passed: bool) -> str:
    def count(must: bool) -> str:
        some = [each for each in verdicts if each.scenario.must is must]
        return f"{sum(each.outcome == RIGHT for each in some)} of {len(some)}"

    word = "The client passes" if passed else "The client does not pass"
    return f"{word}: {count(True)} that it must, {count(False)} that it should."
