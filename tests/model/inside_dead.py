"""The keys of dead letters in the store, held against the model: exact, and nothing beside."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tests.model.letters import Letters
from tests.model.names import expect
from tests.support.direct import DirectStore

_READ = """
local dead = ARGV[1] .. ':dead'
return {
  redis.call('HGETALL', dead), redis.call('ZRANGE', dead .. ':order', 0, -1, 'WITHSCORES'),
  redis.call('HGETALL', dead .. ':about'), redis.call('HGETALL', dead .. ':jobs'),
  redis.call('HGETALL', dead .. ':limits'), redis.call('EXISTS', dead .. ':bulk'),
}
"""

Fields = dict[str, bytes]


class DeadSeen(NamedTuple):
    """All of it, of one type; `order` has deaths (µs) as texts."""

    counts: Fields
    order: Fields
    about: Fields
    payloads: Fields
    limits: Fields
    bulk: bool


def look_at_dead(store: DirectStore, prefix: str, queue_type: str) -> DeadSeen:
    """Read all of it at once."""
    reply = store.command("EVAL", _READ, 0, f"{{{prefix}:{queue_type}}}")
    return DeadSeen(*map(_fields, reply[:5]), bool(reply[5]))


def check_dead(
    letters: Letters, queue_type: str, seen: DeadSeen, ends: dict[str, int | None]
) -> None:
    """Check that they are those of the model. `ends`: when keys of the type end, by their rest."""
    all_of_them = {"/".join(member): letter for member, letter in letters.all.items()}
    what = f"of the dead letters of {queue_type}"
    expect(f"the members {what}", list(seen.order), list(all_of_them))
    scores = [letter.score for letter in all_of_them.values()]
    expect(f"the deaths {what}", [int(score) for score in seen.order.values()], scores)
    about = {member: letter.about().encode() for member, letter in all_of_them.items()}
    expect(f"the words {what}", seen.about, about)
    payloads = {member: letter.payload for member, letter in all_of_them.items()}
    expect(f"the payloads {what}", seen.payloads, payloads)
    limits = {queue_id: _limits(letters, queue_id) for queue_id in letters.kept}
    expect(f"the limits {what}", seen.limits, limits)
    known = bool(all_of_them) or letters.ends is not None
    expect(f"counts {what} are there", bool(seen.counts), known)
    if known:
        wanted = (letters.last, letters.bytes, letters.fallen, letters.dropped)
        expect(f"the counts {what}", _numbers(seen.counts), wanted)
        expect(f"the end {what}", ends["dead"], letters.ends)
    for part in ("order", "about", "jobs", "limits"):
        expect(f"the end of the {part} {what}", ends.get(f"dead:{part}"), None)
    bulk = letters.bulk
    expect(f"a bulk {what}", seen.bulk, bulk is not None)
    if bulk is not None:
        expect(f"the end of the bulk {what}", ends["dead:bulk"], bulk.ends)


def _limits(letters: Letters, queue_id: str) -> bytes:
    """How many a queue has, and its limits at the last death."""
    interval, burst, concurrency, group = letters.kept[queue_id]
    text = str(interval) if isinstance(interval, int) else f"{float(interval):.3f}"
    count = sum(name == queue_id for name, _ in letters.all)
    return f"{count} {text} {burst or 0} {concurrency or 0} {group or '-'}".encode()


def _numbers(counts: Fields) -> tuple[int, ...]:
    names = ("last", "bytes", "fallen", "dropped")
    expect("the names of counts", set(counts) <= set(names))
    return tuple(int(counts.get(name, b"0")) for name in names)


def _fields(reply: Iterable[bytes]) -> Fields:
    flat = iter(reply)
    return {name.decode(): value for name, value in zip(flat, flat, strict=True)}
