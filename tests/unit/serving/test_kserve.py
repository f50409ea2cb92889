"""KServe's V1 protocol, against a running server."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.unit.serving import web
from tests.unit.serving.models import Trained, publish
from tests.unit.serving.servers import HeldStorage, Launcher, Running

pytestmark = pytest.mark.one_engine

PREDICT = "/v1/models/wine:predict"


def predict(server: Running, body: Any, path: str = PREDICT) -> httpx.Response:
    return web.post(server.url + path, json=body)


@pytest.mark.parametrize("below", ["", "/wine"])
@pytest.mark.parametrize("form", ["objects", "lists"])
def test_instances_are_answered_in_their_order(wine_server: Running, wine: Trained, form: str, below: str) -> None:
    rows = wine.rows(*range(100))
    instances = [list(row.values()) for row in rows] if form == "lists" else rows

    response = predict(wine_server, {"instances": instances}, below + PREDICT)

    assert response.json() == {"predictions": wine.answer(rows, "predict")}
    assert response.headers["x-model-version"] == "3"


def test_labels_and_numbers_keep_their_type(late_server: Running, late: Trained, diabetes_server: Running, diabetes: Trained) -> None:
    labels = predict(late_server, {"instances": late.rows(*range(90))}, "/v1/models/late:predict").json()["predictions"]
    numbers = predict(diabetes_server, {"instances": diabetes.rows(*range(90))}, "/v1/models/diabetes:predict").json()["predictions"]

    assert late.same(labels, late.rows(*range(90)), "predict")
    assert diabetes.same(numbers, diabetes.rows(*range(90)), "predict")


def test_the_models_are_listed_and_the_model_is_ready(wine_server: Running) -> None:
    models, model = web.get(f"{wine_server.url}/v1/models"), web.get(f"{wine_server.url}/v1/models/wine")

    assert (models.status_code, models.json()) == (200, {"models": ["wine"]})
    assert (model.status_code, model.json()) == (200, {"name": "wine", "ready": True})


def test_a_model_that_loads_is_not_ready(launcher: Launcher, wine: Trained) -> None:
    server = launcher.start(*publish(wine.onnx), environment={"AWS_ENDPOINT_URL_S3": HeldStorage().url})

    model, refused = web.get(f"{server.url}/v1/models/wine"), predict(server, {"instances": wine.rows(0)})

    assert model.json() == {"name": "wine", "ready": False}
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/models/other"), ("POST", "/v1/models/other:predict"), ("POST", "/v1/models/wine/versions/3:predict")]
)
def test_another_model_is_not_found(wine_server: Running, method: str, path: str) -> None:
    response = web.request(method, wine_server.url + path, json={"instances": [[1]]} if method == "POST" else None)

    assert response.status_code == 404
    assert response.json().keys() == {"error"}


ROW = {"alcohol": 13.0, "proline": 900.0, "hue": 1.0, "region": "north"}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        pytest.param([], 'send {"instances": [...]}', id="a list"),
        pytest.param({}, 'send {"instances": [...]}', id="nothing"),
        pytest.param({"inputs": [ROW]}, 'send {"instances": [...]}', id="another form"),
        pytest.param({"instances": [ROW], "inputs": [ROW]}, "inputs is unknown", id="two forms"),
        pytest.param({"instances": []}, "there are no rows", id="no rows"),
        pytest.param({"instances": ROW}, "expected a list of rows, got an object", id="a row without a list"),
        pytest.param({"instances": [ROW, [13.0, 900.0, 1.0, "north"]]}, "row 1: expected an object", id="an object and a list"),
        pytest.param({"instances": [[13.0, 900.0, 1.0, "north"], ROW]}, "row 1: expected a list of 4 values, got an object", id="a list and object"),
        pytest.param({"instances": [[13.0, 900.0, 1.0]]}, "row 0: 3 values for 4 columns", id="short row"),
        pytest.param({"instances": [ROW, {**ROW, "hue": "red"}]}, "row 1, column hue: expected a number or null, got a string", id="text in number"),
        pytest.param({"instances": [{**ROW, "hue": 2**53 + 1}]}, "row 0, column hue: 9007199254740993 has no exact", id="inexact integer"),
    ],
)
def test_a_malformed_request_is_refused_with_its_place(wine_server: Running, body: Any, sentence: str) -> None:
    response = predict(wine_server, body)

    assert response.status_code == 400
    assert sentence in response.json()["error"]
