"""A real MLflow behind what companies put before it: a login, a path, TLS with their own CA, a page for people."""

import base64
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from core import mlflow_connection
from core.errors import UserError
from core.mlflow_api import call
from local.platform import Platform
from tests.https_server import secured

BASIC = f"Basic {base64.b64encode(b'ada:secret').decode()}"
BEARER = "Bearer token-of-ada"


@dataclass
class Behind:
    """How the gateway behaves.

    Attributes:
        mlflow: Address of the real MLflow.
        login: Value of the header Authorization that is let in.
        status: Answer to all others.
        path: Where MLflow is.
    """

    mlflow: str
    login: str = ""
    status: int = 401
    path: str = ""


class Gateway(BaseHTTPRequestHandler):
    behind: Behind

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if not self.path.startswith(self.behind.path):
            return self.answer(404, b"<html>another page</html>")
        if self.behind.login and self.headers.get("authorization") != self.behind.login:
            return self.answer(self.behind.status, b"<html>log in</html>", location="https://login.example.com/start?state=secret")
        address = f"{self.behind.mlflow}{self.path.removeprefix(self.behind.path)}"
        answer = requests.request(self.command, address, data=body, headers={"content-type": "application/json"}, timeout=20)
        return self.answer(answer.status_code, answer.content)

    do_POST = do_GET  # noqa: N815

    def answer(self, status: int, body: bytes, location: str = "") -> None:
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("location", location)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def gateway(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    for variable in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    handler = type("Handler", (Gateway,), {"behind": Behind(mlflow_connection.uri())})
    monkeypatch.setattr(mlflow_connection, "SECONDS", 0.3)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        mlflow_connection.session.cache_clear()
        mlflow_connection.wait.cache_clear()
        yield server
        server.shutdown()
    mlflow_connection.session.cache_clear()
    mlflow_connection.wait.cache_clear()


def behind(server: ThreadingHTTPServer) -> Behind:
    settings: Behind = server.RequestHandlerClass.behind  # type: ignore[attr-defined]
    return settings


def reached() -> bool:
    """Whether the real MLflow answers."""
    return bool(call("GET", "experiments/get-by-name", {"experiment_name": "Default"})["experiment"]["experiment_id"] == "0")


@pytest.mark.parametrize(
    ("login", "variables"),
    [
        pytest.param(BASIC, {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "secret"}, id="name and password"),
        pytest.param(BEARER, {"MLFLOW_TRACKING_TOKEN": "token-of-ada"}, id="bearer token"),
    ],
)
def test_login_by_the_variables_of_mlflows_own_client(
    gateway: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch, login: str, variables: dict[str, str]
) -> None:
    behind(gateway).login = login
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert reached()


@pytest.mark.parametrize(
    ("status", "variables", "sentence"),
    [
        pytest.param(401, {}, r"asks for a login \(HTTP 401\): set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or", id="no login"),
        pytest.param(401, {"MLFLOW_TRACKING_TOKEN": "old"}, r"asks for a login \(HTTP 401\): correct MLFLOW_TRACKING_TOKEN", id="wrong token"),
        pytest.param(403, {}, r"refuses access \(HTTP 403\): let its administrator give your user the right, or set", id="forbidden"),
        pytest.param(302, {}, r"asks for a login \(HTTP 302, it sends to https://login.example.com/start\): set", id="a page for people"),
    ],
)
def test_refused_login_is_named_at_once(
    gateway: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch, status: int, variables: dict[str, str], sentence: str
) -> None:
    behind(gateway).login, behind(gateway).status = BASIC, status
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(UserError, match=sentence) as refused:
        reached()

    assert "secret" not in str(refused.value)


def test_mlflow_below_a_path(gateway: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    behind(gateway).path = "/tools/mlflow"
    with pytest.raises(UserError, match="is not MLflow: correct MLFLOW_TRACKING_URI"):
        reached()

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{gateway.server_port}/tools/mlflow/")

    assert reached()


@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_SERVER_CERT_PATH", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_private_ca_is_trusted_by_each_variable(gateway: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str) -> None:
    gateway.socket = secured(gateway.socket, tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"https://127.0.0.1:{gateway.server_port}")
    monkeypatch.setenv(variable, str(tmp_path / "certificate.pem"))

    assert reached()


def test_mlflows_own_client_trusts_the_same_authority(tmp_path: Path) -> None:
    code = "import os, core.mlflow_connection; print(os.environ['REQUESTS_CA_BUNDLE'])"
    environment = {name: value for name, value in os.environ.items() if name != "REQUESTS_CA_BUNDLE"} | {"SSL_CERT_FILE": str(tmp_path / "ca.crt")}

    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout

    assert shown.strip() == str(tmp_path / "ca.crt")


def test_untrusted_certificate_is_named_as_such(gateway: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gateway.socket = secured(gateway.socket, tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"https://127.0.0.1:{gateway.server_port}")

    with pytest.raises(UserError, match="is not trusted: set MLFLOW_TRACKING_SERVER_CERT_PATH or SSL_CERT_FILE"):
        reached()


def test_login_in_the_address_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:secret@127.0.0.1:9")

    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI holds a name or password: remove it") as refused:
        mlflow_connection.uri()

    assert "secret" not in str(refused.value)
