"""Steps on Kubeflow whose pods wait or were killed: what `mlops submit --wait` says of what Argo writes beside real pods."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from cli.follow import _explained
from pipelines.workflow import NODE, RUN, Workflow
from tests.cluster.overlay import IMAGE
from tests.cluster.rig import Cluster, Object, wait_until

pytestmark = pytest.mark.usefixtures("kubeconfig")

SPACE = f"mlops-test-steps-{os.urandom(2).hex()}"
GONE = "localhost/no-such-image:1"
SECONDS = 30  # until a kubelet or API server has said what keeps a pod
WORKFLOWS = {  # Argo's own, without the schema
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "workflows.argoproj.io"},
    "spec": {
        "group": "argoproj.io",
        "names": {"kind": "Workflow", "plural": "workflows"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


@pytest.fixture(scope="module")
def argo(bare_cluster: Cluster) -> Iterator[Cluster]:
    """A namespace on a cluster that knows Argo's Workflows."""
    bare_cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    if bare_cluster.kubectl("get", "crd", "workflows.argoproj.io", check=False).code:  # else a Kubeflow is there
        bare_cluster.apply(WORKFLOWS)
        bare_cluster.kubectl("wait", "--for=condition=Established", "crd/workflows.argoproj.io", "--timeout=30s")
    yield bare_cluster
    bare_cluster.kubectl("delete", "namespace", SPACE, "--wait=false")


def test_a_step_on_kubeflow_whose_image_is_missing_is_named(argo: Cluster) -> None:
    argo.apply(_step_pod("pull"))
    waits = wait_until(lambda: _waiting(argo, "pull", "containerStatuses"), SECONDS, "a pod that waits for its image")

    argo.apply(_workflow("pull", f"{waits['reason']}: {waits['message']}"))

    assert _told("pull") == [f"train: cannot pull the image {GONE}: push it or correct --image, and end this run with Ctrl-C"]


def test_a_missing_image_of_an_init_container_is_named_though_argo_does_not(argo: Cluster) -> None:
    pod = _step_pod("init", image=IMAGE)
    pod["spec"]["initContainers"] = [pod["spec"]["containers"][0] | {"name": "kfp-launcher", "image": GONE}]
    argo.apply(pod)
    wait_until(lambda: _waiting(argo, "init", "initContainerStatuses"), SECONDS, "a pod that waits for its image")

    argo.apply(_workflow("init", "PodInitializing"))

    (told,) = _told("init")
    assert told.startswith(f"train: cannot pull the image {GONE}: ")


def test_log_of_a_step_on_kubeflow_that_was_killed_is_read_from_its_pod(argo: Cluster) -> None:
    pod = _step_pod("killed", image=IMAGE)
    driver = "KFP driver: driver.Container(taskName=train) failed: MLflow run ID is empty"
    pod["spec"]["containers"][0]["command"] = ["sh", "-c", f"echo '{driver}'; echo the last line; sleep 60"]
    argo.apply(pod)
    workflow = Workflow(SPACE, "killed", {"train"})
    argo.kubectl("wait", "--for=condition=Ready", "pod/killed", "-n", SPACE, "--timeout=30s")

    argo.kill(argo.get("pod", SPACE, "killed") or {})
    argo.kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "pod/killed", "-n", SPACE, "--timeout=30s")
    argo.apply(_workflow("killed", "main: Error (exit code 137)", phase="Failed"))

    assert workflow.log("train") == f"{driver}\nthe last line\n"
    assert workflow.log("extract") == ""
    assert workflow.driver_error("train") == "MLflow run ID is empty"


def test_a_step_on_kubeflow_that_a_quota_refuses_is_named(argo: Cluster) -> None:
    with argo.full(SPACE):
        answer = argo.kubectl("create", "-f", "-", stdin=json.dumps(_step_pod("quota")), check=False).err

    argo.apply(_workflow("quota", answer.strip().partition("(Forbidden): ")[2].partition(": ")[2]))

    (told,) = _told("quota")
    assert told.startswith("train: the namespace's quota has no room for its pod (full, requested: pods=1, used: pods=")


def _step_pod(run: str, image: str = GONE) -> Object:
    """A step's pod as Argo makes it, reduced to what may keep it from running."""
    hardened = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "securityContext": hardened}
    metadata = {"name": run, "namespace": SPACE, "labels": {RUN: run}, "annotations": {NODE: "pod"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], "restartPolicy": "Never"}}


def _waiting(cluster: Cluster, pod: str, kind: str) -> dict[str, str]:
    statuses = (cluster.get("pod", SPACE, pod) or {}).get("status", {}).get(kind, [])
    waiting: dict[str, str] = next((each["state"].get("waiting", {}) for each in statuses), {})
    return waiting if "message" in waiting else {}


def _workflow(run: str, message: str, phase: str = "Pending") -> Object:
    """A run's Workflow as Argo 4.0.8 leaves it while a step's pod waits: a DAG for the step, and in it the pod `executor`."""
    names = {"root": ("wine", "DAG", ""), "step": ("train", "DAG", "root"), "pod": ("executor", "Pod", "step")}
    nodes: dict[str, Any] = {
        key: {"id": key, "displayName": name, "type": kind, "phase": "Running", "boundaryID": above} for key, (name, kind, above) in names.items()
    }
    nodes["pod"] |= {"phase": phase, "message": message, "startedAt": "2026-01-01T10:00:00Z", "finishedAt": None}
    metadata = {"name": run, "namespace": SPACE, "labels": {RUN: run}}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": metadata, "status": {"phase": "Running", "nodes": nodes}}


def _told(run: str) -> list[str]:
    """Return what `mlops submit --wait` prints of a run's pods."""
    return [_explained(node.step, node.message) for node in Workflow(SPACE, run, {"train"}).nodes() if node.is_waiting]
