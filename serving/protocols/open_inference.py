"""Open Inference Protocol v2 (KServe, Triton): JSON tensors, and binary ones.

Source: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import orjson

from core.bundle import Input, Output
from core.engines import Answers, Column, Columns
from serving.body import BINARY, JSON, Body, content_type, parse_json
from serving.columns import ROWS_LIMIT, SEEN, check_rows
from serving.errors import RequestError, bad
from serving.model import Model
from serving.protocols import tensors
from serving.query import Headers, Query, Reply, json_reply, plain
from serving.weight import json_weight, tensor_weight

INTEGERS = {f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)}
# What a client may call a column; the values are converted where that is exact.
ACCEPTED = {"FP64": {"FP64", "FP32", "FP16", "BOOL"} | INTEGERS, "BYTES": {"BYTES"}}
ALLOWED: dict[str, type] = {"BOOL": bool} | dict.fromkeys(INTEGERS, int)
HEADER_LENGTH = b"inference-header-content-length"
HEADER_DIGITS = 9
SHAPE_SHOWN = 8  # numbers of a shape that a sentence repeats
EXTENSIONS = ["binary_tensor_data"]
Take = Callable[[str, int], memoryview]


def metadata(model: Model) -> dict[str, Any]:
    """Describe the model: its columns, what it answers, which version this is, which engine answers."""
    return {
        "name": model.version.name,
        "versions": [model.version.version],
        "platform": model.engine.name,
        "inputs": [{"name": item.name, "datatype": item.datatype, "shape": [-1]} for item in model.manifest.inputs],
        "outputs": [{"name": item.name, "datatype": item.datatype, "shape": _shape(model, item)} for item in model.manifest.outputs],
        "parameters": {
            "engine": model.engine.name,
            "digest": model.version.digest,
            "task": model.manifest.task,
            "target": model.manifest.target,
            "classes": model.manifest.classes,
            "positive": model.manifest.positive,
        },
    }


def parse(model: Model, body: Body, headers: Headers) -> Query:
    """Understand one inference request.

    Raises:
        RequestError: It does not fit the protocol or the model.
    """
    content_type(headers, JSON, BINARY)
    head, take = _split(body, headers)
    request = parse_json(head)
    if type(request) is not dict:
        raise bad(f'the body is {SEEN[type(request)]}, not an object: send {{"inputs": [...]}}')
    outputs, identity = _requested(request, model), _identity(request)
    columns = _plain_columns(request.get("inputs"), model) or model.schema.from_columns(_columns(request, model, take))
    take("", -1)

    def respond(answers: Answers) -> Reply:
        return _respond(model, identity, outputs, answers)

    return Query(columns, tuple([output.name for output, _ in outputs]), respond, identity.get("id", ""))


def weigh(_: Model, body: Body, headers: Headers) -> int:
    """Return the most bytes of memory that a body becomes."""
    head, size = body, 0
    given = headers.get(HEADER_LENGTH, b"")
    if given.isdigit() and len(given) <= HEADER_DIGITS and int(given) <= len(body):
        head, size = body[: int(given)], len(body) - int(given)
    return json_weight(head) + tensor_weight(head, size)


def error(problem: RequestError) -> bytes:
    """Write an error as the protocol has it."""
    return orjson.dumps({"error": problem.message})


def offered(model: Model, names: Collection[str]) -> list[Output]:
    """Return the model's outputs of these names."""
    known = {output.name: output for output in model.manifest.outputs}
    for name in names:
        if name not in known:
            raise bad(f"output {name} is unknown: the model answers {', '.join(known)}")
    return [known[name] for name in names]


def rows_of(item: Input, datatype: Any, shape: Any) -> int:
    """Return how many rows a tensor has, by its shape; refuse one that cannot be of this column."""
    if type(datatype) is not str or datatype not in ACCEPTED[item.datatype]:
        raise bad(f"column {item.name}: the datatype is {item.datatype}, not {datatype if isinstance(datatype, str) else 'what was sent'}")
    if type(shape) is list and len(shape) == 1 and type(shape[0]) is int and 0 <= shape[0] <= ROWS_LIMIT:
        return shape[0]
    is_shape = isinstance(shape, list) and len(shape) <= SHAPE_SHOWN and all(type(size) is int and size >= 0 for size in shape)
    if not is_shape or len(shape) not in (1, 2) or shape[1:] not in ([], [1]):
        raise bad(f"column {item.name}: the shape has to be [rows] or [rows, 1], not {shape if is_shape else 'what was sent'}")
    return check_rows(int(shape[0]))


def _split(body: Body, headers: Headers) -> tuple[Body, Take]:
    """Part the JSON from the binary data behind it, of which each tensor takes the next bytes."""
    given = headers.get(HEADER_LENGTH)
    if given is None:
        return body, _no_binary
    if not given.isdigit() or len(given) > HEADER_DIGITS or int(given) > len(body):
        raise bad(f"Inference-Header-Content-Length has to be a number up to the body's {len(body)} bytes")
    rest, start = memoryview(body)[int(given) :], 0

    def take(name: str, size: int) -> memoryview:
        nonlocal start
        if size < 0:
            if start != len(rest):
                raise bad(f"{len(rest) - start} bytes of binary data are left over: give each tensor its binary_data_size")
            return rest[:0]
        if size > len(rest) - start:
            raise bad(f"column {name}: binary_data_size is {size}, {len(rest) - start} bytes are left")
        start += size
        return rest[start - size : start]

    return body[: int(given)], take


def _no_binary(name: str, size: int) -> memoryview:
    if size >= 0:
        raise bad(f"column {name}: binary data need the header Inference-Header-Content-Length")
    return memoryview(b"")


def _requested(request: dict[str, Any], model: Model) -> list[tuple[Output, bool]]:
    """Return the outputs that are asked for, and whether each is to be binary."""
    parameters = request.get("parameters")
    usual = parameters.get("binary_data_output") is True if type(parameters) is dict else False
    outputs = request.get("outputs")
    if not outputs and (outputs is None or type(outputs) is list):
        return [(output, usual) for output in model.manifest.outputs]
    if not isinstance(outputs, list) or not all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in outputs):
        raise bad('outputs has to be a list of objects with a name: [{"name": "predict"}]')
    wanted = {item["name"]: _is_binary(item, usual) for item in outputs}
    return list(zip(offered(model, wanted), wanted.values(), strict=True))


def _is_binary(output: dict[str, Any], usual: bool) -> bool:
    parameters = output.get("parameters")
    wanted = parameters.get("binary_data", usual) if isinstance(parameters, dict) else usual
    if not isinstance(wanted, bool):
        raise bad(f"output {output['name']}: binary_data has to be true or false")
    return wanted


def _plain_columns(tensors: Any, model: Model) -> Columns | None:
    """Read tensors that are all as the metadata describe them; None if one is not, which is not to say that it is wrong."""
    schema, columns = model.schema, dict[str, Column]()
    try:
        rows, kinds = len(tensors[0]["data"]), set[type]()
        for tensor in tensors:
            name, data = tensor["name"], tensor["data"]
            if type(data) is not list or tensor["shape"] != [rows] or len(data) != rows or tensor["datatype"] != schema.datatypes[name]:
                return None
            columns[name] = data
            kinds.add(type(tensor["shape"][0]))
    except (KeyError, TypeError, IndexError):
        return None
    return schema.from_columns(columns) if len(columns) == len(tensors) and kinds == {int} else None  # 1 == 1.0 == True


def _columns(request: dict[str, Any], model: Model, take: Take) -> dict[str, Column]:
    given = request.get("inputs")
    if type(given) is not list or not given:
        raise bad("inputs has to be a list of tensors, one a column")
    places, inputs = model.schema.places, model.schema.inputs
    columns: dict[str, Column] = {}
    for number, tensor in enumerate(given):
        if type(tensor) is not dict or type(tensor.get("name")) is not str:
            raise bad(f"input {number}: expected an object with name, shape, datatype and data")
        name = tensor["name"]
        if name in columns:
            raise bad(f"column {name} is given twice")
        columns[name] = _data(tensor, inputs[places[name]], take) if name in places else []
    return columns


def _data(tensor: dict[str, Any], item: Input, take: Take) -> Column:
    name, data = item.name, tensor.get("data")
    datatype: Any = tensor.get("datatype")
    rows = rows_of(item, datatype, tensor.get("shape"))
    if type(data) is list:
        return _typed(name, datatype, _flat(name, tensor["shape"], rows, data))
    size = (tensor.get("parameters") or {}).get("binary_data_size") if isinstance(tensor.get("parameters"), dict | None) else None
    if data is not None or type(size) is not int or size < 0:
        raise bad(f"column {name}: data has to be a list, or parameters.binary_data_size the size of its binary data")
    binary = take(name, size)
    return tensors.texts(name, binary, rows) if datatype == "BYTES" else tensors.numbers(name, datatype, binary, rows)


def _flat(name: str, shape: list[int], rows: int, data: list[Any]) -> list[Any]:
    if len(shape) == 2 and all(isinstance(value, list) and len(value) == 1 for value in data):
        data = [value[0] for value in data]
    if len(data) != rows:
        raise bad(f"column {name}: the shape says {rows} rows, data has {len(data)}")
    return data


def _typed(name: str, datatype: str, values: list[Any]) -> list[Any]:
    allowed = ALLOWED.get(datatype)
    if allowed is not None and not set(map(type, values)) <= {allowed, type(None)}:
        row = next(number for number, value in enumerate(values) if value is not None and type(value) is not allowed)
        raise bad(f"row {row}, column {name}: expected {datatype} or null, got {SEEN[type(values[row])]}")
    return values


def _identity(request: dict[str, Any]) -> dict[str, str]:
    identity = request.get("id")
    if identity is not None and type(identity) is not str:
        raise bad(f"id has to be a string, not {SEEN[type(identity)]}")
    return {} if identity is None else {"id": identity}


def _respond(model: Model, identity: dict[str, str], outputs: list[tuple[Output, bool]], answers: Answers) -> Reply:
    described, binary = [], []
    for output, is_binary in outputs:
        answer = answers[output.name]
        tensor: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": answer.shape}
        if is_binary:
            binary.append(tensors.dump(answer, output.datatype))
            tensor["parameters"] = {"binary_data_size": len(binary[-1])}
        else:
            tensor["data"] = plain(answer.ravel())
        described.append(tensor)
    reply = json_reply(
        {
            "model_name": model.version.name,
            "model_version": model.version.version,
            **identity,
            "parameters": {"engine": model.engine.name},
            "outputs": described,
        }
    )
    if not binary:
        return reply
    head = (HEADER_LENGTH, str(len(reply.body)).encode())
    return Reply(b"".join([reply.body, *binary]), BINARY.encode(), (head,))


def _shape(model: Model, output: Output) -> list[int]:
    return [-1, len(model.manifest.classes or ())] if output.name == "predict_proba" else [-1]
