"""The row that a server's pages show: made up of medians and the most frequent texts, so that none of your rows is published."""

from typing import TYPE_CHECKING

import numpy as np

from core.bundle import Value, plain

if TYPE_CHECKING:
    import pandas as pd

SHARED = 10  # rows that must have a text before it is shown: a rarer one may name somebody


def typical(rows: "pd.DataFrame") -> dict[str, Value]:
    """Return the median of each column of numbers and the most frequent text of each other; null where there is none.

    Args:
        rows: The model's inputs on the training rows.
    """
    return {str(name): _text(column) if column.dtype == object else _median(column) for name, column in rows.items()}


def _median(column: "pd.Series[float]") -> Value:
    values = column.dropna().to_numpy()
    # The lower of two medians: a column of whole numbers has no half in it.
    value: Value = plain(np.quantile(values, 0.5, method="lower")) if len(values) else None
    return value


def _text(column: "pd.Series[str]") -> Value:
    counts = column.value_counts()
    return min(counts.index[counts == counts.iloc[0]]) if len(counts) and counts.iloc[0] >= SHARED else None
