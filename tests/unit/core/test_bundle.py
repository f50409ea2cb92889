"""The served form of a model: what goes in comes out, and nothing else is ever loaded."""

from __future__ import annotations

import importlib
import io
import json
import math
import pickle
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder
from sklearn.utils import get_tags
from sklearn.utils.discovery import all_estimators

from core.bundle import Bundle, Golden, Input, Manifest, Output, differences, digest, dump_model, frame, load_model, pack, unpack
from core.errors import UserError
from core.trusted_types import BY_MODULE

INPUTS = (Input("hour", "FP64"), Input("seats", "FP64"), Input("carrier", "BYTES"), Input("origin", "BYTES"), Input("tail", "BYTES"))
MANIFEST = Manifest("flights", "binary", "late", "scikit-learn", INPUTS, (Output("predict", "INT64"),), (0, 1), {"scikit-learn": "1.9.1"})
GOLDEN = Golden([{"hour": 5.0, "carrier": None}, {"hour": math.nan, "carrier": "ÜA"}], [0, 1], [[0.7, 0.3], [0.25, 0.75]])
BUNDLE = Bundle(MANIFEST, GOLDEN, b"model")


def test_a_bundle_is_read_as_it_was_written() -> None:
    data = pack(BUNDLE)

    bundle = unpack(data, digest(data))

    assert bundle.manifest == MANIFEST
    assert bundle.golden.rows == [{"hour": 5.0, "carrier": None}, {"hour": None, "carrier": "ÜA"}]
    assert (bundle.golden.predict, bundle.golden.predict_proba, bundle.model) == ([0, 1], GOLDEN.predict_proba, b"model")


def test_the_same_content_has_the_same_digest_and_numpys_scalars_are_numbers() -> None:
    numpys = Golden([{**row} for row in GOLDEN.rows], [np.int64(0), np.int64(1)], np.array(GOLDEN.predict_proba))  # type: ignore[list-item, arg-type]

    digests = {digest(pack(BUNDLE)), digest(pack(replace(BUNDLE, golden=numpys)))}

    assert len(digests) == 1
    assert digests.pop().startswith("sha256:")


def test_another_digest_is_refused() -> None:
    data = pack(BUNDLE)

    with pytest.raises(UserError, match="not the version that was registered"):
        unpack(data[:-1] + b"\x01", digest(data))


def zip_of(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"PK nothing", id="not a zip"),
        pytest.param(zip_of(manifest_json=b"{}", model_skops=b""), id="a file is missing"),
        pytest.param(zip_of(manifest_json=b"{", golden_json=b"{}", model_skops=b""), id="broken JSON"),
        pytest.param(zip_of(manifest_json=b'{"inputs": [3]}', golden_json=b"{}", model_skops=b""), id="another manifest"),
        pytest.param(zip_of(manifest_json=b"[]", golden_json=b"[]", model_skops=b""), id="lists"),
    ],
)
def test_something_else_is_refused(data: bytes) -> None:
    with pytest.raises(UserError, match="is not a model bundle"):
        unpack(data, digest(data))


def test_an_infinite_golden_value_is_refused() -> None:
    with pytest.raises(UserError, match="infinite"):
        pack(replace(BUNDLE, golden=replace(GOLDEN, rows=[{"hour": math.inf}])))


def columns(count: int = 300) -> dict[str, list[Any]]:
    random = np.random.default_rng(0)
    numbers = {name: random.normal(size=count).tolist() for name in ("hour", "seats")}
    texts = {name: random.choice(["a", "b", "c"], count).tolist() for name in ("carrier", "origin", "tail")}
    holed = {name: [None if random.random() < 0.1 else value for value in values] for name, values in {**numbers, **texts}.items()}
    return {**holed, "origin": texts["origin"]}


def fitted(estimator: Any) -> Any:
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    folds = KFold(3, shuffle=True, random_state=0)
    preparation = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), ["hour", "seats"]),
            ("one-hot", make_pipeline(SimpleImputer(strategy="most_frequent"), one_hot), ["carrier"]),
            ("ordinal", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["origin"]),
            ("target", TargetEncoder(cv=folds), ["tail"]),
        ]
    )
    target = np.random.default_rng(1).integers(0, 2, 300)
    return Pipeline([("preparation", preparation), ("model", estimator)]).fit(frame(columns(), INPUTS), target)


@pytest.mark.parametrize(
    "estimator",
    [
        HistGradientBoostingClassifier(max_iter=5),
        HistGradientBoostingClassifier(max_iter=5, categorical_features=[5]),
        HistGradientBoostingRegressor(max_iter=5),
        GradientBoostingClassifier(n_estimators=5),
        RandomForestClassifier(5),
        RandomForestRegressor(5),
        ExtraTreesClassifier(5),
        LogisticRegression(),
        Ridge(),
    ],
    ids=lambda estimator: str(estimator),
)
def test_a_restored_pipeline_answers_as_the_fitted_one(estimator: Any) -> None:
    pipeline = fitted(estimator)
    rare: dict[str, list[Any]] = {"hour": [None, 1e9], "seats": [None, 0.0], "carrier": [None, "new"], "origin": [None, "new"], "tail": [None, "new"]}

    restored = load_model(dump_model(pipeline))

    for values in (columns(), rare):
        table = frame(values, INPUTS)
        assert np.array_equal(restored.predict(table), pipeline.predict(table))
        if hasattr(pipeline, "predict_proba"):
            assert np.array_equal(restored.predict_proba(table), pipeline.predict_proba(table))


def test_the_same_model_has_the_same_bytes() -> None:
    stored = pickle.dumps(fitted(HistGradientBoostingClassifier(max_iter=5)))

    first, second = (dump_model(pickle.loads(stored)) for _ in range(2))  # noqa: S301

    assert first == second


class Harmless:
    """Not of scikit-learn."""

    def fit(self, *_: Any) -> Harmless:
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        raise AssertionError("it was built")


def test_another_type_is_named_and_never_built() -> None:
    harmless = Harmless()
    harmless.__dict__["value"] = 1
    data = dump_model(Pipeline([("own", harmless)]))

    with pytest.raises(UserError, match=r"Harmless, which is not loaded"):
        load_model(data)


def test_a_file_that_deletes_a_folder_is_refused(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    scaler, source = StandardScaler(), np.lib.npyio.DataSource(str(victim))
    vars(source)["_istmpdest"], scaler.source = True, source
    data = dump_model(scaler)
    vars(source)["_istmpdest"] = False

    with pytest.raises(UserError, match=r"numpy\.\S*DataSource"):
        load_model(data)
    assert victim.is_dir()


def test_no_trusted_type_acts_when_it_is_dropped() -> None:
    for module, names in BY_MODULE.items():
        if module.partition(".")[0] != "lightgbm":
            loaded = importlib.import_module(module)
            assert [name for name in names if hasattr(getattr(loaded, name), "__del__")] == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_every_supervised_estimator_is_restored(kind: str) -> None:
    random = np.random.default_rng(0)
    rows = csr_matrix(np.abs(random.normal(size=(40, 3))))
    target = np.array(["no", "yes"])[np.arange(40) % 2] if kind == "classifier" else random.uniform(1, 2, 40)

    restored = {
        name: load_model(dump_model(pipeline))
        for name, estimator in all_estimators(kind)
        if name != "TunedThresholdClassifierCV" and (pipeline := trained(estimator, rows, target)) is not None
    }

    assert len(restored) > 30


def trained(estimator: Any, sparse: Any, target: Any) -> Any:
    """Fit it with its defaults, on sparse rows if it takes them; None where it needs other estimators or another target."""
    try:
        model = estimator()
        rows = sparse if get_tags(model).input_tags.sparse else sparse.toarray()
        return model.fit(rows, target)
    except (TypeError, ValueError, AttributeError):
        return None


@pytest.mark.parametrize(
    ("module", "name"),
    [
        pytest.param("numpy.testing", "runstring", id="a function that executes text"),
        pytest.param("sklearn.utils._show_versions", "sys", id="a module"),
        pytest.param("sklearn.utils.fixes", "pathlib.Path", id="a foreign type by a way through scikit-learn"),
        pytest.param("numpy.no_such_module", "Type", id="a module that is not there"),
        pytest.param("sklearnlike", "Type", id="a package with a like name"),
        pytest.param("this", "s", id="a foreign module"),
    ],
)
def test_a_crafted_file_calls_nothing(module: str, name: str) -> None:
    import skops.io

    node = {"__class__": name, "__module__": module, "__loader__": "ConstructorFromReduceNode", "__id__": 1}
    argument = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": '"raise SystemExit"', "is_json": True}
    arguments = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode", "content": [argument], "__id__": 2}
    schema = {**node, "content": arguments, "protocol": 2, "_skops_version": skops.__version__}

    with pytest.raises(UserError, match=f"the model holds {module}.{name}"):
        load_model(zip_of(schema_json=json.dumps(schema).encode()))
    assert "this" not in sys.modules


def test_a_function_of_the_users_own_is_refused() -> None:
    data = dump_model(FunctionTransformer(columns))

    with pytest.raises(UserError, match="columns"):
        load_model(data)


@pytest.mark.parametrize("data", [b"", b"PK", zip_of(schema_json=b"{}")], ids=["empty", "not a zip", "another zip"])
def test_a_broken_model_file_is_refused(data: bytes) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_model(data)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"hour": [1, None], "carrier": ["UA", None]}, id="lists"),
        pytest.param({"hour": pd.Series([1, None], dtype="Int64"), "carrier": pd.Series(["UA", None], dtype="string")}, id="nullable pandas"),
        pytest.param({"hour": pd.Series([1.0, math.nan], index=[7, 9]), "carrier": pd.Series(["UA", None], dtype="category")}, id="categories"),
        pytest.param({"hour": np.array([1.0, math.nan]), "carrier": np.array(["UA", math.nan], dtype=object), "unused": [1, 2]}, id="arrays"),
    ],
)
def test_training_and_serving_have_the_same_table(values: dict[str, Any]) -> None:
    table = frame(values, [Input("hour", "FP64"), Input("carrier", "BYTES")])

    expected = pd.DataFrame({"hour": [1.0, math.nan], "carrier": pd.Series(["UA", math.nan], dtype=object)})
    pd.testing.assert_frame_equal(table, expected)
    assert [type(value) for value in table["carrier"]] == [str, float]


def test_a_number_in_a_text_column_is_refused() -> None:
    with pytest.raises(UserError, match="column carrier holds 3"):
        frame({"carrier": ["UA", 3]}, [Input("carrier", "BYTES")])


def test_equal_answers_have_no_differences() -> None:
    lines = differences(GOLDEN, np.array([0, 1]), [[0.7, 0.3], [0.25 + 1e-10, 0.75]])  # type: ignore[arg-type]

    assert lines == []


REGRESSION = Golden([{}, {}], [152.5, 1e12], None)


@pytest.mark.parametrize(
    ("golden", "predict", "proba", "lines"),
    [
        pytest.param(GOLDEN, [0, 0], GOLDEN.predict_proba, ["row 1: predict 0 where training gave 1"], id="label"),
        pytest.param(GOLDEN, [0, 1], [[0.7, 0.3], [0.26, 0.74]], ["row 1: predict_proba 0.26, 0.74 where training gave 0.25"], id="probability"),
        pytest.param(GOLDEN, [0, 1], [[math.nan, 0.3], [0.25, 0.75]], ["row 0: predict_proba nan, 0.3 where training gave 0.7, 0.3"], id="NaN"),
        pytest.param(GOLDEN, [0, 1], [[0.7], [0.25]], ["row 0: predict_proba 0.7 where", "row 1: predict_proba 0.25 where"], id="a class fewer"),
        pytest.param(GOLDEN, [0, 1], None, ["row 0: predict_proba missing where", "row 1: predict_proba missing where"], id="no probabilities"),
        pytest.param(GOLDEN, [0], [[0.7, 0.3]], ["1 answers (predict_proba: 1) where training gave 2"], id="a row fewer"),
        pytest.param(REGRESSION, [152.5, 1e12 + 1e4], None, ["row 1: predict 1000000010000.0 where"], id="number"),
        pytest.param(REGRESSION, [math.nan, 1e12], None, ["row 0: predict nan where training gave 152.5"], id="NaN for a number"),
        pytest.param(REGRESSION, [152.5, 1e12], [[1.0], [1.0]], ["row 0: predict_proba 1 where", "row 1: predict_proba 1 where"], id="unexpected"),
    ],
)
def test_a_difference_names_its_row(golden: Golden, predict: list[Any], proba: Any, lines: list[str]) -> None:
    found = differences(golden, np.array(predict), proba if proba is None else np.array(proba))  # type: ignore[arg-type]

    assert len(found) == len(lines)
    assert all(line.startswith(start) for line, start in zip(found, lines, strict=True))


def test_a_regressions_numbers_may_differ_by_rounding_alone() -> None:
    assert differences(REGRESSION, [152.5 + 1e-9, 1e12 + 1e-3], None) == []


def test_labels_are_compared_exactly() -> None:
    golden = Golden([{}], [1.0], [[0.5, 0.5]])

    assert differences(golden, [1.0 + 1e-12], [[0.5, 0.5]]) == ["row 0: predict 1.000000000001 where training gave 1.0"]
