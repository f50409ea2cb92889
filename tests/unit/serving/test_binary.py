"""The binary tensor extension: every datatype in and out, and sizes that lie."""

from __future__ import annotations

import struct
from typing import Any

import httpx
import pytest

from tests.unit.serving import web
from tests.unit.serving.bodies import DTYPES, Rows, binary, dump, joined, parted, tensors
from tests.unit.serving.models import Trained
from tests.unit.serving.servers import Running

ROWS: Rows = [
    {"alcohol": 13.0, "proline": 900.0, "hue": 1.0, "region": "north"},
    {"alcohol": 12.0, "proline": 400.0, "hue": 0.0, "region": "süd 🍷"},
]
ALL_BINARY = {"parameters": {"binary_data_output": True}}
FIRST, *OTHERS = tensors(ROWS)


def post(server: Running, content: bytes, headers: dict[str, str], model: str = "wine") -> httpx.Response:
    return web.post(f"{server.url}/v2/models/{model}/infer", content=content, headers=headers)


def answer(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return parted(response.content, response.headers)[1]


def first(datatype: str, size: int, shape: list[int] | None = None) -> dict[str, Any]:
    """The first column as a binary tensor."""
    return {"name": "alcohol", "shape": shape or [2], "datatype": datatype, "parameters": {"binary_data_size": size}}


@pytest.mark.parametrize("datatype", DTYPES)
def test_every_number_type_is_read(wine_server: Running, wine: Trained, datatype: str) -> None:
    values = [True, False] if datatype == "BOOL" else [13, 12]
    rows = [{**row, "alcohol": value} for row, value in zip(ROWS, values, strict=True)]
    inputs = [{**tensor, "datatype": datatype} if tensor["name"] == "alcohol" else tensor for tensor in tensors(rows)]

    given = answer(post(wine_server, *binary(inputs)))

    assert given["predict"] == wine.answer(rows, "predict")
    assert wine.same(given["predict_proba"], rows)


def test_text_is_utf_8_and_may_be_empty(wine_server: Running, wine: Trained) -> None:
    rows = [{**ROWS[0], "region": region} for region in ("north", "süd", "日本", "", "a\0b", "x" * 70_000)]

    given = answer(post(wine_server, *binary(tensors(rows), **ALL_BINARY)))

    assert wine.same(given["predict_proba"], rows)
    assert given["predict"] == wine.answer(rows, "predict")


def test_nan_is_a_missing_number(wine_server: Running, wine: Trained) -> None:
    rows = [{**row, "alcohol": None, "hue": None} for row in ROWS]

    given = answer(post(wine_server, *binary(tensors(rows))))

    assert wine.same(given["predict_proba"], rows)


@pytest.mark.parametrize("columns", [{"alcohol"}, {"region"}, {"alcohol", "hue"}, {"proline", "region"}], ids=sorted)
def test_binary_tensors_and_json_ones_mix(wine_server: Running, wine: Trained, columns: set[str]) -> None:
    rows = [ROWS[0], {**ROWS[1], "hue": None} if "hue" not in columns else ROWS[1]]
    inputs, parts = [], []
    for tensor in tensors(rows)[::-1]:
        data = tensor.pop("data") if tensor["name"] in columns else None
        if data is not None:
            parts.append(dump(data, tensor["datatype"]))
            tensor["parameters"] = {"binary_data_size": len(parts[-1])}
        inputs.append(tensor)

    given = answer(post(wine_server, *joined({"inputs": inputs}, *parts)))

    assert wine.same(given["predict_proba"], rows)


@pytest.mark.parametrize(
    ("more", "are_binary"),
    [
        pytest.param({}, (False, False), id="by itself JSON"),
        pytest.param(ALL_BINARY, (True, True), id="all"),
        pytest.param({"outputs": [{"name": "predict"}, {"name": "predict_proba", "parameters": {"binary_data": True}}]}, (False, True), id="one"),
        pytest.param(
            {**ALL_BINARY, "outputs": [{"name": "predict"}, {"name": "predict_proba", "parameters": {"binary_data": False}}]},
            (True, False),
            id="all but one",
        ),
        pytest.param({"outputs": [{"name": "predict_proba", "parameters": {"binary_data": True}}]}, (None, True), id="one alone"),
    ],
)
def test_an_output_is_binary_if_that_is_asked_for(
    wine_server: Running, wine: Trained, more: dict[str, Any], are_binary: tuple[bool | None, bool | None]
) -> None:
    response = web.post(f"{wine_server.url}/v2/models/wine/infer", json={"inputs": tensors(ROWS), **more})

    document, given = parted(response.content, response.headers)
    kinds = {output["name"]: "data" not in output for output in document["outputs"]}
    assert (kinds.get("predict"), kinds.get("predict_proba")) == are_binary
    assert response.headers["content-type"] == ("application/octet-stream" if any(are_binary) else "application/json")
    assert wine.same(given["predict_proba"], ROWS)
    assert given.get("predict") in (None, wine.answer(ROWS, "predict"))


def test_labels_that_are_integers_and_numbers_of_a_regression_are_answered_in_binary(
    late_server: Running, late: Trained, diabetes_server: Running, diabetes: Trained
) -> None:
    rows, more = [{**row, "region": row["region"] or ""} for row in late.rows(*range(50))], diabetes.rows(0, 1, 3, 4)

    labels = answer(post(late_server, *binary(tensors(rows), **ALL_BINARY), model="late"))
    numbers = answer(post(diabetes_server, *binary(tensors(more), **ALL_BINARY), model="diabetes"))

    assert late.same(labels["predict"], rows, "predict")
    assert late.same(labels["predict_proba"], rows)
    assert diabetes.same(numbers["predict"], more, "predict")


@pytest.mark.parametrize(
    ("tensor", "part", "sentence"),
    [
        pytest.param(first("FP64", 16), bytes(15), "binary_data_size is 16, 15 bytes are left", id="less than it says"),
        pytest.param(first("FP64", 16), bytes(17), "1 bytes of binary data are left over", id="more than it says"),
        pytest.param(first("FP64", 8), bytes(8), "2 values of FP64 are 16 bytes, not 8", id="less than the shape says"),
        pytest.param(first("FP64", 24), bytes(24), "2 values of FP64 are 16 bytes, not 24", id="more than the shape says"),
        pytest.param(first("FP64", 2**62, [2**59]), bytes(16), "are more than 250000", id="a size beyond memory"),
        pytest.param(first("FP64", 16, [2**62]), bytes(16), "are more than 250000", id="a shape beyond memory"),
        pytest.param(first("FP64", -1), b"", "binary_data_size the size of its binary data", id="a size below nothing"),
        pytest.param(first("BF16", 4), bytes(4), "the datatype is FP64, not BF16", id="a datatype that NumPy has not"),
        pytest.param({**first("FP64", 16), "data": [1.0, 2.0]}, bytes(16), "16 bytes of binary data are left over", id="both JSON and binary"),
        pytest.param({**first("FP64", 16), "parameters": {"binary_data_size": "16"}}, bytes(16), "the size of its binary", id="a size that is text"),
        pytest.param({**first("FP64", 16), "parameters": [16]}, bytes(16), "the size of its binary", id="parameters that are a list"),
        pytest.param(first("FP64", 16), struct.pack("<2d", 13, float("inf")), "row 1, column alcohol: expected a finite number", id="infinity"),
        pytest.param(first("FP32", 8), struct.pack("<2f", float("-inf"), 1), "row 0, column alcohol: expected a finite number", id="in FP32"),
        pytest.param(first("INT64", 16), struct.pack("<2q", 1, 2**53 + 1), "row 1, column alcohol: 9007199254740993 has no exact", id="INT64"),
        pytest.param(first("INT64", 16), struct.pack("<2q", 1, -(2**63) + 1), "row 1, column alcohol: -9223372036854775807 has no", id="below"),
        pytest.param(first("UINT64", 16), struct.pack("<2Q", 2**64 - 1, 1), "row 0, column alcohol: 18446744073709551615 has no", id="UINT64"),
    ],
)
def test_a_binary_tensor_that_lies_is_refused(wine_server: Running, tensor: dict[str, Any], part: bytes, sentence: str) -> None:
    response = post(wine_server, *joined({"inputs": [*OTHERS, tensor]}, part))

    assert response.status_code == (413 if "more than 250000" in sentence else 400)
    assert sentence in response.json()["error"]


@pytest.mark.parametrize("datatype", ["INT64", "UINT64"])
def test_a_large_integer_that_has_an_exact_float_is_read(wine_server: Running, wine: Trained, datatype: str) -> None:
    values = [2**53, 2**60] if datatype == "INT64" else [2**63, 2**53 + 2]
    rows = [{**row, "alcohol": float(value)} for row, value in zip(ROWS, values, strict=True)]

    given = answer(post(wine_server, *binary([{**FIRST, "datatype": datatype, "data": values}, *OTHERS])))

    assert wine.same(given["predict_proba"], rows)


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        pytest.param(struct.pack("<I", 2) + b"ab" + struct.pack("<I", 9) + b"cd", "value 1 says that it has 9 bytes, 2 are left", id="too long"),
        pytest.param(dump(["a", "b"], "BYTES") + b"abc", "3 bytes are left over behind value 2", id="half a length"),
        pytest.param(dump(["a"], "BYTES"), "the shape says 2 rows, the binary data hold 1", id="one too few"),
        pytest.param(dump(["a", "b", "c"], "BYTES"), "the shape says 2 rows, the binary data hold 3", id="one too many"),
        pytest.param(struct.pack("<I", 1) + b"a" + struct.pack("<I", 2) + b"\xff\xfe", "row 1, column region: not UTF-8", id="not UTF-8"),
        pytest.param(struct.pack("<I", 2**32 - 1) + b"a", "value 0 says that it has 4294967295 bytes", id="length beyond memory"),
    ],
)
def test_text_that_lies_is_refused(wine_server: Running, part: bytes, sentence: str) -> None:
    region = {"name": "region", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": len(part)}}

    response = post(wine_server, *joined({"inputs": [FIRST, *OTHERS[:2], region]}, part))

    assert response.status_code == 400
    assert sentence in response.json()["error"]


@pytest.mark.parametrize(
    ("length", "sentence"),
    [
        pytest.param("100000", "has to be a number up to the body's", id="more than the body"),
        pytest.param("-1", "has to be a number up to the body's", id="below nothing"),
        pytest.param("ten", "has to be a number up to the body's", id="no number"),
        pytest.param("", "has to be a number up to the body's", id="empty"),
        pytest.param("9" * 5000, "has to be a number up to the body's", id="too long for a number"),
        pytest.param("0", "the body is empty", id="nothing"),
        pytest.param("10", "the body is not JSON", id="within the JSON"),
        pytest.param(None, "the body is not JSON", id="no header"),
    ],
)
def test_a_header_length_that_lies_is_refused(wine_server: Running, length: str | None, sentence: str) -> None:
    content, headers = binary(tensors(ROWS))
    headers = {name: value for name, value in {**headers, "inference-header-content-length": length}.items() if value is not None}

    response = post(wine_server, content, headers)

    assert response.status_code == 400
    assert sentence in response.json()["error"]


def test_a_tensor_without_data_needs_the_header(wine_server: Running) -> None:
    body = {"inputs": [first("FP64", 16), *OTHERS]}

    response = web.post(f"{wine_server.url}/v2/models/wine/infer", json=body)

    assert response.status_code == 400
    assert response.json()["error"] == "column alcohol: binary data need the header Inference-Header-Content-Length"
