"""Jobs and steps whose pods cannot begin or are killed: within seconds, what the user watches says why and what to do."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from cli.follow import _explained
from cli.submit import submit_job
from core.errors import UserError
from pipelines import jobs
from pipelines.workflow import RUN, Workflow
from tests.cluster.overlay import IMAGE, PIPELINE
from tests.cluster.rig import ROOT, Cluster, Object, wait_until
from tests.cluster.test_end_to_end import MLOPS

SPACE = "mlops-test-jobs"
GONE = "localhost/no-such-image:1"
SECONDS = 30  # within which a user hears why nothing happens
LIMIT = "64Mi"
LIMITED = f"the pod's memory limit of {LIMIT}"
CURE = "raise it in the CronJob mlops (k8s/base/pipeline), then run again"
SCANT = "300Mi"  # starts the runner, but not every step beside it
BEGIN = "printf train >/dev/termination-log; echo begun; exec "  # as local.job notes its step
HEEDS = "sh -c \"trap 'exit 130' TERM; sleep 60 & wait\""  # as a step heeds the request to end
QUOTA: Object = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full", "namespace": SPACE}, "spec": {"hard": {"pods": "0"}}}
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
def space(bare_cluster: Cluster) -> Iterator[Cluster]:
    """A namespace with the template of Jobs and a small limit: these pods need no platform."""
    (cronjob,) = yaml.safe_load_all((ROOT / "k8s/base/pipeline/cronjob.yaml").read_text())
    container = cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    container |= {"image": IMAGE, "envFrom": [], "resources": {"limits": {"memory": LIMIT}}}
    cronjob["metadata"]["namespace"] = SPACE
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "pipeline", "namespace": SPACE}}
    bare_cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}, account, cronjob)
    yield bare_cluster
    bare_cluster.kubectl("delete", "namespace", SPACE, "--wait=false")


@pytest.fixture(autouse=True)
def kubeconfig(bare_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the command line find the cluster, and keeps what it sets."""
    monkeypatch.setenv("KUBECONFIG", bare_cluster.environment["KUBECONFIG"])
    monkeypatch.setenv("IMAGE", "")


@pytest.fixture
def full(space: Cluster) -> Iterator[Cluster]:
    """The namespace without room for one pod."""
    space.apply(QUOTA)
    wait_until(lambda: (space.get("resourcequota", SPACE, "full") or {}).get("status", {}).get("hard"), 20, "the quota")
    yield space
    space.delete("resourcequota", SPACE, "full")


def refused(act: Callable[[], object]) -> str:
    """Return the sentence with which it ends, which must come soon."""
    began = time.monotonic()
    with pytest.raises(UserError) as caught:
        act()
    assert time.monotonic() - began < SECONDS
    return str(caught.value)


def test_a_submitted_job_whose_image_is_missing_is_named(space: Cluster) -> None:
    said = refused(lambda: submit_job("wine", [], GONE, SPACE))

    assert said.startswith(f"cannot pull the image {GONE} (")
    assert "build and push it" in said
    assert space.names("job", SPACE) == []


def test_a_submitted_job_that_a_quota_refuses_is_named(full: Cluster) -> None:
    said = refused(lambda: submit_job("wine", [], None, SPACE))

    assert said.startswith("the namespace's quota has no room for the pod (exceeded quota: full, requested: pods=1")
    assert full.names("job", SPACE) == []


def kill(cluster: Cluster, pod: Object) -> None:
    """Kill the container whole, as the kernel does."""
    container = pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    done = cluster.enter("/bin/sh", "-c", f"ctr -n k8s.io tasks kill -s SIGKILL {container}")
    assert done.code == 0, done.err


def evict(cluster: Cluster, pod: Object) -> None:
    """Evict it, as a drain of its node does."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    cluster.kubectl("create", "--raw", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", "-f", "-", stdin=json.dumps(eviction))


def leave(cluster: Cluster, pod: Object) -> None:
    """Do nothing: it ends by itself."""


@pytest.mark.parametrize(
    ("program", "end", "said"),
    [
        pytest.param("sleep 60", kill, f"killed (exit code 137): if it needs more than {LIMITED}, {CURE}", id="killed"),
        pytest.param(HEEDS, evict, "ended with its pod (Eviction API: evicting): run again", id="evicted"),
        pytest.param("python -c 'list(range(10**8))'", leave, f"killed at {LIMITED}: {CURE}", id="memory"),
    ],
)
def test_a_killed_job_names_its_step_and_what_to_do(space: Cluster, program: str, end: Callable[[Cluster, Object], None], said: str) -> None:
    def heard(line: str) -> None:
        (pod,) = space.find("pod", SPACE, "batch.kubernetes.io/job-name")
        wait_until(lambda: line == "begun", 1, "its first line")
        end(space, pod)

    sentence = refused(lambda: jobs.run(SPACE, "killed", ["sh", "-c", BEGIN + program], say=heard))

    assert sentence.startswith(f"the step train was {said}")
    wait_until(lambda: space.find("pod", SPACE, "batch.kubernetes.io/job-name") == [], 60, "the end of its pod")


@pytest.mark.alone  # every Job of the command line is made of that CronJob
def test_a_step_that_needs_more_memory_than_the_pod_has_is_named(cluster: Cluster) -> None:
    cronjob = cluster.get("cronjob", PIPELINE, "mlops")
    assert cronjob
    before = cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["resources"]
    _set_resources(cluster, {"limits": {"memory": SCANT}, "requests": {"memory": SCANT}})
    try:
        command = [MLOPS, "submit", "wine", "--job", "--namespace", PIPELINE, "--no-cache"]
        done = subprocess.run(command, env=dict(cluster.environment), capture_output=True, text=True, timeout=300)
    finally:
        _set_resources(cluster, before)

    assert done.returncode == 1, done.stdout + done.stderr
    limited = f"killed at the pod's memory limit of {SCANT}"
    assert re.fullmatch(rf"error: the step \w+ was {limited}: {re.escape(CURE)}\n", done.stderr)


def _set_resources(cluster: Cluster, resources: Object) -> None:
    change = {"op": "replace", "path": "/spec/jobTemplate/spec/template/spec/containers/0/resources", "value": resources}
    cluster.kubectl("patch", "cronjob", "mlops", "-n", PIPELINE, "--type=json", "-p", json.dumps([change]))


@pytest.fixture
def argo(space: Cluster) -> Cluster:
    """The namespace with Argo's Workflows, unless a Kubeflow is there."""
    if space.kubectl("get", "crd", "workflows.argoproj.io", check=False).code:
        space.apply(WORKFLOWS)
        space.kubectl("wait", "--for=condition=Established", "crd/workflows.argoproj.io", "--timeout=30s")
    return space


def test_a_step_on_kubeflow_whose_image_is_missing_is_named(argo: Cluster) -> None:
    argo.apply(_step_pod("pull"))
    waits = wait_until(lambda: _waiting(argo, "pull"), SECONDS, "a pod that waits for its image")

    argo.apply(_workflow("pull", f"{waits['reason']}: {waits['message']}"))

    assert _told("pull") == [f"train: cannot pull the image {GONE}: push it or correct --image, and end this run with Ctrl-C"]
    argo.delete("pod", SPACE, "pull")


def test_a_step_on_kubeflow_that_a_quota_refuses_is_named(argo: Cluster, full: Cluster) -> None:
    answer = full.kubectl("create", "-f", "-", stdin=json.dumps(_step_pod("quota")), check=False).err

    argo.apply(_workflow("quota", answer.strip().partition("(Forbidden): ")[2].partition(": ")[2]))

    (told,) = _told("quota")
    assert told.startswith("train: the namespace's quota has no room for its pod (full, requested: pods=1, used: pods=")


def _step_pod(run: str) -> Object:
    """A step's pod as Argo makes it, reduced to what may keep it from running."""
    hardened = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": "main", "image": GONE, "imagePullPolicy": "IfNotPresent", "securityContext": hardened}
    metadata = {"name": run, "namespace": SPACE, "labels": {RUN: run}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], "restartPolicy": "Never"}}


def _waiting(cluster: Cluster, pod: str) -> dict[str, str]:
    statuses = (cluster.get("pod", SPACE, pod) or {}).get("status", {}).get("containerStatuses", [])
    waiting: dict[str, str] = next((each["state"].get("waiting", {}) for each in statuses), {})
    return waiting if "message" in waiting else {}


def _workflow(run: str, message: str) -> Object:
    """A run's Workflow as Argo 4.0.8 leaves it while a step's pod waits: a DAG for the step, and in it the pod `executor`."""
    names = {"root": ("wine", "DAG", ""), "step": ("train", "DAG", "root"), "pod": ("executor", "Pod", "step")}
    nodes: dict[str, Any] = {
        key: {"id": key, "displayName": name, "type": kind, "phase": "Running", "boundaryID": above} for key, (name, kind, above) in names.items()
    }
    nodes["pod"] |= {"phase": "Pending", "message": message, "startedAt": "2026-01-01T10:00:00Z", "finishedAt": None}
    metadata = {"name": run, "namespace": SPACE, "labels": {RUN: run}}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": metadata, "status": {"phase": "Running", "nodes": nodes}}


def _told(run: str) -> list[str]:
    """Return what `mlops submit --wait` prints of a run's pods."""
    return [_explained(node.step, node.message) for node in Workflow(SPACE, run, {"train"}).nodes() if node.is_waiting]
