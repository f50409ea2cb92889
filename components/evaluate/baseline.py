"""Simple rivals: the dummy, and a column that the config names as baseline, such as the last known value."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.evaluate.compare import dummy
from components.evaluate.rows import JudgedRows
from core.classes import listed, matching
from core.config import UseCase
from core.errors import UserError
from core.examples import column, target
from core.metrics import METRICS, Predictions, score

DUMMY = "a dummy"


class Rival(NamedTuple):
    """Somebody's answers to the judged rows, and every metric of them."""

    name: str
    answers: Predictions
    values: dict[str, float]


def measured(usecase: UseCase, name: str, answers: Predictions) -> Rival:
    """Measure answers by every metric that fits the task."""
    return Rival(name, answers, {key: score(key, answers) for key, metric in METRICS.items() if usecase.task in metric.tasks})


def simple_rivals(usecase: UseCase, table: str, judged: JudgedRows, answers: Predictions) -> list[Rival]:
    """Return the dummy and, if the config names one, the baseline.

    Args:
        usecase: The use case.
        table: The table that transform made.
        judged: Which test rows count.
        answers: The challenger's, to those rows.

    Raises:
        UserError: The baseline holds what is no prediction.
    """
    guess = dummy(usecase, target(table, usecase, "train"), answers)
    name = usecase.evaluate.baseline
    if name is None:
        return [measured(usecase, DUMMY, guess)]
    values = column(table, "test", name)[judged.kept]
    return [measured(usecase, DUMMY, guess), measured(usecase, f"the baseline {name}", baseline(usecase, values, guess))]


def best(usecase: UseCase, rivals: list[Rival]) -> Rival:
    """Return the rival that is the best by the use case's metric."""
    sign = 1 if usecase.greater_is_better else -1
    return max(rivals, key=lambda item: sign * item.values[usecase.metric] if np.isfinite(item.values[usecase.metric]) else -np.inf)


def baseline(usecase: UseCase, values: NDArray[Any], guess: Predictions) -> Predictions:
    """Take a column's values as predictions; a row without a value gets the dummy's.

    Args:
        usecase: The use case.
        values: Numbers of a regression. Else classes or, of a binary target, probabilities of the positive class. None and NaN are missing.
        guess: What the dummy answers to the same rows.

    Raises:
        UserError: A value is none of these.
    """
    known = np.array([value is not None and value == value for value in values.tolist()], dtype=bool)
    if guess.probabilities is None:
        labels = guess.labels.astype(np.float64)
        labels[known] = values[known].astype(np.float64)
        if not np.isfinite(labels).all():
            raise UserError(f"evaluate.baseline {usecase.evaluate.baseline} holds an infinite number: make it null in features()")
        return guess._replace(labels=labels)
    probabilities = guess.probabilities.copy()
    probabilities[known] = _probabilities(usecase, values[known], guess.classes)
    return guess._replace(labels=np.where(known, probabilities.argmax(axis=1), guess.labels), probabilities=probabilities)


def _probabilities(usecase: UseCase, values: NDArray[Any], classes: tuple[Any, ...]) -> NDArray[np.float64]:
    """Return a class as certain, a number as the probability of the positive class."""
    distinct, places = np.unique(values, return_inverse=True)
    named = [matching(value, classes) for value in distinct.tolist()]
    if None not in named:
        return np.eye(len(classes))[[classes.index(label) for label in named]][places]
    wrong = distinct.tolist()[named.index(None)]
    if usecase.task == "binary" and not isinstance(wrong, str):
        numbers = values.astype(np.float64)
        outside = numbers[~((numbers >= 0) & (numbers <= 1))]
        if not len(outside):
            return np.column_stack([1 - numbers, numbers])
        wrong = outside[0]
    cure = f", or the probability of {classes[-1]}, from 0 to 1" if usecase.task == "binary" else ""
    raise UserError(f"evaluate.baseline {usecase.evaluate.baseline} holds {wrong}: it has to be a class, {listed(classes)}{cure}")
