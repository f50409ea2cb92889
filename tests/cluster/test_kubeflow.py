"""The overlays for Kubeflow: what runs may reach and do there, and that Kubeflow itself is left alone."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from cli import apply
from tests.cluster import kubeflow
from tests.cluster.kubeflow import KUBEFLOW, PROFILE
from tests.cluster.overlay import PLATFORM, SERVING
from tests.cluster.rig import Cluster
from tests.cluster.test_network import REACH

pytestmark = pytest.mark.alone  # it binds a second ServiceAccount to the deployer's Role

PLACES = {  # the addresses of a stock installation
    "object storage": f"minio.{PLATFORM}.svc.cluster.local:9000",
    "MLflow": f"mlflow.{PLATFORM}.svc.cluster.local:5000",
    "PostgreSQL": f"postgres.{PLATFORM}.svc.cluster.local:5432",
    "Kubeflow's store": f"seaweedfs.{KUBEFLOW}.svc.cluster.local:9000",
}
PODS = {  # pods by their ports
    "API": ("ml-pipeline", 8888),
    "API for launchers": ("ml-pipeline", 8887),
    "metadata": ("metadata", 8080),
    "database": ("mysql", 3306),
    "artifact": ("artifact", 3000),
    "notebook": ("notebook", 8888),
}
RUNS = {"API", "API for launchers", "metadata", "Kubeflow's store"}  # what every pod of a run needs
EVERYTHING = RUNS | {"database", "artifact", "notebook"}


@pytest.fixture(scope="module", params=[("kubeflow-profile", PROFILE), ("kubeflow-standalone", KUBEFLOW)], ids=["profile", "standalone"])
def runs(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """The namespace of the runs."""
    overlay, namespace = request.param
    with kubeflow.installed(cluster, overlay, namespace):
        yield namespace


@pytest.mark.parametrize(
    ("who", "reaches"),
    [
        pytest.param("step", RUNS | {"object storage", "MLflow"}, id="a step"),
        pytest.param("kfp-driver", RUNS | {"MLflow"}, id="Kubeflow's driver: MLflow for the plugin"),
        pytest.param("notebook", EVERYTHING, id="a notebook of the same profile"),
        pytest.param("ml-pipeline-ui", EVERYTHING | {"object storage"}, id="Kubeflow's pages: artifacts, too"),
        pytest.param("ml-pipeline", EVERYTHING | {"object storage", "MLflow"}, id="Kubeflow's API server: MLflow for its plugin"),
        pytest.param("artifact", EVERYTHING | {"object storage"}, id="the profile's artifact pod"),
    ],
)
def test_pods_of_kubeflow_and_of_its_runs_reach_what_they_need(cluster: Cluster, runs: str, who: str, reaches: set[str]) -> None:
    places = PLACES | {what: f"{_address(cluster, name, runs)}:{port}" for what, (name, port) in PODS.items()}

    asked = cluster.exec(_space(who, runs), who, "python", "-c", REACH, *places.values())

    assert asked.code == 0, asked.err
    answers = json.loads(asked.out)
    assert {what for what, address in places.items() if answers[address] == "open"} == reaches


@pytest.mark.parametrize(("account", "allowed"), [("deployer", True), ("pipeline", False), ("default-editor", False)])
def test_only_the_deployer_may_deploy(cluster: Cluster, runs: str, account: str, allowed: bool) -> None:
    assert may(cluster, f"{runs}:{account}", SERVING, "patch", "apps", "deployments") == allowed


@pytest.mark.parametrize(
    ("verb", "group", "resource", "name"),
    [("create", "argoproj.io", "workflowtaskresults", ""), ("get", "", "secrets", "mlops-s3"), ("get", "", "configmaps", "kfp-launcher")],
)
def test_account_of_runs_may_do_what_kubeflows_launcher_does(cluster: Cluster, runs: str, verb: str, group: str, resource: str, name: str) -> None:
    assert may(cluster, f"{runs}:pipeline", runs, verb, group, resource, name)


def test_account_of_runs_may_not_read_the_token_of_the_deployer(cluster: Cluster, runs: str) -> None:
    assert cluster.get("secret", runs, "mlops-deployer")
    assert not may(cluster, f"{runs}:pipeline", runs, "get", "", "secrets", "mlops-deployer")


def may(cluster: Cluster, account: str, namespace: str, verb: str, group: str, resource: str, name: str = "") -> bool:
    """Tell whether a ServiceAccount may do something, also with a resource that this cluster does not have."""
    attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": resource, "name": name}
    spec = {"user": f"system:serviceaccount:{account}", "resourceAttributes": attributes}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    answer = json.loads(cluster.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review)).out)
    return bool(answer["status"]["allowed"])


def test_apply_sets_the_image_without_a_tracked_file(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlays = tmp_path_factory.mktemp("overlays")
    (overlays / "small").mkdir()
    job = {
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "localhost/kubeflow-mlops-template:0.1.0"}]}}}
    }
    cronjob = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "image-test", "namespace": "default"}}
    cronjob["spec"] = {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": job}
    (overlays / "small" / "cronjob.yaml").write_text(yaml.safe_dump(cronjob))
    (overlays / "small" / "kustomization.yaml").write_text("resources: [cronjob.yaml]\n")
    monkeypatch.setattr(apply, "OVERLAYS", overlays)
    monkeypatch.setenv("PATH", cluster.path)
    monkeypatch.setenv("KUBECONFIG", cluster.environment["KUBECONFIG"])
    try:
        for image in ("registry.example.com:5000/team/mlops:1f3a9c2", f"registry.example.com/mlops@sha256:{64 * '0'}"):
            apply.apply("small", image)

            made = cluster.get("cronjob", "default", "image-test")
            assert made
            assert made["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["image"] == image
    finally:
        cluster.delete("cronjob", "default", "image-test")
    assert [path.name for path in overlays.iterdir()] == ["small"]


def _space(pod: str, runs: str) -> str:
    return runs if pod in kubeflow.IN_NAMESPACE else KUBEFLOW


def _address(cluster: Cluster, pod: str, runs: str) -> str:
    found = cluster.get("pod", _space(pod, runs), pod)
    assert found
    return str(found["status"]["podIP"])
