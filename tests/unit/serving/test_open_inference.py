"""The Open Inference Protocol, point by point, against a running server."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import httpx
import pytest

from tests.unit.serving import web
from tests.unit.serving.bodies import tensors
from tests.unit.serving.models import Trained
from tests.unit.serving.servers import Running


def infer(server: Running, body: Any, path: str = "/v2/models/wine/infer") -> httpx.Response:
    return web.post(server.url + path, json=body)


def test_the_answers_are_scikit_learns(wine_server: Running, wine: Trained, engine: str) -> None:
    rows = [*wine.rows(*range(178)), {"alcohol": None, "proline": None, "hue": None, "region": "never seen"}]

    response = infer(wine_server, {"id": "a-7", "inputs": tensors(rows)})

    document = response.json()
    predict, proba = document["outputs"]
    assert (document["model_name"], document["model_version"], document["id"]) == ("wine", "3", "a-7")
    assert document["parameters"] == {"engine": engine}
    assert predict == {"name": "predict", "datatype": "BYTES", "shape": [179], "data": wine.answer(rows, "predict")}
    assert proba["shape"] == [179, 3]
    assert wine.same([proba["data"][place : place + 3] for place in range(0, 179 * 3, 3)], rows)


def test_the_answers_of_a_regression_are_numbers(diabetes_server: Running, diabetes: Trained) -> None:
    rows = diabetes.rows(1, 2, 3)

    outputs = infer(diabetes_server, {"inputs": tensors(rows)}, "/v2/models/diabetes/infer").json()["outputs"]

    assert [(output["name"], output["datatype"], output["shape"]) for output in outputs] == [("predict", "FP64", [3])]
    assert diabetes.same(outputs[0]["data"], rows, "predict")


def test_only_the_requested_outputs_are_answered(late_server: Running, late: Trained) -> None:
    rows = late.rows(0, 100)

    document = infer(late_server, {"inputs": tensors(rows), "outputs": [{"name": "predict"}]}, "/v2/models/late/versions/3/infer").json()

    assert document["outputs"] == [{"name": "predict", "datatype": "INT64", "shape": [2], "data": late.answer(rows, "predict")}]
    assert "id" not in document


@pytest.mark.parametrize("order", [pytest.param(1, id="as trained"), pytest.param(-1, id="reversed")])
@pytest.mark.parametrize("nested", [True, False], ids=["nested", "flat"])
def test_columns_are_taken_by_name_and_in_both_shapes(wine_server: Running, wine: Trained, order: int, nested: bool) -> None:
    rows = wine.rows(1, 2, 3, 4)
    inputs = [{**tensor, "shape": [4, 1], "data": [[value] for value in tensor["data"]] if nested else tensor["data"]} for tensor in tensors(rows)]

    outputs = infer(wine_server, {"inputs": inputs[::order]}).json()["outputs"]

    assert outputs[0]["data"] == wine.answer(rows, "predict")


@pytest.mark.parametrize(
    ("datatype", "value"), [("INT64", 13), ("UINT8", 13), ("FP32", 13.5), ("BOOL", True), ("FP64", 13), ("INT32", None)], ids=str
)
def test_other_number_types_are_converted(wine_server: Running, wine: Trained, datatype: str, value: Any) -> None:
    rows = [{**wine.rows(1)[0], "alcohol": value}]
    inputs = [{**tensor, "datatype": datatype} if tensor["name"] == "alcohol" else tensor for tensor in tensors(rows)]

    outputs = infer(wine_server, {"inputs": inputs}).json()["outputs"]

    assert wine.same([outputs[1]["data"]], rows)


def changed(**changes: Any) -> Any:
    """The four columns of two rows, the first of them changed."""
    rows = [{"alcohol": 13.0, "proline": 900.0, "hue": 1.0, "region": "north"}] * 2
    first, *others = tensors(rows)
    return {"inputs": [{**first, **changes}, *others]}


MALFORMED = [
    pytest.param([], "not an object", id="a list"),
    pytest.param({}, "inputs has to be a list", id="no inputs"),
    pytest.param({"inputs": {}}, "inputs has to be a list", id="inputs an object"),
    pytest.param({"inputs": [3]}, "input 0: expected an object", id="a tensor that is a number"),
    pytest.param({"inputs": changed()["inputs"][1:]}, "column alcohol is missing", id="missing column"),
    pytest.param({"inputs": [*changed()["inputs"], {"name": "age"}]}, "column age is unknown", id="unknown column"),
    pytest.param({"inputs": changed()["inputs"] + changed()["inputs"]}, "column alcohol is given twice", id="column twice"),
    pytest.param(changed(data=[13.0, "high"]), "row 1, column alcohol: expected a number or null, got a string", id="text in a number"),
    pytest.param(changed(data=[13.0, [1]]), "row 1, column alcohol: expected a number or null, got a list", id="list in a number"),
    pytest.param(changed(data=[13, 2**53 + 1], datatype="INT64"), "row 1, column alcohol: 9007199254740993 has no exact", id="inexact integer"),
    pytest.param(changed(datatype="INT64", data=[1, 1.5]), "row 1, column alcohol: expected INT64 or null, got a number", id="fraction as integer"),
    pytest.param(changed(datatype="BOOL", data=[1, True]), "row 0, column alcohol: expected BOOL or null, got an integer", id="integer as boolean"),
    pytest.param(changed(datatype="BYTES"), "column alcohol: the datatype is FP64, not BYTES", id="wrong datatype"),
    pytest.param(changed(datatype=None), "column alcohol: the datatype is FP64, not what was sent", id="no datatype"),
    pytest.param(changed(shape=[2, 2]), "column alcohol: the shape has to be [rows] or [rows, 1]", id="two columns wide"),
    pytest.param(changed(shape=[True]), "column alcohol: the shape has to be", id="shape of booleans"),
    pytest.param(changed(shape=None), "column alcohol: the shape has to be", id="no shape"),
    pytest.param(changed(shape=[3]), "column alcohol: the shape says 3 rows, data has 2", id="shape too long"),
    pytest.param(changed(shape=[1], data=[13.0]), "column proline has 2 rows, column alcohol has 1", id="unequal lengths"),
    pytest.param(changed(data="AAAA"), "column alcohol: data has to be a list", id="data a string"),
    pytest.param({**changed(), "id": 7}, "id has to be a string, not an integer", id="id a number"),
    pytest.param({**changed(), "outputs": "predict"}, "outputs has to be a list", id="outputs a string"),
    pytest.param({**changed(), "outputs": [{"name": "score"}]}, "output score is unknown", id="unknown output"),
    pytest.param({"inputs": [{**t, "shape": [0], "data": []} for t in changed()["inputs"]]}, "there are no rows", id="no rows"),
]


@pytest.mark.parametrize(("body", "sentence"), MALFORMED)
def test_a_malformed_request_is_refused_with_its_place(wine_server: Running, body: Any, sentence: str) -> None:
    response = infer(wine_server, body)

    assert response.status_code == 400
    assert sentence in response.json()["error"]


def test_the_metadata_say_what_the_model_reads_and_which_version_this_is(wine_server: Running, wine: Trained, engine: str) -> None:
    response = web.get(f"{wine_server.url}/v2/models/wine")

    document = response.json()
    assert (document["name"], document["versions"], document["platform"]) == ("wine", ["3"], engine)
    assert [(item["name"], item["datatype"]) for item in document["inputs"]] == [(item.name, item.datatype) for item in wine.bundle.manifest.inputs]
    assert document["outputs"][1] == {"name": "predict_proba", "datatype": "FP64", "shape": [-1, 3]}
    assert document["parameters"]["digest"].startswith("sha256:")
    assert document["parameters"]["classes"] == ["barbera", "barolo", "grignolino"]
    assert document["parameters"]["positive"] is None
    assert response.headers["x-model-version"] == "3"


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/wine/ready", "/v2/models/wine/versions/3/ready", "/v2/models/wine/versions/3"]
)
def test_server_and_model_are_described(wine_server: Running, path: str) -> None:
    response = web.get(wine_server.url + path)

    assert response.status_code == 200
    assert response.json()


def test_the_server_names_the_version_of_the_project(wine_server: Running) -> None:
    response = web.get(f"{wine_server.url}/v2")

    assert response.json() == {"name": "kubeflow-mlops-template", "version": version("kubeflow-mlops-template"), "extensions": ["binary_tensor_data"]}


@pytest.mark.parametrize("path", ["/v2/models/other", "/v2/models/wine/versions/4", "/v2/models/other/ready"])
def test_another_model_is_not_found(wine_server: Running, path: str) -> None:
    response = web.get(wine_server.url + path)

    assert response.status_code == 404
    assert "this server has wine version 3" in response.json()["error"]
