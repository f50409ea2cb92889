"""The platform with TLS, a private authority and MLflow's login: a run ends in a model that serves."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cli import apply
from tests.cluster import overlay
from tests.cluster.driver import Driver, started
from tests.cluster.overlay import PIPELINE, PLATFORM, SERVING, wait_until_ready
from tests.cluster.rig import Cluster, Object, wait_until
from tests.cluster.serving import require_only
from tests.cluster.test_end_to_end import submit
from tests.deployer.kubernetes import ASK
from tests.postgresql import Authority

pytestmark = pytest.mark.alone  # it restarts the servers that every test uses

COMPONENTS = ("mlflow-login", "private-ca", "tls")
USECASE = "diabetes"
PLAIN = """
import http.client, sys, urllib.request
for address in sys.argv[1:]:
    try:
        print(urllib.request.urlopen(address, timeout=5).status)
    except (OSError, http.client.HTTPException) as error:
        print(getattr(error, "code", "refused"))
"""


@pytest.fixture
def encrypted(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    """A pod of the pipeline on a platform that has taken the components; they are removed again at the end."""
    made = _certificates(tmp_path)
    monkeypatch.setattr(apply, "OVERLAYS", overlay.write(cluster, tmp_path).parent)
    monkeypatch.setenv("PATH", cluster.path)
    monkeypatch.setenv("KUBECONFIG", cluster.environment["KUBECONFIG"])
    file = tmp_path / "k8s" / "overlays" / "test" / "kustomization.yaml"
    plain = file.read_text()
    components = {"components": [f"../../components/{name}" for name in COMPONENTS]}
    file.write_text(yaml.safe_dump(yaml.safe_load(plain) | components))
    try:
        cluster.apply(*made)
        apply.apply("test", None)
        wait_until_ready(cluster)
        with started(cluster, "driver-encrypted") as driver:
            yield driver
    finally:
        file.write_text(plain)
        apply.apply("test", None)
        for each in made:
            cluster.delete(each["kind"].lower(), each["metadata"]["namespace"], each["metadata"]["name"])
        wait_until_ready(cluster)


def test_run_ends_in_a_served_model_over_tls_and_with_a_login(cluster: Cluster, encrypted: Driver) -> None:
    said = submit(cluster, USECASE, "train.max_trials=2")

    assert f"MLflow  https://mlflow.{PLATFORM}.svc.cluster.local:5000/" in said
    status = encrypted.deploy("status", USECASE)
    assert f"{USECASE}: version " in status.out, status.err
    version = status.out.split()[2]
    require_only(cluster, USECASE, version)
    wait_until(lambda: encrypted.python(ASK, f"{USECASE}.{SERVING}", USECASE).out.strip() == version, 20, "the Service", pause=1)
    addresses = [
        f"{scheme}://mlflow.{PLATFORM}.svc.cluster.local:5000/api/2.0/mlflow/experiments/search?max_results=1" for scheme in ("http", "https")
    ]
    assert encrypted.python(PLAIN, *addresses).out.split() == ["refused", "401"]


def _certificates(folder: Path) -> list[Object]:
    """Make an authority, and what it signs for MinIO and MLflow."""
    authority = Authority(folder)
    objects = [
        _object("ConfigMap", space, "mlops-ca") | {"data": {"ca.crt": authority.certificate.read_text()}} for space in (PLATFORM, PIPELINE, SERVING)
    ]
    for name in ("minio", "mlflow"):
        certificate = folder / f"{name}.crt"
        authority.sign(certificate, f"DNS:{name},DNS:{name}.{PLATFORM}.svc.cluster.local")
        data = {"tls.crt": certificate.read_bytes(), "tls.key": certificate.with_suffix(".key").read_bytes()}
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        objects.append(_object("Secret", PLATFORM, f"{name}-tls") | {"type": "kubernetes.io/tls", "data": encoded})
    return objects


def _object(kind: str, namespace: str, name: str) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}}
