"""The way to a cluster from the command line: kubectl's context, whether it answers, its refusals."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from kubernetes import client, config
from kubernetes.client import ApiClient, ApiException
from urllib3.exceptions import HTTPError

from core.cluster import FORBIDDEN, message
from core.errors import UserError, first_line

TIMEOUT = 5.0
NEEDED = "--verb=get,list,create,delete --resource=cronjobs.batch,jobs.batch,configmaps,pods,pods/log,events"


def connect() -> ApiClient:
    """Return a client of the cluster that kubectl uses, too.

    Raises:
        UserError: No cluster is named, or it does not answer.
    """
    settings = client.Configuration()
    try:
        config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=settings)
    except (config.ConfigException, OSError) as error:
        raise UserError(f"no cluster is named ({first_line(error)}): set KUBECONFIG to a file that kubectl can use") from error
    settings.retries = False
    api = ApiClient(settings)
    try:
        client.VersionApi(api).get_code(_request_timeout=TIMEOUT)
    except (HTTPError, OSError) as error:
        cure = "look whether it is up, or choose another context (kubectl config use-context)"
        raise UserError(f"the cluster at {settings.host} does not answer: {cure}") from error
    except ApiException as error:
        raise refusal(error) from error
    return api


@contextmanager
def errors() -> Iterator[None]:
    """Turn a refusal inside the block into one sentence."""
    try:
        yield
    except ApiException as error:
        raise refusal(error) from error
    except HTTPError as error:
        raise UserError("the cluster stopped answering: look whether it is up, then run again") from error


def refusal(error: ApiException) -> UserError:
    """Say what the cluster refuses, and what grants it."""
    said = message(error.body, error.reason)
    found = FORBIDDEN.search(said)
    if error.status == 403 and found:
        user, namespace = found["user"], found["namespace"]
        role = f"kubectl -n {namespace} create role mlops-jobs {NEEDED}"
        binding = f"kubectl -n {namespace} create rolebinding mlops-jobs --role=mlops-jobs {_whom(user)}"
        refused = f"{user} may not {found['verb']} {found['resource']} in namespace {namespace}"
        return UserError(f"{refused}: its administrator grants it with `{role}` and `{binding}`")
    if error.status == 401:
        return UserError("the cluster does not know who asks (401): renew the credentials of your kubectl context")
    return UserError(f"the cluster refuses (HTTP {error.status}): {said}")


def _whom(user: str) -> str:
    account = user.removeprefix("system:serviceaccount:")
    return f"--user={user}" if account == user else f"--serviceaccount={account}"
