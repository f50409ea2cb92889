"""The platform's servers: what each user may do, and what is left when a pod is killed."""

from __future__ import annotations

import base64
import io
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3
import yaml
from minio import Minio, MinioAdmin
from minio.commonconfig import Filter
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException, MinioException, S3Error
from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule

from cli import apply, secrets
from core import storage
from core.mlflow_api import call
from core.storage import BUCKETS
from tests.cluster import overlay, traffic, versions
from tests.cluster.driver import Driver
from tests.cluster.overlay import IMAGE, PIPELINE, PLATFORM, SERVING, wait_until_ready
from tests.cluster.rig import ROOT, Cluster, Ended, wait_until

pytestmark = pytest.mark.alone  # it kills the servers that every test uses

USECASE = "diabetes"
MLOPS = str(Path(sys.executable).with_name("mlops"))
PODS = {"minio": "app.kubernetes.io/name=minio", "postgres": "app.kubernetes.io/name=postgres", "mlflow": "app.kubernetes.io/name=mlflow"}
SECRETS = {"pipeline": (PIPELINE, "mlops-s3"), "mlflow": (PLATFORM, "mlflow-s3"), "serving": (SERVING, "mlops-s3")}
SENTENCE = re.compile(r"^(?:failed after \d+ s: \w+: |error: ).+$", re.MULTILINE)
MARK = "rights-of-users/object"
CALLS: dict[str, Callable[[Minio, str], object]] = {
    "get": lambda client, bucket: client.get_object(bucket, MARK).read(),
    "list": lambda client, bucket: list(client.list_objects(bucket, prefix=MARK)),
    "put": lambda client, bucket: client.put_object(bucket, MARK, io.BytesIO(b"2"), 1),
    "delete": lambda client, bucket: client.remove_object(bucket, MARK),
}
SERVICE = f"mlflow.{PLATFORM}.svc.cluster.local"


@pytest.fixture(scope="module")
def minio(cluster: Cluster) -> Iterator[str]:
    """The address of MinIO."""
    with cluster.forward(PLATFORM, "svc/minio", 9000) as port:
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def keys(cluster: Cluster) -> tuple[str, str]:
    """Name and password of MinIO's administrator."""
    secret = _secret(cluster, PLATFORM, "minio-root")
    return secret["MINIO_ROOT_USER"], secret["MINIO_ROOT_PASSWORD"]


def test_making_the_buckets_and_users_again_changes_nothing_but_what_was_changed(cluster: Cluster, minio: str, keys: tuple[str, str]) -> None:
    root = _client(minio, keys)
    before = _made(minio, keys)
    root.set_bucket_lifecycle("models", LifecycleConfig([Rule("Enabled", Filter(prefix=""), "foreign", expiration=Expiration(days=3650))]))
    assert _made(minio, keys) != before

    _run_again(cluster, "buckets")

    assert _made(minio, keys) == before


@pytest.mark.parametrize(
    ("user", "allowed"),
    [
        pytest.param(
            "pipeline",
            {f"{verb} {bucket}" for verb in ("get", "list", "put") for bucket in ("data", "models", "pipelines")}
            | {"get predictions", "list predictions"},
            id="a step",
        ),
        pytest.param("mlflow", {"get mlflow", "list mlflow", "put mlflow", "delete mlflow"}, id="MLflow"),
        pytest.param("serving", {"get models", "put predictions"}, id="a model server"),
    ],
)
def test_a_user_of_the_storage_may_do_what_it_needs_and_nothing_else(
    cluster: Cluster, minio: str, keys: tuple[str, str], user: str, allowed: set[str]
) -> None:
    root = _client(minio, keys)
    for bucket in BUCKETS:
        root.put_object(bucket, MARK, io.BytesIO(b"1"), 1)
    secret = _secret(cluster, *SECRETS[user])
    mine = secret["AWS_ACCESS_KEY_ID"], secret["AWS_SECRET_ACCESS_KEY"]

    found = {f"{verb} {bucket}" for verb in CALLS for bucket in BUCKETS if _is_allowed(partial(CALLS[verb], _client(minio, mine), bucket))}

    assert found == allowed
    assert not _is_allowed(lambda: _client(minio, mine).make_bucket("another"))
    assert not _is_allowed(lambda: _admin(minio, mine).user_list())


@pytest.mark.parametrize(
    ("host", "status"),
    [
        pytest.param(f"{SERVICE}:5000", 200, id="its Service, in full"),
        pytest.param(f"mlflow.{PLATFORM}:5000", 200, id="its Service, from another namespace"),
        pytest.param("mlflow:5000", 200, id="its Service, from its own namespace"),
        pytest.param("localhost:5000", 200, id="a port-forward"),
        pytest.param("mlflow.example.net", 403, id="a foreign host"),
        pytest.param(f"{SERVICE}.example.net:5000", 403, id="a foreign host that begins as the Service"),
    ],
)
def test_mlflow_answers_its_own_names_alone(stores: None, host: str, status: int) -> None:
    address = f"{os.environ['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/experiments/search"

    answer = requests.get(address, params={"max_results": 1}, headers={"Host": host}, timeout=30)

    assert answer.status_code == status, (answer.text, answer.request.url, answer.request.headers)


def test_new_passwords_reach_every_server_while_a_model_serves(
    cluster: Cluster, driver: Driver, minio: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: a model that serves, and what the servers hold
    published = versions.publish(name)
    assert driver.deploy("deploy", name, published.number).code == 0
    before, pods = _written(), _servers(cluster)
    old = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    monkeypatch.setattr(apply, "OVERLAYS", overlay.write(cluster, tmp_path).parent)
    monkeypatch.setenv("PATH", cluster.path)
    monkeypatch.setenv("KUBECONFIG", cluster.environment["KUBECONFIG"])
    file = tmp_path / "k8s" / "overlays" / "local" / "secrets.yaml"
    kept = file.read_bytes()
    apply.apply("test", None)
    assert _servers(cluster) == pods, "nothing changed, nothing restarts"
    try:
        # when
        secrets.rotate(file)
        with traffic.load(cluster, name, {published.number: published.bundle}) as counts:
            apply.apply("test", None)
        # then
        assert counts.failures == {}
        wait_until(lambda: not _servers(cluster) & pods, 90, "the end of the old servers", pause=1)
        wait_until(lambda: _refusal(minio, old) == "SignatureDoesNotMatch", 60, "the end of the old key", pause=1)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", _secret(cluster, *SECRETS["pipeline"])["AWS_SECRET_ACCESS_KEY"])
        after = wait_until(_written_or_nothing, 60, "the servers")
        assert [kind for kind in before if not before[kind] <= after[kind]] == []
    finally:
        file.write_bytes(kept)
        apply.apply("test", None)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", old[1])
        wait_until_ready(cluster)
    wait_until(lambda: _written_or_nothing() == before, 60, "what was there before", pause=1)


def test_a_run_survives_killed_servers_or_says_clearly_why_not_and_nothing_is_lost(cluster: Cluster, stores: None) -> None:
    first = Submitted(cluster).ended()
    assert (first.code, "✓  report" in first.out) == (0, True), first.out + first.err
    before, seed = _written(), random.randrange(10**6)

    disturbed = Submitted(cluster)
    killed = _kill_at_random(cluster, disturbed, random.Random(seed))
    ended = disturbed.ended()

    print(f"seed {seed}: killed {', '.join(killed)}; exit code {ended.code}: {(ended.err.strip() or ended.out.strip()).splitlines()[-1]}")
    if ended.code:
        (sentence,) = SENTENCE.findall(ended.out + ended.err)
        assert "Error" not in sentence, sentence
    wait_until_ready(cluster)
    after = wait_until(_written_or_nothing, 60, "the servers")
    assert [kind for kind in before if not before[kind] <= after[kind]] == []
    again = Submitted(cluster).ended()
    assert (again.code, "✓  report" in again.out) == (0, True), again.out + again.err


class Submitted:
    """A run in the cluster, which the command line follows."""

    def __init__(self, cluster: Cluster) -> None:
        command = [MLOPS, "submit", USECASE, "--job", "--namespace", PIPELINE, "--image", IMAGE]
        self._process = subprocess.Popen(command, cwd=ROOT, env=dict(cluster.environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def runs(self) -> bool:
        """Whether it is still under way."""
        return self._process.poll() is None

    def ended(self) -> Ended:
        """Wait for its end."""
        out, err = self._process.communicate(timeout=300)
        return Ended(self._process.returncode, out, err)


def _kill_at_random(cluster: Cluster, run: Submitted, chance: random.Random) -> list[str]:
    """Kill each server once, in any order, some seconds apart, while the run is under way."""
    killed, order = [], list(PODS)
    chance.shuffle(order)
    for name in order:
        time.sleep(chance.uniform(1, 8))
        if run.runs():
            cluster.kubectl("delete", "pod", "-n", PLATFORM, "-l", PODS[name], "--grace-period=0", "--force")
            killed.append(name)
    assert killed, "the run had ended before anything was killed"
    return killed


def _servers(cluster: Cluster) -> set[str]:
    """Identify the pods of all servers that use a password."""
    found = [pod for namespace in (PLATFORM, SERVING) for pod in cluster.find("pod", namespace)]
    return {pod["metadata"]["uid"] for pod in found if pod["metadata"]["ownerReferences"][0]["kind"] != "Job"}


def _refusal(minio: str, keys: tuple[str, str]) -> str:
    """Return why MinIO refuses these keys; empty if it does not, or while the way to it is interrupted."""
    try:
        list(_client(minio, keys).list_objects("models"))
    except S3Error as error:
        return error.code or ""
    except (MinioException, urllib3.exceptions.HTTPError):
        return ""
    return ""


def _written() -> dict[str, set[str]]:
    """List what the steps may see: objects, runs and model versions."""
    client = storage.client()
    buckets = ("data", "models", "pipelines")
    objects = {f"{b}/{each.object_name} {each.etag}" for b in buckets for each in client.list_objects(b, recursive=True)}
    experiments = [each["experiment_id"] for each in call("POST", "experiments/search", {"max_results": 1000})["experiments"]]
    runs = call("POST", "runs/search", {"experiment_ids": experiments, "max_results": 1000}).get("runs", [])
    versions = call("GET", "model-versions/search", {"max_results": 1000}).get("model_versions", [])
    return {
        "objects": objects,
        "runs": {each["info"]["run_id"] for each in runs},
        "versions": {f"{each['name']} {each['version']}" for each in versions},
    }


def _written_or_nothing() -> dict[str, set[str]]:
    try:
        return _written()
    except Exception:
        return {}


def _run_again(cluster: Cluster, job: str) -> None:
    """Run a Job of the platform once more, under another name."""
    built = list(yaml.safe_load_all(cluster.kubectl("kustomize", str(ROOT / "k8s" / "base" / job)).out))
    (made,) = (each for each in built if each["kind"] == "Job")
    made["metadata"]["name"] = f"{job}-again"
    made["spec"]["template"]["spec"]["containers"][0]["image"] = IMAGE
    cluster.delete("job", PLATFORM, f"{job}-again")
    cluster.apply(made, *(each for each in built if each["kind"] == "ConfigMap"))
    try:
        cluster.kubectl("wait", "--for=condition=Complete", f"job/{job}-again", "-n", PLATFORM, "--timeout=120s")
    finally:
        cluster.delete("job", PLATFORM, f"{job}-again", wait=False)


def _made(address: str, keys: tuple[str, str]) -> dict[str, Any]:
    """Describe the buckets, users and policies."""
    root, admin = _client(address, keys), _admin(address, keys)
    found = {bucket: root.get_bucket_lifecycle(bucket) for bucket in BUCKETS}
    return {
        "buckets": sorted(bucket.name for bucket in root.list_buckets()),
        "versioning": {bucket: root.get_bucket_versioning(bucket).status for bucket in BUCKETS},
        "rules": {bucket: rules and [(rule.rule_id, str(rule.expiration)) for rule in rules.rules] for bucket, rules in found.items()},
        "users": {name: user["policyName"] for name, user in json.loads(admin.user_list()).items()},
        "policies": {name: _ordered(policy) for name, policy in json.loads(admin.policy_list()).items() if name in SECRETS},
    }


def _ordered(value: Any) -> Any:
    """Put every list in order: MinIO gives the actions of a policy in any."""
    if isinstance(value, dict):
        return {key: _ordered(each) for key, each in value.items()}
    return sorted(map(_ordered, value), key=str) if isinstance(value, list) else value


def _is_allowed(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except S3Error as error:
        assert error.code == "AccessDenied", error
        return False
    except MinioAdminException as error:
        assert "AccessDenied" in str(error), error
        return False
    return True


def _client(address: str, keys: tuple[str, str]) -> Minio:
    http = urllib3.PoolManager(timeout=20, retries=False)
    return Minio(endpoint=address, access_key=keys[0], secret_key=keys[1], region="us-east-1", secure=False, http_client=http)


def _admin(address: str, keys: tuple[str, str]) -> MinioAdmin:
    return MinioAdmin(endpoint=address, credentials=StaticProvider(*keys), region="us-east-1", secure=False)


def _secret(cluster: Cluster, namespace: str, name: str) -> dict[str, str]:
    found = cluster.get("secret", namespace, name)
    assert found
    return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}
