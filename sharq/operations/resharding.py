"""How many shards a type has: asked, and changed.

A change closes the present layout, shard by shard, as long as nothing is there, and the other one.
When the replicas have that, it notes the new number and opens the other layout. So after a
promotion that has lost the number, those who go by it meet closed shards, and read it again. Who
has begun a change may end at any point: whoever meets the type ten seconds later takes it back, or
opens what it has left closed; see `sharq.operations.spreading`.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sharq.errors import NotEmpty, StoreError, StoreOutcomeUnknown, StoreUnavailable
from sharq.identifiers import check_identifier, check_integer
from sharq.operations.call import Brief, Flow
from sharq.operations.layouts import Layout, read_layout
from sharq.operations.replicating import Unconfirmed, replicas, replicated
from sharq.operations.sharding import MAX_SHARDS, layout
from sharq.operations.spreading import Spreading, being_changed, unfailed

_PAGE = 1000
_PAGES = 100
"""Pages of keys that are looked through until it is told that the change goes on."""


_log = logging.getLogger(__name__)


class Change(NamedTuple):
    """A change under way: its layout, and the text by which the store knows it."""

    layout: Layout
    text: str


class Resharding:
    """The flows of numbers of shards; `register` enters a type in the registry, if it is due."""

    def __init__(self, spreading: Spreading, register: Callable[[str], Flow[None]]) -> None:
        self._spreading = spreading
        self._operations = spreading.operations
        self._register = register

    def show(self, queue_type: Any) -> Flow[int]:
        """How many shards a type has; 1 is unsharded."""
        queue_type = check_identifier("queue_type", queue_type)
        found = yield from self._spreading.look(queue_type)
        self._spreading.shards.learn(queue_type, found.shards)
        return found.shards

    def set(self, queue_type: Any, count: Any) -> Flow[int]:
        """Give a type so many shards; returns how many it had.

        Raises `NotEmpty` if it has jobs, leases, limits, pauses, dead letters or queues that
        remember their rate, and `StoreUnavailable` while it is being changed.
        """
        queue_type = check_identifier("queue_type", queue_type)
        check_integer("shards", count, 1, MAX_SHARDS)
        found = yield from self._spreading.look(queue_type)
        self._spreading.shards.learn(queue_type, found.shards)
        if found.shards != count:
            # A sweep looks at all shards, whatever they get.
            yield from self._register(queue_type)
            yield from self._change(queue_type, found, count)
        return found.shards

    def set_first(self, queue_type: str, count: int) -> Flow[None]:
        """The same for a type that was never spread; of any other a warning is logged."""
        known = yield self._operations.known_shards(queue_type)
        if not known.text:
            if count > 1:
                yield from self._change(queue_type, Layout(), count)
            return
        found = read_layout(known.text)
        self._spreading.shards.learn(queue_type, found.shards)
        if found.wanted is None and found.shards != count:
            _log.warning(
                "%s has %d shards in the store, which holds, and not %d as the settings want it:"
                " change the settings, or the store's number by `sharq shards`",
                *(queue_type, found.shards, count),
            )

    def recall(self, queue_type: str) -> Flow[None]:
        """Tell the store again how a type is spread, if it was emptied meanwhile.

        Who waits for it has a job for some shard, which may lie at another node.
        """
        (known,) = yield Brief([self._operations.known_shards(queue_type)])
        if not isinstance(known, StoreError) and not known.text:
            shards = len(self._spreading.shards.homes(queue_type))
            yield from self._change(queue_type, Layout(), shards, in_use=True)

    def _change(
        self, queue_type: str, found: Layout, count: int, in_use: bool = False
    ) -> Flow[None]:
        """With `in_use` the other layout stays open, since some know of it already."""
        layouts = [
            layout(self._operations.prefix, queue_type, each) for each in (found.shards, count)
        ]
        names = list(dict.fromkeys([queue_type, *layouts[0], *layouts[1]]))
        # Before anything is written: a replica that leaves meanwhile does not confirm it.
        followers = yield from replicas(self._operations, names)
        change = yield from self._begin(queue_type, found, count)
        try:
            there = yield from self._close(queue_type, change)
            if not there:
                change, there = yield from self._look_for_rates(queue_type, change)
            if not there:
                names = [*layouts[0], *(() if in_use else layouts[1])]
                change = yield from self._close_both(queue_type, change, names, followers)
        except StoreError as error:
            yield from self._give_up(queue_type, change)
            if isinstance(error, Unconfirmed):
                raise _unconfirmed(queue_type) from error
            raise
        if there:
            yield from self._give_up(queue_type, change)
            raise NotEmpty(f"`{queue_type}` has {', '.join(there)}.")
        changed = change.layout.changed
        noting = self._operations.note_shards(queue_type, change.text, changed)
        try:
            known = yield from replicated(
                self._operations, queue_type, noting, followers[queue_type]
            )
        except Unconfirmed as error:
            raise StoreOutcomeUnknown from error
        if known.text != changed:
            raise being_changed(queue_type)
        self._spreading.shards.learn(queue_type, count)
        yield from self._spreading.open_all(queue_type, count, change.layout.generation)

    def _begin(self, queue_type: str, found: Layout, count: int) -> Flow[Change]:
        word = secrets.token_hex(8)
        # A type that was never spread has no text.
        former = found.stable if found.generation else ""
        begun = yield self._operations.note_shards(
            queue_type, former, found.beginning(count, word), True
        )
        now = read_layout(begun.text)
        if now.word != word:
            raise being_changed(queue_type)
        return Change(now, begun.text)

    def _close(self, queue_type: str, change: Change) -> Flow[list[str]]:
        """Close all shards; what was there, in words."""
        names = self._names(queue_type, change)
        calls = [self._operations.close_shard(name, change.layout.generation) for name in names]
        answers = yield [*calls, self._operations.pausing(queue_type)]
        *found, pausing = unfailed(answers)
        there = dict.fromkeys(what for each in found for what in each)
        if pausing is not None:
            there["limits or pauses"] = None
        return list(there)

    def _look_for_rates(self, queue_type: str, change: Change) -> Flow[tuple[Change, list[str]]]:
        """Whether queues without jobs remember a rate, or an interval of the API."""
        count, left = 0, 0
        at = dict.fromkeys(self._names(queue_type, change), "0")
        pages = 0
        while at:
            answers = yield [
                self._operations.rate_states(name, cursor, _PAGE) for name, cursor in at.items()
            ]
            pages += len(answers)
            for name, page in zip(list(at), unfailed(answers), strict=True):
                count += page.found
                left = max(left, page.left or 0)
                at[name] = page.cursor
                if page.cursor == "0":
                    del at[name]
            if pages >= _PAGES and at:
                pages = 0
                change = yield from self._go_on(queue_type, change)
        if not count:
            return change, []
        queues = f"{count} queue{'' if count == 1 else 's'} without jobs"
        return change, [f"{queues} whose rate is kept{f' for {left} ms' if left else ''}"]

    def _close_both(
        self, queue_type: str, change: Change, names: list[str], followers: Mapping[str, int]
    ) -> Flow[Change]:
        """Close the other layout, too, where nothing is there, and have replicas know all of it.

        Raises `Unconfirmed`.
        """
        generation = change.layout.generation
        unfailed((yield [self._operations.close_shard(name, generation) for name in names]))
        for name in names:
            if followers[name]:
                closing = self._operations.close_shard(name, generation)
                yield from replicated(self._operations, name, closing, followers[name])
        if followers[queue_type]:
            change = yield from self._go_on(queue_type, change, followers[queue_type])
        return change

    def _go_on(self, queue_type: str, change: Change, replicas: int = 0) -> Flow[Change]:
        going_on = change.layout.going_on
        noting = self._operations.note_shards(queue_type, change.text, going_on, True)
        known = yield from replicated(self._operations, queue_type, noting, replicas)
        now = read_layout(known.text)
        if now.word != change.layout.word:
            raise being_changed(queue_type)
        return Change(now, known.text)

    def _give_up(self, queue_type: str, change: Change) -> Flow[None]:
        try:
            yield from self._spreading.take_back(queue_type, change.text, change.layout)
        except StoreError:
            # Who meets it next takes it back.
            return

    def _names(self, queue_type: str, change: Change) -> Sequence[str]:
        return layout(self._operations.prefix, queue_type, change.layout.shards)


def _unconfirmed(queue_type: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"Replicas have not confirmed in time that the number of shards of `{queue_type}` changes: "
        "it does not."
    )
