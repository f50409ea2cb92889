"""The made-up row of a server's pages."""

import numpy as np
import pandas as pd

from components.register.typical import typical


def test_medians_and_frequent_texts_make_a_row() -> None:
    rows = pd.DataFrame({"beds": [1.0, 2.0, 3.0, 4.0, np.nan] * 10, "zone": ["b", "b", "a", "a", np.nan] * 10}).astype({"zone": object})

    assert typical(rows) == {"beds": 2.0, "zone": "a"}


def test_what_is_missing_or_rare_is_null() -> None:
    names = pd.Series([f"person {number}" for number in range(50)], dtype=object)
    rows = pd.DataFrame({"empty": [np.nan] * 50, "name": names, "none": pd.Series([np.nan] * 50, dtype=object)})

    assert typical(rows) == {"empty": None, "name": None, "none": None}
