"""What a model is asked, and how its answers are counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.linear_model import LogisticRegression, Ridge

from core.errors import UserError
from core.metrics import score
from core.predict import predict
from tests.unit import small

ROWS = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]})
GRAPES = np.array(["barbera", "barolo", "grignolino"])[[0, 0, 1, 1, 2, 2]]


def test_classes_become_indices_into_the_models_classes() -> None:
    model = LogisticRegression(C=100).fit(ROWS, GRAPES)

    answers = predict(model, ROWS, GRAPES, small.usecase("multiclass"))

    assert answers.truth.tolist() == [0, 0, 1, 1, 2, 2]
    assert model.classes_[answers.labels].tolist() == model.predict(ROWS).tolist()
    assert answers.probabilities is not None
    assert answers.probabilities.tolist() == model.predict_proba(ROWS).tolist()


@pytest.mark.parametrize(
    ("positive", "truth"),
    [
        pytest.param(None, np.array([False, False, True, True, True, False]), id="booleans"),
        pytest.param(7, np.array([3, 3, 7, 7, 7, 3]), id="numbers"),
        pytest.param("bad", np.array(["good", "good", "bad", "bad", "bad", "good"]), id="texts, the positive one first in order"),
    ],
)
def test_the_positive_class_is_the_last_of_two(positive: Any, truth: NDArray[Any]) -> None:
    model = LogisticRegression().fit(ROWS, truth)

    answers = predict(model, ROWS, truth, small.usecase(positive=positive))

    assert answers.truth.tolist() == [0, 0, 1, 1, 1, 0]
    assert [answers.classes[label] for label in answers.labels] == model.predict(ROWS).tolist()
    assert answers.probabilities is not None
    last = model.classes_.tolist().index(answers.classes[1])
    assert answers.probabilities[:, 1].tolist() == model.predict_proba(ROWS)[:, last].tolist()


@pytest.mark.parametrize("positive", ["bad", "good"])
def test_metrics_are_scikit_learns_with_pos_label(positive: str) -> None:
    random = np.random.default_rng(0)
    rows = pd.DataFrame({"x": random.normal(size=300)})
    truth = np.where(rows["x"] + random.normal(size=300) > 0.8, "bad", "good")
    model = LogisticRegression().fit(rows, truth)
    scores = model.predict_proba(rows)[:, model.classes_.tolist().index(positive)]

    answers = predict(model, rows, truth, small.usecase(positive=positive))

    expected = {
        "f1": metrics.f1_score(truth, model.predict(rows), pos_label=positive),
        "average_precision": metrics.average_precision_score(truth, scores, pos_label=positive),
        "brier": metrics.brier_score_loss(truth, scores, pos_label=positive),
        "roc_auc": metrics.roc_auc_score(truth == positive, scores),
        "log_loss": metrics.log_loss(truth, model.predict_proba(rows)),
        "accuracy": metrics.accuracy_score(truth, model.predict(rows)),
    }
    assert {name: score(name, answers) for name in expected} == pytest.approx(expected, abs=1e-12)


def test_a_regressors_answers_are_numbers_without_probabilities() -> None:
    truth = np.array([1, 2, 3, 4, 5, 6])
    model = Ridge().fit(ROWS, truth)

    answers = predict(model, ROWS, truth, small.usecase("regression"))

    assert answers.probabilities is None
    assert answers.labels.dtype == np.float64
    assert answers.truth.tolist() == truth.tolist()


def test_a_class_that_the_model_never_saw_is_named() -> None:
    model = LogisticRegression().fit(ROWS[:4], GRAPES[:4])

    with pytest.raises(UserError) as refused:
        predict(model, ROWS, GRAPES, small.usecase("multiclass"))

    assert str(refused.value).startswith("the model knows the classes barbera, barolo, not grignolino: train on rows that have it")
