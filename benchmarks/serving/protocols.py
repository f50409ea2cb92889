"""The same rows in the words of each protocol: what is sent, and what an answer says."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.rows import Rows
from core.bundle import Input, Value

Headers = dict[str, str]
JSON = {"Content-Type": "application/json"}
LENGTH = "Inference-Header-Content-Length"
PROBABILITIES = "predict_proba"


@dataclass(frozen=True)
class Protocol:
    """How rows travel to a server, and answers back.

    Attributes:
        name: As it is shown.
        path: Where requests go.
        write: Makes headers and body of a request.
        read: Finds the answers in the headers and body of a response, one row a row.
        answers: What those are.
    """

    name: str
    path: str
    write: Callable[[Rows], tuple[Headers, bytes]]
    read: Callable[[Mapping[str, str], bytes], NDArray[Any]]
    answers: Literal["labels", "probabilities"] = "probabilities"

    def request(self, rows: Rows) -> bytes:
        """Write a request as it goes over the wire."""
        headers, body = self.write(rows)
        lines = [f"POST {self.path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def _split(rows: Rows) -> tuple[Headers, bytes]:
    return JSON, _json({"dataframe_split": {"columns": list(rows.columns), "data": rows.records()}})


def _predictions(_: Mapping[str, str], body: bytes) -> NDArray[Any]:
    return np.array(json.loads(body)["predictions"])


def _tensors(rows: Rows) -> tuple[Headers, bytes]:
    given = [{"name": item.name, "shape": [len(rows)], "datatype": item.datatype, "data": rows.columns[item.name]} for item in rows.inputs]
    return JSON, _json({"inputs": given, "outputs": [{"name": PROBABILITIES}]})


def _tensors_of_pandas(rows: Rows) -> tuple[Headers, bytes]:
    """Write what MLServer and KServe need besides, to make a table of the tensors."""
    document = json.loads(_tensors(rows)[1])
    for tensor in document["inputs"]:
        if tensor["datatype"] == "BYTES":
            tensor["parameters"] = {"content_type": "str"}
    return JSON, _json({"parameters": {"content_type": "pd"}} | document)


def _tensors_of_kserve(rows: Rows) -> tuple[Headers, bytes]:
    """Write the tensors without the outputs: KServe's have names of its own."""
    document = json.loads(_tensors_of_pandas(rows)[1])
    del document["outputs"]
    return JSON, _json(document)


def _tensor(_: Mapping[str, str], body: bytes) -> NDArray[Any]:
    output = json.loads(body)["outputs"][0]
    return np.array(output["data"], dtype=np.float64).reshape(output["shape"])


def _binary(rows: Rows) -> tuple[Headers, bytes]:
    data = [_packed(item, rows.columns[item.name]) for item in rows.inputs]
    given = [
        {"name": item.name, "shape": [len(rows)], "datatype": item.datatype, "parameters": {"binary_data_size": len(part)}}
        for item, part in zip(rows.inputs, data, strict=True)
    ]
    head = _json({"inputs": given, "outputs": [{"name": PROBABILITIES, "parameters": {"binary_data": True}}]})
    return {"Content-Type": "application/octet-stream", LENGTH: str(len(head))}, head + b"".join(data)


def _packed(item: Input, values: list[Value]) -> bytes:
    if item.datatype == "FP64":
        return np.array(values, dtype="<f8").tobytes()
    texts = [str(value).encode() for value in values]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def _unpacked(headers: Mapping[str, str], body: bytes) -> NDArray[Any]:
    length = int(headers[LENGTH.lower()])
    return np.frombuffer(body[length:], dtype="<f8").reshape(json.loads(body[:length])["outputs"][0]["shape"])


def _lists(rows: Rows) -> tuple[Headers, bytes]:
    return JSON, _json({"rows": rows.records()})


def _list(_: Mapping[str, str], body: bytes) -> NDArray[Any]:
    return np.array(json.loads(body))


def _json(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


INVOCATIONS = Protocol("/invocations", "/invocations", _split, _predictions, "labels")
V2 = Protocol("v2", "/v2/models/flights/infer", _tensors, _tensor)
V2_MLSERVER = Protocol("v2", "/v2/models/flights/infer", _tensors_of_pandas, _tensor)
V2_KSERVE = Protocol("v2", "/v2/models/flights/infer", _tensors_of_kserve, _tensor)
V2_BINARY = Protocol("v2 binary", "/v2/models/flights/infer", _binary, _unpacked)
BENTOML = Protocol("rows", "/predict", _lists, _list)
