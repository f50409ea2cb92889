"""The platform of overlays/local on a cluster, with the image under test."""

from __future__ import annotations

import base64
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

from cli.secrets import documents
from core.image import repository
from tests.cluster.rig import ROOT, Cluster, Object, wait_until

PLATFORM, PIPELINE, SERVING = "mlops-platform", "mlops", "mlops-serving"
IMAGE = os.environ.get("MLOPS_TEST_IMAGE", "localhost/kubeflow-mlops-template:ci")
FAULTY = os.environ.get("MLOPS_TEST_FAULTY_IMAGE", "localhost/kubeflow-mlops-faulty:ci")
OURS = "localhost/kubeflow-mlops-template"
ON_THE_RIG = {"docker.io/pgsty/silo": "localhost/minio", "docker.io/library/postgres": "localhost/postgres"}
SETTINGS = {
    "SERVING_MIN_READY_SECONDS": "2",  # not to spend the tests' time on watching servers
    "SERVING_IMAGES": f"{repository(IMAGE)} {repository(FAULTY)}",
}


def bring_up(cluster: Cluster) -> None:
    """Apply overlays/local and wait until all of it is ready; what runs already is left as it is, its Secrets above all."""
    with tempfile.TemporaryDirectory() as folder:
        overlay = write(cluster, Path(folder))
        _forget_old_jobs(cluster)
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(overlay))
    wait_until_ready(cluster)


def wait_until_ready(cluster: Cluster, seconds: int = 300) -> None:
    """Wait until every workload of the platform is rolled out and its Jobs have ended well."""
    for kind in ("statefulset", "deployment"):
        for name in cluster.names(kind, PLATFORM):
            cluster.kubectl("rollout", "status", kind, name, "-n", PLATFORM, f"--timeout={seconds}s", seconds=seconds + 10)
    wait_until(lambda: all(_has_ended(job) for job in cluster.find("job", PLATFORM)), seconds, "the platform's Jobs", pause=1)


def write(cluster: Cluster, folder: Path) -> Path:
    """Write an overlay above overlays/local: the image under test, the rig's images, less patience."""
    shutil.copytree(ROOT / "k8s", folder / "k8s")
    (folder / "k8s" / "overlays" / "local" / "secrets.yaml").write_text(yaml.safe_dump_all(_secrets(cluster)))
    name, _, tag = IMAGE.rpartition(":")
    images = [{"name": OURS, "newName": name, "newTag": tag}]
    if cluster.rig:
        images += [{"name": name, "newName": made, "newTag": "local"} for name, made in ON_THE_RIG.items()]
    patch = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mlops", "namespace": PIPELINE}, "data": SETTINGS}
    document = {"resources": ["../local"], "images": images, "patches": [{"patch": yaml.safe_dump(patch)}]}
    overlay = folder / "k8s" / "overlays" / "test"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(document))
    return overlay


def _secrets(cluster: Cluster) -> list[Object]:
    """Give the Secrets that the cluster has, all of them, or new ones."""
    new: list[Any] = list(documents())
    there = [cluster.get("secret", item["metadata"]["namespace"], item["metadata"]["name"]) for item in new]
    if None in there:
        return new
    return [_with_data(item, found["data"]) for item, found in zip(new, there, strict=True) if found]


def _with_data(secret: Object, data: Object) -> Object:
    return secret | {"stringData": {key: base64.b64decode(value).decode() for key, value in data.items()}}


def _forget_old_jobs(cluster: Cluster) -> None:
    """Remove Jobs that were made with another image: a Job's template cannot be changed."""
    for job in cluster.find("job", PLATFORM):
        images = {container["image"] for container in job["spec"]["template"]["spec"]["containers"]}
        if images != {IMAGE}:
            cluster.delete("job", PLATFORM, job["metadata"]["name"])


def _has_ended(job: Object) -> bool:
    failed = [condition for condition in job.get("status", {}).get("conditions", []) if condition["type"] == "Failed"]
    assert not failed, f"Job {job['metadata']['name']}: {failed[0].get('message')}"
    return bool(job.get("status", {}).get("succeeded"))
