"""Waiting for MLflow: the laptop's own server as long as its process lives, another one for some seconds. And what is not MLflow."""

import http.server
import json
import os
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from core import mlflow_api, mlflow_connection, registry, tracking
from core.errors import UserError
from core.processes import free_port
from tests.unit import small


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setattr(mlflow_connection, "SECONDS", 0.3)
    mlflow_connection.wait.cache_clear()
    yield address
    mlflow_connection.wait.cache_clear()


class Answer(http.server.BaseHTTPRequestHandler):
    """Is well, and knows one run."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"run": {}}')

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_whose_process_lives_may_start_for_long(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(mlflow_connection.SERVER, f"{address} {os.getpid()} {psutil.Process().create_time()}")
    server = http.server.HTTPServer(("127.0.0.1", int(address.rpartition(":")[2])), Answer, bind_and_activate=False)
    server.server_bind()

    def listen() -> None:
        time.sleep(1)
        server.server_activate()
        server.serve_forever()

    threading.Thread(target=listen, daemon=True).start()

    assert mlflow_api.call("GET", "runs/get") == {"run": {}}
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("own", "least"), [pytest.param(True, 0.0, id="its process is dead"), pytest.param(False, 0.3, id="another server")])
def test_a_silent_server_is_not_waited_for_any_longer(address: str, monkeypatch: pytest.MonkeyPatch, own: bool, least: float) -> None:
    monkeypatch.setenv(mlflow_connection.SERVER, f"{address if own else 'http://127.0.0.1:1'} 1 0.0")
    begun = time.monotonic()

    with pytest.raises(UserError, match="does not answer"):
        mlflow_api.call("GET", "runs/get")

    assert least <= time.monotonic() - begun < least + 10


class Stranger(Answer):
    """Is well, and knows nothing of models: it answers 404, or below /app the same page everywhere."""

    def do_GET(self) -> None:
        known = self.path.endswith("/health") or self.path.startswith("/app/")
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")


@pytest.mark.parametrize("path", ["", "/app"])
def test_a_server_that_is_not_mlflow_says_nothing_of_models(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Stranger) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}{path}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)

        with pytest.raises(UserError, match=f"the server at {address} .* is not MLflow: correct MLFLOW_TRACKING_URI"):
            registry.champion("flights")
        server.shutdown()


def test_a_server_that_waits_for_its_storage_is_not_called_away(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/health":
                self.send_response(200)
                self.end_headers()  # anything else: the connection ends without an answer

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stuck) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
        with pytest.raises(UserError, match=r"runs, but did not answer .*http://127\.0\.0\.1:9"):
            mlflow_api.call("GET", "runs/get", {})
        server.shutdown()


class Full(Answer):
    """What MLflow answered when the disk of its SQLite file was full; it has no experiment yet."""

    def do_GET(self) -> None:
        found = self.path == "/health"
        self._send(200 if found else 404, b"" if found else b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}')

    def do_POST(self) -> None:
        flushed = "(raised as a result of Query-invoked autoflush)\n(sqlite3.OperationalError) database or disk is full\n[SQL: INSERT"
        self._send(503, json.dumps({"error_code": "TEMPORARILY_UNAVAILABLE", "message": flushed}).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)


def test_a_full_disk_of_mlflow_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Full) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setenv("KFP_RUN_ID", "a-run")

        for write in (lambda: tracking.parent(small.usecase()), lambda: mlflow_api.call("POST", "runs/create", {})):
            with pytest.raises(UserError, match=f"^the disk of MLflow's database is full \\({address}\\): make room"):
                write()
        server.shutdown()
