"""The same routes below the model's name: an ingress leads several models on one host, and rewrites nothing."""

from __future__ import annotations

import pytest

from tests.unit.serving import web
from tests.unit.serving.models import Trained, publish
from tests.unit.serving.servers import HeldStorage, Launcher, Running

pytestmark = pytest.mark.one_engine

ROUTES = ["/v2", "/v2/health/live", "/v2/health/ready", "/ping", "/health", "/version"]
MODEL_ROUTES = ["/v2/models/wine", "/v2/models/wine/ready", "/v2/models/wine/versions/3", "/v2/models/wine/versions/3/ready"]


@pytest.mark.parametrize("path", ROUTES + MODEL_ROUTES)
def test_a_path_below_the_name_answers_as_the_plain_one(wine_server: Running, path: str) -> None:
    plain, below = web.get(wine_server.url + path), web.get(f"{wine_server.url}/wine{path}")

    assert (below.status_code, below.content) == (200, plain.content)


@pytest.mark.parametrize("path", ["/invocations", "/v2/models/wine/infer", "/v2/models/wine/versions/3/infer"])
def test_a_prediction_below_the_name_is_the_plain_one(wine_server: Running, wine: Trained, path: str) -> None:
    row = wine.rows(7)[0]
    tensors = [{"name": name, "shape": [1], "datatype": "BYTES" if name == "region" else "FP64", "data": [value]} for name, value in row.items()]
    body = {"instances": [row]} if path == "/invocations" else {"inputs": tensors}

    plain, below = web.post(wine_server.url + path, json=body), web.post(f"{wine_server.url}/wine{path}", json=body)

    assert (below.status_code, below.content) == (200, plain.content)


def test_the_name_alone_describes_the_server(wine_server: Running) -> None:
    response = web.get(f"{wine_server.url}/wine")

    assert response.json() == web.get(f"{wine_server.url}/v2").json()


@pytest.mark.parametrize("path", ["/winery/v2", "/win", "/wine/nowhere", "/wine/wine/v2", "/late/v2", "/wine/v2/models/late"])
def test_other_paths_are_not_found(wine_server: Running, path: str) -> None:
    response = web.get(wine_server.url + path)

    assert response.status_code == 404
    assert response.json()["error"]


@pytest.mark.parametrize("name", ["v2", "ping", "invocations"])
def test_a_model_named_like_a_route_hides_none(launcher: Launcher, wine: Trained, name: str) -> None:
    server = launcher.start(*publish(wine.onnx), name=name).wait_until_ready()
    body = {"instances": wine.rows(0)}

    statuses = {path: web.get(server.url + path).status_code for path in [*ROUTES, f"/v2/models/{name}", f"/{name}/ping", f"/{name}/v2"]}
    answers = [web.post(server.url + path, json=body) for path in ("/invocations", f"/{name}/invocations")]

    assert set(statuses.values()) == {200}, statuses
    assert [answer.json()["predictions"] for answer in answers] == [wine.answer(wine.rows(0), "predict")] * 2


def test_no_path_leads_to_a_model_that_is_not_proved(launcher: Launcher, wine: Trained) -> None:
    server = launcher.start(*publish(wine.onnx), environment={"AWS_ENDPOINT_URL_S3": HeldStorage().url})
    gets = [path for path in ROUTES + MODEL_ROUTES if path not in ("/v2", "/v2/health/live", "/version")]
    posts = ["/invocations", "/v2/models/wine/infer", "/v2/models/wine/versions/3/infer"]

    with web.client(base_url=server.url) as client:
        ready = [client.get(below + path).status_code for below in ("", "/wine") for path in gets]
        answered = [client.post(below + path, json={"instances": wine.rows(0)}).status_code for below in ("", "/wine") for path in posts]

    assert {*ready, *answered} == {503}
