"""The Argo Workflow behind a run on Kubeflow: why a pod waits or was ended, which Kubeflow's API does not say."""

import re
from dataclasses import dataclass
from typing import Any

from kubernetes import client
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from core.cluster import NO_IMAGE
from core.errors import UserError
from pipelines.cluster import connect

GROUP, VERSION, PLURAL = "argoproj.io", "v1alpha1", "workflows"
RUN = "pipeline/runid"  # label of a run's Workflow and pods
NODE = "workflows.argoproj.io/node-id"  # annotation of a pod
STEP_CONTAINER = "main"
DRIVER_ERROR = re.compile(r"KFP driver: .*\) failed: (.+)")
WAITING, BROKEN = ("Pending",), ("Error", "Failed")
TIMEOUT = 10
UNTOLD = ("PodInitializing", "ContainerCreating")  # what every pod goes through


@dataclass(frozen=True)
class Node:
    """A pod of the run that waits or was ended.

    Attributes:
        step: Name of the step or, for a pod of Kubeflow's own, such as a driver, of its node.
        message: Argo's words.
        is_waiting: Whether it has not begun yet.
    """

    step: str
    message: str
    is_waiting: bool


class Workflow:
    """Reads the Workflow with kubectl's credentials; says nothing where there are none or they may not."""

    def __init__(self, namespace: str, run_id: str, steps: set[str]) -> None:
        self._namespace, self._run, self._steps = namespace, run_id, steps
        try:
            api = connect()
        except UserError:
            self._api: client.CustomObjectsApi | None = None
            return
        self._api, self._core = client.CustomObjectsApi(api), client.CoreV1Api(api)

    def nodes(self) -> list[Node]:
        """Return the pods that wait or were ended, with Argo's words, the oldest first."""
        nodes = self._nodes()
        pods = [node for node in nodes.values() if node.get("type") == "Pod" and node.get("phase") in WAITING + BROKEN and node.get("message")]
        pods = self._without_untold(pods)
        pods.sort(key=lambda node: node.get("startedAt") or "")
        return [Node(self._step(nodes, node), node["message"], node["phase"] in WAITING) for node in pods]

    def log(self, step: str) -> str:
        """Return what a step's last pod has written, from the pod itself; empty if it is gone or we may not read it.

        Kubeflow has no log of a container that was killed: its launcher, which stores the log, is killed with it.
        """
        nodes = self._nodes()
        of_step = [node for node in nodes.values() if node.get("type") == "Pod" and self._step(nodes, node) == step]
        pods = self._pods() if of_step else {}
        started = sorted((node for node in of_step if node["id"] in pods), key=lambda node: node.get("startedAt") or "")
        if not started:
            return ""
        name = pods[started[-1]["id"]].metadata.name
        try:
            response = self._core.read_namespaced_pod_log(
                name, self._namespace, container=STEP_CONTAINER, _preload_content=False, _request_timeout=TIMEOUT
            )
            return str(response.data.decode(errors="replace"))
        except (ApiException, HTTPError, OSError):
            return ""

    def driver_error(self, name: str) -> str:
        """Return why a driver failed, from its log; empty if that does not say so or cannot be read."""
        said = DRIVER_ERROR.findall(self.log(name))
        return str(said[-1]) if said else ""

    def _without_untold(self, nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Leave out what passes by itself. Argo does not say if an init container lacks its image, so its pod is asked."""
        told = [node for node in nodes if not node["message"].startswith(UNTOLD)]
        untold = [node for node in nodes if node["message"].startswith(UNTOLD)]
        pods = self._pods() if untold else {}
        for node in untold:
            statuses = pods[node["id"]].status.init_container_statuses if node["id"] in pods else None
            waiting = [status.state.waiting for status in statuses or [] if status.state.waiting]
            told += [node | {"message": f"{each.reason}: {each.message}"} for each in waiting if each.reason in NO_IMAGE]
        return told

    def _pods(self) -> dict[str, client.V1Pod]:
        """Return the run's pods by their nodes."""
        try:
            pods = self._core.list_namespaced_pod(self._namespace, label_selector=f"{RUN}={self._run}", _request_timeout=TIMEOUT).items
        except (ApiException, HTTPError, OSError):
            return {}
        return {(pod.metadata.annotations or {}).get(NODE, ""): pod for pod in pods}

    def _nodes(self) -> dict[str, Any]:
        if self._api is None:
            return {}
        try:
            workflows = self._api.list_namespaced_custom_object(
                GROUP, VERSION, self._namespace, PLURAL, label_selector=f"{RUN}={self._run}", _request_timeout=TIMEOUT
            )
        except (ApiException, HTTPError, OSError):
            return {}
        return {key: {"id": key} | node for item in workflows.get("items", []) for key, node in item.get("status", {}).get("nodes", {}).items()}

    def _step(self, nodes: dict[str, Any], node: dict[str, Any]) -> str:
        """Name the step of a pod: its node is called `executor`, and the group around it is called as the step."""
        inner: dict[str, Any] | None = node
        while inner:
            name = str(inner.get("displayName", "")).partition("(")[0]
            if name in self._steps:
                return name
            inner = nodes.get(inner.get("boundaryID", ""))
        return str(node.get("displayName", "")).partition("(")[0]
