"""GET /metrics: what Prometheus collects. Counters are those of all processes of a home, and go on when one is started again."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tenfold.core.errors import MissingExtra, Unavailable
from tenfold.core.times import FOREVER
from tenfold.serving.answer.answering import Answering
from tenfold.serving.answer.traffic import Traffic
from tenfold.serving.door.web import ADMIN, Scoped, guarded
from tenfold.serving.seen.counters import ASKED, DROPPED, EDGES, MINUTE, NO_NUMBER, RAISED
from tenfold.serving.seen.requests import BEYOND, SUM

if TYPE_CHECKING:
    from prometheus_client.core import Metric

BUCKETS = [f"{edge / 1e6:g}" for edge in EDGES]
"""Upper bounds in seconds, as Prometheus writes them."""
SETTLED = 10
"""Minutes after which counts of a minute do not change any more, so that they are read once."""
Totals = Counter[tuple[str, int, str]]
Downstream = Callable[[], Iterable[tuple[str, int | None, int]]]
"""Tells of each place that answers are sent to how many wait, None where that cannot be told, and how many it refused."""


class Metrics:
    """Collects what there is to say of models and requests, as it is now."""

    def __init__(self, models: Mapping[str, Answering], traffic: Traffic, downstream: Downstream) -> None:
        self._models, self._traffic, self._downstream = models, traffic, downstream
        self._settled: Totals = Counter()
        self._upto, self._lock = 0, threading.Lock()

    def collect(self) -> Iterator["Metric"]:
        """Yield every metric; what was counted in this process until now is in it, unless it cannot be stored now."""
        for counted in (self._traffic.requests, self._traffic.counters):
            with suppress(Unavailable):  # which is when one looks here
                counted.flush()
        yield from self._requests()
        yield from self._versions()
        yield from self._now()
        yield from self._sent()

    def _requests(self) -> Iterator["Metric"]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        count = CounterMetricFamily(
            "tenfold_requests", "Requests over HTTP by route and status.", labels=["route", "status"]
        )
        took = HistogramMetricFamily(
            "tenfold_request_seconds", "How long requests took.", labels=["route", "status"]
        )
        for (route, status), found in sorted(self._traffic.requests.all().items()):
            labels = [route, str(status)]
            buckets = _buckets(found, found.get(BEYOND, 0))
            count.add_metric(labels, buckets[-1][1])
            took.add_metric(labels, buckets, found.get(SUM, 0) / 1e6)
        yield from (count, took)

    def _versions(self) -> Iterator["Metric"]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        rows = CounterMetricFamily(
            "tenfold_rows",
            "Rows that versions were asked about: answered, raised, no_number, or dropped unasked.",
            labels=["model", "version", "outcome"],
        )
        took = HistogramMetricFamily(
            "tenfold_version_seconds", "How long versions took for a row.", labels=["model", "version"]
        )
        found: dict[tuple[str, int], dict[str, int]] = {}
        for (model, version, what), n in sorted(self._totals().items()):
            found.setdefault((model, version), {})[what] = n
        for (model, version), counts in found.items():
            labels = [model, str(version)]
            raised, blank = counts.get(RAISED, 0), counts.get(NO_NUMBER, 0)
            answered = counts.get(ASKED, 0) - raised - blank
            told = {
                "answered": answered,
                "raised": raised,
                "no_number": blank,
                "dropped": counts.get(DROPPED, 0),
            }
            for outcome, n in told.items():
                rows.add_metric([*labels, outcome], n)
            took.add_metric(labels, _buckets(counts, 0), None)
        yield from (rows, took)

    def _totals(self) -> Totals:
        """Return what was counted of versions; minutes that are over are read once."""
        with self._lock:
            upto = self._traffic.requests.clock.now() // MINUTE - SETTLED
            if upto < self._upto:  # the clock was ahead: minutes that were read get more
                self._settled, self._upto = Counter(), 0
            if upto > self._upto:
                self._settled.update(_by_version(self._traffic.counters.each(self._upto, upto)))
                self._upto = upto
            return self._settled + _by_version(self._traffic.counters.each(self._upto, FOREVER))

    def _now(self) -> Iterator["Metric"]:
        from prometheus_client.core import GaugeMetricFamily

        number = GaugeMetricFamily("tenfold_production", "The version in Production.", labels=["model"])
        share = GaugeMetricFamily(
            "tenfold_rollout_share",
            "The share of the entities that a candidate answers, 0 in shadow.",
            labels=["model", "candidate", "phase"],
        )
        lag = GaugeMetricFamily(
            "tenfold_lag_records", "Records of the log that states have not reached.", labels=["view"]
        )
        late = GaugeMetricFamily(
            "tenfold_lag_seconds", "Seconds since the first of them arrived.", labels=["view"]
        )
        queue = GaugeMetricFamily(
            "tenfold_waiting_rows", "Rows that wait in the process that was asked.", labels=["model"]
        )
        for name, answering in self._models.items():
            route = self._traffic.routes.look(name)
            if route.production is not None:
                number.add_metric([name], route.production)
            if route.candidate is not None:
                share.add_metric([name, str(route.candidate), str(route.phase)], route.share)
            queue.add_metric([name], answering.groups.rows)
        for view, behind in self._lags().items():
            lag.add_metric([view], behind.get("records", 0))
            late.add_metric([view], behind.get("seconds", 0))
        yield from (number, share, lag, late, queue)

    def _sent(self) -> Iterator["Metric"]:
        from prometheus_client.core import GaugeMetricFamily

        waiting = GaugeMetricFamily(
            "tenfold_downstream_waiting", "Answers that a place was not sent yet, at most.", labels=["to"]
        )
        refused = GaugeMetricFamily(
            "tenfold_downstream_refused",
            "Answers that a place refused and that were set aside.",
            labels=["to"],
        )
        with suppress(Unavailable):  # which is when one looks here
            for to, answers, set_aside in self._downstream():
                if answers is not None:
                    waiting.add_metric([to], answers)
                refused.add_metric([to], set_aside)
        yield from (waiting, refused)

    def _lags(self) -> dict[str, dict[str, float]]:
        """Return how far the states of each view lag; nothing of those that cannot be read now."""
        found: dict[str, dict[str, float]] = {}
        for answering in self._models.values():
            with suppress(Unavailable):
                lag = answering.service.lag()
                found |= {view.name: lag.get(view.name, {}) for view in answering.service.model.stored}
        return found


def _by_version(rows: Iterable[tuple[str, int, str, int]]) -> Totals:
    found: Totals = Counter()
    for model, version, what, n in rows:
        found[model, version, what] += n
    return found


def _buckets(counts: Mapping[str, int], beyond: int) -> list[tuple[str, int]]:
    """Return how many took at most each upper bound, and how many there were."""
    found, total = [], 0
    for edge, bound in zip(EDGES, BUCKETS, strict=True):
        total += counts.get(str(edge), 0)
        found.append((bound, total))
    return [*found, ("+Inf", total + beyond)]


def routes(models: Mapping[str, Answering], traffic: Traffic | None, downstream: Downstream) -> list[Scoped]:
    """Return the route that Prometheus asks; none where there are no models."""
    if traffic is None:
        return []
    metrics = Metrics(models, traffic, downstream)

    def told() -> tuple[bytes, str]:
        try:
            from prometheus_client import CollectorRegistry
            from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
        except ModuleNotFoundError as error:
            raise MissingExtra("GET /metrics", "metrics") from error
        registry: CollectorRegistry = CollectorRegistry()
        registry.register(metrics)
        return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4

    async def collect(_: Request) -> Response:
        content, kind = await run_in_threadpool(told)
        return Response(content, headers={"content-type": kind})

    return [Scoped("/metrics", guarded(collect), methods=["GET"], needs=ADMIN)]
