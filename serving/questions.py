"""What a server is asked beside predictions: how it is, what it is, what it counts."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version as installed

from serving import NAME, VERSION
from serving.exposition import exposition
from serving.openapi import openapi
from serving.page import page
from serving.protocols import open_inference
from serving.query import Reply, json_reply
from serving.service import Service

Answer = Callable[[Service], Reply]
MODEL = "/v2/models/{name}"


def questions() -> dict[str, Answer]:
    """Return the answer to each path."""
    found: dict[str, Answer] = {
        "/v2/health/live": _live,
        "/v2/health/ready": _ready,
        "/metrics": _metrics,
        "/ping": _ready,
        "/health": _ready,
        "/version": _version,
        "/v2": server,
        "/": _alive,
        "/v1/models": _models,
        "/v1/models/{name}": _kserve_model,
        "/docs": _docs,
        "/openapi.json": _openapi,
    }
    for path in (MODEL, f"{MODEL}/versions/{{version}}"):
        found |= {path: _metadata, f"{path}/ready": _model_ready}
    return found


def server(_: Service) -> Reply:
    """Say what this server is."""
    return json_reply({"name": NAME, "version": VERSION, "extensions": open_inference.EXTENSIONS})


def _live(_: Service) -> Reply:
    return json_reply({"live": True})


def _ready(service: Service) -> Reply:
    service.check_ready()
    return json_reply({"ready": True})


def _metrics(service: Service) -> Reply:
    return Reply(exposition(service), b"text/plain; version=0.0.4; charset=utf-8")


def _version(_: Service) -> Reply:
    # MLflow's clients ask which MLflow answers: it is the one of this environment.
    return Reply(installed("mlflow").encode(), b"text/plain; charset=utf-8")


def _alive(_: Service) -> Reply:
    return json_reply({"status": "alive"})  # how KServe's V1 clients ask whether a server lives


def _models(service: Service) -> Reply:
    return json_reply({"models": [service.version.name]})


def _kserve_model(service: Service) -> Reply:
    return json_reply({"name": service.version.name, "ready": service.is_ready})


def _metadata(service: Service) -> Reply:
    return json_reply(open_inference.metadata(service.proved()))


def _model_ready(service: Service) -> Reply:
    service.check_ready()
    return json_reply({"name": service.version.name, "ready": True})


def _docs(service: Service) -> Reply:
    return Reply(page(service.proved()).encode(), b"text/html; charset=utf-8")


def _openapi(service: Service) -> Reply:
    return json_reply(openapi(service.proved()))
