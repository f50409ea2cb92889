"""ModelInfer: tensors by their fields, or raw as in the binary extension of HTTP, into checked columns; answers back the same way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.bundle import Input, Output
from core.engines import Answers, Column
from serving.body import Body
from serving.errors import bad
from serving.model import Model
from serving.protocols import tensors
from serving.protocols.open_inference import offered, rows_of
from serving.query import Headers, Query, Reply
from serving.rpc.messages import RESPONSES, Message, raw_size, understood
from serving.weight import message_weight

# By datatype: the field of a tensor's contents, and as what the values travel in it.
FIELDS = {
    "BOOL": ("bool_contents", "BOOL"),
    **dict.fromkeys(("INT8", "INT16", "INT32"), ("int_contents", "INT32")),
    "INT64": ("int64_contents", "INT64"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), ("uint_contents", "UINT32")),
    "UINT64": ("uint64_contents", "UINT64"),
    "FP32": ("fp32_contents", "FP32"),
    "FP64": ("fp64_contents", "FP64"),
    "BYTES": ("bytes_contents", "BYTES"),
}


def parse(check_name: Callable[[str, str | None], None], model: Model, body: Body, _: Headers) -> Query:
    """Understand one inference request.

    Raises:
        RequestError: It does not fit the protocol or the model.
    """
    request = understood("ModelInfer", bytes(body))
    check_name(request.model_name, request.model_version or None)
    names = dict.fromkeys(output.name for output in request.outputs)
    outputs = offered(model, names) if names else list(model.manifest.outputs)
    columns = model.schema.from_columns(_columns(request, model))
    identity, is_raw = request.id, bool(request.raw_input_contents)

    def respond(answers: Answers) -> Reply:
        return _respond(model, identity, outputs, answers, is_raw=is_raw)

    return Query(columns, tuple([output.name for output in outputs]), respond, identity)


def weigh(_: Model, body: Body, __: Headers) -> int:
    """Return the most bytes of memory that a message becomes."""
    return message_weight(body, raw_size(bytes(body)))


def _columns(request: Message, model: Model) -> dict[str, Column]:
    raw, number = request.raw_input_contents, len(request.inputs)
    if raw and len(raw) != number:
        raise bad(f"raw_input_contents has {len(raw)} entries for {number} inputs: send one for each, or none")
    places, inputs = model.schema.places, model.schema.inputs
    columns: dict[str, Column] = {}
    for place, tensor in enumerate(request.inputs):
        name = tensor.name
        if name in columns:
            raise bad(f"column {name} is given twice")
        columns[name] = _values(inputs[places[name]], tensor, raw[place] if raw else None) if name in places else []
    return columns


def _values(item: Input, tensor: Message, raw: bytes | None) -> Column:
    name, datatype = item.name, tensor.datatype
    rows = rows_of(item, datatype, list(tensor.shape[:3]))
    if raw is None:
        return _typed(name, datatype, tensor.contents, rows)
    if tensor.HasField("contents"):
        raise bad(f"column {name}: it has contents beside raw_input_contents: send one of them")
    data = memoryview(raw)
    return tensors.texts(name, data, rows) if datatype == "BYTES" else tensors.numbers(name, datatype, data, rows)


def _typed(name: str, datatype: str, contents: Message, rows: int) -> Column:
    if datatype not in FIELDS:
        raise bad(f"column {name}: there is no field for {datatype}: send it in raw_input_contents")
    field, sent = FIELDS[datatype]
    values = getattr(contents, field)
    if len(values) != rows:
        raise bad(f"column {name}: the shape says {rows} rows, {field} has {len(values)}")
    if sent == "BYTES":
        return _texts(name, values)
    return tensors.floats(name, np.fromiter(values, tensors.DTYPES[sent], rows))


def _texts(name: str, values: Any) -> list[str]:
    texts: list[str] = []
    try:
        texts.extend(str(value, "utf-8") for value in values)
    except UnicodeDecodeError as error:
        raise bad(f"row {len(texts)}, column {name}: not UTF-8: {error.reason}") from error
    return texts


def _respond(model: Model, identity: str, outputs: list[Output], answers: Answers, *, is_raw: bool) -> Reply:
    described: list[dict[str, Any]] = [{"name": output.name, "datatype": output.datatype, "shape": answers[output.name].shape} for output in outputs]
    raw = [tensors.dump(answers[output.name], output.datatype) for output in outputs] if is_raw else []
    if not is_raw:
        for output, tensor in zip(outputs, described, strict=True):
            tensor["contents"] = {FIELDS[output.datatype][0]: _plain(answers[output.name], output.datatype)}
    response = RESPONSES["ModelInfer"](
        model_name=model.version.name,
        model_version=model.version.version,
        id=identity,
        parameters={"engine": {"string_param": model.engine.name}},
        outputs=described,
        raw_output_contents=raw,
    )
    return Reply(response.SerializeToString())


def _plain(values: NDArray[Any], datatype: str) -> list[Any]:
    plain: list[Any] = values.ravel().tolist()
    return [value.encode() for value in plain] if datatype == "BYTES" else plain
