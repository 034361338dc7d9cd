"""What is answered about dead letters, and what runs over many of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from sharq_server.api.replies import Reply, begun, error_fields, failure, told

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sharq import results


def _letter(letter: results.DeadLetter) -> dict[str, Any]:
    return {
        "queue_id": letter.queue_id,
        "job_id": letter.job_id,
        "payload": msgspec.Raw(letter.payload),
        "reason": letter.reason,
        "attempts": letter.attempts,
        "first_failed_at": letter.first_failed_at,
        "died_at": letter.died_at,
        "error": error_fields(letter.error),
        "worker": letter.worker,
        "priority": letter.priority,
        "cost": letter.cost,
        "requeue_limit": letter.requeue_limit,
        "interval": letter.interval,
        "burst": letter.burst,
        "concurrency": letter.concurrency,
        "group": letter.group,
    }


def dead_letter(letter: results.DeadLetter) -> Reply:
    return told(_letter(letter))


def dead_page(page: results.DeadPage) -> Reply:
    letters = [_letter(letter) for letter in page.letters]
    return told({"jobs": letters, "cursor": page.cursor})


def dead_changed(outcomes: Iterable[results.Ended]) -> Reply:
    """The outcome of each of the dead letters that were named, in order."""
    words = [each.outcome for each in outcomes]
    return told({"results": words})


def bulk_begun(bulk_id: str) -> Reply:
    return begun({"id": bulk_id})


def bulk_running(bulk_id: str) -> Reply:
    """There is a bulk already, under this id."""
    return failure("bulk_running", "A bulk of this type is running.", id=bulk_id)


def bulk_progress(bulk: results.DeadBulk | None) -> Reply:
    return told({"bulk": None if bulk is None else _bulk(bulk)})


def _bulk(bulk: results.DeadBulk) -> dict[str, Any]:
    given = {name: value for name, value in bulk.filter._asdict().items() if value is not None}
    return {
        "id": bulk.id,
        "kind": bulk.kind,
        "filter": given or None,
        "state": bulk.state,
        "started": bulk.started,
        "moved": bulk.moved,
        "left": bulk.left,
        "conflicts": bulk.conflicts,
        "limit": bulk.limit,
    }
