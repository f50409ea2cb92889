"""Only the deployer may change what serves, within the limits that the options set."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.cluster import ACCOUNT, DEPLOYER, TOKEN, TOKEN_FOLDER
from core.image import repository
from tests.manifests.build import Document, build, named
from tests.manifests.conftest import SETTINGS, write_overlay

Built = Callable[[str], list[Document]]


def _find(documents: list[Document], name: str) -> Any:
    return next(document for document in documents if named(document) == name)


def test_a_job_has_the_token_that_may_deploy_and_no_right_of_its_own(built: Built) -> None:
    # given
    documents = built("overlays/local")
    pod = _find(documents, "CronJob mlops/mlops")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    bindings = [document for document in documents if document["kind"] == "RoleBinding"]
    # then
    assert pod["serviceAccountName"] == ACCOUNT
    assert {"name": "deployer", "secret": {"secretName": TOKEN, "optional": True}} in pod["volumes"]
    assert {"name": "deployer", "mountPath": TOKEN_FOLDER, "readOnly": True} in pod["containers"][0]["volumeMounts"]
    assert [binding["subjects"] for binding in bindings] == [[{"kind": "ServiceAccount", "name": DEPLOYER, "namespace": "mlops"}]]
    token = _find(documents, f"Secret mlops/{TOKEN}")
    assert token["metadata"]["annotations"] == {"kubernetes.io/service-account.name": DEPLOYER}
    assert not {"data", "stringData"} & token.keys()


@pytest.mark.parametrize(("overlay", "namespace"), [("kubeflow-standalone", "kubeflow"), ("kubeflow-profile", "mlops")])
def test_a_run_of_kubeflow_cannot_read_the_token_that_may_deploy(built: Built, overlay: str, namespace: str) -> None:
    # given
    documents = built(f"overlays/{overlay}")
    bindings = [document for document in documents if document["kind"] == "RoleBinding"]
    bound = {subject["name"]: (named(each), each["roleRef"]["name"]) for each in bindings for subject in each["subjects"]}
    secrets = [rule for rule in _find(documents, f"Role {namespace}/pipeline")["rules"] if "secrets" in rule["resources"]]
    # then
    assert bound == {
        "deployer": ("RoleBinding mlops-serving/deployer", "deployer"),
        "pipeline": (f"RoleBinding {namespace}/pipeline", "pipeline"),
    }
    assert _find(documents, f"Secret {namespace}/{TOKEN}")
    assert [rule["resourceNames"] for rule in secrets] == [["mlops-s3", "mlpipeline-minio-artifact"]]


@pytest.mark.parametrize(("overlay", "images"), [("admission", SETTINGS["SERVING_IMAGES"]), ("production", "registry.example.com/team/mlops")])
def test_the_same_images_are_allowed_by_the_deploy_step_and_by_the_cluster(built: Built, overlay: str, images: str) -> None:
    # given
    documents = built(f"overlays/{overlay}")
    policy = _find(documents, "ValidatingAdmissionPolicy /mlops-deployer")["spec"]
    # then
    assert _find(documents, "ConfigMap mlops/mlops")["data"]["SERVING_IMAGES"] == images
    assert next(each["expression"] for each in policy["variables"] if each["name"] == "images") == f'"{images}".split(" ")'
    assert repository(_find(documents, "Job mlops-platform/buckets")["spec"]["template"]["spec"]["containers"][0]["image"]) in images.split()


def test_admission_knows_the_deployer_in_another_namespace(checkout: Path) -> None:
    # given
    settings = {"SERVING_IMAGES": "example.org/mlops", "PIPELINE_NAMESPACE": "ada"} | {"KUBERNETES_API": "192.0.2.1/32", "OUTSIDE_SERVERS": "::/0"}
    components = [f"../../components/{each}" for each in ("kubeflow", "sources", "admission", "egress", "pipeline-namespace")]
    overlay = write_overlay(checkout / "overlays/ada", settings, ["../../base"], components)
    # when
    documents = build(overlay)
    # then
    policy = _find(documents, "ValidatingAdmissionPolicy /mlops-deployer")["spec"]
    assert policy["matchConditions"][0]["expression"] == "request.userInfo.username == 'system:serviceaccount:ada:deployer'"
    api, outside = {"ipBlock": {"cidr": "192.0.2.1/32"}}, {"ipBlock": {"cidr": "::/0"}}
    policies = {name: _find(documents, f"NetworkPolicy ada/{name}")["spec"]["egress"] for name in ("pipeline", "sources", "kubeflow-runs")}
    assert {name: rules[-1]["to"] for name, rules in policies.items()} == {"pipeline": [api, outside], "sources": [outside], "kubeflow-runs": [api]}
    assert all(rule.get("to") for rules in policies.values() for rule in rules)
