"""The connection to Kubeflow Pipelines: address, login, certificates, proxy, and each failure as one sentence."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import urllib3
from kfp_server_api import ApiClient, ApiException, Configuration

from core.certificates import ca_bundle, proxy
from core.errors import UserError
from pipelines.login import Login

PORT_FORWARD = "`kubectl -n kubeflow port-forward svc/ml-pipeline-ui 8080:80`, then KFP_ENDPOINT=http://localhost:8080"
CERTIFICATE = "KFP_SSL_CA_CERT"  # a CA bundle, before the usual variables
TIMEOUT = 5.0  # seconds of the first request
LONGEST = 60  # seconds of any other


@dataclass(frozen=True)
class Kubeflow:
    """A Kubeflow that has answered.

    Attributes:
        endpoint: Its address.
        namespace: The user's namespace where it is multi-user, else None.
        api: Client of its REST API.
        login: The credentials in use.
    """

    endpoint: str
    namespace: str | None
    api: ApiClient
    login: Login

    @property
    def scope(self) -> dict[str, str]:
        """The namespace as a query parameter, if there is one."""
        return {"namespace": self.namespace} if self.namespace else {}

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn a failure inside the block into one sentence."""
        try:
            yield
        except ApiException as error:
            raise self.refusal(error.status, error.body) from error
        except urllib3.exceptions.HTTPError as error:
            raise UserError(f"Kubeflow at {self.endpoint} stopped answering: {_why(error)}") from error

    def refusal(self, status: int, body: Any) -> UserError:
        """Say what Kubeflow refuses."""
        if status in (301, 302, 303, 307, 308, 401):
            return UserError(f"Kubeflow at {self.endpoint} refuses access (HTTP {status}): {self.login.refused(self.namespace)}")
        said = _message(body)
        if status == 403:
            rights = "ask the owner of the profile to add you as a contributor, or log in as another user"
            return UserError(f"Kubeflow at {self.endpoint} forbids it (HTTP 403{f', {said}' if said else ''}): {rights}")
        return UserError(f"Kubeflow at {self.endpoint} refused (HTTP {status}): {said or 'it does not say why'}")


def address(host: str | None) -> str:
    """Return the address of Kubeflow Pipelines, from what a user gives or copies from the browser."""
    given = (host or os.environ.get("KFP_ENDPOINT", "")).strip()
    if not given:
        raise UserError(f"no Kubeflow is named: set KFP_ENDPOINT to its address, or forward a port to it: {PORT_FORWARD}")
    return (given if "://" in given else f"http://{given}").split("#")[0].rstrip("/")


def connect(host: str | None, namespace: str | None, login_as: str | None = None) -> Kubeflow:
    """Connect to Kubeflow Pipelines and ask once for its health.

    Args:
        host: Its address; KFP_ENDPOINT if None.
        namespace: The user's namespace; ignored where Kubeflow has one user.
        login_as: ServiceAccount for which a token is made with kubectl's credentials.

    Raises:
        UserError: It cannot be reached, refuses access, or is not Kubeflow Pipelines.
    """
    endpoint = address(host)
    login = Login(namespace, login_as)
    kubeflow = Kubeflow(endpoint, namespace, _client(endpoint, login), login)
    is_multi_user = _health(kubeflow)
    if is_multi_user and not namespace:
        raise UserError(f"the Kubeflow at {endpoint} is multi-user: name your namespace (--namespace or KFP_NAMESPACE)")
    return kubeflow if is_multi_user else Kubeflow(endpoint, None, kubeflow.api, login)


def _client(endpoint: str, login: Login) -> ApiClient:
    settings = Configuration(host=endpoint)
    settings.ssl_ca_cert = ca_bundle(CERTIFICATE)
    try:
        settings.proxy, settings.proxy_headers = proxy(endpoint)
    except ValueError as error:
        raise UserError(f"{endpoint} is no address ({error}): correct KFP_ENDPOINT") from error
    settings.retries = urllib3.Retry(total=3, connect=2, read=False, redirect=False, status=False, backoff_factor=0.5)
    if login.token():

        def renew(configuration: Configuration) -> None:
            configuration.api_key["authorization"] = login.token()

        renew(settings)
        settings.api_key_prefix["authorization"] = "Bearer"
        settings.refresh_api_key_hook = renew
    return _Client(settings, cookie=login.cookie or None)


class _Client(ApiClient):  # type: ignore[misc]
    """Gives every request a time limit."""

    def request(self, *arguments: Any, _request_timeout: int | None = None, **options: Any) -> Any:
        return super().request(*arguments, _request_timeout=_request_timeout or LONGEST, **options)


def _health(kubeflow: Kubeflow) -> bool:
    """Ask for the server's health; return whether it is multi-user."""
    endpoint, settings = kubeflow.endpoint, kubeflow.api.configuration
    headers = {"cookie": kubeflow.login.cookie} if kubeflow.login.cookie else {}
    if token := kubeflow.login.token():
        headers["authorization"] = f"Bearer {token}"
    try:
        answer = kubeflow.api.rest_client.pool_manager.request(
            "GET", f"{endpoint}/apis/v2beta1/healthz", headers=headers, timeout=TIMEOUT, retries=False, redirect=False
        )
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        way = f"through the proxy {settings.proxy} " if settings.proxy else ""
        raise UserError(f"Kubeflow cannot be reached {way}at {endpoint}: {_why(error)}") from error
    if answer.status in (301, 302, 303, 307, 308, 401, 403):
        raise kubeflow.refusal(answer.status, answer.data)
    try:
        return bool(json.loads(answer.data).get("multi_user", False)) if answer.status == 200 else _not_kubeflow(endpoint, answer.status)
    except (ValueError, AttributeError):
        return _not_kubeflow(endpoint, answer.status)


def _not_kubeflow(endpoint: str, status: int) -> bool:
    said = f"answers, but not as Kubeflow Pipelines (HTTP {status})"
    raise UserError(f"{endpoint} {said}: correct the path in KFP_ENDPOINT; on a full Kubeflow it ends in /pipeline")


def _why(error: Exception) -> str:
    """Say why a server cannot be reached, and what to do."""
    cause = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason else error
    if isinstance(cause, urllib3.exceptions.ProxyError):
        return "the proxy does not answer or refuses: correct HTTPS_PROXY, or add the host to NO_PROXY"
    if isinstance(cause, urllib3.exceptions.SSLError):
        cure = f"set {CERTIFICATE} or SSL_CERT_FILE to a file with its CA certificate"
        return f"its certificate is not trusted ({_certificate_problem(cause)}): {cure}"
    if isinstance(cause, urllib3.exceptions.NameResolutionError):
        return "the host name is unknown: correct KFP_ENDPOINT"
    if isinstance(cause, urllib3.exceptions.TimeoutError) and not isinstance(cause, urllib3.exceptions.NewConnectionError):
        return f"it does not answer in time: correct KFP_ENDPOINT, or forward a port to it: {PORT_FORWARD}"
    return f"correct KFP_ENDPOINT, or forward a port to it: {PORT_FORWARD}"


def _certificate_problem(error: Exception) -> str:
    text = str(error)
    _, found, problem = text.partition("certificate verify failed: ")
    return problem.split(" (_ssl")[0] if found else text.split("] ")[-1].split(" (_ssl")[0]


def _message(body: Any) -> str:
    try:
        document = json.loads(body)
        return str(document.get("message") or document.get("error") or "")
    except (TypeError, ValueError, AttributeError):
        return ""
