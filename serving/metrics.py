"""What the server counts, for Prometheus. A request costs a few plain additions; the rest is done when somebody asks."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.bundle import Golden, Manifest
from core.engines import Answers

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
        self.positive = -1  # place of the class whose probability is counted
        self.values = Histogram(TENTHS)
        self.cut_off = 0

    def expect(self, manifest: Manifest, golden: Golden) -> None:
        """Choose the bounds of what is predicted: tenths of a probability, or those that part a regression's golden rows into ten."""
        self.is_regression = manifest.task == "regression"
        if manifest.positive is not None:
            self.positive = (manifest.classes or ()).index(manifest.positive)
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
        """Count a call of the engine and what it answered: labels of a classifier, a regression's numbers.

        Of the probabilities those of the positive class are counted, or of the last class where there is none.
        """
        self.batch_requests.observe(requests)
        self.batch_rows.observe(rows)
        labels, proba = answers.get("predict"), answers.get("predict_proba")
        if proba is not None:
            self.values.observe_all(proba[:, self.positive])
        if labels is not None and self.is_regression:
            self.values.observe_all(labels)
        elif labels is not None:
            self.labels.update(labels.tolist())


OUTCOMES = {200: "ok", 500: "error", 503: "overloaded"}
