"""The Argo Workflow behind a run on Kubeflow: why a pod waits or was ended, which Kubeflow's API does not say."""

from dataclasses import dataclass
from typing import Any

from kubernetes import client
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from core.errors import UserError
from pipelines.cluster import connect

GROUP, VERSION, PLURAL = "argoproj.io", "v1alpha1", "workflows"
RUN = "pipeline/runid"  # label of a run's Workflow and pods
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
            self._api: client.CustomObjectsApi | None = client.CustomObjectsApi(connect())
        except UserError:
            self._api = None

    def nodes(self) -> list[Node]:
        """Return the pods that wait or were ended, with Argo's words, the oldest first."""
        nodes = self._nodes()
        pods = [node for node in nodes.values() if node.get("type") == "Pod" and node.get("phase") in WAITING + BROKEN and node.get("message")]
        pods = [node for node in pods if not node["message"].startswith(UNTOLD)]
        pods.sort(key=lambda node: node.get("startedAt") or "")
        return [Node(self._step(nodes, node), node["message"], node["phase"] in WAITING) for node in pods]

    def _nodes(self) -> dict[str, Any]:
        if self._api is None:
            return {}
        try:
            workflows = self._api.list_namespaced_custom_object(
                GROUP, VERSION, self._namespace, PLURAL, label_selector=f"{RUN}={self._run}", _request_timeout=TIMEOUT
            )
        except (ApiException, HTTPError, OSError):
            return {}
        return {key: node for item in workflows.get("items", []) for key, node in item.get("status", {}).get("nodes", {}).items()}

    def _step(self, nodes: dict[str, Any], node: dict[str, Any]) -> str:
        """Name the step of a pod: its node is called `executor`, and the group around it is called as the step."""
        inner: dict[str, Any] | None = node
        while inner:
            name = str(inner.get("displayName", "")).partition("(")[0]
            if name in self._steps:
                return name
            inner = nodes.get(inner.get("boundaryID", ""))
        return str(node.get("displayName", "")).partition("(")[0]
