"""The way to Kubeflow Pipelines: its address, whether it answers, its client, its refusals."""

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import urllib3
from kfp import Client
from kfp_server_api import ApiException

from core.errors import UserError

PORT_FORWARD = "`kubectl -n kubeflow port-forward svc/ml-pipeline-ui 8080:80`, then KFP_ENDPOINT=http://localhost:8080"
TIMEOUT = 5.0


def address(host: str | None) -> str:
    """Return the address of Kubeflow Pipelines, from what a user gives or copies from the browser."""
    given = (host or os.environ.get("KFP_ENDPOINT", "")).strip()
    if not given:
        raise UserError(f"no Kubeflow is named: set KFP_ENDPOINT to its address, or forward a port to it: {PORT_FORWARD}")
    return (given if "://" in given else f"http://{given}").split("#")[0].rstrip("/")


def check(endpoint: str, namespace: str | None) -> None:
    """Ask for the server's health once: kfp's own client asks for half a minute and then shows a traceback."""
    url = f"{endpoint}/apis/v2beta1/healthz"
    try:
        answer = urllib3.request("GET", url, headers=_token_header(), timeout=TIMEOUT, retries=False, redirect=False)
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        raise UserError(f"Kubeflow cannot be reached at {endpoint}: correct KFP_ENDPOINT, or forward a port to it: {PORT_FORWARD}") from error
    if answer.status in (301, 302, 303, 307, 308, 401, 403):
        raise _refused(endpoint, answer.status)
    multi_user = _multi_user(answer)
    if multi_user is None:
        said = f"answers, but not as Kubeflow Pipelines (HTTP {answer.status})"
        raise UserError(f"{endpoint} {said}: correct the path in KFP_ENDPOINT; on a full Kubeflow it ends in /pipeline")
    if multi_user and not namespace:
        raise UserError(f"the Kubeflow at {endpoint} is multi-user: name your namespace (--namespace)")


def _multi_user(answer: urllib3.BaseHTTPResponse) -> bool | None:
    try:
        return bool(json.loads(answer.data).get("multi_user", False)) if answer.status == 200 else None
    except (ValueError, AttributeError):
        return None


def connect(endpoint: str, namespace: str | None) -> Client:
    """Return kfp's client for an endpoint that `check` has found healthy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return Client(host=endpoint, namespace=namespace or "kubeflow", existing_token=os.environ.get("KFP_TOKEN"))


@contextmanager
def errors(endpoint: str) -> Iterator[None]:
    """Turn a refusal inside the block into one sentence."""
    try:
        yield
    except ApiException as error:
        if error.status in (401, 403):
            raise _refused(endpoint, error.status) from error
        raise UserError(f"Kubeflow at {endpoint} refused (HTTP {error.status}): {_message(error)}") from error
    except urllib3.exceptions.HTTPError as error:
        raise UserError(f"Kubeflow at {endpoint} stopped answering: {PORT_FORWARD}") from error


def _token_header() -> dict[str, str]:
    token = os.environ.get("KFP_TOKEN")
    return {"authorization": f"Bearer {token}"} if token else {}


def _refused(endpoint: str, status: int) -> UserError:
    cure = f"set KFP_TOKEN to a bearer token, or go round the login: {PORT_FORWARD}"
    return UserError(f"Kubeflow at {endpoint} asks for a login or refuses yours (HTTP {status}): {cure}")


def _message(error: ApiException) -> str:
    try:
        body = json.loads(error.body)
        return str(body.get("message") or body.get("error"))
    except (TypeError, ValueError, AttributeError):
        return str(error.reason)
