"""A fitted scikit-learn pipeline's answers, in the form that the metrics take."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.metrics import Predictions

if TYPE_CHECKING:
    import pandas as pd


def predict(model: Any, rows: "pd.DataFrame", truth: NDArray[Any]) -> Predictions:
    """Ask a model, once, for all rows.

    Args:
        model: A fitted pipeline.
        rows: Its inputs, n rows.
        truth: The target of each.

    Raises:
        UserError: A row's class is none of the model's.
    """
    if not hasattr(model, "predict_proba"):
        return Predictions(truth, np.asarray(model.predict(rows), dtype=np.float64))
    classes = model.classes_
    unknown = set(truth.tolist()) - set(classes.tolist())
    if unknown:
        raise UserError(
            f"the model knows the classes {', '.join(map(str, classes))}, not {sorted(unknown)[0]}: train on rows that have it, or change the split"
        )
    probabilities = np.asarray(model.predict_proba(rows), dtype=np.float64)
    return Predictions(np.searchsorted(classes, truth), probabilities.argmax(axis=1), probabilities)
