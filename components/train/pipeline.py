"""The scikit-learn pipeline of one trial: preprocessing and estimator, fitted together on training rows alone."""

import inspect
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.utils import get_tags

from core.codecheck import estimator
from core.config import Candidate, Features

MOST_CATEGORIES = 250  # what HistGradientBoosting can split on natively is 255
# The same trees whatever the number of threads: https://lightgbm.readthedocs.io/en/stable/Parameters.html#deterministic
REPEATABLE: dict[str, dict[str, Any]] = {"lightgbm": {"deterministic": True, "force_row_wise": True, "verbose": -1}}


def build(candidate: Candidate, features: Features, parameters: dict[str, Any], seed: int) -> Pipeline:
    """Put a pipeline together.

    Args:
        candidate: The kind of model.
        features: The columns; a numeric one may hold NaN, a categorical one unknown or missing values.
        parameters: What the search chose.
        seed: For estimators that draw at random.
    """
    kind = estimator(candidate.estimator)
    known = inspect.signature(kind).parameters
    given = REPEATABLE.get(kind.__module__.partition(".")[0], {}) | candidate.parameters | parameters
    if "random_state" in known:
        given = {"random_state": seed} | given
    if "categorical_features" in known and candidate.preprocessing.categorical == "ordinal" and features.categorical:
        given = {"categorical_features": list(range(len(features.numeric), len(features.names)))} | given
    model = kind(**given)
    return Pipeline([("prepare", _prepare(candidate, features, sparse=get_tags(model).input_tags.sparse)), ("model", model)])


def _prepare(candidate: Candidate, features: Features, *, sparse: bool) -> ColumnTransformer:
    numeric = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    categorical = {
        "onehot": OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=MOST_CATEGORIES, dtype=np.float64),
        "ordinal": OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1, max_categories=MOST_CATEGORIES, dtype=np.float64
        ),
    }
    parts = [
        ("numeric", numeric if candidate.preprocessing.numeric == "standard" else "passthrough", list(features.numeric)),
        ("categorical", categorical[candidate.preprocessing.categorical], list(features.categorical)),
    ]
    # dense where the estimator, such as HistGradientBoosting, takes nothing else
    return ColumnTransformer([part for part in parts if part[2]], sparse_threshold=0.3 if sparse else 0)
