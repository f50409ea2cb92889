"""The metrics are scikit-learn's, with row weights, to the last digits."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as reference

from core.metrics import METRICS, Predictions, score

Reference = Callable[[Predictions, NDArray[Any]], float]
CLASSES = {"binary": 2, "multiclass": 4}


def _labels(count: int) -> list[int]:
    return list(range(count))


def _probabilities(given: Predictions) -> NDArray[np.float64]:
    assert given.probabilities is not None
    return given.probabilities


def _roc_auc(given: Predictions, weights: NDArray[Any]) -> float:
    scores = _probabilities(given)
    if scores.shape[1] == 2:
        return float(reference.roc_auc_score(given.truth, scores[:, 1], sample_weight=weights))
    rest = [reference.roc_auc_score(given.truth == index, scores[:, index], sample_weight=weights) for index in range(scores.shape[1])]
    return float(np.mean(rest))


def _f1(given: Predictions, weights: NDArray[Any]) -> float:
    average = "binary" if _probabilities(given).shape[1] == 2 else "macro"
    return float(reference.f1_score(given.truth, given.labels, average=average, sample_weight=weights, zero_division=0))


def _log_loss(given: Predictions, weights: NDArray[Any]) -> float:
    scores = _probabilities(given)
    return float(reference.log_loss(given.truth, scores, sample_weight=weights, labels=_labels(scores.shape[1])))


REFERENCES: dict[str, Reference] = {
    "roc_auc": _roc_auc,
    "average_precision": lambda g, w: float(reference.average_precision_score(g.truth, _probabilities(g)[:, 1], sample_weight=w)),
    "accuracy": lambda g, w: float(reference.accuracy_score(g.truth, g.labels, sample_weight=w)),
    "f1": _f1,
    "log_loss": _log_loss,
    "brier": lambda g, w: float(reference.brier_score_loss(g.truth, _probabilities(g)[:, 1], sample_weight=w)),
    "rmse": lambda g, w: float(reference.root_mean_squared_error(g.truth, g.labels, sample_weight=w)),
    "mae": lambda g, w: float(reference.mean_absolute_error(g.truth, g.labels, sample_weight=w)),
    "r2": lambda g, w: float(reference.r2_score(g.truth, g.labels, sample_weight=w)),
}
CASES = [pytest.param(name, task, id=f"{name}-{task}") for name, metric in METRICS.items() for task in metric.tasks]


def _answers(task: str, seed: int, rows: int, digits: int) -> Predictions:
    """Answers of a model that knows something; few digits make many ties. Every class is there."""
    random = np.random.default_rng(seed)
    if task == "regression":
        truth = random.normal(size=rows)
        return Predictions(truth, np.round(truth + random.normal(size=rows), digits))
    count = CLASSES[task]
    truth = np.r_[np.arange(count), random.integers(count, size=rows - count)]
    raw = np.round(random.random((rows, count)) + np.eye(count)[truth] * 0.5, digits) + 10.0**-digits
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    return Predictions(truth, probabilities.argmax(axis=1), probabilities)


@pytest.mark.parametrize(("name", "task"), CASES)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(5, 60), digits=st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_a_metric_is_scikit_learns_with_weights_and_ties(name: str, task: str, seed: int, rows: int, digits: int) -> None:
    answers = _answers(task, seed, rows, digits)
    weights = np.random.default_rng(seed).uniform(0.1, 5, rows)

    ours = METRICS[name].prepare(answers)(weights)

    assert ours == pytest.approx(REFERENCES[name](answers, weights), rel=1e-12, abs=1e-12)
    assert score(name, answers) == pytest.approx(REFERENCES[name](answers, np.ones(rows)), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("name", "task"), CASES)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_counts_as_weights_are_a_resample(name: str, task: str, seed: int) -> None:
    answers = _answers(task, seed, 40, 2)
    drawn = np.random.default_rng(seed).integers(40, size=40)
    chosen = None if answers.probabilities is None else answers.probabilities[drawn]
    resample = Predictions(answers.truth[drawn], answers.labels[drawn], chosen)
    if task != "regression" and len(np.unique(resample.truth)) < CLASSES[task]:
        return

    weighted = METRICS[name].prepare(answers)(np.bincount(drawn, minlength=40).astype(np.float64))

    assert weighted == pytest.approx(REFERENCES[name](resample, np.ones(40)), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if "binary" in metric.tasks])
def test_a_score_that_says_nothing_gives_scikit_learns_value(name: str) -> None:
    answers = Predictions(np.array([0, 1, 1, 0, 1]), np.zeros(5, dtype=int), np.full((5, 2), 0.5))

    ours = score(name, answers)

    assert ours == pytest.approx(REFERENCES[name](answers, np.ones(5)), abs=1e-12)


def test_f1_is_the_mean_over_the_classes_that_are_there() -> None:
    truth, labels = np.array([0, 1, 2, 2, 1]), np.array([0, 2, 2, 1, 1])

    ours = score("f1", Predictions(truth, labels, np.eye(4)[labels]))

    assert ours == pytest.approx(reference.f1_score(truth, labels, average="macro"), rel=1e-12)


def test_log_loss_of_a_sure_and_wrong_answer_is_finite_and_scikit_learns() -> None:
    answers = Predictions(np.array([0, 1]), np.array([1, 1]), np.array([[0.0, 1.0], [0.0, 1.0]]))

    ours = score("log_loss", answers)

    assert ours == pytest.approx(_log_loss(answers, np.ones(2)), rel=1e-12)


@pytest.mark.parametrize("name", ["roc_auc", "average_precision"])
def test_without_a_positive_row_there_is_no_curve(name: str) -> None:
    answers = Predictions(np.zeros(4, dtype=int), np.zeros(4, dtype=int), np.array([[0.4, 0.6]] * 4))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = score(name, answers)

    assert np.isnan(value)


@pytest.mark.parametrize(("name", "metric"), list(METRICS.items()))
def test_the_direction_is_that_of_a_perfect_answer(name: str, metric: Any) -> None:
    task = metric.tasks[0]
    truth = np.array([0, 1, 0, 1, 1]) if task == "binary" else np.array([1.0, 2.0, 5.0, 3.0, 2.5])
    perfect = Predictions(truth, truth, np.eye(2)[truth] if task == "binary" else None)
    worse = Predictions(truth, truth[::-1], np.eye(2)[truth[::-1]] if task == "binary" else None)

    better = score(name, perfect) > score(name, worse)

    assert better == metric.greater_is_better
