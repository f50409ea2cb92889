"""ONNX and scikit-learn agree over generated pipelines and data."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from sklearn import ensemble, linear_model, tree
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, RobustScaler, StandardScaler, TargetEncoder

from components.register.engine import choose
from core.bundle import Input, frame
from docs.engines import served

TEXTS = ["", " ", "a", "b", "nan", "None", "ä", "🛫", "a b", "A", "0", "missing"]
SCALES = [0.0, 1e-6, 1.0, 30.0, 1e6]


@dataclass(frozen=True)
class Data:
    """Columns, what they are, and a target of each task."""

    columns: dict[str, list[Any]]
    inputs: tuple[Input, ...]
    target: dict[str, Any]

    def names(self, datatype: str) -> list[str]:
        return [item.name for item in self.inputs if item.datatype == datatype]


@st.composite
def data(draw: st.DrawFn) -> Data:
    rows = draw(st.integers(8, 60))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    columns: dict[str, list[Any]] = {}
    for number in range(draw(st.integers(0, 3))):
        scale, is_rounded, holes = draw(st.sampled_from(SCALES)), draw(st.booleans()), draw(st.sampled_from([0, 0.2, 0.9]))
        values = random.normal(scale=scale, size=rows) + draw(st.sampled_from([0.0, 1.0, -40.0]))
        values = np.round(values) if is_rounded else values
        columns[f"n{number}"] = np.where(random.random(rows) < holes, np.nan, values).tolist()
    for number in range(draw(st.integers(0 if columns else 1, 2))):
        texts = draw(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=8, unique=True))
        holes = draw(st.sampled_from([0, 0.2, 1.0] if len(columns) else [0, 0.2]))
        columns[f"t{number}"] = [None if random.random() < holes else str(random.choice(texts)) for _ in range(rows)]
    classes = draw(st.sampled_from([np.array([False, True]), np.array([3, 7]), np.array(["no", "yes"])]))
    signal = random.normal(size=rows) + [len(str(next(iter(columns.values()))[row])) for row in range(rows)]
    ranks = np.argsort(np.argsort(signal))
    target = {
        "binary": classes[(ranks > rows // 2).astype(int)],
        "multiclass": np.array(["a", "b", "c"])[ranks * 3 // rows],
        "regression": np.abs(signal) * draw(st.sampled_from([1.0, 1e-3, 1e5])),
    }
    return Data(columns, tuple(Input(name, "BYTES" if name.startswith("t") else "FP64") for name in columns), target)


def numeric(draw: st.DrawFn, *, needs_all: bool) -> Any:
    fill = draw(st.sampled_from(["mean", "median", "most_frequent", "constant"]))
    imputer = SimpleImputer(strategy=fill, add_indicator=draw(st.booleans()), keep_empty_features=draw(st.booleans()))
    scalers = [StandardScaler(), StandardScaler(with_mean=False), StandardScaler(with_std=False), MinMaxScaler(clip=draw(st.booleans()))]
    scalers += [MinMaxScaler((-3, 5)), RobustScaler(), RobustScaler(with_centering=False), "passthrough"]
    steps = [imputer, draw(st.sampled_from(scalers))]
    orders = [steps, steps[:1]] if needs_all else [steps, steps[::-1], steps[:1], steps[1:], ["passthrough"]]
    return make_pipeline(*draw(st.sampled_from(orders)))


def textual(draw: st.DrawFn, task: str) -> Any:
    unknown = draw(st.sampled_from(["ignore", "infrequent_if_exist"]))
    encoders = [
        OneHotEncoder(
            handle_unknown=unknown, max_categories=draw(st.sampled_from([None, 3])), drop=draw(st.sampled_from([None, "if_binary", "first"]))
        ),
        OneHotEncoder(handle_unknown=unknown, min_frequency=draw(st.sampled_from([2, 0.3]))),
        OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1, max_categories=draw(st.sampled_from([None, 2]))
        ),
        TargetEncoder(cv=2, random_state=0),
    ]
    encoder = draw(st.sampled_from(encoders))
    imputers = [None, SimpleImputer(strategy="most_frequent"), SimpleImputer(strategy="constant", fill_value="missing")]
    steps = [draw(st.sampled_from(imputers)), encoder, draw(st.sampled_from([None, None, StandardScaler(with_mean=False)]))]
    return make_pipeline(*(step for step in steps if step is not None))


def estimator(draw: st.DrawFn, task: str) -> Any:
    kind = "Regressor" if task == "regression" else "Classifier"
    depth, count, seed = draw(st.sampled_from([1, 3, None])), draw(st.integers(1, 6)), draw(st.integers(0, 99))
    trees = [
        lambda: getattr(ensemble, f"HistGradientBoosting{kind}")(max_iter=count, min_samples_leaf=draw(st.integers(1, 5)), random_state=seed),
        lambda: getattr(ensemble, f"GradientBoosting{kind}")(
            n_estimators=count, max_depth=depth, init=draw(st.sampled_from([None, "zero"])), random_state=seed
        ),
        lambda: getattr(ensemble, f"RandomForest{kind}")(n_estimators=count, max_depth=depth, random_state=seed),
        lambda: getattr(ensemble, f"ExtraTrees{kind}")(n_estimators=count, max_depth=depth, random_state=seed),
        lambda: getattr(tree, f"DecisionTree{kind}")(max_depth=depth, random_state=seed),
    ]
    linear = {
        "regression": [linear_model.Ridge, linear_model.LinearRegression, linear_model.PoissonRegressor],
        "binary": [linear_model.LogisticRegression],
        "multiclass": [linear_model.LogisticRegression],
    }[task]
    return draw(st.sampled_from([*trees, *trees, *linear]))()


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, Data, Any]:
    task, made = draw(st.sampled_from(["binary", "multiclass", "regression"])), draw(data())
    model = estimator(draw, task)
    needs_all = not type(model).__name__.startswith(("Hist", "Random", "Extra", "Decision"))
    numbers = made.names("FP64")
    is_native = type(model).__name__.startswith("Hist") and made.names("BYTES") and numbers and draw(st.booleans())
    texts = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=draw(st.sampled_from([np.nan, -1])))
    if is_native:
        model.set_params(categorical_features=list(range(len(numbers), len(made.inputs))))
    parts = [("numbers", "passthrough" if is_native else numeric(draw, needs_all=needs_all), numbers)] if numbers else []
    parts += [("texts", texts if is_native else textual(draw, task), made.names("BYTES"))] if made.names("BYTES") else []
    return task, made, make_pipeline(ColumnTransformer(parts, sparse_threshold=draw(st.sampled_from([0, 0.3]))), model)


def agree(case: tuple[str, Data, Any]) -> None:
    """Fit the pipeline, where scikit-learn can, and let the register step choose: it has to find nothing against ONNX Runtime."""
    task, made, pipeline = case
    rows = frame(made.columns, made.inputs)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pipeline.fit(rows, made.target[task])
            pipeline.predict(rows)
    except (ValueError, TypeError, ArithmeticError):  # what scikit-learn itself cannot fit
        reject()

    choice = choose(served(task, pipeline, made.inputs), pipeline, rows)

    assert choice.error is not None, f"{choice.sentence}\n{pipeline!r}\n{made.columns}\n{made.target[task].tolist()}"


CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


@settings(max_examples=60, deadline=None, suppress_health_check=CHECKS)
@given(cases())
def test_onnx_and_scikit_learn_agree(case: tuple[str, Data, Any]) -> None:
    agree(case)


@pytest.mark.slow
@settings(max_examples=700, deadline=None, suppress_health_check=CHECKS)
@given(cases())
def test_onnx_and_scikit_learn_agree_on_many_more(case: tuple[str, Data, Any]) -> None:
    agree(case)
