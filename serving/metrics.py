"""What the server counts, for Prometheus. A request costs a few plain additions; the rest is done when somebody asks."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from core.bundle import Golden, Manifest

if TYPE_CHECKING:
    from core.engines import Answers
    from serving.service import Service

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384, 65536)
FEW = 32  # values that are faster counted one by one
TENTHS = tuple(number / 10 for number in range(1, 10))


class Histogram:
    """Counts of values up to each bound."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = list(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def observe_all(self, values: NDArray[Any]) -> None:
        """Count many values."""
        if len(values) <= FEW:
            for value in values.tolist():
                self.observe(value)
            return
        places = np.searchsorted(self.bounds, values)
        self.counts = (np.bincount(places, minlength=len(self.counts)) + self.counts).tolist()
        self.sum += float(values.sum())

    def buckets(self) -> list[tuple[str, float]]:
        """Return the cumulative counts as Prometheus takes them."""
        total, found = 0, []
        for bound, count in zip([*self.bounds, float("inf")], self.counts, strict=True):
            total += count
            found.append(("+Inf" if bound == float("inf") else repr(float(bound)), float(total)))
        return found


class Metrics:
    """Everything that is counted; all of it on the event loop's thread."""

    def __init__(self) -> None:
        self.codes: Counter[tuple[str, int]] = Counter()
        self.rows: Counter[str] = Counter()
        self.seconds: dict[tuple[str, str], Histogram] = {}
        self.batch_requests, self.batch_rows = Histogram(COUNTS), Histogram(COUNTS)
        self.labels: Counter[str] = Counter()
        self.is_regression = False
        self.values = Histogram(TENTHS)
        self.cut_off = 0

    def expect(self, manifest: Manifest, golden: Golden) -> None:
        """Choose the bounds of what is predicted: tenths of a probability, or those that part a regression's golden rows into ten."""
        self.is_regression = manifest.task == "regression"
        if self.is_regression:
            self.values = Histogram(np.unique(np.quantile(np.array(golden.predict, dtype=np.float64), TENTHS)).tolist())

    def request(self, protocol: str, status: int, rows: int, seconds: float) -> None:
        """Count a request."""
        outcome = OUTCOMES.get(status, "client_error")
        self.codes[protocol, status] += 1
        self.rows[protocol] += rows
        try:
            self.seconds[protocol, outcome].observe(seconds)
        except KeyError:
            self.seconds[protocol, outcome] = Histogram(SECONDS)
            self.seconds[protocol, outcome].observe(seconds)

    def batch(self, requests: int, rows: int, answers: Answers) -> None:
        """Count a call of the engine and what it answered: labels of a classifier, how probable its last class is, a regression's numbers."""
        self.batch_requests.observe(requests)
        self.batch_rows.observe(rows)
        labels, proba = answers.get("predict"), answers.get("predict_proba")
        if proba is not None:
            self.values.observe_all(proba[:, -1])
        if labels is not None and self.is_regression:
            self.values.observe_all(labels)
        elif labels is not None:
            self.labels.update(labels.tolist())


OUTCOMES = {200: "ok", 500: "error", 503: "overloaded"}


def exposition(service: Service) -> bytes:
    """Write all that is counted in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(ServiceCollector(service))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class ServiceCollector(Collector):
    """Turns the counts of a service into metric families."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """Yield each family."""
        service, metrics = self._service, self._service.metrics
        requests = CounterMetricFamily("model_requests", "Requests answered.", labels=["protocol", "code"])
        for (protocol, code), count in metrics.codes.items():
            requests.add_metric([protocol, str(code)], count)
        rows = CounterMetricFamily("model_rows", "Rows of requests that were understood.", labels=["protocol"])
        for protocol, count in metrics.rows.items():
            rows.add_metric([protocol], count)
        seconds = HistogramMetricFamily("model_request_seconds", "From a request's headers to its answer.", labels=["protocol", "outcome"])
        for (protocol, outcome), histogram in metrics.seconds.items():
            seconds.add_metric([protocol, outcome], histogram.buckets(), histogram.sum)
        yield from (requests, rows, seconds)
        yield _histogram("model_batch_requests", "Requests that the engine answered in one call.", metrics.batch_requests)
        yield _histogram("model_batch_rows", "Rows that the engine answered in one call.", metrics.batch_rows)
        labels = CounterMetricFamily("model_predictions", "Rows by the class that was answered.", labels=["class"])
        for label, count in metrics.labels.items():
            labels.add_metric([str(label)], count)
        yield labels
        yield _histogram("model_prediction", "Probabilities of the last class, or the numbers that a regression answered.", metrics.values)
        batcher = service.batcher
        yield GaugeMetricFamily("model_queue_requests", "Requests that wait for the engine.", batcher.requests if batcher else 0)
        yield GaugeMetricFamily("model_queue_rows", "Rows that wait for the engine.", batcher.rows if batcher else 0)
        yield GaugeMetricFamily("model_body_bytes", "Bodies in memory.", service.bodies.bytes)
        yield CounterMetricFamily("model_slow_clients", "Connections cut off because their client was too slow.", metrics.cut_off)
        yield GaugeMetricFamily("model_ready", "Whether the version is proved and wants requests.", service.is_ready)
        yield InfoMetricFamily("model", "What serves.", service.description())
        yield from _prediction_log(service)


def _prediction_log(service: Service) -> Iterator[Metric]:
    log = service.log
    if log:
        rows = CounterMetricFamily("model_logged_rows", "Rows of the prediction log by what became of them.", labels=["outcome"])
        rows.add_metric(["written"], log.logged_rows)
        rows.add_metric(["dropped"], log.dropped_rows)
        yield rows
        yield GaugeMetricFamily("model_log_buffered_rows", "Rows of the prediction log that are not written yet.", log.buffered_rows)
        yield CounterMetricFamily("model_log_failed_uploads", "Objects of the prediction log that were tried again.", log.failed_uploads)


def _histogram(name: str, meaning: str, histogram: Histogram) -> Metric:
    return HistogramMetricFamily(name, meaning, buckets=histogram.buckets(), sum_value=histogram.sum)
