"""Build what kustomize makes of a folder, as documents."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

Document = dict[str, Any]

KUBERNETES = Path(__file__).parents[2] / "k8s"
RIG = Path.home() / ".cache/real-kubernetes/bin"
OPTIONS = (
    "gateway",
    "mlflow-login",
    "tls",
    "ingress",
    "mlflow-route",
    "mlflow-ingress",
    "loadbalancer",
    "grpc",
    "prometheus",
    "sources",
    "spark",
    "minio-distributed",
    "object-storage",
    "private-ca",
    "storage-class",
    "external-secrets",
    "quotas",
    "replicas",
    "admission",
    "egress",
    "pods",
    "openshift",
)


def build(folder: Path) -> list[Document]:
    """Build a kustomization, or skip the test where there is nothing to build with."""
    result = subprocess.run([*_tool(), str(folder)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return [document for document in yaml.safe_load_all(result.stdout) if document]


def _tool() -> list[str]:
    for name, arguments in (("kubectl", ["kustomize"]), ("kustomize", ["build"])):
        for path in (shutil.which(name), shutil.which(name, path=str(RIG))):
            if path:
                return [path, *arguments]
    pytest.skip("neither kubectl nor kustomize is on the PATH: the manifests cannot be built")


def pod(document: Document) -> Document | None:
    """Return the pod's spec and metadata of an object that makes pods."""
    spec: Document = document.get("spec") or {}
    if document["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    template: Document | None = spec.get("template") if document["kind"] in ("Deployment", "StatefulSet", "Job", "CronJob") else None
    return template


def containers(template: Document) -> list[Document]:
    """List all containers of a pod, those of its start first."""
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def named(document: Document) -> str:
    """Name an object as messages do."""
    return f"{document['kind']} {document['metadata'].get('namespace', '')}/{document['metadata']['name']}"
