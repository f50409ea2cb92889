"""MLflow's scoring protocol, against a running server."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.unit.serving import web
from tests.unit.serving.models import Trained
from tests.unit.serving.servers import Running


def invoke(server: Running, body: Any) -> httpx.Response:
    return web.post(f"{server.url}/invocations", json=body)


def forms(rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = list(rows[0])
    values = [[row[name] for name in names] for row in rows]
    shuffled = [[row[name] for name in reversed(names)] for row in rows]
    return {
        "split": {"dataframe_split": {"index": list(range(len(rows))), "columns": names[::-1], "data": shuffled}},
        "records": {"dataframe_records": rows},
        "inputs": {"inputs": {name: [row[name] for row in rows] for name in reversed(names)}},
        "inputs rows": {"inputs": values},
        "instances": {"instances": rows},
        "instances rows": {"instances": values},
    }


@pytest.mark.parametrize("form", ["split", "records", "inputs", "inputs rows", "instances", "instances rows"])
def test_every_form_gives_scikit_learns_answers(wine_server: Running, wine: Trained, form: str) -> None:
    rows = [*wine.rows(*range(40)), {"alcohol": None, "proline": 7, "hue": None, "region": None}]

    labels = invoke(wine_server, forms(rows)[form])
    proba = invoke(wine_server, {**forms(rows)[form], "params": {"predict_method": "predict_proba"}})

    assert labels.json() == {"predictions": wine.answer(rows, "predict")}
    assert wine.same(proba.json()["predictions"], rows)
    assert labels.headers["x-model-version"] == "3"


def test_labels_and_numbers_keep_their_type(late_server: Running, late: Trained, diabetes_server: Running, diabetes: Trained) -> None:
    labels = invoke(late_server, {"dataframe_records": late.rows(*range(178))}).json()["predictions"]
    numbers = invoke(diabetes_server, {"dataframe_records": diabetes.rows(0, 100)}).json()["predictions"]

    assert labels == late.answer(late.rows(*range(178)), "predict")
    assert set(map(repr, labels)) == {"0", "1"}
    assert diabetes.same(numbers, diabetes.rows(0, 100), "predict")


ROW = {"alcohol": 13.0, "proline": 900.0, "hue": 1.0, "region": "north"}
MALFORMED = [
    pytest.param("text", "the body is a string, not an object", id="a string"),
    pytest.param({}, "send exactly one of dataframe_split", id="nothing"),
    pytest.param({"instances": [ROW], "inputs": [ROW]}, "send exactly one of dataframe_split", id="two forms"),
    pytest.param({"instances": [ROW], "columns": []}, "columns is unknown", id="unknown key"),
    pytest.param({"instances": [ROW], "\x9b2J\u202e": []}, r"\x9b2J\u202e is unknown", id="control characters"),
    pytest.param({"dataframe_split": {"data": [[1]]}}, "dataframe_split has to be", id="split without columns"),
    pytest.param({"dataframe_split": {"columns": [1], "data": [[1]]}}, "columns has to be a list of names", id="column names that are numbers"),
    pytest.param({"dataframe_split": {"columns": list(ROW), "data": [[1, 2, 3, "a"], [1, 2, 3]]}}, "row 1: 3 values for 4 columns", id="short row"),
    pytest.param({"dataframe_split": {"columns": ["hue"] * 4, "data": [[1] * 4]}}, "column hue is named twice", id="column twice"),
    pytest.param({"dataframe_split": {"columns": list(ROW), "data": ["x"]}}, "row 0: expected a list of 4 values", id="row that is a string"),
    pytest.param({"dataframe_split": {"columns": list(ROW), "data": []}}, "there are no rows", id="split without rows"),
    pytest.param({"dataframe_records": []}, "there are no rows", id="no records"),
    pytest.param({"dataframe_records": ROW}, "expected a list of rows, got an object", id="one record without a list"),
    pytest.param({"dataframe_records": [ROW, {**ROW, "age": 3}]}, "row 1: column age is unknown", id="unknown column"),
    pytest.param({"dataframe_records": [ROW, {"hue": 1.0}]}, "row 1: column alcohol is missing", id="missing column"),
    pytest.param({"dataframe_records": [ROW, None]}, "row 1: expected an object with the columns alcohol", id="row that is null"),
    pytest.param(
        {"dataframe_records": [ROW, {**ROW, "hue": "red"}]}, "row 1, column hue: expected a number or null, got a string", id="text in a number"
    ),
    pytest.param(
        {"dataframe_records": [ROW, {**ROW, "region": 4}]}, "row 1, column region: expected a string or null, got an integer", id="number in a text"
    ),
    pytest.param(
        {"inputs": {**{n: [v] for n, v in ROW.items()}, "hue": [1, 2]}}, "column hue has 2 rows, column alcohol has 1", id="unequal lengths"
    ),
    pytest.param({"inputs": ROW}, "column alcohol: expected a list of values", id="inputs without lists"),
    pytest.param({"inputs": {}}, "column alcohol is missing", id="inputs without columns"),
    pytest.param(
        {"instances": [ROW], "params": {"predict_method": "score"}}, "params.predict_method has to be one of predict, predict_proba", id="method"
    ),
    pytest.param({"instances": [ROW], "params": {"predict_method": [1]}}, "params.predict_method has to be one of", id="method that is a list"),
    pytest.param({"instances": [ROW], "params": {"seed": 1}}, "params may hold predict_method alone", id="unknown parameter"),
]


@pytest.mark.parametrize(("body", "sentence"), MALFORMED)
def test_a_malformed_request_is_refused_with_its_place(wine_server: Running, body: Any, sentence: str) -> None:
    response = invoke(wine_server, body)

    assert response.status_code == 400
    assert sentence in response.json()["message"]


def test_a_regression_has_no_probabilities(diabetes_server: Running, diabetes: Trained) -> None:
    response = invoke(diabetes_server, {"instances": diabetes.rows(0), "params": {"predict_method": "predict_proba"}})

    assert response.status_code == 400
    assert "has to be one of predict" in response.json()["message"]


@pytest.mark.parametrize("path", ["/ping", "/health", "/version"])
def test_mlflows_own_questions_are_answered(wine_server: Running, path: str) -> None:
    response = web.get(wine_server.url + path)

    assert response.status_code == 200
    assert response.text
