"""What scikit-learn refuses to answer: a graph cannot raise an error, so the engine has to know."""

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from components.register.export.errors import NotExportable
from components.register.export.text import UNKNOWN
from core.bundle import Input, frame

if TYPE_CHECKING:
    import pandas as pd

BLOCK = 2_000_000  # values of one table


def required(pipeline: Any, inputs: Sequence[Input], vocabularies: Mapping[str, Sequence[str]]) -> list[int]:
    """Return the indices of the numeric inputs that may not be missing.

    Raises:
        NotExportable: The pipeline refuses a text that training never saw, or a missing one.
    """
    texts = {item.name: next(iter(vocabularies[item.name]), UNKNOWN) for item in inputs if item.datatype == "BYTES"}
    usual = frame({item.name: [texts.get(item.name, 0.0)] for item in inputs}, inputs)
    if not _answers(pipeline, usual):
        return []  # what is asked is odd, not what is missing
    for index, item in enumerate(inputs):
        if item.name in texts and _refused(pipeline, usual, [(index, UNKNOWN), (index, np.nan)]):
            raise NotExportable(f"{type(pipeline).__name__} refuses an unknown or a missing value of {item.name}, which a graph cannot")
    numeric = [index for index, item in enumerate(inputs) if item.name not in texts]
    block = max(1, BLOCK // len(inputs))
    blocks = (numeric[start : start + block] for start in range(0, len(numeric), block))
    return [index for some in blocks for index in _refused(pipeline, usual, [(index, np.nan) for index in some])]


def _refused(pipeline: Any, usual: "pd.DataFrame", odd: list[tuple[int, Any]]) -> list[int]:
    """Return the columns whose odd value is refused. All are asked about at once; of a table that is refused, each half."""
    rows = usual.iloc[np.zeros(len(odd), dtype=int)].reset_index(drop=True)
    for row, (column, value) in enumerate(odd):
        rows.iat[row, column] = value
    if _answers(pipeline, rows):
        return []
    if len(odd) == 1:
        return [odd[0][0]]
    middle = len(odd) // 2
    return [*_refused(pipeline, usual, odd[:middle]), *_refused(pipeline, usual, odd[middle:])]


def _answers(pipeline: Any, rows: "pd.DataFrame") -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pipeline.predict(rows)
    except ValueError:
        return False
    return True
