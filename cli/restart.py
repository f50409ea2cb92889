"""Servers that run with an old password: found by the times of pods and Secrets, and restarted in the right order."""

import json
import sys
import time
from typing import Any

from cli.kubectl import kubectl
from core.errors import UserError

SECONDS = 300  # that one server or Job may take
LABEL = "app.kubernetes.io/part-of"
Object = dict[str, Any]


def restart_outdated(namespaces: list[str], jobs: list[Object]) -> None:
    """Restart every server of ours that is older than a Secret of it: stores, the Jobs that set passwords in them, then their clients.

    Args:
        namespaces: Where to look.
        jobs: Jobs that were just started.

    Raises:
        UserError: Something does not come back.
    """
    objects = _objects(namespaces)
    outdated = outdated_pods(objects)
    if not outdated:
        return
    stores = [pod for pod in outdated if _owner(pod)[0] == "StatefulSet"]
    for pod in stores:  # all at once: the pods of a distributed MinIO must have the same administrator
        print(f"restarting {pod['metadata']['name']}: its password changed", flush=True)
        kubectl("delete", "pod", *_target(pod), "--wait=false")
    for pod in stores:
        _wait_until_replaced(pod)
    for job in jobs:
        namespace, name = _key(job)
        _wait(namespace, f"job/{name}", "wait", "--for=condition=Complete")
    deployments = {_key(each): _owner(each)[1] for each in objects if each["kind"] == "ReplicaSet"}
    clients = sorted({(_key(pod)[0], deployments[_key(pod)[0], _owner(pod)[1]]) for pod in outdated if pod not in stores})
    for namespace, name in clients:
        print(f"restarting {name}: its password changed", flush=True)
        kubectl("rollout", "restart", "deployment", name, "-n", namespace)
    for namespace, name in clients:
        _wait(namespace, f"deployment/{name}", "rollout", "status")


def outdated_pods(objects: list[Object]) -> list[Object]:
    """List the pods of our servers that were made before a Secret that they use was changed."""
    changed = {_key(each): _changed(each) for each in objects if each["kind"] == "Secret"}
    servers = [each for each in objects if each["kind"] == "Pod" and _is_server(each)]
    return [pod for pod in servers if max((changed.get(key, "") for key in _used(pod)), default="") > pod["metadata"]["creationTimestamp"]]


def _objects(namespaces: list[str]) -> list[Object]:
    found: list[Object] = []
    for namespace in namespaces:
        try:
            text = kubectl("get", "pods,replicasets,secrets", "-n", namespace, "-o", "json", "--show-managed-fields")
        except UserError as error:
            print(f"warning: cannot see whether passwords changed in {namespace} ({error}): restart what uses them", file=sys.stderr)
            continue
        found += json.loads(text)["items"]
    return found


def _is_server(pod: Object) -> bool:
    is_ours = pod["metadata"].get("labels", {}).get(LABEL) == "mlops"
    return is_ours and _owner(pod)[0] in ("StatefulSet", "ReplicaSet") and "deletionTimestamp" not in pod["metadata"]


def _owner(item: Object) -> tuple[str, str]:
    (owner, *_) = item["metadata"].get("ownerReferences") or [{"kind": "", "name": ""}]
    return owner["kind"], owner["name"]


def _used(pod: Object) -> set[tuple[str, str]]:
    """Name the Secrets of which a pod has variables or files."""
    containers = [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
    names = {volume["secret"]["secretName"] for volume in pod["spec"].get("volumes", []) if "secret" in volume}
    names |= {source["secretRef"]["name"] for each in containers for source in each.get("envFrom", []) if "secretRef" in source}
    variables = [variable.get("valueFrom", {}) for each in containers for variable in each.get("env", [])]
    names |= {source["secretKeyRef"]["name"] for source in variables if "secretKeyRef" in source}
    return {(pod["metadata"]["namespace"], name) for name in names}


def _changed(secret: Object) -> str:
    """Return when a Secret was changed last, as Kubernetes writes times: they sort."""
    return max((entry.get("time", "") for entry in secret["metadata"].get("managedFields", [])), default="")


def _key(item: Object) -> tuple[str, str]:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def _target(item: Object) -> tuple[str, str, str]:
    namespace, name = _key(item)
    return name, "-n", namespace


def _wait_until_replaced(pod: Object) -> None:
    """Wait until there is another pod of this name, and it is ready."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        found = json.loads(kubectl("get", "pod", *_target(pod), "--ignore-not-found", "-o", "json") or "{}")
        conditions = {each["type"]: each["status"] for each in found.get("status", {}).get("conditions", [])}
        if conditions.get("Ready") == "True" and found["metadata"]["uid"] != pod["metadata"]["uid"]:
            return
        time.sleep(1)
    namespace, name = _key(pod)
    raise _stuck(namespace, f"pod/{name}", "it is not ready")


def _wait(namespace: str, item: str, *command: str) -> None:
    """Wait by kubectl."""
    try:
        kubectl(*command, item, "-n", namespace, f"--timeout={SECONDS}s")
    except UserError as error:
        raise _stuck(namespace, item, str(error)) from error


def _stuck(namespace: str, item: str, reason: str) -> UserError:
    cure = f"look at it (kubectl -n {namespace} describe {item}), then apply again"
    return UserError(f"{item} did not come up with its new password in {SECONDS} s: {reason}: {cure}")
