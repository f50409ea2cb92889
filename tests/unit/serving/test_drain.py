"""How a server leaves a cluster: no request is lost, and every client is told to go elsewhere."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import httpx
import orjson
import pytest

from tests.unit.serving import web
from tests.unit.serving.models import Trained, publish
from tests.unit.serving.servers import HeldStorage, Launcher, Running

SECONDS = 3


def leaving(launcher: Launcher, wine: Trained, seconds: int = SECONDS) -> Running:
    """A ready server that drains when it is told to end."""
    return launcher.start(*publish(wine.onnx), environment={"DRAIN_SECONDS": str(seconds)}).wait_until_ready()


@dataclass
class Seen:
    """What one client saw of the server that left."""

    statuses: list[int]
    dismissed: int


def ask(old: Running, new: Running, body: dict[str, object], pause: float, until: float) -> Seen:
    """Ask on one connection after the other; one that closes is followed by one to the next server, as a Service does it."""
    seen = Seen([], 0)
    with web.client(base_url=old.url) as to_old, web.client(base_url=new.url) as to_new:
        client = to_old
        while time.monotonic() < until:
            response = client.post("/invocations", json=body)
            seen.statuses.append(response.status_code)
            if response.headers.get("connection") == "close":
                seen.dismissed += 1
                client = to_new
            time.sleep(pause)
    return seen


@pytest.mark.one_engine
def test_no_client_that_keeps_its_connection_loses_a_request(launcher: Launcher, wine: Trained, wine_server: Running) -> None:
    server = leaving(launcher, wine)
    end = time.monotonic() + SECONDS + 2
    pauses = [0, 0, 0, 0, 0.01, 0.1, 0.5, 1.2]

    with ThreadPoolExecutor(len(pauses)) as threads:
        clients = [threads.submit(ask, server, wine_server, {"instances": wine.rows(0)}, pause, end) for pause in pauses]
        time.sleep(1)
        server.process.send_signal(signal.SIGTERM)
    seen = [client.result() for client in clients]

    assert {status for client in seen for status in client.statuses} == {200}
    assert [client.dismissed for client in seen] == [1] * len(pauses)
    assert server.process.wait(15) == 0


def test_a_draining_server_accepts_and_answers_and_is_not_ready(launcher: Launcher, wine: Trained) -> None:
    server = leaving(launcher, wine)
    paths = ["/v2/health/live", "/v2/models/wine", "/v2", "/version", "/nowhere", "/v2/health/ready", "/ping", "/wine/v2/models/wine/ready"]

    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    with web.client(base_url=server.url) as client:
        responses = [client.get(path) for path in paths]
        answers = [client.post("/invocations", json={"instances": wine.rows(number)}) for number in range(20)]

    assert [response.status_code for response in responses] == [200, 200, 200, 200, 404, 503, 503, 503]
    assert "another server answers" in responses[-1].json()["error"]
    assert {response.status_code for response in answers} == {200}
    assert {response.headers["connection"] for response in responses + answers} == {"close"}
    assert server.process.wait(15) == 0


def test_an_idle_connection_is_kept_until_the_end(launcher: Launcher, wine: Trained) -> None:
    server = leaving(launcher, wine)

    with socket.create_connection(server.address) as idle:
        idle.settimeout(SECONDS / 2)
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(TimeoutError):
            idle.recv(1)
        idle.settimeout(SECONDS)
        ended = idle.recv(1)

    assert ended == b""
    assert server.process.wait(15) == 0


def test_a_request_in_flight_at_the_end_is_answered(launcher: Launcher, wine: Trained) -> None:
    server = leaving(launcher, wine)
    body = orjson.dumps({"instances": wine.rows(0)})

    with socket.create_connection(server.address) as client:
        client.sendall(b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:20])
        server.process.send_signal(signal.SIGTERM)
        time.sleep(SECONDS + 1)
        with pytest.raises(httpx.ConnectError):
            web.get(server.url)
        client.sendall(body[20:])
        answer = b"".join(iter(partial(client.recv, 65536), b""))

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"connection: close" in answer
    assert orjson.loads(answer.partition(b"\r\n\r\n")[2])["predictions"] == wine.answer(wine.rows(0), "predict")
    assert server.process.wait(15) == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(launcher: Launcher, wine: Trained, second: signal.Signals) -> None:
    server = leaving(launcher, wine, seconds=60)

    server.process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        server.process.wait(1)
    server.process.send_signal(second)

    assert server.process.wait(5) == 128 + second


def test_a_server_that_hangs_while_it_loads_ends(launcher: Launcher, wine: Trained) -> None:
    server = launcher.start(*publish(wine.onnx), environment={"AWS_ENDPOINT_URL_S3": HeldStorage().url})
    web.get(f"{server.url}/v2/health/live").raise_for_status()

    server.process.send_signal(signal.SIGTERM)

    assert server.process.wait(5) == 0
