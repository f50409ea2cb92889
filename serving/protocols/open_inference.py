"""Open Inference Protocol v2, JSON tensors (KServe, Triton)."""

from __future__ import annotations

from typing import Any

from core.bundle import Input, Output
from serving.columns import SEEN, Columns, from_columns
from serving.engine import Answers
from serving.errors import bad
from serving.model import Model

INTEGERS = {f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)}
# What a client may call a column; the values are converted where that is exact.
ACCEPTED = {"FP64": {"FP64", "FP32", "FP16", "BOOL"} | INTEGERS, "BYTES": {"BYTES"}}
ALLOWED: dict[str, type] = {"BOOL": bool} | dict.fromkeys(INTEGERS, int)


def metadata(model: Model) -> dict[str, Any]:
    """Describe the model: its columns, what it answers, which version this is."""
    return {
        "name": model.version.name,
        "versions": [model.version.version],
        "platform": model.engine.name,
        "inputs": [{"name": item.name, "datatype": item.datatype, "shape": [-1]} for item in model.manifest.inputs],
        "outputs": [{"name": item.name, "datatype": item.datatype, "shape": _shape(model, item)} for item in model.manifest.outputs],
        "parameters": {
            "digest": model.version.digest,
            "task": model.manifest.task,
            "target": model.manifest.target,
            "classes": model.manifest.classes,
        },
    }


def infer(model: Model, request: Any) -> dict[str, Any]:
    """Answer one inference request.

    Raises:
        RequestError: It does not fit the protocol or the model.
    """
    if not isinstance(request, dict):
        raise bad(f'the body is {SEEN[type(request)]}, not an object: send {{"inputs": [...]}}')
    outputs = _requested(request, model)
    answers = model.engine.answer(_columns(request, model.manifest.inputs), [output.name for output in outputs])
    return {
        "model_name": model.version.name,
        "model_version": model.version.version,
        **_identity(request),
        "parameters": {"engine": model.engine.name},
        "outputs": [_tensor(output, answers) for output in outputs],
    }


def _requested(request: dict[str, Any], model: Model) -> list[Output]:
    offered = {output.name: output for output in model.manifest.outputs}
    outputs = request.get("outputs") or []
    if not isinstance(outputs, list) or not all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in outputs):
        raise bad('outputs has to be a list of objects with a name: [{"name": "predict"}]')
    names = [item["name"] for item in outputs] or list(offered)
    unknown = next((name for name in names if name not in offered), None)
    if unknown is not None:
        raise bad(f"output {unknown} is unknown: the model answers {', '.join(offered)}")
    return [offered[name] for name in dict.fromkeys(names)]


def _columns(request: dict[str, Any], inputs: tuple[Input, ...]) -> Columns:
    tensors = request.get("inputs")
    if not isinstance(tensors, list) or not tensors:
        raise bad("inputs has to be a list of tensors, one a column")
    known = {item.name: item for item in inputs}
    columns: dict[str, list[Any]] = {}
    for place, tensor in enumerate(tensors):
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            raise bad(f"input {place}: expected an object with name, shape, datatype and data")
        name = tensor["name"]
        if name in columns:
            raise bad(f"column {name} is given twice")
        columns[name] = _data(tensor, known.get(name))
    return from_columns(columns, inputs)


def _data(tensor: dict[str, Any], item: Input | None) -> list[Any]:
    name, datatype, data = tensor["name"], tensor.get("datatype"), tensor.get("data")
    if item is None:
        return []
    if not isinstance(datatype, str) or datatype not in ACCEPTED[item.datatype]:
        raise bad(f"column {name}: the datatype is {item.datatype}, not {datatype if isinstance(datatype, str) else 'what was sent'}")
    if not isinstance(data, list):
        raise bad(f"column {name}: data has to be a list (binary tensors are not supported)")
    return _typed(name, datatype, _flat(name, tensor.get("shape"), data))


def _flat(name: str, shape: Any, data: list[Any]) -> list[Any]:
    is_shape = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
    if not is_shape or len(shape) not in (1, 2) or shape[1:] not in ([], [1]):
        raise bad(f"column {name}: the shape has to be [rows] or [rows, 1], not {shape if is_shape else 'what was sent'}")
    if len(shape) == 2 and all(isinstance(value, list) and len(value) == 1 for value in data):
        data = [value[0] for value in data]
    if len(data) != shape[0]:
        raise bad(f"column {name}: the shape says {shape[0]} rows, data has {len(data)}")
    return data


def _typed(name: str, datatype: str, values: list[Any]) -> list[Any]:
    allowed = ALLOWED.get(datatype)
    if allowed is not None and not set(map(type, values)) <= {allowed, type(None)}:
        row = next(number for number, value in enumerate(values) if value is not None and type(value) is not allowed)
        raise bad(f"row {row}, column {name}: expected {datatype} or null, got {SEEN[type(values[row])]}")
    return values


def _identity(request: dict[str, Any]) -> dict[str, str]:
    identity = request.get("id")
    if identity is not None and not isinstance(identity, str):
        raise bad(f"id has to be a string, not {SEEN[type(identity)]}")
    return {} if identity is None else {"id": identity}


def _tensor(output: Output, answers: Answers) -> dict[str, Any]:
    answer = answers[output.name]
    return {"name": output.name, "datatype": output.datatype, "shape": list(answer.shape), "data": answer.ravel().tolist()}


def _shape(model: Model, output: Output) -> list[int]:
    return [-1, len(model.manifest.classes or ())] if output.name == "predict_proba" else [-1]
