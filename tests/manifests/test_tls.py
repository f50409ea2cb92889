"""MinIO and MLflow as the component tls starts them, and clients that trust their authority alone."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from core.processes import free_port
from tests.manifests.build import Document, named
from tests.manifests.test_provision import ROOT, binary, start
from tests.manifests.test_provision import users as users
from tests.postgresql import Authority

pytestmark = pytest.mark.slow

Built = Callable[[str], list[Document]]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The Secret of both servers: tls.crt and tls.key."""
    made = Authority(tmp_path_factory.mktemp("authority"))
    made.sign(made.folder / "tls.crt")
    return made


@contextmanager
def running(command: list[str], folder: Path, health: str, authority: Authority, **settings: str) -> Iterator[None]:
    """Run a server until the end of the block."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = subprocess.Popen(command, cwd=folder, env=os.environ | {"PATH": path, "HOME": str(folder)} | settings, stdout=subprocess.DEVNULL)
    try:
        while not _is_up(health, authority):
            assert process.poll() is None
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def _is_up(health: str, authority: Authority) -> bool:
    try:
        return requests.get(health, timeout=5, verify=str(authority.certificate)).ok
    except requests.ConnectionError:
        return False


def _container(documents: list[Document], name: str) -> Document:
    found: Document = next(each for each in documents if named(each) == name)["spec"]["template"]["spec"]["containers"][0]
    return found


def test_minio_speaks_tls_and_the_job_trusts_its_authority(built: Built, authority: Authority, tmp_path: Path, users: Path) -> None:
    documents, address = built("overlays/tls"), f"127.0.0.1:{free_port()}"
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    (certificates / "public.crt").symlink_to(authority.folder / "tls.crt")
    (certificates / "private.key").symlink_to(authority.folder / "tls.key")
    places = {"/data": str(tmp_path / "data"), "--certs-dir=/run/minio-tls": f"--certs-dir={certificates}"}
    given = [places.get(argument, argument) for argument in _container(documents, "StatefulSet mlops-platform/minio")["args"]]
    assert set(places.values()) <= set(given)
    variables = {each["name"]: each.get("value", "") for each in _container(documents, "Job mlops-platform/buckets")["env"]}
    assert variables == {"AWS_ENDPOINT_URL_S3": "https://minio:9000", "SSL_CERT_FILE": "/etc/mlops-ca/ca.crt"}

    with running([binary(), *given, "--address", address], tmp_path, f"https://{address}/minio/health/live", authority, **ROOT):
        job = start(address, users, AWS_ENDPOINT_URL_S3=f"https://{address}", SSL_CERT_FILE=str(authority.certificate))
        _, error = job.communicate(timeout=60)

    assert (job.returncode, error) == (0, "")


def test_mlflow_speaks_tls(built: Built, authority: Authority, tmp_path: Path) -> None:
    server, port = _container(built("overlays/tls"), "Deployment mlops-platform/mlflow"), free_port()
    command = [argument.replace("/run/mlflow-tls", str(authority.folder)) for argument in server["command"]]
    command = [*command, f"--port={port}", "--backend-store-uri=sqlite:///mlflow.db"]  # the last one of an option counts
    address = f"https://127.0.0.1:{port}"

    with running(command, tmp_path, f"{address}/health", authority):
        found = requests.get(f"{address}/api/2.0/mlflow/experiments/get", {"experiment_id": "0"}, timeout=30, verify=str(authority.certificate))

        assert found.json()["experiment"]["name"] == "Default"
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(f"{address}/health", timeout=5)
