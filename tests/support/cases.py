"""Many cases in one test, where each costs less than what pytest does for a test of its own."""

from __future__ import annotations

import functools
import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

_LONGEST_NAME = 60
_WITH_A_NAME = type(pytest.param())


def cases(
    names: str | Sequence[str],
    values: Iterable[Any],
    *,
    ids: Callable[[Any], Any] | Iterable[str] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """As `pytest.mark.parametrize`, but one test tries all cases, and names those that fail.

    All cases have the same fixtures, so that it is not for a test that needs a fresh one. Stacked,
    it tries every combination. There has to be a case.
    """
    arguments = [name.strip() for name in names.split(",")] if isinstance(names, str) else [*names]
    named = _named(arguments, [*values], ids)
    assert named, "a test without a case checks nothing"

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(test)
        assert set(arguments) <= set(signature.parameters), arguments

        if inspect.iscoroutinefunction(test):

            async def tried(*args: Any, **fixtures: Any) -> None:
                outcome = Outcome(len(named))
                for name, case in named.items():
                    with outcome.of(name):
                        await test(*args, **fixtures, **case)
                outcome.tell()
        else:

            def tried(*args: Any, **fixtures: Any) -> None:
                outcome = Outcome(len(named))
                for name, case in named.items():
                    with outcome.of(name):
                        test(*args, **fixtures, **case)
                outcome.tell()

        functools.update_wrapper(tried, test)
        rest = [each for name, each in signature.parameters.items() if name not in arguments]
        # What pytest gives: the fixtures.
        tried.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
        return tried

    return decorate


class Outcome:
    """What becomes of `count` cases."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._failed: dict[str, Exception] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Keep the failure of a case, so that the next one is tried too."""
        try:
            yield
        except pytest.fail.Exception as failure:  # what `pytest.raises` raises is no Exception
            self._failed[name] = AssertionError(str(failure)).with_traceback(failure.__traceback__)
        except Exception as error:
            self._failed[name] = error

    def tell(self) -> None:
        """Fail where a case has failed, with the name and the failure of each that has."""
        if not self._failed:
            return
        for name, error in self._failed.items():
            error.add_note(f"in the case {name}")
        message = f"{len(self._failed)} of {self._count} cases failed: {', '.join(self._failed)}"
        raise ExceptionGroup(message, [*self._failed.values()])


def _named(
    arguments: list[str], values: list[Any], ids: Callable[[Any], Any] | Iterable[str] | None
) -> dict[str, dict[str, Any]]:
    """The arguments of each case by a name of its own, which is nearly what pytest calls it."""
    listed = [None] * len(values) if ids is None or callable(ids) else [*ids]
    named: list[tuple[str, dict[str, Any]]] = []
    for at, (value, name) in enumerate(zip(values, listed, strict=True)):
        if isinstance(value, _WITH_A_NAME):
            assert not value.marks, "a marker is for a whole test"
            row, name = value.values, value.id or name
        else:
            row = value if len(arguments) > 1 else (value,)
        case = dict(zip(arguments, row, strict=True))
        words = (
            _word(ids(given) if callable(ids) else given, f"{argument}{at}")
            for argument, given in case.items()
        )
        named.append((name or "-".join(words), case))
    count = Counter(name for name, _ in named)
    return {
        f"{name} ({at})" if count[name] > 1 else name: case for at, (name, case) in enumerate(named)
    }


def _word(value: Any, otherwise: str) -> str:
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        return value.encode("unicode_escape").decode()[:_LONGEST_NAME]
    if value is None or isinstance(value, bool | float):
        return str(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**_LONGEST_NAME else otherwise
    return str(getattr(value, "__name__", otherwise))
