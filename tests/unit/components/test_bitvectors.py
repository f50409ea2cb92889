"""Many rows at once through a forest's bit vectors: the same answers as ONNX Runtime's trees, to the last leaf."""

from __future__ import annotations

from dataclasses import replace
from sys import maxsize
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from components.register.export import bitvectors, export
from components.register.proof import columns, prove
from core.bundle import Bundle
from core.engines import OnnxEngine
from core.forest import CHUNK
from docs.engines import INPUTS, NUMBERS, ORDINAL, TEXTS, made, served

SMALL = [
    ("binary", HistGradientBoostingClassifier(max_iter=5)),
    ("multiclass", HistGradientBoostingClassifier(max_iter=5)),
    ("regression", HistGradientBoostingRegressor(max_iter=5, loss="poisson")),
    ("binary", GradientBoostingClassifier(n_estimators=5, loss="exponential")),
    ("multiclass", GradientBoostingClassifier(n_estimators=5)),
    ("regression", GradientBoostingRegressor(n_estimators=5)),
    ("multiclass", RandomForestClassifier(5, max_depth=4)),
    ("binary", ExtraTreesClassifier(5, max_depth=4)),
    ("regression", RandomForestRegressor(5, max_depth=4)),
    ("regression", DecisionTreeRegressor(max_depth=6)),
]


def prepared(texts: Any = ORDINAL) -> ColumnTransformer:
    return ColumnTransformer([("numbers", make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS), ("texts", texts, TEXTS)], sparse_threshold=0)


def bundled(model: Any, task: str = "regression", transformer: Any = None) -> tuple[Bundle, Any]:
    rows, target = made(task, 240)
    pipeline = make_pipeline(transformer or prepared(), model).fit(rows, np.abs(target) if task == "regression" else target)
    return replace(served(task, pipeline), **export(pipeline, INPUTS)._asdict()), pipeline


@pytest.mark.parametrize("texts", [ORDINAL, OneHotEncoder(handle_unknown="ignore")], ids=["ordinal", "onehot"])
@pytest.mark.parametrize(("task", "model"), SMALL, ids=[f"{type(model).__name__}-{task}" for task, model in SMALL])
def test_small_trees_have_bit_vectors_that_are_proved_beside_the_graph(task: str, model: Any, texts: Any) -> None:
    bundle, pipeline = bundled(model, task, prepared(texts))

    proof = prove(bundle, pipeline, made(task, 240, seed=1)[0])

    assert bundle.forest
    assert proof.holds, proof


@pytest.mark.parametrize("leaves", [2, 8, 9, 16, 17, 32, 33, 64])
def test_a_word_has_a_bit_for_every_leaf(leaves: int) -> None:
    bundle, pipeline = bundled(DecisionTreeRegressor(max_leaf_nodes=leaves, random_state=0))

    assert pipeline[-1].get_n_leaves() == leaves
    assert table(bundle, "words").dtype.itemsize * 8 == max(8, 2 ** int(np.ceil(np.log2(leaves))))
    assert prove(bundle, pipeline, made("regression", 240, seed=1)[0]).holds


@pytest.mark.parametrize(
    ("model", "task"),
    [
        (DecisionTreeRegressor(max_leaf_nodes=65, random_state=0), "regression"),
        (VotingRegressor([("one", DecisionTreeRegressor(max_depth=2)), ("other", DecisionTreeRegressor(max_depth=3))]), "regression"),
        (CalibratedClassifierCV(HistGradientBoostingClassifier(max_iter=2), cv=3), "binary"),
        (LogisticRegression(), "binary"),
    ],
    ids=["65 leaves", "two forests", "three forests", "no trees"],
)
def test_other_models_have_none(model: Any, task: str) -> None:
    assert bundled(model, task)[0].forest == b""


def test_a_split_on_a_number_that_the_graph_computes_has_none() -> None:
    rows, target = made("regression", 240)
    known, replaced = rows.dropna(), SimpleImputer(missing_values=3.0, strategy="constant", fill_value=-50.0)
    pipeline = make_pipeline(ColumnTransformer([("numbers", replaced, NUMBERS)]), DecisionTreeRegressor(max_depth=3))

    assert export(pipeline.fit(known, target[known.index]), INPUTS).forest == b""


def test_tables_that_would_be_too_large_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    size = table(bundled(DecisionTreeRegressor(max_depth=3))[0], "words").nbytes

    monkeypatch.setattr(bitvectors, "MOST_BYTES", size)
    assert bundled(DecisionTreeRegressor(max_depth=3))[0].forest
    monkeypatch.setattr(bitvectors, "MOST_BYTES", size - 1)
    assert bundled(DecisionTreeRegressor(max_depth=3))[0].forest == b""


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("count", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 1])
def test_rows_at_and_beside_every_threshold_reach_the_same_leaves(task: str, count: int) -> None:
    model = HistGradientBoostingRegressor(max_iter=5) if task == "regression" else HistGradientBoostingClassifier(max_iter=5)
    bundle, _ = bundled(model, task, ColumnTransformer([("numbers", "passthrough", NUMBERS), ("texts", ORDINAL, TEXTS)]))
    graph, forest = (OnnxEngine(bundle, many) for many in (maxsize, 0))
    rows, _ = made(task, count, seed=2)
    edges = table(bundle, "edges")
    edges = edges[np.isfinite(edges)]
    asked = graph.table(columns(rows))
    asked[:, : len(NUMBERS)] = near(np.random.default_rng(count).choice(edges, (count, len(NUMBERS))), count)

    one, other = (engine.answer([asked], ["predict"]) for engine in (graph, forest))

    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype and one[name].shape == other[name].shape
        if one[name].dtype.kind == "f":
            np.testing.assert_allclose(other[name], one[name], rtol=0, atol=1e-14)
        else:
            assert other[name].tolist() == one[name].tolist()


def near(edges: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Move some values to the next double up or down, some far away; some go missing."""
    random, largest = np.random.default_rng(seed), float(np.finfo(np.float32).max)
    kinds = random.integers(0, 6, edges.shape)
    choices = [edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf), np.full_like(edges, np.nan)]
    return np.choose(kinds, [*choices, np.full_like(edges, largest), np.full_like(edges, -largest)])


@pytest.mark.parametrize("name", ["edges", "words", "leaves"])
def test_the_proof_finds_a_table_that_is_wrong(name: str) -> None:
    bundle, pipeline = bundled(HistGradientBoostingRegressor(max_iter=5))
    model = onnx.load_from_string(bundle.forest)
    found = next(one for one in model.graph.initializer if one.name == name)
    values = numpy_helper.to_array(found).copy()
    values[:2] = np.nextafter(values[:2], np.inf) if name == "edges" else values[1::-1].copy()
    found.CopyFrom(numpy_helper.from_array(values, name))

    assert prove(bundle, pipeline, made("regression", 240, seed=1)[0]).holds
    assert not prove(replace(bundle, forest=model.SerializeToString()), pipeline, made("regression", 240, seed=1)[0]).holds


def test_the_same_model_is_the_same_bytes() -> None:
    first, second = (bundled(HistGradientBoostingRegressor(max_iter=5))[0].forest for _ in range(2))

    assert first == second


def table(bundle: Bundle, name: str) -> NDArray[Any]:
    return next(numpy_helper.to_array(one) for one in onnx.load_from_string(bundle.forest).graph.initializer if one.name == name)
