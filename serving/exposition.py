"""All that is counted, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.metrics import Histogram
from serving.service import Service


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
        yield _histogram(
            "model_prediction",
            "Probabilities of the positive class, of several of the last, or the numbers of a regression.",
            metrics.values,
        )
        batcher = service.batcher
        yield GaugeMetricFamily("model_queue_requests", "Requests that wait for the engine.", batcher.requests if batcher else 0)
        yield GaugeMetricFamily("model_queue_rows", "Rows that wait for the engine.", batcher.rows if batcher else 0)
        yield GaugeMetricFamily("model_body_bytes", "Bodies in memory.", service.bodies.bytes)
        yield GaugeMetricFamily("model_request_memory_bytes", "Memory that requests hold, by their weight.", service.budget.used)
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
