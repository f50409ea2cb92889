"""Built objects, once a session."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cli import secrets
from tests.manifests.build import KUBERNETES, OPTIONS, Document, build

SETTINGS = {
    "INGRESS_HOST": "ml.example.org",
    "STORAGE_CLASS": "fast",
    "S3_ENDPOINT": "https://s3.eu-west-1.amazonaws.com",
    "S3_REGION": "eu-west-1",
    "MLOPS_STORAGE": "s3://acme/ml/",
}


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the manifests with Secrets made for it, and an overlay for each option alone."""
    folder = tmp_path_factory.mktemp("checkout") / "k8s"
    shutil.copytree(KUBERNETES, folder, ignore=shutil.ignore_patterns("secrets.yaml"))
    for name in ("local", "kubeflow-standalone", "kubeflow-profile"):
        secrets.write(folder / f"overlays/{name}/secrets.yaml")
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": SETTINGS}
    settings["metadata"] |= {"annotations": {"config.kubernetes.io/local-config": "true"}}  # type: ignore[operator]
    for option in OPTIONS:
        overlay = folder / "overlays" / option
        overlay.mkdir()
        (overlay / "settings.yaml").write_text(yaml.safe_dump(settings))
        base = "../../base" if option == "external-secrets" else "../local"
        lines = {"resources": [base, "settings.yaml"], "components": [f"../../components/{option}"]}
        (overlay / "kustomization.yaml").write_text(yaml.safe_dump(lines))
    kubeflow = shutil.copytree(folder / "overlays/kubeflow-profile", folder / "overlays/kubeflow-object-storage")
    settings["data"] = SETTINGS | yaml.safe_load((kubeflow / "settings.yaml").read_text())["data"]
    (kubeflow / "settings.yaml").write_text(yaml.safe_dump(settings))
    lines = yaml.safe_load((kubeflow / "kustomization.yaml").read_text())
    lines["components"].append("../../components/object-storage")
    (kubeflow / "kustomization.yaml").write_text(yaml.safe_dump(lines))
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
