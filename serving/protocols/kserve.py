"""KServe's V1 protocol: `POST /v1/models/NAME:predict` with `{"instances": [...]}`."""

from __future__ import annotations

from typing import Any

from core.engines import Answers
from serving.body import JSON, Body, content_type, parse_json
from serving.errors import bad
from serving.model import Model
from serving.protocols.mlflow import instances
from serving.query import Headers, Query, Reply, json_reply, plain
from serving.weight import json_weight


def parse(model: Model, body: Body, headers: Headers) -> Query:
    """Understand one request.

    Raises:
        RequestError: It does not fit the protocol or the model.
    """
    content_type(headers, JSON)
    request: Any = parse_json(body)
    if type(request) is not dict or "instances" not in request:
        raise bad('send {"instances": [...]}, each a list of values in the order of training or an object with the columns')
    if len(request) != 1:
        raise bad(f"{next(key for key in request if key != 'instances')} is unknown: send instances alone")
    return Query(instances(request["instances"], model.schema), ("predict",), _respond)


def weigh(_: Model, body: Body, __: Headers) -> int:
    """Return the most bytes of memory that a body becomes."""
    return json_weight(body)


def _respond(answers: Answers) -> Reply:
    return json_reply({"predictions": plain(answers["predict"])})
