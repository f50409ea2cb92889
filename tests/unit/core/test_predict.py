"""What a model is asked, and how its answers are counted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from core.errors import UserError
from core.predict import predict

ROWS = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]})
GRAPES = np.array(["barbera", "barolo", "grignolino"])[[0, 0, 1, 1, 2, 2]]


def test_classes_become_indices_into_the_models_classes() -> None:
    model = LogisticRegression(C=100).fit(ROWS, GRAPES)

    answers = predict(model, ROWS, GRAPES)

    assert answers.truth.tolist() == [0, 0, 1, 1, 2, 2]
    assert model.classes_[answers.labels].tolist() == model.predict(ROWS).tolist()
    assert answers.probabilities is not None
    assert answers.probabilities.tolist() == model.predict_proba(ROWS).tolist()


@pytest.mark.parametrize(
    "truth",
    [
        pytest.param(np.array([False, False, True, True, True, False]), id="booleans"),
        pytest.param(np.array([3, 3, 7, 7, 7, 3]), id="numbers that are no indices"),
    ],
)
def test_any_two_labels_are_0_and_1(truth: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
    model = LogisticRegression().fit(ROWS, truth)

    answers = predict(model, ROWS, truth)

    assert answers.truth.tolist() == [0, 0, 1, 1, 1, 0]


def test_a_regressors_answers_are_numbers_without_probabilities() -> None:
    truth = np.array([1, 2, 3, 4, 5, 6])
    model = Ridge().fit(ROWS, truth)

    answers = predict(model, ROWS, truth)

    assert answers.probabilities is None
    assert answers.labels.dtype == np.float64
    assert answers.truth.tolist() == truth.tolist()


def test_a_class_that_the_model_never_saw_is_named() -> None:
    model = LogisticRegression().fit(ROWS[:4], GRAPES[:4])

    with pytest.raises(UserError) as refused:
        predict(model, ROWS, GRAPES)

    assert str(refused.value).startswith("the model knows the classes barbera, barolo, not grignolino: train on rows that have it")
