"""Two models on the same rows: the difference of their metric, with a paired bootstrap interval."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.config import UseCase
from core.metrics import METRICS, Predictions


@dataclass(frozen=True)
class Comparison:
    """The metric of both, and by how much the challenger is better: above 0 is better, whatever the metric's direction."""

    challenger: float
    rival: float
    difference: float
    low: float
    high: float


def compare(usecase: UseCase, challenger: Predictions, rival: Predictions, units: NDArray[Any] | None = None) -> Comparison:
    """Compare by resampling rows: every resample is scored for both, so that what makes a row hard cancels out.

    Sources: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile interval); Davison and Hinkley, Bootstrap
    Methods and their Application, 1997, section 3.8 (resampling of groups).

    Args:
        usecase: The use case.
        challenger: Its answers.
        rival: The other's, to the same rows.
        units: The same value for rows that depend on each other, such as those of a customer: they are drawn together. None: each row alone.
    """
    metric = METRICS[usecase.metric]
    first, second = metric.prepare(challenger), metric.prepare(rival)
    sign = 1 if metric.greater_is_better else -1
    count = len(challenger.truth)
    random = np.random.default_rng(usecase.train.seed)
    differences = np.empty(usecase.evaluate.bootstrap)
    codes = None if units is None else np.unique(units, return_inverse=True)[1]
    drawn = count if codes is None else int(codes.max()) + 1
    for index in range(len(differences)):
        weights = np.bincount(random.integers(drawn, size=drawn), minlength=drawn).astype(np.float64)
        weights = weights if codes is None else weights[codes]
        differences[index] = sign * (first(weights) - second(weights))
    tail = (1 - usecase.evaluate.confidence) / 2
    usable = differences[np.isfinite(differences)]  # a resample of one class has no ROC
    low, high = (float(np.quantile(usable, place)) for place in (tail, 1 - tail)) if len(usable) else (-np.inf, np.inf)
    ones = np.ones(count)
    own, other = first(ones), second(ones)
    return Comparison(own, other, sign * (own - other) + 0.0, low + 0.0, high + 0.0)  # no negative zero


def dummy(usecase: UseCase, learnt: NDArray[Any], challenger: Predictions) -> Predictions:
    """Answer every row with what the training rows have in the mean: the classes' shares, or the median or mean value.

    Args:
        usecase: The use case.
        learnt: The training rows' target.
        challenger: Whose rows to answer.
    """
    count = len(challenger.truth)
    if challenger.probabilities is None:
        centre = np.median(learnt) if usecase.metric == "mae" else learnt.mean()
        return Predictions(challenger.truth, np.full(count, float(centre)))
    shares = np.array([(learnt == label).mean() for label in challenger.classes])
    return Predictions(challenger.truth, np.full(count, shares.argmax()), np.tile(shares, (count, 1)))
