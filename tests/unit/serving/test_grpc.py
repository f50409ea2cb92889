"""The Open Inference Protocol over gRPC, point by point, by Triton's client against a running server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc as triton

from tests.contract.documents import DOCS, blocks
from tests.unit.serving.bodies import DTYPES, tensors
from tests.unit.serving.models import Trained
from tests.unit.serving.rpcs import FIELDS, inputs, known, request, start, stub, values
from tests.unit.serving.servers import Launcher

pytestmark = pytest.mark.xdist_group("grpc")  # its four servers are started once

Addresses = dict[tuple[str, str], str]


@pytest.fixture(scope="module")
def addresses(launcher: Launcher, wine: Trained, late: Trained, diabetes: Trained) -> Addresses:
    """Where each model is served by each engine."""
    bundles = [*wine.bundles(), late.onnx, diabetes.onnx]
    started = {(bundle.manifest.name, bundle.manifest.engine): start(launcher, bundle) for bundle in bundles}
    return {key: (server.wait_until_ready(), address)[1] for key, (server, address) in started.items()}


@pytest.fixture(params=["onnx", "scikit-learn"])
def address(request: pytest.FixtureRequest, addresses: Addresses) -> str:
    return addresses["wine", request.param]


@pytest.fixture
def client(address: str) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(address) as client:
        yield client


def test_a_client_finds_out_what_is_served(client: triton.InferenceServerClient) -> None:
    server, model = client.get_server_metadata(), client.get_model_metadata("wine", "3")

    assert client.is_server_live() is client.is_server_ready() is client.is_model_ready("wine") is client.is_model_ready("wine", "3") is True
    assert server.name == "kubeflow-mlops-template"
    assert (model.name, list(model.versions), model.platform in ("onnx", "scikit-learn")) == ("wine", ["3"], True)
    assert [(item.name, item.datatype, list(item.shape)) for item in model.inputs][::3] == [("alcohol", "FP64", [-1]), ("region", "BYTES", [-1])]
    assert [(item.name, item.datatype, list(item.shape)) for item in model.outputs] == [
        ("predict", "BYTES", [-1]),
        ("predict_proba", "FP64", [-1, 3]),
    ]


@pytest.mark.parametrize("wide", [True, False], ids=["rows x 1", "rows"])
def test_raw_tensors_are_answered_raw(client: triton.InferenceServerClient, wine: Trained, wide: bool) -> None:
    rows = known([*wine.rows(*range(178)), dict.fromkeys(wine.columns)])

    result = client.infer("wine", inputs(rows, [179, 1] if wide else [179]), request_id="a-7")

    response = result.get_response()
    assert (response.model_name, response.model_version, response.id, len(response.raw_output_contents)) == ("wine", "3", "a-7", 2)
    assert response.parameters["engine"].string_param == client.get_model_metadata("wine").platform
    assert wine.same([label.decode() for label in result.as_numpy("predict")], rows, "predict")
    assert wine.same(result.as_numpy("predict_proba"), rows)


def test_tensors_in_fields_are_answered_in_fields(address: str, wine: Trained) -> None:
    rows = known(wine.rows(*range(178)))

    with stub(address) as service:
        response = service.ModelInfer(request(tensors(rows)[::-1], id="a-8"))

    assert (response.id, len(response.raw_output_contents)) == ("a-8", 0)
    assert wine.same(values(response)["predict"], rows, "predict")
    assert wine.same(values(response)["predict_proba"], rows)


@pytest.mark.parametrize(("datatype", "raw"), [(datatype, raw) for datatype in DTYPES for raw in (True, False) if raw or datatype in FIELDS])
def test_other_number_types_are_converted(addresses: Addresses, wine: Trained, datatype: str, raw: bool) -> None:
    row = {**wine.rows(1)[0], "alcohol": 1 if datatype == "BOOL" else 13}
    described = [{**tensor, "datatype": datatype} if tensor["name"] == "alcohol" else tensor for tensor in tensors([row])]

    with stub(addresses["wine", "onnx"]) as service:
        response = service.ModelInfer(request(described, raw=raw))

    answered = np.frombuffer(response.raw_output_contents[1]).reshape(1, 3) if raw else values(response)["predict_proba"]
    assert wine.same(answered, [row])


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "in a field"])
def test_whole_labels_and_numbers_are_answered_as_such(addresses: Addresses, late: Trained, diabetes: Trained, raw: bool) -> None:
    rows, numbers = known(late.rows(0, 100)), known(diabetes.rows(1, 3))

    with stub(addresses["late", "onnx"]) as service:
        labels = service.ModelInfer(request(tensors(rows), raw=raw, model="late", outputs=[{"name": "predict"}]))
    with stub(addresses["diabetes", "onnx"]) as service:
        regression = service.ModelInfer(request(tensors(numbers), raw=raw, model="diabetes"))

    assert [(output.name, output.datatype) for output in (*labels.outputs, *regression.outputs)] == [("predict", "INT64"), ("predict", "FP64")]
    found = [np.frombuffer(labels.raw_output_contents[0], "<i8").tolist() if raw else values(labels)["predict"]]
    found += [np.frombuffer(regression.raw_output_contents[0]).tolist() if raw else values(regression)["predict"]]
    assert late.same(found[0], rows, "predict")
    assert diabetes.same(found[1], numbers, "predict")


def test_rpcs_that_come_together_each_get_their_own_answers(client: triton.InferenceServerClient, wine: Trained) -> None:
    parts = [known(wine.rows(*range(start, start + 1 + start % 4))) for start in range(160)]

    with ThreadPoolExecutor(32) as threads:
        results = list(threads.map(lambda rows: client.infer("wine", inputs(rows)).as_numpy("predict_proba"), parts))

    assert all(wine.same(result, rows) for result, rows in zip(results, parts, strict=True))


def test_the_program_of_the_page_runs(addresses: Addresses, wine: Trained) -> None:
    (program,) = [block.text for block in blocks(DOCS / "grpc.md") if block.language == "python"]
    assert "localhost:8081" in program

    done = subprocess.run([sys.executable, "-c", program.replace("localhost:8081", addresses["wine", "onnx"])], capture_output=True, text=True)

    (label,) = wine.answer([{"alcohol": 13.2, "proline": 1050.0, "hue": None, "region": "north"}], "predict")
    assert done.stderr == ""
    assert done.stdout.startswith(f"[b'{label}'] [[")
