"""What was asked and answered, as Parquet: values, types, names; no server is needed."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from collections import deque
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bundle import Datatype, Input, Manifest, Output
from serving.model import Version
from serving.prediction_table import FEW_ROWS, SLICE_ROWS, keep, names, parquet

VERSION = Version("flights", "7", "s3://models/flights/ab.zip", "sha256:ab")
INPUTS = (Input("hour", "FP64"), Input("carrier", "BYTES"))
Request = tuple[list[float | None], list[str | None]]

values = st.tuples(
    st.one_of(st.none(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False)),
    st.one_of(st.none(), st.text()),
)
requests = st.lists(st.lists(values, min_size=1, max_size=2 * FEW_ROWS), min_size=1, max_size=8)


def manifest(label: Datatype = "BYTES", inputs: tuple[Input, ...] = INPUTS, classes: tuple[Any, ...] | None = ("late", "on time")) -> Manifest:
    outputs = (Output("predict", label),) + (() if classes is None else (Output("predict_proba", "FP64"),))
    return Manifest("flights", "regression" if classes is None else "binary", "late", "onnx", inputs, outputs, classes, {})


def table(kept: list[tuple[Any, ...]], described: Manifest) -> pa.Table:
    return pq.read_table(io.BytesIO(parquet(deque(kept), described, VERSION)))


def kept(columns: Any, answers: dict[str, Any], identity: str = "", trace: str = "") -> tuple[Any, ...]:
    return keep(columns, {name: np.array(answer) for name, answer in answers.items()}, len(columns[0]), identity, trace, 0)


@given(requests)
def test_every_value_comes_back_in_its_row(sent: list[list[tuple[Any, Any]]]) -> None:
    numbers = [[row[0] for row in request] for request in sent]
    texts = [[row[1] for row in request] for request in sent]
    answers = [{"predict": np.arange(len(request)), "predict_proba": np.full((len(request), 2), 0.5)} for request in sent]

    read = table([kept(columns, answer) for *columns, answer in zip(numbers, texts, answers, strict=True)], manifest("INT64", classes=(0, 1)))

    assert read["hour"].to_pylist() == [number for request in numbers for number in request]
    assert read["carrier"].to_pylist() == [text for request in texts for text in request]
    assert read["_prediction"].to_pylist() == read["_row"].to_pylist() == [row for request in sent for row in range(len(request))]


@pytest.mark.parametrize("rows", [1, FEW_ROWS, FEW_ROWS + 1, SLICE_ROWS, SLICE_ROWS + 3, 3 * SLICE_ROWS], ids=str)
@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_requests_of_every_size_stand_side_by_side(rows: int, kind: Any) -> None:
    hours, carriers = [float(row) for row in range(rows)], [f"c{row}" for row in range(rows)]
    proba = np.linspace(0, 1, 2 * rows).reshape(rows, 2)
    one = kept([kind(hours), kind(carriers)], {"predict": carriers, "predict_proba": proba}, "a", "t")
    small = kept([[0.5], ["UA"]], {"predict": ["late"], "predict_proba": [[1.0, 0.0]]}, "b")

    read = table([small, one, small], manifest())

    assert read["hour"].to_pylist() == [0.5, *hours, 0.5]
    assert read["carrier"].to_pylist() == ["UA", *carriers, "UA"]
    assert read["_prediction"].to_pylist() == ["late", *carriers, "late"]
    assert read["_probability"].to_pylist() == [[1.0, 0.0], *proba.tolist(), [1.0, 0.0]]
    assert read["_request_id"].to_pylist() == ["b", *["a"] * rows, "b"]
    assert read["_trace"].to_pylist() == [None, *["t"] * rows, None]
    assert read["_row"].to_pylist() == [0, *range(rows), 0]


@pytest.mark.parametrize(
    ("label", "labels", "expected"),
    [
        pytest.param("BYTES", ["late", "on time"], pa.string(), id="text"),
        pytest.param("INT64", [0, 1], pa.int64(), id="integers"),
        pytest.param("BOOL", [False, True], pa.bool_(), id="booleans"),
        pytest.param("FP64", [0.25, -1e300], pa.float64(), id="numbers"),
    ],
)
def test_a_prediction_keeps_its_type(label: Datatype, labels: list[Any], expected: pa.DataType) -> None:
    read = table([kept([[1.0, 2.0], ["UA", "AA"]], {"predict": labels})], manifest(label, classes=None))

    assert label in get_args(Datatype)
    assert (read["_prediction"].type, read["_prediction"].to_pylist()) == (expected, labels)
    assert read["_probability"].to_pylist() == [None, None]


def test_what_a_client_did_not_ask_for_is_null_beside_one_who_did() -> None:
    row = [[1.0], ["UA"]]
    neither, only = {"predict_proba": [[0.25, 0.75]]}, {"predict": ["late"]}

    read = table([kept(row, neither), kept(row, only), kept(row, neither | only)], manifest())

    assert read["_prediction"].to_pylist() == [None, "late", "late"]
    assert read["_probability"].to_pylist() == [[0.25, 0.75], None, [0.25, 0.75]]


def test_a_number_that_is_missing_is_null_also_where_it_came_as_nan() -> None:
    columns = [np.array([math.nan, 1.0, -0.0]), (None, "", "never seen before")]

    read = table([kept(columns, {"predict": ["late"] * 3})], manifest())

    assert read["hour"].to_pylist() == [None, 1.0, 0.0]
    assert read["carrier"].to_pylist() == [None, "", "never seen before"]


def test_the_object_says_of_what_it_is() -> None:
    read = table([kept([[1.0], ["UA"]], {"predict": ["late"]})], manifest())

    about = {key.decode(): value.decode() for key, value in read.schema.metadata.items()}
    assert about | {"classes": json.loads(about["classes"])} == {
        "model": "flights",
        "version": "7",
        "digest": "sha256:ab",
        "classes": ["late", "on time"],
        "positive": "null",
    }
    assert read.schema.names == ["hour", "carrier", "_prediction", "_probability", "_request_id", "_trace", "_time", "_row"]
    assert read.schema.field("_time").type == pa.timestamp("us", tz="UTC")


@pytest.mark.parametrize(
    ("given_names", "expected"),
    [
        pytest.param(["hour", "prediction", "time"], ["hour", "prediction", "time"], id="none is taken"),
        pytest.param(["version", "Date", "_TIME"], ["feature_version", "feature_Date", "feature__TIME"], id="the log's and the address's"),
        pytest.param(["date", "feature_date"], ["feature_date", "feature_feature_date"], id="the way out is taken"),
    ],
)
def test_a_feature_whose_name_is_taken_gets_another(given_names: list[str], expected: list[str]) -> None:
    inputs = tuple(Input(name, "FP64") for name in given_names)

    read = table([kept([[float(place)] for place in range(len(inputs))], {"predict": [0.5]})], manifest("FP64", inputs, None))

    assert names(inputs) == expected
    assert [read[name].to_pylist() for name in expected] == [[float(place)] for place in range(len(inputs))]


def test_a_batch_of_which_one_request_is_kept_is_not_kept_as_a_whole() -> None:
    batch = np.zeros((4096, 2))

    _, _, predict, proba, *_ = keep([[1.0], ["UA"]], {"predict": batch[:1, 0], "predict_proba": batch[:1]}, 1, "", "", 0)

    assert (predict.base, proba.base) == (None, None)
    assert (predict.tolist(), proba.tolist()) == ([0.0], [[0.0, 0.0]])


ALONE = """
import sys
from collections import deque
import numpy as np
import serving.prediction_log
from core.bundle import Input, Manifest, Output
from serving.model import Version
from serving.prediction_table import keep, parquet
assert "pyarrow" not in sys.modules
outputs = (Output("predict", "BYTES"), Output("predict_proba", "FP64"))
manifest = Manifest("a", "binary", "b", "onnx", (Input("c", "FP64"), Input("d", "BYTES")), outputs, ("e", "f"), {})
answers = {"predict": np.array(["e"]), "predict_proba": np.array([[1.0, 0.0]])}
parquet(deque([keep([[1.0], ["x"]], answers, 1, "", "", 0)]), manifest, Version("a", "1", "", ""))
assert "pyarrow" in sys.modules
assert "pandas" not in sys.modules
"""


def test_neither_the_log_that_is_off_imports_pyarrow_nor_the_one_that_writes_pandas() -> None:
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
