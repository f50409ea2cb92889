"""Requests of web pages: none by default, those of named pages on request."""

from __future__ import annotations

import orjson
import pytest

from serving.connection import HEAD_LIMIT
from tests.unit.serving import web
from tests.unit.serving.models import Trained, publish
from tests.unit.serving.servers import Launcher, Running

PAGE, OTHER = "https://app.example.com", "https://evil.example"


@pytest.fixture(scope="module")
def server(launcher: Launcher, wine: Trained) -> Running:
    return launcher.start(*publish(wine.onnx), environment={"CORS_ORIGINS": PAGE, "ACCESS_LOG": "1"}).wait_until_ready()


@pytest.mark.parametrize("kind", [{}, {"content-type": "application/json"}, {"content-type": "text/plain"}])
def test_another_sites_page_gets_no_prediction(server: Running, wine: Trained, kind: dict[str, str]) -> None:
    response = web.post(f"{server.url}/invocations", content=orjson.dumps({"instances": wine.rows(0)}), headers=kind | {"origin": OTHER})

    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("origin", [PAGE, "own"])
def test_a_named_page_and_the_servers_own_are_answered(server: Running, wine: Trained, origin: str) -> None:
    headers = {"content-type": "application/json", "origin": server.url if origin == "own" else origin}

    response = web.post(f"{server.url}/invocations", content=orjson.dumps({"instances": wine.rows(0)}), headers=headers)

    assert response.status_code == 200
    assert response.headers.get("access-control-allow-origin") == (None if origin == "own" else PAGE)


@pytest.mark.parametrize(("origin", "status"), [(PAGE, 200), (OTHER, 405)])
def test_a_browser_may_ask_before_it_sends(server: Running, origin: str, status: int) -> None:
    headers = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": "content-type"}

    response = web.request("OPTIONS", f"{server.url}/invocations", headers=headers)

    assert response.status_code == status
    assert response.headers.get("access-control-allow-headers") == ("content-type" if status == 200 else None)


def test_the_access_log_has_every_request(server: Running) -> None:
    web.get(f"{server.url}/nowhere")
    web.get(f"{server.url}/v2", headers={"x": "x" * HEAD_LIMIT})

    metrics = web.get(f"{server.url}/metrics").text
    lines = [orjson.loads(line) for line in server.text().splitlines() if line.startswith("{")]

    assert {404, 431} <= {line["status"] for line in lines}
    assert 'model_requests_total{code="431",protocol="http"} 1.0' in metrics
