"""What a server says about itself, to programs (`/openapi.json`) and to people (`/docs`)."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import numpy as np
import orjson
import pytest
import schemathesis
from jsonschema import Draft202012Validator

from core.engines import load_engine
from serving import page as docs
from serving.columns import Schema
from serving.metrics import Metrics
from serving.model import Model, Version
from serving.openapi import openapi
from serving.protocols.open_inference import metadata
from tests.unit.serving import web
from tests.unit.serving.models import Trained, publish
from tests.unit.serving.servers import HeldStorage, Launcher, Running

pytestmark = pytest.mark.one_engine

BELOW = pytest.mark.parametrize("below", ["", "/wine"], ids=["plain", "below the name"])


class Page(HTMLParser):
    """What a page refers to, and what its table cells and options say."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attributes if name in ("src", "href", "action", "data", "srcset")]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] in (["td"], ["option"], ["h1"], ["p"]):
            self.cells.append(data)


@BELOW
def test_the_description_is_openapi_of_this_model(wine_server: Running, engine: str, below: str) -> None:
    document = web.get(f"{wine_server.url}{below}/openapi.json").json()

    schemathesis.openapi.from_dict(document).validate()
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"] == "wine"
    assert f"version 3, answered by {engine}" in document["info"]["description"]
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    assert set(document["components"]["schemas"]["Row"]["properties"]) == {"alcohol", "proline", "hue", "region"}


def test_the_positive_class_is_named_and_counted(wine: Trained) -> None:
    manifest = replace(wine.bundle.manifest, task="binary", classes=("bad", "good"), positive="bad")
    model = Model(Version("wine", "3", "", ""), manifest, wine.bundle.golden, load_engine(wine.bundle), Schema(manifest.inputs))
    metrics = Metrics()
    metrics.expect(manifest, wine.bundle.golden)

    metrics.batch(1, 2, {"predict": np.array(["bad", "good"]), "predict_proba": np.array([[0.9, 0.1], [0.25, 0.75]])})

    assert metrics.values.sum == 0.9 + 0.25
    assert metadata(model)["parameters"]["positive"] == "bad"
    for text in (openapi(model)["info"]["description"], Page(docs.page(model)).cells[1]):
        assert text.startswith('target (binary, positive class "bad") by version 3')


@BELOW
def test_the_examples_are_answered_as_the_description_says(wine_server: Running, wine: Trained, below: str) -> None:
    document = web.get(f"{wine_server.url}{below}/openapi.json").json()
    posts = {path: methods["post"] for path, methods in document["paths"].items() if "post" in methods}

    for path, operation in posts.items():
        body = operation["requestBody"]["content"]["application/json"]["example"]
        response = web.post(urljoin(f"{wine_server.url}{below}/openapi.json", document["servers"][0]["url"]).rstrip("/") + path, json=body)

        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        Draft202012Validator({**schema, "components": document["components"]}).validate(response.json())
        expected = wine.answer([wine.bundle.manifest.example], "predict")
        assert (response.json().get("predictions") or response.json()["outputs"][0]["data"]) == expected
    assert len(posts) == 4


def test_no_row_of_the_data_is_published(wine_server: Running, wine: Trained) -> None:
    pages = [web.get(f"{wine_server.url}{path}").text for path in ("/docs", "/openapi.json")]
    rows = [{name: values[number] for name, values in wine.columns.items()} for number in range(len(wine.columns["hue"]))]

    assert wine.bundle.manifest.example not in rows
    for page in pages:
        assert [row for row in rows if all(json.dumps(row[name]) in page for name in ("alcohol", "proline", "hue"))] == []


@BELOW
def test_every_get_of_the_description_answers(wine_server: Running, below: str) -> None:
    document = web.get(f"{wine_server.url}{below}/openapi.json").json()

    statuses = {path: web.get(wine_server.url + below + path).status_code for path, methods in document["paths"].items() if "get" in methods}

    assert len(statuses) >= 8
    assert set(statuses.values()) == {200}


@BELOW
def test_the_page_needs_nothing_from_outside(wine_server: Running, below: str) -> None:
    text = web.get(f"{wine_server.url}{below}/docs").raise_for_status().text
    page = Page(text)

    assert re.findall(r"(?:https?:)?//[\w.]+|@import|url\(", re.sub(r'"[^"]*"(?=[,:\]}])', "", text)) == []
    assert not set(page.tags) & {"img", "link", "iframe", "object", "embed", "base"}
    assert page.links == ["openapi.json"]
    assert web.get(urljoin(f"{wine_server.url}{below}/docs", page.links[0])).status_code == 200


def test_the_page_shows_columns_answers_and_requests(wine_server: Running, engine: str) -> None:
    response = web.get(f"{wine_server.url}/docs")
    page = Page(response.text)

    assert response.headers["content-type"] == "text/html; charset=utf-8"
    for shown in ("wine", "alcohol", "proline", "hue", "region", "predict", "predict_proba", "/invocations", "/v2/models/wine/infer"):
        assert shown in page.cells
    assert any(f"answered by {engine}" in cell for cell in page.cells)
    assert any("barbera, barolo, grignolino" in cell for cell in page.cells)


def test_the_examples_of_the_page_work_where_the_page_sends_them(wine_server: Running) -> None:
    text = web.get(f"{wine_server.url}/wine/docs").text
    examples: dict[str, Any] = orjson.loads(re.findall(r"const examples = (\{.*\}), get =", text)[0])

    answers = {path: web.post(urljoin(f"{wine_server.url}/wine/docs", path), json=body).status_code for path, body in examples.items()}

    assert answers == dict.fromkeys(["invocations", "v2/models/wine/infer", "v1/models/wine:predict"], 200)


def test_a_name_and_a_column_cannot_break_the_page(launcher: Launcher, wine: Trained) -> None:
    name = "a&b"
    manifest = replace(wine.onnx.manifest, example=wine.onnx.manifest.example | {"region": "</script><b>"})
    server = launcher.start(*publish(replace(wine.onnx, manifest=manifest)), name=name).wait_until_ready()

    text = web.get(f"{server.url}/docs").raise_for_status().text

    assert text.count("</script>") == 1
    assert "<h1>a&amp;b</h1>" in text


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_a_server_that_loads_describes_nothing(launcher: Launcher, wine: Trained, path: str) -> None:
    server = launcher.start(*publish(wine.onnx), environment={"AWS_ENDPOINT_URL_S3": HeldStorage().url})

    response = web.get(server.url + path)

    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
