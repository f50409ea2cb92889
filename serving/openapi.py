"""The OpenAPI description of one model's server: its own columns, its own answers, and examples that work."""

from __future__ import annotations

from typing import Any

import orjson

from core.bundle import Input, Output, Value
from serving import VERSION
from serving.model import Model

Document = dict[str, Any]


def openapi(model: Model) -> Document:
    """Describe the server as OpenAPI 3.1."""
    name = model.version.name
    mine, version = f"/v2/models/{name}", model.version.version
    infer = _predict("Answer rows, a tensor a column (Open Inference Protocol v2)", "InferRequest", "InferResponse", "Error", infer_example(model))
    paths = {
        "/invocations": {"post": _predict("Answer rows (MLflow)", "Invocation", "Predictions", "MlflowError", invocation_example(model))},
        f"{mine}/infer": {"post": infer},
        f"{mine}/versions/{version}/infer": {"post": infer},
        f"/v1/models/{name}:predict": {"post": _predict("Answer rows (KServe V1)", "Instances", "Predictions", "Error", instances_example(model))},
        mine: {"get": _get("What the model reads and answers", "Metadata")},
        f"{mine}/ready": {"get": _get("Whether the model wants requests", "Ready")},
        "/v2": {"get": _get("What this server is", "Server")},
        "/v2/health/live": {"get": _get("Whether the process is alive", "Live")},
        "/v2/health/ready": {"get": _get("Whether the server wants requests", "Ready")},
        "/ping": {"get": _get("The same, as MLflow's clients ask", "Ready")},
        "/metrics": {"get": _text("Counts and durations for Prometheus")},
        "/version": {"get": _text("Which MLflow this is")},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": name, "version": VERSION, "description": summary(model)},
        "servers": [{"url": "."}],
        "paths": paths,
        "components": {"schemas": _schemas(model)},
    }


def summary(model: Model) -> str:
    """Say in one sentence what serves."""
    manifest = model.manifest
    positive = "" if manifest.positive is None else f", positive class {orjson.dumps(manifest.positive).decode()}"
    return f"{manifest.target} ({manifest.task}{positive}) by version {model.version.version}, answered by {model.engine.name}."


def example(model: Model) -> dict[str, Value]:
    """Return the row that was made up at registration; null where the version was registered without one."""
    return {item.name: model.manifest.example.get(item.name) for item in model.manifest.inputs}


def invocation_example(model: Model) -> Document:
    """Return a body for `/invocations`."""
    return {"dataframe_records": [example(model)]}


def instances_example(model: Model) -> Document:
    """Return a body for KServe's V1 protocol."""
    return {"instances": [example(model)]}


def infer_example(model: Model) -> Document:
    """Return a body for the Open Inference Protocol."""
    row = example(model)
    return {"inputs": [{"name": item.name, "shape": [1], "datatype": item.datatype, "data": [row[item.name]]} for item in model.manifest.inputs]}


def _predict(summary: str, request: str, response: str, error: str, example: Document) -> Document:
    failures = {400: "It does not fit the model", 413: "It is too large", 415: "It is of another kind", 503: "Not now: try again"}
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(request), "example": example}}},
        "responses": {"200": _json("Answers", response)} | {str(code): _json(meaning, error) for code, meaning in failures.items()},
    }


def _get(summary: str, response: str) -> Document:
    return {"summary": summary, "responses": {"200": _json(summary, response), "503": _json("Not now", "Error")}}


def _text(summary: str) -> Document:
    return {"summary": summary, "responses": {"200": {"description": summary, "content": {"text/plain": {"schema": {"type": "string"}}}}}}


def _json(description: str, schema: str) -> Document:
    return {"description": description, "content": {"application/json": {"schema": _ref(schema)}}}


def _ref(schema: str) -> Document:
    return {"$ref": f"#/components/schemas/{schema}"}


def _schemas(model: Model) -> dict[str, Document]:
    inputs, outputs = model.manifest.inputs, model.manifest.outputs
    return {
        "Row": _object({item.name: _value(item) for item in inputs}),
        "Values": {"type": "array", "prefixItems": [_value(item) for item in inputs], "minItems": len(inputs), "maxItems": len(inputs)},
        "Rows": {"type": "array", "minItems": 1, "items": _ref("Row")},
        "Instances": _object({"instances": _rows()}),
        "Invocation": _invocation(model),
        "Predictions": _object({"predictions": {"type": "array", "items": {}}}),
        "MlflowError": _object({"error_code": {"type": "string"}, "message": {"type": "string"}}),
        "Error": _object({"error": {"type": "string"}}),
        "InferRequest": _infer_request(model),
        "InferResponse": _infer_response(outputs),
        "Metadata": {"type": "object", "required": ["name", "versions", "platform", "inputs", "outputs"]},
        "Server": {"type": "object", "required": ["name", "version", "extensions"]},
        "Live": _object({"live": {"type": "boolean"}}),
        "Ready": {"type": "object", "required": ["ready"], "properties": {"ready": {"const": True}}},
    }


def _invocation(model: Model) -> Document:
    split = _object({"columns": {"const": model.schema.names}, "data": {"type": "array", "minItems": 1, "items": _ref("Values")}})
    params = {"type": ["object", "null"], "properties": {"predict_method": {"enum": list(model.outputs)}}, "additionalProperties": False}
    columns = {"dataframe_split": split, "dataframe_records": _ref("Rows"), "instances": _rows(), "inputs": _rows()}
    forms = [_object({form: schema}) for form, schema in columns.items()]
    for form in forms:
        form["properties"]["params"] = params
    return {"oneOf": forms}


def _rows() -> Document:
    return {"oneOf": [_ref("Rows"), {"type": "array", "minItems": 1, "items": _ref("Values")}]}


def _infer_request(model: Model) -> Document:
    tensors = [
        _open({"name": {"const": item.name}, "shape": {"const": [1]}, "datatype": {"const": item.datatype}, "data": _single(item)})
        for item in model.manifest.inputs
    ]
    wanted = {"type": "array", "items": _open({"name": {"enum": list(model.outputs)}})}
    request = _open({"inputs": {"type": "array", "prefixItems": tensors, "minItems": len(tensors), "maxItems": len(tensors)}})
    request["properties"] |= {"id": {"type": ["string", "null"]}, "outputs": wanted}
    request["description"] = "One row; any number of rows, any order of the tensors, other numeric datatypes and binary tensors are taken, too."
    return request


def _infer_response(outputs: tuple[Output, ...]) -> Document:
    tensor = {"type": "object", "required": ["name", "datatype", "shape", "data"], "properties": {"name": {"enum": [item.name for item in outputs]}}}
    response = _object({"model_name": {"type": "string"}, "model_version": {"type": "string"}, "outputs": {"type": "array", "items": tensor}})
    response["properties"] |= {"id": {"type": "string"}, "parameters": {"type": "object"}}
    return response


def _single(item: Input) -> Document:
    return {"type": "array", "items": _value(item), "minItems": 1, "maxItems": 1}


def _value(item: Input) -> Document:
    return {"type": ["string", "null"] if item.datatype == "BYTES" else ["number", "boolean", "null"]}


def _object(properties: dict[str, Document]) -> Document:
    """Describe an object that has these properties and no others."""
    return {"type": "object", "required": list(properties), "properties": dict(properties), "additionalProperties": False}


def _open(properties: dict[str, Document]) -> Document:
    """Describe an object that has these properties and may have others, which nobody reads."""
    return _object(properties) | {"additionalProperties": True}
