"""Clients that others wrote: Triton's, MLflow's, KServe's, and curl."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import tritonclient.http as triton
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from tritonclient.utils import InferenceServerException

from core.bundle import frame
from tests.unit.serving.bodies import Rows, datatype, table
from tests.unit.serving.models import Trained, publish
from tests.unit.serving.servers import HeldStorage, Launcher, Running

pytestmark = pytest.mark.one_engine

KSERVE = Path(__file__).with_name("kserve_client.py")
UV = Path(__file__).parents[3] / ".uv" / "bin" / "uv"


def client_of(server: Running) -> Any:
    return triton.InferenceServerClient("{}:{}".format(*server.address))


def mlflows_client_of(server: Running) -> Any:
    client: Callable[..., Any] = ScoringServerClient
    return client(*server.address)


def inputs_of(rows: Rows, binary: bool) -> list[Any]:
    inputs = []
    for name in rows[0]:
        is_text, values = datatype(name) == "BYTES", [row[name] for row in rows]
        inputs.append(triton.InferInput(name, [len(rows)], datatype(name)))
        inputs[-1].set_data_from_numpy(np.array(values, dtype=object if is_text else np.float64), binary_data=binary)
    return inputs


def whole(wine: Trained, *numbers: int) -> Rows:
    """Rows with each text, which a binary tensor cannot leave out, and with missing numbers."""
    return [{**row, "region": row["region"] or "Rhône"} for row in wine.rows(*numbers)]


@pytest.mark.parametrize("binary_out", [True, False, None], ids=["binary out", "JSON out", "as the client has it"])
@pytest.mark.parametrize("binary_in", [True, False], ids=["binary in", "JSON in"])
def test_tritons_client_gets_scikit_learns_answers(wine_server: Running, wine: Trained, binary_in: bool, binary_out: bool | None) -> None:
    rows = whole(wine, *range(40))
    asked = None if binary_out is None else [triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("predict", "predict_proba")]

    result = client_of(wine_server).infer("wine", inputs_of(rows, binary_in), model_version="3", outputs=asked, request_id="a-7")

    labels = [label.decode() if isinstance(label, bytes) else label for label in result.as_numpy("predict").tolist()]
    assert labels == wine.answer(rows, "predict")
    assert result.as_numpy("predict_proba").shape == (40, 3)
    assert wine.same(result.as_numpy("predict_proba"), rows)
    assert (result.get_response()["id"], result.get_response()["model_version"]) == ("a-7", "3")


def test_tritons_client_gets_the_output_that_it_asks_for(late_server: Running, late: Trained) -> None:
    rows = whole(late, 1, 2, 3)

    result = client_of(late_server).infer("late", inputs_of(rows, True), outputs=[triton.InferRequestedOutput("predict")])

    assert result.as_numpy("predict").dtype == np.int64
    assert late.same(result.as_numpy("predict").tolist(), rows, "predict")
    assert result.as_numpy("predict_proba") is None


def test_tritons_client_reads_health_and_metadata(wine_server: Running, engine: str) -> None:
    client = client_of(wine_server)

    server, model = client.get_server_metadata(), client.get_model_metadata("wine", "3")

    assert (client.is_server_live(), client.is_server_ready(), client.is_model_ready("wine", "3")) == (True, True, True)
    assert (client.is_model_ready("wine", "4"), client.is_model_ready("beer")) == (False, False)
    assert "binary_tensor_data" in server["extensions"]
    assert (model["platform"], [item["name"] for item in model["inputs"]]) == (engine, ["alcohol", "proline", "hue", "region"])


def test_tritons_client_sees_a_server_that_loads(launcher: Launcher, wine: Trained) -> None:
    server = launcher.start(*publish(wine.onnx), environment={"AWS_ENDPOINT_URL_S3": HeldStorage().url})

    client = client_of(server)

    assert (client.is_server_live(), client.is_server_ready(), client.is_model_ready("wine")) == (True, False, False)


def test_tritons_client_raises_what_the_server_says(wine_server: Running, wine: Trained) -> None:
    wrong = triton.InferInput("region", [1], "FP64")
    wrong.set_data_from_numpy(np.array([1.0]))

    with pytest.raises(InferenceServerException) as raised:
        client_of(wine_server).infer("wine", [*inputs_of(whole(wine, 0), True)[:3], wrong])
    with pytest.raises(InferenceServerException) as unknown:
        client_of(wine_server).infer("beer", inputs_of(whole(wine, 0), True))

    assert (raised.value.status(), raised.value.message()) == ("400", "column region: the datatype is BYTES, not FP64")
    assert unknown.value.status() == "404"


def test_mlflows_client_gets_scikit_learns_answers(wine_server: Running, wine: Trained) -> None:
    client, rows = mlflows_client_of(wine_server), wine.rows(*range(60))
    data = frame({name: [row[name] for row in rows] for name in rows[0]}, wine.bundle.manifest.inputs)

    client.wait_server_ready(timeout=5)
    labels, proba = client.invoke(data), client.invoke(data, params={"predict_method": "predict_proba"})

    assert data.isna().to_numpy().any()
    assert labels["predictions"] == wine.answer(rows, "predict")
    assert wine.same(proba.get_predictions(predictions_format="ndarray"), rows)
    assert client.get_version() == version("mlflow")


def test_mlflows_client_raises_what_the_server_says(wine_server: Running, wine: Trained) -> None:
    data = frame({name: [wine.columns[name][0]] for name in wine.columns}, wine.bundle.manifest.inputs).drop(columns="hue")

    with pytest.raises(Exception, match=r"error code 400.*BAD_REQUEST.*column hue is missing"):
        mlflows_client_of(wine_server).invoke(data)


def test_mlflows_client_waits_for_a_server_that_loads(launcher: Launcher, wine: Trained) -> None:
    server = launcher.start(*publish(wine.onnx), environment={"AWS_ENDPOINT_URL_S3": HeldStorage().url})

    with pytest.raises(RuntimeError, match="was not ready"):
        mlflows_client_of(server).wait_server_ready(timeout=1)


def curl(line: str, **more: Any) -> tuple[int, Any]:
    done = subprocess.run(["curl", "-sS", "-w", "\n%{http_code}", *shlex.split(line)], capture_output=True, text=True, check=True, **more)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), orjson.loads(body)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize("expect", ["", "-H 'Expect: 100-continue'", "-H 'Transfer-Encoding: chunked'", "--http1.0"])
def test_curl_sends_rows_as_the_readme_shows_it(wine_server: Running, wine: Trained, expect: str) -> None:
    rows = wine.rows(*range(20))
    body = orjson.dumps({"dataframe_records": rows}).decode()

    answer = curl(f"{wine_server.url}/invocations {expect} -H 'Content-Type: application/json' -d {shlex.quote(body)}")

    assert answer == (200, {"predictions": wine.answer(rows, "predict")})


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_curl_sends_a_file_and_gets_a_sentence_for_a_wrong_one(wine_server: Running, wine: Trained, tmp_path: Path) -> None:
    rows = wine.rows(*range(60))
    (tmp_path / "rows.csv").write_text(table(rows))
    (tmp_path / "wrong.csv").write_text(table(rows).replace("hue", "colour"))
    line = f"{wine_server.url}/invocations -H 'Content-Type: text/csv' --data-binary"

    answer, wrong = curl(f"{line} @rows.csv", cwd=tmp_path), curl(f"{line} @wrong.csv", cwd=tmp_path)

    assert answer == (200, {"predictions": wine.answer(rows, "predict")})
    assert (wrong[0], wrong[1]["error_code"]) == (400, "BAD_REQUEST")
    assert wrong[1]["message"].startswith("column hue is missing")


@pytest.mark.slow
def test_kserves_client_gets_scikit_learns_answers(wine_server: Running, wine: Trained, tmp_path: Path) -> None:
    uv = str(UV) if UV.exists() else shutil.which("uv")
    rows = whole(wine, *range(30))
    given = tmp_path / "given.json"
    given.write_bytes(orjson.dumps({"url": wine_server.url, "rows": rows, "missing": wine.rows(0, 4)}))

    # in an environment of its own: its requirements contradict MLflow's
    command = [str(uv), "run", "--no-project", "--python", sys.executable, "--with", "kserve==0.21.0", "python", str(KSERVE), str(given)]
    done = subprocess.run(command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, timeout=300, check=False)

    assert done.returncode == 0, done.stderr
    found = orjson.loads(done.stdout.splitlines()[-1])
    assert found["v1"] == wine.answer(wine.rows(0, 4), "predict")
    assert found["v2"] == found["v2 binary"] == wine.answer(rows, "predict")
    assert wine.same(found["proba"], rows)
    assert found["health"] == [True, True, True, True]
    assert found["error"][0] == 400
    assert found["error"][1].startswith("row 0: column proline is missing")
