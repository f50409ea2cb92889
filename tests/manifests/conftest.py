"""Built objects, once a session."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cli import secrets
from tests.manifests.build import KUBERNETES, OPTIONS, Document, build

SETTINGS = {
    "SERVING_HOST": "models.example.org",
    "MLFLOW_HOST": "mlflow.example.org",
    "GATEWAY": "edge/web/tls",
    "CONTROLLER_NAMESPACE": "edge-proxies",
    "INGRESS_CLASS": "traefik",
    "TLS_SECRET": "models-tls",
    "MLFLOW_TLS_SECRET": "mlflow-tls",
    "STORAGE_CLASS": "fast",
    "S3_ENDPOINT": "https://s3.eu-west-1.amazonaws.com",
    "S3_REGION": "eu-west-1",
    "MLOPS_STORAGE": "s3://acme/ml/",
    "SERVING_IMAGES": "localhost/kubeflow-mlops-template example.org/mlops",
    "KUBERNETES_API": "192.0.2.1/32",
    "OUTSIDE_SERVERS": "198.51.100.0/24",
}


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the manifests with Secrets made for it, and an overlay for each option alone."""
    folder = tmp_path_factory.mktemp("checkout") / "k8s"
    shutil.copytree(KUBERNETES, folder, ignore=shutil.ignore_patterns("secrets.yaml"))
    for name in ("local", "kubeflow-standalone", "kubeflow-profile"):
        secrets.write(folder / f"overlays/{name}/secrets.yaml")
    for option in OPTIONS:
        base = "../../base" if option == "external-secrets" else "../local"
        write_overlay(folder / "overlays" / option, SETTINGS, [base], [f"../../components/{option}"])
    kubeflow = [f"../../components/{name}" for name in ("kubeflow", "pipeline-namespace", "object-storage")]
    data = SETTINGS | {"PIPELINE_NAMESPACE": "mlops"}
    overlay = write_overlay(folder / "overlays/kubeflow-object-storage", data, ["../../base", "secrets.yaml"], kubeflow)
    secrets.write(overlay / "secrets.yaml")
    return folder


def write_overlay(folder: Path, data: dict[str, str], resources: list[str], components: list[str]) -> Path:
    """Write an overlay with settings."""
    folder.mkdir()
    metadata = {"name": "settings", "annotations": {"config.kubernetes.io/local-config": "true"}}
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    (folder / "kustomization.yaml").write_text(yaml.safe_dump({"resources": [*resources, "settings.yaml"], "components": components}))
    return folder


@pytest.fixture(scope="session")
def built(checkout: Path) -> Callable[[str], list[Document]]:
    """Build a folder of the checkout, each once."""
    known: dict[str, list[Document]] = {}

    def once(folder: str) -> list[Document]:
        if folder not in known:
            known[folder] = build(checkout / folder)
        return known[folder]

    return once
