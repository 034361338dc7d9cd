"""What may be done with dead letters: looked at, retried and deleted, one by one and in bulk."""

from __future__ import annotations

from collections.abc import Sequence

from sharq import results
from sharq.results import (
    DeadBegun,
    DeadBulk,
    DeadFilter,
    DeadLetter,
    DeadPage,
    Ended,
    JobOptions,
    NewJob,
)
from tests.model.letters import CLAIM, LOOKS, Bulk, Letter, Member
from tests.model.model import Model
from tests.model.names import QueueName, expect
from tests.model.rates import Until

Turns = dict[QueueName, Until | None]
"""The turns of queues before a call."""


class BuryingModel(Model):
    """The model, with the operations on dead letters."""

    def page(self, queue_type: str, chosen: DeadFilter, pages: Sequence[DeadPage]) -> None:
        """All pages of a listing between which nothing has changed."""
        wanted = [letter.shown() for letter in self.letters[queue_type].newest_first(chosen)]
        expect("the dead letters", [letter for page in pages for letter in page.letters], wanted)

    def show(self, queue_type: str, member: Member, got: DeadLetter | None) -> None:
        letter = self.letters[queue_type].all.get(member)
        expect(f"the dead letter of {member}", got, letter and letter.shown())

    def retry(self, queue_type: str, members: Sequence[Member], got: Sequence[Ended]) -> None:
        stood = self._turns()
        with self.levels.freeing(self.at):
            for member, ended in zip(members, got, strict=True):
                outcome = self._retry_one(queue_type, member, stood)
                expect(f"the retry of {member}", ended.outcome, outcome)

    def delete(self, queue_type: str, members: Sequence[Member], got: Sequence[Ended]) -> None:
        letters = self.letters[queue_type]
        for member, ended in zip(members, got, strict=True):
            there = member in letters.all
            outcome = results.SUCCESS if there else results.NOT_FOUND
            expect(f"the deletion of {member}", ended.outcome, outcome)
            if there:
                letters.remove(member, self.now)

    def begin(
        self, queue_type: str, kind: str, chosen: DeadFilter, limit: int | None, got: DeadBegun
    ) -> None:
        letters = self.letters[queue_type]
        if letters.bulk is not None and letters.bulk.runs:
            expect("another bulk runs", got, DeadBegun(letters.bulk.id, False))
            return
        expect("a bulk begins", got.begun)
        until = letters.last
        if chosen.before is not None:
            until = min(until, chosen.before * 1000 - 1)
        letters.bulk = Bulk(got.id, kind, chosen, limit, self.now, until)

    def advance(self, queue_type: str, server: str, got: bool) -> None:
        """One step."""
        bulk = self.letters[queue_type].bulk
        if bulk is None or not bulk.runs:
            expect("no bulk runs", got, False)
            return
        if bulk.server not in ("", server) and bulk.claimed_till > self.now:
            expect("another server has the bulk", got, False)
            return
        bulk.server, bulk.claimed_till = server, self.now + CLAIM
        stood, wanted, found = self._turns(), bulk.most(), 0
        before = bulk.seen
        with self.levels.freeing(self.at):
            for letter in self._to_look_at(queue_type, bulk)[:LOOKS]:
                if found == wanted:
                    break
                bulk.seen = letter.score
                if letter.passes(bulk.filter):
                    found += 1
                    self._move(queue_type, bulk, letter, stood)
        left = self._to_look_at(queue_type, bulk)
        over = bulk.moved == bulk.limit or not left
        if not over:
            expect("there is more to do", got)
        elif got:
            # It sees in one more step that it was the last.
            expect("it goes on", bulk.seen > before and bulk.moved != bulk.limit)
        else:
            bulk.end("done", self.now)

    def _to_look_at(self, queue_type: str, bulk: Bulk) -> list[Letter]:
        letters = self.letters[queue_type].all.values()
        return [letter for letter in letters if bulk.seen < letter.score <= bulk.until]

    def _move(self, queue_type: str, bulk: Bulk, letter: Letter, stood: Turns) -> None:
        if bulk.kind == "delete":
            self.letters[queue_type].remove(letter.member, self.now)
        elif self._retry_one(queue_type, letter.member, stood) == results.CONFLICT:
            bulk.conflicts += 1
            return
        bulk.moved += 1

    def progress(self, queue_type: str, got: DeadBulk | None) -> None:
        bulk = self.letters[queue_type].bulk
        if bulk is None:
            expect("no bulk", got, None)
            return
        done = bulk.state == "done"
        left = 0 if done else len(self._to_look_at(queue_type, bulk))
        if bulk.limit is not None:
            left = min(left, bulk.limit - bulk.moved)
        wanted = DeadBulk(
            id=bulk.id,
            kind=bulk.kind,
            filter=bulk.filter,
            state=bulk.state,
            started=bulk.started,
            moved=bulk.moved,
            left=left,
            conflicts=bulk.conflicts,
            limit=bulk.limit,
        )
        expect("the bulk", got, wanted)

    def cancel_bulk(self, queue_type: str, got: bool) -> None:
        bulk = self.letters[queue_type].bulk
        runs = bulk is not None and bulk.runs
        expect("a bulk is cancelled", got, runs)
        if bulk is not None and runs:
            bulk.end("cancelled", self.now)

    def _turns(self) -> Turns:
        return {name: queue.turn for name, queue in self.queues.items()}

    def _retry_one(self, queue_type: str, member: Member, stood: Turns) -> str:
        letters = self.letters[queue_type]
        letter = letters.all.get(member)
        if letter is None:
            return results.NOT_FOUND
        name = QueueName(queue_type, letter.queue_id)
        queue = self.queues[name]
        if queue.find(letter.job_id) is not None:
            return results.CONFLICT
        limits = letters.kept[letter.queue_id]
        letters.remove(member, self.now)
        anew = not queue.has_interval(self.now)
        queue.age(self.now)
        queue.ends = None
        own = JobOptions(cost=letter.cost, priority=letter.priority)
        if anew:
            # The limits of its last death begin it. One that has a rate of its own is not changed.
            interval, burst, concurrency, group = limits
            kept = own._replace(burst=burst, concurrency=concurrency, group=group)
            queue.set_by_enqueue(kept)
            queue.change_interval(interval, self.at)
            queue.known = True
        job = NewJob(*name, letter.job_id, letter.payload, 0, letter.limit)
        self._add(queue, job, own)
        queue.turn = stood.get(name)
        queue.reschedule(self.now)
        return results.SUCCESS
