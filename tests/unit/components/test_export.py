"""The ONNX form of a pipeline: few nodes, the same bytes, exact; and what has none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import LinearSVC

from components.register.adversarial import adversarial
from components.register.engine import choose
from components.register.export import NotExportable, export
from components.register.export.columns import Column, Step
from components.register.export.questions import folded
from components.register.proof import columns, prove
from core.engines import OnnxEngine
from docs.engines import INPUTS, NUMBERS, ORDINAL, PAGE, TEXTS, made, measured, row, served, table


def fitted(model: Any, numbers: Any = "passthrough", texts: Any = ORDINAL, task: str = "binary") -> Any:
    parts = [("numbers", numbers, NUMBERS), ("texts", texts, TEXTS)]
    return make_pipeline(ColumnTransformer(parts, sparse_threshold=0), model).fit(*made(task, 240))


def operators(data: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(data).graph.node]


def test_trees_read_the_rows_as_they_come_whatever_the_transformers_do() -> None:
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler(), MinMaxScaler())
    pipeline = fitted(RandomForestRegressor(5), numbers, "drop", task="regression")

    assert operators(export(pipeline, INPUTS).onnx) == ["TreeEnsemble", "Div", "Reshape"]


def test_a_linear_model_with_scaled_and_encoded_columns_is_at_most_13_nodes() -> None:
    pipeline = fitted(LogisticRegression(), make_pipeline(SimpleImputer(), StandardScaler()), OneHotEncoder(handle_unknown="ignore"))

    assert len(operators(export(pipeline, INPUTS).onnx)) <= 13


@pytest.mark.parametrize("model", [HistGradientBoostingClassifier(max_iter=5), RandomForestClassifier(5, random_state=1)], ids=["boosting", "forest"])
def test_the_same_model_is_the_same_bytes(model: Any) -> None:
    first, second = (export(fitted(model), INPUTS) for _ in range(2))

    assert first == second


@pytest.mark.parametrize(
    ("numbers", "texts", "model", "reason"),
    [
        pytest.param(
            make_pipeline(SimpleImputer(), PolynomialFeatures()), ORDINAL, Ridge(), "the transformer PolynomialFeatures has no", id="transformer"
        ),
        pytest.param("passthrough", OneHotEncoder(), HistGradientBoostingRegressor(max_iter=2), "refuses a value that training never", id="unknown"),
        pytest.param(SimpleImputer(), ORDINAL, KNeighborsRegressor(), "ONNX Runtime answers otherwise on 240 test rows", id="inexact"),
        pytest.param(
            "passthrough",
            ORDINAL,
            HistGradientBoostingRegressor(max_iter=30, min_samples_leaf=2, categorical_features=[0, 2]),
            "a numeric column is split by its values as categories",
            id="numbers as categories",
        ),
    ],
)
def test_what_has_no_exact_form_is_served_by_scikit_learn_and_the_reason_is_told(numbers: Any, texts: Any, model: Any, reason: str) -> None:
    parts = ColumnTransformer([("numbers", numbers, NUMBERS), ("texts", texts, TEXTS)], sparse_threshold=0)

    choice = measured("regression", model, parts)

    assert choice.sentence.startswith("scikit-learn: ")
    assert reason in choice.sentence
    assert (choice.bundle.manifest.engine, choice.bundle.onnx, choice.error) == ("scikit-learn", b"", None)


@pytest.mark.parametrize("labels", [np.array([False, True]), np.array([3, 7]), np.array(["no", "yes"])], ids=["bool", "int", "text"])
def test_labels_are_those_of_training(labels: Any) -> None:
    rows, target = made("binary", 240)
    pipeline = make_pipeline(ColumnTransformer([("numbers", "passthrough", NUMBERS)]), HistGradientBoostingClassifier(max_iter=3))
    pipeline.fit(rows, labels[target])

    choice = choose(served("binary", pipeline), pipeline, rows)
    engine = OnnxEngine(choice.bundle)
    found = engine.answer([engine.table(columns(rows))], ["predict"])["predict"].tolist()

    assert found == pipeline.predict(rows).tolist()
    assert {type(label) for label in found} == {type(label) for label in labels.tolist()}


def test_a_classifier_without_probabilities_answers_with_labels_alone() -> None:
    choice = measured("multiclass", LinearSVC(), ColumnTransformer([("numbers", SimpleImputer(), NUMBERS)]))

    assert choice.error == 0
    assert [output.name for output in onnx.load_from_string(choice.bundle.onnx).graph.output] == ["predict"]


def test_what_scikit_learn_refuses_the_served_form_refuses() -> None:
    rows, target = made("binary", 240)
    pipeline = make_pipeline(ColumnTransformer([("numbers", "passthrough", NUMBERS)]), LogisticRegression())
    known = rows.dropna()
    pipeline.fit(known, target[known.index])

    choice = choose(served("binary", pipeline), pipeline, known)
    engine = OnnxEngine(choice.bundle)

    assert choice.error is not None
    with pytest.raises(ValueError, match="a number is missing"):
        engine.answer([engine.table(columns(rows))], ["predict"])


def test_the_proof_finds_a_split_that_is_wrong_by_one_bit() -> None:
    pipeline = fitted(HistGradientBoostingRegressor(max_iter=5), task="regression")
    rows, _ = made("regression", 240, seed=1)
    bundle = replace(served("regression", pipeline), **export(pipeline, INPUTS)._asdict())
    model = onnx.load_from_string(bundle.onnx)
    splits = next(one for node in model.graph.node for one in node.attribute if one.name == "nodes_splits")
    splits.t.CopyFrom(numpy_helper.from_array(np.nextafter(numpy_helper.to_array(splits.t), np.inf)))

    right, wrong = prove(bundle, pipeline, rows), prove(replace(bundle, onnx=model.SerializeToString()), pipeline, rows)

    assert right.holds and right.rows == 240 and right.adversarial > 200
    assert not wrong.holds
    assert "numbers differ by up to" in str(wrong) and "the first: x " in str(wrong)


def test_odd_values_of_many_inputs_share_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = fitted(HistGradientBoostingRegressor(max_iter=5), task="regression")
    rows, _ = made("regression", 240, seed=1)
    bundle = replace(served("regression", pipeline), **export(pipeline, INPUTS)._asdict())
    single = pd.concat(adversarial(bundle, rows))

    monkeypatch.setattr("components.register.adversarial.CELLS", 500)
    monkeypatch.setattr("components.register.adversarial.BLOCK", 100)
    shared = pd.concat(adversarial(bundle, rows))

    assert len(shared) < len(single)
    assert all({repr(value) for value in single[name]} <= {repr(value) for value in shared[name]} for name in single)


def test_an_imputer_that_replaces_a_number_is_computed_before_the_trees() -> None:
    rows, target = made("regression", 240)
    numbers = make_pipeline(SimpleImputer(missing_values=3.0, strategy="constant", fill_value=-50.0), StandardScaler())
    known = rows.dropna()
    pipeline = make_pipeline(ColumnTransformer([("numbers", numbers, NUMBERS)]), RandomForestRegressor(5, random_state=0)).fit(
        known, target[known.index]
    )

    choice = choose(served("regression", pipeline), pipeline, known)

    assert choice.error == 0


def test_a_text_that_is_refused_when_missing_has_no_graph() -> None:
    texts = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    rows, target = made("regression", 240)
    pipeline = make_pipeline(ColumnTransformer([("texts", texts, ["kind"])]), Ridge()).fit(rows[rows.kind.notna()], target[rows.kind.notna()])

    with pytest.raises(NotExportable, match="refuses an unknown or a missing value of kind"):
        export(pipeline, INPUTS)


STEPS = {
    "sub": st.builds(Step, st.just("sub"), st.floats(-1e9, 1e9)),
    "div": st.builds(Step, st.just("div"), st.floats(1e-9, 1e9)),
    "mul": st.builds(Step, st.just("mul"), st.floats(1e-9, 1e9)),
    "fill": st.builds(Step, st.just("fill"), st.floats(-1e9, 1e9)),
    "single": st.just(Step("single")),
    "clip": st.just(Step("clip", value=1.0, old=-1.0)),
}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(*STEPS.values()), min_size=1, max_size=4), st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=5))
def test_a_folded_threshold_holds_for_the_same_doubles(steps: list[Step], thresholds: list[float]) -> None:
    column = Column(0, False, steps=tuple(steps))
    asked = np.unique(np.array(thresholds))

    found = folded(column, asked)

    for threshold, new in found.items():
        near = np.array([-1e300, new, np.nextafter(new, np.inf), np.nextafter(new, -np.inf), 0.0, threshold, 1e300])
        near = near[np.isfinite(near)]
        assert ((column.of(near) <= threshold) == (near <= new)).all()


@pytest.mark.parametrize("name", ["HistGradientBoostingClassifier", "LogisticRegression", "RandomForestRegressor"])
def test_the_table_of_the_page_says_what_is_measured(name: str) -> None:
    assert row(name) in PAGE.read_text(), "run: .venv/bin/python -m docs.engines"


@pytest.mark.slow
def test_the_whole_table_of_the_page_says_what_is_measured() -> None:
    assert table() in PAGE.read_text(), "run: .venv/bin/python -m docs.engines"
