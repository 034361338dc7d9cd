"""What the store's own states of queues, groups and types count, read by their text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final


def split_key(key: str) -> tuple[str, str]:
    """The type or the shard that a key is of, "" for none, and what follows its tag."""
    tag, _, rest = key.partition("}:")
    name = tag.partition(":")[2]
    if ":" in name:
        shards, _, rest = rest.partition(":")
        name = f"{name}:{shards}"
    return name, rest


def level_of(rest: str, text: str) -> dict[str, Any] | None:
    """A level by its key (behind the tag) and its state: `level`, `leased`, `group`.

    `level` is a queue, or `=` and the name of a group, or `=` for the type; `group` that of a
    queue, "" for none. None for other keys, for a key that has gone, and for a type that
    counts no leases.
    """
    word, _, name = rest.partition(":")
    if not text:
        return None
    if word == "q":
        more, text = text[1:].split("|", 1) if text.startswith("~") else ("", text)
        group = ""
        if more:
            of_enqueues, of_api = more.split(":")[7:9]
            group = of_api or of_enqueues
        return {"level": name, "leased": int(text.split(" ")[0].split(":")[4]), "group": group}
    if rest == "limit" or rest.startswith("limit:g:"):
        fields = text.split(":")
        if rest == "limit" and fields[2] == "0":
            return None
        group = rest.removeprefix("limit").removeprefix(":g:")
        return {"level": f"={group}", "leased": int(fields[7]), "group": ""}
    return None


DEAD: Final = ("dead", "dead:order", "dead:about", "dead:jobs")
"""The rests of the keys that `dead_letters` reads."""


def dead_letters(
    queue_type: str,
    counts: Mapping[str, int],
    order: Mapping[str, int],
    about: Mapping[str, int],
    jobs: Mapping[str, int],
) -> dict[str, Any]:
    """What a type has of dead letters: `bytes`, `fallen` and `dropped` as it counts them, the
    deaths (µs) in `order`, and the bytes of each in `about` and `jobs`.
    """
    numbers = {name: counts.get(name, 0) for name in ("bytes", "fallen", "dropped")}
    return {"type": queue_type, **numbers, "order": order, "about": about, "jobs": jobs}


def new_counters() -> dict[str, Any]:
    """Counters of types, to be filled by `add_counters`: for each type and minute its own `e` and
    `d`, and in `queues` those of its queues.
    """
    return defaultdict(lambda: defaultdict(_new_minute))


def add_counters(minutes: Any, rest: str, counts: Iterable[tuple[str, int]]) -> None:
    """Add the fields of a hash to the minutes of its type, if it has counters: `rest` is its key
    behind the tag.
    """
    word, _, name = rest.partition(":")
    minute, *part = name.split(":")
    if word != "c" or not minute.isdigit():
        return
    for name, count in counts:
        if part not in ([], ["past"]):
            minutes[minute]["queues"][name][part[0]] += count
        elif name in ("e", "d"):
            minutes[minute][name] += count


def _new_minute() -> dict[str, Any]:
    return {"e": 0, "d": 0, "queues": defaultdict(lambda: {"e": 0, "d": 0})}
