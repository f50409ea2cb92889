"""The life of the gRPC port: absent unless somebody asks for it, there with the server, and left without losing an RPC."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc  # type: ignore[import-untyped]
import psutil
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2

from core.processes import free_port
from tests.unit.serving import web
from tests.unit.serving.bodies import tensors
from tests.unit.serving.models import Trained, publish
from tests.unit.serving.rpcs import INFER, Switch, refusal, request, start, stub, values
from tests.unit.serving.servers import HeldStorage, Launcher, Running

DRAIN = 2
PAUSES = [0, 0, 0, 0, 0.01, 0.1, 0.5, 1.2]
COMMAND = ["--uri", "s3://a/b", "--digest", "d", "--name", "n", "--version", "1", "--port", "0"]
WITHOUT_GRPC = """
import importlib.abc, runpy, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == "grpc":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
runpy.run_module("serving", run_name="__main__")
"""


def test_without_the_option_there_is_neither_a_port_nor_the_library(launcher: Launcher, wine: Trained) -> None:
    off = launcher.start(*publish(wine.onnx)).wait_until_ready()
    on, _ = start(launcher, wine.onnx)
    on.wait_until_ready()

    assert ([listens(server) for server in (off, on)], [has_grpc(server) for server in (off, on)]) == ([1, 2], [False, True])


def listens(server: Running) -> int:
    """At how many ports."""
    return sum(connection.status == psutil.CONN_LISTEN for connection in psutil.Process(server.process.pid).net_connections())


def has_grpc(server: Running) -> bool:
    return any("/grpc/" in mapped.path for mapped in psutil.Process(server.process.pid).memory_maps())


def test_without_the_extra_the_server_says_what_to_install(platform: object) -> None:
    command = [sys.executable, "-c", WITHOUT_GRPC, *COMMAND, "--grpc-port", str(free_port())]

    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "error: gRPC cannot be imported (No module named 'grpc'): install the extra (make add EXTRAS=grpc), "
        "build the image with --build-arg EXTRAS=grpc, or leave out --grpc-port"
    )
    assert "Traceback" not in done.stderr


def test_without_the_extra_and_the_option_nobody_misses_it(platform: object) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_GRPC, *COMMAND], capture_output=True, text=True, timeout=30, check=False)

    assert done.stderr.splitlines()[-1] == "error: s3://a/b is not the address of an object: write s3://bucket/key"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_that_is_taken_is_said(platform: object, host: str) -> None:
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "serving", *COMMAND, "--host", host, "--grpc-port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"error: cannot listen on {address} for gRPC: choose another --grpc-port or end what has it"
    assert "Traceback" not in done.stderr


def test_a_port_that_another_of_these_servers_has_is_taken(launcher: Launcher, wine: Trained) -> None:
    first, address = start(launcher, wine.onnx)
    first.wait_until_ready()
    command = [sys.executable, "-m", "serving", *COMMAND, "--grpc-port", address.partition(":")[2]]

    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert f"cannot listen on {address} for gRPC" in done.stderr


def test_a_server_is_alive_before_it_is_ready(launcher: Launcher, wine: Trained) -> None:
    held = HeldStorage()
    server, address = start(launcher, wine.onnx, AWS_ENDPOINT_URL_S3=held.url)
    web.get(f"{server.url}/v2/health/live").raise_for_status()

    with triton.InferenceServerClient(address) as client, stub(address) as service:
        before = client.is_server_live(), client.is_server_ready(), client.is_model_ready("wine")
        refused = refusal(service.ModelInfer, request([]))
        with pytest.raises(grpc.RpcError) as described:
            service.ModelMetadata(service_pb2.ModelMetadataRequest(name="wine"))
        held.release()
        server.wait_until_ready()
        after = client.is_server_live(), client.is_server_ready(), client.is_model_ready("wine")

    assert (before, after) == ((True, False, False), (True, True, True))
    assert refused == ("UNAVAILABLE", "wine version 3 is loading: try again in a moment")
    assert dict(described.value.trailing_metadata())["retry-after"] == "1"


def test_no_client_loses_an_rpc_when_a_server_leaves(launcher: Launcher, wine: Trained) -> None:
    old, old_address = start(launcher, wine.onnx, DRAIN_SECONDS=str(DRAIN))
    new, new_address = start(launcher, wine.onnx, DRAIN_SECONDS=str(DRAIN))
    switch, ended = Switch(old_address), threading.Event()
    for server in (old, new):
        server.wait_until_ready()

    with ThreadPoolExecutor(len(PAUSES)) as threads:
        clients = [threads.submit(ask, switch.address, wine, pause, ended) for pause in PAUSES]
        time.sleep(1)
        switch.target = new_address
        old.process.send_signal(signal.SIGTERM)
        status = old.process.wait(15)
        time.sleep(1)
        ended.set()
    outcomes = [outcome for client in clients for outcome in client.result()]

    assert (status, len(outcomes) > 100, set(outcomes)) == (0, True, {"OK"})


def ask(address: str, wine: Trained, pause: float, ended: threading.Event) -> list[str]:
    """Ask on one channel as long as the test lasts, as clients of a Service do; return what came of each RPC."""
    message, outcomes = request(tensors(wine.rows(1))), []
    with stub(address) as service:
        while not ended.is_set():
            try:
                service.ModelInfer(message, timeout=10)
                outcomes.append("OK")
            except grpc.RpcError as error:
                outcomes.append(f"{error.code().name}: {error.details()}")
            time.sleep(pause)
    return outcomes


def test_a_draining_server_accepts_and_answers_and_is_not_ready(launcher: Launcher, wine: Trained) -> None:
    server, address = start(launcher, wine.onnx, DRAIN_SECONDS=str(DRAIN))
    server.wait_until_ready()

    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    with triton.InferenceServerClient(address) as client, stub(address) as service:
        health = client.is_server_live(), client.is_server_ready(), client.is_model_ready("wine")
        answer = values(service.ModelInfer(request(tensors(wine.rows(1)))))

    assert health == (True, False, False)
    assert wine.same(answer["predict_proba"], wine.rows(1))
    assert server.process.wait(15) == 0


def test_an_rpc_in_flight_at_the_end_is_answered(launcher: Launcher, wine: Trained) -> None:
    server, address = start(launcher, wine.onnx)
    server.wait_until_ready()
    begun, may_send = threading.Event(), threading.Event()

    def late() -> Iterator[bytes]:
        begun.set()
        may_send.wait()
        yield request(tensors(wine.rows(1))).SerializeToString()

    with grpc.insecure_channel(address) as channel:
        future = channel.stream_unary(INFER).future(late())
        begun.wait()
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        may_send.set()
        response = service_pb2.ModelInferResponse.FromString(future.result(timeout=10))

    assert wine.same(values(response)["predict_proba"], wine.rows(1))
    assert server.process.wait(15) == 0
