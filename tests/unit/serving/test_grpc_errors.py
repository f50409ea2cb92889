"""What gRPC's clients are told when a request cannot be answered: a code of theirs, and our sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tritonclient.grpc import service_pb2

from tests.unit.serving.bodies import tensors
from tests.unit.serving.models import Trained
from tests.unit.serving.rpcs import refusal, request, start, stub
from tests.unit.serving.servers import Launcher

ROWS = [{"alcohol": 13.0, "proline": 900.0, "hue": 1.0, "region": "north"}] * 2


@pytest.fixture(scope="module")
def address(launcher: Launcher, wine: Trained) -> str:
    server, address = start(launcher, wine.onnx)
    server.wait_until_ready()
    return address


def changed(raw: bool = False, **changes: Any) -> Any:
    """Two rows, the tensor of their first column changed."""
    first, *others = tensors(ROWS)
    return request([{**first, **changes}, *others], raw=raw)


def with_raw(*parts: bytes) -> Any:
    message = request(tensors(ROWS), raw=True)
    message.ClearField("raw_input_contents")
    message.raw_input_contents.extend(parts)
    return message


FIRST = b"\0" * 16
MALFORMED = [
    pytest.param(request([]), "column alcohol is missing: the model reads alcohol, proline, hue, region", id="no tensors"),
    pytest.param(request(tensors(ROWS)[1:]), "column alcohol is missing", id="missing column"),
    pytest.param(request([*tensors(ROWS), {**tensors(ROWS)[0], "name": "age"}]), "column age is unknown", id="unknown column"),
    pytest.param(request(tensors(ROWS) + tensors(ROWS)), "column alcohol is given twice", id="column twice"),
    pytest.param(request(tensors(ROWS), outputs=[{"name": "risk"}]), "output risk is unknown: the model answers predict, predict_proba", id="output"),
    pytest.param(changed(datatype="BYTES", data=["a", "b"]), "column alcohol: the datatype is FP64, not BYTES", id="datatype"),
    pytest.param(changed(shape=[2, 2]), "column alcohol: the shape has to be [rows] or [rows, 1], not [2, 2]", id="two columns wide"),
    pytest.param(changed(shape=[-1]), "column alcohol: the shape has to be [rows] or [rows, 1]", id="negative shape"),
    pytest.param(changed(shape=[3]), "column alcohol: the shape says 3 rows, fp64_contents has 2", id="shape too long"),
    pytest.param(changed(shape=[1], data=[1.0]), "column proline has 2 rows, column alcohol has 1", id="lengths that differ"),
    pytest.param(changed(datatype="INT64", data=[13, 2**53 + 1]), "row 1, column alcohol: 9007199254740993 has no exact", id="inexact integer"),
    pytest.param(
        changed(raw=True, datatype="UINT64", data=[13, 2**53 + 1]), "row 1, column alcohol: 9007199254740993 has no exact", id="raw integer"
    ),
    pytest.param(changed(data=[1.0, float("inf")]), "row 1, column alcohol: expected a finite number, got infinity", id="infinity"),
    pytest.param(changed(raw=True, data=[1.0, float("-inf")]), "row 1, column alcohol: expected a finite number, got infinity", id="raw infinity"),
    pytest.param(request([{**tensor, "shape": [0], "data": []} for tensor in tensors(ROWS)]), "there are no rows: send at least one", id="no rows"),
    pytest.param(with_raw(FIRST, FIRST), "raw_input_contents has 2 entries for 4 inputs: send one for each, or none", id="too few raw"),
    pytest.param(with_raw(FIRST, FIRST, FIRST[:-1], b""), "column hue: 2 values of FP64 are 16 bytes, not 15", id="raw too short"),
    pytest.param(
        with_raw(FIRST, FIRST, FIRST, b"\1\0\0\0a"), "column region: the shape says 2 rows, the binary data hold 1", id="raw text too short"
    ),
    pytest.param(with_raw(FIRST, FIRST, FIRST, b"\1\0\0\0\xff" * 2), "row 0, column region: not UTF-8", id="raw text not UTF-8"),
]


@pytest.mark.parametrize(("message", "sentence"), MALFORMED)
def test_what_does_not_fit_is_an_invalid_argument_with_the_reason(address: str, message: Any, sentence: str) -> None:
    with stub(address) as service:
        code, said = refusal(service.ModelInfer, message)

    assert code == "INVALID_ARGUMENT"
    assert sentence in said


def fp16() -> Any:
    message = changed()
    message.inputs[0].datatype = "FP16"
    return message


def both() -> Any:
    message = request(tensors(ROWS), raw=True)
    message.inputs[2].contents.fp64_contents.append(1.0)
    return message


def not_text() -> Any:
    message = request(tensors(ROWS))
    message.inputs[3].contents.bytes_contents[1] = b"\xff"
    return message


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (fp16, "column alcohol: there is no field for FP16: send it in raw_input_contents"),
        (both, "column hue: it has contents beside raw_input_contents: send one of them"),
        (not_text, "row 1, column region: not UTF-8: invalid start byte"),
    ],
)
def test_what_only_a_message_can_get_wrong_is_said(address: str, make: Callable[[], Any], sentence: str) -> None:
    with stub(address) as service:
        refused = refusal(service.ModelInfer, make())

    assert refused == ("INVALID_ARGUMENT", sentence)


@pytest.mark.parametrize(("model", "version"), [("beer", ""), ("wine", "4"), ("", "")])
def test_another_model_or_version_is_not_found(address: str, model: str, version: str) -> None:
    infer = request(tensors(ROWS), model=model, model_version=version)
    ready, metadata = (kind(name=model, version=version) for kind in (service_pb2.ModelReadyRequest, service_pb2.ModelMetadataRequest))

    with stub(address) as service:
        refused = [refusal(service.ModelInfer, infer), refusal(service.ModelReady, ready), refusal(service.ModelMetadata, metadata)]

    assert refused == [("NOT_FOUND", f"this server has wine version 3, not {model} version {version or 'any'}")] * 3
