"""Servers that are away for a moment."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from core import mlflow_api, retry, storage
from core.errors import UserError


class Away(BaseHTTPRequestHandler):
    """Answers as the server's list says: a status, or None for a connection that breaks."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/health":
            self.reply(200)
            return
        self.server.seen.append(self.command)  # type: ignore[attr-defined]
        status = self.server.answers.pop(0)  # type: ignore[attr-defined]
        if status:
            self.reply(status)
        else:
            self.close_connection = True

    do_POST = do_PUT = do_GET  # noqa: N815

    def reply(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


Start = Callable[..., ThreadingHTTPServer]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setattr(retry, "FIRST", 0.01)
    monkeypatch.setattr(retry, "seconds", lambda: 0.1)
    with ThreadingHTTPServer(("127.0.0.1", 0), Away) as running:

        def start(*answers: int | None) -> ThreadingHTTPServer:
            running.answers, running.seen = list(answers), []  # type: ignore[attr-defined]
            threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
            address = f"http://127.0.0.1:{running.server_port}"
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
            return running

        yield start
        running.shutdown()


def test_pauses_grow_and_end_after_a_minute_in_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert list(retry.pauses()) == [0.5, 1.0]

    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert list(retry.pauses()) == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0, 10.0]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_mlflow_that_is_being_replaced_is_asked_again(server: Start, capsys: pytest.CaptureFixture[str], method: str) -> None:
    running = server(503, 502, 200)

    assert mlflow_api.call(method, "runs/get") == {}

    assert running.seen == [method] * 3  # type: ignore[attr-defined]
    assert capsys.readouterr().out.count("MLflow does not answer, trying again") == 2


def test_request_that_may_have_arrived_is_sent_again_only_if_it_changes_nothing(server: Start) -> None:
    running = server(None, 200)
    assert mlflow_api.call("GET", "runs/get") == {}

    running.answers, running.seen = [None, 200], []  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"did not answer api/2\.0"):
        mlflow_api.call("POST", "runs/create", {})
    assert running.seen == ["POST"]  # type: ignore[attr-defined]


def test_mlflow_that_stays_away_is_a_sentence(server: Start) -> None:
    server(*[503] * 20)

    with pytest.raises(UserError, match=r"cannot answer api/2.0/mlflow/runs/get \(HTTP 503\): look into its log"):
        mlflow_api.call("GET", "runs/get")


def test_object_storage_that_is_away_is_asked_again_and_the_log_says_so(server: Start, capsys: pytest.CaptureFixture[str]) -> None:
    running = server(503, 503, 200)

    storage.write("s3://data/file", b"content")

    assert running.seen == ["PUT"] * 3  # type: ignore[attr-defined]
    assert "object storage does not answer, trying again" in capsys.readouterr().out
