"""Pods in the places of a stock Kubeflow Pipelines 2.17: its namespaces, labels, ports and NetworkPolicy, with listeners in place of its programs."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.cluster import driver as drivers
from tests.cluster.overlay import PLATFORM, SERVING
from tests.cluster.rig import ROOT, Cluster, Object

KUBEFLOW = "kubeflow"
PROFILE = "mlops-test-profile"
MARK = "mlops-test"  # of what is shared with the platform that is up, in place of its own names
OWN = {name: {"app": name} for name in ("ml-pipeline", "ml-pipeline-ui", "seaweedfs", "mysql")}  # Kubeflow's own pods
OWN["metadata"] = {"component": "metadata-grpc-server"}
RUN = {"pipelines.kubeflow.org/v2_component": "true"}  # every pod of a run
STEP = RUN | {"app.kubernetes.io/name": "pipeline", "app.kubernetes.io/component": "pipeline", "app.kubernetes.io/part-of": "mlops"}
IN_NAMESPACE = {"step": STEP, "kfp-driver": RUN, "artifact": {"app": "ml-pipeline-ui-artifact"}, "notebook": {"notebook-name": "ada"}}
PORTS = {"ml-pipeline": (8887, 8888), "metadata": (8080,), "seaweedfs": (8333,), "mysql": (3306,), "artifact": (3000,), "notebook": (8888,)}
LISTEN = """
import http.server, sys, threading
for port in sys.argv[2:]:
    server = http.server.HTTPServer(("", int(port)), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever).start()
threading.Event().wait()
"""
SEAWEEDFS = {  # Kubeflow's own policy for its object store
    "podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["seaweedfs"]}]},
    "policyTypes": ["Ingress"],
    "ingress": [
        {
            "from": [{"namespaceSelector": {"matchLabels": {"app.kubernetes.io/part-of": "kubeflow-profile"}}}, {"podSelector": {}}],
            "ports": [{"port": 8333}],
        }
    ],
}


@contextmanager
def installed(cluster: Cluster, overlay: str, namespace: str) -> Iterator[None]:
    """Bring up a Kubeflow beside the platform, and our part of an overlay for it.

    Args:
        cluster: The cluster with the platform of overlays/local.
        overlay: The overlay for Kubeflow.
        namespace: Namespace of the runs.
    """
    spaces = {KUBEFLOW: {"app.kubernetes.io/part-of": "kubeflow"}}
    spaces |= {} if namespace == KUBEFLOW else {namespace: {"app.kubernetes.io/part-of": "kubeflow-profile", "istio-injection": "enabled"}}
    cluster.apply(*({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}} for name, labels in spaces.items()))
    ours = [_beside(item) for item in _built(cluster, overlay, namespace) if _is_ours(item, namespace)]
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "seaweedfs", "namespace": KUBEFLOW},
        "spec": SEAWEEDFS,
    }
    service = {"ports": [{"name": "s3", "port": 9000, "targetPort": 8333}], "selector": {"app": "seaweedfs"}}
    store = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "seaweedfs", "namespace": KUBEFLOW}, "spec": service}
    pods = [_pod(cluster, KUBEFLOW, name, labels) for name, labels in OWN.items()]
    pods += [_pod(cluster, namespace, name, labels) for name, labels in IN_NAMESPACE.items()]
    try:
        cluster.apply(policy, store, *ours, *pods)
        for pod in pods:
            name, space = pod["metadata"]["name"], pod["metadata"]["namespace"]
            cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Running", f"pod/{name}", "-n", space, "--timeout=90s")
        yield
    finally:
        for item in ours:
            if item["metadata"]["namespace"] in (PLATFORM, SERVING):
                cluster.delete(item["kind"], item["metadata"]["namespace"], item["metadata"]["name"])
        cluster.kubectl("delete", "namespace", *spaces, "--grace-period=1")


def _built(cluster: Cluster, overlay: str, namespace: str) -> list[Object]:
    """Build an overlay for a namespace, as its user does by settings.yaml."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "k8s", Path(folder, "k8s"), ignore=shutil.ignore_patterns("secrets.yaml", ".apply-*"))
        path = Path(folder, "k8s", "overlays", overlay)
        settings = yaml.safe_load((path / "settings.yaml").read_text())
        settings["data"]["PIPELINE_NAMESPACE"] = namespace
        (path / "settings.yaml").write_text(yaml.safe_dump(settings))
        (path / "secrets.yaml").write_text("")
        kustomization = yaml.safe_load((path / "kustomization.yaml").read_text())
        kustomization["resources"].remove("secrets.yaml")
        (path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return [item for item in yaml.safe_load_all(cluster.kubectl("kustomize", str(path)).out) if item]


def _is_ours(item: Object, namespace: str) -> bool:
    """Whether an object differs from the platform that is up: it is in the namespace of the runs, or names that."""
    if item["metadata"].get("namespace") == namespace:
        return True
    return item["kind"] in ("NetworkPolicy", "RoleBinding") and (namespace in json.dumps(item) or KUBEFLOW in item["metadata"]["name"])


def _beside(item: Object) -> Object:
    """Rename an object that is in one of the platform's own namespaces: policies and bindings add up."""
    if item["metadata"]["namespace"] in (PLATFORM, SERVING):
        item["metadata"]["name"] = f"{MARK}-{item['metadata']['name']}"
    return item


def _pod(cluster: Cluster, namespace: str, name: str, labels: dict[str, str]) -> Object:
    """Return a pod that listens where the program in its place does."""
    pod = drivers.pod(cluster, name, ["python", "-c", LISTEN, "-", *map(str, PORTS.get(name, (8080,)))])
    pod["metadata"] |= {"namespace": namespace, "labels": labels}
    pod["spec"] |= {"serviceAccountName": "default", "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 1}
    (container,) = pod["spec"]["containers"]
    container["envFrom"], container["volumeMounts"] = [], [mount for mount in container["volumeMounts"] if mount["name"] == "tmp"]
    pod["spec"]["volumes"] = [volume for volume in pod["spec"]["volumes"] if volume["name"] == "tmp"]
    container["resources"] = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}}
    return pod
