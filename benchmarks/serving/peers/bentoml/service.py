"""BentoML's service of a pickled pipeline, with adaptive batching.

Its requests are lists of rows: with a DataFrame as the parameter the batching of 1.4.40 fails (it takes the shape for the number of
rows), and a table built once a batch costs less than one a request.
"""

import os
from typing import Any

import bentoml  # type: ignore[import-not-found]
import joblib
import numpy as np
import pandas as pd


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Flights:
    """The model."""

    def __init__(self) -> None:
        self.pipeline = joblib.load(os.environ["MODEL"])

    @bentoml.api(batchable=True, max_batch_size=4000, max_latency_ms=60_000)  # type: ignore[untyped-decorator]
    def predict(self, rows: list[list[Any]]) -> np.ndarray:
        """Answer with the probabilities."""
        found: np.ndarray = self.pipeline.predict_proba(pd.DataFrame(rows, columns=self.pipeline.feature_names_in_))
        return found
