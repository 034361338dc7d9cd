"""The text that Prometheus reads, written by its own library. To be imported when it is needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final, NamedTuple

from prometheus_client import exposition as legacy
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.openmetrics import exposition as openmetrics

from sharq import __version__
from sharq_server.telemetry import catalogue, fields
from sharq_server.telemetry.catalogue import COUNTER, GAUGE, Metric
from sharq_server.telemetry.fields import OTHER, Counters, Histogram
from sharq_server.telemetry.formats import Form
from sharq_server.telemetry.store_state import StoreState
from sharq_server.telemetry.top_queues import TopQueues
from sharq_server.telemetry.totals import Sums, Totals

_OF_TYPES: Final = (
    (catalogue.JOBS_ENQUEUED, fields.ENQUEUED),
    (catalogue.JOBS_DISPATCHED, fields.DISPATCHED),
    (catalogue.JOBS_FINISHED, fields.FINISHED),
    (catalogue.JOBS_REQUEUED, fields.REQUEUED),
    (catalogue.JOBS_DEAD, fields.DEAD),
    (catalogue.ENQUEUES_REFUSED, fields.REFUSED),
    (catalogue.DISPATCH_DELAY, fields.DISPATCH_DELAY),
    (catalogue.LEASE_DURATION, fields.LEASE_DURATION),
    (catalogue.SUBSCRIBERS, fields.SUBSCRIBERS),
    (catalogue.CREDIT, fields.CREDIT),
)
_OF_ROUTES: Final = (
    (catalogue.HTTP_REQUESTS, fields.ANSWERED),
    (catalogue.HTTP_DURATION, fields.REQUEST_DURATION),
)
_OF_SCRIPTS: Final = ((catalogue.STORE_DURATION, fields.CALL_DURATION),)
_OF_PROCESSES: Final = (
    (catalogue.WAKEUPS, fields.WAKEUPS),
    (catalogue.CONNECTIONS, fields.CONNECTIONS),
    (catalogue.STORE_ERRORS, fields.STORE_ERRORS),
)


class Scrape(NamedTuple):
    """What is told: `totals` of the processes (None: nobody counts), the store's state by type,
    whether its nodes are `reached`, and the first queues of types (None: they are not wanted).
    """

    totals: Totals | None
    states: Mapping[str, StoreState]
    reached: Mapping[str, bool]
    tops: Mapping[str, TopQueues] | None = None


def written(scrape: Scrape, form: Form) -> bytes:
    """The text of a scrape."""
    collector: Any = _Collector(scrape)
    generate: Any = (openmetrics if form is Form.OPENMETRICS else legacy).generate_latest
    text: bytes = generate(collector)
    return text


class _Collector:
    """A registry of the client library, for one scrape."""

    def __init__(self, scrape: Scrape) -> None:
        self._scrape = scrape
        self._families = {
            metric: _family(metric) for metric in catalogue.METRICS if _is_told(metric, scrape)
        }

    def collect(self) -> Iterator[Any]:
        totals = self._scrape.totals
        if totals is not None:
            self._add_totals(totals)
        self._add_store()
        for name, tops in (self._scrape.tops or {}).items():
            self._add_queues(catalogue.QUEUE_JOBS, name, tops.waiting)
            self._add_queues(catalogue.QUEUE_OLDEST_READY, name, tops.ready)
        self._families[catalogue.BUILD_INFO].add_metric((__version__,), 1)
        yield from self._families.values()

    def _add_totals(self, totals: Totals) -> None:
        self._add_sums(_OF_TYPES, totals.types)
        self._add_sums(_OF_ROUTES, _without_unused(totals.routes))
        self._add_sums(_OF_SCRIPTS, _without_unused(totals.scripts))
        for metric, counters in _OF_PROCESSES:
            self._add(metric, (), totals.process, counters)
        if totals.swept_at:
            self._families[catalogue.SWEEP_LAST].add_metric((), totals.swept_at / 1000)

    def _add_sums(
        self, told: Iterable[tuple[Metric, int | Counters | Histogram]], sums: Sums
    ) -> None:
        for metric, what in told:
            for name, values in sums.items():
                self._add(metric, (name,), values, what)

    def _add(
        self,
        metric: Metric,
        labels: tuple[str, ...],
        values: Sequence[int],
        what: int | Counters | Histogram,
    ) -> None:
        family = self._families[metric]
        if isinstance(what, int):
            family.add_metric(labels, values[what])
        elif isinstance(what, Counters):
            for at, value in enumerate(what.values, what.at):
                # Most routes give few of the statuses.
                if values[at] or metric is not catalogue.HTTP_REQUESTS:
                    family.add_metric((*labels, value), values[at])
        else:
            counts = accumulate(values[what.at : what.sum_at])
            bounds = (*map(repr, what.bounds), "+Inf")
            buckets = [(bound, count) for bound, count in zip(bounds, counts, strict=True)]
            family.add_metric(labels, buckets, values[what.sum_at] / 1e9)

    def _add_queues(
        self, metric: Metric, queue_type: str, values: Mapping[str, int] | Mapping[str, float]
    ) -> None:
        for queue_id, value in values.items():
            self._families[metric].add_metric((queue_type, queue_id), value)

    def _add_store(self) -> None:
        for name, state in self._scrape.states.items():
            for metric, values in _told(state):
                for labels, value in values:
                    if value is not None:
                        self._families[metric].add_metric((name, *labels), value)
        for node, reached in self._scrape.reached.items():
            self._families[catalogue.STORE_UP].add_metric((node,), int(reached))


_Values = tuple[tuple[tuple[str, ...], float | None], ...]


def _told(state: StoreState) -> tuple[tuple[Metric, _Values], ...]:
    """The values of a type, each with its labels besides the name."""
    return (
        (
            catalogue.JOBS,
            (
                (("waiting",), state.waiting),
                (("delayed",), state.delayed),
                (("active",), state.active),
                (("dead",), state.dead),
            ),
        ),
        (catalogue.QUEUES, ((("ready",), state.ready), (("held",), state.held))),
        (catalogue.OLDEST_READY, (((), state.oldest_ready),)),
        (catalogue.EARLY_DISPATCHES, (((), state.early),)),
    )


_OF_STORE: Final = frozenset(
    (
        catalogue.JOBS,
        catalogue.QUEUES,
        catalogue.OLDEST_READY,
        catalogue.EARLY_DISPATCHES,
        catalogue.STORE_UP,
        catalogue.BUILD_INFO,
    )
)


def _is_told(metric: Metric, scrape: Scrape) -> bool:
    if metric in catalogue.OF_TOP_QUEUES:
        return scrape.tops is not None
    return scrape.totals is not None or metric in _OF_STORE


def _without_unused(sums: Sums) -> Sums:
    return {name: values for name, values in sums.items() if name != OTHER or any(values)}


def _family(metric: Metric) -> Any:
    if metric.kind == COUNTER:
        name = metric.name.removesuffix("_total")
        return CounterMetricFamily(name, metric.text, labels=metric.labels)
    kind = GaugeMetricFamily if metric.kind == GAUGE else HistogramMetricFamily
    return kind(metric.name, metric.text, labels=metric.labels)
