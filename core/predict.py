"""A fitted scikit-learn pipeline's answers, in the form that the metrics take."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.bundle import Golden, plain
from core.classes import order
from core.config import UseCase
from core.errors import EstimatorError, UserError, estimator_errors
from core.metrics import Predictions

if TYPE_CHECKING:
    import pandas as pd


def predict(model: Any, rows: "pd.DataFrame", truth: NDArray[Any], usecase: UseCase) -> Predictions:
    """Ask a model, once, for all rows.

    Args:
        model: A fitted pipeline.
        rows: Its inputs, n rows.
        truth: The target of each.
        usecase: The use case, which says which class is the positive one.

    Raises:
        UserError: A row's class is none of the model's, or the positive class is none.
        EstimatorError: The model does not answer.
    """
    if not hasattr(model, "predict_proba"):
        with estimator_errors():
            return Predictions(truth, np.asarray(model.predict(rows), dtype=np.float64))
    with estimator_errors():
        classes = model.classes_.tolist()
    unknown = set(truth.tolist()) - set(classes)
    if unknown:
        raise UserError(
            f"the model knows the classes {', '.join(map(str, classes))}, not {sorted(unknown)[0]}: train on rows that have it, or change the split"
        )
    with estimator_errors():
        probabilities = np.asarray(model.predict_proba(rows), dtype=np.float64)
    sequence = order(usecase, classes)
    places = np.argsort(sequence)  # of each class of the model among those of the metrics
    truth, labels = places[np.searchsorted(model.classes_, truth)], places[probabilities.argmax(axis=1)]
    return Predictions(truth, labels, probabilities[:, sequence], tuple(classes[place] for place in sequence))


def predict_in_batches(model: Any, batches: Iterable[tuple["pd.DataFrame", NDArray[Any]]], usecase: UseCase) -> Predictions:
    """Ask a model for rows of which a part at a time is held.

    Args:
        model: A fitted pipeline.
        batches: Its inputs and their target.
        usecase: As of `predict`.

    Raises:
        UserError, EstimatorError: As of `predict`.
    """
    answers = [predict(model, *batch, usecase) for batch in batches]
    truth, labels = (np.concatenate([part[place] for part in answers]) for place in (0, 1))
    parts = [part.probabilities for part in answers if part.probabilities is not None]
    return Predictions(truth, labels, np.concatenate(parts) if parts else None, answers[0].classes)


@contextmanager
def must_answer(model: Any, rows: str) -> Iterator[None]:
    """Let a model that does not answer end the step with one sentence that names its estimator.

    Args:
        model: The fitted pipeline.
        rows: What it is asked about, such as test.
    """
    try:
        yield
    except EstimatorError as error:
        name = type(getattr(model, "_final_estimator", model)).__name__
        raise UserError(f"{name} cannot answer the {rows} rows: {error}: correct train.candidates") from error


def golden_answers(model: Any, rows: "pd.DataFrame") -> Golden:
    """Return rows and a model's answers to them, which every server must repeat.

    Args:
        model: A fitted pipeline.
        rows: Its inputs, n rows.
    """
    with must_answer(model, "golden"), estimator_errors():
        labels = model.predict(rows)
        probabilities = model.predict_proba(rows) if hasattr(model, "predict_proba") else None
    records = plain([dict(zip(rows.columns, row, strict=True)) for row in rows.itertuples(index=False)])
    return Golden(records, plain(labels), plain(probabilities) if probabilities is not None else None)
