"""MLflow's public REST API. A step that writes a few numbers need not pay for `import mlflow`, which costs as much as its work."""

import os
import time
from functools import cache
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from urllib3.exceptions import NewConnectionError

from core import processes, retry, storage
from core.errors import UserError
from core.processes import Process

TAG_LIMIT = 5000  # characters of a tag's value that every MLflow store takes
SECONDS = 20.0  # that a server may be silent before the first call
START_SECONDS = 300.0  # that the laptop's server may take to start beside the first steps, as long as its process lives
AWAY = (502, 503, 504)
FULL = ("database or disk is full", "No space left on device")  # in the words of SQLite and PostgreSQL
FALLBACK = "MLOPS_MLFLOW_URI"  # of Kubeflow's steps: KFP's MLflow plugin may set MLFLOW_TRACKING_URI, and a second definition makes a pod invalid
if os.environ.get(FALLBACK):  # for `import mlflow`, too
    os.environ.setdefault("MLFLOW_TRACKING_URI", os.environ[FALLBACK])
SERVER = "MLOPS_MLFLOW_SERVER"  # the laptop's server: its address, and pid and creation time of its process


class NotFound(Exception):
    """What was asked for is not there."""


class AlreadyExists(UserError):
    """What was to be made is there."""


def call(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Make one call of the API.

    Args:
        method: GET or POST, ...
        path: Below `api/2.0/mlflow/`.
        body: The query of a GET, else the JSON body.

    Raises:
        NotFound: The server knows no such thing.
        UserError: The server cannot be reached, or refuses.
    """
    where = {"params": body} if method == "GET" else {"json": body}
    answer = _send(method, f"api/2.0/mlflow/{path}", **where)
    try:
        document: dict[str, Any] = answer.json()
    except ValueError as error:
        raise _no_mlflow(f"answers {path} without JSON") from error
    return document


def put_artifact(artifact_uri: str, path: str, data: bytes) -> None:
    """Write one artifact of a run, through the server where it proxies them, else straight to S3."""
    if artifact_uri.startswith("s3://"):
        storage.write(f"{artifact_uri}/{path}", data)
        return
    root = urlsplit(artifact_uri).path.strip("/")
    _send("PUT", f"api/2.0/mlflow-artifacts/artifacts/{quote(f'{root}/{path}')}", data=data)


def get_artifact(artifact_uri: str, path: str) -> bytes:
    """Read one artifact of a run."""
    if artifact_uri.startswith("s3://"):
        return storage.read(f"{artifact_uri}/{path}")
    root = urlsplit(artifact_uri).path.strip("/")
    content: bytes = _send("GET", f"api/2.0/mlflow-artifacts/artifacts/{quote(f'{root}/{path}')}").content
    return content


def uri() -> str:
    """Return the address of the tracking server.

    Raises:
        UserError: It is not set, or is no HTTP address.
    """
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not address.startswith(("http://", "https://")):
        raise UserError(
            "the MLflow server is not configured: set MLFLOW_TRACKING_URI to its http address (`mlops platform env` prints the local one)"
        )
    return address.rstrip("/")


def _send(method: str, path: str, **request: Any) -> requests.Response:
    _wait(uri())
    answer = _answer(method, path, **request)
    if answer.ok:
        return answer
    code, message = _refusal(answer)
    is_missing = answer.status_code == requests.codes.not_found
    if code == "RESOURCE_DOES_NOT_EXIST" or (is_missing and not path.startswith("api/")):
        raise NotFound(message)
    if is_missing:  # another program or a proxy answers: that says nothing about what is registered
        raise _no_mlflow(f"does not know {path}")
    if answer.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
        raise UserError(f"MLflow at {uri()} refuses access: correct MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")
    if any(words in answer.text for words in FULL):
        raise UserError(f"the disk of MLflow's database is full ({uri()}): make room there, then run again")
    kind = AlreadyExists if code == "RESOURCE_ALREADY_EXISTS" else UserError
    raise kind(f"MLflow at {uri()} refuses {path}: {message}")


def _answer(method: str, path: str, **request: Any) -> requests.Response:
    """Send a request, again while the server is away. One that may have arrived is sent again only if it changes nothing."""
    pauses = retry.pauses()
    while True:
        try:
            answer = _session().request(method, f"{uri()}/{path}", timeout=60, **request)
            if answer.status_code not in AWAY or any(words in answer.text for words in FULL):
                return answer
            failure: Exception = UserError(f"MLflow at {uri()} cannot answer {path} (HTTP {answer.status_code}): look into its log, then run again")
            never_arrived = True  # what stands before the server says so
        except requests.RequestException as error:
            failure, never_arrived = error, isinstance(getattr(error.args[0], "reason", None) if error.args else None, NewConnectionError)
        pause = next(pauses, None)
        if pause is None or not (never_arrived or method == "GET"):
            if isinstance(failure, UserError):
                raise failure
            raise (_stuck(path) if _lives(uri()) else _unreachable()) from failure
        print(f"MLflow does not answer, trying again in {pause:g} s", flush=True)
        time.sleep(pause)


def _refusal(answer: requests.Response) -> tuple[str, str]:
    try:
        body = answer.json()
        return body.get("error_code", ""), body.get("message", answer.text).splitlines()[0][:300]
    except (ValueError, AttributeError, IndexError):
        return "", f"HTTP {answer.status_code}: {answer.text[:300]}"


@cache
def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no proxy between a step and its server
    name, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if name and password:
        session.auth = (name, password)
    return session


@cache
def _wait(address: str) -> None:
    """Wait, once a process, until the server answers."""
    begun = time.monotonic()
    while True:
        if _lives(address):
            return
        if time.monotonic() - begun > _longest(address):
            raise _unreachable()
        time.sleep(0.1)


def _lives(address: str) -> bool:
    try:
        return bool(_session().get(f"{address}/health", timeout=5).ok)
    except requests.RequestException:
        return False


def _longest(address: str) -> float:
    """Return how many seconds the server may be silent."""
    own, _, process = os.environ.get(SERVER, "").partition(" ")
    if own != address:
        return max(SECONDS, retry.seconds())
    pid, created = process.split()
    return START_SECONDS if processes.alive(Process("MLflow", int(pid), float(created), "")) else 0.0


def _stuck(path: str) -> UserError:
    """Say that it is not MLflow itself that is away: it waits for what it keeps its data in."""
    behind = os.environ.get("AWS_ENDPOINT_URL_S3", "S3")
    return UserError(
        f"MLflow at {uri()} runs, but did not answer {path}: look whether the server of its artifacts ({behind}) and its database run, then run again"
    )


def _unreachable() -> UserError:
    return UserError(f"MLflow at {uri()} does not answer: start it (`mlops platform up`) or correct MLFLOW_TRACKING_URI")


def _no_mlflow(fault: str) -> UserError:
    return UserError(f"the server at {uri()} {fault}, so it is not MLflow: correct MLFLOW_TRACKING_URI")
