"""MLflow's scoring protocol, JSON: what `/invocations` of `mlflow models serve` takes and gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.bundle import Input
from serving.columns import SEEN, Columns, from_columns, from_records, from_rows
from serving.errors import bad
from serving.model import Model

METHOD = "predict_method"


def invoke(model: Model, request: Any) -> dict[str, Any]:
    """Answer one scoring request.

    Raises:
        RequestError: It does not fit the protocol or the model.
    """
    forms = ", ".join(FORMS)
    if not isinstance(request, dict):
        raise bad(f"the body is {SEEN[type(request)]}, not an object: send one with {forms}")
    given = [form for form in FORMS if form in request]
    unknown = next((key for key in request if key not in FORMS and key not in ("params", "signature_name")), None)
    if len(given) != 1 or unknown is not None:
        raise bad(f"{unknown} is unknown: send one of {forms}" if unknown is not None else f"send exactly one of {forms}, not {len(given)}")
    method = _method(request.get("params"), model)
    answers = model.engine.answer(FORMS[given[0]](request[given[0]], model.manifest.inputs), [method])
    return {"predictions": answers[method].tolist()}


def _method(params: Any, model: Model) -> str:
    if params is not None and (not isinstance(params, dict) or params.keys() - {METHOD}):
        raise bad(f'params may hold {METHOD} alone: {{"{METHOD}": "{model.outputs[-1]}"}}')
    method = (params or {}).get(METHOD, "predict")
    if method not in model.outputs:
        raise bad(f"params.{METHOD} has to be one of {', '.join(model.outputs)}")
    return str(method)


def _split(document: Any, inputs: tuple[Input, ...]) -> Columns:
    if not isinstance(document, dict) or not {"columns", "data"} <= document.keys() <= {"columns", "data", "index"}:
        raise bad('dataframe_split has to be {"columns": [...], "data": [[...], ...]}')
    names, rows = document["columns"], document["data"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not isinstance(rows, list):
        raise bad("dataframe_split: columns has to be a list of names and data a list of rows")
    return from_rows(rows, names, inputs)


def _records(document: Any, inputs: tuple[Input, ...]) -> Columns:
    if not isinstance(document, list):
        raise bad(f"expected a list of rows, got {SEEN[type(document)]}")
    return from_records(document, inputs)


def _instances(document: Any, inputs: tuple[Input, ...]) -> Columns:
    if isinstance(document, list) and document and isinstance(document[0], list):
        return from_rows(document, [item.name for item in inputs], inputs)
    return _records(document, inputs)


def _inputs(document: Any, inputs: tuple[Input, ...]) -> Columns:
    if not isinstance(document, dict):
        return _instances(document, inputs)
    for name, values in document.items():
        if not isinstance(values, list):
            raise bad(f"column {name}: expected a list of values, got {SEEN[type(values)]}")
    return from_columns(document, inputs)


FORMS: dict[str, Callable[[Any, tuple[Input, ...]], Columns]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _instances,
    "inputs": _inputs,
}
