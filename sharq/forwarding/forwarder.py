"""The handler of `sharq forward`: hands each job to an endpoint."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from sharq.forwarding.answers import NoAnswer
from sharq.forwarding.endpoint import Header
from sharq.forwarding.exchange import Exchanges
from sharq.forwarding.signing import signature_headers
from sharq.forwarding.verdicts import Rules, judge
from sharq.worker.job import Failed, LeasedJob

_PROGRAM: Final = f"SharQ/{version('sharq')}"


class Forwarder:
    """A handler that posts the payload of a job and ends the job as the answer says, by `rules`.

    `own` are headers to send with each, `keys` those that sign it (none: it is not signed).
    """

    def __init__(
        self,
        exchanges: Exchanges,
        rules: Rules,
        own: Sequence[Header] = (),
        keys: Sequence[bytes] = (),
    ) -> None:
        self._exchanges = exchanges
        self._own = own
        self._keys = keys
        self._rules = rules

    async def __call__(self, job: LeasedJob) -> None:
        """Post a job. Raises what its worker has to do with it, unless it is done."""
        body = job.payload_text
        headers = [
            *headers_of(job),
            *signature_headers(self._keys, job.lease, int(time.time()), body),
            *self._own,
        ]
        try:
            answer = await self._exchanges.post(headers, body)
        except NoAnswer as lacking:
            raise Failed(lacking.error) from None
        judge(answer, self._rules, time.time())


def headers_of(job: LeasedJob) -> list[Header]:
    """What the headers of a request tell of its job."""
    return [
        ("Content-Type", "application/json"),
        ("User-Agent", _PROGRAM),
        ("Sharq-Type", job.queue_type),
        ("Sharq-Queue", job.queue_id),
        ("Sharq-Job", job.job_id),
        ("Sharq-Attempt", str(job.attempt)),
        ("Sharq-Requeues-Remaining", str(job.requeues_remaining)),
        ("Sharq-Lease", job.lease),
    ]
