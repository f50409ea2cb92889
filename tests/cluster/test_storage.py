"""Distributed MinIO: any one of its four pods may be gone."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import urllib3
import yaml
from minio import Minio, MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioException

from cli.restart import restart_outdated
from tests.cluster.overlay import IMAGE, PLATFORM
from tests.cluster.rig import ROOT, Cluster, wait_until

OVERLAY = ROOT / "tests" / "cluster" / "overlays" / "minio-distributed"
NAMESPACE, BUCKET = "mlops-test-storage", "models"
ROOT_USER, ROOT_PASSWORD = "root", "only-for-tests"
OBJECTS = {"small": secrets.token_bytes(100), "model": secrets.token_bytes(300_000), "table": secrets.token_bytes(8_000_000)}
PODS = ("minio-0", "minio-1", "minio-2", "minio-3")
LOOK = "import pathlib; print(len(list(pathlib.Path('/data').glob('models/*/*/xl.meta'))))"  # an object's part is there as soon as its xl.meta is


@pytest.fixture(scope="module")
def storage(cluster: Cluster) -> Iterator[Cluster]:
    """Four MinIO pods in a namespace of their own, with a bucket."""
    documents = list(yaml.safe_load_all(cluster.kubectl("kustomize", str(OVERLAY)).out))
    for each in documents:
        if each["kind"] == "StatefulSet":
            each["spec"]["template"]["spec"]["containers"][0]["image"] = _image(cluster)
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")  # of an earlier run
    try:
        cluster.apply(*documents)
        cluster.kubectl("rollout", "status", "statefulset/minio", "-n", NAMESPACE, "--timeout=150s")
        with client(cluster, "minio-0") as first:
            wait_until(lambda: _made(first), 60, "the first bucket")
        yield cluster
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false", "--ignore-not-found")


def test_one_of_four_pods_may_be_gone_and_heals_when_it_is_back(storage: Cluster) -> None:
    with client(storage, "minio-1") as one, client(storage, "minio-2") as other:
        write(one, "before")

        with gone(storage, "minio-3"):
            write(one, "meanwhile")
            assert read(other, "before") == read(other, "meanwhile") == OBJECTS

        for pod in PODS:  # which takes about a minute, as MinIO remembers the address of the pod that is gone
            wait_until(lambda pod=pod: _drives(storage, pod) == len(PODS), 150, f"{pod} to see all drives", pause=1)  # type: ignore[misc]
        with drive(storage, "minio-3") as parts:
            wait_until(lambda: read(other, "meanwhile") == OBJECTS and parts() == 2 * len(OBJECTS), 120, "MinIO to heal what it reads", pause=1)
        with gone(storage, "minio-0"), gone(storage, "minio-1"):  # two of four are enough to read, as the one that was gone has its part
            assert wait_until(lambda: _read_or_nothing(other, "meanwhile"), 90, "an answer of the two pods", pause=1) == OBJECTS


def test_all_pods_take_a_new_administrator_at_once(storage: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", storage.path)
    monkeypatch.setenv("KUBECONFIG", storage.environment["KUBECONFIG"])
    with client(storage, "minio-0") as before:
        wait_until(lambda: _written(before, "kept"), 90, "the pods to see each other again", pause=1)
    storage.patch("secret", NAMESPACE, "minio-root", {"stringData": {"MINIO_ROOT_PASSWORD": "another-one-for-tests"}})

    restart_outdated([NAMESPACE], [])

    with client(storage, "minio-2", "another-one-for-tests") as after:
        assert wait_until(lambda: _read_or_nothing(after, "kept"), 60, "an answer", pause=1) == OBJECTS


@contextmanager
def gone(cluster: Cluster, pod: str) -> Iterator[None]:
    """Kill a pod and keep it away: as long as its object is held, the StatefulSet makes no other."""
    cluster.patch("pod", NAMESPACE, pod, {"metadata": {"finalizers": ["mlops.test/held"]}})
    cluster.kubectl("delete", "pod", pod, "-n", NAMESPACE, "--grace-period=0", "--force", "--wait=false")
    wait_until(lambda: not _runs(cluster, pod), 30, f"the end of {pod}")
    try:
        yield
    finally:
        cluster.patch("pod", NAMESPACE, pod, {"metadata": {"finalizers": None}})
        wait_until(lambda: _runs(cluster, pod), 60, f"{pod} to come back")
        cluster.kubectl("wait", "--for=condition=Ready", f"pod/{pod}", "-n", NAMESPACE, "--timeout=90s")


@contextmanager
def client(cluster: Cluster, pod: str, password: str = ROOT_PASSWORD) -> Iterator[Minio]:
    """Talk to one pod."""
    with cluster.forward(NAMESPACE, f"pod/{pod}", 9000) as port:
        http = urllib3.PoolManager(timeout=urllib3.Timeout(connect=5, read=20), retries=False)

        yield Minio(endpoint=f"127.0.0.1:{port}", region="us-east-1", secure=False, http_client=http, access_key=ROOT_USER, secret_key=password)


@contextmanager
def drive(cluster: Cluster, pod: str) -> Iterator[Callable[[], int]]:
    """Look at the drive of a pod from another one: gives what counts the objects that have a part on it."""
    owner = cluster.get("pod", NAMESPACE, pod)
    assert owner
    spec, (server,) = owner["spec"], owner["spec"]["containers"]
    looking = {"name": "looking", "image": IMAGE, "command": ["sleep", "infinity"], "securityContext": server["securityContext"]}
    mounted = {"resources": server["resources"], "volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": True}]}
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": f"data-{pod}"}}
    rest = {"nodeName": spec["nodeName"], "securityContext": spec["securityContext"], "automountServiceAccountToken": False}
    metadata = {"name": "looking", "namespace": NAMESPACE}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": rest | {"containers": [looking | mounted], "volumes": [volume]}})
    cluster.kubectl("wait", "--for=condition=Ready", "pod/looking", "-n", NAMESPACE, "--timeout=60s")
    yield lambda: int(cluster.exec(NAMESPACE, "looking", "python", "-c", LOOK).out or 0)
    cluster.kubectl("delete", "pod", "looking", "-n", NAMESPACE, "--grace-period=0", "--force", "--wait=false")


def write(connection: Minio, prefix: str) -> None:
    """Write all objects, without a second try."""
    for name, data in OBJECTS.items():
        connection.put_object(BUCKET, f"{prefix}/{name}", io.BytesIO(data), len(data))


def read(connection: Minio, prefix: str) -> dict[str, bytes]:
    """Read all objects, without a second try."""
    with ExitStack() as stack:
        return {name: stack.enter_context(connection.get_object(BUCKET, f"{prefix}/{name}")).read() for name in OBJECTS}


def _written(connection: Minio, prefix: str) -> bool:
    try:
        write(connection, prefix)
    except (MinioException, urllib3.exceptions.HTTPError):
        return False
    return True


def _read_or_nothing(connection: Minio, prefix: str) -> dict[str, bytes]:
    try:
        return read(connection, prefix)
    except (MinioException, urllib3.exceptions.HTTPError):
        return {}


def _made(connection: Minio) -> bool:
    try:
        if not connection.bucket_exists(BUCKET):
            connection.make_bucket(BUCKET)
    except (MinioException, urllib3.exceptions.HTTPError):
        return False
    return True


def _drives(cluster: Cluster, pod: str) -> int:
    """How many drives a pod sees."""
    with cluster.forward(NAMESPACE, f"pod/{pod}", 9000) as port:
        admin = MinioAdmin(endpoint=f"127.0.0.1:{port}", credentials=StaticProvider(ROOT_USER, ROOT_PASSWORD), region="us-east-1", secure=False)
        return int(json.loads(admin.info())["backend"]["onlineDisks"])


def _runs(cluster: Cluster, pod: str) -> bool:
    found = cluster.get("pod", NAMESPACE, pod)
    return any("running" in status["state"] for status in (found or {}).get("status", {}).get("containerStatuses", []))


def _image(cluster: Cluster) -> str:
    """Give the image of the platform's own MinIO."""
    running = cluster.get("statefulset", PLATFORM, "minio")
    assert running
    return str(running["spec"]["template"]["spec"]["containers"][0]["image"])
