"""The Kubernetes API: a few verbs on plain objects, each refusal as one sentence."""

import contextlib
import functools
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import Conflict, UserError, first_line

if TYPE_CHECKING:
    import requests

MANAGER = "mlops"  # the field manager of what we apply
PATIENCE = 60.0  # seconds that the API server may be away, as when it is restarted
TIMEOUT = 20.0  # seconds of one request

ACCOUNT = "pipeline"  # the ServiceAccount of the steps: it has no right where models are served
DEPLOYER = "deployer"  # the ServiceAccount that k8s/base/deployer allows to deploy; its token is in the Secret TOKEN
TOKEN, TOKEN_FOLDER = "mlops-deployer", "/etc/mlops-deployer"

Object = dict[str, Any]

PATHS = {
    "Deployment": "apis/apps/v1/namespaces/{namespace}/deployments",
    "Event": "api/v1/namespaces/{namespace}/events",
    "HorizontalPodAutoscaler": "apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers",
    "HTTPRoute": "apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes",
    "Ingress": "apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses",
    "Lease": "apis/coordination.k8s.io/v1/namespaces/{namespace}/leases",
    "NetworkPolicy": "apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies",
    "Pod": "api/v1/namespaces/{namespace}/pods",
    "PodDisruptionBudget": "apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets",
    "Service": "api/v1/namespaces/{namespace}/services",
    "ServiceAccount": "api/v1/namespaces/{namespace}/serviceaccounts",
}
NO_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")  # why a container waits for its image
SETTLING = 30.0  # seconds after the API server was away, in which a refusal may pass
_away_at = -math.inf
_account = Path("/var/run/secrets/kubernetes.io/serviceaccount")  # whose token we use inside a cluster: the pod's own
FORBIDDEN = re.compile(
    r'User "(?P<user>[^"]+)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)" '
    r'in API group "(?P<group>[^"]*)" in the namespace "(?P<namespace>[^"]+)"'
)


class Forbidden(UserError):
    """We may not do that."""


class Gone(UserError):
    """The object is not there."""


def act_as(folder: Path) -> None:
    """Use the ServiceAccount whose token is in this folder for all further requests, if there is one."""
    global _account
    if (folder / "token").exists():
        _account = folder
        _api.cache_clear()


def get(kind: str, namespace: str, name: str) -> Object:
    """Read one object.

    Raises:
        Gone: It is not there.
        UserError: The API refuses, or does not answer.
    """
    found: Object = _retried("GET", _path(kind, namespace, name))
    return found


def find(kind: str, namespace: str, labels: Mapping[str, str] | None = None, fields: str = "") -> list[Object]:
    """List the objects with these labels, and with what `fields` selects."""
    query = {"labelSelector": ",".join(f"{key}={value}" for key, value in (labels or {}).items()), "fieldSelector": fields}
    items: list[Object] = _retried("GET", _path(kind, namespace), {key: value for key, value in query.items() if value}).get("items", [])
    return items


def apply(manifest: Object, *, dry_run: bool = False) -> Object:
    """Let an object be as the manifest says (server-side apply): what others have set besides stays.

    Args:
        manifest: The object.
        dry_run: Only ask whether the API would take it.

    Raises:
        Gone: The cluster has no objects of this kind.
        UserError: The API refuses, or does not answer.
    """
    path = _place(manifest)
    query = {"fieldManager": MANAGER, "force": "true", "fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
    with _in_namespace(manifest):
        made: Object = _retried("PATCH", path, query, manifest, "application/apply-patch+yaml")
    return made


def create(manifest: Object) -> Object:
    """Make an object that is not there yet.

    Raises:
        Conflict: It is there.
    """
    query = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
    with _in_namespace(manifest):
        made: Object = _send("POST", _path(manifest["kind"], manifest["metadata"]["namespace"]), query, manifest)
    return made


def replace(manifest: Object) -> Object:
    """Put an object in the place of the version that it was read as.

    Raises:
        Conflict: Somebody else has changed it since.
    """
    path = _place(manifest)
    made: Object = _send("PUT", path, {"fieldManager": MANAGER}, manifest)
    return made


def annotate(manifest: Object, annotations: Mapping[str, str]) -> Object:
    """Set annotations of an object."""
    path = _place(manifest)
    made: Object = _retried(
        "PATCH", path, {"fieldManager": MANAGER}, {"metadata": {"annotations": dict(annotations)}}, "application/merge-patch+json"
    )
    return made


def delete(kind: str, namespace: str, name: str) -> None:
    """Delete an object with all that it owns; none is no error."""
    with contextlib.suppress(Gone):
        _retried("DELETE", _path(kind, namespace, name), {"propagationPolicy": "Background"})


def logs(namespace: str, pod: str, *, previous: bool = False, lines: int = 20) -> list[str]:
    """Return the last lines that a pod's container wrote; none if there is no such container, the refusal if we may not."""
    query = {"tailLines": str(lines)} | ({"previous": "true"} if previous else {})
    try:
        return str(_send("GET", f"{_path('Pod', namespace, pod)}/log", query, text=True)).splitlines()
    except Forbidden as error:
        return [str(error)]
    except UserError:
        return []


@contextlib.contextmanager
def _in_namespace(manifest: Object) -> Iterator[None]:
    """Say what it means when an object cannot be made since something is not there."""
    try:
        yield
    except Gone as error:
        namespace = manifest["metadata"]["namespace"]
        if f'"{namespace}"' not in str(error):
            raise
        raise UserError(f"there is no namespace {namespace} ({error}): apply k8s/overlays/..., or correct SERVING_NAMESPACE") from error


def _path(kind: str, namespace: str, name: str = "") -> str:
    return f"/{PATHS[kind].format(namespace=namespace)}{f'/{name}' if name else ''}"


def _place(manifest: Object) -> str:
    return _path(manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])


def _retried(*arguments: Any) -> Any:
    """Send a request that does no harm when it is sent twice, until the API server is back.

    One that was away refuses everything (403) until it has read its roles again.
    """
    global _away_at
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return _send(*arguments)
        except _Unreachable:
            _away_at = time.monotonic()
            if _away_at > end:
                raise
        except Forbidden:
            if time.monotonic() - _away_at > SETTLING:
                raise
        time.sleep(1)


class _Unreachable(UserError):
    """The API server does not answer."""


def _send(
    method: str, path: str, query: Mapping[str, str] | None = None, body: Object | None = None, kind: str = "application/json", text: bool = False
) -> Any:
    import requests

    api = _api()
    headers = {"Accept": "application/json, */*", "Content-Type": kind} | api.login()
    data = None if body is None else json.dumps(body)
    try:
        answer = api.session.request(method, f"{api.host}{path}", params=query, data=data, headers=headers, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise _Unreachable(f"the Kubernetes API does not answer ({type(error).__name__}): look whether the cluster is up, then run again") from error
    if not answer.ok:
        raise _refusal(answer.status_code, path, message(answer.content, answer.reason))
    return answer.content.decode(errors="replace") if text else answer.json()


class _Api(NamedTuple):
    """The way to the API server. In a pod it needs no `kubernetes` package, whose import costs more than most calls."""

    host: str
    session: "requests.Session"
    login: Callable[[], dict[str, str]]  # anew for each request: the kubelet renews the token


@functools.cache
def _api() -> _Api:
    import requests

    session = requests.Session()
    session.trust_env = False
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    if host and "KUBECONFIG" not in os.environ:
        session.verify = str(_account / "ca.crt")
        address = f"[{host}]" if ":" in host else host
        return _Api(f"https://{address}:{os.environ['KUBERNETES_SERVICE_PORT']}", session, _mounted_token)
    from kubernetes import client, config

    settings = client.Configuration()
    try:
        config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=settings)
    except config.ConfigException as error:
        raise UserError(f"no Kubernetes is configured ({first_line(error)}): set KUBECONFIG, or run inside a cluster") from error
    session.verify = settings.verify_ssl and (settings.ssl_ca_cert or True)
    session.cert = (settings.cert_file, settings.key_file) if settings.cert_file else None
    token = settings.get_api_key_with_prefix("authorization")
    return _Api(settings.host, session, lambda: {"Authorization": token} if token else {})


def _mounted_token() -> dict[str, str]:
    try:
        return {"Authorization": f"Bearer {(_account / 'token').read_text().strip()}"}
    except OSError as error:
        cure = "run as a ServiceAccount whose token is mounted (automountServiceAccountToken)"
        raise UserError(f"this pod has no token for the Kubernetes API: {cure}") from error


def message(body: str | bytes, reason: str) -> str:
    """Return what the API says of a refusal: the message in the body of its answer, else the HTTP reason."""
    try:
        return str(json.loads(body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(reason)


def _refusal(status: int, path: str, message: str) -> Exception:
    refusals: dict[int, Callable[[str], Exception]] = {404: Gone, 409: Conflict, 403: forbidden}
    if status in refusals:
        return refusals[status](message)
    if status == 0 or status == 429 or status >= 500:
        return _Unreachable(f"the Kubernetes API cannot answer {path} ({message}): look into the API server, then run again")
    if status == 401:
        return UserError("the Kubernetes API does not know who asks (401): log in again, or renew the ServiceAccount's token")
    return UserError(f"the Kubernetes API refuses {path}: {message}")


def forbidden(message: str) -> Forbidden:
    """Say which rule is missing, and what grants it."""
    found = FORBIDDEN.search(message)
    if not found:
        policy, denied, reason = message.partition("denied request: ")
        return Forbidden(f"the cluster's admission policy refuses: {reason}" if denied else f"the Kubernetes API refuses: {policy}")
    group, resource, verb, namespace = (found[key] for key in ("group", "resource", "verb", "namespace"))
    account = found["user"].removeprefix("system:serviceaccount:")
    name = account.rpartition(":")[2]
    refused = f"{account.replace(':', '/')} may not {verb} {resource} in namespace {namespace}"
    subject = f"--user={account}" if account == found["user"] else f"--serviceaccount={account}"
    bind = f"`kubectl -n {namespace} create rolebinding deployer-{name} --role=deployer {subject}`"
    rule = f'{{apiGroups: ["{group}"], resources: [{resource}], verbs: [{verb}]}}'
    if name == DEPLOYER:
        cure = f"apply k8s/overlays/... again, or bind the Role deployer: {bind}"
    elif name == ACCOUNT:
        cure = f"the pod has no token of the ServiceAccount {DEPLOYER}, which may: apply k8s/overlays/..., which makes the Secret {TOKEN}"
    else:
        cure = f"use the ServiceAccount {DEPLOYER}, whose token is in the Secret {TOKEN} (apply k8s/overlays/...), or bind the Role deployer: {bind}"
    return Forbidden(f"{refused}: the rule {rule} is missing: {cure}")
