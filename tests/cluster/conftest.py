"""One cluster with the platform on it, a driver pod, and the way from here to its object storage and registry."""

from __future__ import annotations

import base64
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from minio import Minio

from core import champion_record, mlflow_api, mlflow_connection, storage
from core.errors import UserError
from tests.cluster import driver as drivers
from tests.cluster import overlay, rig, versions
from tests.cluster.driver import Driver
from tests.cluster.overlay import PIPELINE, PLATFORM, SERVING
from tests.cluster.rig import Cluster

LOCK = Path(tempfile.gettempdir(), "mlops-test-cluster.lock")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def bare_cluster() -> Cluster:
    """A cluster, whatever is on it; without one the test is skipped."""
    try:
        return rig.find()
    except rig.Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def cluster(bare_cluster: Cluster, request: pytest.FixtureRequest) -> Cluster:
    """The cluster with the platform of overlays/local, ready; one worker at a time brings it up, to make its Secrets once."""
    began = time.monotonic()
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        overlay.bring_up(bare_cluster)
    _tell(request, f"the platform is ready after {time.monotonic() - began:.0f} s")
    return bare_cluster


@pytest.fixture
def node(cluster: Cluster) -> Cluster:
    """The cluster, if it is the rig, whose node can be entered."""
    if cluster.rig is None:
        pytest.skip("this needs the rig: another cluster's node cannot be entered")
    return cluster


@pytest.fixture(scope="session")
def driver(cluster: Cluster, worker_id: str) -> Iterator[Driver]:
    """A pod as a step's, for the whole session of a worker."""
    with drivers.started(cluster, f"driver-{worker_id}") as running:
        yield running


@pytest.fixture(scope="session")
def stores(cluster: Cluster) -> Iterator[None]:
    """The cluster's object storage and registry, in the environment of this process, as a step has them."""
    with connected(cluster), pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLOPS_HOME", raising=False)
        yield


@pytest.fixture
def kubeconfig(bare_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the command line find the cluster, and keeps what it sets."""
    monkeypatch.setenv("KUBECONFIG", bare_cluster.environment["KUBECONFIG"])
    monkeypatch.setenv("IMAGE", "")


@contextmanager
def connected(cluster: Cluster) -> Iterator[dict[str, str]]:
    """Forward ports to MinIO and MLflow; sets the environment of a step on this machine, and gives it."""
    secret = cluster.get("secret", PIPELINE, "mlops-s3")
    assert secret
    keys = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    with cluster.forward(PLATFORM, "svc/minio", 9000) as minio, cluster.forward(PLATFORM, "svc/mlflow", 5000) as mlflow:
        addresses = {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{minio}", "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow}"}
        environment = {"AWS_REGION": "us-east-1"} | keys | addresses
        with pytest.MonkeyPatch.context() as patch:
            for key, value in environment.items():
                patch.setenv(key, value)
            mlflow_connection.session().headers["connection"] = "close"  # a forwarded port does not tell that the server has closed a connection
            yield environment


@pytest.fixture
def name(cluster: Cluster, stores: None) -> Iterator[str]:
    """A use case that no other test uses; what serves it is removed at the end."""
    rig.wait_until(_stores_answer, 120, "MinIO and MLflow", pause=1)
    made = versions.usecase()
    yield made
    clear(cluster, made)


def _stores_answer() -> bool:
    """Whether both answer: an earlier test may have restarted them."""
    urls = (f"{os.environ['AWS_ENDPOINT_URL_S3']}/minio/health/ready", f"{os.environ['MLFLOW_TRACKING_URI']}/health")
    try:
        return all(requests.get(url, timeout=5).ok for url in urls)
    except requests.RequestException:
        return False


def clear(cluster: Cluster, usecase: str) -> None:
    """Remove all that a use case has in the models' namespace."""
    kinds = "deployment,service,serviceaccount,networkpolicy,ingress,horizontalpodautoscaler,poddisruptionbudget"
    cluster.kubectl("delete", kinds, "-n", SERVING, "-l", f"app.kubernetes.io/name={usecase}", "--wait=false")
    cluster.delete("lease", SERVING, usecase)


def forget(cluster: Cluster, usecase: str) -> None:
    """Take a use case back to the day before its first champion: a step may not delete the record of it."""
    clear(cluster, usecase)
    with suppress(mlflow_api.NotFound, UserError):
        mlflow_api.call("DELETE", "registered-models/delete", {"name": usecase})
    secret = cluster.get("secret", PLATFORM, "minio-root")
    assert secret
    user, password = (base64.b64decode(secret["data"][key]).decode() for key in ("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"))
    endpoint = urlsplit(os.environ["AWS_ENDPOINT_URL_S3"]).netloc
    root = Minio(endpoint=endpoint, access_key=user, secret_key=password, region="us-east-1", secure=False)
    root.remove_object(*storage.split(champion_record.address(usecase)))


def _tell(request: pytest.FixtureRequest, line: str) -> None:
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n{line}")
