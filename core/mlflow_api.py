"""MLflow's public REST API. A step that writes a few numbers need not pay for `import mlflow`, which costs as much as its work."""

import time
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from urllib3.exceptions import NewConnectionError

from core import retry, storage
from core.errors import UserError
from core.mlflow_connection import lives, refused, session, stuck, unreachable, uri, wait

TAG_LIMIT = 5000  # characters of a tag's value that every MLflow store takes
AWAY = (502, 503, 504)
LOGIN = (301, 302, 303, 307, 308, 401, 403)  # a redirect leads to a page for people
FULL = ("database or disk is full", "No space left on device")  # in the words of SQLite and PostgreSQL


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


def _send(method: str, path: str, **request: Any) -> requests.Response:
    wait(uri())
    answer = _answer(method, path, **request)
    if answer.status_code in LOGIN:
        raise refused(answer.status_code, answer.headers.get("Location", ""))
    if answer.ok:
        return answer
    code, message = _refusal(answer)
    is_missing = answer.status_code == requests.codes.not_found
    if code == "RESOURCE_DOES_NOT_EXIST" or (is_missing and not path.startswith("api/")):
        raise NotFound(message)
    if is_missing:  # another program or a proxy answers: that says nothing about what is registered
        raise _no_mlflow(f"does not know {path}")
    if any(words in answer.text for words in FULL):
        raise UserError(f"the disk of MLflow's database is full ({uri()}): make room there, then run again")
    kind = AlreadyExists if code == "RESOURCE_ALREADY_EXISTS" else UserError
    raise kind(f"MLflow at {uri()} refuses {path}: {message}")


def _answer(method: str, path: str, **request: Any) -> requests.Response:
    """Send a request, again while the server is away. One that may have arrived is sent again only if it changes nothing."""
    pauses = retry.pauses()
    while True:
        try:
            answer = session().request(method, f"{uri()}/{path}", timeout=60, allow_redirects=False, **request)
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
            raise (stuck(path) if lives(uri()) else unreachable()) from failure
        print(f"MLflow does not answer, trying again in {pause:g} s", flush=True)
        time.sleep(pause)


def _refusal(answer: requests.Response) -> tuple[str, str]:
    try:
        body = answer.json()
        return body.get("error_code", ""), body.get("message", answer.text).splitlines()[0][:300]
    except (ValueError, AttributeError, IndexError):
        return "", f"HTTP {answer.status_code}: {answer.text[:300]}"


def _no_mlflow(fault: str) -> UserError:
    return UserError(f"the server at {uri()} {fault}, so it is not MLflow: correct MLFLOW_TRACKING_URI")
