"""Golden rows: a few test rows and the answers of training, which every server must repeat before it serves."""

from typing import TYPE_CHECKING, Any

import numpy as np

from core.bundle import Golden
from core.config import UseCase
from core.predict import golden_answers

if TYPE_CHECKING:
    import pandas as pd

COUNT = 40
HOLES = 10  # at most so many of them chosen because a value is missing


def choose(usecase: UseCase, rows: "pd.DataFrame", model: Any) -> Golden:
    """Choose rows, among them one for each column that has missing values, and note the model's answers.

    Args:
        usecase: The use case.
        rows: The model's inputs on the test rows.
        model: The fitted pipeline.
    """
    holes = [int(np.flatnonzero(missing)[0]) for missing in (rows[name].isna() for name in rows.columns) if missing.any()]
    drawn = np.random.default_rng(usecase.train.seed).choice(len(rows), min(COUNT, len(rows)), replace=False)
    chosen = list(dict.fromkeys([*holes[:HOLES], *drawn.tolist()]))[:COUNT]
    return golden_answers(model, rows.iloc[chosen])
