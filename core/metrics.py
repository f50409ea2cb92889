"""Metrics as functions of row weights, so that a bootstrap replicate costs one pass and never a sort.

Every metric is prepared once for fixed answers and predictions, and then called with one weight a row: all ones give the
metric itself, the counts of a resample give a bootstrap replicate. The values are those of `sklearn.metrics` with `sample_weight`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Weighted = Callable[[Floats], float]


class Predictions(NamedTuple):
    """What a model answered, against what was true.

    Attributes:
        truth: Classes as indices into `classes`, or values; shape [n].
        labels: The predicted of the same kind; shape [n].
        probabilities: One column a class; shape [n, classes]; None for a regressor.
        classes: What the indices mean; of a binary target the positive class is the last.
    """

    truth: NDArray[Any]
    labels: NDArray[Any]
    probabilities: Floats | None = None
    classes: tuple[Any, ...] = ()


class Metric(NamedTuple):
    """A metric and what it is good for."""

    prepare: Callable[[Predictions], Weighted]
    greater_is_better: bool
    tasks: tuple[str, ...]
    title: str
    of_positive: bool = False  # of two classes, the value is of the positive one: the other has another value


def score(metric: str, predictions: Predictions) -> float:
    """Return the metric of all rows, each counted once."""
    return METRICS[metric].prepare(predictions)(np.ones(len(predictions.truth)))


def _mean(losses: Floats) -> Weighted:
    return lambda weights: float(weights @ losses / weights.sum())


def _accuracy(given: Predictions) -> Weighted:
    return _mean((given.truth == given.labels).astype(np.float64))


def _log_loss(given: Predictions) -> Weighted:
    assert given.probabilities is not None  # noqa: S101
    chosen = given.probabilities[np.arange(len(given.truth)), given.truth]
    return _mean(-np.log(np.clip(chosen, np.finfo(np.float64).eps, 1)))


def _brier(given: Predictions) -> Weighted:
    assert given.probabilities is not None  # noqa: S101
    return _mean((given.probabilities[:, 1] - given.truth) ** 2)


def _f1(given: Predictions) -> Weighted:
    """Unweighted mean of the classes' F1; of a binary target that of the positive class."""
    assert given.probabilities is not None  # noqa: S101
    count = given.probabilities.shape[1]
    cells = given.truth * count + given.labels

    def weighted(weights: Floats) -> float:
        confusion = np.bincount(cells, weights, minlength=count * count).reshape(count, count)
        both = confusion.sum(0) + confusion.sum(1)
        f1 = np.divide(2 * np.diag(confusion), both, out=np.zeros(count), where=both > 0)
        return float(f1[1] if count == 2 else f1[both > 0].mean())

    return weighted


def _ranked(truth: NDArray[Any], scores: Floats) -> Callable[[Floats], tuple[Floats, Floats]]:
    """Prepare the cumulated weights of positive and negative rows, best score first, one entry a distinct score."""
    order = np.argsort(-scores, kind="stable")
    positive = truth[order].astype(np.float64)
    ends = np.r_[np.flatnonzero(np.diff(scores[order])), len(order) - 1]

    def weighted(weights: Floats) -> tuple[Floats, Floats]:
        sorted_weights = weights[order]
        hits = np.cumsum(sorted_weights * positive)[ends]
        return hits, np.cumsum(sorted_weights)[ends] - hits

    return weighted


def _area(truth: NDArray[Any], scores: Floats) -> Weighted:
    ranked = _ranked(truth, scores)

    def weighted(weights: Floats) -> float:
        hits, misses = ranked(weights)
        if not hits[-1] or not misses[-1]:
            return float("nan")
        return float(np.trapezoid(np.r_[0, hits], np.r_[0, misses]) / (hits[-1] * misses[-1]))

    return weighted


def _roc_auc(given: Predictions) -> Weighted:
    """Area under the ROC curve; for more classes the mean of one against the rest."""
    assert given.probabilities is not None  # noqa: S101
    count = given.probabilities.shape[1]
    areas = [_area(given.truth == index, given.probabilities[:, index]) for index in ((1,) if count == 2 else range(count))]
    return lambda weights: float(np.mean([area(weights) for area in areas]))


def _average_precision(given: Predictions) -> Weighted:
    assert given.probabilities is not None  # noqa: S101
    ranked = _ranked(given.truth == 1, given.probabilities[:, 1])

    def weighted(weights: Floats) -> float:
        hits, misses = ranked(weights)
        if not hits[-1]:
            return float("nan")
        total = hits + misses
        precision = np.divide(hits, total, out=np.zeros_like(hits), where=total > 0)
        return float(np.diff(hits, prepend=0) @ precision / hits[-1])

    return weighted


def _mae(given: Predictions) -> Weighted:
    return _mean(np.abs(given.truth - given.labels))


def _rmse(given: Predictions) -> Weighted:
    squared = _mean((given.truth - given.labels) ** 2)
    return lambda weights: float(np.sqrt(squared(weights)))


def _r2(given: Predictions) -> Weighted:
    def weighted(weights: Floats) -> float:
        centre = weights @ given.truth / weights.sum()
        return float(1 - weights @ (given.truth - given.labels) ** 2 / (weights @ (given.truth - centre) ** 2))

    return weighted


METRICS = {
    "roc_auc": Metric(_roc_auc, True, ("binary", "multiclass"), "ROC AUC"),
    "average_precision": Metric(_average_precision, True, ("binary",), "average precision", of_positive=True),
    "accuracy": Metric(_accuracy, True, ("binary", "multiclass"), "accuracy"),
    "f1": Metric(_f1, True, ("binary", "multiclass"), "F1", of_positive=True),
    "log_loss": Metric(_log_loss, False, ("binary", "multiclass"), "log loss"),
    "brier": Metric(_brier, False, ("binary",), "Brier score"),
    "rmse": Metric(_rmse, False, ("regression",), "RMSE"),
    "mae": Metric(_mae, False, ("regression",), "MAE"),
    "r2": Metric(_r2, True, ("regression",), "R²"),
}
