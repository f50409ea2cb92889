"""The faulty servers that the cluster's tests deploy do what their name says, and nothing else."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil
import pytest

from core import storage
from core.bundle import digest, pack
from tests.unit.serving import web
from tests.unit.serving.models import Trained
from tests.unit.serving.servers import Launcher, Running

FAULTY = Path(__file__).parents[2] / "cluster" / "faulty" / "faulty.py"

Environment = Callable[[str], dict[str, str]]


@pytest.fixture(scope="module")
def faulty(wine: Trained, platform: object, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The environment of a server whose model is registered below this folder of the bucket."""
    place = tmp_path_factory.mktemp("faulty")
    shutil.copy(FAULTY, place / "sitecustomize.py")
    data = pack(wine.onnx)

    def environment(folder: str) -> dict[str, str]:
        uri = f"s3://models/{folder}/wine.zip"
        storage.write(uri, data)
        variables = {"MODEL_URI": uri, "MODEL_DIGEST": digest(data), "MODEL_NAME": "wine", "MODEL_VERSION": "3", "PORT": "0"}
        return {**variables, "PYTHONPATH": str(place)}

    return environment


@pytest.mark.parametrize("folder", ["wine", "faults/unheard-of", "faults"])
def test_without_a_known_fault_it_is_the_real_server(launcher: Launcher, faulty: Environment, wine: Trained, folder: str) -> None:
    server = launcher.launch([], faulty(folder)).wait_until_ready()

    answer = ask(server, wine)

    assert answer["model_version"] == "3"
    assert wine.same(probabilities(answer), wine.rows(*range(5)))
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(15) == 0


def test_it_crashes_at_its_start(faulty: Environment) -> None:
    environment = {**os.environ, **faulty("faults/crash-at-start")}

    done = subprocess.run([sys.executable, "-m", "serving"], env=environment, capture_output=True, text=True, timeout=30, check=False)

    assert (done.returncode, done.stderr) == (1, "error: this server crashes at its start\n")


@pytest.mark.slow
def test_it_crashes_ten_seconds_after_it_was_ready(launcher: Launcher, faulty: Environment, wine: Trained) -> None:
    server = launcher.launch([], faulty("faults/crash-after-10s")).wait_until_ready()

    answer = ask(server, wine)
    with pytest.raises(subprocess.TimeoutExpired):
        server.process.wait(5)

    assert wine.same(probabilities(answer), wine.rows(*range(5)))
    assert server.process.wait(15) == 1


def test_it_is_never_ready(launcher: Launcher, faulty: Environment) -> None:
    server = launcher.launch([], faulty("faults/never-ready"))

    time.sleep(4)

    assert web.get(f"{server.url}/v2/health/ready").status_code == 503
    assert web.get(f"{server.url}/v2/health/live").status_code == 200


def test_its_answers_are_wrong(launcher: Launcher, faulty: Environment, wine: Trained) -> None:
    server = launcher.launch([], faulty("faults/wrong-answers")).wait_until_ready()

    answer = ask(server, wine)

    right = wine.answer(wine.rows(*range(5)))
    assert all(given != pytest.approx(row) for given, row in zip(probabilities(answer), right, strict=True))
    assert all(sorted(given) == pytest.approx(sorted(row)) for given, row in zip(probabilities(answer), right, strict=True))
    assert not set(enumerate(answer["outputs"][0]["data"])) & set(enumerate(wine.answer(wine.rows(*range(5)), "predict")))
    assert "20 golden rows gave the answers of training" in server.text()


def test_its_probabilities_are_no_numbers(launcher: Launcher, faulty: Environment, wine: Trained) -> None:
    server = launcher.launch([], faulty("faults/nan-answers")).wait_until_ready()

    answer = ask(server, wine)

    assert probabilities(answer) == [[None] * 3] * 5
    assert answer["outputs"][0]["data"] == wine.answer(wine.rows(*range(5)), "predict")


def test_its_answers_take_a_minute(launcher: Launcher, faulty: Environment, wine: Trained) -> None:
    server = launcher.launch([], faulty("faults/slow")).wait_until_ready()

    with pytest.raises(httpx.ReadTimeout):
        ask(server, wine)

    assert web.get(f"{server.url}/v2/health/ready").status_code == 200


def test_it_names_another_version(launcher: Launcher, faulty: Environment, wine: Trained) -> None:
    server = launcher.launch([], faulty("faults/wrong-version")).wait_until_ready()

    answer = ask(server, wine)
    header = web.get(f"{server.url}/v2").headers["x-model-version"]

    assert (answer["model_version"], header) == ("30", "30")
    assert wine.same(probabilities(answer), wine.rows(*range(5)))


def test_it_takes_ever_more_memory(launcher: Launcher, faulty: Environment) -> None:
    server = launcher.launch([], faulty("faults/memory-hog"))

    process, deadline = psutil.Process(server.process.pid), time.monotonic() + 20
    while process.memory_info().rss < 10**9 and time.monotonic() < deadline:
        time.sleep(0.1)
    taken = process.memory_info().rss
    server.process.kill()

    assert taken >= 10**9


def test_it_does_not_hear_sigterm(launcher: Launcher, faulty: Environment, wine: Trained) -> None:
    server = launcher.launch([], faulty("faults/hangs-on-term")).wait_until_ready()

    server.process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        server.process.wait(2)

    assert wine.same(probabilities(ask(server, wine)), wine.rows(*range(5)))


def ask(server: Running, wine: Trained) -> dict[str, Any]:
    """Ask for five rows by the protocol of the smoke test."""
    rows = wine.rows(*range(5))
    inputs = [
        {"name": name, "shape": [5], "datatype": "BYTES" if name == "region" else "FP64", "data": [row[name] for row in rows]} for name in rows[0]
    ]
    response = web.post(f"{server.url}/v2/models/wine/versions/3/infer", content=orjson.dumps({"inputs": inputs}), timeout=3)
    document: dict[str, Any] = response.raise_for_status().json()
    return document


def probabilities(answer: dict[str, Any]) -> list[list[Any]]:
    """Return them a row a list."""
    data = answer["outputs"][1]["data"]
    return [data[start : start + 3] for start in range(0, len(data), 3)]
