"""From start to stop: what a server refuses to serve, when it is ready, how it ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import orjson
import pytest

from core import storage
from core.bundle import digest
from serving.__main__ import every_address, listen
from tests.unit.serving import web
from tests.unit.serving.models import Trained, publish, wrong_golden
from tests.unit.serving.servers import HeldStorage, Launcher, Running

NOWHERE = "http://127.0.0.1:9"


def assert_refused(server: Running, sentence: str) -> None:
    assert server.process.wait(30) == 1
    assert server.text().splitlines()[-1].startswith("error: ")
    assert sentence in server.text().splitlines()[-1]
    assert "Traceback" not in server.text()
    assert "ready:" not in server.text()


def test_another_digest_is_refused(launcher: Launcher, wine: Trained) -> None:
    uri, _ = publish(wine.onnx)

    server = launcher.start(uri, digest(b"the one that was registered"))

    assert_refused(server, "this is not the version that was registered")


@pytest.mark.parametrize(
    ("uri", "environment", "sentence"),
    [
        pytest.param("s3://models/wine/none.zip", {}, "there is no such object", id="missing object"),
        pytest.param("s3://models-of-nobody/wine.zip", {}, "bucket", id="missing bucket"),
        pytest.param("s3://models/wine/none.zip", {"AWS_SECRET_ACCESS_KEY": "wrong"}, "the secret key is wrong", id="wrong secret"),
        pytest.param("s3://models/wine/none.zip", {"AWS_ACCESS_KEY_ID": "nobody"}, "the access key is unknown", id="unknown key"),
        pytest.param("s3://models/wine/none.zip", {"AWS_ENDPOINT_URL_S3": NOWHERE}, "does not answer", id="no S3 server"),
        pytest.param("s3://models/wine/none.zip", {"AWS_ENDPOINT_URL_S3": "", "AWS_REGION": ""}, "object storage is not configured", id="no address"),
        pytest.param("models/wine/none.zip", {}, "is not an S3 address", id="not an address"),
    ],
)
def test_a_model_that_cannot_be_fetched_ends_the_server(launcher: Launcher, uri: str, environment: dict[str, str], sentence: str) -> None:
    server = launcher.start(uri, digest(b""), environment=environment)

    assert_refused(server, sentence)


def test_an_object_that_is_no_bundle_ends_the_server(launcher: Launcher) -> None:
    storage.write("s3://models/wine/broken.zip", b"not a zip")

    server = launcher.start("s3://models/wine/broken.zip", digest(b"not a zip"))

    assert_refused(server, "is not a model bundle")


def test_golden_rows_that_differ_are_never_served(launcher: Launcher, wine: Trained) -> None:
    server = launcher.start(*publish(wrong_golden(wine.onnx)))

    assert_refused(server, "wine version 3 is not served: it answers its golden rows differently from training: row 4: predict_proba")
    assert "row 3" not in server.text()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param({"manifest": {"engine": "abacus"}}, "needs the engine abacus", id="unknown engine"),
        pytest.param({"manifest": {"engine": "onnx"}}, "cannot answer its golden rows", id="no ONNX graph"),
        pytest.param({"golden": {"rows": [], "predict": [], "predict_proba": []}}, "has no golden rows", id="no golden rows"),
        pytest.param({"manifest": {"inputs": ()}}, "cannot answer its golden rows", id="an engine that fails"),
    ],
)
def test_a_version_that_cannot_be_proved_ends_the_server(
    launcher: Launcher, wine: Trained, change: dict[str, dict[str, object]], sentence: str
) -> None:
    bundle = wine.bundle
    for part, values in change.items():
        bundle = replace(bundle, **{part: replace(getattr(bundle, part), **values)})

    server = launcher.start(*publish(bundle))

    assert_refused(server, sentence)


def test_a_defect_while_loading_ends_the_server_with_a_sentence() -> None:
    program = "import serving.model; serving.model.load = lambda version: 1 / 0; from serving.__main__ import main; raise SystemExit(main())"
    options = ["--uri", "s3://a/b", "--digest", "d", "--name", "wine", "--version", "3", "--port", "0"]

    done = subprocess.run([sys.executable, "-c", program, *options], capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: wine version 3 could not be loaded: this is a defect, please report the lines above"
    assert "ZeroDivisionError" in done.stderr


def test_a_port_that_is_taken_is_said(launcher: Launcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "serving", "--uri", "s3://a/b", "--digest", "d", "--name", "n", "--version", "1", "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: cannot listen on 127.0.0.1:{port}")
    assert "Traceback" not in done.stderr


def test_a_server_is_alive_before_it_is_ready(launcher: Launcher, wine: Trained) -> None:
    held = HeldStorage()
    server = launcher.start(*publish(wine.onnx), environment={"AWS_ENDPOINT_URL_S3": held.url})

    live, ready = web.get(f"{server.url}/v2/health/live"), web.get(f"{server.url}/v2/health/ready")
    refused = web.post(f"{server.url}/invocations", json={"instances": wine.rows(0)})
    held.release()
    server.wait_until_ready()

    assert (live.status_code, ready.status_code, refused.status_code) == (200, 503, 503)
    assert refused.json()["message"] == "wine version 3 is loading: try again in a moment"
    assert refused.headers["retry-after"] == "1"
    assert web.get(f"{server.url}/ping").status_code == 200


def test_a_request_in_flight_is_answered_before_the_end(launcher: Launcher, wine: Trained) -> None:
    variables = {"MODEL_NAME": "cellar", "MODEL_VERSION": "12", "HOST": "127.0.0.1", "PORT": "0"}
    variables["MODEL_URI"], variables["MODEL_DIGEST"] = publish(wine.onnx)
    server = launcher.launch([], variables).wait_until_ready()
    body = orjson.dumps({"instances": wine.rows(0, 100)})

    with socket.create_connection(server.address) as client:
        client.sendall(b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:20])
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        client.sendall(body[20:])
        answer = b"".join(iter(partial(client.recv, 65536), b""))

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"x-model-version: 12" in answer
    assert orjson.loads(answer.partition(b"\r\n\r\n")[2])["predictions"] == wine.answer(wine.rows(0, 100), "predict")
    assert server.process.wait(15) == 0


def test_the_log_tells_start_ready_and_stop_and_no_values(launcher: Launcher, wine: Trained) -> None:
    server = launcher.start(*publish(wine.onnx)).wait_until_ready()
    web.post(f"{server.url}/invocations", json={"instances": [{**wine.rows(0)[0], "region": "secret"}]})
    web.post(f"{server.url}/invocations", json={"instances": [{**wine.rows(0)[0], "hue": "secret"}]})

    server.process.send_signal(signal.SIGINT)

    assert server.process.wait(15) == 0
    assert [line.split()[2] for line in server.text().splitlines()] == ["listening", "wine", "ready:", "stopped"]
    assert "secret" not in server.text()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_all_addresses_are_those_of_ipv4_and_ipv6(host: str) -> None:
    with listen(every_address("0.0.0.0"), 0) as listener:  # noqa: S104
        socket.create_connection((host, listener.getsockname()[1]), timeout=5).close()
