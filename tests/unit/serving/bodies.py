"""Rows as the protocols write them."""

from __future__ import annotations

import csv
import io
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

Rows = list[dict[str, Any]]
DTYPES = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}


def datatype(name: str) -> str:
    return "BYTES" if name == "region" else "FP64"


def tensors(rows: Rows) -> list[dict[str, Any]]:
    """The Open Inference Protocol's, a column each."""
    return [{"name": name, "shape": [len(rows)], "datatype": datatype(name), "data": [row[name] for row in rows]} for name in rows[0]]


def dump(values: Sequence[Any], kind: str) -> bytes:
    """A binary tensor's bytes; a missing number is NaN."""
    if kind == "BYTES":
        return b"".join(struct.pack("<I", len(value.encode())) + value.encode() for value in values)
    if kind.startswith("FP"):
        values = [np.nan if value is None else value for value in values]
    return np.array(values, dtype=DTYPES[kind]).tobytes()


def binary(inputs: Sequence[dict[str, Any]], **more: Any) -> tuple[bytes, dict[str, str]]:
    """A request whose tensors are all binary, and its headers."""
    parts = [dump(tensor["data"], tensor["datatype"]) for tensor in inputs]
    described = [
        {key: value for key, value in tensor.items() if key != "data"} | {"parameters": {"binary_data_size": len(part)}}
        for tensor, part in zip(inputs, parts, strict=True)
    ]
    return joined({"inputs": described, **more}, *parts)


def joined(request: Any, *parts: bytes) -> tuple[bytes, dict[str, str]]:
    """JSON with binary data behind it, and the headers that say so."""
    head = orjson.dumps(request)
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
    return head + b"".join(parts), headers


def parted(content: bytes, headers: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A response's JSON, and the values of each of its outputs, binary or not."""
    length = int(headers.get("inference-header-content-length", len(content)))
    document, rest, found = orjson.loads(content[:length]), content[length:], {}
    for output in document["outputs"]:
        if "data" in output:
            found[output["name"]] = np.array(output["data"]).reshape(output["shape"]).tolist()
            continue
        size = output["parameters"]["binary_data_size"]
        found[output["name"]] = _load(rest[:size], output["datatype"], output["shape"])
        rest = rest[size:]
    assert rest == b""
    return document, found


def table(rows: Rows) -> str:
    """CSV with a line of names; a missing value is nothing."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _load(data: bytes, kind: str, shape: list[int]) -> Any:
    if kind != "BYTES":
        return np.frombuffer(data, DTYPES[kind]).reshape(shape).tolist()
    values = []
    while data:
        (length,) = struct.unpack_from("<I", data)
        values.append(data[4 : 4 + length].decode())
        data = data[4 + length :]
    assert [len(values)] == shape
    return values
