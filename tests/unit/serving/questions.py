"""Requests whose answers are known before they are asked."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.unit.serving.balancer import Message
from tests.unit.serving.bodies import tensors
from tests.unit.serving.models import TOLERANCE, Trained

SIZES = [1, 1, 1, 1, 2, 5, 20, 100, 300]  # the last are more than a server answers on its event loop


@dataclass(frozen=True)
class Question:
    """A request but for its id, and what is right.

    Attributes:
        path: Whom it asks.
        document: What it sends.
        status: Of the answer.
        outputs: The values that are right, none for a malformed request.
    """

    path: str
    document: dict[str, Any]
    status: int = 200
    outputs: dict[str, list[Any]] = field(default_factory=dict)

    def request(self, identity: str) -> Message:
        document = self.document | ({"id": identity} if "inputs" in self.document else {})
        headers = {b"host": b"localhost", b"content-type": b"application/json", b"x-request-id": identity.encode()}
        return Message(f"POST {self.path} HTTP/1.1".encode(), headers, orjson.dumps(document))

    def is_answered(self, identity: str, answer: Message) -> bool:
        """Whether this is the answer to this request, and right."""
        if (answer.status, answer.headers.get(b"x-request-id")) != (self.status, identity.encode()):
            return False
        document = orjson.loads(answer.body)
        if self.status != 200:
            return "error" in document or "error_code" in document
        if "predictions" in document:
            return bool(document["predictions"] == self.outputs["predict"])
        named = (document["id"], document["model_version"].encode()) == (identity, answer.headers[b"x-model-version"])
        given = {output["name"]: output["data"] for output in document["outputs"]}
        return named and given.keys() == self.outputs.keys() and all(same(given[name], self.outputs[name]) for name in given)


def same(given: list[Any], wanted: list[Any]) -> bool:
    """Whether labels are equal, and numbers but for rounding."""
    if not isinstance(wanted[0], float):
        return given == wanted
    return len(given) == len(wanted) and all(math.isclose(*pair, rel_tol=TOLERANCE, abs_tol=TOLERANCE) for pair in zip(given, wanted, strict=True))


def questions(model: Trained) -> list[Question]:
    """Well-formed and malformed ones, for both protocols; scikit-learn answers them before anybody is asked."""
    chance, many = random.Random(7), len(model.columns["hue"])
    rows = model.rows(*range(many))
    labels, proba = model.answer(rows, "predict"), model.answer(rows)
    asked: list[Question] = []
    for size in SIZES * 4:
        chosen = [chance.randrange(many) for _ in range(size)]
        right = {"predict": [labels[row] for row in chosen], "predict_proba": [value for row in chosen for value in proba[row]]}
        inputs = tensors([rows[row] for row in chosen])
        asked.append(Question("/v2/models/wine/infer", {"inputs": inputs}, outputs=right))
        only = {"inputs": inputs, "outputs": [{"name": "predict"}]}
        asked.append(Question("/v2/models/wine/infer", only, outputs={"predict": right["predict"]}))
        asked.append(Question("/invocations", {"instances": [rows[row] for row in chosen]}, outputs=right))
    return asked + malformed(rows[0])


def malformed(row: dict[str, Any]) -> list[Question]:
    columns = tensors([row])
    return [
        Question("/v2/models/wine/infer", {"inputs": columns[1:]}, 400),
        Question("/v2/models/wine/infer", {"inputs": [columns[0] | {"shape": [7]}, *columns[1:]]}, 400),
        Question("/v2/models/wine/infer", {"inputs": [columns[0] | {"data": ["much"]}, *columns[1:]]}, 400),
        Question("/v2/models/beer/infer", {"inputs": columns}, 404),
        Question("/invocations", {"instances": [row | {"hue": "much"}]}, 400),
        Question("/invocations", {"instances": [{"hue": 1.0}]}, 400),
        Question("/invocations", {"rows": [row]}, 400),
    ]
