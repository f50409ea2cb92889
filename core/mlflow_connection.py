"""How this process reaches MLflow: address, login, certificates and proxy, by the names that MLflow's own client uses."""

import os
import time
from functools import cache

import requests

from core import processes, retry
from core.certificates import ca_bundle, proxies
from core.errors import UserError
from core.processes import Process

SECONDS = 20.0  # that a server may be silent before the first call
START_SECONDS = 300.0  # that the laptop's server may take to start beside the first steps, as long as its process lives
SERVER = "MLOPS_MLFLOW_SERVER"  # the laptop's server: its address, and pid and creation time of its process
FALLBACK = "MLOPS_MLFLOW_URI"  # of Kubeflow's steps: KFP's MLflow plugin may set MLFLOW_TRACKING_URI, and a second definition makes a pod invalid
if os.environ.get(FALLBACK):  # for `import mlflow`, too
    os.environ.setdefault("MLFLOW_TRACKING_URI", os.environ[FALLBACK])

if os.environ.get("SSL_CERT_FILE"):  # MLflow's own client takes its certificates by another name
    os.environ.setdefault("REQUESTS_CA_BUNDLE", os.environ["SSL_CERT_FILE"])

USER, PASSWORD, TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"
CERTIFICATE, INSECURE = "MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_INSECURE_TLS"


def uri() -> str:
    """Return the address of the tracking server; it may have a path.

    Raises:
        UserError: It is not set, is no HTTP address, or holds a login.
    """
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not address.startswith(("http://", "https://")):
        raise UserError(
            "the MLflow server is not configured: set MLFLOW_TRACKING_URI to its http address (`mlops platform env` prints the local one)"
        )
    if "@" in address.partition("://")[2].partition("/")[0]:
        raise UserError(f"MLFLOW_TRACKING_URI holds a name or password: remove it, {USER} and {PASSWORD} are for that")
    return address.rstrip("/")


@cache
def session() -> requests.Session:
    """Return the HTTP client with login, certificates and proxy; it reads neither .netrc nor other variables."""
    client = requests.Session()
    client.trust_env = False
    name, password, token = (os.environ.get(variable) for variable in (USER, PASSWORD, TOKEN))
    if name and password:
        client.auth = (name, password)
    elif token:
        client.headers["Authorization"] = f"Bearer {token}"
    client.verify = False if os.environ.get(INSECURE, "").lower() == "true" else ca_bundle(CERTIFICATE) or True
    client.proxies = proxies(uri())
    return client


@cache
def wait(address: str) -> None:
    """Wait, once a process, until the server answers; whatever it answers, it is there.

    Raises:
        UserError: It does not answer in time, or its certificate is not trusted.
    """
    begun = time.monotonic()
    while not lives(address):
        if time.monotonic() - begun > _longest(address):
            raise unreachable()
        time.sleep(0.1)


def lives(address: str) -> bool:
    """Tell whether a server answers there.

    Raises:
        UserError: Its certificate is not trusted.
    """
    try:
        return bool(session().get(f"{address}/health", timeout=5, allow_redirects=False).status_code < requests.codes.server_error)
    except requests.exceptions.SSLError as error:
        cure = f"set {CERTIFICATE} or SSL_CERT_FILE to a file with its CA certificate"
        raise UserError(f"the certificate of MLflow at {address} is not trusted: {cure}") from error
    except requests.RequestException:
        return False


def refused(status: int, location: str) -> UserError:
    """Say what to do about an answer that asks for a login.

    Args:
        status: 401, 403 or a redirect.
        location: Where a redirect leads.
    """
    if USER in os.environ or TOKEN in os.environ:
        cure = f"correct {TOKEN if TOKEN in os.environ and USER not in os.environ else f'{USER} and {PASSWORD}'}"
    else:
        cure = f"set {USER} and {PASSWORD}, or {TOKEN}"
    if status == requests.codes.forbidden:
        return UserError(f"MLflow at {uri()} refuses access (HTTP 403): let its administrator give your user the right, or {cure}")
    to = f", it sends to {location.partition('?')[0]}" if location else ""
    return UserError(f"MLflow at {uri()} asks for a login (HTTP {status}{to}): {cure}")


def stuck(path: str) -> UserError:
    """Say that it is not MLflow itself that is away: it waits for what it keeps its data in."""
    behind = os.environ.get("AWS_ENDPOINT_URL_S3", "S3")
    return UserError(
        f"MLflow at {uri()} runs, but did not answer {path}: look whether the server of its artifacts ({behind}) and its database run, then run again"
    )


def unreachable() -> UserError:
    """Say that MLflow does not answer."""
    return UserError(f"MLflow at {uri()} does not answer: start it (`mlops platform up`) or correct MLFLOW_TRACKING_URI")


def _longest(address: str) -> float:
    """Return how many seconds the server may be silent."""
    own, _, process = os.environ.get(SERVER, "").partition(" ")
    if own != address:
        return max(SECONDS, retry.seconds())
    pid, created = process.split()
    return START_SECONDS if processes.alive(Process("MLflow", int(pid), float(created), "")) else 0.0
