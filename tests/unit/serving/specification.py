"""The protocols, point by point: what is said, what is asked, what has to come back. docs/protocols.md shows the same tables."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

from tests.unit.serving.bodies import dump, joined, tensors

ROW = {"alcohol": 13.0, "proline": 900.0, "hue": 1.0, "region": "north"}
TENSORS = tensors([ROW])
FIRST, *OTHERS = TENSORS
TWO = tensors([ROW, ROW])
MINE, INFER = "/v2/models/wine", "/v2/models/wine/infer"
ANSWER = {"predictions": [str]}
LABEL = {"name": "predict", "datatype": "BYTES", "shape": [1], "data": [str]}
PROBABILITIES = {"name": "predict_proba", "datatype": "FP64", "shape": [1, 3], "data": [float] * 3}
BINARY_FIRST = {"name": "alcohol", "shape": [1], "datatype": "FP64", "parameters": {"binary_data_size": 8}}
BINARY_LABEL = {"name": "predict", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": int}}


@dataclass(frozen=True)
class Point:
    """One sentence of a specification, as a request and its answer.

    Attributes:
        says: The sentence.
        path: Where it is asked.
        sends: JSON, text, or None for a GET.
        gives: What the answer holds at least: a type stands for any value of it, `...` for anything.
        status: The answer's.
        without: Keys that the answer must not have.
        headers: Of the request.
        answered: Headers of the answer.
        behind: Binary data behind the JSON.
    """

    says: str
    path: str
    sends: Any
    gives: Any
    status: int = 200
    without: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    answered: dict[str, str] = field(default_factory=dict)
    behind: bytes | None = None

    @property
    def method(self) -> str:
        return "GET" if self.sends is None else "POST"


def fits(wanted: Any, given: Any) -> bool:
    """Whether a value holds at least what is wanted."""
    if wanted is ...:
        return True
    if isinstance(wanted, type):
        return type(given) is wanted
    if isinstance(wanted, dict):
        return isinstance(given, dict) and all(key in given and fits(value, given[key]) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(given, list) and len(wanted) == len(given) and all(map(fits, wanted, given))
    return bool(wanted == given)


def infer(**changes: Any) -> dict[str, Any]:
    """Two rows, the first tensor changed."""
    return {"inputs": [{**TWO[0], **changes}, *TWO[1:]]}


def typed(datatype: str, value: Any) -> Point:
    return Point(f"The datatype {datatype}.", INFER, {"inputs": [{**FIRST, "datatype": datatype, "data": [value]}, *OTHERS]}, {"outputs": ...})


ERROR = {"error": str}
OCTETS = {"content-type": "application/octet-stream"}
JSON = {"content-type": "application/json"}

OPEN_INFERENCE = [
    Point("Server live: 200 and whether it is.", "/v2/health/live", None, {"live": True}),
    Point("Server ready: 200 if all models are.", "/v2/health/ready", None, {"ready": True}),
    Point("Model ready, of a model without a version.", f"{MINE}/ready", None, {"name": "wine", "ready": True}),
    Point("Model ready, of a version.", f"{MINE}/versions/3/ready", None, {"name": "wine", "ready": True}),
    Point("Server metadata: name, version, extensions.", "/v2", None, {"name": str, "version": str, "extensions": [str]}),
    Point("Model metadata: name, versions, platform.", MINE, None, {"name": "wine", "versions": ["3"], "platform": str}),
    Point(
        "Tensors have a name, a datatype and a shape; -1 is a size that varies.",
        f"{MINE}/versions/3",
        None,
        {"inputs": [{"name": "alcohol", "datatype": "FP64", "shape": [-1]}, ..., ..., {"name": "region", "datatype": "BYTES", "shape": [-1]}]},
    ),
    Point("The same of the outputs.", MINE, None, {"outputs": [{"name": "predict", "datatype": "BYTES", "shape": [-1]}, {"shape": [-1, 3]}]}),
    Point("Metadata of an unknown model: an HTTP error and `error`.", "/v2/models/beer", None, ERROR, 404),
    Point("Metadata of an unknown version: the same.", f"{MINE}/versions/4", None, ERROR, 404),
    Point("All strings are case-sensitive.", "/v2/models/Wine", None, ERROR, 404),
    Point(
        "Inference: `model_name`, `model_version`, `outputs`.",
        INFER,
        {"inputs": TENSORS},
        {"model_name": "wine", "model_version": "3", "outputs": ...},
    ),
    Point("Inference of a version.", f"{MINE}/versions/3/infer", {"inputs": TENSORS}, {"model_version": "3"}),
    Point("Of an unknown version: an HTTP error and `error`.", f"{MINE}/versions/4/infer", {"inputs": TENSORS}, ERROR, 404),
    Point("`id` comes back.", INFER, {"id": "42", "inputs": TENSORS}, {"id": "42"}),
    Point("No `id`, none comes back.", INFER, {"inputs": TENSORS}, {}, without=("id",)),
    Point("`parameters` of a request may be anything.", INFER, {"parameters": {"a": 1}, "inputs": TENSORS}, {"outputs": ...}),
    Point("Without `outputs` all are given.", INFER, {"inputs": TENSORS}, {"outputs": [LABEL, PROBABILITIES]}),
    Point("`outputs` says which, and in which order.", INFER, {"inputs": TENSORS, "outputs": [{"name": "predict"}]}, {"outputs": [LABEL]}),
    Point("An output has `parameters`, too.", INFER, {"inputs": TENSORS, "outputs": [{"name": "predict", "parameters": {}}]}, {"outputs": [LABEL]}),
    Point("An unknown output: an HTTP error and `error`.", INFER, {"inputs": TENSORS, "outputs": [{"name": "x"}]}, ERROR, 400),
    Point("`shape` and `data` are those of the whole batch.", INFER, {"inputs": TWO}, {"outputs": [{"shape": [2]}, {"shape": [2, 3]}]}),
    Point("`data` is flat, in row-major order.", INFER, infer(shape=[2, 1], data=[13, 12]), {"outputs": ...}),
    Point("Or nested as the shape says.", INFER, infer(shape=[2, 1], data=[[13], [12]]), {"outputs": ...}),
    Point("A shape that does not fit the data.", INFER, infer(shape=[3]), ERROR, 400),
    Point("A dimension has to be an unsigned integer.", INFER, infer(shape=[-2]), ERROR, 400),
    Point("The same: no fraction.", INFER, infer(shape=[2.5]), ERROR, 400),
    Point("A tensor of more dimensions than the model's.", INFER, infer(shape=[1, 2]), ERROR, 400),
    typed("BOOL", True),
    *[typed(f"{sign}INT{bits}", 13) for sign in ("U", "") for bits in (8, 16, 32, 64)],
    *[typed(f"FP{bits}", 13.5) for bits in (16, 32, 64)],
    Point("The datatype BYTES holds text.", INFER, {"inputs": [*TENSORS[:3], {**TENSORS[3], "data": ["süd"]}]}, {"outputs": ...}),
    Point("A datatype that is none.", INFER, infer(datatype="DOUBLE"), ERROR, 400),
    Point("Data of another type than the datatype.", INFER, infer(data=[13, "a"]), ERROR, 400),
    Point("`parameters` of a tensor may be anything.", INFER, infer(parameters={"unit": "%"}), {"outputs": ...}),
    Point("Inputs have to be all there.", INFER, {"inputs": OTHERS}, ERROR, 400),
    Point("An unknown input.", INFER, {"inputs": [*TENSORS, {**FIRST, "name": "age"}]}, ERROR, 400),
    Point("Without `inputs`.", INFER, {"id": "1"}, ERROR, 400),
    Point("What is not JSON.", INFER, b"{", ERROR, 400),
    Point("GET where POST is asked for.", INFER, None, ERROR, 405),
]
BINARY = [
    Point("`binary_tensor_data` is among the extensions.", "/v2", None, {"extensions": ["binary_tensor_data"]}),
    Point(
        "`binary_data_size` says that a tensor is binary; little-endian.",
        INFER,
        {"inputs": [BINARY_FIRST, *OTHERS]},
        {"outputs": ...},
        behind=struct.pack("<d", 13),
    ),
    Point(
        "BOOL is a byte, 1 or 0.",
        INFER,
        {"inputs": [{**BINARY_FIRST, "datatype": "BOOL", "parameters": {"binary_data_size": 1}}, *OTHERS]},
        {"outputs": ...},
        behind=b"\1",
    ),
    Point(
        "BYTES is a length of 4 bytes, then the bytes.",
        INFER,
        {"inputs": [*TENSORS[:3], {"name": "region", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 9}}]},
        {"outputs": ...},
        behind=dump(["north"], "BYTES"),
    ),
    Point(
        "Binary data come in the order of the tensors.",
        INFER,
        {
            "inputs": [
                BINARY_FIRST,
                TENSORS[1],
                {**BINARY_FIRST, "name": "hue", "datatype": "FP32", "parameters": {"binary_data_size": 4}},
                TENSORS[3],
            ]
        },
        {"outputs": ...},
        behind=struct.pack("<df", 13, 1),
    ),
    Point(
        "By itself the answer is JSON.",
        INFER,
        {"inputs": [BINARY_FIRST, *OTHERS]},
        {"outputs": [LABEL, PROBABILITIES]},
        answered=JSON,
        behind=bytes(8),
    ),
    Point(
        "`binary_data` asks for an output in binary; the others are JSON.",
        INFER,
        {"inputs": TENSORS, "outputs": [{"name": "predict", "parameters": {"binary_data": True}}, {"name": "predict_proba"}]},
        {"outputs": [BINARY_LABEL, PROBABILITIES]},
        answered=OCTETS,
    ),
    Point(
        "`binary_data_output` asks for all.",
        INFER,
        {"inputs": TENSORS, "parameters": {"binary_data_output": True}},
        {"outputs": [BINARY_LABEL, {"parameters": {"binary_data_size": 24}}]},
        answered=OCTETS,
    ),
    Point(
        "`binary_data` of an output overrides it.",
        INFER,
        {"inputs": TENSORS, "parameters": {"binary_data_output": True}, "outputs": [{"name": "predict", "parameters": {"binary_data": False}}]},
        {"outputs": [LABEL]},
        answered=JSON,
    ),
    Point("Without Inference-Header-Content-Length there are no binary data.", INFER, {"inputs": [BINARY_FIRST, *OTHERS]}, ERROR, 400),
    Point("A size that is not the tensor's.", INFER, {"inputs": [BINARY_FIRST, *OTHERS]}, ERROR, 400, behind=bytes(7)),
    Point("Bytes that no tensor takes.", INFER, {"inputs": [BINARY_FIRST, *OTHERS]}, ERROR, 400, behind=bytes(9)),
]
MLFLOW_ERROR = {"error_code": "BAD_REQUEST", "message": str}
INVOKE, CSV = "/invocations", {"content-type": "text/csv"}
SPLIT = {"columns": list(ROW), "data": [list(ROW.values())]}
MLFLOW = [
    Point("Ping: 200 if it is ready.", "/ping", None, ...),
    Point("Health: the same.", "/health", None, ...),
    Point("Version: that of MLflow.", "/version", None, ..., answered={"content-type": "text/plain; charset=utf-8"}),
    Point("`dataframe_split`.", INVOKE, {"dataframe_split": SPLIT}, ANSWER),
    Point("With an index, as pandas writes it.", INVOKE, {"dataframe_split": {"index": [0], **SPLIT}}, ANSWER),
    Point("`dataframe_records`.", INVOKE, {"dataframe_records": [ROW]}, ANSWER),
    Point("`instances`, rows as objects.", INVOKE, {"instances": [ROW]}, ANSWER),
    Point("`instances`, rows as lists.", INVOKE, {"instances": [list(ROW.values())]}, ANSWER),
    Point("`inputs`, a list a column.", INVOKE, {"inputs": {name: [value] for name, value in ROW.items()}}, ANSWER),
    Point("`inputs`, a list a row.", INVOKE, {"inputs": [list(ROW.values())]}, ANSWER),
    Point("`params`.", INVOKE, {"instances": [ROW], "params": {"predict_method": "predict_proba"}}, {"predictions": [[float] * 3]}),
    Point("A missing value is null.", INVOKE, {"instances": [{**ROW, "hue": None, "region": None}]}, ANSWER),
    Point("Or NaN, as MLflow's client writes it.", INVOKE, b'{"instances": [[13, NaN, 1, NaN]]}', ANSWER),
    Point("CSV with a line of names.", INVOKE, b"alcohol,proline,hue,region\n13,900,,north\n", ANSWER, headers=CSV),
    Point("Two forms at once.", INVOKE, {"instances": [ROW], "inputs": [ROW]}, MLFLOW_ERROR, 400),
    Point("A missing column.", INVOKE, {"dataframe_records": [{"hue": 1.0}]}, MLFLOW_ERROR, 400),
    Point("A value of another type.", INVOKE, {"dataframe_records": [{**ROW, "hue": "red"}]}, MLFLOW_ERROR, 400),
    Point("What is not JSON.", INVOKE, b"{", MLFLOW_ERROR, 400),
    Point("Another kind of body.", INVOKE, b"<rows/>", MLFLOW_ERROR, 415, headers={"content-type": "text/xml"}),
]
PREDICT = "/v1/models/wine:predict"
KSERVE = [
    Point("The server is alive.", "/", None, {"status": "alive"}),
    Point("Models are listed.", "/v1/models", None, {"models": ["wine"]}),
    Point("A model is ready.", "/v1/models/wine", None, {"name": "wine", "ready": True}),
    Point("Of an unknown model.", "/v1/models/beer", None, ERROR, 404),
    Point("`instances`, rows as lists.", PREDICT, {"instances": [list(ROW.values())]}, ANSWER),
    Point("`instances`, rows as objects.", PREDICT, {"instances": [ROW]}, ANSWER),
    Point("A missing value is null.", PREDICT, {"instances": [{**ROW, "hue": None}]}, ANSWER),
    Point("Without `instances`.", PREDICT, {"rows": [ROW]}, ERROR, 400),
    Point("A row that does not fit.", PREDICT, {"instances": [[1.0, 2.0]]}, ERROR, 400),
    Point("Prediction of an unknown model.", "/v1/models/beer:predict", {"instances": [ROW]}, ERROR, 404),
]
PROTOCOLS = {"Open Inference Protocol": OPEN_INFERENCE, "Binary tensor data": BINARY, "MLflow": MLFLOW, "KServe V1": KSERVE}


def sent(point: Point) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a point's request."""
    if isinstance(point.sends, bytes):
        return point.sends, {**JSON, **point.headers}
    content, headers = joined(point.sends, point.behind or b"")
    return content, {**headers, **point.headers} if point.behind is not None else {**JSON, **point.headers}
